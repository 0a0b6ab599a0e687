--- The process dies before and after each commit of the journal, in turn: then resume ends as if nothing had been, and
--- rollback leaves all as it was, here and at the remote.
local group   = require "neap.engine.group"
local mortal  = require "tests.targets.mortal"
local process = require "native.process"
local stage   = require "tests.targets.git_stage"

--- Each point takes some seconds: all of them where that is asked for, else some before and some after a commit.
local EVERY = process.environ "NEAP_EVERY_CRASH"

local STEPS = {
  'git.clone { git = "PATH/clone", remote = "file://PATH/remote.git" } git.branch(R, "v1", "master") ' ..
    'git.checkout(R, "v1") git.push(R, "v1", { set_upstream = true })',
  'file.edit("local", git.path(R, "a"), function(text) return text .. "six\\n" end) ' ..
    'git.commit(R, { "a", "d" }, "six") git.push(R, "v1")',
  'git.checkout(R, "master") git.pull(R) git.merge(R, "v1") git.push(R, "HEAD") ' ..
    'git.tag(R, "t", "v1", { message = "t" })',
  'git.delete_remote(R, "v1") git.delete_branch(R, "v1", { force = true }) git.branch(R, "side", "HEAD~1") ' ..
    'git.checkout(R, "side") git.rebase(R, "master~1")',
}

--- The colleague has pushed, so that the merge makes a commit.
local function new()
  local one = stage.new(scratch())
  one:person("sed -i s/one/1/ a; git commit -qam theirs; git push -q", "colleague")
  return one
end

local END = [[
git log --format='%s %T' --all | sort; git symbolic-ref HEAD; git status --porcelain
git for-each-ref --format='%(refname) %(tree) %(subject)'
git -C ../remote.git for-each-ref --format='%(refname) %(tree)'
git config --get-regexp '^branch'; git log --format=%s -1 HEAD; cat a; ls ../clone .git; git worktree list | wc -l
]]

--- What a finished run has left, but for names of commits, which hold the time.
local function finish(one) return (one:person(END):gsub("Merge[^\n]*", "")) end

local function trial_at(one, at) return mortal.run(one:trial(STEPS), at) end

local function points_of_run()
  local one = new()
  local _, state, outcome = trial_at(one, 0)
  equal(outcome and outcome.status, "done")
  return state.points, finish(one)
end

local function each_crash(wanted, check)
  local points, last = points_of_run()
  truthy(points > 60)
  local list = {}
  for at = 1, points do
    if wanted(at) then list[#list + 1] = at end
  end
  local place = scratch()
  local failures = group.each(list, { at_a_time = 2, max_failures = 3 }, function(at)
    local folder = ("%s/%d"):format(place, at)
    process.run({ "mkdir", folder }, { reads = true })
    local one = stage.new(folder)
    one:person("sed -i s/one/1/ a; git commit -qam theirs; git push -q", "colleague")
    local before = one:picture()
    local trial, state = trial_at(one, at)
    equal(state.dead, true)
    if not select(2, trial.store:lease()) then return equal(at < 3 or at > points - 2, true) end
    local ok, problem = pcall(check, one, trial, before, last)
    if not ok then error(("at point %d: %s"):format(at, tostring(problem)), 0) end
    process.run({ "rm", "-rf", folder }, { reads = true })
  end)
  if failures[1] then error(tostring(failures[1].failure), 0) end
end

describe("after a crash at any point", function()
  it("resume ends as an undisturbed run does", function()
    each_crash(function(at) return EVERY or at % 16 == 12 end, function(one, trial, _, last)
      local outcome = trial:resume()
      equal({ outcome.status, outcome.failure and outcome.failure.message }, { "done" })
      equal(finish(one), last)
    end)
  end)

  it("rollback leaves all as it was", function()
    each_crash(function(at) return EVERY or at % 16 == 5 end, function(one, trial, before)
      trial:roll_back "rolled back"
      equal(one:picture(), before)
    end)
  end)
end)
