-- Runs a step on the lab's hosts with a journal in memory, for tests of targets.
local rollback = require "neap.engine.rollback"
local run      = require "neap.engine.run"
local store    = require "neap.fakes.store"

local steps = {}

local HOSTS = { "old", "new", "proxy1", "proxy2", "local" }

local function environment()
  local hosts = {}
  for _, name in ipairs(HOSTS) do hosts[name] = { name = name, ssh = name ~= "local" and name or nil } end
  return { name = "test/lab", group = "test", hosts = hosts, values = {}, policy = {} }
end

local function given(self, more)
  local base = {
    state = self.journal, procedure = "procedures/test/it.lua", files = { ["procedures/test/it.lua"] = self.text },
    arguments = {}, environment = environment(), settle_patience = 0, settle_at_once = 0,
    ask = function() return { choice = "pass", who = "tester" } end,
  }
  for key, value in pairs(more or {}) do base[key] = value end
  return base
end

--- Runs the body of one step, Lua text. What it returns is `outcome.result`.
--- @param body string
--- @param more? string  further steps
--- @return table outcome
--- @return table self
function steps.run(body, more)
  local text = 'step "It" {\n  run = function()\n%s\n  end,\n}\n%s'
  local self = { journal = store.new(), text = text:format(body, more or "") }
  local result
  local outcome = run.start(given(self, {
    on_event = function(event)
      if event.type == "end" and event.path == "It" and event.result ~= nil then result = event.result end
    end,
  }))
  outcome.result = result
  return outcome, self
end

--- Plans the body of one step. Returns the plan, and what runs it: as it is, or altered.
--- @param body string
--- @return neap.plan model
--- @return fun(model: neap.plan): table start
function steps.plan(body)
  local self = { journal = store.new(), text = ('step "It" {\n  run = function()\n%s\n  end,\n}\n'):format(body) }
  local function start(model) return run.start(given(self, { plan = model })) end
  return require "neap.engine.plan".make(given(self)), start
end

--- The same, and then a step that fails, so that the run stays open and can be rolled back.
--- @return table self
function steps.run_and_stop(body)
  local outcome, self = steps.run(body, 'step "Stop" { run = function() fail("enough") end }')
  if outcome.status ~= "stopped" or outcome.step.title ~= "Stop" then error(outcome.failure, 2) end
  return self
end

--- Rolls back what a run did that is not closed.
function steps.back(self) return rollback.start(given(self, { run = 1 })) end

return steps
