--- A rehearsal: a run that goes forward, back, and forward again. What lies behind a point of no return is not done before
--- it has been back; each state that was changed is read after the way back, and must be as it was; and both ways forward
--- must come to the same. How far it is stands in the journal, as notes, so that it is resumed as other runs are.
local attempt     = require "neap.engine.attempt"
local fault       = require "native.error"
local fingerprint = require "neap.engine.fingerprint"
local rollback    = require "neap.engine.rollback"
local step_path   = require "neap.engine.step_path"

local rehearsal = {}

--- The stages that are behind: turned, returned, compared, "not crossed".
local function stages(self) return self.state.rehearsal end

local function note(self, stage, text, fields)
  local record = { type = "note", kind = "rehearsal", stage = stage, text = "rehearsal: " .. text }
  for key, value in pairs(fields or {}) do record[key] = value end
  self.writer:write(record)
end

-- ---- points of no return ----

local function arrive(self, step, why)
  self.arrived = { step = step, why = why }
  fault.raise { kind = "cancelled", code = "no return", where = "",
    message = ("%s is a point of no return, and the rehearsal has not been back yet"):format(step.title) }
end

--- Why the point is not to be crossed; nil: a person, or the policy, has said so.
local function refusal(self, step, why)
  if not stages(self).compared.passed then return "the two ways forward did not come to the same" end
  if self:policy("point_of_no_return", "ask") == "pass" then return nil end
  if not self:is_attended() then return "the policy wants a person to say so, and nobody is here" end
  local choice, answer = self:ask { kind = "point of no return", path = step.title, options = { "pass", "stop" },
    text = ("%s cannot be taken back: %s"):format(step.title, why or ""), shown = { rehearsal = true } }
  self.agreed = choice == "pass" and step.title or nil
  return choice ~= "pass" and ("%s said no"):format(answer.who or "a person") or nil
end

local compare

--- On the second way forward, where the first one turned: the two are compared before the point is crossed.
local function cross(self, step, why)
  if not stages(self).compared then compare(self) end
  local known = self.state:step(step.title)
  if known and known.status ~= "undone" then return end -- it was begun: somebody has said so
  local refused = refusal(self, step, why)
  if not refused then return end
  self.uncrossed = true
  note(self, "not crossed", ("%s is not crossed: %s"):format(step.title, refused))
  fault.raise { kind = "cancelled", code = "no return", where = "", message = "not crossed: " .. refused }
end

--- Told of each step before it is attempted.
--- @param self table  the session
--- @param step table
function rehearsal.before_step(self, step)
  if not self.state.first.rehearsal then return end
  local turned = stages(self).turned
  local is_here = turned and turned.at == step.title
  if not (is_here or step.irreversible and not stages(self).compared) then return end
  if not stages(self).returned then return arrive(self, step, step.irreversible) end
  cross(self, step, step.irreversible or turned.why)
end

--- Told of an effect that nothing can take back, before it is made.
local function before_effect(self, step, why)
  if self.state.turn == "forward" and not stages(self).compared then arrive(self, step, why) end
end

--- Whether a person has said, for this rehearsal, that the point is crossed.
--- @param self table
--- @param step table
--- @return boolean
function rehearsal.has_agreed(self, step) return self.agreed == step.title end

-- ---- forward ----

local function stopped_at_point(self, failure)
  return self.arrived ~= nil and attempt.interrupts(failure) and not self.pausing
end

--- Where the point lies within a step, the step is taken back: both ways forward are compared where it begins.
local function leave_step(self, arrived)
  if not arrived or not self.state:step(arrived.step.title) then return end
  rollback.step(self, arrived.step, { type = "note", kind = "rehearsal", stage = "taken back",
    text = ("rehearsal: %s is taken back, for it holds a point of no return"):format(arrived.step.title) })
end

--- What both ways forward change, but for the step at which they end.
local function up_to(list, title)
  local some = {}
  for _, one in ipairs(list) do
    if step_path.root(one.path) ~= title and not one.kept then some[#some + 1] = one end
  end
  return some
end

local function first_forward(self, walk)
  local ok, failure = pcall(walk, self)
  if not ok and not stopped_at_point(self, failure) then error(failure, 0) end
  local arrived = self.arrived
  self.arrived = nil
  leave_step(self, arrived)
  local at = arrived and arrived.step.title
  local states, list = {}, up_to(fingerprint.touched(self, 0), at)
  fingerprint.read(self, list)
  for i, one in ipairs(list) do states[i] = { key = one.key, fingerprint = fingerprint.of_now(one) } end
  note(self, "turned", at and ("turns back before %s"):format(at) or "turns back at the end",
    { at = at, why = arrived and arrived.why, states = states })
end

-- ---- back ----

local function line_of(one, what) return { key = one.key, show = one.show, path = one.path, what = what } end

--- The same of one that did not come back.
local function astray(one, what)
  local line = line_of(one, what)
  line.astray = true
  return line
end

--- The whole way back; then every state that was changed is read.
local function back(self)
  rollback.step(self, self.procedure.steps[1], { type = "note", kind = "rehearsal", stage = "taken back",
    text = "rehearsal: all is taken back" })
  local list, suspects = up_to(fingerprint.touched(self, 0, stages(self).turned.seq)), {}
  fingerprint.read(self, list)
  for _, one in ipairs(list) do
    if not fingerprint.is_as_before(one) then suspects[#suspects + 1] = line_of(one, one.unread) end
  end
  note(self, "returned", ("%d of %d states read as they were before"):format(#list - #suspects, #list),
    { read = #list, suspects = suspects })
end

-- ---- forward again ----

--- A state that a change found as an earlier one of another kind had left it reads otherwise when all is taken back.
--- Whether such a one came back is known when the second way forward finds it as the first one did. In the step that is not
--- attempted again before the point, its undo has to do.
local function not_come_back(self, second)
  local list = {}
  for _, one in ipairs(stages(self).returned.suspects) do
    if not second[one.key] and step_path.root(one.path) ~= stages(self).turned.at then
      list[#list + 1] = astray(one, one.what or "it was not as before after the way back")
    end
  end
  return list
end

local function compare_befores(first, second, found)
  for key, one in pairs(second) do
    local earlier = first[key]
    if not earlier and not one.kept then
      found[#found + 1] = line_of(one, "only the second way forward changed it")
    elseif earlier and not earlier.kept and fingerprint.of(earlier.before) ~= fingerprint.of(one.before) then
      found[#found + 1] = astray(one, "the second way forward found it otherwise")
    end
  end
end

local function compare_ends(self, list, found)
  local known = {}
  for _, state in ipairs(stages(self).turned.states) do known[state.key] = state.fingerprint end
  fingerprint.read(self, list)
  for _, one in ipairs(list) do
    if known[one.key] ~= fingerprint.of_now(one) then found[#found + 1] = line_of(one, "it came to another state") end
  end
end

local function by_show(a, b)
  if a.show ~= b.show then return a.show < b.show end
  return a.what < b.what
end

--- Whether anything was changed that can have been rehearsed: what a rollback leaves cannot. A procedure that has no states
--- at all has nothing to show.
local function has_changed(self)
  local as_wanted = 0
  for entry in self.journal.store:records(self.number, 0, stages(self).turned.seq) do
    local record = self.journal:outline(entry.line)
    if record.type == "intent" and record.disposition ~= "keep" then return true end
    if record.type == "end" and record.status == "same" then as_wanted = as_wanted + 1 end
  end
  return as_wanted == 0
end

--- Compares the two ways forward where the first one ended.
function compare(self, other_point)
  local turned, changed = stages(self).turned, has_changed(self)
  local first, first_by_key = fingerprint.touched(self, 0, turned.seq)
  local _, second = fingerprint.touched(self, stages(self).returned.seq)
  local found = not_come_back(self, second)
  compare_befores(first_by_key, second, found)
  local list = up_to(first, turned.at)
  compare_ends(self, list, found)
  table.sort(found, by_show)
  local text = "both ways forward came to the same"
  if #found > 0 then text = ("the two ways forward differ in %d"):format(#found) end
  if other_point then
    text = ("the second way forward came to a point of no return that the first did not meet: %s"):format(other_point)
  elseif not changed then
    text = "everything was as wanted already, so nothing was rehearsed"
  end
  note(self, "compared", text, { read = #list, differ = found, at = other_point,
    passed = #found == 0 and not other_point and changed })
end

local function second_forward(self, walk)
  self.occurrences = {} -- a plan counts effects of one way forward
  local ok, failure = pcall(walk, self)
  if ok then
    if not stages(self).compared then compare(self) end
    return "done"
  end
  if stopped_at_point(self, failure) then compare(self, self.arrived.step.title) end
  if not (self.uncrossed or self.arrived) or self.pausing then error(failure, 0) end
  return "back"
end

--- Whether it was found before an interruption that it goes no further.
local function ends_here(self)
  local compared = stages(self).compared
  return stages(self)["not crossed"] ~= nil or compared ~= nil and compared.at ~= nil
end

--- Whether the comparison found that something did not come back.
--- @param self table
--- @return boolean
function rehearsal.left_astray(self)
  for _, one in ipairs(stages(self).compared and stages(self).compared.differ or {}) do
    if one.astray then return true end
  end
  return false
end

--- Goes on with a rehearsal from where its notes say that it is.
--- @param self table  the session, turned forward
--- @param walk fun(self: table)  attempts all steps that are not over
--- @return "done"|"back"  back: it is to be rolled back, for it crosses no point of no return
function rehearsal.walk(self, walk)
  self.before_no_return = function(step, why) before_effect(self, step, why) end
  if not stages(self).turned then first_forward(self, walk) end
  if not stages(self).returned then back(self) end
  if ends_here(self) then return "back" end
  return second_forward(self, walk)
end

return rehearsal
