--- A world for the engine's tests: targets that are variables, a journal in memory, a repository of texts; and crashes.
local branches  = require "neap.engine.branch"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local store     = require "neap.fakes.store"
local run       = require "neap.engine.run"
local rollback  = require "neap.engine.rollback"
local task      = require "native.task"
local words     = require "neap.words"

local world = {}
world.__index = world

local current -- the world that the fake kinds act on; tests run one after another

effect.resource "fake.value" {
  late = false,
  timeout = 7200,
  get = function(target) return current:call("get", target, function() return current.values[target] end) end,
  put = function(target, value)
    current:call("put", target, function()
      local takes = current.takes or 0
      task.sleep(type(takes) == "function" and takes(target) or takes)
      current.log[#current.log + 1] = ("%s=%s"):format(target, tostring(value))
      current.values[target] = value
    end)
  end,
}

effect.action "fake.event" {
  late = false,
  run = function(target, data, call)
    return current:call("run", target, function()
      if current.failing[target] then fault.raise { kind = "remote", message = target .. " failed", code = 1 } end
      current.taken[call.witness] = current.taken[call.witness] or "done"
      if current.taken[call.witness] ~= "done" then fault.raise { kind = "conflict", message = "closed" } end
      current.log[#current.log + 1] = ("%s(%s)"):format(target, tostring(data))
      return "result of " .. target
    end)
  end,
  undo = function(target, data, call)
    current:call("undo", target, function()
      if current.failing["undo " .. target] then fault.raise { kind = "remote", message = "the undo failed" } end
      current.taken[call.witness] = "done"
      current.log[#current.log + 1] = ("undo %s(%s)"):format(target, tostring(data))
    end)
  end,
  undo_needs_data = true,
  take = function(target, witness)
    return current:call("take", target, function()
      if current.taken[witness] == "done" then return "done", "result of " .. target end
      current.taken[witness] = "closed"
      return "void"
    end)
  end,
}

effect.action "fake.reload" {
  late = false,
  run = function(target, _, call)
    current:call("run", target, function()
      current.taken[call.witness] = "done"
      current.loaded[target] = current.values[target]
      current.log[#current.log + 1] = "reload " .. target
    end)
  end,
  take = function(_, witness)
    if current.taken[witness] == "done" then return "done" end
    current.taken[witness] = "closed"
    return "void"
  end,
}

local read = effect.read("fake.read", function(target)
  return current:call("read", target, function() return current.values[target] end)
end)

words.fakes.world = {
  set = function(target, value, options)
    return effect.change("fake.value", target, function() return value end, options)
  end,
  edit = function(target, fn, options) return effect.change("fake.value", target, fn, options) end,
  event = function(target, data, options) return effect.perform("fake.event", target, data, options) end,
  reloading = function(target, fn, options) return effect.bracket("fake.reload", target, fn, options) end,
  read = read,
  log = function(text) current.log[#current.log + 1] = text end,
}

--- @param procedure string  its text
--- @param values? table<string, any>  the targets as they are
--- @param options? { policy: table }
function world.new(procedure, values, options)
  local self = setmetatable({
    values = {}, loaded = {}, taken = {}, failing = {}, log = {}, events = {}, calls = 0, commits = 0,
  }, world)
  self.store = store.new()
  self.files = { ["procedures/test/it.lua"] = procedure }
  self.policy = options and options.policy or {}
  for target, value in pairs(values or {}) do self.values[target] = value end
  current = self
  return self
end

--- Every call to a target and every commit passes here: crash_at names the point at which the process dies.
function world:point(name)
  self.points = (self.points or 0) + 1
  if self.points == self.crash_at then
    self.crashed = name
    self.dead = true
  end
  if self.dead then error("crash", 0) end
end

function world:call(method, target, fn)
  self:point("before " .. method .. " " .. tostring(target))
  if self.lose and self.lose.method == method and self.lose.target == target then
    if self.lose.after then fn() end
    self.lose = nil
    fault.raise { kind = "lost", message = "the connection broke" }
  end
  local results = table.pack(fn())
  self:point("after " .. method .. " " .. tostring(target))
  return table.unpack(results, 1, results.n)
end

local function given(self, more)
  local place = setmetatable({ insert = function(place, batch)
    self:point "before commit"
    store.insert(place, batch)
    self:point "after commit"
  end }, { __index = self.store, __newindex = self.store }) -- its rows stay in self.store, whatever dies
  local base = {
    state = place, procedure = "procedures/test/it.lua", files = self.files, arguments = self.arguments or {},
    environment = { name = "test/lab", group = "test", hosts = {}, values = {}, policy = self.policy },
    on_event = function(event) self.events[#self.events + 1] = event end,
    attended = function() return self.answers ~= nil and #self.answers > 0 end,
    ask = function(question)
      self.question = question
      local answer = self.answers and table.remove(self.answers, 1)
      if type(answer) == "function" then answer = answer(question) end
      if type(answer) == "string" then answer = { choice = answer } end
      if answer then answer.who = "tester" end
      return answer
    end,
    settle_patience = 0, settle_at_once = 0,
  }
  for key, value in pairs(more or {}) do base[key] = value end
  return base
end

function world:start(more) return run.start(given(self, more)) end

function world:plan() return require("neap.engine.plan").make(given(self)) end

local function live_again(self, crash_at)
  self.dead, self.crash_at, self.points = false, crash_at, 0
end

function world:resume(more)
  live_again(self, nil)
  return run.resume(given(self, more or { run = 1 }))
end

--- A resume that dies itself at a point.
function world:resume_crashing(crash_at, more)
  live_again(self, crash_at)
  return run.resume(given(self, more or { run = 1 }))
end

function world:rollback(more)
  live_again(self, nil)
  local options = { run = 1 }
  for key, value in pairs(more or {}) do options[key] = value end
  return rollback.start(given(self, options))
end

--- A rollback that dies itself at a point.
function world:rollback_crashing(crash_at)
  live_again(self, crash_at)
  return rollback.start(given(self, { run = 1 }))
end

--- The state of the last run as its records tell it.
function world:state()
  local journal = require("neap.engine.journal").open(self.store)
  return require("neap.engine.fold").of(journal:records(1)), journal
end

world.branches, world.request = branches, given

return world
