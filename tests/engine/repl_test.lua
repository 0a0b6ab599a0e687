local repl  = require "neap.engine.repl"
local world = require "tests.engine.world"

local THREE = [[
local arg = parameters { name = { "it", default = "n" } }
function double(x) return 2 * x end
step "Set" { run = function() world.set("a", 1) end }
step "Send" { run = function() world.event("mail", 1, { undo = "sorry" }) end }
step "After" { run = function() world.set("b", 1) end }]]

local function line(text) return { choice = "line", line = text } end

--- A world whose second step fails; the answers begin within the shell.
local function failing(answers, options)
  local w = world.new(THREE, { a = 0, b = 0, c = 0 }, options)
  w.failing.mail = true
  table.insert(answers, 1, "shell")
  w.answers = answers
  return w
end

local function said(w)
  local list = {}
  for _, event in ipairs(w.events) do
    if event.type == "line" then
      local values = {}
      for i, box in ipairs(event.values or {}) do values[i] = box.value == nil and "nil" or box.value end
      list[#list + 1] = event.failure and { failure = event.failure.message } or values
    end
  end
  return list
end

describe("a line typed at a failure", function()
  it("is an expression or a statement, with what steps see, the arguments, and what earlier lines have set", function()
    local w = failing { line "1 + 1, nil, 'x'", line "y = double(3)", line "y", line "arg.name", line "env.name",
      line "local z = 1", line "z", "leave", "quit" }
    equal(w:start().exit, 5)
    equal(said(w), { { 2, "nil", "x" }, {}, { 6 }, { "n" }, { "test/lab" }, {}, { "nil" } })
  end)

  it("goes on in the next where it is unfinished, until an empty one", function()
    local w = failing { line "double(", line "4)", line "double(", line "", line "1", "leave", "quit" }
    w:start()
    local list = said(w)
    equal({ list[1], list[3] }, { { 8 }, { 1 } })
    matches(list[2].failure, "<eof>")
  end)

  it("reads at once, and its reads stand in the journal as those of a step", function()
    local w = failing { line "world.read 'a'", "leave", "quit" }
    w:start()
    equal(said(w), { { 1 } })
    local state = w:state()
    local step = state:step "repl/1"
    equal({ step.status, step.result[1].value }, { "done", 1 })
  end)

  it("asks before each change, and shows what it is", function()
    local shown
    local w = failing { line "world.set('c', 5)", function(question)
      shown = question
      return "yes"
    end, line "world.set('c', 6)", "no", line "world.set('c', 5)", "leave", "quit" }
    w:start()
    equal({ shown.kind, shown.shown.sign, shown.shown.show, shown.shown.before_text, shown.shown.after_text,
      shown.shown.disposition }, { "shell change", "~", "c", "0", "5", "undo" })
    equal(w.values.c, 5)
    equal(said(w), { { 5 }, { failure = "not applied" }, { 5 } })
    equal(w:state().steps["repl/2"].status, "failed")
  end)

  it("asks before an action, too", function()
    local w = failing { line "world.event('c', 1, { undo = 2 })", "no", line "world.event('c', 1, { undo = 2 })", "yes",
      "leave", "back" }
    equal(w:start().status, "rolled back")
    equal(w.log, { "a=1", "c(1)", "undo c(2)", "undo mail(sorry)", "a=0" })
  end)

  it("is undone with the run, in reverse order", function()
    local w = failing { line "world.set('c', 5)", "yes", line "world.set('a', 7)", "yes", "leave", "back" }
    equal(w:start().status, "rolled back")
    equal(w.log, { "a=1", "c=5", "a=7", "a=1", "c=0", "undo mail(sorry)", "a=0" })
    equal(w.values, { a = 0, b = 0, c = 0 })
  end)

  it("mends what the step needs, which is then attempted again", function()
    local w
    w = failing { line "world.set('c', 5)", function()
      w.failing.mail = nil
      return "yes"
    end, "leave", "retry" }
    equal(w:start().status, "done")
    equal(w:state().steps.Send.attempt, 2)
  end)

  it("that goes wrong does not end the shell", function()
    local w = failing { line "nothing.at.all", line "fail 'no'", line "x = = 1", line "world.event('mail', 1)", "yes",
      line "1", "leave", "quit" }
    w:start()
    local list = said(w)
    matches(list[1].failure, "^attempt to index a nil value")
    equal({ list[2].failure, list[4].failure, list[5] }, { "no", "mail failed", { 1 } })
    matches(list[3].failure, "unexpected symbol")
  end)

  it("cannot leave the sandbox, nor alter what steps see", function()
    local w = failing { line "os", line "io", line "debug", line "string.format = 1", line "getmetatable(_ENV)",
      line "load('return double')()", "leave", "quit" }
    w:start()
    local list = said(w)
    equal({ list[1], list[2], list[3], list[6] }, { { "nil" }, { "nil" }, { "nil" }, { "function" } })
    matches(list[4].failure, "cannot be altered")
    equal(list[5], { false })
  end)

  it("gives what is no plain data by its kind", function()
    local w = failing { line "print", line "function() end", line "double", line "{ f = double, 1 }", line "0/0",
      "leave", "quit" }
    w:start()
    local list = said(w)
    equal({ list[1], list[3], list[4], list[5] }, { { "nil" }, { "function" }, { { 1 } }, { tostring(0 / 0) } })
  end)

  it("is numbered on when the run is taken up again, and is never run again", function()
    local w = failing { line "world.set('c', 5)", "yes", "leave", "quit" }
    w:start()
    w.answers = { "shell", line "world.read 'c'", "leave", "quit" }
    w:resume()
    equal(w:state().steps["repl/2"] ~= nil or w:state():is_over "repl/2", true)
    w.failing.mail, w.answers = nil, { "retry" }
    equal(w:resume().status, "done")
    equal(w.log, { "a=1", "c=5", "undo mail(sorry)", "mail(1)", "b=1" })
  end)

  it("left without an answer stops the run, and a resume asks about the failure again", function()
    local w = failing { function() return nil end }
    equal(w:start().exit, 8)
    w.answers = { "skip", { choice = "skip", reason = "no need" } }
    equal(w:resume().status, "done")
  end)

  it("changes nothing where the environment asks for approvals", function()
    local w = failing { line "world.set('c', 5)", line "world.read 'c'", "leave", "quit" }
    local approval = require "neap.engine.approval"
    local required = approval.require
    approval.require = function() return {} end
    w.policy.approvals = { need = 1, allowed_signers = "/etc/neap/allowed_signers" }
    w:start()
    approval.require = required
    local list = said(w)
    matches(list[1].failure, "asks for approvals, and a line has none")
    equal({ list[2], w.values.c }, { { 0 }, 0 })
  end)

  it("that the process died in is settled by a resume, and is over", function()
    for point = 1, 100 do
      local w = failing { line "world.set('c', 5)", "yes", "leave", "quit" }
      w.crash_at = point
      local ok = pcall(w.start, w)
      if ok and not w.dead then
        truthy(point > 15)
        return
      end
      w.failing.mail, w.answers = nil, nil
      if w:state().first then
        equal(w:resume().status, "done")
        local known = w:state():step "repl/1"
        truthy(not known or known.status ~= "open")
        local changed = #w.log
        truthy(changed >= 3)
      end
    end
    error("it never ended", 0)
  end)

  it("that is cut short by Ctrl-C ends alone", function()
    local task = require "native.task"
    local w
    w = failing { function()
      w.takes = function(target) return target == "c" and 60 or 0 end
      return line "world.set('c', 5)"
    end, "yes", line "world.read 'c'", "leave", "quit" }
    local clock = require "native.clock"
    clock.virtual(true)
    local session
    w.given = { signals = true, attend = function(self) session = self end }
    local running = task.spawn(w.start, w, w.given)
    while not (session and session.line and w.takes) do task.sleep(0.01) end
    task.sleep(1)
    session.interrupt "stop"
    local ok, outcome = running:wait()
    clock.virtual(false)
    truthy(ok)
    equal(outcome.exit, 5)
    equal(said(w)[2], { 0 })
    equal(session.pausing, nil)
  end)

  it("has a path by which no step can be called", function()
    local w = world.new [[step "repl" { run = function() end }]]
    matches(tostring(raises(w.start, w)), "is that of the lines typed")
  end)
end)
