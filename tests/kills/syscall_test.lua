--- The release, as it is shipped, killed on its way into a system call: by strace, which needs no fail points in it. A
--- seeded sample of all calls that a run makes; with NEAP_SOAK every one.
local fs         = require "native.fs"
local group      = require "neap.engine.group"
local repository = require "tests.kills.repository"

local RELEASE = "build/neap"
local RUN = { "run", "demo/it", "--env", "lab", "--yes", "--foreground" }
local SAMPLE, SEED = 100, 20261121

local function traced(world, options)
  local argv = { "strace", "-qq", table.unpack(options) }
  argv[#argv + 1] = RELEASE
  table.move(RUN, 1, #RUN, #argv + 1, argv)
  return world:program(argv)
end

--- Each call of an undisturbed run as { name, ordinal among those of its name }, from the journal's first file on.
local function calls_of_a_run(folder)
  local world = repository.new(folder)
  local log = folder .. "/calls"
  equal(traced(world, { "-o", log }).status, 0)
  local seen, list, begun = {}, {}, false
  for line in fs.read(log):gmatch "[^\n]+" do
    local name = line:match "^(%l[%w_]*)%("
    begun = begun or line:find("journal.db", 1, true) ~= nil
    if name then
      seen[name] = (seen[name] or 0) + 1
      if begun and name ~= "exit_group" then list[#list + 1] = { name = name, ordinal = seen[name] } end
    end
  end
  return list
end

local function sampled(list)
  if os.getenv "NEAP_SOAK" then return list end
  local random, chosen = SEED, {}
  for i = 1, SAMPLE do
    random = (random * 1103515245 + 12345) % 2147483648
    local first = (i - 1) * #list // SAMPLE
    chosen[i] = list[first + 1 + random % (#list // SAMPLE)]
  end
  return chosen
end

--- Ends what was killed: resumes it, or runs it where it had not begun.
local function finish(world)
  local resumed = world:program { RELEASE, "resume", "1", "--env", "lab", "--yes", "--foreground" }
  if resumed.status == 0 then return end
  local text = resumed.out .. resumed.err
  if text:find "closed" then return end
  if not text:find "no run" then error(text, 0) end
  equal(world:program({ RELEASE, table.unpack(RUN) }).status, 0)
end

describe("the release, killed on its way into a system call", function()
  it("is resumed as if nothing had been, with one line of each command", function()
    local place, killed = scratch(), 0
    local list = sampled(calls_of_a_run(place .. "/first"))
    local failures = group.each(list, { at_a_time = 2, max_failures = 3 }, function(call, index)
      local world = repository.new(("%s/%d"):format(place, index))
      local inject = ("inject=%s:signal=KILL:when=%d"):format(call.name, call.ordinal)
      local result = traced(world, { "-o", "/dev/null", "-e", "trace=" .. call.name, "-e", inject })
      if result.signal == "KILL" or result.status == 137 then
        killed = killed + 1
        finish(world)
      end
      local now = world:world()
      for name, text in pairs(repository.LAST) do
        if now[name] ~= text then
          error(("%s %d: %s is %q"):format(call.name, call.ordinal, name, tostring(now[name])), 0)
        end
      end
      fs.remove_tree(world.folder)
    end)
    if failures[1] then error(tostring(failures[1].failure), 0) end
    truthy(killed >= #list // 2) -- how often a call is made differs a little from run to run
  end)
end)
