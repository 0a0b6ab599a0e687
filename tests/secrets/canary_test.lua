--- Canary secrets from every source, in six encodings, in all that a run leaves and shows: found nowhere. Needs the build
--- with fail points (make fault).
local fs         = require "native.fs"
local json       = require "native.json"
local process    = require "native.process"
local repository = require "tests.secrets.repository"
local task       = require "native.task"

local CANARIES = repository.CANARIES

--- Those that no command gets as a variable, and that do not come from one.
local UNASKED = { command = true, typed = true, old = true, picked = true, beside = true }

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a" or ""
  if file then file:close() end
  return text
end

--- Looks at every process of the machine again and again until fn has ended; nobody but the command itself may have a
--- secret as an argument or a variable.
local function while_watching(world, fn)
  local ended, looks, limits = false, 0, nil
  local own = process.pid()
  local running = task.spawn(function()
    fn()
    ended = true
  end)
  while not ended and task.count() > 1 do
    for _, pid in ipairs(fs.list "/proc") do
      if pid:find "^%d+$" and tonumber(pid) ~= own then
        local line = read("/proc/" .. pid .. "/cmdline")
        world:search(line, "an argument list")
        world:search(read("/proc/" .. pid .. "/environ"), "variables of " .. line, UNASKED)
        if line:find "neap%zrun%z" then
          local found = read("/proc/" .. pid .. "/limits")
          limits = found ~= "" and found or limits
        end
      end
    end
    if looks % 3 == 0 then world:search_state() end
    looks = looks + 1
    task.sleep(0.003)
  end
  local ok, problem = running:wait()
  if not ok then error(problem, 0) end
  return looks, limits
end

local function expect(status, result)
  if result.status == status then return end
  error(("exit %s\n%s\n%s"):format(tostring(result.status), result.out, result.err), 0)
end

describe("a secret", function()
  it("is nowhere but where it was put, and gone after a rollback", function()
    local world = repository.new(scratch(), { wait = "1" })
    expect(0, world:neap(nil, "plan", "demo/it", "--env", "lab"))
    expect(0, world:neap(nil, "plan", "demo/it", "--env", "lab", "--json"))
    local looks, limits = while_watching(world, function()
      expect(0, world:neap(nil, "run", "demo/it", "--env", "lab", "--yes"))
    end)
    truthy(looks > 5)
    matches(limits, "Max core file size%s+0%s+0")
    equal(fs.read(world.data .. "/conf"), ("user = me\ntoken = %s\nport = 2\n"):format(CANARIES.file))
    equal(fs.read(world.data .. "/whole"), CANARIES.variable)
    equal(fs.read(world.data .. "/variables"), ("x%s\nplain\n"):format(CANARIES.file))
    equal(fs.read(world.data .. "/picked"), CANARIES.picked .. " " .. CANARIES.command)
    expect(0, world:neap(nil, "log", "1", "--env", "lab"))
    expect(0, world:neap(nil, "log", "1", "--env", "lab", "--json"))
    for _, form in ipairs { "html", "markdown", "json", "junit" } do
      expect(0, world:neap(nil, "report", "1", "--env", "lab", "--format", form))
    end
    world:search_all()
  end)

  it("is in nothing that a rehearsal keeps or shows", function()
    local world = repository.new(scratch())
    local result = world:neap(nil, "rehearse", "demo/it", "--env", "lab", "--yes")
    matches(result.out, "REHEARSAL PASSED")
    expect(0, world:neap(nil, "report", "1", "--env", "lab"))
    world:search_all()
  end)

  it("shows in a plan as its mark, and what it replaces as another", function()
    local world = repository.new(scratch())
    local shown = world:neap(nil, "plan", "demo/it", "--env", "lab", "--full").out
    matches(shown, "%-token = %(secret %x%x%x%x%)")
    matches(shown, "%+token = %(secret %x%x%x%x%)")
    truthy(shown:match "%-token = (%b())" ~= shown:match "%+token = (%b())")
  end)

  it("is the same in a run as in its plan, and another one is drift", function()
    local world = repository.new(scratch())
    local id = json.decode(world:neap(nil, "plan", "demo/it", "--env", "lab", "--json").out).id
    fs.write(world.folder .. "/data/conf", "user = me\ntoken = canary-other\nport = 1\n", { mode = "0600" })
    local drifted = world:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--plan", id)
    equal(drifted.status, 8)
    world:neap(nil, "rollback", "1", "--env", "lab", "--yes")
    fs.write(world.folder .. "/data/conf", world:before(), { mode = "0600" })
    expect(0, world:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--plan", id))
    world:search_all()
  end)

  for _, fails in ipairs { "command", "message", "mistake" } do
    it("is not in what a failing run says: " .. fails, function()
      local world = repository.new(scratch(), { fails = fails })
      local result = world:neap(nil, "run", "demo/it", "--env", "lab", "--yes")
      equal(result.status, 5)
      matches(result.out .. result.err, "%(secret %x%x%x%x%)")
      world:search_all()
      expect(0, world:neap(nil, "rollback", "1", "--env", "lab", "--yes"))
      equal(fs.read(world.data .. "/conf"), world:before())
      equal(fs.exists(world.data .. "/whole"), false)
      equal(fs.exists(world.data .. "/variables"), false)
      world:search_all()
      world:neap(nil, "log", "1", "--env", "lab", "--json")
      world:search_all()
    end)
  end

  it("is in no event and no outcome as JSON", function()
    local world = repository.new(scratch(), { fails = "command" })
    equal(world:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--json").status, 5)
    equal(world:neap(nil, "resume", "1", "--env", "lab", "--yes", "--json").status, 5)
    world:search_all()
  end)

  it("is not shown where it is typed", function()
    local world = repository.new(scratch(), { typed = true })
    local shown = world:at_terminal(CANARIES.typed, "run", "demo/it", "--env", "lab", "--yes")
    matches(shown, "The typed one")
    equal(fs.read(world.data .. "/typed"), CANARIES.typed .. "\n")
    world:search_all()
  end)

  it("leaves nothing when its worker is killed", function()
    local world = repository.new(scratch())
    world:neap("journal:20:after=kill", "run", "demo/it", "--env", "lab", "--yes")
    world:search_all()
    expect(0, world:neap(nil, "resume", "1", "--env", "lab", "--yes"))
    world:search_all()
  end)

  for ordinal = 3, 24, 3 do
    for _, verb in ipairs { "resume", "rollback" } do
      it(("leaves nothing when the run is killed at commit %d, then %s"):format(ordinal, verb), function()
        local world = repository.new(scratch())
        local fault = ("journal:%d:%s=kill"):format(ordinal, ordinal % 2 == 0 and "before" or "after")
        local killed = world:neap(fault, "run", "demo/it", "--env", "lab", "--yes", "--foreground")
        world:search_all()
        local taken = world:neap(nil, verb, "1", "--env", "lab", "--yes")
        world:search_all()
        equal(killed.signal, "KILL")
        if (taken.out .. taken.err):find "closed" then return end
        expect(0, taken)
        equal(fs.read(world.data .. "/conf"), verb == "rollback" and world:before()
          or ("user = me\ntoken = %s\nport = 2\n"):format(CANARIES.file))
      end)
    end
  end
end)
