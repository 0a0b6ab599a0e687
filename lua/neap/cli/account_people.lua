--- What persons did in a run, and where it went another way than its procedure says.
local step_path = require "neap.engine.step_path"

local people = {}

local function numbered(model, path)
  local title = path and step_path.title(path) or ""
  return ((model.numbers[title] or "") .. " " .. title):match "^%s*(.-)%s*$"
end

local on = {}

function on.answer(found, record)
  local asked = found.asked[record.of] or {}
  local where = numbered(found.model, asked.path)
  local text = ("%s%s: %s"):format(where, asked.kind and (" (%s)"):format(asked.kind) or "", record.choice)
  if record.reason then text = ("%s, because: %s"):format(text, record.reason) end
  found:tell(record, "answered", text)
  if asked.kind == "conflict" and record.choice ~= "stop" then
    found:deviate(record, ("%s: what somebody else changed was answered with %q"):format(where, record.choice))
  elseif asked.kind == "in doubt" or asked.kind == "partial" then
    found:deviate(record, ("%s: a person said of what was in doubt: %s"):format(where, record.choice))
  end
end

function on.ask(found, record) found.asked[record.seq] = record end

local NOTES = { approval = "approved", evidence = "evidence", ["hand over"] = "handed over" }
local DEVIATING = { arguments = true, code = true, ["outside window"] = true }

function on.note(found, record)
  local text = tostring(record.text or "")
  if NOTES[record.kind] then
    local where = record.path and numbered(found.model, record.path) .. ": " or ""
    found:tell(record, NOTES[record.kind], where .. text, record.principal)
  elseif DEVIATING[record.kind] then
    found:tell(record, record.kind, text)
    found:deviate(record, text)
  elseif record.kind == "rehearsed" then
    found:tell(record, "rehearsed", text, "neap")
  end
end

function on.own(found, record)
  found.owners = found.owners + 1
  if found.owners > 1 then found:tell(record, "taken up", ("token %d"):format(record.token), record.host or "?") end
end

function on.turn(found, record)
  if record.direction == "back" then found:tell(record, "rolling back", record.why or "") end
end

function on.step(found, record)
  found.steps[record.seq] = record
  if record.line then found:tell(record, "typed", record.line) end
end

on["end"] = function(found, record)
  local step = found.steps[record.of]
  if step and record.how == "person" then
    local what = record.status == "skipped" and "was skipped" or "was done by hand"
    local why = record.reason and ": " .. record.reason or ""
    found:deviate(record, ("%s %s by %s%s"):format(numbered(found.model, step.path), what, record.who or "?", why))
  elseif step and record.status == "failed" then
    found:deviate(record, ("%s failed: %s"):format(numbered(found.model, step.path),
      record.failure and record.failure.message or "?"))
  elseif record.status == "kept" and record.how == "person" then
    found:deviate(record, ("%s: left as it is: %s"):format(numbered(found.model, record.path), record.why or ""))
  end
end

function on.close(found, record)
  if record.reason then
    found:tell(record, record.outcome, record.reason)
    found:deviate(record, ("%s: %s"):format(record.outcome, record.reason))
  end
end

local Found = {}
Found.__index = Found

function Found:tell(record, what, text, who)
  table.insert(self.told, { time = record.time, who = tostring(record.who or who or self.actor), what = what,
    text = text })
end

function Found:deviate(record, text) table.insert(self.deviations, { time = record.time, text = text }) end

--- @param model table  as standing.of gives it
--- @return { time: string, who: string, what: string, text: string }[] people  in order
--- @return { time: string, text: string }[] deviations
function people.of(model)
  local found = setmetatable({ model = model, told = {}, deviations = {}, asked = {}, steps = {}, owners = 0,
    actor = model.run.actor or "?" }, Found)
  found:tell({ time = model.run.started }, "started", model.run.procedure)
  for _, record in ipairs(model.records) do
    if on[record.type] then on[record.type](found, record) end
  end
  return found.told, found.deviations
end

return people
