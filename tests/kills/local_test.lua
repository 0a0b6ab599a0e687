--- kill -9 at each commit of the journal and before and after each call to a target, in turn: a real process, real files
--- and commands of this machine. Needs the build with fail points (make fault).
local repository = require "tests.kills.repository"

local function words(count) return select(2, count:gsub("\nnot", "")), select(2, ("\n" .. count):gsub("\n[^n]", "")) end

--- Kills a run at each point, in two rows side by side; then calls check(world, fault).
local function each_kill(check)
  local first = repository.new(scratch())
  local passed = first:points(function()
    equal(first:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--foreground").status, 0)
  end)
  equal(first:world(), repository.LAST)
  local list = repository.faults(passed)
  truthy(#list > 60)
  local killed = repository.kill_each(scratch(), list, function(world, fault)
    return world:neap(fault, "run", "demo/it", "--env", "lab", "--yes", "--foreground")
  end, check, function(world, fault) equal({ fault, world:world() }, { fault, repository.LAST }) end)
  truthy(killed >= #list - 4) -- branches that write at the same time share a commit, sometimes one more than before
end

local function runs(world, verb)
  local result = world:neap(nil, verb, "1", "--env", "lab", "--yes", "--foreground")
  if result.status == 0 then return end
  -- killed before the run was there, or after it was closed: there is nothing to take up
  local text = result.out .. result.err
  if text:find "no run" then
    equal(world:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--foreground").status, 0)
    return "new"
  end
  if text:find "closed" then return "closed" end
  error(("%s: exit %s\n%s"):format(verb, tostring(result.status), text), 0)
end

describe("a run that is killed", function()
  it("ends after resume as if nothing had been, with one line of each command", function()
    each_kill(function(world)
      runs(world, "resume")
      equal(world:world(), repository.LAST)
      equal(world:witnesses_left(), 0)
    end)
  end)

  it("is taken back whole by rollback", function()
    each_kill(function(world)
      local before = runs(world, "rollback")
      if before then return end
      local now = world:world()
      equal({ now.a, now.x, now.y }, { "old" })
      for _, name in ipairs { "count", "count-x", "count-y" } do
        local undone, done = words(now[name] or "")
        equal(undone, done)
        truthy(done <= 1)
      end
      truthy(not now["a.loaded"] or now["a.loaded"] == "old")
      equal(world:witnesses_left(), 0)
    end)
  end)
end)
