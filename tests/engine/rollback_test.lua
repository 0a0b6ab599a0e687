local world = require "tests.engine.world"

describe("rollback", function()
  it("restores in reverse order and closes clean", function()
    local w = world.new([[
      step "One" { run = function() world.set("a", 1) world.set("b", 1) end }
      step "Two" { run = function() world.reloading("conf", function() world.set("conf", 2) end) end }
      step "Fail" { run = function() fail("no") end }]], { a = 0, b = 0, conf = 1 })
    w:start()
    w.log = {}
    local outcome = w:rollback()
    equal({ outcome.status, outcome.exit }, { "rolled back", 0 })
    equal(w.log, { "conf=1", "reload conf", "b=0", "a=0" })
    equal({ w.loaded.conf, select(2, w.store:lease()) }, { 1, nil })
  end)

  it("runs a step's own undo with its result instead of its effects' undos", function()
    local w = world.new([[
      step "Tell last" { undo = function() world.event("mail", "back", { keep = "a mail" }) end }
      step "One" {
        run = function() world.set("a", 1) return { was = 7 } end,
        undo = function(result) world.set("a", result.was) end,
      }
      step "Fail" { run = function() fail("no") end }]], { a = 0 })
    w:start()
    equal(w:rollback().status, "rolled back")
    equal(w.log, { "a=1", "a=7", "mail(back)" })
  end)

  it("lets a step's own undo stand for effects that have none, once the step is done", function()
    local w = world.new([[
      step "Stop" {
        run  = function() world.event("site", "stop") if world.read "broken" then fail "half way" end end,
        undo = function() world.event("site", "start") end,
      }
      step "Fail" { run = function() fail("no") end }]], {})
    equal(w:start().point_of_no_return, nil)
    equal({ w:rollback().status, w.log }, { "rolled back", { "site(stop)", "site(start)" } })
    w.values.broken = true
    local outcome = w:start()
    matches(outcome.point_of_no_return.why, "its step is not at its end")
  end)

  it("pauses at what somebody else changed, and keeps or overwrites it when told", function()
    local function broken()
      local w = world.new([[
        step "One" { run = function() world.set("a", 1) world.set("b", 1) end }
        step "Fail" { run = function() fail("no") end }]], { a = 0, b = 0 })
      w:start()
      w.values.b = "foreign"
      return w
    end
    local w = broken()
    local outcome = w:rollback()
    equal({ outcome.exit, outcome.question.kind, w.values }, { 8, "conflict", { a = 1, b = "foreign" } })
    outcome = w:rollback { on_conflict = "keep" }
    equal({ outcome.exit, w.values }, { 6, { a = 0, b = "foreign" } })
    w = broken()
    outcome = w:rollback { on_conflict = "overwrite" }
    equal({ outcome.exit, w.values }, { 0, { a = 0, b = 0 } })
  end)

  it("refuses to go behind a point of no return", function()
    local w = world.new([[
      step "One" { run = function() world.set("a", 1) end }
      step "Promote" { irreversible = "new timeline", run = function() world.set("b", 1) end }
      step "After" { run = function() world.set("c", 1) end }
      step "Fail" { run = function() fail("no") end }
    ]], { a = 0, b = 0, c = 0 }, { policy = { point_of_no_return = "pass" } })
    w:start()
    matches(raises(w.rollback, w).message, "Promote is done and cannot be taken back")
    equal(w:rollback({ to = "After" }).status, "stopped")
    equal(w.values, { a = 1, b = 1, c = 0 })
  end)

  it("takes an edit back at once when the bracket's test refuses it", function()
    local w = world.new([[
      step "Edit" { run = function()
        local function test() fail("bad conf") end
        effect.bracket("fake.reload", "conf", function() world.set("conf", 2) end, { test = test })
      end }]], { conf = 1 })
    local outcome = w:start()
    equal({ outcome.exit, w.values.conf }, { 1, 1 })
    equal(w.log, { "conf=2", "conf=1" })
  end)

  it("after which the run can be abandoned or is closed already", function()
    local w = world.new([[step "One" { run = function() world.set("a", 1) fail("no") end }]], { a = 0 })
    w:start()
    w:rollback()
    matches(raises(w.rollback, w).message, "closed")
  end)
end)

describe("a bracket whose test refuses what an earlier attempt changed", function()
  it("takes that back, too", function()
    local w = world.new([[
      step "Edit" { retry = { times = 1, every = "1s" }, run = function()
        effect.bracket("fake.reload", "conf", function() world.set("conf", 2) end, { test = function()
          if world.read "tries" == 0 then error({}) end
          fail("bad conf")
        end })
      end }]], { conf = 1, tries = 0 })
    w.lose = { method = "read", target = "tries" }
    local outcome = w:start()
    equal({ outcome.exit, w.values.conf, w.loaded.conf }, { 1, 1 })
  end)
end)
