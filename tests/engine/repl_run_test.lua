local effect   = require "neap.engine.effect"
local repl     = require "neap.engine.repl"
local repl_run = require "neap.engine.repl_run"
local task     = require "native.task"
local world    = require "tests.engine.world"

local NOTHING = "-- Lines."

--- A session over a world, and a function that runs lines in it.
local function open(w)
  local self = repl_run.open(w:request())
  local globals = repl.globals(self)
  local function line(text)
    local fn = assert(repl.compile(text, globals))
    if repl_run.is_writing(self) then return repl.run(self, fn, text, "tester") end
    return repl.look(self, fn, function(change) w.withheld = change end)
  end
  return self, line
end

local function writing(w)
  local self, line = open(w)
  repl_run.begin(self, { state = w:request().state, actor = "tester" })
  return self, line
end

--- A world whose every question is answered by yes.
local function new_world(values, options)
  local w = world.new(NOTHING, values, options)
  local request = w.request
  w.request = function(self, more)
    local given = request(self, more)
    given.ask = function(question)
      w.question = question
      return { choice = "yes", who = "tester" }
    end
    return given
  end
  return w
end

describe("a session of lines", function()
  it("reads without a run, and withholds each change", function()
    local w = new_world { a = 1 }
    local self, line = open(w)
    equal(line("world.read 'a'").values[1].value, 1)
    local said = line "world.set('a', 2)"
    matches(said.failure.message, "may only read on test/lab until :write")
    equal({ w.withheld.sign, w.withheld.before_text, w.withheld.after_text, w.values.a }, { "~", "1", "2", 1 })
    matches(line("world.event('mail', 1)").failure.message, "may only read")
    equal({ w.log, repl_run.is_writing(self) }, { {}, false })
    self:leave()
  end)

  it("cannot change what a false declaration of a read would change", function()
    local w = new_world { a = 1 }
    local self = open(w)
    local lying = effect.read("lying", function() task.may_change "a target" end)
    matches(repl.look(self, lying, function() end).failure.message, "a target")
    self:leave()
  end)

  it("changes in a run, takes back line by line, and closes with what stays", function()
    local w = new_world { a = 1, b = 1, c = 1 }
    local self, line = writing(w)
    line "world.set('a', 2)"
    line "world.set('b', 2) world.set('c', 2)"
    line "world.read 'a'"
    equal(repl_run.undo(self, 1, "tester")[1].path, "repl/2")
    equal(w.values, { a = 2, b = 1, c = 1 })
    equal(repl_run.undo(self, 5)[1].path, "repl/1")
    equal(repl_run.undo(self, 1), {})
    line "world.set('c', 3)"
    local ended = repl_run.close(self)
    equal({ ended.status, #ended.changed, ended.unclosed }, { "done", 1, {} })
    equal(repl_run.is_writing(self), false)
    equal(line("world.read 'c'").values[1].value, 3)
    equal({ w:state().closed.outcome, w:state().first.kind, w:state().first.procedure }, { "done", "repl", "repl" })
    self:leave()
  end)

  it("undoes a bracket whole: its reload comes after what was in it is put back", function()
    local w = new_world { a = 1 }
    local self, line = writing(w)
    line "world.reloading('a', function() world.set('a', 2) end)"
    repl_run.undo(self, 1)
    equal(w.log, { "a=2", "reload a", "a=1", "reload a" })
    repl_run.close(self)
    self:leave()
  end)

  it("stops before what cannot be taken back, and goes on", function()
    local w = new_world { a = 1 }
    local self, line = writing(w)
    line "world.event('mail', 1)"
    matches(raises(repl_run.undo, self, 1).message, "cannot be taken back")
    equal(self.state.turn, "forward")
    line "world.set('a', 2)"
    repl_run.undo(self, 1)
    equal(w.values.a, 1)
    repl_run.close(self)
    self:leave()
  end)

  it("says what is there and not in force, and a resume does not call that done", function()
    local w = new_world { a = 1 }
    local self, line = writing(w)
    matches(line("world.reloading('a', function() world.set('a', 2) error 'no' end)").failure.message, "no")
    equal(#repl.unclosed(self), 1)
    repl_run.put_down(self)
    self:leave()
    local ended = w:resume()
    equal({ ended.exit, w:state().closed }, { 5 })
    matches(ended.failure.message, "repl/1 was cut short before fake.reload a")
    equal(w:rollback().exit, 0)
    equal(w.values.a, 1)
  end)

  it("is refused where approvals are asked for, and nothing is begun", function()
    local w = new_world({}, { policy = { approvals = { need = 1, allowed_signers = "/etc/neap/allowed_signers" } } })
    local self = open(w)
    local failure = raises(repl_run.begin, self, { state = w:request().state, actor = "tester" })
    matches(failure.message, "asks for approvals, and lines have none")
    equal({ w.store:last(1), repl_run.is_writing(self) }, { nil, false })
    self:leave()
  end)

  it("is refused where rehearsals are asked for", function()
    local w = new_world({}, { policy = { rehearsed_within = "30d" } })
    local self = open(w)
    local failure = raises(repl_run.begin, self, { state = w:request().state, actor = "tester" })
    matches(failure.message, "asks for rehearsals, and lines have none")
    self:leave()
  end)

  it("whose process dies at any point is settled by a resume: each line has happened or not, once", function()
    local reached
    for point = 1, 200 do
      local w = new_world { a = 1, b = 1 }
      w.crash_at = point
      local ok = pcall(function()
        local self, line = writing(w)
        line "world.set('a', 2)"
        line "world.event('mail', 1, { undo = 1 })"
        repl_run.undo(self, 1)
        line "world.set('b', 2)"
        repl_run.close(self)
        self:leave()
      end)
      if ok and not w.dead then
        reached = point
        break
      end
      w.dead = false
      if w.store:last(1) and not w:state().closed then
        equal({ point, w:resume().exit }, { point, 0 })
        equal(w:state().closed.outcome, "done")
      end
      local text = table.concat(w.log, " ")
      local prefix = ("a=2 mail(1) undo mail(1) b=2"):sub(1, #text)
      equal({ point, text }, { point, prefix })
    end
    truthy(reached and reached > 20)
  end)

  it("is taken up by the next, which undoes what the one before has done", function()
    local w = new_world { a = 1, b = 1 }
    local self, line = writing(w)
    line "world.set('a', 2)"
    repl_run.put_down(self)
    self:leave()
    local given = w:request { run = 1 }
    self = repl_run.take_up(given)
    local globals = repl.globals(self)
    repl.run(self, assert(repl.compile("world.set('b', 2)", globals)), "x")
    equal(#repl_run.undo(self, 9), 2)
    equal(w.values, { a = 1, b = 1 })
    repl_run.close(self)
    self:leave()
  end)
end)
