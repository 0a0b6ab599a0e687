local world = require "tests.engine.world"

local TWO_STEPS = [[
-- Two changes and a result.
phase "One"
local first = step "First" { run = function() world.set("a", 1) return { seen = world.read "b" } end }
phase "Two"
step "Second" { run = function()
  world.set("b", first.result.seen + 1)
  world.event("mail", "hello", { keep = "a mail" })
end }
]]

describe("a run", function()
  it("makes each change once, in order, and closes clean", function()
    local w = world.new(TWO_STEPS, { a = 0, b = 5 })
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "done", 0 })
    equal(w.log, { "a=1", "b=6", "mail(hello)" })
    equal(select(2, w.store:lease()), nil)
  end)

  it("does nothing where all is as wanted", function()
    local w = world.new([[step "Set" { run = function() world.set("a", 1) end }]], { a = 1 })
    equal(w:start().status, "done")
    equal(w.log, {})
  end)

  it("writes the intent, with before and after, before the call", function()
    local w = world.new([[step "Set" { run = function() world.set("a", 1) end }]], { a = 0 })
    w:start()
    local types = {}
    for _, event in ipairs(w.events) do types[#types + 1] = event.type end
    equal(types, { "run", "own", "turn", "step", "intent", "end", "end", "close" })
    equal({ w.events[5].before, w.events[5].after, w.events[6].status }, { 0, 1, "done" })
  end)

  it("that fails before any change closes by itself, with exit 1", function()
    local w = world.new [[step "Fail" { run = function() fail("no") end }]]
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "failed", 1 })
    equal(select(2, w.store:lease()), nil)
  end)

  it("that fails with changes in place stops, and keeps the lease", function()
    local w = world.new([[
      step "Set" { run = function() world.set("a", 1) end }
      step "Fail" { run = function() fail("no", "look there") end }]], { a = 0 })
    local outcome = w:start()
    equal({ outcome.status, outcome.exit, #outcome.changed }, { "stopped", 5, 1 })
    matches(tostring(outcome.failure), "it.lua:2: no")
    equal(select(2, w.store:lease()), 1)
    equal(raises(w.start, w).code, "leased")
  end)

  it("rolls back where the environment says so, exit 4", function()
    local w = world.new([[
      step "Set" { run = function() world.set("a", 1) world.event("x", 1, { undo = "back" }) end }
      step "Fail" { run = function() fail("no") end }]], { a = 0 }, { policy = { on_failure = "rollback" } })
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "rolled back", 4 })
    equal(w.log, { "a=1", "x(1)", "undo x(back)", "a=0" })
  end)

  it("refuses a step that keeps state in a local of the file", function()
    local w = world.new [[
      local kept
      step "Set" { run = function() kept = 1 end }]]
    matches(tostring(w:start().failure.message or w:start().failure), "sets \"kept\"")
  end)

  it("stops before a point of no return until a person says pass", function()
    local w = world.new([[
      step "Promote" { irreversible = "no way back", run = function() world.set("a", 1) end }]], { a = 0 })
    local outcome = w:start()
    equal({ outcome.exit, outcome.question.kind }, { 8, "point of no return" })
    equal(w.values.a, 0)
    w.answers = { "pass" }
    equal(w:resume().status, "done")
    equal(w.values.a, 1)
  end)
end)

describe("resume", function()
  it("does not make an action of a failed attempt again", function()
    local w = world.new [[
      step "Two" { run = function()
        world.event("a", 1, { undo = 0 })
        world.event("b", 2, { undo = 0 })
      end }]]
    w.failing.b = true
    equal(w:start().exit, 5)
    w.failing.b = nil
    equal(w:resume().status, "done")
    equal(w.log, { "a(1)", "undo b(0)", "b(2)" })
  end)

  it("closes the bracket that a failed attempt had opened", function()
    local w = world.new([[
      step "Edit" { run = function()
        world.reloading("conf", function() world.set("conf", 2) end)
      end }]], { conf = 1 })
    w.lose = { method = "run", target = "conf" }
    w.fake_reload_dies = true
    local outcome = w:start()
    equal(outcome.exit, 5)
    equal(w:resume().status, "done")
    equal(w.log, { "conf=2", "reload conf" })
  end)

  it("answers recorded reads, so that a step does not see its own effects", function()
    local w = world.new([[
      step "Scale" { run = function()
        local n = world.read "replicas"
        world.set("replicas", 0)
        world.event("note", n, { undo = 0 })
      end }]], { replicas = 3 })
    w.crash_at = 8
    pcall(w.start, w)
    w:resume()
    equal(w.log[#w.log], "note(3)")
  end)

  it("adopts a change whose reply was lost", function()
    local w = world.new([[step "Set" { run = function() world.set("a", 1) end }]], { a = 0 })
    w.lose = { method = "put", target = "a", after = true }
    equal(w:start().status, "done")
    equal(w.log, { "a=1" })
  end)
end)

describe("fan-out", function()
  local FAN = [[
    step "All" { on = { "x", "y", "z" }, at_a_time = 1, run = function(host)
      world.event(host, 1, { undo = 0 })
    end }]]

  it("does each branch once, also over a resume", function()
    local w = world.new(FAN)
    w.failing.y = true
    local outcome = w:start()
    equal({ outcome.exit, w.log }, { 5, { "x(1)" } })
    w.failing.y = nil
    equal(w:resume().status, "done")
    equal(w.log, { "x(1)", "undo y(0)", "y(1)", "z(1)" })
  end)

  it("names all that failed", function()
    local w = world.new((FAN:gsub("at_a_time = 1", "at_a_time = 3")))
    w.failing.y, w.failing.z = true, true
    matches(w:start().failure.message, "2 of 3 failed: y, z")
  end)

  it("shares one commit among branches that write at the same time", function()
    local w = world.new([[
      step "All" { on = { "a", "b", "c", "d" }, run = function(name) world.set(name, 1) end }]])
    local before = 0
    w:start()
    for _, event in ipairs(w.events) do before = before + (event.type == "intent" and 1 or 0) end
    equal(before, 4)
    truthy(w.points < 60)
  end)
end)

describe("an error that says no", function()
  local effect  = require "neap.engine.effect"
  local fault   = require "native.error"
  local fs      = require "native.fs"
  local process = require "native.process"
  local words   = require "neap.words"
  local place

  effect.action "test.touch" {
    late = false,
    run = function(target, after_all)
      if not after_all then fault.raise { kind = "connect", message = "nobody answers" } end
      process.run({ "touch", target }, {})
      fault.raise { kind = "connect", message = "nobody answers any more" }
    end,
    done = function(target) return fs.exists(target) end,
  }
  words.fakes.touch = function(after_all) effect.perform("test.touch", place, after_all, { keep = "a file" }) end

  it("before anything was begun means that nothing happened", function()
    place = scratch() .. "/file"
    local outcome = world.new([[step "Touch" { run = function() touch(false) end }]]):start()
    equal({ outcome.status, outcome.exit }, { "failed", 1 })
  end)

  it("after something was begun is not believed: the target is asked", function()
    place = scratch() .. "/file"
    local w = world.new [[step "Touch" { run = function() touch(true) end }]]
    equal(w:start().status, "done")
    equal(w:state():in_place()[1].how, "settled")
  end)
end)

describe("an environment that forbids what is opaque", function()
  local OPAQUE = [[
    effect.action "own.call" { run = function() world.set("b", 1) end }
    step "Set" { run = function() world.set("a", 1) end }
    step "Call" { run = function() effect.perform("own.call", "x", 1, { keep = "it harms nobody" }) end }]]

  it("refuses an action that nothing can be asked about, before it is made; a plan does, too", function()
    local w = world.new(OPAQUE, { a = 0, b = 0 }, { policy = { opaque = "forbid" } })
    equal(raises(w.plan, w).code, "opaque")
    local outcome = w:start()
    equal({ outcome.status, outcome.failure.code, outcome.step.title }, { "stopped", "opaque", "Call" })
    equal(w.log, { "a=1" })
  end)
end)
