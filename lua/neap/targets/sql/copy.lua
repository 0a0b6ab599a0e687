--- What goes in and out in bulk: COPY of PostgreSQL in and out, and statements whose target lies outside the database
--- (UNLOAD, SELECT INTO OUTFILE).
local crypto      = require "native.crypto"
local databases   = require "neap.targets.database"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local file        = require "neap.targets.file"
local hosts       = require "neap.targets.connection"
local marker      = require "neap.targets.sql.marker"
local out         = require "neap.targets.sql.copy_out"
local schema      = require "neap.targets.sql.schema"
local secret      = require "native.secret"
local shell       = require "neap.targets.shell"
local task        = require "native.task"
local transaction = require "neap.targets.sql.transaction"
local values      = require "neap.targets.sql.values"

local copy = {}

local PIECE = 256 * 1024

local function refuse_mysql(db, level)
  if databases.dialect(db).name == "mysql" then
    error("MariaDB has no COPY: rows go in by db:execute and sql.rows, out by db:rows", level + 1)
  end
end

-- ---- in ----

--- Pieces of a text.
local function pieces(text)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + PIECE - 1)
    at = at + #piece
    return piece
  end
end

--- Calls fn with the pieces of a host's file, as they come. At the end it raises `conflict` where the file is not as it
--- was when it was looked at first, so that nothing of it stays.
local function with_file(data, fn)
  local command, hasher = { "cat", "--", data.file }, crypto.hasher()
  local stream <close> = hosts.open(data.host, (shell.text(command, { become = data.become })), true)
  local function next_piece()
    local piece = stream:read(PIECE)
    if piece then
      hasher:update(piece)
      return piece
    end
    hosts.check(data.host, command, stream:collect(), { become = data.become })
    if hasher:hex() == data.sha256 then return nil end
    fault.raise { kind = "conflict", host = data.host,
      message = ("%s on %s is not as it was when it was to be copied"):format(data.file, data.host) }
  end
  return fn(function() return hosts.guard(data.host, next_piece) end)
end

--- Calls fn with what gives the bytes piece by piece: of a text, a file, the function that the step has.
local function with_source(data, fn)
  if data.file then return with_file(data, fn) end
  return fn(data.content and pieces(data.content) or task.context().sql_source())
end

--- Target { database }, data { text, content | host, file, become, sha256 | from }, undo a list of statements.
effect.action "sql.copy_in" {
  prepare = marker.prepare, take = marker.take, release = marker.release, timeout = 3600,
  run = function(target, data, call)
    return marker.transaction(target.database, call, function(connection)
      return with_source(data, function(next_piece)
        return { affected = connection:copy_in(data.text, next_piece) }
      end)
    end)
  end,
  undo = transaction.undo, undo_needs_data = true,
  show = function(target) return target.database end,
  says = function(data)
    local what = data.content and ("%d bytes"):format(#data.content) or data.file
      or ("what %s gives"):format(data.from)
    return ("copy in %s\n%s"):format(what, data.text)
  end,
}

local IN_OPTIONS = { text = true, file = true, from = true, host = true, become = true, undo = true }

local function check_source(options, level)
  local count = 0
  for _, key in ipairs { "text", "file", "from" } do count = count + (options[key] ~= nil and 1 or 0) end
  if count ~= 1 then error("what is copied comes from text, file or from (a function)", level + 1) end
  if secret.is(options.text) then error("what is copied is a text", level + 1) end
end

--- Copies bytes into a table, in one transaction with their witness: `copy people from stdin (format csv)`. They come from
--- `text`, from a `file` of any size (of `host`, default local; unchanged since it was looked at first), or `from` a function
--- that returns an iterator over pieces.
--- @param db neap.database|string
--- @param text string  the COPY statement
--- @param options table  text | file, host, become | from; undo, keep, irreversible, timeout
--- @return { affected: integer }
function copy.copy_in(db, text, options)
  local change
  options, change = schema.options(options, IN_OPTIONS, 2)
  refuse_mysql(db, 2)
  check_source(options, 2)
  change.undo = transaction.statements(options.undo, 2)
  local data = { text = transaction.check_text(text, 2), content = options.text }
  if options.file then
    data.host, data.file = hosts.name(options.host or "local"), options.file
    data.become = hosts.become(data.host, options.become)
    data.sha256 = file.sha256(data.host, data.file, { become = options.become })
  elseif options.from then
    local place = debug.getinfo(options.from, "S")
    data.from = ("%s:%d"):format(place.short_src, place.linedefined)
  end
  local context = setmetatable({ sql_source = options.from }, { __index = task.context() })
  return task.with_context(context, effect.perform, "sql.copy_in", { database = databases.name(db) }, data, change)
end

-- ---- out ----

local OUT_OPTIONS = { file = true, host = true, become = true, mode = true, owner = true, group = true }

--- Copies rows out into a file: `copy (select …) to stdout (format csv)`. It is written as file.write does, and a rollback
--- puts back what was there; one of more than 64 MiB only where nothing is, or the same, and a rollback takes it away.
--- @param db neap.database|string
--- @param text string  the COPY statement
--- @param options table  file, host (default local), become, mode, owner, group; keep, irreversible, timeout
function copy.copy_out(db, text, options)
  local change
  options, change = schema.options(options, OUT_OPTIONS, 2)
  refuse_mysql(db, 2)
  if type(options.file) ~= "string" then error("copy_out writes a file", 2) end
  out.write(databases.name(db), transaction.check_text(text, 2), options, change)
end

-- ---- outside ----

--- Target { database }, data { text, params, done }, undo a list of statements: the row before and after the statement.
effect.action "sql.unload" {
  prepare = marker.prepare, take = marker.take, release = marker.release, timeout = 3600,
  run = function(target, data, call)
    return marker.outside(target.database, call, data.text,
      function(connection) return values.for_server(connection, data.params) end,
      function(result) return { affected = result.affected } end)
  end,
  show = function(target) return target.database end,
  says = function(data) return "what it writes lies outside the database\n" .. transaction.show(data) end,
}

local UNLOAD_OPTIONS = { done = true }

--- Carries out a statement that writes elsewhere: UNLOAD, SELECT … INTO OUTFILE or S3. Its row is written before and after;
--- where neap dies in between, `done`, a query whose first value says whether it happened, is asked, else a person.
--- @param db neap.database|string
--- @param text string
--- @param params? any[]
--- @param options? { done?: string, keep?: string, irreversible?: string, timeout?: number }
--- @return { affected: integer? }
function copy.unload(db, text, params, options)
  local change
  options, change = schema.options(options, UNLOAD_OPTIONS, 2)
  local data = transaction.statement(text, params, 2)
  data.done = options.done and transaction.check_text(options.done, 2)
  return effect.perform("sql.unload", { database = databases.name(db) }, data, change)
end

return copy
