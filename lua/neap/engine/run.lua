--- Walks the steps forward: start and resume. What fails is settled, stopped or rolled back as the environment says.
local amend    = require "neap.engine.amend"
local approval = require "neap.engine.approval"
local attempt  = require "neap.engine.attempt"
local branches = require "neap.engine.branch"
local decide   = require "neap.engine.decide"
local duration = require "neap.engine.duration"
local estimate = require "neap.engine.estimate"
local fan_out  = require "neap.engine.fan_out"
local fault    = require "native.error"
local json     = require "native.json"
local locals   = require "neap.engine.locals"
local outcome  = require "neap.engine.outcome"
local outlook  = require "neap.engine.outlook"
local recover  = require "neap.engine.recover"
local rehearsal = require "neap.engine.rehearsal"
local rehearsed = require "neap.engine.rehearsed"
local repl     = require "neap.engine.repl"
local rollback = require "neap.engine.rollback"
local session  = require "neap.engine.session"
local task     = require "native.task"

--- @class neap.run_request
--- @field environment table  as environment.load gives it
--- @field procedure string  its path in files
--- @field files table<string, string>
--- @field arguments table
--- @field state string|table  the environment's folder
--- @field on_event? fun(event: table)
--- @field ask? fun(question: table): table?  returns { choice, who, reason … }, or nil where nobody answers
--- @field attended? fun(): boolean  whether a question would reach somebody now; without it nobody is asked at a failure
--- @field prompt? fun(prompt: string, options: table): string?  asks for a passphrase
--- @field actor? string
--- @field plan? table  what was planned: a run that would do something else is refused
--- @field signals? boolean  Ctrl-C and the like pause the run
--- @field outside_window? string  the reason for which it may be carried out outside the policy's window
--- @field rehearsal? boolean  it goes forward, back and forward again: see neap.engine.rehearsal
--- @field rehearsals? neap.rehearsal_place[]  where to look for those that the policy asks for

--- @class neap.resume_request
--- @field state string|table  the environment's folder
--- @field run integer
--- @field on_event? fun(event: table)
--- @field ask? fun(question: table): table?  as in neap.run_request
--- @field attended? fun(): boolean  as in neap.run_request
--- @field answer? { choice: string, reason?: string, to?: string, whom?: string, evidence?: string }  to the question that
---   the run had stopped at
--- @field actor? string
--- @field on_conflict? "keep"|"overwrite"|"stop"  where the run is already being rolled back
--- @field signals? boolean  as in neap.run_request
--- @field outside_window? string  as in neap.run_request
--- @field amendment? neap.amendment  arguments or code to go on with

local run = {}

local AWAIT_EVERY, AWAIT_TIMEOUT = 10, 3600 -- seconds

-- ---- the three kinds of step ----

local perform = {}

local function with_timeout(step, fn, ...)
  if not step.timeout then return fn(...) end
  local seconds, begun = duration.seconds(step.timeout), task.now()
  local results = table.pack(pcall(task.deadline, seconds, fn, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local failure = results[2]
  if fault.is(failure, "timeout") and task.now() - begun >= seconds then
    local said = type(step.timeout) == "string" and step.timeout or duration.text(seconds)
    failure.message = ("not done within the step's %s: %s"):format(said, failure.message)
  end
  error(failure, 0)
end

function perform.step(step)
  if not step.run then return end
  if not step.on then return with_timeout(step, step.run) end
  local limits = { at_a_time = step.at_a_time, max_failures = step.max_failures }
  return fan_out.run(branches.current(), fan_out.items(step), limits, function(item)
    return with_timeout(step, step.run, item)
  end)
end

local function observe(branch, step)
  local observed = branch:within({ inside = true }, step.check)
  if observed then branch.observed = observed end
  return observed
end

function perform.await(step)
  local branch = branches.current()
  local every = duration.seconds(step.every or AWAIT_EVERY)
  local timeout = duration.seconds(step.timeout or AWAIT_TIMEOUT)
  local left_until = task.now() + timeout
  while true do
    branch:check_going_on()
    local observed = observe(branch, step)
    if observed then return type(observed) ~= "boolean" and observed or nil end
    if task.now() + every > left_until then
      fault.raise { kind = "timeout", hint = step.hint, where = step.where .. ": ",
        message = ("still not so after %s: %s"):format(duration.text(timeout), step.title) }
    end
    branch.run:emit { type = "progress", path = branch.path, text = "not yet", wait = every }
    task.sleep(every)
  end
end

--- What a person is told; a function makes it of what the run knows by then.
local function text_of(branch, step)
  if type(step.text) ~= "function" then return step.text or step.title end
  return branch:within({ inside = true }, step.text)
end

--- Asks until the check, where there is one, finds it done and the evidence is written down.
local function ask_for_work(branch, step)
  local notice
  local text = text_of(branch, step)
  while true do
    local choice, answer = branch.run:ask { kind = "manual", path = branch.path, options = { "done", "stop" },
      text = text, evidence = step.evidence, notice = notice,
      timeout = step.timeout and duration.seconds(step.timeout) }
    if choice == "timeout" then
      fault.raise { kind = "timeout", hint = step.hint, where = step.where .. ": ",
        message = ("nobody said within %s that it is done: %s"):format(duration.text(duration.seconds(step.timeout)),
          step.title) }
    end
    if choice ~= "done" then
      fault.raise { kind = "cancelled", code = "paused", message = "the operator stopped at: " .. step.title }
    end
    local lacks_evidence = step.evidence and (answer.evidence or "") == ""
    if not lacks_evidence and (not step.check or observe(branch, step)) then return answer end
    notice = lacks_evidence and "what shows it is to be written down too" or "the step's check does not find it so"
  end
end

function perform.manual(step)
  local branch = branches.current()
  if step.check and observe(branch, step) then return { found = true } end
  local answer = ask_for_work(branch, step)
  if answer.evidence then
    branch.run.writer:write { type = "note", kind = "evidence", path = branch.path, text = answer.evidence,
      who = answer.who }
  end
  return { done = true, who = answer.who, evidence = answer.evidence }
end

-- ---- the walk ----

local function wanted(step)
  if not step.when then return true end
  return step.when() and true or false
end

local FUNCTIONS = { "when", "on", "run", "check", "text" }

local function functions_of(step)
  local list = {}
  for _, part in ipairs(FUNCTIONS) do
    if type(step[part]) == "function" then list[#list + 1] = step[part] end
  end
  return list
end

--- What an attempt at a step does; plan walks the same. A step whose `when` says no is skipped.
function run.body(step)
  local seen = locals.note(functions_of(step))
  if not wanted(step) then
    branches.current().skipped = true
    return nil
  end
  local result = perform[step.kind](step)
  locals.check(step, seen)
  return result
end

local function retrying(self, step)
  local times = step.retry and step.retry.times or 0
  local pause = step.retry and duration.seconds(step.retry.every or "10s")
  for left = times, 0, -1 do
    local ok, failure = pcall(attempt.run, self, step, step.title, {}, run.body, step)
    if ok then return end
    if left == 0 or attempt.interrupts(failure) then error(failure, 0) end
    self:emit { type = "progress", path = step.title, failure = failure,
      text = ("failed, again in %s"):format(duration.text(pause)) }
    task.sleep(pause)
  end
end

--- Before a step that nothing can take back, a person says yes, unless the environment's policy has said so. A step that
--- was interrupted is behind that already.
local function ask_before_no_return(self, step)
  if not step.irreversible or self:policy("point_of_no_return", "ask") == "pass" then return end
  if rehearsal.has_agreed(self, step) then return end
  local known = self.state:step(step.title)
  if known and known.status == "open" then return end
  local choice = self:ask { kind = "point of no return", path = step.title, options = { "pass", "stop" },
    text = ("%s cannot be taken back: %s"):format(step.title, step.irreversible) }
  if choice ~= "pass" then
    fault.raise { kind = "cancelled", code = "paused",
      message = "stopped before the point of no return: " .. step.title }
  end
end

--- Attempts a step until it is done, or a person has said what now.
local function carry_out(self, step)
  local failure, passed = decide.left_open(self, step), false
  while true do
    if not failure then
      if not passed then ask_before_no_return(self, step) end
      passed = true
      local ok, raised = pcall(retrying, self, step)
      if ok then return end
      if not decide.is_possible(self, raised) then error(raised, 0) end
      failure = raised
    end
    if decide.ask(self, step, failure) ~= "retry" then return end
    failure = nil
  end
end

--- Walks the steps of a procedure, until a person changes it.
local function walk_through(self, procedure)
  for _, step in ipairs(procedure.steps) do
    if self.procedure ~= procedure then return end
    if not self.state:is_over(step.title) then
      if self.pausing then fault.raise { kind = "cancelled", code = "paused", message = self.pausing } end
      self.at = step
      rehearsal.before_step(self, step)
      outlook.before(self, step)
      carry_out(self, step)
    end
  end
end

local function walk(self)
  repeat
    local procedure = self.procedure
    walk_through(self, procedure)
  until self.procedure == procedure
end

--- A person has said what becomes of the run: back, or left as it is.
local function as_decided(self, decision, failure)
  if decision.choice == "back" then
    return rollback.back(self, { down_to = decision.down_to, reason = decision.reason or "a person said so",
      failure = failure, actor = decision.who })
  end
  return outcome.of(self, "stopped", decision.failure or failure)
end

local function failed(self, failure)
  if self.decision then return as_decided(self, self.decision, failure) end
  if fault.is(failure) and (failure.kind == "paused" or attempt.interrupts(failure)) then
    return outcome.of(self, "stopped", failure)
  end
  if self:policy("on_failure", "stop") == "rollback" and not self.state:point_of_no_return() then
    return rollback.back(self, { reason = tostring(failure), failure = failure })
  end
  if not self.state:has_changed() then
    self:close("rolled back", { why = "it failed before it changed anything" })
    return outcome.of(self, "failed", failure)
  end
  return outcome.of(self, "stopped", failure)
end

local DIFFERS = 9 -- exit status: a rehearsal found something

--- A rehearsal that came to its end, and what it came to.
local function judged(self, result)
  local failed_it = self.state.rehearsal.compared and self.state.closed and self.state.closed.rehearsal == "failed"
  if failed_it and result.exit == 0 then result.exit = DIFFERS end
  return result
end

local function rehearse(self)
  local ok, way = pcall(rehearsal.walk, self, walk)
  if not ok then return failed(self, way) end
  if way == "back" then
    self.incomplete = rehearsal.left_astray(self)
    return judged(self, rollback.back(self, { reason = "the rehearsal goes no further" }))
  end
  self:close "done"
  return judged(self, outcome.of(self, "done"))
end

local function forward(self)
  self.learned = estimate.learned(self.journal.store, self.procedure.name, self.number)
  if self.state.first.rehearsal then return rehearse(self) end
  local ok, failure = pcall(walk, self)
  if not ok then return failed(self, failure) end
  self:close "done"
  return outcome.of(self, "done")
end

--- Starts a run.
--- @param given neap.run_request
--- @return table outcome   see neap.engine.outcome
function run.start(given)
  local self = session.prepare(given)
  self.expected = given.plan and given.plan.effects
  outlook.require(self, given.outside_window)
  local approvals = approval.require(self, given, session.snapshot_digest(self.files))
  local earlier = rehearsed.require(self, given, session.code_digest(self.files))
  self:begin(given)
  return self:hold(function()
    if self.outside then outlook.note(self, self.outside, given.actor) end
    for _, one in ipairs(approvals) do self.writer:write(approval.note(one)) end
    if earlier then self.writer:write(rehearsed.note(earlier)) end
    return forward(self)
  end)
end

--- Outside its window a run goes on with a reason only, which may be the answer to what it had stopped at.
local function enter_window(self, given)
  local answer = self.ready_answer
  local answered = answer and answer.choice == "go on"
  outlook.require(self, given.outside_window or answered and answer.reason)
  if not self.outside then return end
  if answered then self.ready_answer = nil end
  outlook.note(self, self.outside, given.actor)
end

--- The step that was begun and is not over, or the next.
local function standing_at(self)
  for _, step in ipairs(self.procedure.steps) do
    if not self.state:is_over(step.title) then return step end
  end
end

--- What a resume does before it goes forward.
local function prepare_to_go_on(self, given)
  enter_window(self, given)
  local change = given.amendment
  if not change then return end
  change.who = given.actor
  self.at = standing_at(self)
  amend.make(self, self.at, change)
  self:tell_outline()
end

--- What the run was planned to do, as long as neither its code nor its arguments were changed since; nil without a plan.
local function planned_effects(self)
  local id = self.state.first.plan
  local line = id and #self.state.amendments == 0 and self.journal.store:plan(id)
  return line and json.decode(line).effects or nil
end

--- Goes on with a way back. nil: it is at its end, and the rehearsal, or the typed lines, that it belongs to go on.
local function go_on_back(self, given)
  local result = rollback.back(self, { down_to = self.state.to, on_conflict = given.on_conflict })
  local first = self.state.first
  local goes_on = (first.rehearsal or first.kind == "repl") and result.status == "stopped" and not result.failure
  return not goes_on and judged(self, result) or nil
end

--- Lines that were typed are not typed again: with nothing in doubt their run is done, and what they changed stays. It
--- stays open where one was cut short before what it changed came into force.
local function close_lines(self)
  local left = repl.unclosed(self)[1]
  if left then
    return outcome.of(self, "stopped", fault.new { kind = "conflict", where = "",
      message = ("%s was cut short before %s: what it changed is there, and not in force"):format(left.path, left.show),
      hint = "a rollback puts it back; who brings it into force by hand abandons the run" })
  end
  self:close "done"
  return outcome.of(self, "done")
end

--- Goes on with a run that stopped: asks the targets about what is in doubt first.
--- @param given neap.resume_request
--- @return table outcome
function run.resume(given)
  local self = session.reopen(given)
  return self:hold(function()
    local ok, failure = pcall(recover.settle_all, self)
    if not ok then return outcome.of(self, "stopped", failure) end
    repl.close_all(self)
    self.expected = planned_effects(self)
    if self.state.turn == "back" then
      local result = go_on_back(self, given)
      if result then return result end
    end
    if self.state.first.kind == "repl" then return close_lines(self) end
    ok, failure = pcall(prepare_to_go_on, self, given)
    if not ok then return outcome.of(self, "stopped", failure) end
    return forward(self)
  end)
end

--- Gives a run up: the environment is clean for others, and what it changed stays changed and is named.
--- @param given { state: string|table, run: integer, reason: string, actor?: string, on_event?: function }
--- @return table outcome
function run.abandon(given)
  local self = session.reopen(given)
  return self:hold(function()
    local remaining = {}
    for _, one in ipairs(self.state:in_place()) do
      remaining[#remaining + 1] = { show = one.show, path = one.path, status = one.status }
    end
    self:close("abandoned", { reason = given.reason, who = given.actor, remaining = remaining })
    return outcome.of(self, "abandoned")
  end)
end

return run
