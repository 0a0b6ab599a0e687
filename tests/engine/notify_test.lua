--- Programs that are told of a run: with the event on their input, beside the run, and without a say in it.
local fs     = require "native.fs"
local json   = require "native.json"
local notify = require "neap.engine.notify"
local world  = require "tests.engine.world"

local TEXT = [[
  step "One" { run = function() world.set("a", 1) end }
  step "Two" { run = function() if not world.read "go" then fail "no" end end }]]

--- A world whose environment tells a program that adds what it reads to a file; returns both.
local function telling(list)
  local w = world.new(TEXT)
  w.notify = list
  return w
end

local function start(w, more)
  local options = { environment = { name = "test/lab", group = "test", hosts = {}, values = {}, policy = {},
    notify = w.notify } }
  for key, value in pairs(more or {}) do options[key] = value end
  return w:start(options)
end

local function told(path)
  local list = {}
  for line in (fs.exists(path) and fs.read(path) or ""):gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

local function notes(w)
  local list = {}
  for _, record in ipairs(select(2, w:state()):records(1)) do
    if record.kind == "notify" then list[#list + 1] = record.text end
  end
  return list
end

local function appending(path) return { "sh", "-c", 'cat >>"$1"', "sh", path } end

describe("notify", function()
  it("tells of start, failure and end, with who, what and where", function()
    local path = scratch() .. "/told"
    local w = telling { { command = appending(path) } }
    start(w, { actor = "ann@jump" })
    w.values.go = true
    equal(w:resume().status, "done")
    local list = told(path)
    local events = {}
    for _, one in ipairs(list) do events[one.event] = one end
    equal(events.start,
      { event = "start", run = 1, environment = "test/lab", procedure = "test/it", actor = "ann@jump" })
    equal({ events.failed.path, events.failed.message, events.done.outcome }, { "Two", "no", "done" })
    equal(notes(w), { "told sh: start", "told sh: failed" })
  end)

  it("tells only what was asked for", function()
    local path = scratch() .. "/told"
    local w = telling { { events = { "done" }, command = appending(path) } }
    w.values.go = true
    start(w)
    equal({ #told(path), told(path)[1].event }, { 1, "done" })
  end)

  it("changes nothing in the run when a program fails or is not there", function()
    local w = telling { { events = { "start" }, command = { "sh", "-c", "exit 3" } },
      { events = { "start" }, command = { "/nowhere/to/be/found" } } }
    w.values.go = true
    equal(start(w).status, "done")
    table.sort(w.log)
    equal(w.log, { "a=1" })
  end)

  it("notes what failed", function()
    local w = telling { { events = { "start" }, command = { "sh", "-c", "exit 3" } } }
    start(w)
    equal(notes(w), { "told sh: start, which failed: exit status 3" })
  end)

  it("says what is wrong with a list of an environment", function()
    equal(notify.mistake { { events = { "done" }, command = { "x" } } }, nil)
    matches(notify.mistake { { command = "x" } }, "notify 1 lacks command, an argument list")
    matches(notify.mistake { { command = { "x" }, events = { "dne" } } }, "no event 'dne'. Did you mean 'done'")
    matches(notify.mistake { { comand = { "x" } } }, "no key 'comand'. Did you mean 'command'")
  end)
end)
