local world = require "tests.engine.world"

local THREE = [[
step "Set" { run = function() world.set("a", 1) end }
step "Send" { run = function() world.event("mail", 1, { undo = "sorry" }) end, hint = "is the mail server there?" }
step "After" { run = function() world.set("b", 1) end }]]

--- A world whose second step fails; its answers are given in order.
local function failing(answers, procedure, options)
  local w = world.new(procedure or THREE, { a = 0, b = 0 }, options)
  w.failing.mail, w.answers = true, answers
  return w
end

--- An answer that changes the world first.
local function after(fn, answer)
  return function()
    fn()
    return answer
  end
end

local function last(w, type, kind)
  for i = #w.events, 1, -1 do
    if w.events[i].type == type and (not kind or w.events[i].kind == kind) then return w.events[i] end
  end
end

describe("a step that failed, before a person", function()
  it("is asked about, with what is changed now, what a rollback would take back, and the hint", function()
    local w = failing { "quit" }
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "stopped", 5 })
    local shown = w.question.shown
    equal({ w.question.kind, w.question.path, shown.undo, shown.kept }, { "failure", "Send", 2, 0 })
    equal({ shown.changed[1].show, shown.step.hint }, { "a", "is the mail server there?" })
    equal({ shown.failure.kind, shown.failure.message }, { "remote", "mail failed" })
  end)

  it("is attempted again", function()
    local w
    w = failing { after(function() w.failing.mail = nil end, "retry") }
    equal(w:start().status, "done")
    equal(w:state().steps.Send.attempt, 2)
    equal(w.log, { "a=1", "undo mail(sorry)", "mail(1)", "b=1" })
  end)

  it("is asked about again when it fails again", function()
    local w = failing { "retry", "retry", "quit" }
    equal(w:start().exit, 5)
    equal(w:state().steps.Send.attempt, 3)
  end)

  it("is skipped, with a reason, and named at the end", function()
    local w = failing { "skip", { choice = "skip", reason = "they know already" } }
    local outcome = w:start()
    equal(outcome.status, "done")
    equal(outcome.by_person, { { path = "Send", number = "1.2", status = "skipped", who = "tester",
      reason = "they know already" } })
    equal(w.question.notice, "skipping a step needs a reason")
    equal(w.log, { "a=1", "b=1" })
  end)

  it("is done by hand: its check must find it so", function()
    local checked = THREE:gsub("hint =", "check = function() return world.read \"mail\" == \"sent\" end, hint =")
    local w
    w = failing({ "by hand", after(function() w.values.mail = "sent" end, "by hand") }, checked)
    equal(w:start().status, "done")
    matches(w.question.notice, "does not find it so")
    equal({ w:state().steps.Send.status, w:state().steps.Send.how }, { "done", "person" })
  end)

  it("is done by hand on each item of a fan-out", function()
    local w
    w = failing({ after(function() w.values.x = 1 end, "by hand"), after(function() w.values.y = 1 end, "by hand") },
      [[step "All" { on = { "x", "y" }, run = function() fail("no") end,
        check = function(item) return world.read(item) == 1 end }]])
    equal(w:start().status, "done")
  end)

  it("is done by hand, by a reason, where it has no check", function()
    local w = failing { "by hand", { choice = "by hand", reason = "telephoned" } }
    equal(w:start().status, "done")
    matches(w.question.notice, "needs a reason")
    equal(w:state().steps.Send.reason, "telephoned")
  end)

  it("that was done by hand is not undone by its own undo, and is named", function()
    local w = failing({ { choice = "by hand", reason = "telephoned" }, "quit" }, [[
      step "Send" { run = function() world.event("mail", 1, { undo = 1 }) end, undo = function() world.log "undo" end }
      step "Set" { run = function() world.set("a", 1) end }
      step "Fail" { run = function() fail("no") end }]])
    w:start()
    local outcome = w:rollback()
    equal({ outcome.status, outcome.by_person[1].path }, { "rolled back", "Send" })
    equal(w.log, { "a=1", "a=0", "undo mail(1)" })
  end)

  it("takes everything back", function()
    local w = failing { { choice = "back" } }
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "rolled back", 4 })
    equal(w.log, { "a=1", "undo mail(sorry)", "a=0" })
  end)

  it("goes back to a step, from which on a resume does it all again", function()
    local w = failing({ { choice = "back", to = "1.2" } }, [[
      step "First" { run = function() world.set("c", 1) end }
      step "Set" { run = function() world.set("a", 1) end }
      step "Look" { run = function() if world.read "ready" ~= 1 then fail("not ready") end end }]])
    w.values.c = 0
    local outcome = w:start()
    equal({ outcome.status, w.values.a, w.values.c }, { "stopped", 0, 1 })
    w.values.ready, w.answers = 1, nil
    equal(w:resume().status, "done")
    equal(w.log, { "c=1", "a=1", "a=0", "a=1" })
  end)

  it("goes back no further than was said, also when the way back was interrupted", function()
    local w = failing({ { choice = "back", to = "Set" } }, [[
      step "First" { run = function() world.set("c", 1) end }
      step "Set" { run = function() world.set("a", 1) world.set("b", 1) end }
      step "Look" { run = function() world.edit("a", function() fail "no" end) end }]])
    w.values.c = 0
    w.answers[1] = after(function() w.values.b = "by hand" end, w.answers[1])
    equal(w:start().exit, 8)
    equal(w:resume({ run = 1, on_conflict = "overwrite" }).status, "stopped")
    equal(w.values, { a = 0, b = 0, c = 1 })
  end)

  it("that cannot be taken back is passed by a person before each attempt that a resume makes", function()
    local w = failing({ "pass", "quit" }, [[
      step "Set" { run = function() world.set("a", 1) end }
      step "Promote" { irreversible = "no way back", run = function() world.event("mail", 1) end }]])
    w:start()
    w.failing.mail, w.answers = nil, { "retry", "stop" }
    equal({ w:resume().exit, w.question.kind }, { 5, "point of no return" })
    w.answers = { "retry", "pass" }
    equal(w:resume().status, "done")
  end)

  it("does not go behind a point of no return, and asks again", function()
    local w = failing({ "pass", "back", "quit" }, [[
      step "Promote" { irreversible = "no way back", run = function() world.set("a", 1) end }
      step "Send" { run = function() world.event("mail", 1) end }]])
    w:start()
    matches(w.question.notice, "cannot be taken back")
    equal(w.values.a, 1)
  end)

  it("is handed over, and put before who takes the run up", function()
    local w = failing { { choice = "hand over", whom = "bob", reason = "the mail server is his" } }
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "stopped", 8 })
    matches(tostring(outcome.failure), "handed over to bob: the mail server is his")
    equal(w:state().handed_over.whom, "bob")
    w.answers = { { choice = "skip", reason = "no need" } }
    equal(w:resume().status, "done")
    equal(last(w, "ask").kind, "failure")
  end)

  it("stops at once where the answer is left open, and asks again on resume", function()
    local w = failing { function() return nil end }
    local outcome = w:start()
    equal({ outcome.status, outcome.exit, outcome.question.kind }, { "stopped", 8, "failure" })
    w.failing.mail, w.answers = nil, { "retry" }
    equal(w:resume().status, "done")
    equal(w.answers, {})
  end)

  it("is not asked about where nobody is there: the policy decides", function()
    local w = failing(nil, nil, { policy = { on_failure = "rollback" } })
    equal(w:start().status, "rolled back")
    equal(last(w, "ask"), nil)
    w = failing(nil)
    equal(w:start().exit, 5)
    equal(last(w, "ask"), nil)
  end)

  it("is answered without a terminal by a resume that brings the answer along", function()
    local w = failing(nil)
    w:start()
    local answer = { choice = "skip", reason = "told them by hand" }
    local outcome = w:resume { run = 1, answer = answer, actor = "bob" }
    equal({ outcome.status, outcome.by_person[1].who }, { "done", "bob" })
  end)

  it("that has changed nothing yet can still be attempted again, and ends free when it is left", function()
    local w = failing({ "retry", "quit" }, [[step "Fail" { run = function() fail("no") end }]])
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "failed", 1 })
    equal(select(2, w.store:lease()), nil)
  end)
end)

describe("a manual step", function()
  local MANUAL = [[
    manual "Move the cable" { evidence = "the ticket", check = function() return world.read "a" == 1 end }]]

  it("asks nobody where its check finds it done", function()
    local w = world.new(MANUAL, { a = 1 })
    equal(w:start().status, "done")
    equal(last(w, "ask"), nil)
  end)

  it("keeps the evidence, and asks again until there is one and the check holds", function()
    local w = world.new(MANUAL, { a = 0 })
    local typed = { choice = "done", evidence = "CHG-1" }
    w.answers = { "done", typed, after(function() w.values.a = 1 end, typed) }
    equal(w:start().status, "done")
    matches(w.question.notice, "does not find it so")
    equal({ last(w, "note").kind, last(w, "note").text, last(w, "note").who }, { "evidence", "CHG-1", "tester" })
  end)

  it("shows what other steps have found", function()
    local w = world.new([[
      local found = step "Look" { run = function() return { "port 7", "port 9" } end }
      manual "Free these ports" { text = function() return table.concat(found.result, ", ") end }]])
    w.answers = { "done" }
    equal(w:start().status, "done")
    equal(w.question.text, "port 7, port 9")
  end)

  it("fails when its time is over", function()
    local w = world.new([[manual "Move the cable" { timeout = "10m" }]])
    w.answers = { "timeout" }
    local outcome = w:start()
    equal({ outcome.status, w.question.timeout }, { "failed", 600 })
    matches(tostring(outcome.failure), "nobody said within 10m00s")
  end)

  it("pauses where nobody is there, and is answered by a resume that brings the answer along", function()
    local w = world.new(MANUAL, { a = 0 })
    equal(w:start().exit, 8)
    w.values.a = 2
    equal(w:resume({ run = 1, answer = { choice = "done", evidence = "CHG-1" } }).exit, 8)
    w.values.a = 1
    equal(w:resume().status, "done")
  end)
end)
