--- Schedules that the simulator found, by hand: each of them once ended wrong.
local clock  = require "native.clock"
local settle = require "neap.engine.settle"
local store  = require "neap.fakes.store"
local task   = require "native.task"
local world  = require "tests.engine.world"

local THREE = [[
  step "One" { run = function() world.set("a", 1) world.set("b", 1) end }
  step "Two" { run = function() world.set("c", 1) end, undo = function() world.set("c", 0) end }
  step "Three" { run = function() world.set("d", 1) end }
  step "Fail" { run = function() if world.read "fails" then fail("no") end end }]]
local FIRST = { a = 0, b = 0, c = 0, d = 0, fails = true }

local function stopped()
  local w = world.new(THREE, FIRST)
  equal(w:start().exit, 5)
  return w
end

--- A way back that stops at what somebody else has changed.
local function stuck(target, to)
  local w = stopped()
  w.values[target] = "foreign"
  equal(w:rollback({ to = to }).exit, 8)
  w.values[target], w.values.fails = 1, false
  return w
end

local function count(log, line)
  local n = 0
  for _, one in ipairs(log) do n = n + (one == line and 1 or 0) end
  return n
end

describe("a way back to a step", function()
  it("that stopped half way goes on to that step only", function()
    local w = stuck("d", "Two")
    equal(w:resume().status, "stopped")
    equal({ w.values.a, w.values.b, w.values.c, w.values.d }, { 1, 1, 0, 0 })
    equal(w:state().turn, "forward")
  end)

  it("after one that was to go further does anew what that one had undone", function()
    local w = stuck("a", "One")
    equal({ w.values.b, w.values.c, w.values.d }, { 0, 0, 0 })
    equal(w:rollback({ to = "Three" }).status, "stopped")
    equal(w:resume().status, "done")
    equal({ w.values.a, w.values.b, w.values.c, w.values.d }, { 1, 1, 1, 1 })
  end)

  it("can be gone twice, also where a step has its own undo", function()
    local w = stopped()
    w:rollback { to = "Two" }
    w:resume()
    equal(w.values.c, 1)
    equal(w:rollback().status, "rolled back")
    equal({ w.values.a, w.values.b, w.values.c, w.values.d }, { 0, 0, 0, 0 })
  end)
end)

describe("a way back that stopped within a step's own undo", function()
  local TOLD = THREE:gsub('world.set%("c", 0%)', 'world.event("x", 1, { keep = "a mail" }) world.set("c", 0)')

  it("goes no less far than that step", function()
    local w = world.new(TOLD, FIRST)
    w:start()
    w.failing.x = true
    equal(w:rollback().exit, 6)
    equal(raises(w.rollback, w, { to = "Three" }).code, "undo begun")
    w.failing.x = nil
    equal(w:rollback({ to = "Two" }).status, "stopped")
    equal({ w.values.b, w.values.c, w.values.d }, { 1, 0, 0 })
  end)
end)

describe("an action that an attempt made which then failed", function()
  local MAIL = [[step "Mail" { retry = { times = 2, every = "0s" }, run = function()
    world.event("mail", 1, { keep = "a mail" })
    world.event("x", 1, { undo = 0 })
    world.set("a", 1)
    world.set("b", 1)
  end }]]

  it("is not made again by the third attempt either", function()
    local w = world.new(MAIL, { a = 0, b = 0 })
    w.failing.x = true
    equal(w:start().exit, 5)
    equal({ count(w.log, "mail(1)"), w:state().steps.Mail.attempt }, { 1, 3 })
  end)

  it("does not lead a later attempt astray that is interrupted", function()
    local w
    for at = 1, 60 do
      w = world.new(MAIL, { a = 0, b = 0 })
      w.failing.x = true
      w:start()
      w.failing.x = nil
      pcall(w.resume_crashing, w, at)
      if w.crashed == "before put b" then break end
    end
    equal({ w.values.a, w.values.b, w:state().steps.Mail.status }, { 1, 0, "open" })
    equal(w:resume().status, "done")
    equal({ count(w.log, "mail(1)"), w.values.b }, { 1, 1 })
  end)
end)

describe("what ended half way, before its step is attempted again,", function()
  local HALF = [[step "Half" { run = function() world.event("x", 1, { undo = 0 }) end }]]

  it("is put before a person where its undo fails too", function()
    local w = world.new(HALF)
    w.failing.x = true
    w:start()
    w.failing["undo x"] = true
    equal(w:resume().question.kind, "partial")
    w.answers = { "again" }
    w.failing.x = nil
    equal(w:resume().status, "done")
    equal(w.log, { "x(1)" })
  end)
end)

describe("a bracket whose test refuses it", function()
  it("takes back what an earlier attempt has changed in it, too", function()
    local w = world.new([[step "Edit" { run = function()
      effect.bracket("fake.reload", "conf", function()
        world.set("conf", 2)
        if world.read "fails" then fail("no") end
      end, { test = function() fail("bad conf") end })
    end }]], { conf = 1, fails = true })
    w:start()
    equal(w.values.conf, 2)
    w.values.fails = false
    matches(w:resume().failure.message, "bad conf")
    equal({ w.values.conf, w.loaded.conf }, { 1, nil })
  end)
end)

describe("a bracket whose test has refused it", function()
  local EDITS = [[step "Edit" { run = function()
    effect.bracket("fake.reload", "conf", function() world.set("conf", 2) world.set("more", 2) end, { test = function()
      world.read "answer"
    end })
  end }]]

  it("stays refused, wherever the process died while it took the changes back", function()
    for at = 1, 60 do
      local w = world.new(EDITS, { conf = 1, more = 1, answer = "well" })
      w.lose = { method = "read", target = "answer" } -- once: there is no answer to the test
      w.crash_at = at
      pcall(w.start, w)
      if w.dead and select(2, w.store:lease()) then
        local outcome = w:resume()
        if outcome.status == "stopped" then outcome = w:resume() end
        local now = outcome.status == "done" and 2 or 1 -- "failed": all is taken back, and the run is over
        equal({ at, w.values.conf, w.values.more, w.loaded.conf or 1 }, { at, now, now, now })
      end
    end
  end)
end)

describe("a kind that can only be compared", function()
  it("is given the whole time of its call, counted from the settling: it may have been sent just before", function()
    clock.virtual(true)
    local began, value = task.now(), 0
    local late = task.spawn(function()
      task.sleep(29)
      value = 1
    end)
    local kind = { get = function() return value end }
    local intent = { target = "t", before = 0, after = 1, timeout = 30, time = clock.utc(clock.now() - 100) }
    equal(settle.verdict(kind, intent, 0, function() end), "done")
    late:wait()
    truthy(task.now() - began >= 30)
  end)
end)

describe("taking a run up", function()
  it("is refused where another process has closed it since it was read", function()
    local w = stopped()
    local place = setmetatable({ take = function(place, ...)
      place.take = nil
      equal(w:rollback().status, "rolled back")
      return store.take(place, ...)
    end }, { __index = w.store, __newindex = function(_, key, value) w.store[key] = value end })
    equal(raises(w.resume, w, { run = 1, state = place }).kind, "journal")
    equal(select(2, w.store:lease()), nil)
  end)
end)
