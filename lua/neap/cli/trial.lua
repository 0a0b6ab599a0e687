--- A procedure tried with targets in memory: forward, back, with each effect failing once, and with a crash at each point
--- at which a process can die. It is the word `trial` of test files.
local clock       = require "native.clock"
local clusters    = require "neap.fakes.cluster"
local data        = require "neap.engine.data"
local environment = require "neap.environment"
local fs          = require "native.fs"
local journals    = require "neap.fakes.store"
local repository  = require "neap.repository"
local rollback    = require "neap.engine.rollback"
local run         = require "neap.engine.run"
local targets     = require "neap.fakes.targets"
local task        = require "native.task"

--- @class neap.trial
--- @field name string
--- @field targets neap.fake_targets
--- @field people table[]  what persons were asked, in order
--- @field answers table<string, string>  by what a question is about: the step's title, or "human"
local Trial = {}
Trial.__index = Trial

local PATIENCE = 100 -- so often a person says "done" where the step's check does not find it so

local OPTIONS = { env = true, arguments = true, given = true, values = true, secrets = true }

local function check_options(options)
  for key in pairs(options) do
    local hint = require "neap.near".hint(key, OPTIONS)
    if not OPTIONS[key] then error(("trial has no option named %q%s"):format(tostring(key), hint), 3) end
  end
  if not options.env then error("trial needs env, the environment's name", 3) end
end

--- Secrets are texts that the test gives, or made up; their sources are not asked.
local function with_secrets(env, given, folder)
  local secrets = {}
  for name in pairs(env.secrets) do
    local path = ("%s/%s"):format(folder, name)
    fs.write(path, given and given[name] or ("made-up-%s-for-a-trial"):format(name), { mode = "0600" })
    secrets[name] = "file:" .. path
  end
  env.secrets = secrets
  if env.tree then env.tree.secrets = secrets end
end

local DEMANDS = { "approvals", "window", "freeze", "rehearsed", "rehearsed_within" }

--- Neither hours nor persons count in a trial; a run makes its policy anew out of the tree.
local function without_demands(env)
  for _, policy in ipairs { env.policy, env.tree and env.tree.policy or nil } do
    for _, key in ipairs(DEMANDS) do policy[key] = nil end
  end
end

local function load(self, options)
  local found = repository.procedure(self.name)
  local files, path = repository.snapshot(found)
  local env = environment.load(repository.environment(options.env, found.group).file)
  for name, value in pairs(options.values or {}) do
    env.values[name] = value
    if env.tree then env.tree.values = env.tree.values or {} env.tree.values[name] = value end
  end
  if next(env.secrets) then with_secrets(env, options.secrets, self.folder) end
  without_demands(env)
  self.files, self.path, self.environment = files, path, env
end

--- A trial of a procedure.
--- @param name string  "<group>/<name>"
--- @param options { env: string, arguments?: table, given?: fun(trial: neap.trial), values?: table, secrets?: table }
---   given puts the targets in their first state, each time anew
--- @param folder string  for what it must write
--- @return neap.trial
local function new(name, options, folder)
  check_options(options)
  local self = setmetatable({ name = name, given = options.given, arguments = options.arguments or {}, answers = {},
    folder = folder }, Trial)
  load(self, options)
  self:reset()
  return self
end

--- Puts all in the first state.
function Trial:reset()
  self.targets, self.store, self.people, self.events = targets.new(), journals.new(), {}, {}
  self.patience = PATIENCE
  if self.given then self.given(self) end
end

-- ---- what is there ----

--- Puts a file on a host, or says what is in it: nil where it is not there.
--- @param host string
--- @param path string
--- @param text? string
--- @param rights? { mode?: string, owner?: string, group?: string }
--- @return string?
function Trial:file(host, path, text, rights)
  local target = { host = host, path = path }
  if text == nil then
    local state = self.targets:get("file.content", target)
    return state and state.content
  end
  rights = rights or {}
  self.targets:put("file.content", target, { content = text, mode = rights.mode or "0644",
    owner = rights.owner or "root", group = rights.group or "root" })
end

--- Puts an object into a cluster, or gives one: nil where it is not there.
--- @param cluster string
--- @param object table|string  a manifest, or "deployment/reporting"
--- @param namespace? string
--- @return table?
function Trial:object(cluster, object, namespace)
  local entry = (self.environment.clusters or {})[cluster]
  if not entry then error(("the environment has no cluster %q"):format(tostring(cluster)), 2) end
  if type(object) == "string" then return clusters.object(self.targets, cluster, object, namespace) end
  clusters.put(self.targets, cluster, object, namespace or entry.namespace or "default")
end

--- Puts a state of any kind there.
--- @param kind string
--- @param target any
--- @param state any
function Trial:put(kind, target, state) self.targets:put(kind, target, state) end

--- The state of any kind.
--- @param kind string
--- @param target any
--- @return any
function Trial:get(kind, target) return self.targets:get(kind, target) end

--- Answers reads: trial:answer("sql.query", "from people", { columns = {}, rows = {} }); commands are "host.exec".
--- @param read string
--- @param pattern? string  of the arguments
--- @param answer any       a value, or a function of the arguments
function Trial:answer(read, pattern, answer) self.targets:answer(read, pattern, answer) end

--- What an action returns.
--- @param kind string
--- @param result any
function Trial:result(kind, result) self.targets:result(kind, result) end

--- What has happened to the targets, a line each: "run command.run web1 …".
--- @return string[]
function Trial:log()
  local lines = {}
  for i, one in ipairs(self.targets.log) do lines[i] = ("%s %s %s"):format(one.what, one.kind, one.show) end
  return lines
end

-- ---- running ----

--- A person does what is asked; a test may answer otherwise by a step's title.
local function ask(self, question)
  table.insert(self.people, question)
  self.patience = question.notice and self.patience - 1 or PATIENCE
  if self.patience == 0 then return nil end
  local choice = self.answers[question.path]
  if not choice then
    for _, option in ipairs { "done", "pass" } do
      for _, offered in ipairs(question.options or {}) do
        if offered == option then choice = choice or option end
      end
    end
  end
  return choice and { choice = choice, who = "a trial", reason = "the test says so",
    evidence = question.evidence and "the test has seen it" or nil } or nil
end

local CRASH = setmetatable({}, { __tostring = function() return "the process dies here" end })

--- Dies at a point: nothing of that process happens any more.
function Trial:point(name)
  self.points = self.points + 1
  if self.points == self.crash_at then self.crashed = name end
  if self.crashed then error(CRASH, 0) end
end

local function given(self, more)
  local place = setmetatable({ insert = function(_, batch)
    self:point "before a record"
    self.store:insert(batch)
    self:point "after a record"
  end }, { __index = self.store, __newindex = self.store })
  local base = { state = place, procedure = self.path, files = self.files, arguments = self.arguments,
    environment = self.environment, fakes = self.targets,
    on_event = function(event) table.insert(self.events, event) end,
    attended = function() return true end, ask = function(question) return ask(self, question) end,
    settle_patience = 0, settle_at_once = 0 }
  for key, value in pairs(more or {}) do base[key] = value end
  return base
end

--- In virtual time, until the end or a crash; returns the outcome, nil after a crash.
local function go(self, verb, more, crash_at)
  self.points, self.crash_at, self.crashed = 0, crash_at, nil
  self.targets.before_call = function(what) self:point(what) end
  clock.virtual(true)
  local running = task.spawn(verb, given(self, more))
  local ok, outcome = running:wait()
  clock.virtual(false)
  if self.crashed then return nil end
  if not ok then error(outcome, 0) end
  return outcome
end

--- Runs the procedure.
--- @return table outcome  status: "done", "stopped", "rolled back" …; failure, step, changed
function Trial:run() return go(self, run.start) end

--- Goes on with the run.
--- @return table outcome
function Trial:resume() return go(self, run.resume, { run = 1 }) end

--- Takes everything back.
--- @return table outcome
function Trial:rollback() return go(self, rollback.start, { run = 1 }) end

--- What a plan shows.
--- @return neap.plan
function Trial:plan()
  self.points, self.crash_at, self.crashed = 0, nil, nil
  return require("neap.engine.plan").make(given(self))
end

-- ---- what has to hold ----

local function differing(a, b)
  local lines = {}
  for key, one in pairs(a) do
    if not data.same(one.state, b[key] and b[key].state) then lines[#lines + 1] = one.show end
  end
  for key, one in pairs(b) do
    if not a[key] then lines[#lines + 1] = one.show end
  end
  table.sort(lines)
  return lines
end

local function count_log(self)
  local counts = {}
  for _, line in ipairs(self:log()) do counts[line] = (counts[line] or 0) + 1 end
  return counts
end

local function doubled(counts, expected)
  for line, count in pairs(counts) do
    if count > (expected[line] or 0) and line:find "^run " then return line, count end
  end
end

local function complain(trial, at, message, ...)
  error(("%s: %s\n      replay: trial:crash(%d)"):format(trial.crashed_at or "", message:format(...), at), 0)
end

--- Whether there is something to be resumed: it did not die after the close.
local function goes_on(self) return select(2, self.store:lease()) ~= nil end

local function why(outcome)
  local failure, question = outcome.failure, outcome.question
  return failure and tostring(failure.message or failure) or question and question.text or ""
end

--- Dies at that point, is resumed, and must come to the undisturbed end with nothing done twice. Returns false where the
--- run has no such point.
local function crash_once(self, at, expected)
  self:reset()
  local outcome = go(self, run.start, nil, at)
  if outcome then return false end
  self.crashed_at = self.crashed
  if #self.store.by_run == 0 then return true end
  local resumed = goes_on(self) and self:resume()
  if resumed and resumed.status ~= "done" then
    complain(self, at, "after resume it is %s: %s", resumed.status, why(resumed))
  end
  local differ = differing(expected.states, self.targets:snapshot())
  if #differ > 0 then complain(self, at, "after resume these are otherwise: %s", table.concat(differ, ", ")) end
  local line, count = doubled(count_log(self), expected.counts)
  if line then complain(self, at, "after resume this happened %d times: %s", count, line) end
  return true
end

local function undisturbed(self)
  self:reset()
  local outcome = self:run()
  if outcome.status ~= "done" then
    error(("the run itself is %s: %s"):format(outcome.status, tostring(outcome.failure and outcome.failure.message)), 0)
  end
  return { states = self.targets:snapshot(), counts = count_log(self), calls = self.targets.changed }
end

--- A crash at one point, by its number, and a resume.
--- @param at integer
function Trial:crash(at) return crash_once(self, at, undisturbed(self)) end

--- A crash at each point: before and after each record of the journal and each call. Raises at the first after which a
--- resume does not come to the undisturbed end.
--- @return integer points
function Trial:crash_everywhere()
  local expected, at = undisturbed(self), 1
  while crash_once(self, at, expected) do at = at + 1 end
  return at - 1
end

--- What the run has left in place on purpose: by the keys of targets; and whether it is behind a point of no return.
local function left(self)
  local kept = {}
  if not self.store.by_run[1] then return kept, false end
  local journal = require("neap.engine.journal").open(self.store)
  local state = require("neap.engine.fold").of(journal:records(1))
  for _, one in ipairs(state:in_place()) do
    if one.disposition ~= "undo" then kept[self.targets:key(one.kind, one.target)] = true end
  end
  return kept, state:point_of_no_return() ~= nil
end

--- Refuses one call, and takes back what was done until then.
local function refuse_once(self, at)
  self:reset()
  local before = self.targets:snapshot()
  self.targets.fail_at = at
  local outcome = self:run()
  if outcome.status == "done" then error(("the refused %s did not stop it"):format(self.targets.failed), 0) end
  local _, is_behind = left(self)
  if is_behind then return end
  if outcome.status == "stopped" then self:rollback() end
  local after, kept = self.targets:snapshot(), left(self)
  for key in pairs(kept) do before[key], after[key] = nil, nil end
  local differ = differing(before, after)
  if #differ > 0 then
    error(("after the refused %s and a rollback these are otherwise: %s"):format(self.targets.failed,
      table.concat(differ, ", ")), 0)
  end
end

--- Each call refused once: the run must stop there, and a rollback must bring every state back that is not kept. Behind a
--- point of no return it need not. Raises where it does not.
--- @return integer calls
function Trial:fail_everywhere()
  local calls = undisturbed(self).calls
  for at = 1, calls do refuse_once(self, at) end
  return calls
end

return { new = new }
