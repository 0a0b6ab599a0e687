local json  = require "native.json"
local world = require "tests.engine.world"

local function effects_of(model)
  local lines = {}
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      for _, one in ipairs(step.effects) do
        lines[#lines + 1] = ("%s %s %s %s>%s"):format(step.number, one.sign, one.show, one.before_text, one.after_text)
      end
      if step.ended then lines[#lines + 1] = step.number .. " ended: " .. step.ended end
      if step.listed then lines[#lines + 1] = step.number .. " listed" end
    end
  end
  return lines
end

describe("a plan", function()
  it("changes nothing, and shows what the run then does", function()
    local w = world.new([[
      step "Set" { run = function() world.set("a", 1) world.set("same", 7) end }
      step "Tell" { run = function() world.event("mail", "x", { keep = "a mail" }) end }]], { a = 0, same = 7 })
    local model = w:plan()
    equal(w.log, {})
    equal(effects_of(model), { "1.1 ~ a 0>1", "1.1 = same nil>nil", "1.2 > mail nil>nil" })
    equal({ model.counts.change, model.counts.act, model.counts.same, model.counts.opaque }, { 1, 1, 1, 1 })
    equal({ model.counts.undo, model.counts.keep }, { 1, 1 })
    w:start()
    equal(w.log, { "a=1", "mail(x)" })
  end)

  it("composes several edits of one target exactly", function()
    local w = world.new([[
      step "One" { run = function() world.edit("f", function(now) return now .. "b" end) end }
      step "Two" { run = function() world.edit("f", function(now) return now .. "c" end) end }]], { f = "a" })
    equal(effects_of(w:plan()), { "1.1 ~ f a>ab", "1.2 ~ f ab>abc" })
    equal(w.values.f, "a")
  end)

  it("ends a step's plan where it looks at what is not known yet, and lists what waits", function()
    local w = world.new([[
      local id = step "Make" { run = function() return world.event("machine", "new", { undo = 0 }) end }
      step "Use" { run = function() world.set("tag", "for " .. id.result) end }
      step "Read" { run = function() world.read("machine") world.set("never", 1) end }
      await "It is up" { check = function() return world.read "machine" end }
      step "Other" { run = function() world.set("other", 1) end }]], { tag = "" , other = 0 })
    equal(effects_of(w:plan()), {
      "1.1 > machine nil>nil", "1.2 ended: known after 1.1", "1.3 ended: known after 1.1", "1.4 listed",
      "1.5 ~ other 0>1",
    })
  end)

  it("shows a list with a name that is known later", function()
    local w = world.new([[
      local id = step "Make" { run = function() return world.event("machine", "new", { undo = 0 }) end }
      step "Use" { run = function() world.set("groups", { id.result }) end }]], { groups = {} })
    local step = w:plan().phases[1].steps[2]
    equal({ step.ended, #step.effects }, { nil, 1 })
    equal(require("neap.engine.data").plain(step.effects[1].after), { "<known after 1.1>" })
  end)

  it("goes on behind a step that it cannot see to its end: what fails there may be there by then", function()
    local w = world.new([[
      local id = step "Make" { run = function() return world.event("machine", "new", { undo = 0 }) end }
      step "Use" { run = function() if id.result.ready then world.set("a", 1) end end }
      step "Fail" { run = function() fail "no file" end }
      step "Other" { run = function() world.set("other", 1) end }]], { other = 0 })
    equal(effects_of(w:plan()), {
      "1.1 > machine nil>nil", "1.2 ended: known after 1.1", "1.3 ended: known after 1.2: as it is now, no file",
      "1.4 ~ other 0>1",
    })
  end)

  it("ends a change of a target that has no name yet: there is nothing to be looked at", function()
    local w = world.new([[
      local id = step "Make" { run = function() return world.event("machine", "new", { undo = 0 }) end }
      step "Use" { run = function() effect.change("fake.value", { name = id.result }, function() return 1 end) end }]])
    matches(effects_of(w:plan())[2], "1.2 ended: known after 1.1")
  end)

  it("asks a check that comes before the first change", function()
    local w = world.new([[await "Ready" { check = function() return world.read "ready" end }]], { ready = true })
    equal(w:plan().phases[1].steps[1].holds, true)
  end)

  it("tells the order of the undo and the points of no return", function()
    local w = world.new([[
      step "One" { run = function() world.set("a", 1) end }
      step "Two" { run = function() world.set("b", 1) end }
      step "Promote" { irreversible = "new timeline", run = function() world.event("promote", 1) end }
    ]], { a = 0, b = 0 })
    local model = w:plan()
    equal(model.undo, { "1.2", "1.1" })
    equal({ #model.points, model.points[1].number, model.points[1].why }, { 1, "1.3", "new timeline" })
  end)

  it("has the reload of a bracket only where something inside changes", function()
    local text = [[step "Edit" { run = function() world.reloading("conf", function() world.set("conf", 2) end) end }]]
    equal(effects_of(world.new(text, { conf = 1 }):plan()), { "1.1 ~ conf 1>2", "1.1 > conf nil>nil" })
    equal(effects_of(world.new(text, { conf = 2 }):plan()), { "1.1 = conf nil>nil" })
  end)

  it("stops a run that was planned on another state of the world", function()
    local w = world.new([[step "Set" { run = function() world.set("a", 1) end }]], { a = 0 })
    local model = w:plan()
    w.values.a = 5
    local outcome = w:start { plan = model }
    equal({ outcome.exit, w.values.a }, { 8, 5 })
    matches(outcome.failure.message, "not as it was when the plan was made")
  end)

  it("binds the run also when it is taken up again", function()
    local w = world.new([[
      step "First" { run = function() world.set("a", 1) end }
      step "Stop" { run = function() world.event("x", 1, { keep = "a test" }) end }
      step "Last" { run = function() world.set("b", 1) end }]], { a = 0, b = 0 })
    local model = w:plan()
    w.store:save_plan(model.id, json.encode { effects = model.effects })
    w.failing.x = true
    equal(w:start({ plan = model }).status, "stopped")
    w.failing.x, w.values.b = nil, 5
    local outcome = w:resume()
    equal({ outcome.exit, w.values.b }, { 8, 5 })
    matches(outcome.failure.message, "not as it was when the plan was made")
    w.values.b = 0
    equal({ w:resume().status, w.values.b }, { "done", 1 })
  end)

  it("lets the run go that finds the world as planned", function()
    local w = world.new([[step "Set" { run = function() world.set("a", 1) end }]], { a = 0 })
    equal(w:start({ plan = w:plan() }).status, "done")
  end)
end)
