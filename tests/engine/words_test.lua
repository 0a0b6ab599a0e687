--- The words of an author: include, when, retry, timeout, on, each, parallel; what a step may not lean on.
local procedure = require "neap.engine.procedure"
local world     = require "tests.engine.world"

local function source_of(w)
  return { files = w.files, path = "procedures/test/it.lua", arguments = w.arguments or {} }
end

local function titles(w)
  local list = {}
  for _, step in ipairs(procedure.load(source_of(w)).steps) do
    list[#list + 1] = step.number .. " " .. step.title
  end
  return list
end

local function with_files(text, files, values)
  local w = world.new(text, values)
  for path, other in pairs(files) do w.files["procedures/" .. path] = other end
  return w
end

local function load_failure(w)
  return tostring(raises(procedure.load, source_of(w)))
end

describe("include", function()
  local QUIESCE = [[
    local arg = parameters { tag = "which" }
    phase "Quiesce"
    local seen = step "Stop" { run = function() world.set("writes", "off for " .. arg.tag) return arg.tag end }
    return { stopped = seen }]]

  it("puts the steps of another procedure here, with its phases and with the including one's arguments", function()
    local w = with_files([[
      parameters { tag = "which" }
      phase "First"
      step "Begin" { run = function() world.set("begun", true) end }
      local quiesce = include "rdw/quiesce"
      phase "Last"
      step "End" { run = function() world.set("ended", quiesce.stopped.result) end }]],
      { ["rdw/quiesce.lua"] = QUIESCE })
    w.arguments = { tag = "v1" }
    equal(titles(w), { "1.1 Begin", "2.1 Stop", "3.1 End" })
    equal(w:start().status, "done")
    equal(w.log, { "begun=true", "writes=off for v1", "ended=v1" })
  end)

  it("is rolled back and resumed as if the steps stood here", function()
    local w = with_files([[
      parameters { tag = "which" }
      include "rdw/quiesce"
      step "Fail" { run = function() fail "no" end }]], { ["rdw/quiesce.lua"] = QUIESCE }, { writes = "on" })
    w.arguments = { tag = "v1" }
    equal(w:start().status, "stopped")
    equal(w:rollback().status, "rolled back")
    equal(w.values.writes, "on")
  end)

  it("refuses a title twice and names both places", function()
    local w = with_files('\nstep "Stop" { run = function() end }\ninclude "rdw/quiesce"',
      { ["rdw/quiesce.lua"] = '\n\n\nstep "Stop" { run = function() end }' })
    matches(load_failure(w), "rdw/quiesce.lua:4: two steps are titled \"Stop\": here, and at procedures/test/it.lua:2")
  end)

  it("refuses what is not there, what is included twice, and circles", function()
    matches(load_failure(with_files('include "rdw/quiesce"', {})), "it.lua:1: no procedure rdw/quiesce")
    matches(load_failure(with_files('include "../x"', {})), "include takes a procedure")
    matches(load_failure(with_files('include "rdw/a"\ninclude "rdw/a"', { ["rdw/a.lua"] = "" })),
      "it.lua:2: rdw/a is included twice: here, and at procedures/test/it.lua:1")
    matches(load_failure(with_files('include "rdw/a"', { ["rdw/a.lua"] = 'include "test/it"' })),
      "test/it is included twice")
  end)

  it("says which argument the included procedure lacks", function()
    matches(load_failure(with_files('include "rdw/quiesce"', { ["rdw/quiesce.lua"] = QUIESCE })),
      "parameter tag is needed")
  end)

  it("keeps the globals of the other procedure apart", function()
    titles(with_files('mine = 1 include "rdw/a" assert(theirs == nil)',
      { ["rdw/a.lua"] = "theirs = 2 assert(mine == nil)" }))
  end)
end)

describe("when", function()
  local TEXT = [[
    local made = step "Make" { when = function() return world.read "wanted" end,
      run = function() world.set("a", 1) return 7 end }
    await "Up" { when = function() return world.read "wanted" end, check = function() return false end }
    step "Use" { run = function() world.set("b", made.result or 0) end }]]

  it("skips a step, in the run and in the plan", function()
    local w = world.new(TEXT, { wanted = false, b = 5 })
    local steps = w:plan().phases[1].steps
    equal({ steps[1].skipped, #steps[1].effects, steps[2].skipped }, { true, 0, true })
    equal(steps[3].effects[1].after_text, "0")
    equal(w:start().status, "done")
    equal(w.log, { "b=0" })
    local state = w:state()
    equal({ state.steps.Make.skipped, state.steps.Make.result }, { true, nil })
  end)

  it("of a phase goes for all its steps, beside their own", function()
    local w = world.new([[
      phase "First" { when = function() return world.read "wanted" end }
      step "One" { run = function() world.set("a", 1) end }
      step "Two" { when = function() return false end, run = function() world.set("a", 2) end }
      phase "Second"
      step "Three" { run = function() world.set("b", 1) end }]], { wanted = false })
    equal(w:start().status, "done")
    equal(w.log, { "b=1" })
    w = world.new(w.files["procedures/test/it.lua"], { wanted = true })
    w:start()
    equal(w.log, { "a=1", "b=1" })
    local failure = load_failure(world.new 'phase "First" { wen = function() end }')
    matches(failure, "no part named \"wen\". Did you mean 'when'")
  end)

  it("that says no makes no point of no return", function()
    local w = world.new([[
      step "Set" { run = function() world.set("a", 1) end }
      step "Promote" { irreversible = "a new timeline", when = function() return false end,
        run = function() world.event("promote", 1) end }
      step "Fail" { run = function() world.set("b", 1) end }]], { a = 0, b = 0 })
    equal(#w:plan().points, 0)
    w.failing.b = true
    equal(w:start().status, "stopped")
    equal(w:rollback().status, "rolled back")
    equal(w.values.a, 0)
  end)

  it("stands for the whole attempt: what it read is not read again after an interruption", function()
    local w = world.new([[
      step "Make" { when = function() return world.read "wanted" end,
        run = function() world.set("a", 1) world.set("wanted", false) world.set("b", 2) end }]], { wanted = true })
    w.crash_at = 17
    pcall(w.start, w)
    truthy(w.crashed)
    w:resume()
    equal({ w.values.a, w.values.wanted, w.values.b }, { 1, false, 2 })
  end)

  it("ends a step's plan where it looks at what is not known yet", function()
    local w = world.new([[
      local id = step "Make" { run = function() return world.event("machine", "new", { undo = 0 }) end }
      await "Up" { when = function() return #id.result > 3 end, check = function() return true end }]])
    matches(w:plan().phases[1].steps[2].ended, "known after 1.1")
  end)
end)

describe("retry", function()
  it("attempts a step again, and ends when it succeeds", function()
    local w = world.new([[
      step "Try" { retry = { times = 3, every = "0s" }, run = function()
        world.set("tries", world.read "tries" + 1)
        if world.read "tries" < 3 then fail "not yet" end
      end }]], { tries = 0 })
    equal(w:start().status, "done")
    equal({ w.values.tries, w:state().steps.Try.attempt }, { 3, 3 })
  end)

  it("gives up after so many more attempts", function()
    local w = world.new([[step "Try" { retry = { times = 2, every = "0s" }, run = function() fail "never" end }]])
    equal(w:start().status, "failed")
    equal(w:state().steps.Try.attempt, 3)
  end)

  it("does not make an action again that an earlier attempt made", function()
    local w = world.new([[
      step "Try" { retry = { times = 2, every = "0s" }, run = function()
        world.event("mail", "x", { keep = "a mail" })
        world.set("tries", world.read "tries" + 1)
        if world.read "tries" < 2 then fail "not yet" end
      end }]], { tries = 0 })
    equal(w:start().status, "done")
    equal(w.log, { "mail(x)", "tries=1", "tries=2" })
  end)

  it("goes for what waits, too", function()
    local w = world.new([[
      await "Up" { retry = { times = 1, every = "0s" }, every = "0s", timeout = "0s",
        check = function() fail "refused" end }]])
    equal(w:start().status, "failed")
    equal(w:state().steps.Up.attempt, 2)
  end)
end)

describe("timeout", function()
  it("ends a step that takes longer", function()
    local w = world.new([[step "Wait" { timeout = "0.05s", run = function() while true do world.pause() end end }]])
    require("neap.words").fakes.world.pause = function() require("native.task").sleep(0.01) end
    local outcome = w:start()
    equal({ outcome.status, outcome.failure.kind }, { "failed", "timeout" })
  end)
end)

describe("several at a time", function()
  it("does a branch that is done not again on resume", function()
    local w = world.new([[
      step "All" { on = { "a", "b", "c" }, at_a_time = 1,
        run = function(name) world.event(name, "x", { keep = "k" }) end }]])
    w.failing.b = true
    equal(w:start().status, "stopped")
    w.failing.b = nil
    equal(w:resume().status, "done")
    equal(w.log, { "a(x)", "b(x)", "c(x)" })
  end)

  it("lets so many fail as max_failures says, and stops at one more", function()
    local text = [[
      step "All" { on = { "a", "b", "c", "d" }, at_a_time = 1, max_failures = %d,
        run = function(name) world.event(name, "x", { keep = "k" }) end }]]
    local w = world.new(text:format(1))
    w.failing.b = true
    local done = w:start()
    equal(done.status, "done")
    equal(done.failed_branches, { { path = "All/b", number = "1.1", message = "b failed" } })
    equal(w.log, { "a(x)", "c(x)", "d(x)" })
    w = world.new(text:format(1))
    w.failing.a, w.failing.b = true, true
    local outcome = w:start()
    equal(outcome.status, "stopped")
    matches(tostring(outcome.failure), "2 of 4 failed: a, b")
    equal(w.log, {})
  end)

  it("knows each and parallel by their names, in the plan and after an interruption", function()
    local text = [[
      step "Both" { run = function()
        local got = parallel { left = function() world.set("l", 1) return "L" end,
          right = function() world.set("r", 1) return "R" end }
        local lengths = each({ "x", "yy" }, function(name) world.set(name, #name) return #name end, { at_a_time = 2 })
        world.set("sum", got.left .. got.right .. lengths.yy)
      end }]]
    local w = world.new(text)
    equal(w:plan().counts.effects, 5)
    for point = 1, 200 do
      w = world.new(text)
      w.crash_at = point
      pcall(w.start, w)
      if not w.crashed then break end
      if w.store.by_run[1] then
        if not w:state().closed then equal(w:resume().status, "done") end
        table.sort(w.log)
        equal(w.log, { "l=1", "r=1", "sum=LR2", "x=1", "yy=2" })
      end
    end
  end)

  it("refuses one name twice in a step, names with slashes, and unknown options", function()
    local function refusal(text)
      return tostring(world.new(('step "A" { run = function() %s end }'):format(text)):start().failure)
    end
    matches(refusal 'each({ "a" }, now) parallel { a = now }', "it.lua:1: two branches are named \"a\"")
    matches(refusal 'each({ "a/b" }, now)', "has a slash")
    matches(refusal 'each({ "a" }, now, { at_atime = 1 })', "it.lua:1: no option is named.*Did you mean 'at_a_time'")
    matches(refusal 'parallel { now }', "functions with names")
    matches(refusal 'world.reloading("a", now, { tset = now })', "no option is named \"tset\".*'test'")
    matches(refusal 'world.set("a", 1, { kep = "x" })', "no option is named \"kep\".*'keep'")
  end)

  it("refuses to begin outside a step's run", function()
    matches(load_failure(world.new 'parallel { a = now }'), "it.lua:1: parallel belongs into the run of a step")
    local w = world.new [[await "A" { check = function() return each({ "a" }, now) end }]]
    matches(tostring(w:start().failure), "each belongs into the run of a step")
  end)
end)

describe("a step that leans on a local", function()
  local function refusal(text) return tostring(world.new(text):start().failure) end

  it("of the file is refused when it sets it", function()
    matches(refusal 'local id\nstep "A" { run = function() id = 7 end }', "it.lua:2: step \"A\" sets \"id\", a local")
  end)

  it("is refused for a table, and for what a function of the file sets", function()
    matches(refusal 'local found = { deep = {} } step "A" { run = function() found.deep.id = 7 end }',
      "sets \"found.deep\", a table")
    matches(refusal 'local found = { id = 1 } step "A" { run = function() found.id = nil end }', "sets \"found\"")
    matches(refusal 'local n = 0 local function count() n = n + 1 end step "A" { run = function() count() end }',
      "sets \"n\", a local")
    matches(refusal 'local seen await "A" { check = function() seen = true return true end }', "sets \"seen\"")
  end)

  it("may change what is its own", function()
    local w = world.new [[
      local settings = { a = 1 }
      step "A" { run = function() local mine = { settings.a } mine[2] = 2 world.set("n", #mine) end }]]
    equal(w:start().status, "done")
  end)
end)
