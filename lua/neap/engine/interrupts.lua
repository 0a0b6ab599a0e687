--- What a run does at Ctrl-C and at the system's end: the effect in hand is finished or settled, never dropped.
--- INT once: finish the effect in hand and pause. INT again: cancel the call and settle it. TERM, HUP: as INT once, and
--- after ten seconds as INT twice.
local signal = require "native.signal"
local task   = require "native.task"

local interrupts = {}

local GRACE = 10 -- seconds that the system leaves us

local SAID = {
  INT = "interrupted by the operator", TERM = "the system asked neap to end", HUP = "the terminal is gone",
}

local function cancel_later(walk)
  return task.spawn(function()
    task.sleep(GRACE)
    walk:cancel()
  end)
end

local function watch(session, walk)
  local later
  while true do
    local name = signal.wait { "INT", "TERM", "HUP" }
    if session.pausing and name == "INT" then
      session:emit { type = "progress", pausing = true, text = "cancelling the call in hand, and asking its target" }
      walk:cancel()
    else
      session.pausing = session.pausing or SAID[name]
      session:emit { type = "progress", pausing = true, text = SAID[name] .. ": pausing after the effect in hand" }
    end
    if name ~= "INT" and not later then later = cancel_later(walk) end
  end
end

--- Runs fn(session) in a task of its own that signals can pause and cancel. Returns or raises what fn does.
--- @param session table
--- @param fn fun(session: table): any
--- @return any
function interrupts.guard(session, fn)
  local walk = task.spawn(fn, session)
  local watcher = task.spawn(watch, session, walk)
  local ok, result = walk:wait()
  watcher:cancel()
  watcher:wait()
  if not ok then error(result, 0) end
  return result
end

return interrupts
