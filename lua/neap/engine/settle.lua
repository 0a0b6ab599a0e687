--- Finds out what became of an effect whose end is not known, by taking its witness: after that a late call is shut out.
local data  = require "neap.engine.data"
local fault = require "native.error"
local task  = require "native.task"

local settle = {}

local UNREACHABLE = { connect = true, lost = true, timeout = true, auth = true }
local AGAIN = 2 -- seconds between two looks at something that still runs or cannot be reached

--- A kind without a witness can only be compared, and only once the call cannot land any more. However old its intent, the
--- call may have been sent a moment before its process failed or died (which may have slept in between, and clocks on walls
--- jump): so its time is counted from when the settling began.
local function wait_out_call(kind, effect, began)
  local left = began + (effect.timeout or 0) - task.now()
  if kind.late ~= false and left > 0 then task.sleep(left) end
end

local function compare(effect, now)
  if data.same(now, effect.after) then return "done" end
  if data.same(now, effect.before) then return "void" end
  return "other", data.conceal(now, effect.after)
end

local function compare_resource(kind, effect)
  local now = kind.get(effect.target)
  if kind.take then return compare(effect, now) end
  task.sleep(kind.late == false and 0 or 1)
  if not data.same(now, kind.get(effect.target)) then return "running", "the target is still changing" end
  return compare(effect, now)
end

local function probe_action(kind, effect)
  if not kind.done then return "unknown", "this kind of effect leaves nothing to ask for" end
  local happened = kind.done(effect.target, effect.data)
  if effect.undoes then happened = not happened end
  return happened and "done" or "void"
end

--- One look: "done" (result), "void", "partial" (why), "running" (why), "other" (the state found), "unknown" (why).
local function look(kind, effect, began)
  if kind.take then
    local verdict, detail = kind.take(effect.target, effect.witness, effect)
    if verdict then return verdict, detail end
  else
    wait_out_call(kind, effect, began)
  end
  if kind.get then return compare_resource(kind, effect) end
  return probe_action(kind, effect)
end

--- Looks until there is a verdict. While the call still runs it waits; a target that cannot be reached is tried for
--- `patience` seconds and then "unreachable" with the error.
--- @param kind table      the declaration of the effect's kind
--- @param effect table    the intent, as the fold has it
--- @param patience number seconds
--- @param tell fun(verdict: string, detail: any)  told of each wait
--- @return "done"|"void"|"partial"|"other"|"unknown"|"unreachable" verdict
--- @return any detail
function settle.verdict(kind, effect, patience, tell)
  local began = task.now()
  local until_then = began + patience
  while true do
    local ok, verdict, detail = pcall(look, kind, effect, began)
    if ok and verdict ~= "running" then return verdict, detail end
    if not ok and not (fault.is(verdict) and UNREACHABLE[verdict.kind]) then
      if fault.is(verdict) and (verdict.kind == "cancelled" or verdict.code == "identity") then error(verdict, 0) end
      return "unknown", tostring(verdict)
    end
    if not ok and task.now() >= until_then then return "unreachable", verdict end
    tell(ok and "running" or "unreachable", ok and detail or verdict)
    task.sleep(AGAIN)
  end
end

return settle
