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

  it("are not vouched for twice with different keys", function()
    local w = world.new [[step "Make" { run = function() vouch("new", "SHA256:a") vouch("new", "SHA256:b") end }]]
    equal(w:start().failure.code, "identity")
  end)
end)
