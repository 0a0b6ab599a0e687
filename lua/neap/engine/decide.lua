--- What becomes of a step that failed, where a person is there to say it: again, done by hand, without it, back, handed
--- over, or left as it is.
local attempt  = require "neap.engine.attempt"
local branches = require "neap.engine.branch"
local data     = require "neap.engine.data"
local estimate = require "neap.engine.estimate"
local fan_out  = require "neap.engine.fan_out"
local fault    = require "native.error"
local outcome  = require "neap.engine.outcome"
local rollback = require "neap.engine.rollback"
local task     = require "native.task"

local decide = {}

--- What a person can say.
decide.OPTIONS = { "retry", "by hand", "skip", "back", "hand over", "quit" }

local MOST_SHOWN = 100 -- effects in place that the question lists

--- Whether a failure can be put before somebody now.
--- @param self table  the session
--- @param failure any
--- @return boolean
function decide.is_possible(self, failure) return not attempt.interrupts(failure) and self:is_attended() end

--- The failure that the step was left with in an earlier life, and that a person is to decide about before it is
--- attempted again: one had it before, or the answer was brought along.
--- @param self table
--- @param step table
--- @return any failure  nil: there is none
function decide.left_open(self, step)
  local known = self.state:step(step.title)
  if not known or known.status ~= "failed" or not self:is_attended() then return nil end
  if known.asked or self.ready_answer then return fault.new(known.failure) end
end

-- ---- the question ----

local function is_bracket(one) return one.bracket == "open" or one.bracket == "close" end

--- What a rollback would find now: counts, and the newest effects in place.
local function in_place(ended)
  local shown, undo, kept = {}, 0, 0
  for i = #ended.changed, 1, -1 do
    local one = ended.changed[i]
    if not is_bracket(one) then
      if one.disposition == "keep" then kept = kept + 1 else undo = undo + 1 end
      if #shown < MOST_SHOWN then table.insert(shown, 1, one) end
    end
  end
  return { changed = shown, more = undo + kept - #shown, undo = undo, kept = kept }
end

local function question(self, step, failure, notice)
  local ended = outcome.of(self, "stopped", failure)
  local shown = in_place(ended)
  shown.failure, shown.step, shown.run = data.failure(failure), ended.step, ended.run
  shown.undo_seconds = estimate.undo(self.state)
  shown.point_of_no_return, shown.has_check = ended.point_of_no_return, step.check ~= nil
  return { kind = "failure", path = step.title, options = decide.OPTIONS, shown = shown, notice = notice,
    text = ("%s failed: %s"):format(step.title, shown.failure.message) }
end

-- ---- the answers ----

local function need_reason(answer, what)
  if (answer.reason or "") == "" then fault.raise { kind = "verify", message = what .. " needs a reason" } end
end

local function holds(step)
  if not step.on then return step.check() end
  for _, item in ipairs(fan_out.items(step)) do
    if not step.check(item) then return false end
  end
  return true
end

local function check_work(self, step)
  local branch = branches.new(self, step, { path = step.title, attempt = 0 })
  if task.with_context(branch, function() return branch:within({ inside = true }, holds, step) end) then return end
  fault.raise { kind = "verify", message = "said to be done by hand, but its check does not find it so" }
end

local act = {}

function act.retry() return "retry" end

act["by hand"] = function(self, step, answer)
  if step.check then check_work(self, step) else need_reason(answer, "a step done by hand, and without a check,") end
  attempt.by_person(self, step, "done", answer)
  return "ended"
end

function act.skip(self, step, answer)
  need_reason(answer, "skipping a step")
  attempt.by_person(self, step, "skipped", answer)
  return "ended"
end

function act.back(self, _, answer)
  local down_to = rollback.down_to(self, answer.to)
  return "left", { choice = "back", down_to = down_to, reason = answer.reason, who = answer.who }
end

act["hand over"] = function(self, step, answer)
  local whom = (answer.whom or "") ~= "" and answer.whom or "whoever is next"
  local text = ("handed over to %s%s"):format(whom, answer.reason and ": " .. answer.reason or "")
  self.writer:write { type = "note", kind = "hand over", path = step.title, text = text, whom = whom, who = answer.who }
  return "left", { choice = "hand over", failure = fault.new { kind = "paused", where = "", message = text } }
end

function act.quit() return "left", { choice = "quit" } end

--- Asks until an answer can be carried out. What ends the walk is raised again, with self.decision saying how.
--- @param self table
--- @param step table
--- @param failure any
--- @return "retry"|"ended"
function decide.ask(self, step, failure)
  local notice
  while true do
    local choice, answer = self:ask(question(self, step, failure, notice))
    local ok, result, decision = pcall(act[choice], self, step, answer)
    if ok and result ~= "left" then return result end
    if ok then
      if choice ~= "quit" or self.state:has_changed() then self.decision = decision end
      error(failure, 0)
    end
    if attempt.interrupts(result) then error(result, 0) end
    notice = fault.is(result) and result.message or tostring(result)
  end
end

return decide
