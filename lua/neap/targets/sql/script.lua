--- Scripts, as `psql -f` and `mysql <` take them, carried out statement by statement: each commits for itself, or all
--- in one transaction.
---
--- A script whose statements commit for themselves is carried out in parts, each an effect that ends where the script
--- does, where a statement was refused, or where neap was interrupted; the next part goes on behind it.
local client    = require "neap.targets.sql.client"
local crypto    = require "native.crypto"
local databases = require "neap.targets.database"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local marker    = require "neap.targets.sql.marker"
local play      = require "neap.targets.sql.script_play"
local progress  = require "neap.targets.sql.progress"
local secret    = require "native.secret"
local shell     = require "neap.targets.shell"
local source    = require "neap.targets.sql.script_source"
local task      = require "native.task"
local words     = require "neap.targets.sql.script_words"

local scripts = {}

local TIMEOUT = 3600          -- seconds for each statement
local LONGEST = 7 * 24 * 3600 -- seconds for all of them
local FIRST_LINES = 12        -- statements that a plan shows
local UNDO_LIMIT = 4 * 1024 * 1024

local function splitter_of(sql) return sql.name == "mysql" and "mysql" or "postgres" end

-- ---- what is known of a script before it is carried out ----

local function first_line(text)
  local line = text:match "^[^\n]*"
  return #line > 100 and line:sub(1, (utf8.offset(line, 0, 98) or 98) - 1) .. "…" or line
end

local function refuse(step, message, ...)
  fault.raise { kind = "protocol",
    message = ("%s:%d: %s"):format(step.file_name, step.item.line, message:format(...)) }
end

local AS_ANOTHER = { "^set%s+session%s+authorization", "^set%s+role", "^set%s+local%s+role" }

local function check_statement(sql, step, whole)
  local text = step.item.text
  if words.is_plain(text) then return end
  local lower = #text < 4096 and text:lower() or text:sub(1, 4096):lower()
  if sql.name == "mysql" and lower:find "^set%s[^;]*%f[%w_]autocommit%s*=%s*[0f]" then
    refuse(step, "autocommit is not turned off in a script: say transaction = true, or begin and commit in it")
  end
  for _, pattern in ipairs(sql.name ~= "mysql" and AS_ANOTHER or {}) do
    if lower:find(pattern) then
      refuse(step,
        "a script does not become another user, who could not write down how far it is: connect as that user")
    end
  end
  if not whole then return end
  local what = words.of(sql, text)
  if what == "begin" or what == "commit" or what == "rollback" then
    refuse(step, "transaction = true: neap begins and ends it")
  elseif what == "outside" or what == "locks" then
    refuse(step, "transaction = true: %s commits by itself", first_line(text))
  end
end

local function look_at(found, sql, step, whole)
  if step.connect then
    if whole then refuse(step, "transaction = true: a transaction stays in its database") end
    found.databases[#found.databases + 1] = step.connect
  end
  if not step.index then return end
  found.statements = step.index
  if step.item.text then check_statement(sql, step, whole) end
  if #found.first >= FIRST_LINES then return end
  local text = step.item.text or "\\copy " .. step.item.arguments
  found.first[#found.first + 1] = ("%5d  %s"):format(step.item.line, first_line(text))
end

--- Walks over the whole script and what it includes, so that what it will be refused for is known before anything of it
--- is carried out.
local function outline_of(sql, script, values, whole)
  local found = { statements = 0, first = {}, databases = {}, files = {} }
  local hashers = {}
  local player = client.new(splitter_of(sql), nil, values, true)
  function player.on_file(file)
    hashers[file.name] = crypto.hasher()
    return hashers[file.name]
  end
  local ok, failure = pcall(function()
    player:begin(script)
    for step in player.next, player do
      look_at(found, sql, step, whole)
      if step.file and step.copy then found.files[step.file.name] = source.sha256(step.file) end
    end
  end)
  player:close()
  if not ok then error(failure, 0) end
  for name, hasher in pairs(hashers) do found.files[name] = hasher:hex() end
  return found
end

local read_outline = effect.read("sql.script_outline", function(target, script, values, whole)
  return outline_of(databases.dialect(target.database), script, values, whole)
end)

--- What lies outside the repository may have been changed since it was looked at.
local function check_unchanged(script, outline)
  if script.at == "repository" then return end
  for name, digest in pairs(outline.files) do
    local path = script.host and name:sub(#script.host + 2) or name
    local one = { at = script.at, host = script.host, path = path, root = script.root, name = name }
    if source.sha256(one) ~= digest then
      fault.raise { kind = "conflict", host = script.host,
        message = ("%s was changed since it was looked at"):format(name),
        hint = "put back what it was, or roll back" }
    end
  end
end

-- ---- the kind ----

--- Of the script that a task carries out: what run needs beside plain data.
local function current() return task.context().sql_script end

local function performance(target, data, call)
  local given = current()
  local sql = databases.dialect(target.database)
  return {
    target = target, call = call, total = given.outline.statements, timeout = given.timeout, applied = data.applied,
    player = client.new(splitter_of(sql), given.script, given.values), done = (data.from or 1) - 1,
    state = { script = data.script, index = (data.from or 1) - 1, line = data.line or 0, gets = given.gets },
  }
end

local function run(target, data, call)
  local given = current()
  if data.transaction then
    play.whole(performance(target, data, call))
    return { upto = given.outline.statements }
  end
  local done = play.parts(performance(target, data, call))
  given.failure, given.gets = done.failure, done.state.gets
  local upto = not done.failure and not done.paused and given.outline.statements or done.state.index
  return { upto = upto, line = done.state.line, gets = done.state.gets }
end

--- A text as a script without a file.
local function read_text(text, name)
  return { at = "text", path = name, root = "", name = name, text = text }
end

local function undo(target, given, call)
  if given.nothing then return end
  local sql = databases.dialect(target.database)
  local fields = { target = target, call = call, total = given.statements, timeout = given.timeout, done = 0,
    undoing = true, player = client.new(splitter_of(sql), read_text(given.text, given.name), given.variables or {}),
    state = { script = given.script, index = 0, line = 0 } }
  local done = play.parts(fields)
  if done.failure then error(done.failure, 0) end
end

local function says(data)
  local how = data.transaction and "in one transaction" or "each commits for itself"
  local lines = { ("script, %d statements, %s"):format(data.statements, how) }
  for _, name in ipairs(data.files) do lines[#lines + 1] = name end
  for _, line in ipairs(data.first) do lines[#lines + 1] = line end
  if data.statements > #data.first then lines[#lines + 1] = ("and %d more"):format(data.statements - #data.first) end
  return table.concat(lines, "\n")
end

--- Target { database, script }; data { script, from, statements, files, first, databases, transaction, applied }; undo
--- { name, text, statements, script, variables }, or { nothing } where an earlier part has it.
effect.action "sql.script" {
  prepare = marker.prepare, take = progress.take, release = marker.release, timeout = LONGEST,
  run = run, undo = undo, undo_needs_data = true, says = says,
  show = function(target) return ("%s %s"):format(target.database, target.script) end,
}

-- ---- the word ----

--- @class (exact) neap.sql.script_options
--- @field transaction? boolean    all in one transaction; else each statement commits for itself
--- @field variables? table<string, string|number>  psql's, as by -v
--- @field timeout? number         seconds for each statement; 3600
--- @field undo? string            the script that takes it back: a file, or a text
--- @field keep? string            why a rollback leaves it
--- @field irreversible? string    why there is no way back behind it

local OPTIONS = { transaction = true, variables = true, timeout = true, undo = true, keep = true, irreversible = true }

local function values_of(sql, variables, level)
  local values = {}
  if variables ~= nil and sql.name == "mysql" then
    error("variables are psql's; the mysql client has none", level + 1)
  end
  for name, value in pairs(variables or {}) do
    if type(name) ~= "string" or not name:find "^[%w_\128-\255]+$" then
      error(("%q is no variable's name"):format(tostring(name)), level + 1)
    end
    if secret.is(value) or (type(value) == "string" and secret.holds(value)) then
      error(("variable %s: a script holds no secret, for statements are in the server's logs"):format(name), level + 1)
    end
    if type(value) ~= "string" and type(value) ~= "number" then
      error(("variable %s is a text or a number"):format(name), level + 1)
    end
    values[name] = tostring(value)
  end
  return values
end

--- A script that takes back is kept with what it is to take back.
local function undo_of(sql, given, values, level)
  if given == nil then return nil end
  if type(given) ~= "string" or not given:find "%S" then error("undo is a script's file, or its text", level + 1) end
  local name, text = "undo", given
  if not given:find "[%s;]" then
    local script = source.of(given, level + 1)
    local parts, read, close = {}, source.open(script)
    for piece in read do parts[#parts + 1] = piece end
    close()
    name, text = script.name, table.concat(parts)
  end
  if #text > UNDO_LIMIT then error(("undo is longer than %d bytes"):format(UNDO_LIMIT), level + 1) end
  local outline = outline_of(sql, read_text(text, name), values, false)
  return { name = name, text = text, statements = outline.statements, databases = outline.databases,
    variables = next(values) and values or nil, script = crypto.sha256("undo\0" .. text):sub(1, 24) }
end

local function names_of(files)
  local names = {}
  for name, digest in pairs(files) do names[#names + 1] = ("%s  sha256 %s"):format(name, digest:sub(1, 16)) end
  table.sort(names)
  return names
end

local function raise_refused(given, result)
  local failure = given.failure
  given.failure = nil
  if failure then
    failure.hint = failure.hint or ("%d of %d statements are done; it goes on with this one"):format(result.upto,
      given.outline.statements)
    error(failure, 0)
  end
end

--- Performs parts until the script is at its end.
local function perform(target, data, given, options)
  local context = setmetatable({ sql_script = given }, { __index = task.context() })
  while true do
    local result = task.with_context(context, effect.perform, "sql.script", target, data, options)
    if effect.planning() then return end
    raise_refused(given, result or {})
    local following = {}
    for key, value in pairs(data) do following[key] = value end
    if result then
      if result.upto >= given.outline.statements then return end
      given.gets = result.gets
      following.from, following.line, following.applied = result.upto + 1, result.line, nil
    else
      following.applied = (data.applied or 0) + 1 -- a person has said that what was begun is done
    end
    data = following
    if options.undo then options.undo = { nothing = true } end
  end
end

--- Carries out a script as `psql -f` or `mysql <` would, statement by statement, stopping at the first that the server
--- refuses; attempted again it goes on with that one. Raises kind `protocol`, with file and line, before anything is
--- carried out, for what would be done elsewhere than at the server; `remote` with the SQLSTATE as code for the
--- statement that is refused.
--- @param db neap.database|string
--- @param file string|table  a file of the repository, beside the procedure or as "procedures/…"; an absolute path on
---   the jump server; { host, path }
--- @param options? neap.sql.script_options
--- @return { statements: integer }
function scripts.script(db, file, options)
  options = shell.check_options(options, OPTIONS, 2)
  local name = databases.name(db)
  local sql = databases.dialect(name)
  local script, values = source.of(file, 2), values_of(sql, options.variables, 2)
  local outline = read_outline({ database = name }, script, values, options.transaction or false)
  if not effect.planning() then check_unchanged(script, outline) end
  local target = { database = name, script = script.name }
  local files = names_of(outline.files)
  local path = task.context().path or ""
  local data = { statements = outline.statements, files = files, first = outline.first, databases = outline.databases,
    transaction = options.transaction or nil, variables = next(values) and values or nil,
    script = crypto.sha256(table.concat({ path, script.name, table.unpack(files) }, "\0")):sub(1, 24) }
  local given = { outline = outline, script = script, values = values, timeout = options.timeout or TIMEOUT }
  local undoing = undo_of(sql, options.undo, values, 2)
  if undoing then undoing.timeout = given.timeout end
  perform(target, data, given, { undo = undoing, keep = options.keep, irreversible = options.irreversible })
  return { statements = outline.statements }
end

return scripts
