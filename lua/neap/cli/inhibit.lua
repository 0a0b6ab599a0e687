--- Holds the machine up while a run is carried out, by systemd-inhibit.
local fault   = require "native.error"
local process = require "native.process"
local task    = require "native.task"

local inhibit = {}

local ANSWERS_WITHIN = 5 -- seconds

--- Who is not root may put a shutdown off for a while, and not forbid it.
local function start(why)
  local mode = process.user().uid == 0 and "block" or "delay"
  return process.spawn({ "systemd-inhibit", "--what=shutdown:sleep", "--who=neap", "--why=" .. why, "--mode=" .. mode,
    "sh", "-c", "echo held; exec cat" }, { reads = true })
end

local function first_words(child)
  local ok, said = pcall(task.deadline, ANSWERS_WITHIN, child.read, child)
  return ok and said or nil
end

--- nil, and that is said, where the machine cannot be held.
local function hold(console, why)
  local ok, child = pcall(start, why)
  if ok and first_words(child) then return child end
  if ok then child:close() end
  if not ok and not fault.is(child) then error(child, 0) end
  console:tell "this machine may be shut down meanwhile: systemd-inhibit does not hold it"
end

--- Calls fn, and holds the machine up until it has returned or raised.
--- @generic T
--- @param console neap.console
--- @param why string
--- @param fn fun(...): T
--- @return T
function inhibit.during(console, why, fn, ...)
  local held = hold(console, why)
  local ok, result = pcall(fn, ...)
  if held then held:close() end
  if not ok then error(result, 0) end
  return result
end

return inhibit
