local world = require "tests.engine.world"

local TWO = [[
local arg = parameters { old = { "what is there", default = "x" }, new = { "what comes", default = "y" },
  count = { "how many", type = "integer", default = 1 } }
step "First" { run = function() world.set("first", arg.new) end }
step "Second" { run = function()
  world.set("a", arg.new)
  world.event(arg.new, arg.count, { undo = "not " .. arg.new })
end }
step "Third" { run = function() world.set("b", arg.new) end }]]

local function edit(arguments, reason)
  return { choice = "edit", arguments = arguments, reason = reason or "a typo" }
end

--- A world whose step "Second" fails with the first argument, and not with another.
local function failing(answers, procedure, options)
  local w = world.new(procedure or TWO, { first = "0", a = "0", b = "0" }, options)
  w.failing.y, w.answers = true, answers
  return w
end

local function notes(w, kind)
  local list = {}
  for _, event in ipairs(w.events) do
    if event.type == "note" and event.kind == kind then list[#list + 1] = event end
  end
  return list
end

describe("arguments edited at a failure", function()
  it("go from that step on, which is taken back and attempted as a whole", function()
    local w = failing { edit { new = "z" } }
    equal(w:start().status, "done")
    equal(w.log, { "first=y", "a=y", "undo y(not y)", "a=0", "a=z", "z(1)", "b=z" })
    equal(w.values, { first = "y", a = "z", b = "z" })
  end)

  it("stand in the journal, with who, why, before and after", function()
    local w = failing { edit({ new = "z" }, "it is called z") }
    w:start()
    local note = notes(w, "arguments")[1]
    equal({ note.who, note.reason, note.path, note.before.new, note.after.new, note.after.old },
      { "tester", "it is called z", "Second", "y", "z", "x" })
    equal(note.text, "arguments changed by tester: new: y -> z (it is called z)")
  end)

  it("are listed for who edits them, with what they are", function()
    local w = failing { "quit" }
    w:start()
    equal(w.question.shown.arguments[1], { name = "count", value = "1", type = "integer", description = "how many" })
  end)

  it("are typed and checked as at the start", function()
    local w = failing { edit { count = "many" }, edit { nwe = "z" }, edit { new = "y" },
      { choice = "edit", arguments = { new = "z" } }, "edit", "quit" }
    local seen = {}
    for i, answer in ipairs(w.answers) do
      w.answers[i] = function(question)
        seen[i] = question.notice or "none"
        return answer
      end
    end
    w:start()
    matches(seen[2], "count: \"many\" is no integer")
    matches(seen[3], "no parameter is named \"nwe\".*new")
    matches(seen[4], "the arguments are the same")
    matches(seen[5], "needs a reason")
    matches(seen[6], "nothing was changed")
    equal(w.values.a, "y")
  end)

  it("are those of a resume, whatever came between", function()
    local w = failing { edit { new = "z" }, "quit" }
    w.failing.z = true
    equal(w:start().exit, 5)
    w.failing, w.answers = {}, { "retry" }
    equal(w:resume().status, "done")
    equal(w.values, { first = "y", a = "z", b = "z" })
  end)

  it("can be brought along by a resume, without a terminal", function()
    local w = failing(nil)
    equal(w:start().exit, 5)
    local outcome = w:resume { run = 1, actor = "bob", amendment = { arguments = { new = "z" }, reason = "typo" } }
    equal({ outcome.status, outcome.arguments.new, notes(w, "arguments")[1].who }, { "done", "z", "bob" })
    equal(w.values, { first = "y", a = "z", b = "z" })
  end)

  it("lead to the same end wherever the process died on the way", function()
    for point = 1, 100 do
      local w = failing(nil)
      w:start()
      w.failing = {}
      w.dead, w.points, w.crash_at = false, 0, point
      local change = { arguments = { new = "z" }, reason = "typo" }
      local ok = pcall(w.resume_crashing, w, point, { run = 1, amendment = change })
      if ok and not w.dead then
        truthy(point > 10)
        return
      end
      local amended = #w:state().amendments > 0
      for _ = 1, 2 do -- a way back that was cut short ends in a stop
        if not w:state().closed then w:resume { run = 1 } end
      end
      equal(w:state().closed.outcome, "done")
      local now = amended and "z" or "y"
      equal({ point, w.values }, { point, { first = "y", a = now, b = now } })
    end
    error("it never ended", 0)
  end)

  it("do not reach a step's own undo that was done before", function()
    local w = failing({ edit { new = "z" }, "back" }, [[
      local arg = parameters { new = { "it", default = "y" } }
      step "First" { run = function() world.set("first", arg.new) end,
        undo = function() world.log("undo " .. arg.new) end }
      step "Second" { run = function() world.event(arg.new, 1, { undo = 1 }) end }]])
    w.failing.z = true
    equal(w:start().status, "rolled back")
    equal(w.log, { "first=y", "undo y(1)", "undo z(1)", "undo y" })
  end)

  it("do each item of a fan-out anew", function()
    local w = failing({ edit { new = "z" } }, [[
      local arg = parameters { new = { "it", default = "y" } }
      step "All" { on = { "a", "b" }, at_a_time = 1, run = function(item)
        world.set(item, arg.new)
        if item == "b" then world.event(arg.new, 1, { undo = 1 }) end
      end }]])
    equal(w:start().status, "done")
    equal({ w.values.a, w.values.b }, { "z", "z" })
  end)

  it("are refused where the step has done what cannot be taken back", function()
    local w = failing({ edit { new = "z" }, "quit" }, [[
      local arg = parameters { new = { "it", default = "y" } }
      step "Send" { run = function()
        world.event("mail", 1)
        world.event(arg.new, 1, { undo = 1 })
      end }]])
    equal(w:start().exit, 5)
    matches(w.question.notice, "cannot be taken back")
    equal(#w:state().amendments, 0)
  end)

  it("are refused where the environment was made of them, or asks for approvals", function()
    local w = failing { edit { new = "z" }, "quit" }
    local environment = { name = "test/lab", group = "test", hosts = {}, values = {}, policy = {},
      from_arguments = { new = true } }
    w:start { environment = environment }
    matches(w.question.notice, "values of test/lab were made of new")
    local approval = require "neap.engine.approval"
    local required = approval.require
    approval.require = function() return {} end -- as if it were approved
    w = failing({ edit { new = "z" }, "quit" }, nil,
      { policy = { approvals = { need = 1, allowed_signers = "/etc/neap/allowed_signers" } } })
    w:start()
    approval.require = required
    matches(w.question.notice, "asks for approvals, and these are bound to code and arguments")
    equal({ #w:state().amendments, w.values.a }, { 0, "y" })
  end)

  it("wait for a person where the way back meets what somebody else changed", function()
    local w
    w = failing { function()
      w.values.a = "by hand"
      return edit { new = "z" }
    end }
    local outcome = w:start()
    equal({ outcome.status, outcome.exit, #w:state().amendments }, { "stopped", 8, 0 })
    equal(w:state().turn, "back")
  end)
end)

describe("code taken up at a failure", function()
  local function code(text)
    return { choice = "edit", files = { ["procedures/test/it.lua"] = text }, reason = "mended" }
  end

  local MENDED = TWO:gsub("world.event%(arg.new,", "world.event(\"mail\",")

  it("goes from that step on", function()
    local w = failing { code(MENDED) }
    equal(w:start().status, "done")
    equal(w.log, { "first=y", "a=y", "undo y(not y)", "a=0", "a=y", "mail(1)", "b=y" })
    local note = notes(w, "code")[1]
    equal(note.text, "code changed by tester: procedures/test/it.lua (mended)")
    equal(note.files["procedures/test/it.lua"], MENDED)
  end)

  it("is that of a resume", function()
    local w = failing { code(MENDED), "quit" }
    w.failing.mail = true
    w:start()
    w.failing.mail, w.answers = nil, { "retry" }
    equal(w:resume().status, "done")
  end)

  it("is shown where a step that is over has it otherwise, and may be left", function()
    local other = MENDED:gsub('"first"', '"other"')
    local w = failing { code(other), "leave", "quit" }
    local shown
    w.answers[2] = function(question)
      shown = question.shown
      return "leave"
    end
    w:start()
    equal({ #shown.changed, shown.changed[1].title, shown.files[1] }, { 1, "First", "procedures/test/it.lua" })
    matches(shown.changed[1].after, "other")
    equal(#w:state().amendments, 0)
    w = failing { code(other), "take" }
    equal(w:start().status, "done")
  end)

  it("names steps that are gone, and new ones before those that are over", function()
    local shown
    local w = failing { code(MENDED:gsub('"First"', '"Renamed"')), function(question)
      shown = question.shown
      return "leave"
    end, code('step "Zeroth" { run = function() end }\n' .. MENDED), function(question)
      shown = { shown, question.shown }
      return "take"
    end }
    w:start()
    equal(shown[1].gone, { { number = "1.1", title = "First" } })
    equal(shown[2].earlier, { { number = "1.1", title = "Zeroth" } })
    equal(w:state():is_over "Zeroth", true)
  end)

  it("is refused where it does not load, and the question comes again", function()
    local w = failing { code "step \"First\" {", code(TWO), "quit" }
    local notice
    local first = w.answers[2]
    w.answers[2] = function(question)
      notice = question.notice
      return first
    end
    w:start()
    matches(notice, "unexpected symbol near <eof>")
    matches(w.question.notice, "the code is the same")
  end)

  it("gives back what kinds have made that it has no more", function()
    local OLD = [[
      effect.resource "own.value" { late = false, get = function(target) return world.read(target) end,
        put = function(target, value) world.put(target, value) end, prepare = function() return "place" end,
        release = function(_, place) world.log("released " .. place) end }
      step "First" { run = function() effect.change("own.value", "a", function() return "1" end) end }
      step "Second" { run = function() fail("no") end }]]
    local w = failing({ code [[step "Second" { run = function() end }]], "take" }, OLD)
    local words = require "neap.words"
    words.fakes.world.put = function(target, value) w.values[target] = value end
    equal(w:start().status, "done")
    words.fakes.world.put = nil
    equal(w.log, { "released place" })
  end)

  it("leaves kinds of change to be undone by the code that made them", function()
    local function with(word)
      return ([[
        effect.resource "own.value" { late = false, get = function(target) return world.read(target) end,
          put = function(target, value) world.put(target, value, "%s") end }
        step "First" { run = function() effect.change("own.value", "a", function() return "1" end) end }
        step "Second" { run = function() fail("%s") end }]]):format(word, word)
    end
    local w = failing({ code(with "later"), "take", "back" }, with "first")
    local words = require "neap.words"
    words.fakes.world.put = function(target, value, word)
      w.log[#w.log + 1] = word .. " " .. tostring(value)
      w.values[target] = value
    end
    equal(w:start().status, "rolled back")
    words.fakes.world.put = nil
    equal(w.log, { "first 1", "first 0" })
  end)
end)
