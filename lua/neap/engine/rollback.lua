--- Walks back: newest first, each effect by what the journal says of it, a step by its own undo where it has one.
local attempt   = require "neap.engine.attempt"
local branches  = require "neap.engine.branch"
local data      = require "neap.engine.data"
local fault     = require "native.error"
local near      = require "neap.near"
local outcome   = require "neap.engine.outcome"
local recover   = require "neap.engine.recover"
local repl      = require "neap.engine.repl"
local session   = require "neap.engine.session"
local step_path = require "neap.engine.step_path"
local task      = require "native.task"
local undo      = require "neap.engine.undo"
local versions  = require "neap.engine.versions"

--- @class neap.rollback_options
--- @field reason? string
--- @field failure? any  what the run failed with
--- @field on_conflict? "keep"|"overwrite"|"stop"
--- @field down_to? integer  the seq from which on things are undone
--- @field actor? string

--- @class neap.rollback_request: neap.resume_request
--- @field to? string  a step's title or number: this step and what came after it

local rollback = {}

--- The definition of a step by the path of it or of one of its branches.
local function definition_of(self, path) return self.procedure.titled[step_path.root(path)] end

--- What is to be undone, newest first: steps that ended and have an undo of their own, in place of their effects, and
--- the effects of all others.
local function to_undo(self)
  local list, own = {}, {}
  for _, path in ipairs(self.state.step_order) do
    local step = self.state.steps[path]
    local by_neap = step and step.how ~= "person" and (step.status == "done" or step.status == "undone")
    if by_neap and step.undo == "own" and not path:find "/" then
      own[path] = true
      if step.status == "done" then list[#list + 1] = { seq = step.end_seq, path = path, step = step } end
    end
  end
  for _, one in ipairs(self.state:in_place()) do
    if not own[step_path.root(one.path)] and not step_path.is_undo(one.path) then
      list[#list + 1] = { seq = one.seq, path = one.path }
    end
  end
  table.sort(list, function(a, b) return a.seq > b.seq end)
  return list
end

local THREE_WAYS = { keep = "keep", overwrite = "overwrite" }

--- At a target that somebody else changed: what was declared for it, or a person's choice.
local function on_conflict(self, how)
  return function(done, now)
    if THREE_WAYS[how] then
      if how == "keep" then self.incomplete = true end
      return how
    end
    local name = done.show or done.kind
    local choice = self:ask { kind = "conflict", path = done.path, options = { "keep", "overwrite", "stop" },
      text = ("%s is neither as this run left it nor as it was before"):format(name),
      shown = { before = done.before, after = done.after, now = data.plain(now) } }
    if not THREE_WAYS[choice] then
      fault.raise { kind = "paused", message = ("%s was changed by somebody else since"):format(name) }
    end
    if choice == "keep" then self.incomplete = true end
    return choice
  end
end

local function undo_effect(self, one, how)
  local definition = definition_of(self, one.path) or { title = one.path }
  local branch = branches.new(self, definition, { path = one.path, attempt = one.attempt })
  self:emit { type = "progress", path = one.path, show = one.show, text = "undo" }
  local result = task.with_context(branch, undo.effect, one, on_conflict(self, how))
  self:emit { type = "undone", path = one.path, show = one.show, outcome = result }
end

local function undo_step(self, step)
  local definition = definition_of(self, step.path)
  local undoing = {
    title = step_path.undo(step.path), number = definition.number, kind = "step", disposition = "effects",
  }
  attempt.run(self, undoing, undoing.title, { fields = { undoes = step.seq } }, definition.undo, step.result)
  self:emit { type = "undone", path = step.path, outcome = "undone" }
end

local function walk_back(self, options)
  for _, item in ipairs(to_undo(self)) do
    if self.pausing then fault.raise { kind = "cancelled", code = "paused", message = self.pausing } end
    if item.seq < (options.down_to or 0) then break end
    self.at = definition_of(self, item.path)
    local as_done = versions.at(self, item.seq)
    if item.step then
      undo_step(as_done, item.step)
    else
      undo_effect(as_done, self.state:effect(item.seq), options.on_conflict)
    end
  end
end

local function remaining(self)
  local list = {}
  for _, one in ipairs(self.state:in_place()) do
    list[#list + 1] = { show = one.show, path = one.path, status = one.status }
  end
  return list
end

--- Turns back and undoes everything, or down to a step. For a session that holds the lease and has nothing in doubt.
--- @param self table
--- @param options neap.rollback_options
--- @return table outcome
function rollback.back(self, options)
  options.on_conflict = options.on_conflict or self:policy("on_conflict", "stop")
  self.failed = options.failure
  self.failed_at = options.failure and self.at
  if self.state.turn ~= "back" or self.state.to ~= options.down_to then
    self.writer:write { type = "turn", direction = "back", to = options.down_to, why = options.reason,
      who = options.actor }
  end
  self.incomplete = self.incomplete or false
  local ok, failure = pcall(walk_back, self, options)
  if not ok then
    if attempt.interrupts(failure) and not fault.is(failure, "paused") then
      return outcome.of(self, "stopped", failure)
    end
    local result = outcome.of(self, "rollback incomplete", failure)
    result.exit = fault.is(failure, "paused") and 8 or 6
    return result
  end
  if self.state.left > 0 then self.incomplete = true end
  if options.down_to then
    self.writer:write { type = "turn", direction = "forward", why = "rolled back as far as was asked",
      who = options.actor }
    return outcome.of(self, "stopped", options.failure)
  end
  self:close("rolled back", { remaining = remaining(self) })
  local result = outcome.of(self, self.incomplete and "rollback incomplete" or "rolled back", options.failure)
  return result
end

--- Refuses to go behind a point of no return.
local function check_return(self, down_to)
  local passed = self.state:point_of_no_return()
  if not passed or (down_to and down_to > passed.seq) then return end
  fault.raise { kind = "denied", code = "no return",
    message = ("%s is done and cannot be taken back: %s"):format(passed.path, passed.why or ""),
    hint = "what came after it can be rolled back: neap rollback RUN --to STEP" }
end

--- Refuses to leave a step behind whose own undo has begun: nobody can say what of it is undone.
local function check_undo_begun(self, down_to)
  for _, undoing in pairs(self.state.steps) do
    local step = undoing.undoes and self.state.attempts[undoing.undoes]
    if step and step.status == "done" and step.first_seq < (down_to or 0) then
      fault.raise { kind = "denied", code = "undo begun",
        message = ("the undo of %s has begun and is not at its end"):format(step.path),
        hint = ("neap rollback %d --to %q"):format(self.number, step.path) }
    end
  end
end

--- The seq from which on things are undone, of the step that a person names by title or number.
local function seq_of(self, name)
  if not name then return nil end
  local titles = {}
  for _, step in ipairs(self.procedure.steps) do
    titles[#titles + 1] = step.title
    if step.title == name or step.number == name then
      local state = self.state:step(step.title)
      if state and state.first_seq then return state.first_seq end
      fault.raise { kind = "missing", message = ("%s has not been begun"):format(step.title) }
    end
  end
  fault.raise { kind = "missing", message = ("no step is called %q.%s"):format(name, near.question(name, titles)) }
end

--- Where a way back to the step that a person names by title or number ends; nil: it takes everything back. Raises where
--- the step has not been begun, or where a point of no return lies between.
--- @param self table
--- @param name string?
--- @return integer? seq
function rollback.down_to(self, name)
  local seq = seq_of(self, name)
  check_return(self, seq)
  check_undo_begun(self, seq)
  return seq
end

--- Takes back what was done from a record on, and turns forward again: the steps are as if they had not been begun. The
--- note is written with that turn. Raises where a point of no return lies between, before anything is undone; what stops
--- the way back is raised as kind "paused", and the run is then on its way back.
--- @param self table
--- @param down_to integer  seq
--- @param what string  for the message
--- @param note table  a record
function rollback.from(self, down_to, what, note)
  check_return(self, down_to)
  self.writer:write { type = "turn", direction = "back", to = down_to, why = note.text, who = note.who }
  local ok, failure = pcall(walk_back, self, { down_to = down_to, on_conflict = self:policy("on_conflict", "stop") })
  if not ok and attempt.interrupts(failure) then error(failure, 0) end
  if not ok then
    fault.raise { kind = "paused", where = "",
      message = ("%s could not be taken back: %s"):format(what, data.failure(failure).message) }
  end
  self.writer:append { type = "turn", direction = "forward", why = note.text, who = note.who }
  self.writer:write(note) -- in one commit: no resume finds the way back without what it was for
end

--- The same for a step, and all after it.
--- @param self table
--- @param step table?  definition; nil: there is nothing to take back
--- @param note table  a record
function rollback.step(self, step, note)
  if not step or not self.state:step(step.title) then
    self.writer:write(note)
    return
  end
  rollback.from(self, rollback.down_to(self, step.title), step.title, note)
end

local function settle_and_go_back(self, given)
  recover.settle_all(self)
  repl.close_all(self)
  return rollback.back(self, {
    down_to = rollback.down_to(self, given.to), on_conflict = given.on_conflict, reason = "asked for",
    actor = given.actor,
  })
end

--- Rolls a run back from a process of its own: settles what is in doubt, then undoes newest first.
--- @param given neap.rollback_request
--- @return table outcome
function rollback.start(given)
  local self = session.reopen(given)
  return self:hold(function()
    local ok, result = pcall(settle_and_go_back, self, given)
    if ok then return result end
    local stopped = fault.is(result) and (attempt.interrupts(result) or result.kind == "paused")
    return stopped and outcome.of(self, "stopped", result) or error(result, 0)
  end)
end

return rollback
