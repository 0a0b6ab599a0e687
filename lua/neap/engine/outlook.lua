--- What lies ahead of each step: how long it still takes, how long the way back is, and when to turn back at the latest.
local clock    = require "native.clock"
local duration = require "neap.engine.duration"
local estimate = require "neap.engine.estimate"
local fault    = require "native.error"
local window   = require "neap.engine.window"

local outlook = {}

local DOUBLED = 2 -- a way back takes longer than one thinks

--- Refuses to start or go on outside the policy's window, unless a reason was given: kind "paused", code "window".
--- @param self table  the session
--- @param reason string?
function outlook.require(self, reason)
  self.window = window.of(self.environment.policy or {})
  if not self.window then return end
  local ends, why = window.ends(self.window, clock.now())
  self.outside = not ends and reason or nil
  if ends or reason then return end
  fault.raise { kind = "paused", code = "window", where = "",
    message = ("%s may not be changed now: %s"):format(self.environment.name, why),
    hint = "add --outside-window --reason WHY" }
end

--- Writes down that the run goes on outside the window, and why.
--- @param self table
--- @param reason string
--- @param who string?
function outlook.note(self, reason, who)
  self.outside = reason
  self.writer:write { type = "note", kind = "outside window", text = "outside the window: " .. reason, who = who }
end

local function ask(self, step, ends, undo)
  local choice, answer = self:ask { kind = "window", path = step.title, options = { "go on", "stop" },
    text = ends and ("The window ends at %s UTC, and the way back takes about %s: turn back now, or go on outside it.")
      :format(clock.utc(ends):sub(12, 16), duration.text(undo)) or "The window has ended." }
  if choice ~= "go on" then
    fault.raise { kind = "paused", where = "", message = "stopped before " .. step.title .. ": the window ends" }
  end
  outlook.note(self, answer.reason or "a person said so", answer.who)
end

--- When to turn back at the latest; nil where no window says so.
local function turn_back_by(self, undo)
  if not self.window or self.outside then return nil end
  local ends = window.ends(self.window, clock.now())
  return ends and ends - DOUBLED * undo, ends
end

--- Before a step: tells the view what lies ahead; pauses, or asks, when it is time to turn back. Past a point of no
--- return there is no way but forward.
--- @param self table
--- @param step table
function outlook.before(self, step)
  local undo = estimate.undo(self.state)
  local by, ends = turn_back_by(self, undo)
  local left = self.learned and estimate.left(self.learned, self.procedure, self.state)
  if undo >= 1 or by or left then
    self:emit { type = "outlook", path = step.title, undo = undo, turn_back_by = by, ends = ends, left = left }
  end
  if not self.window or self.outside or self.state:point_of_no_return() then return end
  if not by or clock.now() >= by then ask(self, step, ends, undo) end
end

return outlook
