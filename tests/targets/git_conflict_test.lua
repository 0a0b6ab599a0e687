--- What somebody else does to a branch or a remote between a change and its way back, and what a remote refuses.
local stage = require "tests.targets.git_stage"

local function new() return stage.new(scratch()) end

local function git(one, text) return (one:person("git " .. text):gsub("\n$", "")) end

local function remote(one, text) return (one:person("git " .. text, "remote.git"):gsub("\n$", "")) end

--- A run of these steps that has stopped at its end.
local function standing(one, steps)
  steps[#steps + 1] = 'fail("back")'
  local trial = one:trial(steps)
  trial:run "stopped"
  return trial
end

local function asked(trial)
  local question = trial.question
  return { question.kind, question.shown.before, question.shown.after, question.shown.now }
end

local EDIT = 'file.edit("local", git.path(R, "a"), function(text) return text .. "six\\n" end) '

describe("the way back", function()
  it("stops where somebody has committed since, with before, after and now, and loses nothing", function()
    local one = new()
    local before = git(one, "rev-parse master")
    local trial = standing(one, { EDIT .. 'git.commit(R, "a", "six")' })
    local after = git(one, "rev-parse master")
    one:person "echo seven >>a; git commit -qam seven"
    local now, picture = git(one, "rev-parse master"), one:picture()
    equal(trial:roll_back("rollback incomplete").exit, 8)
    equal(asked(trial), { "conflict", before, after, now })
    equal(one:picture(), picture)
    one:person "git reset -q --soft HEAD^; git restore --staged a; sed -i /seven/d a"
    trial:roll_back "rolled back"
    equal(git(one, "rev-parse master"), before)
    equal(git(one, "status --porcelain"), "?? untracked")
  end)

  it("stops where somebody has pushed since, and goes on once the person has chosen", function()
    local one = new()
    local before = remote(one, "rev-parse master")
    local trial = standing(one, { EDIT .. 'git.commit(R, "a", "six") git.push(R, "master")' })
    local after = remote(one, "rev-parse master")
    one:person("git pull -q; echo seven >>a; git commit -qam seven; git push -q", "colleague")
    local now = remote(one, "rev-parse master")
    equal(trial:roll_back("rollback incomplete").exit, 8)
    equal(asked(trial), { "conflict", before, after, now })
    equal(remote(one, "rev-parse master"), now)
    local outcome = require("neap.engine.rollback").start { state = trial.store, run = 1, on_conflict = "keep" }
    equal(outcome.status, "rollback incomplete")
    equal(remote(one, "rev-parse master"), now)
    equal(git(one, "rev-parse master"), before)
  end)

  it("puts back over what somebody has pushed where that is chosen, and not over what comes between", function()
    local one = new()
    local before = remote(one, "rev-parse master")
    local trial = standing(one, { EDIT .. 'git.commit(R, "a", "six") git.push(R, "master")' })
    one:person("git pull -q; echo seven >>a; git commit -qam seven; git push -q", "colleague")
    equal(require("neap.engine.rollback").start({ state = trial.store, run = 1, on_conflict = "overwrite" }).status,
      "rolled back")
    equal(remote(one, "rev-parse master"), before)
  end)

  it("does not take a merge back under files that a person is changing", function()
    local one = new()
    one:person 'git switch -q -c v1_1; echo 6 >>"b c"; git commit -qam six; git switch -q master'
    local trial = standing(one, { 'git.merge(R, "v1_1")' })
    one:person "echo mine >>a"
    local picture = one:picture()
    local outcome = trial:roll_back "rollback incomplete"
    matches(outcome.failure.message, "not committed in .*: a$")
    equal(one:picture(), picture)
    one:person "git checkout -q a"
    trial:roll_back "rolled back"
    equal(one:person 'cat "b c"', "b\n")
  end)

  it("leaves a file that was changed before it was committed as it was", function()
    local one = new()
    one:person "echo mine >>a"
    one:there_and_back { EDIT .. 'git.commit(R, "a", "six")' }
  end)

  it("brings a deleted branch of a remote back, also where only the remote had it", function()
    local one = new()
    one:person("echo 6 >>a; git commit -qam six; git push -q origin HEAD:theirs", "colleague")
    one:there_and_back({ 'git.delete_remote(R, "theirs")' }, function()
      equal(remote(one, "for-each-ref --format='%(refname)'"), "refs/heads/master")
    end)
  end)
end)

describe("a push", function()
  it("that is no way forward is refused, unless it is forced", function()
    local one = new()
    one:person("echo 6 >>a; git commit -qam six; git push -q", "colleague")
    local push = EDIT:gsub("six", "mine") .. 'git.commit(R, "a", "mine") git.push(R, "master"%s)'
    local trial = one:trial { push:format "" }
    equal(trial:run().status, "stopped")
    equal(trial:failure().kind, "conflict")
    matches(trial:failure().message, "commits that are not here")
    trial:roll_back "rolled back"
    one:there_and_back({ push:format ", { force = true }" }, function()
      equal(remote(one, "log --format=%s master"), "mine\nfirst")
    end)
  end)

  it("does not overwrite what is pushed while it is on its way", function()
    local one = new()
    one:person [[printf '#!/bin/sh\ncd ../colleague && git push -q\n' >.git/hooks/pre-push
      chmod +x .git/hooks/pre-push]]
    one:person("echo 6 >>a; git commit -qam theirs", "colleague")
    local trial = one:trial { EDIT .. 'git.commit(R, "a", "mine") git.push(R, "master", { force = true })' }
    local outcome = trial:run "stopped"
    equal(outcome.failure.kind, "conflict")
    matches(outcome.failure.message, "somebody else has pushed")
    equal(outcome.in_doubt, {})
    equal(remote(one, "log --format=%s -1 master"), "theirs")
  end)

  it("that the remote refuses says so", function()
    local one = new()
    one:person("git branch old; git config receive.denyDeletes true; git config receive.denyNonFastForwards true",
      "remote.git")
    local failure = one:refused 'git.delete_remote(R, "old")'
    equal(failure.kind, "denied")
    matches(failure.message, "old of origin was not pushed: the remote refuses it %(deletion prohibited%)")
    one:person "git commit -q --amend -m other"
    failure = one:refused 'git.push(R, "master", { force = true })'
    matches(failure.message, "non%-fast%-forward")
    one:person("printf '#!/bin/sh\necho not today >&2\nexit 1\n' >hooks/pre-receive; chmod +x hooks/pre-receive",
      "remote.git")
    failure = one:refused 'git.push(R, "master:new")'
    equal(failure.kind, "denied")
    matches(failure.output, "not today")
  end)

  it("whose rollback the remote refuses stops there, and nothing is lost", function()
    local one = new()
    one:person("git config receive.denyDeletes true", "remote.git")
    local trial = standing(one, { 'git.push(R, "master:new")' })
    local outcome = trial:roll_back "rollback incomplete"
    equal({ outcome.exit, outcome.failure.kind }, { 6, "denied" })
    one:person("git config receive.denyDeletes false", "remote.git")
    trial:roll_back "rolled back"
    equal(remote(one, "for-each-ref --format='%(refname)'"), "refs/heads/master")
  end)
end)

describe("a branch or tag", function()
  it("that is there already, elsewhere, is refused", function()
    local one = new()
    one:person "git branch v1; git tag t; git tag -a -m x u; git commit -q --allow-empty -m second"
    equal(one:refused('git.branch(R, "v1")').kind, "conflict")
    equal(one:refused('git.tag(R, "t")').kind, "conflict")
    equal(one:refused('git.tag(R, "u", "HEAD", { message = "x" })').kind, "conflict")
    one:trial({ 'git.branch(R, "v1", "t") git.tag(R, "t", "v1") git.tag(R, "u", "t", { message = "x" })' }):run "done"
    equal(git(one, "cat-file -t u"), "tag")
  end)

  it("that is not merged, or is checked out, is not deleted", function()
    local one = new()
    one:person "git branch o; git switch -q o; git commit -q --allow-empty -m second; git switch -q master"
    matches(one:refused('git.delete_branch(R, "o")').message, "holds commits")
    matches(one:refused('git.delete_branch(R, "master")').message, "checked out")
    one:person "git worktree add -q ../other-log o"
    matches(one:refused('git.delete_branch(R, "o", { force = true })').message, "another worktree")
    one:person "git worktree remove ../other-log"
    one:there_and_back { 'git.delete_branch(R, "o", { force = true })' }
  end)

  it("is pulled only forward", function()
    local one = new()
    one:person("echo 6 >>a; git commit -qam six; git push -q", "colleague")
    one:person 'echo 7 >>"b c"; git commit -qam seven'
    matches(one:trial({ 'git.pull(R)' }):run().failure.message, "each gone on")
    one:there_and_back({ 'git.fetch(R) git.rebase(R, "origin/master") git.pull(R)' }, function()
      equal(git(one, "log --format=%s"), "seven\nsix\nfirst")
    end)
  end)
end)
