--- Rows that are copied out of a database into a file: by way of a file of this machine, however many there are.
local crypto      = require "native.crypto"
local databases   = require "neap.targets.database"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local file        = require "neap.targets.file"
local fs          = require "native.fs"
local hosts       = require "neap.targets.connection"
local kinds       = require "neap.targets.file.kinds"
local rights      = require "neap.targets.file.rights"
local task        = require "native.task"
local witness     = require "neap.targets.witness"

local out = {}

local KEPT = 64 * 1024 * 1024 -- bytes that the journal holds
local LONG = 3600             -- seconds

-- ---- the file between ----

local function spool_of(stage) return stage .. "/rows" end

--- Writes what the statement gives; returns its size and SHA-256.
local function spool(database, text, stage)
  local hasher, size = crypto.hasher(), 0
  local path = spool_of(stage)
  local handle <close> = io.open(path, "wb") or fault.raise { kind = "denied", message = path .. " cannot be written" }
  local function write(bytes)
    local written, why = handle:write(bytes)
    if not written then fault.raise { kind = "conflict", message = ("%s: %s"):format(path, why) } end
    hasher:update(bytes)
    size = size + #bytes
  end
  databases.within(database, "read", function(connection) connection:copy_out(text, write) end)
  write ""
  local closed, why = handle:flush()
  if not closed then fault.raise { kind = "conflict", message = ("%s: %s"):format(path, why) } end
  return size, hasher:hex()
end

local function with_stage(fn)
  local stage = fs.mkdtemp "/var/tmp/neap-copy-"
  local results = table.pack(pcall(fn, stage))
  fs.remove_tree(stage)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- { content }, or { sha256 } where it is more than the journal takes; the file itself is left in the task's stage.
local copied = effect.read("sql.copy_out", function(target, text)
  local stage = task.context().sql_stage
  local size, sum = spool(target.database, text, stage)
  return size > KEPT and { sha256 = sum, size = size } or { content = fs.read(spool_of(stage)) }
end)

-- ---- the state of a large one ----

local function get(target)
  local found = kinds.look_for_file(target)
  return found and { sha256 = kinds.sha256(target), mode = found.mode, owner = found.owner, group = found.group }
end

--- The rows of the read before, or, where a process before this one has made it, copied once more.
local function bring(target, state, call, stage)
  local there = fs.exists(spool_of(stage))
  local sum = there and state.sha256 or select(2, spool(target.database, target.text, stage))
  if sum == state.sha256 then return kinds.put_file(target, spool_of(stage), state, call) end
  fault.raise { kind = "conflict", host = target.database,
    message = "what is copied out is not what it was when the journal noted it", hint = "try the step again" }
end

local function put(target, state, call)
  if not state then return kinds.remove_file(target, call) end
  local stage = task.context().sql_stage
  if stage then return bring(target, state, call, stage) end
  with_stage(function(own) bring(target, state, call, own) end)
end

--- Target { host, path, become, database, text }; state { sha256, mode, owner, group }, nil where nothing is.
effect.resource "sql.copy_out" {
  prepare = witness.prepare, get = get, put = put, take = kinds.take_file, release = witness.release, timeout = LONG,
  key = function(target) return { host = target.host, path = target.path, become = target.become } end,
  show = function(target) return ("%s %s, from %s"):format(target.host, target.path, target.database) end,
  text = function(state) return ("%s %s:%s sha256 %s\n"):format(state.mode, state.owner, state.group, state.sha256) end,
}

local function write_large(target, sum, options, change)
  return effect.change("sql.copy_out", target, function(before)
    if before and before.sha256 ~= sum then
      fault.raise { kind = "conflict", host = target.host, hint = "move it away, or remove it, first",
        message = ("%s on %s is there already, and another"):format(target.path, target.host) }
    end
    return rights.with({ sha256 = sum }, target, before, options, "0644")
  end, change)
end

local function write(database, text, options, change)
  local found = copied({ database = database }, text)
  if found.content then
    for _, key in ipairs { "become", "mode", "owner", "group" } do change[key] = options[key] end
    return file.write(options.host or "local", options.file, found.content, change)
  end
  local host = hosts.name(options.host or "local")
  write_large({ host = host, path = options.file, become = hosts.become(host, options.become), database = database,
    text = text }, found.sha256, options, change)
end

--- Writes the rows that a COPY gives into a file of a host.
--- @param database string
--- @param text string
--- @param options table  file, host, become, mode, owner, group
--- @param change table   of the effect
function out.write(database, text, options, change)
  rights.check_path(options.file, 3)
  rights.check(options, 3)
  with_stage(function(stage)
    local context = setmetatable({ sql_stage = stage }, { __index = task.context() })
    task.with_context(context, write, database, text, options, change)
  end)
end

return out
