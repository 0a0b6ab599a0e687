--- Commands on real hosts that leave a line in a counter: exactly one, whatever becomes of neap, of the connection or of the
--- host in between.
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local task    = require "native.task"
local witness = require "neap.targets.witness"
local world   = require "tests.lab.world"

local SAMPLE = os.getenv "NEAP_SOAK" and math.huge or 12

-- A line on each of three hosts, as the login, as root, and side by side.
local COUNT = [[
-- Lines in a counter.
local arg = parameters { counter = "path of the counter on each host" }
local function line(host, word, become)
  local text = 'echo "$1" >>"$2"; chmod 666 "$2" 2>/dev/null; true'
  host:run({ "sh", "-c", text, "sh", word, arg.counter },
    { become = become, undo = { "sh", "-c", text, "sh", "not " .. word, arg.counter } })
end
phase "Count"
step "As the login" { run = function() line(env.hosts.old, "login") end }
step "As root" { run = function() line(env.hosts.old, "root", "root") end }
step "Side by side" { on = { env.hosts.new, env.hosts.proxy1 }, run = function(host) line(host, "beside") end }
]]

local LAST = { old = { "login", "root" }, new = { "beside" }, proxy1 = { "beside" } }

local function counters(path)
  return { old = world.lines("old", path), new = world.lines("new", path), proxy1 = world.lines("proxy1", path) }
end

local function left_over() return world.witnesses "old" + world.witnesses "new" + world.witnesses "proxy1" end

-- ---- one command that takes a while ----

local SLOW = [[
-- A command that takes a while.
local arg = parameters {
  counter = "path of the counter", seconds = { "how long it takes", default = "3" },
  timeout = { "of the step", default = "60s" },
}
local function line(text)
  env.hosts.proxy1:run({ "sh", "-c", text, "sh", arg.counter, arg.seconds }, { keep = "a line" })
end
phase "Count"
step "Before" { run = function() line 'echo before >>"$1"' end }
step "Slow" { timeout = arg.timeout, run = function() line 'echo begun >>"$1"; sleep "$2"; echo ended >>"$1"' end }
step "After" { run = function() line 'echo after >>"$1"' end }
]]

local WHOLE = { "before", "begun", "ended", "after" }
local COUNTER = "/home/ops/counter"

local function slow(options)
  local self = world.new(scratch(), { slow = SLOW })
  self.words = { "run", "trial/slow", "--env", "lab", "-p", "counter=" .. COUNTER }
  for name, value in pairs(options or {}) do
    table.insert(self.words, "-p")
    table.insert(self.words, name .. "=" .. value)
  end
  return self
end

--- A run of it that stands in mid command.
local function begun(self, setting)
  local running = self:start(self.words, setting)
  world.wait_for("proxy1", COUNTER, "begun")
  return running
end

describe("a command on a host, when neap is killed", function()
  local function points(counter)
    local self = world.new(scratch(), { count = COUNT })
    local path = self.folder .. "/points"
    self:expect(0, "run trial/count --env lab -p counter=" .. counter, { NEAP_FAULT_COUNT = path })
    equal(counters(counter), LAST)
    local list, passed = {}, {}
    for point in fs.read(path):gmatch "[^\n]+" do
      passed[point] = (passed[point] or 0) + 1
      local site, when = point:match "^(%S+) (%S+)$"
      list[#list + 1] = { text = ("%s:%d:%s=kill"):format(site, passed[point], when), at = #list + 1 }
    end
    return list
  end

  -- Some of them, the same each time, in the order of the run.
  local function sample(list, seed)
    math.randomseed(seed)
    for i = #list, 2, -1 do
      local j = math.random(i)
      list[i], list[j] = list[j], list[i]
    end
    local some = table.move(list, 1, math.min(#list, SAMPLE), 1, {})
    table.sort(some, function(a, b) return a.at < b.at end)
    return some
  end

  local function each_kill(seed, fn)
    world.lab "reset"
    local list = points "/home/ops/undisturbed"
    truthy(#list > 20)
    for _, point in ipairs(sample(list, seed)) do
      local self = world.new(scratch(), { count = COUNT })
      local counter = "/home/ops/" .. point.text:gsub("%W", "-")
      local run = "run trial/count --env lab -p counter=" .. counter
      equal({ point.text, self:neap(run, { NEAP_FAULT = point.text }).signal }, { point.text, "KILL" })
      fn(self, point.text, counter, run)
      equal({ point.text, left_over() }, { point.text, 0 })
    end
  end

  it("has run once after resume", function()
    each_kill(142, function(self, point, counter, run)
      local result = self:neap "resume 1"
      if result.status == 2 and result.text:find "no run" then result = self:neap(run) end -- killed before there was one
      truthy(result.status == 0 or result.text:find "is closed" or error(point .. ": " .. result.text, 0))
      equal({ point, counters(counter) }, { point, LAST })
    end)
  end)

  it("has been taken back once, if it ran, after rollback", function()
    each_kill(143, function(self, point, counter)
      local result = self:neap "rollback 1"
      local closed = result.text:find "is closed"
      truthy(result.status == 0 or result.text:find "no run" or closed or error(point .. ": " .. result.text, 0))
      for host, lines in pairs(counters(counter)) do
        local wanted = {}
        for _, line in ipairs(lines) do
          if not line:find "^not " then wanted[#wanted + 1] = line end
        end
        for i = closed and 0 or #wanted, 1, -1 do wanted[#wanted + 1] = "not " .. wanted[i] end
        equal({ point, host, lines }, { point, host, wanted })
      end
    end)
  end)
end)

describe("a command on a host", function()
  before_each(function() world.lab("reset", "proxy1") end)

  it("goes on while the network is cut, and is followed again", function()
    local self = slow { seconds = "5" }
    local running = begun(self)
    world.lab("cut", "proxy1")
    task.sleep(3)
    world.lab("heal", "proxy1")
    world.check(running:wait(), 0)
    equal(world.lines("proxy1", COUNTER), WHOLE)
    equal(world.witnesses "proxy1", 0)
  end)

  it("has run once when its host stood still and neap was killed meanwhile", function()
    local self = slow { seconds = "2" }
    local running = begun(self)
    world.lab("freeze", "proxy1")
    world.signal("KILL", running.pid)
    equal(running:wait().signal, "KILL")
    task.sleep(1)
    world.lab("thaw", "proxy1")
    self:expect(0, "resume 1")
    equal(world.lines("proxy1", COUNTER), WHOLE)
  end)

  it("is waited for by a resume that comes while it runs", function()
    local self = slow { seconds = "4" }
    local running = begun(self)
    world.signal("KILL", running.pid)
    running:wait()
    self:expect(0, "resume 1")
    equal(world.lines("proxy1", COUNTER), WHOLE)
  end)

  it("is in doubt when neap gives up on a host that stands still, and resume finds what became of it", function()
    local self = slow { seconds = "1", timeout = "4s" }
    local running = begun(self)
    world.lab("freeze", "proxy1")
    local result = world.check(running:wait(), 8)
    matches(result.text, "proxy1 sh %-c .* Slow +IN DOUBT")
    world.lab("thaw", "proxy1")
    self:expect(0, "resume 1")
    equal(world.lines("proxy1", COUNTER), WHOLE)
  end)

  it("ended by its host's new start is partly done, and a person is asked", function()
    local self = slow { seconds = "6" }
    local running = begun(self)
    world.lab("off", "proxy1")
    local result = world.check(running:wait(), 8)
    matches(result.text, "Slow +IN DOUBT")
    world.lab("boot", "proxy1")
    local text = self:expect(8, "resume 1")
    matches(text, "WAITS FOR A PERSON")
    matches(text, "the host was started anew while it ran")
    equal(world.lines("proxy1", COUNTER), { "before", "begun" })
    world.check(self:typed("resume 1 --foreground", "again / done / stop?", "again"), 0, "resume 1")
    equal(world.lines("proxy1", COUNTER), { "before", "begun", "begun", "ended", "after" })
  end)
end)

-- ---- a command that arrives late ----

-- The host's login runs this before each command: it holds the next one, once it is armed, until it is let go.
local RC = [[
mv /home/ops/armed /home/ops/held 2>/dev/null || exit 0
until [ -e /home/ops/let-go ]; do sleep 0.05; done
]]

local LATE = [[
-- A command behind a gate.
local arg = parameters { gate = "a file of this machine", counter = "path of the counter" }
local function line(word)
  local function command(text) return { "sh", "-c", 'echo "$1" >>"$2"', "sh", text, arg.counter } end
  env.hosts.proxy1:run(command(word), { undo = command("not " .. word) })
end
phase "Count"
step "Before" { run = function() line "before" end }
await "The gate is open" { every = "1s", check = function()
  return env.hosts["local"]:read { "sh", "-c", 'if test -e "$1"; then echo open; fi', "sh", arg.gate } ~= ""
end }
step "Late" { run = function() line "late" end }
%s
]]

describe("a command that reaches its host late", function()
  --- A run that was killed while its command was on the way.
  local function on_the_way(more)
    world.lab("reset", "proxy1")
    local self = world.new(scratch(), { late = LATE:format(more or "") })
    local gate = self.folder .. "/gate"
    local running = self:start { "run", "trial/late", "--env", "lab", "-p", "gate=" .. gate,
      "-p", "counter=" .. COUNTER }
    world.wait_for("proxy1", COUNTER, "before")
    world.on("proxy1", ("cat >/home/ops/.ssh/rc <<'RC'\n%sRC\nrunuser -u ops -- touch /home/ops/armed"):format(RC))
    fs.write(gate, "", { mode = "0600" })
    world.wait(function() return world.on("proxy1", "test -e /home/ops/held && echo held || true") == "held" end)
    task.sleep(0.2) -- its input is on the way, too
    world.signal("KILL", running.pid)
    equal(running:wait().signal, "KILL")
    return self
  end

  local function let_go()
    truthy(world.on("proxy1", "pgrep -u ops -f ssh/rc || true") ~= "") -- it outlives its connection
    world.on("proxy1", "touch /home/ops/let-go; while pgrep -u ops >/dev/null; do sleep 0.05; done")
  end

  it("runs, if nobody has asked what became of it", function()
    local self = on_the_way()
    let_go()
    self:expect(0, "resume 1")
    equal(world.lines("proxy1", COUNTER), { "before", "late" })
  end)

  it("does not run any more once a resume has asked and made it again", function()
    local self = on_the_way 'manual "Look" {}'
    self:expect(8, "resume 1")
    let_go()
    equal(world.lines("proxy1", COUNTER), { "before", "late" })
  end)

  it("does not run any more once its run is closed", function()
    local self = on_the_way()
    self:expect(0, "resume 1")
    let_go()
    equal(world.lines("proxy1", COUNTER), { "before", "late" })
    equal(world.on("proxy1", "ls -A /home/ops/.neap/effects"), "")
  end)

  it("does not run any more once a rollback has passed it", function()
    local self = on_the_way()
    self:expect(0, "rollback 1")
    let_go()
    equal(world.lines("proxy1", COUNTER), { "before", "not before" })
  end)
end)

describe("two settlers of one command", function()
  local function new_run() return fixture.run { proxy1 = { name = "proxy1", ssh = "proxy1" } } end

  local function begin(run, fn, ...)
    local branch = setmetatable({ run = run }, { __index = task.context() })
    return task.spawn(task.with_context, branch, changing, fn, ...)
  end

  local function settled(call)
    while true do
      local verdict = witness.take("proxy1", call.witness, call)
      if verdict ~= "running" then return verdict end
      task.sleep(0.05)
    end
  end

  --- Their verdict, which is one, and true.
  local function round(number, runs)
    local path = ("/home/ops/race-%d"):format(number)
    local call = { witness = "race-" .. number, place = runs.place }
    local command = { "sh", "-c", 'echo line >>"$1"', "sh", path }
    local running = begin(runs[1], pcall, witness.run, "proxy1", call, command)
    task.sleep(0.005 * (number % 8))
    local one, other = begin(runs[2], settled, call), begin(runs[3], settled, call)
    local _, first = one:wait()
    local _, second = other:wait()
    local _, ran, failure = running:wait()
    equal(first, second)
    equal({ number, ran, #world.lines("proxy1", path) }, { number, first == "done", first == "done" and 1 or 0 })
    if not ran then matches(failure.message, "closed before it began") end
    return first
  end

  it("and the command itself come to one answer", function()
    world.lab("reset", "proxy1")
    local seen, runs = {}, { new_run(), new_run(), new_run() }
    fixture.within(runs[1], changing, function()
      runs.place = witness.prepare "proxy1"
      for i = 2, 3 do begin(runs[i], settled, { witness = "first-" .. i, place = runs.place }):wait() end -- connected
      for number = 1, SAMPLE == math.huge and 400 or 32 do
        local verdict = round(number, runs)
        seen[verdict] = (seen[verdict] or 0) + 1
      end
    end)
    for i = 2, 3 do
      for _, connection in pairs(runs[i].connections) do connection:close() end
    end
    truthy(seen.done and seen.void and seen.done + seen.void >= 32)
  end)
end)
