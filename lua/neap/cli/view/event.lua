--- The journal's records as a person follows them: each becomes a line, or what a later line needs. Progress and log
--- read the same lines.
local time = require "neap.cli.view.time"

local event = {}
event.__index = event

--- @class neap.line
--- @field time string  UTC
--- @field sign string  + ~ - > = of an effect; "step", "ask", "note", "head" …; "!" for what failed
--- @field number? string  of the step
--- @field text string  what it is about; foreign text is not clean yet
--- @field result? string  done, FAILED, undone …
--- @field seconds? number
--- @field mark? string  keep, NO UNDO
--- @field detail? string  the error's or the person's words

--- @param steps table[]  of the procedure: { number, title }; for a journal whose code is not at hand, empty
--- @return table reader
function event.new(steps)
  local numbers = {}
  for _, step in ipairs(steps) do numbers[step.title] = step.number end
  return setmetatable({ numbers = numbers, begun = {}, effects = {} }, event)
end

--- "Switch the proxies/proxy1" is the branch proxy1 of a step; a title may hold a slash itself.
--- @return string? number
--- @return string title
--- @return string? branch
function event:step_of(path)
  local title, branch = path, nil
  while not self.numbers[title] do
    local shorter, last = title:match "^(.*)/([^/]*)$"
    if not shorter then return nil, path, nil end
    title, branch = shorter, branch and last .. "/" .. branch or last
  end
  return self.numbers[title], title, branch
end

local function sign_of(intent)
  if intent.sign then return intent.sign end
  if intent.before == nil and intent.after == nil then return ">" end
  return intent.before == nil and "+" or intent.after == nil and "-" or "~"
end

local MARKS = { keep = "keep", irreversible = "NO UNDO" }

local on = {}

function on.run(_, record)
  local by = record.actor and " by " .. tostring(record.actor) or ""
  return { sign = "head", text = ("run %d %s on %s%s"):format(record.run, record.procedure, record.environment, by) }
end

function on.own(_, record)
  return { sign = "note", text = ("lease taken, token %d"):format(record.token) }
end

function on.turn(_, record)
  if record.direction ~= "back" then return { sign = "note", text = "turning forward again" } end
  return { sign = "note", text = "rolling back" .. (record.to and " to " .. tostring(record.to) or "") }
end

function on.step(self, record)
  local number, title, branch = self:step_of(record.path)
  self.begun[record.seq] = record
  if branch then return nil end
  return { sign = "step", number = number, text = title,
           result = record.undoes and "undo" or record.attempt and record.attempt > 1 and "again" or nil }
end

function on.intent(self, record)
  self.effects[record.seq] = record
end

local function effect_line(self, intent, record)
  if intent.bracket == "open" then return nil end
  local number = self:step_of(intent.path)
  local back = intent.undoes and self.effects[intent.undoes]
  local line = { sign = back and sign_of(back) or sign_of(intent), number = number, text = intent.show or intent.kind,
                 kind = intent.kind, seconds = time.between(intent.time, record.time),
                 mark = MARKS[intent.disposition], status = record.status }
  line.result = back and record.status == "done" and "undone" or record.status
  line.settled = record.how == "settled" or nil
  return line
end

local RESULTS = { void = "did not happen", partial = "PARTLY DONE", failed = "FAILED", kept = "kept" }

local function end_of_effect(self, intent, record)
  local line = effect_line(self, intent, record)
  if not line then return nil end
  line.result = RESULTS[record.status] or line.result
  if record.status == "failed" or record.status == "partial" then
    line.sign, line.detail = "!", record.failure and record.failure.message
  end
  if record.status == "kept" then line.detail = record.why end
  return line
end

local function end_of_step(self, step, record)
  local number, title, branch = self:step_of(step.path)
  local name = branch and title .. " on " .. branch or title
  local seconds = time.between(step.time, record.time)
  if record.status == "failed" then
    return { sign = "!", number = number, text = name, result = "FAILED", seconds = seconds,
             detail = record.failure and record.failure.message }
  end
  if record.status == "undone" or step.undoes then
    return { sign = "done", number = number, text = name, result = "undone", seconds = seconds }
  end
  if branch then return nil end
  return { sign = "done", number = number, text = name, result = record.status, seconds = seconds }
end

on["end"] = function(self, record)
  if record.status == "same" then
    return { sign = "=", number = self:step_of(record.path), text = record.show or record.kind or record.path,
             kind = record.kind, result = "as wanted" }
  end
  local intent, step = self.effects[record.of], self.begun[record.of]
  if intent then return end_of_effect(self, intent, record) end
  if step then return end_of_step(self, step, record) end
end

function on.ask(_, record)
  return { sign = "ask", text = record.question or record.text or "a question", detail = record.kind }
end

function on.answer(_, record)
  local who = record.who and " by " .. tostring(record.who) or ""
  return { sign = "note", text = ("answered%s: %s"):format(who, tostring(record.choice)), detail = record.reason }
end

function on.note(_, record)
  return { sign = "note", text = tostring(record.text or record.remark or "") }
end

function on.close(_, record)
  return { sign = "head", text = tostring(record.outcome or "closed"), result = "close" }
end

--- Takes a record in; returns its line, or nil where it has none of its own.
--- @param record table
--- @return neap.line?
function event:read(record)
  local take = on[record.type]
  local line = take and take(self, record)
  if line then line.time = record.time end
  return line
end

return event
