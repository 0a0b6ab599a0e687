--- The simulator: the real engine over a virtual clock, a store in memory and fake targets; tests/sim/run.sh starts it.
--- N schedules from seed 1 on, of which every PARTS-th from PART on; or as many as LONG seconds hold; or that of SEED.
local task = require "native.task"

local function number(name, default) return math.tointeger(os.getenv(name)) or tonumber(os.getenv(name)) or default end

local COUNT, SEED, LONG = number("N", 20000), number "SEED", number "LONG"
local PART, PARTS = number("PART", 1), number("PARTS", 1)
local FIRST = LONG and os.time() * 1000 or 0 -- a long run takes schedules that none took before
local TO_FIND = math.max(COUNT, 20000) -- schedules, among which each mutant must be found

--- The simulator with an engine of its own; with a mutant, that fault is in it.
local function load_simulator(mutant)
  for name in pairs(package.loaded) do
    if name:find "^neap%.engine%." or name:find "^neap%.targets%." or name == "neap.words" or name == "neap.environment"
      or name:find "^neap%.fakes%." or name:find "^tests%.sim%." and not name:find "mutants$" then
      package.loaded[name] = nil
    end
  end
  if mutant then require("tests.sim.mutate").install(mutant) end
  local schedule = require "tests.sim.schedule"
  if mutant then require("tests.sim.mutate").remove() end
  return schedule, require "tests.sim.spec"
end

local function show(made)
  local schedule = load_simulator()
  local smallest = SEED and made or require("tests.sim.shrink").smallest(made)
  local violation, world = schedule.run(smallest)
  require("tests.sim.show").schedule(smallest, violation or "no violation", world)
  return ("schedule %d: %s\nmake sim SEED=%d shows it"):format(made.seed, violation or "no violation", made.seed)
end

local function over(seed, began)
  if LONG then return task.now() - began > LONG end
  return seed > COUNT
end

it("holds over all schedules", function()
  local schedule, spec = load_simulator()
  if SEED then return show(spec.make(SEED)) end
  local began, count, crashes, outcomes = task.now(), 0, 0, { done = 0, ["rolled back"] = 0, abandoned = 0 }
  local seed, found = FIRST + PART, {}
  while not over(seed, began) and #found < 3 do
    local made = spec.make(seed)
    local violation, world = schedule.run(made)
    count, crashes, seed = count + 1, crashes + world.crashes, seed + PARTS
    if violation then found[#found + 1] = made else outcomes[world.outcome] = outcomes[world.outcome] + 1 end
  end
  print(("%d schedules, %d violations (%d crashes; %d runs done, %d rolled back, %d abandoned; %.0f s)"):format(count,
    #found, crashes, outcomes.done, outcomes["rolled back"], outcomes.abandoned, task.now() - began))
  for i, made in ipairs(found) do found[i] = show(made) end
  if #found > 0 then error(table.concat(found, "\n"), 0) end
end)

local function look_for(mutant)
  local schedule, spec = load_simulator(mutant)
  for seed = 1, TO_FIND do
    local violation = schedule.run(spec.make(seed))
    if violation then return seed, violation end
  end
end

local mutants, found, looked_for = require "tests.sim.mutants", 0, 0

for i, mutant in ipairs(mutants) do
  if i % PARTS == PART % PARTS and not SEED and not LONG then
    looked_for = looked_for + 1
    it("finds that " .. mutant.name, function()
      local seed, violation = look_for(mutant)
      if not seed then error(("not found in %d schedules"):format(TO_FIND), 0) end
      found = found + 1
      print(("found after %5d: %s (%s)"):format(seed, mutant.name, violation))
    end)
  end
end

if looked_for > 0 then
  it("finds every mutant", function()
    print(("%d of %d mutants found"):format(found, looked_for))
    equal(found, looked_for)
  end)
end
