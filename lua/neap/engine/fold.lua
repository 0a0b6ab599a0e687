--- The state of a run: a fold over its records, and nothing else. In doubt is an intent without its end; dirty is a run
--- without its close. Records that tell less than the whole never make it raise: each prefix is a state.
local data = require "neap.engine.data"

local fold = {}
fold.__index = fold

--- @return table state  of a run without records
function fold.new()
  return setmetatable({
    turn = "forward", steps = {}, step_order = {}, attempts = {}, effects = {}, effect_order = {}, answers = {},
    pins = {}, trusted = {},
  }, fold)
end

local on = {}

function on.run(state, record)
  state.first = record
  for name, identity in pairs(record.pins or {}) do state.pins[name] = identity end
end

function on.own(state, record)
  state.owner = record
  for _, step in pairs(state.steps) do
    step.interrupted = step.interrupted or step.status == "open"
  end
end

--- After a way back to a step, that step and those after it are to be done anew.
local function forget_from(state, seq)
  for _, step in pairs(state.steps) do
    if step.first_seq >= seq then step.status = "undone" end
  end
end

function on.turn(state, record)
  if record.direction == "forward" and state.to then forget_from(state, state.to) end
  state.turn, state.to, state.turn_record = record.direction, record.to, record
end

--- What a new attempt finds of the earlier ones: actions that are done and not undone, which are not made again, and
--- brackets that were opened and not closed, which are still to be closed. By digest.
local function carry_over(known)
  local actions, opened = {}, {}
  for digest, list in pairs(known and known.carried.actions or {}) do actions[digest] = { table.unpack(list) } end
  for digest, effect in pairs(known and known.carried.opened or {}) do opened[digest] = effect end
  for _, item in ipairs(known and known.recorded or {}) do
    if item.bracket == "open" then
      opened[item.digest] = item
    elseif item.bracket == "close" and item.status == "done" then
      opened[item.opened_by] = nil
    elseif item.class == "action" and item.status == "done" then
      actions[item.digest] = actions[item.digest] or {}
      table.insert(actions[item.digest], item)
    end
  end
  return { actions = actions, opened = opened }
end

local function new_attempt(record, known)
  return {
    path = record.path, seq = record.seq, attempt = record.attempt, undo = record.undo, why = record.why,
    number = record.number, title = record.title, undoes = record.undoes, status = "open", recorded = {},
    started = record.time, carried = carry_over(known),
  }
end

function on.step(state, record)
  local known = state.steps[record.path]
  if not known then table.insert(state.step_order, record.path) end
  local attempt = new_attempt(record, known)
  attempt.first_seq = known and known.status ~= "undone" and known.first_seq or record.seq
  state.steps[record.path], state.attempts[record.seq] = attempt, attempt
end

local function attempt_of(state, path) return path and state.steps[path] end

function on.saw(state, record)
  local step = attempt_of(state, record.path)
  if not step then return end
  table.insert(step.recorded, { type = "saw", digest = record.digest, result = record.result })
end

function on.intent(state, record)
  local effect = {}
  for key, value in pairs(record) do effect[key] = value end
  effect.type, effect.status = "effect", "intended"
  effect.digest = data.digest(record.kind, record.target, record.data)
  state.effects[record.seq] = effect
  table.insert(state.effect_order, effect)
  local step = attempt_of(state, record.path)
  if step and not record.undoes then table.insert(step.recorded, effect) end
end

local function end_effect(state, effect, record)
  if record.status == "undone" or record.status == "kept" then
    effect[record.status] = true
    return
  end
  effect.status, effect.result, effect.failure, effect.how = record.status, record.result, record.failure, record.how
  effect.ended = record.time
  local undone = effect.undoes and state.effects[effect.undoes]
  if undone and record.status == "done" then undone.undone = true end
end

local function end_step(state, step, record)
  step.status, step.result, step.failure, step.end_seq = record.status, record.result, record.failure, record.seq
  step.skipped = record.skipped
  step.how, step.who, step.reason, step.ended = record.how, record.who, record.reason, record.time
  local undone = step.undoes and state.attempts[step.undoes]
  if undone and record.status == "done" then undone.status = "undone" end
end

on["end"] = function(state, record)
  if record.status == "same" then
    local step = attempt_of(state, record.path)
    if step then
      table.insert(step.recorded, { type = "effect", digest = record.digest, status = "same", result = record.result })
    end
    return
  end
  local effect = state.effects[record.of]
  if effect then return end_effect(state, effect, record) end
  local step = state.attempts[record.of]
  if step then end_step(state, step, record) end
end

function on.ask(state, record)
  state.question = record
  local step = record.kind == "failure" and attempt_of(state, record.path)
  if step then step.asked = true end
end

function on.answer(state, record)
  if state.question and record.of == state.question.seq then state.question = nil end
  state.answers[record.of] = record
end

function on.note(state, record)
  if record.kind == "hand over" then state.handed_over = record end
  if record.kind ~= "pin" then return end
  state.pins[record.name] = record.identity
  if record.trusted then state.trusted[record.name] = record.identity end
end

function on.close(state, record)
  state.closed = record
end

--- Takes one record in.
--- @param record table
function fold:add(record)
  local take = on[record.type]
  self.seq, self.last = record.seq, record
  if take then take(self, record) end
end

--- @param records table[]
--- @return table state
function fold.of(records)
  local state = fold.new()
  for _, record in ipairs(records) do state:add(record) end
  return state
end

--- The effects whose intent has no end, oldest first.
--- @return table[]
function fold:in_doubt()
  local list = {}
  for _, effect in ipairs(self.effect_order) do
    if effect.status == "intended" then list[#list + 1] = effect end
  end
  return list
end

--- Whether the effect stands at its target and a rollback has to deal with it.
local function in_place(effect)
  return not effect.undoes and not effect.undone and not effect.kept
    and (effect.status == "done" or effect.status == "partial" or effect.status == "intended")
end

--- The effects that are in place, oldest first.
--- @return table[]
function fold:in_place()
  local list = {}
  for _, effect in ipairs(self.effect_order) do
    if in_place(effect) then list[#list + 1] = effect end
  end
  return list
end

--- The steps that a person skipped or did by hand, in the order of the run.
--- @return { path: string, number: string, status: "skipped"|"done", who: string?, reason: string? }[]
function fold:by_person()
  local list = {}
  for _, path in ipairs(self.step_order) do
    local step = self.steps[path]
    if step.how == "person" and step.status ~= "undone" then
      list[#list + 1] = { path = path, number = step.number, status = step.status, who = step.who,
        reason = step.reason }
    end
  end
  return list
end

--- The last point of no return that is passed: an irreversible effect or step that is done. nil if there is none.
--- @return { seq: integer, path: string, why: string }?
function fold:point_of_no_return()
  local last
  local function consider(seq, path, why)
    if not last or seq > last.seq then last = { seq = seq, path = path, why = why } end
  end
  for _, effect in ipairs(self.effect_order) do
    if effect.disposition == "irreversible" and in_place(effect) then consider(effect.seq, effect.path, effect.why) end
  end
  for _, step in pairs(self.steps) do
    if step.undo == "irreversible" and step.status == "done" then consider(step.end_seq, step.path, step.why) end
  end
  return last
end

return fold
