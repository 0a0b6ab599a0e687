--- The same walk with every change withheld: what would be done, to which target, with which difference, and how it would
--- be undone. Reads are live; nothing is journaled, and no lease is needed.
local approval = require "neap.engine.approval"
local attempt  = require "neap.engine.attempt"
local branches = require "neap.engine.branch"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local fold     = require "neap.engine.fold"
local run      = require "neap.engine.run"
local session  = require "neap.engine.session"
local task     = require "native.task"
local unknown  = require "neap.engine.unknown"

--- @class neap.plan
--- @field id string
--- @field procedure string
--- @field title string
--- @field environment string
--- @field arguments table
--- @field phases table[]
--- @field undo string[]  numbers of steps, as a rollback would take them
--- @field points table[]  where a rollback could not go behind
--- @field counts table<string, integer>
--- @field hosts integer
--- @field reads integer
--- @field effects table  by key: what a run compares with, to notice drift
--- @field snapshot string
--- @field policy table
--- @field pins table<string, string>  who the targets are that it met
--- @field seconds number

local plan = {}

local UNDO = { undo = "undo", own = "undo", keep = "keep", irreversible = "NO UNDO", none = nil }

local function effect_line(planned)
  return {
    kind = planned.kind, class = planned.class, sign = planned.sign, show = planned.show, says = planned.says,
    branch = planned.path:match "/(.*)$", before_text = planned.before_text, after_text = planned.after_text,
    before = planned.before, after = planned.after, undo = UNDO[planned.disposition], why = planned.why,
    certainty = planned.certainty, closing = planned.closing, key = planned.key, before_digest = planned.before_digest,
    after_digest = planned.after_digest,
  }
end

local function new_step(step)
  return {
    number = step.number, title = step.title, kind = step.kind, where = step.where, hint = step.hint,
    irreversible = step.irreversible, keep = step.keep, own_undo = step.undo ~= nil,
    every = step.every, timeout = step.timeout, effects = {},
  }
end

--- A check before the first planned change is asked; after it, it would see the world as it is now, so it is listed.
local function plan_waiting(self, step, planned)
  local branch = branches.new(self, step, { path = step.title, attempt = 1 })
  if step.when then
    local ok, wanted = pcall(task.with_context, branch, step.when)
    if not ok and not fault.is(wanted, "unknown") then error(wanted, 0) end
    planned.ended, planned.skipped = not ok and wanted.message or nil, ok and not wanted or nil
    if not ok or not wanted then return end
  end
  if next(self.touched) or step.kind == "manual" or not step.check then
    planned.listed = true
    return
  end
  local ok, observed = pcall(task.with_context, branch, function()
    return branch:within({ inside = true }, step.check)
  end)
  if not ok and not fault.is(observed) then error(observed, 0) end
  planned.holds = ok and observed and true or false
end

--- Errors that an earlier step may take away, of which the plan does not know all that it does: a file is not there yet.
local MAY_CHANGE = { missing = true, conflict = true, remote = true, verify = true, protocol = true, auth = true }

--- Whether the environment says of a host that it may not be there yet when a plan is made.
local function is_later(self, name)
  local entry = name and self.environment.hosts[name]
  return entry and tostring(entry.later) == "true"
end

--- Why a step's plan ends early; nil where the error is one of the plan as a whole.
local function why_it_ends(self, failure)
  if fault.is(failure, "unknown") then return failure.message end
  if fault.is(failure) and is_later(self, failure.host) then
    return ("known once %s is there: as it is now, %s"):format(failure.host, failure.message)
  end
  -- a login that is refused may be one that an earlier step makes, on a target that has another name
  local after = self.ended_at or fault.is(failure, "auth") and select(2, next(self.touched))
  if not after or not fault.is(failure) or failure.code == "identity" or not MAY_CHANGE[failure.kind] then
    return nil
  end
  return ("known after %s: as it is now, %s"):format(after, failure.message)
end

local function plan_step(self, step, planned)
  if step.kind ~= "step" then return plan_waiting(self, step, planned) end
  local ok, result, skipped = pcall(attempt.run, self, step, step.title, {}, run.body, step)
  if ok then
    planned.skipped = skipped
    self.plan_results[step.title] = { result }
    return
  end
  planned.ended = why_it_ends(self, result)
  if not planned.ended then error(result, 0) end
  self.ended_at = self.ended_at or step.number
  self.plan_results[step.title] = { unknown.outcome(step.number) }
end

local function count(model)
  local counts = {
    steps = 0, wait = 0, manual = 0, ended = 0, as_wanted = 0, effects = 0,
    create = 0, change = 0, delete = 0, act = 0, same = 0,
    exact = 0, conditional = 0, opaque = 0,
    undo = 0, keep = 0, irreversible = 0,
  }
  local names = { ["+"] = "create", ["~"] = "change", ["-"] = "delete", [">"] = "act", ["="] = "same" }
  local undos = { undo = "undo", keep = "keep", ["NO UNDO"] = "irreversible" }
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      local changes = 0
      counts.steps = counts.steps + 1
      if step.kind == "await" then counts.wait = counts.wait + 1 end
      if step.kind == "manual" then counts.manual = counts.manual + 1 end
      if step.ended then counts.ended = counts.ended + 1 end
      for _, one in ipairs(step.effects) do
        counts[names[one.sign]] = counts[names[one.sign]] + 1
        if one.sign ~= "=" then
          changes = changes + 1
          counts[one.certainty] = counts[one.certainty] + 1
          if one.undo then counts[undos[one.undo]] = counts[undos[one.undo]] + 1 end
        end
      end
      counts.effects = counts.effects + changes
      if changes == 0 and step.kind == "step" and not step.ended then counts.as_wanted = counts.as_wanted + 1 end
    end
  end
  return counts
end

--- The steps in the order a rollback would take them, and where it could not go behind.
local function undo_plan(model)
  model.undo, model.points = {}, {}
  local list = {}
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      if step.irreversible and not step.skipped then
        table.insert(model.points, { number = step.number, title = step.title, why = step.irreversible })
      end
      for _, one in ipairs(step.effects) do
        if one.undo == "NO UNDO" and not step.irreversible then
          table.insert(model.points, { number = step.number, title = step.title, why = one.why, show = one.show })
        end
        if one.undo == "undo" and list[#list] ~= step.number then list[#list + 1] = step.number end
      end
    end
  end
  for i = #list, 1, -1 do table.insert(model.undo, list[i]) end
end

local function effects_by_key(model)
  local effects = {}
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      for _, one in ipairs(step.effects) do
        if one.key then
          effects[one.key] = { before_digest = one.before_digest, after_digest = one.after_digest, show = one.show,
            step = step.number }
        end
      end
    end
  end
  return effects
end

local function within(phase, number)
  for _, step in ipairs(phase.steps) do
    if step.number == number then return { step } end
  end
  return {}
end

local function walk(self)
  local phases = {}
  for _, phase in ipairs(self.procedure.phases) do
    local planned_phase = { title = phase.title, number = phase.number, steps = {} }
    table.insert(phases, planned_phase)
    for _, step in ipairs(self.only and within(phase, self.only) or phase.steps) do
      local planned, from = new_step(step), #self.planned
      self:emit { type = "progress", path = step.title, text = "planning" }
      plan_step(self, step, planned)
      for i = from + 1, #self.planned do
        table.insert(planned.effects, data.shown(effect_line(self.planned[i])))
      end
      table.insert(planned_phase.steps, planned)
    end
    if self.only and #planned_phase.steps == 0 then table.remove(phases) end
  end
  return phases
end

--- What a session has to have for a plan, beside what it has.
local function begin(self)
  self.planning, self.state, self.uid = true, fold.new(), "plan"
  self.overlay, self.touched, self.opaque, self.planned, self.shadows = {}, {}, {}, {}, {}
end

--- Plans a function that a person has typed, in their session. Changes nothing.
--- @param self table  the session
--- @param fn function
--- @return { effects: table[], ended?: string }  ended: why no more can be known
function plan.line(self, fn)
  local planning = setmetatable({ occurrences = {}, plan_results = {}, reads = 0 }, { __index = self })
  begin(planning)
  local step = { title = "repl", number = "an earlier change of the line", kind = "step" }
  local ok, failure = pcall(attempt.run, planning, step, step.title, {}, function() fn() end)
  if not ok and not fault.is(failure, "unknown") then error(failure, 0) end
  local effects = {}
  for i, one in ipairs(planning.planned) do effects[i] = data.shown(effect_line(one)) end
  return { effects = effects, ended = not ok and failure.message or nil }
end

--- Plans a procedure for an environment. Changes nothing.
--- @param given table   as run.start takes it; state is not needed; only: the number of the one step to plan
--- @return neap.plan
function plan.make(given)
  local started = task.now()
  local self = session.prepare(given)
  begin(self)
  self.only = given.only
  local ok, phases = pcall(walk, self)
  task.shield(self.leave, self)
  if not ok then
    if fault.is(phases) then phases.planning = true end
    error(phases, 0)
  end
  local hosts = 0
  for _ in pairs(self.environment.hosts or {}) do hosts = hosts + 1 end
  local model = { procedure = self.procedure.name, title = self.procedure.title, environment = self.environment.name,
    arguments = self.procedure.arguments, phases = phases, reads = self.reads, hosts = hosts,
    snapshot = session.snapshot_digest(self.files), policy = self.environment.policy or {},
    pins = self.pins }
  model.counts = count(model)
  undo_plan(model)
  model.effects = effects_by_key(model)
  model.id = approval.digest(model):sub(1, 6)
  model.seconds = task.now() - started
  return model
end

return plan
