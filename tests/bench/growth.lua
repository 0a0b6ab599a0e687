--- How the engine's costs grow, each a ratio of two points of one run over fakes with a real journal; run by bench.py
--- as a test, which may require. GROWTH names the measurement, so that each has a process and a memory of its own.
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local journal  = require "neap.engine.journal"
local rollback = require "neap.engine.rollback"
local run      = require "neap.engine.run"
local task     = require "native.task"
local words    = require "neap.words"

local PATH = "procedures/bench/growth.lua"
local STEPS = [[
for i = 1, %d do
  step("Step " .. i) { run = function() bench.set("t" .. i %% 100, i) return { n = i } end }
end]]
local HOSTS = [[
step "All" {
  on = function() local hosts = {} for i = 1, %d do hosts[i] = "h" .. i end return hosts end,
  at_a_time = 50, run = function(host) bench.set(host, 1) end,
}]]

-- ---- targets that are variables ----

local values, on_put, puts = {}, nil, 0

effect.resource "bench.value" {
  late = false,
  get = function(target) return values[target] end,
  put = function(target, value)
    puts = puts + 1
    if on_put then on_put(puts) end
    values[target] = value
  end,
}

words.fakes.bench = { set = function(target, value)
  return effect.change("bench.value", target, function() return value end)
end }

local function given(state, text, more)
  local request = {
    state = state, procedure = PATH, files = { [PATH] = text }, arguments = {}, anchors = function() end,
    settle_at_once = 0, settle_patience = 0,
    environment = { name = "bench/here", group = "bench", hosts = {}, values = {}, policy = {} },
  }
  for key, value in pairs(more or {}) do request[key] = value end
  return request
end

local function ended(outcome, status)
  if outcome.status ~= status then error(("%s: %s"):format(outcome.status, tostring(outcome.failure)), 0) end
end

--- Stops the run within a put as a crash would: the intent stays without its end.
local function die() fault.raise { kind = "fenced", message = "as if it had crashed" } end

-- ---- figures ----

local function report(name, small, large, unit, ratio, goal)
  print(("growth\t%s\t%.4g\t%.4g\t%s\t%.3f\t%s"):format(name, small, large, unit, ratio, goal or ""))
end

local function seconds_of(fn, ...)
  local begun = task.now()
  local result = fn(...)
  return task.now() - begun, result
end

local function resident()
  local file = assert(io.open "/proc/self/statm")
  local pages = file:read "a":match "%d+ (%d+)"
  file:close()
  return pages * 4096 / 1e6
end

local function heap()
  collectgarbage()
  collectgarbage() -- what had a finalizer goes at the second
  return collectgarbage "count" * 1024 / 1e6
end

local measure = {}

--- Time and memory of a run's steps: the 100 up to each point.
function measure.steps()
  local at, used, held = {}, {}, {}
  function on_put(n)
    if n % 100 == 0 then at[n] = task.now() end
    if n == 1000 or n == 10000 then held[n], used[n] = resident(), heap() end
  end
  ended(run.start(given(scratch(), STEPS:format(10000))), "done")
  local function each(first, last) return (at[last] - at[first]) / (last - first) * 1e3 end
  report("a step: at 100 and at 10,000", each(100, 900), each(9100, 9900), "ms", each(9100, 9900) / each(100, 900), 1.1)
  report("a step: at 1,000 and at 10,000", each(1000, 1900), each(9100, 9900), "ms",
    each(9100, 9900) / each(1000, 1900), 1.1)
  report("Lua's heap per 10,000 steps", used[1000], used[10000], "MB", (used[10000] - used[1000]) / 0.9, 2)
  report("resident memory per 10,000 steps", held[1000], held[10000], "MB", (held[10000] - held[1000]) / 0.9, 2)
end

local function write_records(folder, count)
  local opened = journal.open(folder)
  local writer = opened:take(nil, function()
    return { { type = "run", uid = "u", path = PATH, files = { [PATH] = STEPS:format(1) }, arguments = {},
      environment_data = { name = "bench/here", values = {}, hosts = {} } }, { type = "own" },
      { type = "turn", direction = "forward" } }
  end, function() end)
  local tenths = { [0] = task.now() }
  for i = 1, count // 4 do
    local path = "Step " .. i
    writer:append { type = "step", path = path, attempt = 1, title = path, number = "1." .. i, undo = "effects" }
    local intent = writer:write { type = "intent", path = path, kind = "bench.value", target = "t" .. i, after = i,
      disposition = "undo", attempt = 1, version = 1, class = "resource", timeout = 60, show = "bench.value t" .. i,
      witness = "0123456789abcdef-0123456789ab" }
    writer:append { type = "end", of = intent.seq, path = path, status = "done", how = "reply" }
    writer:write { type = "end", of = intent.seq - 1, path = path, status = "done", result = { n = i } }
    if i % (count // 40) == 0 then tenths[#tenths + 1] = task.now() end
  end
  return opened, tenths
end

--- Appending, taking up and beside it another run's start, at 1,000 records and at 100,000.
function measure.journal()
  local MANY = 100000
  local large, empty, folder = math.huge, scratch(), scratch()
  local opened, tenths = write_records(folder, MANY)
  local first, last = tenths[1] - tenths[0], tenths[10] - tenths[9]
  report("appending: first tenth and last of 100,000 records", first, last, "s", last / first, 1.1)
  opened:close()

  local session = require "neap.engine.session"
  local function reopen() session.reopen(given(folder, nil, { run = 1 })):leave() end
  for _ = 1, 3 do large = math.min(large, (seconds_of(reopen))) end
  report("taking up a run of 100,000 records", 0.1, large, "s", large / 0.1, 1)

  local held = session.reopen(given(folder, nil, { run = 1 }))
  held:close "abandoned"
  held:leave()
  local alone, beside = {}, {}
  for i = 1, 9 do
    alone[i] = seconds_of(run.start, given(empty, STEPS:format(3)))
    beside[i] = seconds_of(run.start, given(folder, STEPS:format(3)))
  end
  table.sort(alone)
  table.sort(beside)
  report("another run: with few records and with those", alone[5] * 1e3, beside[5] * 1e3, "ms",
    beside[5] / alone[5], 1.1)
end

--- Rolling back against applying, per effect.
function measure.rollback()
  local function both(count)
    local folder, undone = scratch(), nil
    values, puts = {}, 0
    function on_put(n)
      if n == count + 1 then fault.raise { kind = "denied", message = "here it ends" } end
    end
    local forward = seconds_of(run.start, given(folder, STEPS:format(count + 1)))
    on_put = nil
    local back = seconds_of(function()
      undone = rollback.start(given(folder, nil, { run = 1 }))
    end)
    ended(undone, "rolled back")
    return forward / count * 1e3, back / count * 1e3
  end
  for _, count in ipairs { 1000, 10000 } do
    local forward, back = both(count)
    report(("an effect of %d: applied and rolled back"):format(count), forward, back, "ms", back / forward, 1.3)
  end
end

--- From a crash at step k to the same step's call again, which crashes once more.
function measure.resume()
  local text = STEPS:format(10001)
  local function crash_at(k)
    local folder = scratch()
    values, puts = {}, 0
    function on_put(n) if n == k then die() end end
    run.start(given(folder, text))
    return { folder = folder, values = values }
  end
  local function seconds_to_call(crashed)
    local again
    values, puts = crashed.values, 0
    collectgarbage()
    local begun = task.now()
    function on_put()
      again = task.now()
      die()
    end
    run.resume(given(crashed.folder, nil, { run = 1 }))
    return again - begun
  end
  local at_10, at_10000, early, late = crash_at(10), crash_at(10000), math.huge, math.huge
  for _ = 1, 12 do
    early, late = math.min(early, seconds_to_call(at_10)), math.min(late, seconds_to_call(at_10000))
  end
  report("crash and resume: at step 10 and at step 10,000", early * 1e3, late * 1e3, "ms", late / early, 1.1)
end

--- A fan-out, 50 at a time.
function measure.fan_out()
  local folder = scratch()
  local function each(count)
    local best = math.huge
    for _ = 1, 3 do
      values, puts = {}, 0
      local seconds, outcome = seconds_of(run.start, given(folder, HOSTS:format(count)))
      ended(outcome, "done")
      best = math.min(best, seconds / count * 1e3)
    end
    return best
  end
  each(2) -- makes the journal
  local few, many = each(100), each(1000)
  report("a host of a fan-out: of 100 and of 1,000", few, many, "ms", many / few, 1.2)
end

it("grows as it should", function() measure[os.getenv "GROWTH"]() end)
