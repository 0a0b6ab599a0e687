--- What a run does when it is told to end: the effect in hand is finished or settled, never dropped. Told once, it pauses
--- after the effect in hand; told again, it cancels the call in hand and asks its target. The system (TERM, HUP) gets the
--- second after ten seconds.
local signal = require "native.signal"
local task   = require "native.task"

local interrupts = {}

local GRACE = 10 -- seconds that the system leaves us

local SAID = { TERM = "the system asked neap to end", HUP = "the terminal is gone" }

local function cancel_later(walk)
  return task.spawn(function()
    task.sleep(GRACE)
    walk:cancel()
  end)
end

--- Tells a session to pause; told again, it cancels the call in hand.
--- @param session table
--- @param why string
local function interrupt(session, walk, why)
  if session.line then -- the line alone; the run stands at its failure anyway
    session:emit { type = "progress", withdrawing = true, text = "ending the line" }
    session.line:cancel()
  elseif session.pausing then
    session:emit { type = "progress", pausing = true, text = "cancelling the call in hand, and asking its target" }
    walk:cancel()
  else
    session.pausing = why
    session:emit { type = "progress", pausing = true, text = why .. ": pausing after the effect in hand" }
  end
end

local function watch(session)
  local later
  while true do
    local name = signal.wait { "INT", "TERM", "HUP" }
    if name == "INT" or not session.pausing then session.interrupt(SAID[name] or "interrupted by the operator") end
    if name ~= "INT" and not later then later = cancel_later(session.walk) end
  end
end

--- Runs fn(session) in a task of its own that signals, and session.interrupt(why), can pause and cancel. Returns or raises
--- what fn does.
--- @param session table
--- @param fn fun(session: table): any
--- @return any
function interrupts.guard(session, fn)
  session.walk = task.spawn(fn, session)
  function session.interrupt(why) interrupt(session, session.walk, why) end
  local watcher = task.spawn(watch, session)
  local ok, result = session.walk:wait()
  watcher:cancel()
  watcher:wait()
  if not ok then error(result, 0) end
  return result
end

return interrupts
