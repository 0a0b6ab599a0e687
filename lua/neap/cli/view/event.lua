--- The journal's records as a person follows them: each becomes a line, or what a later line needs. Progress and log
--- read the same lines.
local step_path = require "neap.engine.step_path"
local time      = require "neap.cli.view.time"

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

--- @return table reader
function event.new()
  return setmetatable({ numbers = {}, begun = {}, effects = {}, waits = {}, said = {} }, event)
end

--- The number of the step that the path belongs to, and what neap.engine.step_path says of it.
--- @param path string
--- @return string? number
--- @return string title
--- @return string? branch
function event:step_of(path)
  local title, branch = step_path.split(path)
  return self.numbers[title], title, branch
end

local function sign_of(intent)
  if intent.sign then return intent.sign end
  if intent.before == nil and intent.after == nil then return ">" end
  return intent.before == nil and "+" or intent.after == nil and "-" or "~"
end

local MARKS = { keep = "keep", irreversible = "NO UNDO" }

local VERDICTS = { done = "it had happened, adopted", void = "it had not happened, and cannot any more",
                   partial = "it had happened in part" }

local on = {}

function on.run(_, record)
  local by = record.actor and " by " .. tostring(record.actor) or ""
  return { sign = "head", text = ("run %d %s on %s%s"):format(record.run, record.procedure, record.environment, by) }
end

function on.own(_, record)
  return { sign = "note", text = ("lease taken, token %d"):format(record.token) }
end

function on.turn(self, record)
  local turned = self.back ~= nil
  self.back = record.direction == "back" or nil
  if record.direction ~= "back" then return turned and { sign = "note", text = "going forward again" } or nil end
  local to = self.begun[record.to]
  local name = to and (to.number and to.number .. " " or "") .. to.path
  return { sign = "note", text = name and "rolling back to " .. name or "rolling back" }
end

function on.step(self, record)
  local _, title, branch = self:step_of(record.path)
  if record.number and not branch then self.numbers[title] = record.number end
  self.begun[record.seq] = record
  if record.line then
    local by = record.who and " by " .. record.who or ""
    return { sign = "note", text = ("%s%s: %s"):format(record.path, by, (record.line:gsub("\n", " "))) }
  end
  if branch or record.how then return nil end
  local again = record.attempt and record.attempt > 1 and ("attempt %d"):format(record.attempt) or nil
  return { sign = "step", number = self.numbers[title], text = title,
           result = record.undoes and "its own undo" or again }
end

function on.intent(self, record)
  self.effects[record.seq] = record
end

local function effect_line(self, intent, record)
  local number, _, branch = self:step_of(intent.path)
  local back = intent.undoes and self.effects[intent.undoes]
  local line = { sign = sign_of(back or intent), number = number, branch = branch, text = intent.show or intent.kind,
                 kind = intent.kind, seconds = time.between(intent.time, record.time),
                 mark = MARKS[intent.disposition] }
  line.result = intent.undoes and record.status == "done" and "undone" or record.status
  if record.how == "settled" then line.detail = "as the target says" end
  return line
end

local RESULTS = { void = "did not happen", partial = "PARTLY DONE", failed = "FAILED", kept = "kept" }

local function end_of_effect(self, intent, record)
  if intent.bracket == "open" and not intent.undoes then return nil end
  if intent.bracket == "close" and record.status == "undone" then return nil end -- its opening is what is undone
  local line = effect_line(self, intent, record)
  line.result = RESULTS[record.status] or line.result
  if record.status == "failed" or record.status == "partial" then
    line.sign, line.detail = "!", record.failure and record.failure.message
    self.said[intent.path] = line.detail
  end
  if record.status == "kept" then line.detail, line.seconds, line.mark = record.why, nil, nil end
  if intent.undoes and record.status == "done" and not self.back then line.detail = "taken back at once" end
  if record.status == "undone" then line.detail, line.seconds = "was as before already", nil end
  return line
end

local function end_of_step(self, step, record)
  local number, title, branch = self:step_of(step.path)
  local name = branch and title .. " on " .. branch or title
  local seconds = time.between(step.time, record.time)
  if record.status == "failed" then
    local detail = record.failure and record.failure.message
    if step.line and detail then detail = detail:gsub("^load line:%d+: ", "") end
    if self.said[step.path] == detail then detail = nil end -- the effect that failed has just said it
    return { sign = "!", number = number, text = name, result = "FAILED", seconds = seconds, detail = detail }
  end
  if record.how == "person" then
    return { sign = "!", number = number, text = name, detail = record.reason,
             result = record.status == "skipped" and "SKIPPED" or "done by hand" }
  end
  if branch or step.line then return nil end
  if record.skipped then return { sign = "=", number = number, text = name, result = "left out" } end
  return { sign = "done", number = number, text = name, result = step.undoes and "undone" or record.status,
           seconds = seconds }
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
  return { sign = "ask", text = record.text or record.kind }
end

function on.answer(_, record)
  local who = record.who and " by " .. tostring(record.who) or ""
  return { sign = "note", text = ("answered%s: %s"):format(who, tostring(record.choice)), detail = record.reason }
end

function on.note(_, record)
  if record.kind == "summary" then return nil end
  local text = tostring(record.text or record.remark or "")
  local how = record.trusted and "vouched for" or "met"
  if record.kind == "pin" then return { sign = "=", text = text, result = how } end
  return { sign = "note", text = record.kind == "evidence" and "evidence: " .. text or text }
end

--- What a run could not give back at its close, because its host was away: it harms nobody.
local function left_of(record)
  local left = {}
  for i, one in ipairs(record.left or {}) do
    left[i] = ("left, for it could not be reached: %s of %s"):format(one.place.folder or "a place", one.show)
  end
  return #left > 0 and table.concat(left, "; ") or nil
end

function on.close(_, record)
  return { sign = "head", detail = left_of(record),
    text = record.reason and ("%s: %s"):format(record.outcome, record.reason) or record.outcome }
end

--- Of what is said in passing only a pause is worth a line of its own.
local WAITS = { running = "still runs; waiting for its end", unreachable = "cannot be asked yet; trying again" }

--- A wait of a settler is said once; the other events of this kind show in the block alone.
function on.progress(self, record)
  if record.pausing or record.withdrawing then return { sign = "note", text = record.text } end
  local says = WAITS[record.text]
  local key = says and ("%s %s"):format(record.show, says)
  if not says or self.waits[key] then return nil end
  self.waits[key] = true
  local why = record.failure and ": " .. (type(record.failure) == "table" and record.failure.message
    or tostring(record.failure)) or ""
  return { sign = "note", text = key .. why }
end

function on.settled(self, record)
  local verdict = record.said or VERDICTS[record.verdict] or record.verdict
  return { sign = "note", number = self:step_of(record.path), text = ("%s: %s"):format(record.show, verdict) }
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
