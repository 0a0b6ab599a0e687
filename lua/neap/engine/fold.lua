--- The state of a run: a fold over its records, and nothing else. In doubt is an intent without its end; dirty is a run
--- without its close. Records that tell less than the whole never make it raise: each prefix is a state.
---
--- What has ended lies in the journal, not here: of a step that is done stay the numbers of its records, of its effects
--- that are in place as well, and `step` and `effect` read them again. Outlines of records will do to fold: `complete` then
--- fetches what is left open whole.
local chain     = require "native.sqlite_chain"
local data      = require "neap.engine.data"
local json      = require "native.json"
local step_path = require "neap.engine.step_path"
local summary   = require "neap.engine.summary"

local fold = {}
fold.__index = fold

--- @class neap.record_source
--- @field whole fun(seq: integer): table  a record
--- @field outline fun(seq: integer): table  its strings, numbers and booleans will do

--- @param source? neap.record_source  where the records lie that were added
--- @return table state  of a run without records
function fold.new(source)
  return setmetatable({
    turn = "forward", source = source, steps = {}, step_order = {}, attempts = {}, effects = {}, answers = {},
    finished = {}, -- path -> seq << 32 | seq of the end, of steps that are done and leave nothing to say
    standing = {}, -- seq -> seq of the end, of effects that are in place and whose step is finished
    kept = {}, -- seqs of effects that a rollback left
    irreversible = {}, -- seqs of effects that have no undo, in order
    places = {}, -- JSON of a place that a kind made -> seq of an intent that names it
    pins = {}, trusted = {},
    taken_back = {}, -- paths of which something was undone since the run turned back
    amendments = {}, -- notes of arguments and code that were changed on the way
    rehearsal = {}, -- of a rehearsal the notes of its stages, by their names
    left = 0, -- how many effects a rollback left though they were to be put back
    took = {}, -- path -> seconds of finished steps
    undo_seconds = 0, -- what the effects in `standing` took that a rollback would put back; nil: to be summed up anew
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

--- After a way back to a step, that step and those after it are to be done anew; and those before it of which an earlier
--- way back, that was to go further, has undone something.
local function forget_taken_back(state)
  local from = state.to or math.maxinteger
  for path, step in pairs(state.steps) do
    if state.taken_back[path] or step.first_seq >= from then step.status = "undone" end
  end
  for path, records in pairs(state.finished) do
    if state.taken_back[path] or records >> 32 >= from then
      local step = state:step(path)
      step.status, state.finished[path], state.steps[path] = "undone", nil, step
    end
  end
  state.taken_back = {}
end

function on.turn(state, record)
  if record.direction == "forward" and state.turn == "back" then forget_taken_back(state) end
  state.turn, state.to, state.turn_record = record.direction, record.to, record
end

--- The digest by which a recorded item answers the same call.
--- @param item table
--- @return string
function fold.digest_of(item)
  item.digest = item.digest or data.digest(item.kind, item.target, item.data)
  return item.digest
end

--- What an attempt recorded, from its records where it is finished.
local function recorded_of(state, step)
  if step.recorded then return step.recorded end
  local part = fold.new()
  for seq = step.seq, step.end_seq do
    local record = state.source.whole(seq)
    if record.path == step.path then part:add(record) end
  end
  local recorded = part.steps[step.path].recorded
  for _, item in ipairs(recorded) do
    item.undone = item.seq ~= nil and not state.standing[item.seq] and not state.kept[item.seq]
  end
  return recorded
end

local function carry(state, found, step)
  if step.earlier then carry(state, found, step.earlier) end
  for _, item in ipairs(recorded_of(state, step)) do
    if item.bracket == "open" then
      found.opened[fold.digest_of(item)] = item
    elseif item.bracket == "close" and item.status == "done" then
      found.opened[item.opened_by] = nil
    elseif item.class == "action" and item.status == "done" then
      local digest = fold.digest_of(item)
      found.actions[digest] = found.actions[digest] or {}
      table.insert(found.actions[digest], item)
    end
  end
end

--- What a new attempt finds of the earlier ones: actions that are done and not undone, which are not made again, and
--- brackets that were opened and not closed, which are still to be closed. By digest.
--- @param step table
--- @return { actions: table<string, table[]>, opened: table<string, table> }
function fold:carried(step)
  local found = { actions = {}, opened = {} }
  if step.earlier then carry(self, found, step.earlier) end
  return found
end

local function new_attempt(record)
  return {
    path = record.path, seq = record.seq, attempt = record.attempt, undo = record.undo, why = record.why,
    number = record.number, title = record.title, undoes = record.undoes, status = "open",
    first_seq = record.seq, started = record.time,
  }
end

function on.step(state, record)
  local known = state:step(record.path)
  if not known then table.insert(state.step_order, record.path) end
  local attempt = new_attempt(record)
  attempt.recorded, attempt.earlier = {}, known and known.undoes == record.undoes and known or nil
  if known and known.status ~= "undone" then attempt.first_seq = known.first_seq end
  state.steps[record.path], state.attempts[record.seq], state.finished[record.path] = attempt, attempt, nil
end

local function attempt_of(state, path) return path and state.steps[path] end

function on.saw(state, record)
  local step = attempt_of(state, record.path)
  if not step or not step.recorded then return end
  table.insert(step.recorded, { type = "saw", seq = record.seq, digest = record.digest, result = record.result })
end

local function place_of(record) return record.place_text or record.place ~= nil and json.encode(record.place) end

function on.intent(state, record)
  local effect = {}
  for key, value in pairs(record) do effect[key] = value end
  effect.type, effect.status = "effect", "intended"
  state.effects[record.seq] = effect
  local place = place_of(record)
  if place then state.places[place] = record.seq end
  local has_no_undo = record.disposition == "irreversible" or record.disposition == "own"
  if has_no_undo then table.insert(state.irreversible, record.seq) end
  local step = attempt_of(state, record.path)
  if step and step.recorded and not record.undoes then table.insert(step.recorded, effect) end
end

--- A rollback has dealt with an effect: it is "undone" or "kept".
local function dealt_with(state, seq, path, how)
  if how == "undone" and state.turn == "back" then
    state.taken_back[path], state.taken_back[step_path.root(path)] = true, true
  end
  local effect = state.effects[seq]
  if effect then effect[how] = true end
  if state.standing[seq] then state.standing[seq], state.undo_seconds = nil, nil end
  if how == "kept" then state.kept[seq] = true end
end

local function fill_end(effect, record)
  effect.status, effect.result, effect.failure, effect.how = record.status, record.result, record.failure, record.how
  effect.end_seq, effect.ended = record.seq, record.time
end

local function end_effect(state, effect, record)
  fill_end(effect, record)
  if not effect.undoes then return end
  state.effects[effect.seq] = nil
  if record.status == "done" then dealt_with(state, effect.undoes, effect.path, "undone") end
end

local function fill_step_end(step, record)
  step.status, step.result, step.failure, step.end_seq = record.status, record.result, record.failure, record.seq
  step.skipped = record.skipped
  step.how, step.who, step.reason, step.ended = record.how, record.who, record.reason, record.time
end

--- Whether the effect stands at its target and a rollback has to deal with it. What an own undo has done stays done.
local function in_place(effect)
  if effect.status == "done" and step_path.is_undo(effect.path) then return false end
  return not effect.undoes and not effect.undone and not effect.kept
    and (effect.status == "done" or effect.status == "partial" or effect.status == "intended")
end

local function let_stand(state, effect)
  state.standing[effect.seq] = effect.end_seq
  if effect.disposition == "irreversible" then
    state.undo_seconds = 0
  elseif effect.disposition ~= "keep" and state.undo_seconds then
    state.undo_seconds = state.undo_seconds + summary.seconds_between(effect.time, effect.ended)
  end
end

local function is_plain(step)
  return step.undo ~= "own" and step.undo ~= "irreversible" and step.how ~= "person" and not step.earlier
end

local function finish(state, step)
  state.steps[step.path], state.attempts[step.seq] = nil, nil
  state.finished[step.path] = step.seq << 32 | step.end_seq
  if not step.interrupted and not step.undoes then state.took[step.path] = summary.took(step.started, step.ended) end
end

--- Leaves what a step recorded to the journal; what ended half way stays.
local function let_go(state, step)
  for _, item in ipairs(step.recorded) do
    if state.effects[item.seq] and item.status ~= "partial" and item.status ~= "intended" then
      state.effects[item.seq] = nil
      if in_place(item) then let_stand(state, item) end
    end
  end
  step.recorded = nil
  if step.undo == "irreversible" then state.undo_seconds = 0 end
  if is_plain(step) then finish(state, step) end
end

--- A step's own undo stands for those of all its effects.
local function own_undo_done(state, step)
  step.status = "undone"
  for seq = step.first_seq, step.end_seq do
    if state.standing[seq] or state.effects[seq] then dealt_with(state, seq, step.path, "undone") end
  end
end

local function end_step(state, step, record)
  fill_step_end(step, record)
  local undone = step.undoes and state.attempts[step.undoes]
  if undone and record.status == "done" then own_undo_done(state, undone) end
  if record.status == "done" and step.recorded and state.source then let_go(state, step) end
end

on["end"] = function(state, record)
  if record.status == "same" then
    local step = attempt_of(state, record.path)
    if step and step.recorded then
      table.insert(step.recorded, { type = "effect", seq = record.seq, digest = record.digest, status = "same",
        result = record.result })
    end
    return
  end
  if record.status == "undone" or record.status == "kept" then
    if record.status == "kept" and record.how ~= "declared" then state.left = state.left + 1 end
    return dealt_with(state, record.of, record.path, record.status)
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
  if record.kind == "arguments" or record.kind == "code" then table.insert(state.amendments, record) end
  if record.kind == "rehearsal" then state.rehearsal[record.stage] = record end
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

--- Takes a summary in, in place of the records that it stands for: as outlines do, it leaves what they hold to the journal.
--- @param note table
function fold:add_summary(note)
  chain.add(note.over, self.step_order, self.finished, self.standing)
  for path, seconds in pairs(note.took or {}) do self.took[path] = seconds end
  for _, seq in ipairs(note.places or {}) do self.places[place_of(self.source.outline(seq))] = seq end
  if self.undo_seconds then self.undo_seconds = self.undo_seconds + note.undo_seconds end
  self:add(note)
end

--- @param records table[]
--- @return table state
function fold.of(records)
  local state = fold.new()
  for _, record in ipairs(records) do state:add(record) end
  return state
end

-- ---- outlines ----

local function complete_effect(self, effect)
  for key, value in pairs(self.source.whole(effect.seq)) do
    if effect[key] == nil then effect[key] = value end
  end
  if effect.end_seq then fill_end(effect, self.source.whole(effect.end_seq)) end
end

local function complete_step(self, step)
  if step.end_seq then
    local record = self.source.whole(step.end_seq)
    step.result, step.failure = record.result, record.failure
  end
  for _, item in ipairs(step.recorded or {}) do
    if item.status == "same" or item.type == "saw" then item.result = self.source.whole(item.seq).result end
    if item.kind and not self.effects[item.seq] then complete_effect(self, item) end
  end
  if step.earlier then complete_step(self, step.earlier) end
end

--- After outlines were folded: fetches what steps and effects that are not finished left out.
function fold:complete()
  for _, effect in pairs(self.effects) do complete_effect(self, effect) end
  for _, step in pairs(self.steps) do complete_step(self, step) end
end

-- ---- what there is ----

--- The last attempt at a path, without what it recorded where it is finished. nil: there is none.
--- @param path string
--- @return table?
function fold:step(path)
  local records = self.finished[path]
  if not records then return self.steps[path] end
  local step = new_attempt(self.source.outline(records >> 32))
  fill_step_end(step, self.source.whole(records & 0xFFFFFFFF))
  return step
end

--- Whether the path is done, or was skipped by a person.
--- @param path string
--- @return boolean
function fold:is_over(path)
  local step = self.steps[path]
  return self.finished[path] ~= nil or step ~= nil and (step.status == "done" or step.status == "skipped")
end

--- What was intended by the record, of whatever became of it.
--- @param seq integer
--- @return table
function fold:intent(seq) return self.effects[seq] or self.source.whole(seq) end

--- An effect that is in place, whole.
--- @param seq integer
--- @return table
function fold:effect(seq)
  local effect = self.effects[seq]
  if effect then return effect end
  effect = self.source.whole(seq)
  effect.type = "effect"
  fill_end(effect, self.source.whole(self.standing[seq]))
  return effect
end

local function by_seq(list)
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

local function live(self, wanted)
  local list = {}
  for _, effect in pairs(self.effects) do
    if wanted(effect) then list[#list + 1] = effect end
  end
  return by_seq(list)
end

--- Whether something that a path has done has been undone: what the record intends, or what came after it.
--- @param path string  of a step or branch that is not finished
--- @param seq integer
--- @return boolean
function fold:has_undone(path, seq)
  return #live(self, function(effect)
    return effect.undone and effect.status == "done" and effect.path == path and effect.seq >= seq
  end) > 0
end

--- The effects whose intent has no end, oldest first.
--- @return table[]
function fold:in_doubt()
  return live(self, function(effect) return effect.status == "intended" end)
end

--- The effects that ended half way and are in place, oldest first.
--- @return table[]
function fold:half_way()
  return live(self, function(effect) return effect.status == "partial" and in_place(effect) end)
end

--- The effects that are in place, oldest first; without their contents where their step is finished: see fold.effect.
--- @return table[]
function fold:in_place()
  local list = live(self, in_place)
  for seq in pairs(self.standing) do
    local effect = self.source.outline(seq)
    effect.type, effect.status = "effect", "done"
    list[#list + 1] = effect
  end
  return by_seq(list)
end

--- The step whose attempt a record ends, or nil.
--- @param record table
--- @return string? path
function fold:step_ended_by(record)
  if record.type ~= "end" then return nil end
  local attempt = self.attempts[record.of or 0]
  return attempt and attempt.path or (self.finished[record.path] or 0) >> 32 == record.of and record.path or nil
end

--- Seconds that the effects took which a rollback from here would put back.
--- @return number
function fold:seconds_to_undo()
  local effects = live(self, in_place)
  if not self.undo_seconds then effects, self.undo_seconds = self:in_place(), 0 end
  local total, point = self.undo_seconds, #effects > 0 and self:point_of_no_return()
  for _, one in ipairs(effects) do
    if one.disposition ~= "keep" and (not point or one.seq > point.seq) then
      local ended = one.ended or self.standing[one.seq] and self.source.outline(self.standing[one.seq]).time
      local seconds = summary.seconds_between(one.time, ended)
      total = total + seconds
      if self.standing[one.seq] then self.undo_seconds = self.undo_seconds + seconds end
    end
  end
  return total
end

--- Whether any effect is in place.
--- @return boolean
function fold:has_changed() return next(self.standing) ~= nil or #live(self, in_place) > 0 end

--- The steps that a person skipped or did by hand, in the order of the run.
--- @return { path: string, number: string, status: "skipped"|"done", who: string?, reason: string? }[]
function fold:by_person()
  local list = {}
  for _, path in ipairs(self.step_order) do
    local step = self.steps[path]
    if step and step.how == "person" and step.status ~= "undone" then
      list[#list + 1] = { path = path, number = step.number, status = step.status, who = step.who,
        reason = step.reason }
    end
  end
  return list
end

--- The branches that failed of steps that are done all the same, because so many may fail.
--- @return { path: string, number: string, message: string }[]
function fold:failed_branches()
  local list = {}
  for _, path in ipairs(self.step_order) do
    local step = self.steps[path]
    if step and step.status == "failed" and path ~= step_path.root(path) and self:is_over(step_path.root(path)) then
      list[#list + 1] = { path = path, number = step.number, message = step.failure.message }
    end
  end
  return list
end

--- Whether the undo of the step, which is done, stands for that of an effect that has none.
local function has_own_undo(self, effect)
  local step = effect.disposition == "own" and self.steps[step_path.root(effect.path)]
  return step and step.undo == "own" and step.status == "done" and step.how ~= "person"
end

--- The last effect in place that a rollback cannot go behind.
local function irreversible_effect(self)
  for i = #self.irreversible, 1, -1 do
    local seq = self.irreversible[i]
    local effect = self.standing[seq] and self.source.outline(seq) or self.effects[seq]
    if effect and (self.standing[seq] or in_place(effect)) and not has_own_undo(self, effect) then return effect end
  end
end

--- The last point of no return that is passed: an irreversible effect or step that is done. nil if there is none.
--- @return { seq: integer, path: string, why: string }?
function fold:point_of_no_return()
  local last = irreversible_effect(self)
  last = last and { seq = last.seq, path = last.path,
    why = last.why or "it has no undo, and its step is not at its end" }
  for _, step in pairs(self.steps) do
    local passed = step.undo == "irreversible" and step.status == "done" and not step.skipped
    if passed and (not last or step.end_seq > last.seq) then
      last = { seq = step.end_seq, path = step.path, why = step.why }
    end
  end
  return last
end

return fold
