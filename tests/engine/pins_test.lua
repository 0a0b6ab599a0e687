--- Who the targets are: noted at plan and at first contact, held to by run --plan, resume and rollback.
local branches = require "neap.engine.branch"
local effect   = require "neap.engine.effect"
local words    = require "neap.words"
local world    = require "tests.engine.world"

local shown -- what the target shows

local meet = effect.read("fake.meet", function(name)
  branches.current().run:meet(name, shown)
  return true
end)

local TEXT = [[
  step "One" { run = function() meet "db" world.set("a", 1) end }
  step "Two" { run = function() if world.read "go" then meet "db" world.set("b", 1) else fail "no" end end }]]

before_each(function()
  shown, words.fakes.meet = "key 1", meet
  words.fakes.vouch = function(name, key) branches.current().run:vouch(name, key) end
end)

after_each(function() words.fakes.meet, words.fakes.vouch = nil, nil end)

local function pins_of(w) return (w:state()).pins end

describe("identity pins", function()
  it("are taken by a plan, and stand in the run that follows it", function()
    local w = world.new(TEXT, { go = true })
    local model = w:plan()
    equal(model.pins, { db = "key 1" })
    equal(w:start({ plan = model }).status, "done")
    local state = w:state()
    equal({ state.first.pins, state.pins }, { { db = "key 1" }, { db = "key 1" } })
  end)

  it("refuse another target than the plan's, before any change", function()
    local w = world.new(TEXT, { go = true })
    local model = w:plan()
    shown = "key 2"
    local outcome = w:start { plan = model }
    equal({ outcome.exit, outcome.failure.code, w.log }, { 8, "identity", {} })
    matches(outcome.failure.message, "db is not the one this run was made for: it is key 2, known is key 1")
  end)

  it("are learned at the first contact, once, and held to by a resume", function()
    local w = world.new(TEXT, { go = false })
    equal(w:start().status, "stopped")
    equal(pins_of(w), { db = "key 1" })
    w.values.go, shown = true, "key 2"
    local outcome = w:resume()
    equal({ outcome.exit, outcome.failure.code, w.log }, { 8, "identity", { "a=1" } })
    shown = "key 1"
    equal(w:resume().status, "done")
    local notes = 0
    for _, record in ipairs(select(2, w:state()):records(1)) do
      if record.kind == "pin" then notes = notes + 1 end
    end
    equal(notes, 1)
  end)

  it("are given beforehand for what does not exist yet, and hold", function()
    local text = [[
      step "Make" { run = function() vouch("new", "SHA256:abc") end }
      step "Use" { run = function() meet "new" world.set("a", 1) end }]]
    shown = "ssh-ed25519 SHA256:abc"
    local w = world.new(text)
    equal(w:start().status, "done")
    equal((w:state()).trusted, { new = "SHA256:abc" })
    shown = "ssh-ed25519 SHA256:other"
    w = world.new(text)
    local outcome = w:start()
    equal({ outcome.exit, outcome.failure.code, w.log }, { 8, "identity", {} })
  end)

  it("let no branch pass that meets another, whatever max_failures says", function()
    local w = world.new [[
      step "All" { on = { "a", "b", "c" }, at_a_time = 1, max_failures = 2,
        run = function(name) world.call_back(name) meet "db" world.set(name, 1) end }]]
    words.fakes.world.call_back = function(name) shown = name == "b" and "key 2" or "key 1" end
    local outcome = w:start()
    words.fakes.world.call_back = nil
    equal({ outcome.status, outcome.exit, w.values.a, w.values.b }, { "stopped", 8, 1 })
  end)

  it("are not vouched for twice with different keys", function()
    local w = world.new [[step "Make" { run = function() vouch("new", "SHA256:a") vouch("new", "SHA256:b") end }]]
    equal(w:start().failure.code, "identity")
  end)
end)

-- Kinds that meet their target by themselves, as a host's connection and a database's session do.

local reached

effect.resource "fake.met" {
  late = false,
  get = function(target) meet(target) return reached[target] end,
  put = function(target, value) meet(target) reached[target] = value end,
}

effect.action "fake.met_reload" {
  late = false, meet = meet,
  run = function(target) reached[target .. " reloads"] = (reached[target .. " reloads"] or 0) + 1 end,
  take = function() return "void" end,
}

effect.action "fake.met_event" {
  late = false,
  run = function(target) meet(target) reached[target] = "run" end,
  undo = function(target) meet(target) reached[target] = "undone" end,
  take = function(target) meet(target) return "void" end,
}

local function going_back(text)
  reached = { db = "old" }
  words.fakes.met = {
    set = function(target) effect.change("fake.met", target, function() return "new" end) end,
    event = function(target) effect.perform("fake.met_event", target, nil, { undo = true }) end,
    reloading = function(target, fn) effect.bracket("fake.met_reload", target, fn) end,
  }
  local w = world.new(text .. [[ step "Last" { run = function() fail "no" end }]])
  w:start()
  local before = reached.db
  shown = "key 2"
  return w, w:rollback(), before
end

describe("identity pins in a rollback", function()
  after_each(function() words.fakes.met = nil end)

  it("refuse another target before what a bracket of it holds is put back", function()
    local w, outcome = going_back [[step "One" { run = function()
      met.reloading("db", function() world.set("conf", 2) end) end }]]
    equal({ outcome.exit, outcome.failure.code }, { 8, "identity" })
    equal({ w.values.conf, reached["db reloads"] }, { 2, 1 })
    shown = "key 1"
    equal(w:rollback().status, "rolled back")
    equal({ w.values.conf, reached["db reloads"] }, { nil, 2 })
  end)

  it("refuse another target before the reload of a bracket that was not closed", function()
    local w, outcome = going_back [[step "One" { run = function()
      met.reloading("db", function() world.set("conf", 2) fail "no" end) end }]]
    equal({ outcome.exit, outcome.failure.code, reached["db reloads"] }, { 8, "identity" })
    shown = "key 1"
    equal(w:rollback().status, "rolled back")
    equal({ w.values.conf, reached["db reloads"] }, { nil, 1 })
  end)

  for what, text in pairs {
    ["a state that is put back"] = [[step "One" { run = function() met.set "db" end }]],
    ["an action's undo"] = [[step "One" { run = function() met.event "db" end }]],
    ["a step's own undo"] = [[step "One" { run = function() met.set "db" end, undo = function() met.set "db" end }]],
    ["branches side by side of a step's own undo"] = [[step "One" { run = function() met.set "db" end,
      undo = function() parallel { one = function() met.event "db" end, two = function() return 2 end } end }]],
    ["a list of a step's own undo"] = [[step "One" { run = function() met.set "db" end,
      undo = function() each({ "a", "b" }, function() met.event "db" end) end }]],
    ["a read in a step's own undo"] = [[step "One" { run = function() met.set "db" end,
      undo = function() meet "db" met.event "db" end }]],
  } do
    it("refuse another target at the first contact, before " .. what, function()
      local w, outcome, before = going_back(text)
      equal({ outcome.exit, outcome.failure.kind, outcome.failure.code }, { 8, "denied", "identity" })
      equal(reached.db, before)
      shown = "key 1"
      equal(w:rollback().status, "rolled back")
    end)
  end
end)
