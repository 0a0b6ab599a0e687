--- A run as the targets see it, without an engine behind it: hosts, connections, and a place for them to end.
local task = require "native.task"

local fixture = {}

local count = 0

--- A run with these hosts beside `local`.
--- @param hosts? table<string, table>
function fixture.run(hosts)
  count = count + 1
  local run = { uid = ("test-%d-%d"):format(require("native.process").pid(), count), connections = {},
    environment = { hosts = hosts or {} } }
  run.environment.hosts["local"] = run.environment.hosts["local"] or { name = "local" }
  return run
end

--- Calls fn within the run, with leave to change; then closes what the run holds.
function fixture.within(run, changing, fn, ...)
  local branch = setmetatable({ run = run }, { __index = task.context() }) -- the test's own: it holds its scratch folders
  local results = table.pack(pcall(task.with_context, branch, changing, fn, ...))
  for host, place in pairs((run.connections.witness or { places = {} }).places) do
    task.with_context(branch, changing, require("neap.targets.witness").release, host, place)
  end
  for _, connection in pairs(run.connections) do connection:close() end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

-- ---- whole runs, of a procedure's text ----

local Trial = {}
Trial.__index = Trial

--- A procedure with one step for each text, to be run, planned, resumed or rolled back on these hosts; PATH in a text is
--- replaced by `path`. Its journal is in memory, or in the folder `state`.
--- @param steps string[]
--- @param path string
--- @param hosts? table<string, table>
--- @param state? string
function fixture.trial(steps, path, hosts, state)
  local lines = { "-- A trial.", 'phase "One"' }
  for i, text in ipairs(steps) do
    lines[#lines + 1] = ('step "Step %d" { run = function() %s end }'):format(i, (text:gsub("PATH", (path:gsub("%%",
      "%%%%")))))
  end
  local environment = { name = "test/lab", group = "test", values = {}, policy = {}, hosts = hosts or {} }
  environment.hosts["local"] = environment.hosts["local"] or { name = "local" }
  return setmetatable({ store = state or require("neap.fakes.store").new(), events = {}, environment = environment,
    files = { ["procedures/test/it.lua"] = table.concat(lines, "\n") } }, Trial)
end

local function given(self, more)
  local options = {
    state = self.store, procedure = "procedures/test/it.lua", files = self.files, arguments = {},
    environment = self.environment, on_event = function(event) table.insert(self.events, event) end,
    ask = function(question) self.question = question end,
  }
  for key, value in pairs(more or {}) do options[key] = value end
  return options
end

--- The outcome, which must have that status.
local function checked(self, outcome, status)
  if status and outcome.status ~= status then
    local json = require "native.json"
    error(("expected the run to be %s, got %s\n%s"):format(status, outcome.status,
      outcome.failure and tostring(outcome.failure) or self.events[#self.events]
      and tostring(json.encode_pretty(self.events[math.max(1, #self.events - 1)])) or ""), 3)
  end
  return outcome
end

--- The outcome, whatever it is.
function Trial:start(more) return require("neap.engine.run").start(given(self, more)) end

function Trial:run(status) return checked(self, require("neap.engine.run").start(given(self)), status) end

function Trial:resume(status) return checked(self, require("neap.engine.run").resume(given(self, { run = 1 })),
  status) end

function Trial:roll_back(status)
  return checked(self, require("neap.engine.rollback").start(given(self, { run = 1 })), status)
end

function Trial:plan() return require("neap.engine.plan").make(given(self)) end

--- The events of a type, oldest first.
function Trial:all(type)
  local list = {}
  for _, event in ipairs(self.events) do
    if event.type == type then list[#list + 1] = event end
  end
  return list
end

--- Closes a run that a test leaves as it is.
function Trial:abandon() require("neap.engine.run").abandon(given(self, { run = 1, reason = "the test is over" })) end

--- What made the first effect fail.
function Trial:failure()
  for _, event in ipairs(self.events) do
    if event.failure then return event.failure end
  end
end

return fixture
