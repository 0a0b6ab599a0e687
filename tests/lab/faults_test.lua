--- What becomes of a run when a host of it is cut off, stands still or loses its power in mid step, and when neap itself is
--- stopped, asked to end, or started twice.
local fs    = require "native.fs"
local task  = require "native.task"
local world = require "tests.lab.world"

local COUNTER, FILE = "/home/ops/counter", "/home/ops/file"

-- A line, a command that takes a while, a file as root.
local STEPS = [[
-- Something before, something that takes a while, something after.
local arg = parameters { seconds = { "how long the command takes", default = "1" } }
local proxy = env.hosts.proxy1
local function line(text)
  proxy:run({ "sh", "-c", text, "sh", "/home/ops/counter", arg.seconds },
    { undo = { "sh", "-c", 'echo undone >>"$1"', "sh", "/home/ops/counter" } })
end
phase "One"
step "Before" { run = function() line 'echo before >>"$1"' end }
step "Slow" { timeout = "10s", run = function() line 'echo begun >>"$1"; sleep "$2"; echo ended >>"$1"' end }
step "File" { timeout = "10s", run = function() file.write(proxy, "/home/ops/file", "new\n") end }
]]

local WHOLE = { "before", "begun", "ended" }

local function new(more) return world.new(scratch(), { steps = STEPS }, more) end

local function run(self, seconds)
  return self:start { "run", "trial/steps", "--env", "lab", "-p", "seconds=" .. (seconds or "1") }
end

local function in_mid_command(self, seconds)
  local running = run(self, seconds)
  world.wait_for("proxy1", COUNTER, "begun")
  return running
end

--- How it ended, and in how many seconds from now.
local function ended(running, status)
  local begun = task.now()
  local result = world.check(running:wait(), status)
  return result.text, task.now() - begun
end

describe("a host", function()
  before_each(function() world.lab("reset", "proxy1") end)

  local DOUBT = "proxy1 sh %-c 'echo begun[^\n]* Slow +IN DOUBT"

  it("cut off in mid command: within the deadline the run stops and names what is in doubt; resume finishes", function()
    local self = new()
    local running = in_mid_command(self, "4")
    world.lab("cut", "proxy1")
    local text, took = ended(running, 8)
    matches(text, DOUBT)
    matches(text, "not done within the step's 10s: the command on proxy1 did not end in time")
    matches(text, "the connection broke: no answer from the server")
    matches(text, "neap resume 1 %-%-env trial/lab")
    truthy(took < 45)
    world.lab("heal", "proxy1")
    self:expect(0, "resume 1")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, { "new" } })
  end)

  it("that stands still in mid command: the same", function()
    local self = new()
    local running = in_mid_command(self, "4")
    world.lab("freeze", "proxy1")
    local text, took = ended(running, 8)
    matches(text, DOUBT)
    matches(text, "where +procedures/trial/steps.lua:%d+, host proxy1")
    truthy(took < 45)
    world.lab("thaw", "proxy1")
    self:expect(0, "resume 1")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, { "new" } })
  end)

  it("without power in mid command: the same, and its undo runs before it is made again", function()
    local self = new()
    local running = in_mid_command(self, "4")
    world.lab("off", "proxy1")
    local text, took = ended(running, 8)
    matches(text, DOUBT)
    truthy(took < 45)
    world.lab("boot", "proxy1")
    self:expect(0, "resume 1")
    equal(world.lines("proxy1", COUNTER), { "before", "begun", "undone", "begun", "ended" })
    equal(world.lines("proxy1", FILE), { "new" })
  end)

  it("that cannot be reached: a resume says so, leaves everything as it is, and the next one finishes", function()
    local self = new()
    local running = in_mid_command(self, "1")
    world.signal("KILL", running.pid)
    running:wait()
    world.lab("off", "proxy1")
    local waiting = self:start { "resume", "1" }
    task.sleep(8)
    world.signal("TERM", waiting.pid)
    local text = ended(waiting, 5)
    matches(text, DOUBT)
    matches(text, "cannot be asked yet; trying again: proxy1 port 22: no answer within 3 s")
    matches(text, "the system asked neap to end")
    world.lab("boot", "proxy1")
    self:expect(0, "rollback 1")
    equal(world.lines("proxy1", FILE), {})
  end)

  for verb, said in pairs { refuse = "refused", drop = "no answer within 3 s" } do
    it(("whose port is closed (%s) before a step: nothing is in doubt"):format(verb), function()
      local self = new()
      world.lab(verb, "proxy1", "22")
      local text = self:expect(1, "run trial/steps --env lab")
      matches(text, "proxy1")
      matches(text, said)
      matches(text, "Nothing was changed")
      truthy(not text:find "IN DOUBT")
      world.lab("clear", "proxy1")
      equal(world.lines("proxy1", COUNTER), {})
      self:expect(0, "run trial/steps --env lab")
      equal(world.lines("proxy1", COUNTER), WHOLE)
    end)
  end
end)

-- ---- neap itself ----

describe("neap", function()
  before_each(function() world.lab("reset", "proxy1") end)

  it("stopped for a while by SIGSTOP goes on as if nothing had been", function()
    local self = new()
    local running = in_mid_command(self, "1")
    world.signal("STOP", running.pid)
    task.sleep(6) -- longer than a silent connection is believed in
    world.signal("CONT", running.pid)
    ended(running, 0)
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, { "new" } })
  end)

  it("asked to end by SIGTERM finishes the command in hand if it is short, and pauses", function()
    local self = new()
    local running = in_mid_command(self, "2")
    world.signal("TERM", running.pid)
    local text, took = ended(running, 5)
    truthy(took < 10)
    matches(text, "PAUSED")
    matches(text, "the system asked neap to end")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, {} })
    self:expect(0, "resume 1")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, { "new" } })
  end)

  it("interrupted once by Ctrl-C finishes the effect in hand and pauses; resume goes on from there", function()
    local self = new()
    local running = in_mid_command(self, "2")
    world.signal("INT", running.pid)
    local text = ended(running, 5)
    matches(text, "interrupted by the operator")
    matches(text, "neap resume 1 %-%-env trial/lab")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, {} })
    self:expect(0, "resume 1")
    equal({ world.lines("proxy1", COUNTER), world.lines("proxy1", FILE) }, { WHOLE, { "new" } })
  end)

  it("interrupted twice ends the command on its host, and says that it is partly done", function()
    local self = new()
    local running = in_mid_command(self, "600")
    world.signal("INT", running.pid)
    task.sleep(0.5)
    world.signal("INT", running.pid)
    local text, took = ended(running, 5)
    truthy(took < 15)
    matches(text, "PAUSED[^\n]+Slow[^\n]+\n  interrupted by the operator\n  where")
    matches(text, "Slow +PARTLY DONE")
    equal(world.on("proxy1", "pgrep -u ops -fx \"sleep 600\" || echo none"), "none")
    self:expect(0, "rollback 1")
    equal(world.lines("proxy1", COUNTER), { "before", "begun", "undone", "undone" })
  end)

  it("started a second time on the environment says who works there, since when, and what can be done", function()
    local self = new()
    local running = in_mid_command(self, "4")
    for _, words in ipairs { "run trial/steps --env lab", "resume 1", "rollback 1", "abandon 1 --reason mine" } do
      local text = self:expect(7, words)
      matches(text, "trial/lab is leased by run 1, trial/steps, of %S+@%S+ since %d%d%d%d%-%d%d%-%d%d %d%d:%d%d")
      matches(text, "Nothing was changed")
      matches(text, "neap log 1 %-%-env trial/lab")
    end
    ended(running, 0)
    equal(world.lines("proxy1", COUNTER), WHOLE)
  end)
end)
