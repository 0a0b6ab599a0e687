--- The release, as it is shipped, killed on its way into a system call: by strace, which needs no fail points in it. A
--- seeded sample of all calls that a plan, a run and a rollback make, and of pairs: a second kill in the resume or the
--- rollback that follows the first. With NEAP_SOAK every call, and a pair to each.
local fs         = require "native.fs"
local group      = require "neap.engine.group"
local repository = require "tests.kills.repository"
local task       = require "native.task"

local RELEASE = "build/neap"
local PLAN = { "plan", "demo/it", "--env", "lab" }
local RUN = { "run", "demo/it", "--env", "lab", "--yes", "--foreground" }
local RESUME = { "resume", "1", "--env", "lab", "--yes", "--foreground" }
local ROLLBACK = { "rollback", "1", "--env", "lab", "--yes", "--foreground" }
local FIRST = { a = "old" } -- the targets before any run
local SEED = 20261121
local soak, budget = os.getenv "NEAP_SOAK", tonumber(os.getenv "NEAP_SOAK_SECONDS")

--- What the counters hold after a run that was taken back, where it had come to them: a command's undo is a line too.
local BACK = { count = "saw old\nnot saw old\n", ["count-x"] = "x\nnot x\n", ["count-y"] = "y\nnot y\n" }

local function traced(world, verb, options)
  local argv = { "strace", "-qq", table.unpack(options) }
  argv[#argv + 1] = RELEASE
  table.move(verb, 1, #verb, #argv + 1, argv)
  return world:program(argv)
end

local function killed_at(world, verb, call)
  local inject = ("inject=%s:signal=KILL:when=%d"):format(call.name, call.ordinal)
  local result = traced(world, verb, { "-o", "/dev/null", "-e", "trace=" .. call.name, "-e", inject })
  return result.signal == "KILL" or result.status == 137
end

local function program(world, verb) return world:program { RELEASE, table.unpack(verb) } end

--- A world in which a command is to be killed; before(world) has it done something already.
local function prepared(folder, before)
  local world = repository.new(folder)
  if before then before(world) end
  return world
end

--- Each call of an undisturbed command as { name, ordinal among those of its name }, from `mark` in the trace on.
local function calls_of(world, verb, mark)
  local log = world.folder .. "/calls"
  equal(traced(world, verb, { "-o", log }).status, 0)
  local seen, list, begun = {}, {}, false
  for line in fs.read(log):gmatch "[^\n]+" do
    local name = line:match "^(%l[%w_]*)%("
    begun = begun or line:find(mark, 1, true) ~= nil
    if name then
      seen[name] = (seen[name] or 0) + 1
      if begun and name ~= "exit_group" then list[#list + 1] = { name = name, ordinal = seen[name] } end
    end
  end
  return list
end

local random = SEED
local function random_of(list)
  random = (random * 1103515245 + 12345) % 2147483648
  return list[1 + random % #list]
end

local function sampled(list, count)
  if soak then return list end
  local chosen = {}
  for i = 1, count do
    local first, last = (i - 1) * #list // count, i * #list // count
    chosen[i] = random_of { table.unpack(list, first + 1, last) }
  end
  return chosen
end

local function check(world, expected, what)
  local now = world:world()
  for name, text in pairs(expected) do
    if now[name] ~= text then error(("%s: %s is %q"):format(what, name, tostring(now[name])), 0) end
  end
  for name in pairs(now) do
    if not expected[name] then error(("%s: there is %s"):format(what, name), 0) end
  end
end

--- What was made is taken back and what was not made is not there, however far the run had come.
local function check_taken_back(world, what)
  local now = world:world()
  local reloaded = now["a.loaded"] or "old"
  if now.a ~= "old" or now.x or now.y or reloaded ~= "old" then error(what .. ": a flag is not as before", 0) end
  for name, text in pairs(BACK) do
    if (now[name] or "") ~= "" and now[name] ~= text then
      error(("%s: %s is %q"):format(what, name, now[name]), 0)
    end
  end
end

--- Ends what was killed: resumes it, or runs it where it had not begun.
local function finish(world)
  local resumed = program(world, RESUME)
  local text = resumed.out .. resumed.err
  if resumed.status == 0 or text:find "closed" then return end
  if not text:find "no run" then error(text, 0) end
  equal(program(world, RUN).status, 0)
end

--- Rolls back; says whether the run had come to its end all the same, as where the kill did not fall.
local function take_back(world)
  local back = program(world, ROLLBACK)
  local text = back.out .. back.err
  if back.status ~= 0 and not text:find "closed" and not text:find "no run" then error(text, 0) end
  return text:find("closed: done", 1, true) ~= nil
end

--- Kills at each of the calls and lets `after` bring it to its end; says how many kills fell.
local function at_each(title, list, after)
  local place, began, fell, done = scratch(), task.now(), 0, 0
  local failures = group.each(list, { at_a_time = 2, max_failures = 3 }, function(point, index)
    if budget and task.now() - began > budget then return end
    local world = prepared(("%s/%d"):format(place, index), point.before)
    if killed_at(world, point.verb, point.call) then fell = fell + 1 end
    after(world, point, ("%s %s %d"):format(point.verb[1], point.call.name, point.call.ordinal))
    done = done + 1
    fs.remove_tree(world.folder)
  end)
  if soak then print(("%s: %d of %d points, %d kills fell"):format(title, done, #list, fell)) end
  if failures[1] then error(tostring(failures[1].failure), 0) end
  truthy(fell >= done // 2) -- how often a call is made differs a little from run to run
end

local function points(verb, list, before)
  local made = {}
  for i, call in ipairs(list) do made[i] = { verb = verb, call = call, before = before } end
  return made
end

--- Makes worlds in which a run was killed at one of its commits: in the middle, or shortly before its end. Branches that
--- write at the same time share a commit, sometimes one more than before.
local function killed_run(near_end)
  local counting = repository.new(scratch())
  local commits = counting:points(function() counting:neap(nil, table.unpack(RUN)) end)["journal before"]
  local fault = ("journal:%d:after=kill"):format(near_end and commits - 6 or commits // 2)
  return function(world) equal(world:neap(fault, table.unpack(RUN)).signal, "KILL") end
end

describe("the release, killed on its way into a system call", function()
  it("is resumed as if nothing had been, with one line of each command", function()
    local list = calls_of(prepared(scratch()), RUN, "journal.db")
    at_each("run", points(RUN, sampled(list, 100)), function(world, _, what)
      finish(world)
      check(world, repository.LAST, what)
    end)
  end)

  it("while it plans, has changed nothing, and plans again", function()
    local list = calls_of(prepared(scratch()), PLAN, "lab.yml")
    at_each("plan", points(PLAN, sampled(list, 20)), function(world, _, what)
      check(world, FIRST, what)
      equal(program(world, PLAN).status, 0)
      check(world, FIRST, what)
    end)
  end)

  it("while it rolls back, is rolled back again to what was before", function()
    local before = killed_run(true)
    local list = calls_of(prepared(scratch(), before), ROLLBACK, "journal.db")
    at_each("rollback", points(ROLLBACK, sampled(list, 40), before), function(world, _, what)
      take_back(world)
      check_taken_back(world, what)
      equal(world:world().count, BACK.count)
    end)
  end)

  it("and killed again while it resumes or rolls back, ends there all the same", function()
    local first = calls_of(prepared(scratch()), RUN, "journal.db")
    local second = {
      [RESUME] = calls_of(prepared(scratch(), killed_run(false)), RESUME, "journal.db"),
      [ROLLBACK] = calls_of(prepared(scratch(), killed_run(true)), ROLLBACK, "journal.db"),
    }
    local list = points(RUN, sampled(first, 40))
    for i, point in ipairs(list) do
      point.again = i % 2 == 0 and ROLLBACK or RESUME
      point.second = random_of(second[point.again])
    end
    at_each("pairs", list, function(world, point, what)
      what = ("%s, then %s %s %d"):format(what, point.again[1], point.second.name, point.second.ordinal)
      killed_at(world, point.again, point.second)
      if point.again == RESUME then
        finish(world)
        check(world, repository.LAST, what)
      elseif take_back(world) then
        check(world, repository.LAST, what)
      else
        check_taken_back(world, what)
      end
    end)
  end)
end)
