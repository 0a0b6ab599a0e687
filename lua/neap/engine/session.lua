--- A run in this process: takes the lease, keeps the state as records are written, and lets everything go at the end.
local audit      = require "neap.engine.audit"
local call       = require "neap.engine.call"
local clock      = require "native.clock"
local crypto     = require "native.crypto"
local data       = require "neap.engine.data"
local estimate   = require "neap.engine.estimate"
local fault      = require "native.error"
local fold       = require "neap.engine.fold"
local json       = require "native.json"
local interrupts = require "neap.engine.interrupts"
local journal    = require "neap.engine.journal"
local lease      = require "neap.engine.lease"
local notify     = require "neap.engine.notify"
local pins       = require "neap.engine.pins"
local procedure  = require "neap.engine.procedure"
local rehearsed  = require "neap.engine.rehearsed"
local secret     = require "native.secret"
local summary    = require "neap.engine.summary"
local syslog     = require "native.syslog"
local task       = require "native.task"
local versions   = require "neap.engine.versions"
local words      = require "neap.words"

local session = {}
session.__index = session

--- The digest of a snapshot's files.
--- @param files table<string, string>
--- @return string hex
function session.snapshot_digest(files)
  local digests = {}
  for path, bytes in pairs(files) do digests[path] = crypto.sha256(bytes) end
  return crypto.sha256(json.encode(digests))
end

--- The digest of the code alone, which is the same for every environment.
--- @param files table<string, string>
--- @return string hex
function session.code_digest(files)
  local code = {}
  for path, bytes in pairs(files) do
    if not path:find "/environments/" then code[path] = bytes end
  end
  return session.snapshot_digest(code)
end

--- The key of the environment: it lies beside its journal.
local function keys_of(given)
  if type(given.state) == "string" then return secret.keyring(given.state .. "/key") end
  if not given.state then return given.keys or secret.keyring() end
  given.state.keys = given.state.keys or secret.keyring()
  return given.state.keys
end

local function new(given)
  local self = setmetatable({ connections = {}, occurrences = {}, reads = 0, plan_results = {}, pins = {},
    trusted = {}, secret_records = {} }, session)
  self.on_event = given.on_event or function() end
  self.answerer, self.prompt, self.signals = given.ask, given.prompt, given.signals
  self.attended = given.attended
  self.fakes = given.fakes -- a test's, which stand in for all targets
  self.attend, self.detach, self.outlined = given.attend, given.detach, given.outlined
  self.keys = keys_of(given)
  self.output = function(host, bytes, side) self:emit { type = "output", host = host, text = bytes, side = side } end
  self.settle_at_once = given.settle_at_once
  self.settle_patience = given.settle_patience
  self.state_folder = type(given.state) == "string" and given.state or nil
  self.anchors = given.anchors or self.state_folder and syslog.write or nil -- a journal in memory is a test's
  return self
end

--- Tells the view; an event is a record, or volatile like { type = "output" }. Nobody outside is told a secret.
function session:emit(event) self.on_event(data.shown(event)) end

--- Refuses a run that is not there or is over.
local function check_open(self, number)
  local last = self.journal.store:last(number)
  if not last then
    fault.raise { kind = "missing", message = ("there is no run %d"):format(number), hint = "neap runs" }
  end
  local record = self.journal:decode(last)
  if record.type == "close" then
    fault.raise { kind = "conflict", code = "closed",
      message = ("run %d is closed: %s"):format(number, record.outcome) }
  end
end

--- Each step's end and the run's close are anchored where the group of the environment cannot rewrite them.
local function anchor(self, record, hash)
  local path = self.state:step_ended_by(record)
  local ends_step = path and not path:find("/", 1, true)
  if self.anchors and (ends_step or record.type == "close") then
    self.anchors(audit.anchor(self.state.first.environment, record, hash))
  end
end

--- Folds the records that the run has; those that hold a secret are noted, for these have to be read whole.
local function fold_read(self)
  self.reading:each(function(outline, line)
    self.state:add(outline)
    if summary.holds_secret(line) then table.insert(self.secret_records, outline.seq) end
  end, function(note)
    self.state:add_summary(note)
    for _, seq in ipairs(note.secrets or {}) do table.insert(self.secret_records, seq) end
  end)
  self.state:complete()
end

--- What a run that is taken up goes on with: the state it is in, its environment as it was, its snapshot's code.
local function load_snapshot(self)
  fold_read(self)
  local first, now = self.state.first, versions.last(self.state)
  self.uid, self.environment, self.files, self.path = first.uid, first.environment_data, now.files, first.path
  self.procedure = procedure.load { files = now.files, path = first.path, arguments = now.arguments,
    environment = self.environment }
  self.kinds = self.procedure.kinds
end

--- Reads the run while its chain is verified. A damaged journal says more than what came of reading it.
local function read_run(self, number)
  check_open(self, number)
  self.reading = self.journal:read(number)
  local ok, failure = pcall(load_snapshot, self)
  self.reading:result()
  if not ok then error(failure, 0) end
end

local function take_lease(self, given, number, first)
  self.lock = lease.lock(self.state_folder)
  local ok, failure = pcall(function()
    self.journal = journal.open(given.state)
    self.state = fold.new(self.journal:source(function() return number or self.writer.run end))
    if number then read_run(self, number) end
    local ballast = lease.ballast(self.state_folder)
    self.writer = self.journal:take(number, first, function(record, hash)
      self.state:add(record)
      self:emit(record)
      anchor(self, record, hash)
      notify.of_record(self, record)
    end, self.reading)
    self.writer.free_ballast = ballast
  end)
  if not ok then
    self:leave()
    error(failure, 0)
  end
  self.number = self.writer.run
end

--- Loads the procedure for a new run, before anything is journaled.
--- @param given table   see run.start
--- @return table session
function session.prepare(given)
  local self = new(given)
  self.files, self.path = given.files, given.procedure
  self.procedure = procedure.load { files = given.files, path = given.procedure, arguments = given.arguments,
    environment = given.environment }
  self.environment = self.procedure.environment
  self.kinds = self.procedure.kinds
  words.begin_secrets(self)
  return self
end

--- What the journal keeps of the environment, so that a resume does not see what was changed in it meanwhile.
local function frozen_environment(env)
  return data.plain {
    name = env.name, group = env.group, values = env.values, policy = env.policy, hosts = env.hosts,
    databases = env.databases, clusters = env.clusters, aws = env.aws, repositories = env.repositories,
    secrets = env.secrets, root = env.root,
    notify = env.notify, from_arguments = env.from_arguments, unread = env.unread,
  }
end

--- Begins a new run: the lease and the first records. `kind` "repl": its steps are lines that a person types.
--- @param given { state: string|table, actor?: string, plan?: table, kind?: "repl" }
function session:begin(given)
  self.pins = data.plain(given.plan and given.plan.pins or self.pins)
  self.uid = crypto.hex(crypto.random(8))
  take_lease(self, given, nil, function()
    return {
      { type = "run", uid = self.uid, environment = self.environment.name,
        environment_data = frozen_environment(self.environment), kind = given.kind,
        procedure = given.kind or self.procedure.name, path = self.path, arguments = self.procedure.arguments,
        files = self.files,
        snapshot = session.snapshot_digest(self.files), code = session.code_digest(self.files),
        rehearsal = given.rehearsal, plan = given.plan and given.plan.id, actor = given.actor,
        pins = self.pins },
      self:owner(),
      { type = "turn", direction = "forward", who = given.actor },
    }
  end)
end

--- Told by a target whom it has met under a name; raises where it was another before.
--- @param name string
--- @param identity string
function session:meet(name, identity) pins.meet(self, name, identity) end

--- Told by a target whom a procedure vouches for, before it is met.
--- @param name string
--- @param identity string
function session:vouch(name, identity) pins.vouch(self, name, identity) end

--- The secret that a target needs to be let in, by its reference in the environment.
--- @param reference string
--- @return native.secret.value
function session:secret(reference) return words.secret(self, reference) end

--- The record by which this process owns the run from now on.
--- @return table record
function session:owner()
  local own = lease.owner()
  own.type = "own"
  return own
end

--- Where the run stands waiting: at a question, or at the step that failed last.
local function waits_at(state)
  if state.question then return state.question.path end
  for i = #state.step_order, 1, -1 do
    local step = state.steps[state.step_order[i]]
    if step and step.status == "failed" and not step.path:find "/" then return step.path end
  end
end

local function ready_answer(self, given)
  if not given.answer then return nil end
  local answer = { path = waits_at(self.state), who = given.actor }
  for key, value in pairs(given.answer) do answer[key] = value end
  return answer
end

local function records_with_secrets(self)
  local list = {}
  for _, seq in ipairs(self.secret_records) do list[#list + 1] = self.state.source.whole(seq) end
  return list
end

--- Takes up a run that is not closed: its lease, its snapshot's code, its environment as it was.
--- @param given table   { state, run, on_event, ask, actor }
--- @return table session
function session.reopen(given)
  local self = new(given)
  take_lease(self, given, given.run, function() return { self:owner() } end)
  local ok, failure = pcall(function()
    self.ready_answer = ready_answer(self, given)
    self.pins, self.trusted = data.plain(self.state.pins), data.plain(self.state.trusted)
    words.begin_secrets(self, records_with_secrets(self))
  end)
  if not ok then
    self:leave()
    error(failure, 0)
  end
  return self
end

--- Where a procedure's policy decides: environment's policy, or the default.
function session:policy(key, default)
  local policy = self.environment.policy or {}
  return policy[key] == nil and default or policy[key]
end

--- Whether a question would reach somebody now.
--- @return boolean
function session:is_attended() return self.ready_answer ~= nil or self.attended ~= nil and self.attended() end

--- The answer that `resume --answer` brought along, for the question that the run had stopped at.
local function take_ready(self, record)
  local ready = self.ready_answer
  if not ready or ready.path ~= record.path then return nil end
  for _, option in ipairs(record.options) do
    if option == ready.choice then
      self.ready_answer = nil
      return ready
    end
  end
end

--- @class neap.question
--- @field kind string
--- @field text string
--- @field options string[]
--- @field path? string
--- @field shown? any  what there is to see
--- @field evidence? string  what is to be written down with the answer
--- @field timeout? number  seconds after which the answer is "timeout"
--- @field notice? string  why the last answer would not do

--- Asks a person. Writes the question down; where nobody is there to answer, raises kind "paused" with it.
--- @param question neap.question
--- @return string choice
--- @return table answer  the record: with who, and by the choice reason, to, whom, evidence, arguments
--- @return table given  as it came: code is not in the record
function session:ask(question)
  local record = self.writer:write { type = "ask", kind = question.kind, path = question.path, text = question.text,
    options = question.options, shown = question.shown, evidence = question.evidence, timeout = question.timeout,
    notice = question.notice }
  local shown = data.shown(record)
  local answer = take_ready(self, record) or self.answerer and self.answerer(shown)
  if not answer then
    local why = question.notice and question.notice .. ": " or ""
    fault.raise { kind = "paused", message = why .. question.text, question = shown }
  end
  local written = self.writer:write { type = "answer", of = record.seq, choice = answer.choice, who = answer.who,
    reason = answer.reason, to = answer.to, whom = answer.whom, evidence = answer.evidence,
    arguments = answer.arguments }
  return written.choice, written, answer
end

--- Closes the run in the journal: the environment is clean again.
--- @param outcome "done"|"rolled back"|"abandoned"
--- @param fields? table
function session:close(outcome, fields)
  local left = call.release(self)
  local record = { type = "close", outcome = outcome, head = self.writer.head, procedure = self.state.first.procedure,
    took = estimate.took(self.state),
    rehearsal = rehearsed.verdict(self.state, outcome), left = #left > 0 and left or nil }
  for key, value in pairs(fields or {}) do record[key] = value end
  self.writer:write(record)
end

--- Lets go of journal and lock, and keeps the connections.
function session:give_back()
  if self.reading then self.reading:close() end
  if self.journal then self.journal:close() end
  if self.lock then self.lock:close() end
  self.reading, self.journal, self.lock = nil, nil, nil
end

--- Lets go of connections, journal and lock. The run itself is not touched.
function session:leave()
  for _, connection in pairs(self.connections) do pcall(connection.close, connection) end
  self.connections = {}
  self:give_back()
end

--- Calls fn(session) and lets go of everything afterwards, also when it raises or is cancelled.
--- @param fn fun(session: table): any
--- @return any
function session:hold(fn)
  local ok, result
  if self.attend then self.attend(self) end
  self:tell_outline()
  if self.signals then
    ok, result = pcall(interrupts.guard, self, fn)
  else
    ok, result = pcall(fn, self)
  end
  if self.detach then self.detach() end
  task.shield(notify.finish, self)
  task.shield(self.leave, self)
  if not ok then error(result, 0) end
  return result
end

--- Tells a view that wants to know which steps there are, by their phases.
function session:tell_outline()
  if not self.outlined then return end
  local phases = {}
  for i, phase in ipairs(self.procedure.phases) do
    phases[i] = { title = phase.title, number = phase.number, steps = {} }
    for k, step in ipairs(phase.steps) do
      phases[i].steps[k] = { number = step.number, title = step.title, kind = step.kind,
        no_return = step.irreversible ~= nil or nil }
    end
  end
  self:emit { type = "outline", run = self.number, procedure = self.procedure.name,
    environment = self.environment.name, guard = (self.environment.policy or {}).guard, phases = phases }
end

--- Seconds since the run began.
function session:elapsed() return clock.now() - (clock.parse(self.state.first.time) or clock.now()) end

return session
