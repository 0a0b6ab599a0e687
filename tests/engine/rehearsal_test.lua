local clock   = require "native.clock"
local proof   = require "neap.engine.proof"
local rehearsed = require "neap.engine.rehearsed"
local effect  = require "neap.engine.effect"
local task    = require "native.task"
local words   = require "neap.words"
local world   = require "tests.engine.world"

local function stages_of(w)
  local list = {}
  for _, event in ipairs(w.events) do
    if event.type == "note" and event.kind == "rehearsal" then list[#list + 1] = event.stage end
  end
  return list
end

--- What a run changed, as { target → coverage }.
local function coverage(w)
  local _, journal = w:state()
  local found = {}
  for _, one in ipairs(proof.of(journal:records(1)).effects) do found[one.show] = one.coverage end
  return found
end

local function rehearse(procedure, values, options, more)
  local w = world.new(procedure, values, options)
  w.answers = options and options.answers
  local given = { rehearsal = true }
  for key, value in pairs(more or {}) do given[key] = value end
  return w, w:start(given)
end

local TWO = [[
  step "One" { run = function() world.set("a", 1) world.reloading("conf", function() world.set("conf", 2) end) end }
  step "Two" { run = function() world.set("b", 1) end }]]

local POINT = [[
  step "One" { run = function() world.set("a", 1) end }
  step "Promote" { irreversible = "it takes writes", run = function() world.set("p", 1) end }
  step "After" { run = function() world.set("b", 1) end }]]

local EVENT = [[
  step "One" { run = function() world.set("a", 1) end }
  step "Two" { run = function() world.event("e", 1, { undo = 1 }) end }]]

local modes -- the world in which files have modes

effect.resource "rehearsal.mode" {
  late = false,
  get = function(target)
    if modes.values[target] == nil then require("native.error").raise { kind = "missing", message = "not there" } end
    return modes.values["mode of " .. target] or "0644"
  end,
  put = function(target, mode) modes.values["mode of " .. target] = mode end,
}

describe("a rehearsal", function()
  it("goes forward, back, and forward again, and finds every state as it was", function()
    local w, outcome = rehearse(TWO, { a = 0, b = 0, conf = 1 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 0, "passed" })
    equal(w.log, { "a=1", "conf=2", "reload conf", "b=1", "b=0", "conf=1", "reload conf", "a=0", "a=1", "conf=2",
      "reload conf", "b=1" })
    equal(stages_of(w), { "turned", "taken back", "returned", "compared" })
    equal(coverage(w), { a = "proven", b = "proven", conf = "proven" })
  end)

  it("crosses a point of no return only after it has been back, where the policy lets it", function()
    local w, outcome = rehearse(POINT, { a = 0, b = 0, p = 0 }, { policy = { point_of_no_return = "pass" } })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 0, "passed" })
    equal(w.log, { "a=1", "a=0", "a=1", "p=1", "b=1" })
    equal(coverage(w), { a = "proven", p = "irreversible", b = "declared" })
  end)

  it("does not cross it where nobody may say so, and leaves everything as before", function()
    local w, outcome = rehearse(POINT, { a = 0, b = 0, p = 0 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "rolled back", 0, "passed" })
    equal(w.log, { "a=1", "a=0", "a=1", "a=0" })
    equal({ w.values, select(2, w.store:lease()) }, { { a = 0, b = 0, p = 0 }, nil })
  end)

  it("asks once whether it is crossed", function()
    local w, outcome = rehearse(POINT, { a = 0, b = 0, p = 0 }, { answers = { "pass" } })
    equal({ outcome.status, outcome.rehearsal, w.question.kind }, { "done", "passed", "point of no return" })
    w, outcome = rehearse(POINT, { a = 0, b = 0, p = 0 }, { answers = { "stop" } })
    equal({ outcome.status, outcome.rehearsal, w.log }, { "rolled back", "passed", { "a=1", "a=0", "a=1", "a=0" } })
  end)

  it("stops before an effect that has no undo, and takes its step back first", function()
    local procedure = [[
      step "One" { run = function() world.set("a", 1) end }
      step "Two" { run = function() world.set("b", 1) world.event("mail", "out") world.set("c", 1) end }]]
    local w, outcome = rehearse(procedure, { a = 0, b = 0, c = 0 }, { policy = { point_of_no_return = "pass" } })
    equal({ outcome.status, outcome.rehearsal }, { "done", "passed" })
    equal(w.log, { "a=1", "b=1", "b=0", "a=0", "a=1", "b=1", "mail(out)", "c=1" })
    equal(coverage(w), { a = "proven", b = "proven", mail = "none", c = "declared" })
  end)

  it("takes actions back, of which no state tells, and does not repeat what is kept", function()
    local w, outcome = rehearse([[
      step "One" { run = function()
        world.event("start", 1, { undo = "stop" })
        world.event("mail", "hello", { keep = "a mail harms nobody" })
        world.set("backup", "b", { keep = "it harms nobody" })
      end }]], {})
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 0, "passed" })
    equal(w.log, { "start(1)", "mail(hello)", "backup=b", "undo start(stop)", "start(1)" })
    equal(coverage(w), { start = "undone", mail = "kept", backup = "kept" })
  end)

  it("goes through steps whose own undo stands for effects that have none", function()
    local w, outcome = rehearse([[
      step "Stop" {
        run  = function() world.event("site", "stop") end,
        undo = function() world.event("site", "start") end,
      }]], {})
    equal({ outcome.status, outcome.rehearsal, coverage(w).site }, { "done", "passed", "undone" })
    equal(w.log, { "site(stop)", "site(start)", "site(stop)" })
  end)

  it("finds an own undo that does not put everything back", function()
    local w, outcome = rehearse([[
      step "One" {
        run = function() world.set("a", 1) world.set("b", 1) end,
        undo = function() world.set("a", 0) end,
      }]], { a = 0, b = 0 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 9, "failed" })
    equal(coverage(w), { a = "proven", b = "astray" })
  end)

  it("finds that the second way forward comes to another state", function()
    local w, outcome = rehearse([[
      step "Seed" { keep = "the counter only grows", run = function()
        world.edit("count", function(n) return n + 1 end)
      end }
      step "One" { run = function() world.set("a", world.read "count") end }]], { a = 0, count = 0 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 9, "failed" })
    equal(w:state().rehearsal.compared.differ[1].what, "it came to another state")
    equal(coverage(w), { a = "proven", count = "kept" })
  end)

  it("does not hold against a state that an earlier change of another kind had made", function()
    words.fakes.mode = function(target, mode) effect.change("rehearsal.mode", target, function() return mode end) end
    local w = world.new([[step "One" { run = function() world.set("f", "text") mode("f", "0600") end }]], {})
    modes = w
    local outcome = w:start { rehearsal = true }
    words.fakes.mode = nil
    equal({ outcome.status, outcome.rehearsal }, { "done", "passed" })
    equal({ #w:state().rehearsal.returned.suspects, coverage(w) }, { 1, { f = "proven" } })
  end)

  it("proves nothing where everything was as wanted", function()
    local _, outcome = rehearse(TWO, { a = 1, b = 1, conf = 2 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 9, "failed" })
  end)

  it("proves nothing where, but for what a rollback leaves, everything was as wanted", function()
    local _, outcome = rehearse([[step "One" { run = function()
      world.set("a", 1)
      world.event("mail", "hello", { keep = "a mail harms nobody" })
    end }]], { a = 1 })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 9, "failed" })
  end)

  it("is failed by a step that a person did or skipped, and takes no other code", function()
    local skip = { choice = "skip", reason = "not here" }
    local fails = TWO .. [[ step "Fail" { run = function() fail "no" end }]]
    local _, outcome = rehearse(fails, { a = 0, b = 0, conf = 1 }, { answers = { skip, skip } })
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 9, "failed" })
    local w = rehearse(fails, { a = 0, b = 0, conf = 1 })
    outcome = w:resume { run = 1, amendment = { files = { ["procedures/test/it.lua"] = TWO }, reason = "better" } }
    matches(outcome.failure.message, "a rehearsal is one of the code")
  end)

  it("that fails is resumed where it stood, and passes when its cause is gone", function()
    local w = world.new(EVENT, { a = 0 })
    w.failing.e = true
    local outcome = w:start { rehearsal = true }
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "stopped", 5, "open" })
    w.failing.e = nil
    outcome = w:resume()
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "done", 0, "passed" })
  end)

  it("that a person rolls back has not passed", function()
    local w = world.new(EVENT, { a = 0 })
    w.failing.e = true
    w:start { rehearsal = true }
    local outcome = w:rollback()
    equal({ outcome.status, outcome.exit, outcome.rehearsal }, { "rolled back", 0, "failed" })
  end)

  local function die_everywhere(procedure, policy, status)
    local values = { a = 0, b = 0, conf = 1, p = 0 }
    local whole = rehearse(procedure, values, { policy = policy })
    local ends = whole.values
    for point = 1, whole.points do
      local w = world.new(procedure, values, { policy = policy })
      w.crash_at = point
      pcall(w.start, w, { rehearsal = true })
      local state = w:state()
      if state.first and not state.closed then
        local outcome = w:resume()
        local said = ("died %s (%d)"):format(w.crashed, point)
        equal({ said, outcome.status, outcome.rehearsal, w.values }, { said, status, "passed", ends })
      end
    end
  end

  it("comes to the same end from every point at which it may die", function()
    die_everywhere(TWO .. [[
      step "Promote" { run = function() world.set("c", 1) world.event("mail", "out") end }]],
      { point_of_no_return = "pass" }, "done")
  end)

  it("that crosses no point of no return does not after it has died, either", function()
    die_everywhere(POINT, {}, "rolled back")
  end)

  it("that found a difference crosses no point of no return", function()
    local w, outcome = rehearse([[
      step "One" {
        run = function() world.set("a", 1) world.set("b", 1) end, undo = function() world.set("a", 0) end,
      }
      step "Promote" { irreversible = "it takes writes", run = function() world.set("p", 1) end }]],
      { a = 0, b = 0, p = 0 }, { policy = { point_of_no_return = "pass" } })
    equal({ outcome.status, outcome.exit, outcome.rehearsal, w.values.p }, { "rollback incomplete", 6, "failed", 0 })
  end)
end)

describe("a policy that wants a rehearsal", function()
  after_each(function() clock.virtual(false) end)

  local function guarded(procedure, policy)
    return world.new(procedure, { a = 0, b = 0, conf = 1 }, { policy = policy })
  end

  --- The place of a rehearsal that was made, of this procedure.
  local function rehearsed_place(procedure)
    local w = world.new(procedure, { a = 0, b = 0, conf = 1 })
    local outcome = w:start { rehearsal = true }
    equal(outcome.rehearsal, "passed")
    return { environment = "test/lab", state = w.store }
  end

  local function refusal(w, place) return raises(w.start, w, { rehearsals = { place } }) end

  it("is content with one of the same code, and notes it", function()
    local place = rehearsed_place(TWO)
    local w = guarded(TWO, { rehearsed_within = "30d" })
    equal(w:start({ rehearsals = { place } }).status, "done")
    local note
    for _, event in ipairs(w.events) do note = event.kind == "rehearsed" and event or note end
    equal({ note.environment, note.of_run }, { "test/lab", 1 })
  end)

  it("refuses a run without one, with one of other code, and with one that is too old", function()
    local policy = { rehearsed = { within = "2h", ["in"] = { "lab" } } }
    local failure = refusal(guarded(TWO, policy), { environment = "test/lab" })
    equal({ failure.kind, failure.code }, { "denied", "rehearsal" })
    equal(failure.next, { "neap rehearse test/it --env test/lab" })
    failure = refusal(guarded(POINT, { rehearsed_within = "2h" }), rehearsed_place(TWO))
    matches(failure.output, "test/lab, run 1 of .*: it was of other code")
    clock.virtual(true)
    local place = rehearsed_place(TWO)
    task.sleep(7201)
    failure = refusal(guarded(TWO, { rehearsed_within = "2h" }), place)
    matches(failure.output, "older than the policy allows")
  end)

  it("counts none that failed or is not at its end", function()
    local w = world.new(EVENT, { a = 0 })
    w.failing.e = true
    w:start { rehearsal = true }
    local place = { environment = "test/lab", state = w.store }
    matches(refusal(guarded(EVENT, { rehearsed_within = "2h" }), place).output, "not at its end")
    w:rollback()
    matches(refusal(guarded(EVENT, { rehearsed_within = "2h" }), place).output, "it failed")
  end)

  it("is refused where it is none", function()
    for mistake, policy in pairs {
      ["no duration"] = { rehearsed_within = "soon" }, ["one of them"] = { rehearsed_within = "1d", rehearsed = {} },
      ["is a list"] = { rehearsed = { within = "1d", ["in"] = {} } }, ["nothing is no duration"] = { rehearsed = {} },
    } do matches(raises(rehearsed.demand, policy).message, mistake) end
  end)
end)
