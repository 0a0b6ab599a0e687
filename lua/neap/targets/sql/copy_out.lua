--- Rows that are copied out of a database into a file: by way of a file of this machine, however many there are.
local crypto      = require "native.crypto"
local databases   = require "neap.targets.database"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local file        = require "neap.targets.file"
local fs          = require "native.fs"
local hosts       = require "neap.targets.connection"
local kinds       = require "neap.targets.file.kinds"
local known       = require "neap.targets.file.known"
local rights      = require "neap.targets.file.rights"
local stages      = require "neap.targets.file.stage"
local task        = require "native.task"

local out = {}

local KEPT = 64 * 1024 * 1024 -- bytes that the journal holds

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
  local closed, why = handle:flush()
  if not closed then fault.raise { kind = "conflict", message = ("%s: %s"):format(path, why) } end
  return size, hasher:hex()
end

--- { content }, or { sha256 } where it is more than the journal takes; the file itself is left in the task's stage. What a
--- trial answers may be the content alone.
local copied = effect.read("sql.copy_out", function(target, text)
  local stage = task.context().sql_stage
  local size, sum = spool(target.database, text, stage)
  return size > KEPT and { sha256 = sum } or { content = fs.read(spool_of(stage)) }
end)

-- ---- the state of a large one ----

--- The rows of the read before, or, where a process before this one has made it, copied once more.
local function bring_by(stage, target, state, call)
  local there = fs.exists(spool_of(stage))
  local sum = there and state.sha256 or select(2, spool(target.database, target.text, stage))
  if sum == state.sha256 then return kinds.put_file(target, spool_of(stage), state, call) end
  fault.raise { kind = "conflict", host = target.database,
    message = "what is copied out is not what it was when the journal noted it", hint = "try the step again" }
end

local function bring(target, state, call)
  local stage = task.context().sql_stage
  if stage then return bring_by(stage, target, state, call) end
  stages.with("copy", function(own) bring_by(own, target, state, call) end)
end

effect.resource "sql.copy_out"(known.kind(bring, function(target) return target.database end))

local function write(database, text, options, change)
  local found = copied({ database = database }, text)
  local content = type(found) == "string" and found or found.content
  if content then
    for _, key in ipairs { "become", "mode", "owner", "group" } do change[key] = options[key] end
    return file.write(options.host or "local", options.file, content, change)
  end
  local host = hosts.name(options.host or "local")
  return known.change("sql.copy_out", { host = host, path = options.file, become = hosts.become(host, options.become),
    database = database, text = text }, found.sha256, options, change)
end

--- Writes the rows that a COPY gives into a file of a host.
--- @param database string
--- @param text string
--- @param options table  file, host, become, mode, owner, group
--- @param change table   of the effect
function out.write(database, text, options, change)
  rights.check_path(options.file, 3)
  rights.check(options, 3)
  stages.with("copy", function(stage)
    local context = setmetatable({ sql_stage = stage }, { __index = task.context() })
    task.with_context(context, write, database, text, options, change)
  end)
end

return out
