--- What a plan shows of changes to repositories, and that it makes none.
local stage = require "tests.targets.git_stage"

local function new() return stage.new(scratch()) end

local function lines_of(effects)
  local lines = {}
  for i, one in ipairs(effects) do
    lines[i] = ("%s %s %s"):format(one.sign, one.certainty, one.show:gsub("^local /.-/work/?%s?", ""))
  end
  return lines
end

local EDIT = 'file.edit("local", git.path(R, "a"), function(text) return (text:gsub("one", "1")) end) ' ..
  'file.write("local", git.path(R, "new ü"), "new\\n") file.remove("local", git.path(R, "b c")) '

local GUIDE = {
  'git.branch(R, "v1_1", "master") git.checkout(R, "v1_1") git.push(R, "v1_1", { set_upstream = true })',
  EDIT .. 'git.commit(R, { "a", "new ü", "b c" }, "Changes for v1.1") git.push(R, "v1_1")',
  'git.checkout(R, "master") git.pull(R) git.merge(R, "v1_1") git.push(R, "master")',
  'git.delete_remote(R, "v1_1") git.delete_branch(R, "v1_1")',
}

local PLANNED = {
  "+ exact v1_1", "~ exact checked out", "+ exact v1_1 of origin", "+ exact what v1_1 follows",
  "~ exact a", "+ exact new ü", "- exact b c", "> exact commit", "~ exact v1_1", "~ exact v1_1 of origin",
  "~ exact checked out", "= exact master", "~ exact master", "~ exact master of origin",
  "- exact v1_1 of origin", "- exact v1_1", "- exact what v1_1 follows",
}

describe("a plan", function()
  it("of a whole upgrade of a repository is exact, but for the name of the commit to be", function()
    local one = new()
    local effects, ended = one:plan(GUIDE)
    equal(ended, {})
    equal(lines_of(effects), PLANNED)
    equal(effects[8].says, '"Changes for v1.1": M a, D b c, A new ü')
    local head = one:person("git log --format='%h %s'"):gsub("\n$", "")
    for _, at in ipairs { 9, 10, 13, 14 } do
      equal({ at, effects[at].before_text }, { at, head .. "\n" })
      equal({ at, effects[at].after_text }, { at, head ..
        '\n<known after 1.2> "Changes for v1.1"\n  M a\n  D b c\n  A new ü\n' })
    end
  end)

  it("is what a run then does, which no difference in names stops", function()
    local one = new()
    local trial = one:trial(GUIDE)
    local plan = trial:plan()
    trial = one:trial(GUIDE)
    local outcome = trial:start { plan = plan }
    equal({ outcome.status, outcome.failure and outcome.failure.message }, { "done" })
    equal(one:person "git log --format=%s; git status --porcelain; git branch --format='%(refname)'",
      "Changes for v1.1\nfirst\n?? untracked\nrefs/heads/master\n")
    equal(one:person("git show master:a | head -n 1; git for-each-ref --format='%(refname)'", "remote.git"),
      "1\nrefs/heads/master\n")
  end)

  it("stops the run where somebody has committed to a branch since, also to one that is only read", function()
    local one = new()
    local trial = one:trial(GUIDE)
    local plan = trial:plan()
    one:person "git commit -q --allow-empty -m other"
    local outcome = one:trial(GUIDE):start { plan = plan }
    equal({ outcome.status, outcome.failure.code }, { "stopped", "drift" })
    equal(one:person "git branch --format='%(refname)'", "refs/heads/master\n")
    one:person "git switch -q -c o; git commit -q --allow-empty -m o; git switch -q master"
    plan = one:trial({ 'git.merge(R, "o")' }):plan()
    one:person "git switch -q o; git commit -q --allow-empty -m p; git switch -q master"
    outcome = one:trial({ 'git.merge(R, "o")' }):start { plan = plan }
    equal({ outcome.status, outcome.failure.code }, { "stopped", "drift" })
  end)

  it("knows the tree of the commit to be", function()
    local one = new()
    one:person "echo more >>d/ü; chmod +x a; rm untracked"
    local steps = { EDIT .. 'git.commit(R, ".", "one")',
      'file.write("local", git.path(R, "d/x"), "x", { mode = "0755" }) git.commit(R, { "d" }, "two")' }
    local trees = {}
    local trial = one:trial(steps)
    local kinds = require("neap.engine.kinds").find(nil, "git.commit")
    local says = kinds.says
    kinds.says = function(data)
      trees[#trees + 1] = data.tree
      return says(data)
    end
    local ok, problem = pcall(trial.plan, trial)
    kinds.says = says
    if not ok then error(problem, 0) end
    one:trial(steps):run "done"
    equal(one:person "git log --reverse --format=%T --skip=0 HEAD~2..HEAD", table.concat(trees, "\n") .. "\n")
  end)

  it("shows the commits and files of a push, merge and reset between commits that are there", function()
    local one = new()
    one:person [[git switch -q -c o; echo 6 >>a; git commit -qam six; git switch -q master; git switch -q -c p
      echo 7 >>"b c"; git commit -qam seven]]
    local effects = one:plan { 'git.push(R, "p:master") git.merge(R, "o") git.checkout(R, "o") git.reset(R, "p")' }
    equal(lines_of(effects), { "~ exact master of origin", "> exact merge commit", "~ exact p", "~ exact checked out",
      "~ exact o" })
    matches(effects[1].after_text, "^%x+ first\n%x+ seven\n b c | 1 %+\n")
    matches(effects[3].after_text, 'seven\n<known after 1.1> "Merge o into p"\n')
    matches(effects[5].before_text, "six\n")
  end)

  it("finds the conflict of a merge", function()
    local one = new()
    one:person [[git switch -q -c o; echo 6 >>a; git commit -qam six; git switch -q master
      echo 7 >>a; git commit -qam 7]]
    local trial = one:trial { 'git.merge(R, "o")' }
    local before = one:picture()
    local failure = raises(trial.plan, trial)
    equal({ failure.kind, failure.output }, { "conflict", "a" })
    equal(one:picture(), before)
  end)

  it("names changed files that a checkout or merge would refuse", function()
    local one = new()
    one:person "git switch -q -c o; echo 6 >>a; git commit -qam six; git switch -q master; echo mine >>a"
    for _, step in ipairs { 'git.checkout(R, "o")', 'git.merge(R, "o")' } do
      local trial = one:trial { step }
      matches(raises(trial.plan, trial).message, "not committed in .*: a$")
    end
    equal(#one:plan { 'git.commit(R, "a", "mine") git.checkout(R, "o")' }, 3)
  end)

  it("ends a step where it would have to guess", function()
    local one = new()
    one:person "git switch -q -c o; echo 6 >>a; git commit -qam six; git switch -q master"
    local _, ended = one:plan { 'git.checkout(R, "o") file.write("local", git.path(R, "b c"), "x")',
      'file.edit("local", git.path(R, "a"), function(text) return text .. "7\\n" end)',
      'git.commit(R, ".", "x")' }
    equal(ended, { "known after 1.1", "known after the files of the repository have changed" })
    _, ended = one:plan { EDIT .. 'git.commit(R, ".", "x") git.merge(R, "o")' }
    equal(ended, { "known after 1.1" })
    _, ended = one:plan { 'git.clone { git = "PATH/c", remote = "file://PATH/remote.git" }',
      'git.checkout({ git = "PATH/c" }, "master")' }
    equal(ended, { "known after the repository is cloned" })
  end)

  it("knows what is at a remote once that is fetched or pushed, and that a deleted branch is gone", function()
    local one = new()
    one:person("git branch gone; echo 6 >>a; git commit -qam six; git push -q", "colleague")
    one:person "git branch gone"
    local _, ended = one:plan { 'git.fetch(R)', 'git.merge(R, "origin/master")' }
    equal(ended, { "known after an earlier step" })
    one:person "git fetch -q; git update-ref refs/remotes/origin/master HEAD"
    local effects = one:plan { 'git.fetch(R)', 'git.merge(R, "origin/master")' }
    matches(effects[2].after_text, "first\n%x+ six\n")
    effects = one:plan { 'git.branch(R, "n", "master") git.push(R, "n") git.branch(R, "m", "origin/n")' }
    equal(effects[3].after, effects[1].after)
    local trial = one:trial { 'git.delete_branch(R, "gone") git.branch(R, "m", "gone")' }
    equal(raises(trial.plan, trial).kind, "missing")
  end)

  it("of a pull shows what the remote has, fetched or not", function()
    local one = new()
    one:person("echo 6 >>a; git commit -qam six; git push -q", "colleague")
    local theirs = one:person("git rev-parse HEAD", "colleague"):match "%x+"
    local effects = one:plan { "git.pull(R)" }
    equal(lines_of(effects), { "> exact fetch", "~ exact master" })
    equal(effects[2].after, theirs)
    one:person "git fetch -q"
    effects = one:plan { "git.pull(R)" }
    equal(lines_of(effects), { "~ exact master" })
    matches(effects[1].after_text, "first\n%x+ six\n a | 1 %+\n")
  end)
end)
