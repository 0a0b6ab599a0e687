local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

--- A trial of these steps in a scratch folder.
local function trial(steps, state)
  local path = scratch()
  return fixture.trial(steps, path, nil, state), path
end

local function contents(path) return fs.exists(path) and fs.read(path) or "" end

describe("a command in a run", function()
  it("runs, and hands its output on", function()
    local t, path = trial {
      [[local result = env.hosts["local"]:run({ "sh", "-c", "echo out; echo x >>PATH/log; exit 2" }, { ok = { 0, 2 } })
        assert(result.status == 2 and result.out == "out\n")]],
      [[env.hosts["local"]:shell("cat >>PATH/log", { input = "y\0\n" })]],
    }
    t:run "done"
    equal(contents(path .. "/log"), "x\ny\0\n")
  end)

  it("is undone by the command given for that", function()
    local t, path = trial {
      [[env.hosts["local"]:run({ "mkdir", "PATH/d" }, { undo = { "rmdir", "PATH/d" } })]],
      [[env.hosts["local"]:shell("echo forth >>log", { undo = "echo back >>log", cwd = "PATH/d", keep = nil })]],
      [[env.hosts["local"]:run({ "touch", "PATH/kept" }, { keep = "it harms nobody" })]],
      [[fail "back"]],
    }
    t:run "stopped"
    equal(contents(path .. "/d/log"), "forth\n")
    local outcome = t:roll_back()
    equal(outcome.status == "rolled back", false) -- the folder is not empty: rmdir refuses
    equal(contents(path .. "/d/log"), "forth\nback\n")
    fs.remove(path .. "/d/log")
    t:roll_back "rolled back"
    equal(fs.list(path), { "kept" })
  end)

  it("that fails stops the run, and says how", function()
    local t = trial { [[env.hosts["local"]:run { "sh", "-c", "echo broken >&2; exit 5" }]] }
    t:run "stopped"
    local failure = t:failure()
    equal({ failure.kind, failure.code, failure.output, failure.host }, { "remote", 5, "broken", "local" })
    equal(t:all "end"[1].status, "partial")
    t:abandon()
  end)

  it("that says on its output what went wrong is quoted with that, too", function()
    local t = trial { [[env.hosts["local"]:run { "sh", "-c", "echo no rule to make it; echo Error 2 >&2; exit 2" }]] }
    t:run "stopped"
    equal(t:failure().output, "no rule to make it\nError 2")
    t:abandon()
  end)

  it("is a point of no return without undo and keep", function()
    local t = trial { [[env.hosts["local"]:run { "true" } fail "back"]] }
    t:run "stopped"
    equal(t:all "intent"[1].disposition, "irreversible")
    t:abandon()
  end)

  it("is not run by a plan, and shown there", function()
    local t, path = trial { [[env.hosts["local"]:run { "touch", "PATH/made" }]] }
    local plan = t:plan()
    equal(fs.list(path), {})
    matches(require("native.json").encode(require("neap.engine.data").plain(plan)), "touch")
  end)

  it("leaves no folder on the host when the run is closed", function()
    local t = trial { [[env.hosts["local"]:run { "true" }]] }
    t:run "done"
    local place = t:all "intent"[1].place
    equal(fs.exists(place.folder), false)
    equal(fs.exists(place.folder:match("(.*)/")), false)
  end)

  it("that takes too long is ended on its host, and said to be partial", function()
    local t, path = trial { [[env.hosts["local"]:shell("echo $$ >PATH/pid; sleep 30", { timeout = 0.5 })]] }
    t:run "stopped"
    equal(process.alive(tonumber((contents(path .. "/pid"):gsub("%s", "")))), false)
    equal(t:all "end"[1].status, "partial")
    t:abandon()
  end)

  it("refuses mistakes before anything is written down", function()
    for _, call in ipairs { ':run "text"', ":shell { 'list' }", ':run({ "id" }, { udno = { "id" } })', ':run {}',
      ':run { "-x" }' } do
      local t = trial { 'env.hosts["local"]' .. call }
      t:run "failed"
      equal(#t:all "intent", 0)
    end
  end)
end)

describe("a run that is killed", function()
  local STEPS = {}
  for i = 1, 4 do
    STEPS[i] = ([[env.hosts["local"]:shell("echo %d >>PATH/log; sleep 0.05", { keep = "a line" })]]):format(i)
  end

  --- Starts the run in a neap of its own, and kills that after so many seconds.
  local function start_and_kill(path, state, seconds)
    local child <close> = process.spawn({ "sh", "-c",
      "echo $$; exec build/neap test tests/targets/command_runner.lua" }, {
      env = { NEAP_TRIAL = path .. "\n" .. state }, reads = true,
    })
    local pid = child:read():match("^(%d+)\n")
    task.sleep(seconds)
    process.run({ "kill", "-9", pid }, { reads = true })
    child:wait()
  end

  it("has run each command once when it was resumed, 8 times", function()
    for round = 1, 8 do
      local path, state = scratch(), scratch()
      start_and_kill(path, state, 0.03 + round * 0.05)
      local t = fixture.trial(STEPS, path, nil, state)
      local ok, outcome = pcall(t.resume, t)
      if ok then
        equal(outcome.status, "done")
      elseif outcome.code ~= "closed" then -- it was killed before there was a run
        equal(outcome.kind, "missing")
        t:run "done"
      end
      equal(contents(path .. "/log"), "1\n2\n3\n4\n")
    end
  end)
end)
