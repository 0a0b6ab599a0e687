local clock   = require "native.clock"
local fault   = require "native.error"
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

local BUSY = [[
local task = require "native.task"
it("lets the other end it", function()
  local done = false
  local busy = task.spawn(function() while not done do end end)
  task.sleep(0.005)
  done = true
  busy:wait()
end)
]]

describe("tasks", function()
  it("run side by side and hand over their results", function()
    local seen = {}
    local first = task.spawn(function(a, b) task.sleep(0.02) seen[#seen + 1] = "first" return a + b, nil, 3 end, 1, 2)
    local second = task.spawn(function() seen[#seen + 1] = "second" end)
    local results = table.pack(first:wait())
    second:wait()
    equal({ results[1], results[2], results[3], results[4], results.n }, { true, 3, nil, 3, 4 })
    equal(seen, { "second", "first" })
  end)

  it("hand over their error as it is", function()
    local object = { kind = "remote" }
    local ok, failure = task.spawn(function() error(object) end):wait()
    equal(ok, false)
    truthy(failure == object)
  end)

  it("may be waited for after they have ended, and by several", function()
    local quick = task.spawn(function() return "done" end)
    task.sleep(0.001)
    local other = task.spawn(function() return select(2, quick:wait()) end)
    equal({ quick:wait() }, { true, "done" })
    equal({ other:wait() }, { true, "done" })
  end)

  it("cannot wait inside a coroutine of the author's", function()
    local co = coroutine.create(function() task.sleep(0) end)
    local ok, message = coroutine.resume(co)
    equal(ok, false)
    matches(message, "inside a task")
  end)

  it("cannot wait inside a sort", function()
    matches(raises(table.sort, { 2, 1 }, function(a, b) task.sleep(0) return a < b end), "impossible inside a sort")
  end)

  it("let each other run when one computes for long", function()
    local done = false
    local busy = task.spawn(function() while not done do end end)
    task.sleep(0.005)
    done = true
    equal(busy:wait(), true)
  end)

  it("let each other run where the system gives no timer", function()
    local path = scratch() .. "/busy_test.lua"
    fs.write(path, BUSY)
    local command = { "prlimit", "--sigpending=0", process.executable(), "test", path }
    equal(process.run(command, { reads = true, timeout = 20 }).status, 0)
  end)
end)

describe("cancel", function()
  it("is raised at the wait, closes what is open, and is raised again when swallowed", function()
    local log = {}
    local running = task.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = "closed" end })
      local ok, failure = pcall(task.sleep, 10)
      log[#log + 1] = ok and "slept" or failure.kind
      task.sleep(10)
    end)
    task.yield()
    running:cancel()
    local ok, failure = running:wait()
    equal({ ok, failure.kind }, { false, "cancelled" })
    equal(log, { "cancelled", "closed" })
  end)

  it("lets nothing of a passed deadline into a shield", function()
    local failure = raises(task.deadline, 0.01, function()
      local ok = pcall(task.sleep, 1)
      equal(ok, false)
      equal(task.shield(function() task.sleep(0.01) return "cleaned" end), "cleaned")
      task.sleep(1)
    end)
    equal(failure.kind, "timeout")
  end)

  it("waits for the end of a shield, whose __close may wait too", function()
    local log = {}
    local running = task.spawn(function()
      local _ <close> = setmetatable({}, { __close = function()
        task.shield(task.sleep, 0.001)
        log[#log + 1] = "closed"
      end })
      task.shield(function() task.sleep(0.01) log[#log + 1] = "shielded" end)
      task.sleep(10)
    end)
    task.yield()
    running:cancel()
    equal((running:wait()), false)
    equal(log, { "shielded", "closed" })
  end)

  it("ends a task that waits for another", function()
    local sleeper = task.spawn(task.sleep, 10)
    local waiter = task.spawn(function() sleeper:wait() end)
    task.yield()
    waiter:cancel()
    equal((waiter:wait()), false)
    sleeper:cancel()
    equal((sleeper:wait()), false)
  end)
end)

describe("deadlines", function()
  it("raise timeout in whatever waits, and only inside", function()
    local failure = raises(task.deadline, 0.01, task.sleep, 10)
    equal(failure.kind, "timeout")
    task.sleep(0.001)
  end)

  it("nest: the nearer one counts", function()
    local started = task.now()
    raises(task.deadline, 0.01, task.deadline, 10, task.sleep, 10)
    truthy(task.now() - started < 5)
  end)

  it("are inherited by the tasks spawned inside", function()
    local spawned
    pcall(task.deadline, 0.01, function()
      spawned = task.spawn(task.sleep, 10)
      task.sleep(10)
    end)
    local ok, failure = spawned:wait()
    equal({ ok, failure.kind }, { false, "timeout" })
  end)

  it("give the results through", function()
    equal({ task.deadline(1, function(...) return ... end, 1, nil, 3) }, { 1, nil, 3 })
  end)
end)

describe("the context", function()
  it("is inherited by tasks, and ends with the call", function()
    local inner
    task.with_context("outer", function()
      inner = task.spawn(function() task.sleep(0.001) return task.context() end)
      task.with_context("nested", function() equal(task.context(), "nested") end)
      equal(task.context(), "outer")
    end)
    equal({ inner:wait() }, { true, "outer" })
  end)

  it("is put back when the call raises", function()
    local before = task.context()
    raises(task.with_context, "other", error, "x")
    truthy(task.context() == before)
  end)
end)

describe("the leave to change", function()
  it("is given out once", function()
    matches(raises(task.take_change), "has been taken")
  end)
end)

describe("the virtual clock", function()
  it("lets hours pass at once", function()
    clock.virtual(true)
    local before, wall = task.now(), clock.now()
    task.sleep(3600)
    truthy(math.abs(task.now() - before - 3600) < 0.001)
    truthy(math.abs(clock.now() - wall - 3600) < 0.001)
    clock.virtual(false)
  end)

  it("begins at a known time of day", function()
    clock.virtual(true)
    equal(clock.utc(), "2026-11-21T02:00:00.000Z")
    clock.virtual(false)
  end)
end)

describe("error objects", function()
  it("tell where in the author's file they were raised", function()
    local failure = raises(fault.raise, { kind = "remote", message = "no" })
    matches(failure.where, "task_test.lua:%d+: $")
    matches(tostring(failure), "task_test.lua:%d+: no")
    equal(fault.is(failure, "remote"), true)
    equal(fault.is(failure, "lost"), false)
    equal(fault.is("no"), false)
  end)
end)
