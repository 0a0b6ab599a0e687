--- The worker: a run whose terminal is lost, joined, interrupted, stopped, killed.
local fs         = require "native.fs"
local json       = require "native.json"
local process    = require "native.process"
local repository = require "tests.kills.repository"
local task       = require "native.task"

local SLOW = [[
-- Forty lines, one after the other.
local lib = require "demo.lib"
local here, folder = env.hosts["local"], env.folder
for i = 1, 40 do
  step("Line " .. i) { run = function()
    lib.line(here, folder .. "/count", "line " .. i)
    here:read { "sleep", "0.03" }
  end }
end
]]

local function slow_world()
  local world = repository.new(scratch())
  fs.write(world.folder .. "/procedures/demo/it.lua", SLOW, { mode = "0644" })
  return world
end

local function lines_of(world)
  local text = fs.exists(world.data .. "/count") and fs.read(world.data .. "/count") or ""
  return select(2, text:gsub("\n", ""))
end

local function wait_for(what, seconds)
  local until_then = task.now() + (seconds or 20)
  while not what() do
    if task.now() > until_then then error("not within " .. (seconds or 20) .. " s", 2) end
    task.sleep(0.02)
  end
end

local function outcome(world)
  local result = world:neap(nil, "runs", "--env", "lab", "--json")
  local runs = json.decode(result.out)
  runs = runs.runs or runs
  return runs[1].outcome, runs[1]
end

describe("neap log -f", function()
  it("prints what a run does while it does it, and ends with it", function()
    local world = slow_world()
    local run = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 1 end)
    local before = lines_of(world)
    local followed = world:neap(nil, "log", "1", "-f")
    equal(followed.status, 0)
    truthy(before < 40) -- it had not ended when it was begun to be followed
    matches(followed.out, "Line 40\n")
    matches(followed.out, "done\n$")
    run:close()
  end)

  it("of a run that nobody carries out says where it stands", function()
    local world = slow_world()
    fs.write(world.folder .. "/procedures/demo/it.lua", SLOW .. 'step "Stop" { run = function() fail "no" end }\n')
    equal(world:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--no-input").status, 5)
    local followed = world:neap(nil, "log", "1", "-f", "--json")
    equal(followed.status, 0)
    matches(followed.err, "stopped at 1.41")
    matches(followed.out, '"type":"step"')
  end)
end)

describe("a run in a worker", function()
  it("goes on when its terminal is lost, a hundred times, and ends once", function()
    local world = slow_world()
    local first = world:start("run", "demo/it", "--env", "lab", "--yes")
    local hangups = 0
    wait_for(function() return lines_of(world) >= 1 end)
    first:close()
    while lines_of(world) < 39 and hangups < 100 do
      local joined = world:start("resume", "1", "--env", "lab", "--yes", "--no-input")
      task.sleep(math.random() * 0.03)
      joined:close()
      hangups = hangups + 1
    end
    wait_for(function() return outcome(world) == "done" end)
    equal(lines_of(world), 40)
    truthy(hangups >= 20)
  end)

  it("is seen by a second terminal that joins it", function()
    local world = slow_world()
    local first <close> = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 2 end)
    local joined = world:neap(nil, "resume", "1", "--env", "lab", "--yes", "--no-input")
    equal(joined.status, 0)
    matches(joined.out, "DONE")
    equal(lines_of(world), 40)
  end)

  it("pauses when it is told to stop, and goes on with resume", function()
    local world = slow_world()
    local first <close> = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 3 end)
    equal(world:neap(nil, "stop", "1", "--env", "lab").status, 0)
    local before = lines_of(world)
    task.sleep(0.3)
    equal(lines_of(world), before)
    truthy(before < 40)
    equal(world:neap(nil, "resume", "1", "--env", "lab", "--yes").status, 0)
    equal(lines_of(world), 40)
  end)

  it("refuses another run meanwhile, and says who has the environment", function()
    local world = slow_world()
    local first <close> = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 1 end)
    local second = world:neap(nil, "run", "demo/it", "--env", "lab", "--yes")
    equal(second.status, 7)
    matches(second.err, "leased by run 1")
    world:neap(nil, "stop", "1", "--env", "lab")
  end)

  it("is ended by stop --kill, and resumed by asking", function()
    local world = slow_world()
    local first <close> = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 3 end)
    equal(world:neap(nil, "stop", "1", "--env", "lab", "--kill").status, 0)
    equal(first:wait().status, 5)
    equal(world:neap(nil, "resume", "1", "--env", "lab", "--yes").status, 0)
    equal(lines_of(world), 40)
  end)

  it("is told why a rollback is refused, as without a worker", function()
    local world = repository.new(scratch())
    fs.write(world.folder .. "/procedures/demo/it.lua", [[
-- Behind the point of no return something fails.
step "Open the books" { run = function() env.hosts["local"]:run { "true" } end }
step "Sell" { run = function() env.hosts["local"]:read { "false" } end }
]], { mode = "0644" })
    world:neap(nil, "run", "demo/it", "--env", "lab", "--yes")
    local refused = world:neap(nil, "rollback", "1", "--env", "lab", "--yes")
    equal(refused.status, 5)
    matches(refused.err, "Open the books is done and cannot be taken back: it has no undo")
  end)

  it("does not listen to other logins", function()
    local world = slow_world()
    local first <close> = world:start("run", "demo/it", "--env", "lab", "--yes")
    wait_for(function() return lines_of(world) >= 1 end)
    equal(fs.stat(world.folder .. "/state/neap/demo/lab/socket").mode, "0600")
    equal(process.user().uid >= 0, true)
    world:neap(nil, "stop", "1", "--env", "lab")
  end)
end)
