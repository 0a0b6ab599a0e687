--- Every point at which a process can die, in turn: before and after each call to a target and each commit.
local world = require "tests.engine.world"

local PROCEDURE = [[
phase "Prepare"
local found = step "Look" { run = function() return { n = world.read "replicas" } end }
step "Scale down" { run = function()
  world.set("replicas", 0)
  world.event("note", found.result.n, { undo = "unnote" })
end }
phase "Switch"
step "Proxies" { on = { "p1", "p2" }, at_a_time = 1, run = function(proxy)
  world.reloading(proxy, function()
    world.edit(proxy, function(now) return (now:gsub("old", world.read "replicas" == 0 and "new" or "bad")) end)
  end)
end }
await "Settled" { check = function() return world.read "p2" == "to new" end, every = "1s" }
step "Own" {
  run = function() world.set("flag", true) return "was off" end,
  undo = function() world.set("flag", false) end,
}
]]
local FIRST = { replicas = 3, p1 = "to old", p2 = "to old", flag = false }
local LAST = { replicas = 0, p1 = "to new", p2 = "to new", flag = true }

local function count(log, line)
  local n = 0
  for _, one in ipairs(log) do n = n + (one == line and 1 or 0) end
  return n
end

--- Crashes at each point of the first life, then at each `stride`th of the second; calls check(world) at the end.
local function each_crash(second, check)
  local points = 0
  for at = 1, 1000 do
    local w = world.new(PROCEDURE, FIRST)
    w.crash_at = at
    local finished = pcall(w.start, w)
    if not w.dead then
      truthy(finished)
      break
    end
    points = points + 1
    if select(2, w.store:lease()) then second(w) check(w, at) else equal(w.values, #w.log == 0 and FIRST or LAST) end
  end
  truthy(points > 50)
  return points
end

describe("after a crash at any point", function()
  it("resume ends as an undisturbed run does, and nothing is made twice", function()
    each_crash(function(w) equal(w:resume().status, "done") end, function(w)
      equal(w.values, LAST)
      equal({ w.loaded.p1, w.loaded.p2 }, { "to new", "to new" })
      equal(count(w.log, "note(3)"), 1)
      equal(count(w.log, "replicas=0"), 1)
    end)
  end)

  it("rollback puts everything back", function()
    each_crash(function(w) equal(w:rollback().status, "rolled back") end, function(w)
      equal(w.values, FIRST)
      equal(w.loaded.p1 or "to old", "to old")
      equal(count(w.log, "note(3)"), count(w.log, "undo note(unnote)"))
    end)
  end)

  it("a second crash while resuming changes nothing of that", function()
    for first = 5, 45, 7 do
      for second = 1, 60, 3 do
        local w = world.new(PROCEDURE, FIRST)
        w.crash_at = first
        pcall(w.start, w)
        pcall(w.resume_crashing, w, second)
        w.dead, w.crash_at = false, nil
        if select(2, w.store:lease()) then equal(w:resume().status, "done") end
        equal(w.values, LAST)
        equal(count(w.log, "note(3)"), 1)
      end
    end
  end)

  it("a second crash while rolling back changes nothing of that", function()
    for first = 20, 60, 9 do
      for second = 1, 60, 3 do
        local w = world.new(PROCEDURE, FIRST)
        w.crash_at = first
        pcall(w.start, w)
        pcall(w.rollback_crashing, w, second)
        w.dead, w.crash_at = false, nil
        if select(2, w.store:lease()) then equal(w:rollback().status, "rolled back") end
        equal(w.values, FIRST)
      end
    end
  end)
end)
