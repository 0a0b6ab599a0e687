--- Each change of a repository forward and back, over file:// and over ssh, and what it refuses.
local process = require "native.process"
local sshd    = dofile("tests/sshd.lua")
local stage   = require "tests.targets.git_stage"

local server

after_each(function()
  if server then server.stop() end
  server = nil
end)

local function new() return stage.new(scratch()) end

--- A stage whose remote is behind a real sshd.
local function over_ssh()
  local folder, place = scratch(), scratch()
  server = sshd.far(folder)
  local one = stage.new(place)
  one:person(('git config core.sshCommand "ssh -F none -i %s/id -o UserKnownHostsFile=%s/known -o BatchMode=yes"\n' ..
    'git remote set-url origin "ssh://%s@127.0.0.1:%d%s/remote.git"'):format(folder, folder, process.user().name,
    server.port, place))
  return one
end

local function git(one, text) return (one:person("git " .. text):gsub("\n$", "")) end

local function remote(one, text) return (one:person("git " .. text, "remote.git"):gsub("\n$", "")) end

local EDIT = 'file.edit("local", git.path(R, "a"), function(text) return text .. "six\\n" end) ' ..
  'file.write("local", git.path(R, "d/new ü"), "new\\n") file.remove("local", git.path(R, "b c")) '
local COMMIT = EDIT .. 'git.commit(R, { "a", "d", "b c" }, "Changes for v1.1") '

describe("a remote over ssh", function()
  it("gets a branch with its commits, and loses it again; another is taken away and comes back", function()
    local one = over_ssh()
    one:person "git push -q ../remote.git master:old"
    one:there_and_back({ COMMIT .. 'git.push(R, "master:v1_1", { set_upstream = true }) git.delete_remote(R, "old")' },
      function()
      equal(remote(one, "for-each-ref --format='%(refname) %(subject)'"),
        "refs/heads/master first\nrefs/heads/v1_1 Changes for v1.1")
    end)
  end)

  it("that does not let in is named, and nobody is asked for a password", function()
    local one = over_ssh()
    one:person "git config --unset core.sshCommand"
    local failure = one:refused 'git.push(R, "master:other")'
    equal({ failure.kind, failure.host }, { "auth", "local" })
  end)
end)

describe("a remote", function()
  it("gets a branch, its commits and a tag, and loses them again", function()
    new():there_and_back({
      'git.branch(R, "v1_1", "master") git.checkout(R, "v1_1") git.push(R, "v1_1", { set_upstream = true })',
      COMMIT .. 'git.push(R, "HEAD")',
      'git.tag(R, "v1", "v1_1", { message = "release" }) git.push(R, "v1") git.push(R, "v1_1:other")',
    }, function(one)
      equal(remote(one, "show v1_1:a"), "one\ntwo\nthree\nfour\nfive\nsix")
      equal(remote(one, "-c core.quotePath=false ls-tree -r --name-only other"), "a\nd/new ü\nd/ü")
      equal(remote(one, "cat-file -t v1"), "tag")
      equal(git(one, "rev-parse v1_1@{upstream}"), remote(one, "rev-parse v1_1"))
      equal(git(one, "status --porcelain"), "?? untracked")
    end)
  end)

  it("loses a branch that is merged, and gets it back", function()
    local one = new()
    one:person "git switch -q -c v1_1; echo 6 >>a; git commit -qam six; git push -q -u origin v1_1"
    one:person "git switch -q master"
    one:there_and_back({ 'git.merge(R, "v1_1") git.push(R, "master")',
      'git.delete_remote(R, "v1_1") git.delete_branch(R, "v1_1")' }, function()
      equal(remote(one, "for-each-ref --format='%(refname) %(subject)'"), "refs/heads/master six")
      equal(git(one, "for-each-ref --format='%(refname)' refs/heads"), "refs/heads/master")
    end)
  end)

  it("is pulled and fetched from", function()
    local one = new()
    one:person("echo 6 >>a; git commit -qam six; git push -q; git push -q origin HEAD:more", "colleague")
    local trial = one:trial { 'git.pull(R) git.fetch(R)', 'fail("back")' }
    local before = git(one, "rev-parse master")
    trial:run "stopped"
    equal(git(one, "rev-parse master origin/more"), remote(one, "rev-parse master more"))
    equal(git(one, "status --porcelain"), "?? untracked")
    trial:roll_back "rolled back"
    equal(git(one, "rev-parse master"), before)
    equal(git(one, "status --porcelain"), "?? untracked")
    equal(git(one, "rev-parse origin/master"), remote(one, "rev-parse master"))
  end)
end)

describe("a repository", function()
  it("is cloned, and the clone goes while nobody has touched it", function()
    local clone = 'git.clone { git = "PATH/clone", remote = "file://PATH/remote.git", branch = "master" } '
    new():there_and_back({ clone, clone }, function(one)
      equal(one:person("git log --format=%s", "clone"), "first\n")
    end)
    for _, made in ipairs { "touch new", "echo 2 >>a", "git stash -q 2>/dev/null; echo 3 >>a; git stash -q",
      "git switch -q -c own; git commit -q --allow-empty -m own", "git worktree add -q ../other-log" } do
      local one = new()
      local trial = one:trial { clone, 'fail("back")' }
      trial:run "stopped"
      one:person(made, "clone")
      equal({ made, trial:roll_back().status }, { made, "rollback incomplete" })
      equal(one:person("ls .", ""):find "clone" ~= nil, true)
      trial:abandon()
    end
  end)

  it("is not cloned over what is there", function()
    equal(new():refused('git.clone { git = "PATH/work", remote = "file://PATH/other.git" }').kind, "conflict")
    equal(new():refused('git.clone { git = "PATH/clone", remote = "file://PATH/none.git" }').host, "local")
  end)

  it("moves to a commit, a tag, another branch, and back, with files that it does not know left alone", function()
    local one = new()
    one:person "git tag old; echo 6 >>a; git commit -qam six; git branch other old"
    one:there_and_back { 'git.checkout(R, "old")', 'git.checkout(R, "other") git.reset(R, "master")',
      'git.checkout(R, "master")', ('git.checkout(R, %q)'):format(git(one, "rev-parse old")) }
  end)

  it("is merged by a commit where both sides went on, or where that is asked for", function()
    local one = new()
    one:person "git switch -q -c v1_1; echo 6 >>a; git commit -qam six; git switch -q master"
    one:there_and_back({ 'git.merge(R, "v1_1", { no_ff = true, message = "In with it" })' }, function()
      equal(git(one, "log --format=%s -1"), "In with it")
      equal(git(one, "rev-list --parents -1 HEAD"):len(), 122)
    end)
    one:person "sed -i 's/one/1/' a; git commit -qam other"
    one:there_and_back({ 'git.merge(R, "v1_1")' }, function()
      equal(one:person "cat a", "1\ntwo\nthree\nfour\nfive\n6\n")
      equal(git(one, "log --format=%s -1"), "Merge v1_1 into master")
      equal(git(one, "status --porcelain"), "?? untracked")
    end)
    equal(one:refused('git.merge(R, "v1_1", { ff_only = true })').kind, "conflict")
  end)

  it("is rebased on another branch", function()
    local one = new()
    one:person [[git branch upstream; git switch -q -c mitx; echo 6 >>a; git commit -qam six
      echo 7 >>a; git commit -qam seven; git switch -q upstream; sed -i s/one/1/ a; git commit -qam other
      git switch -q mitx; git push -q origin mitx]]
    one:there_and_back({ 'git.rebase(R, "upstream") git.push(R, "mitx", { force = true })' }, function()
      equal(git(one, "log --format=%s"), "seven\nsix\nother\nfirst")
      equal(one:person "cat a", "1\ntwo\nthree\nfour\nfive\n6\n7\n")
      equal(remote(one, "log --format=%s mitx"), "seven\nsix\nother\nfirst")
      equal(git(one, "worktree list"):find "\n", nil)
    end)
  end)

  it("names the files that conflict, and is as before", function()
    local one = new()
    one:person [[git switch -q -c v1_1; echo 6 >>a; echo B >"b c"; git commit -qam six; git switch -q master
      echo seven >>a; echo C >"b c"; git commit -qam seven]]
    local failure = one:refused 'git.merge(R, "v1_1")'
    equal({ failure.kind, failure.output }, { "conflict", "a\nb c" })
    matches(failure.message, "conflicts in /.*/work on local: a, b c$")
    failure = one:refused 'git.rebase(R, "v1_1")'
    equal({ failure.kind, failure.output }, { "conflict", "a\nb c" })
  end)

  it("with changed files is refused, and they are named", function()
    local one = new()
    one:person 'git switch -q -c v1_1; echo 6 >>"b c"; git commit -qam six; git switch -q master; echo mine >>a'
    for _, step in ipairs { 'git.merge(R, "v1_1")', 'git.checkout(R, "v1_1")', 'git.reset(R, "v1_1")' } do
      local failure = one:refused(step)
      equal({ step, failure.kind }, { step, "conflict" })
      matches(failure.message, "not committed in /.*/work on local: a$")
    end
  end)

  it("with an unfinished merge is refused", function()
    local one = new()
    one:person "git switch -q -c o; echo 6 >>a; git commit -qam 6; git switch -q master"
    one:person "git merge -q --no-commit --no-ff o"
    matches(one:refused('git.checkout(R, "o")').message, "under way")
  end)

  it("keeps a file that git does not know, where a checkout would overwrite it", function()
    local one = new()
    one:person [[git switch -q -c o; echo theirs >f; git add f; git commit -qm f; git switch -q master; echo mine >f
      echo f >.git/info/exclude]]
    for _, step in ipairs { 'git.checkout(R, "o")', 'git.merge(R, "o")' } do
      one:refused(step)
      equal(one:person "cat f", "mine\n")
    end
  end)

  it("with a detached HEAD takes no commit, merge, rebase or pull", function()
    local one = new()
    one:person "git switch -q --detach; echo 6 >>a"
    for _, step in ipairs { 'git.commit(R, "a", "six")', 'git.merge(R, "master")', 'git.rebase(R, "master")',
      'git.pull(R)', 'git.push(R, "HEAD")', 'git.reset(R, "master")' } do
      matches(one:refused(step).message, "detached")
    end
  end)

  it("that is not there, or is none, is named", function()
    local one = new()
    local failure = one:refused 'git.checkout({ git = "PATH/none" }, "master")'
    equal(failure.kind, "missing")
    matches(failure.message, "no folder /.*/none on local")
    equal(one:refused('git.checkout({ git = "/usr" }, "master")').kind, "missing")
    equal(one:refused('git.branch(R, "x", "no-such")').kind, "missing")
    matches(one:refused('git.checkout({ git = "/a", brnch = "b" }, "c")').message, "brnch.*branch")
  end)

  it("is read", function()
    local one = new()
    one:person "git tag t; echo 6 >>a; git commit -qam 'six ü'; echo 7 >>a"
    one:trial({ [[
      local head = git.head(R)
      local log = git.log(R, "t..HEAD", { paths = { "a" } })
      local got = { head.branch, log[1].id == head.commit, log[1].subject, log[1].email, #log, git.is_clean(R),
        git.show(R, "t", "d/ü"), git.rev(R, "HEAD~1") == git.rev(R, "t"), git.rev(R, "none") == nil,
        git.branches(R).master == head.commit, git.branches(R, { remote = "origin" }).master == git.rev(R, "t"),
        git.ls_remote(R)["refs/heads/master"] == git.rev(R, "t"),
        git.diff(R, "t", "HEAD"):match "\n%+([^\n]*)\n?$", git.diff(R, "t", "HEAD", { stat = true, paths = { "d" } }) }
      local want = { "master", true, "six ü", "c@x", 1, false, "x\n", true, true, true, true, true, "6", "" }
      for i, value in ipairs(want) do
        if got[i] ~= value then fail(i .. ": " .. tostring(got[i])) end
      end]] }):run "done"
  end)
end)

describe("a repository on another host", function()
  it("is changed there, as the user that it says", function()
    local one = new()
    local hosts
    server, hosts = sshd.far(scratch())
    local become = ""
    if process.user().uid == 0 then
      become = ', become = "games"'
      changing(process.run, { "sh", "-c", "chmod 0755 $1 && chown -R games:games $1/work $1/remote.git", "sh",
        one.folder })
    end
    one.repo = '{ git = "PATH/work", on = "far"' .. become .. " }"
    local steps = { 'git.branch(R, "v1") git.checkout(R, "v1") git.commit(R, "untracked", "it") git.push(R, "v1")' }
    local trial = one:trial(steps, hosts)
    trial:run "done"
    local owner = become ~= "" and "games" or process.user().name
    equal(stage.sh('find "$1/work/.git/objects" "$1/remote.git" -newer "$1/work/untracked" -printf "%u\n" | sort -u',
      one.folder), owner .. "\n")
    equal(stage.sh('git -c safe.directory="*" -C "$1/remote.git" log --format=%s v1', one.folder), "it\nfirst\n")
  end)

  it("may lie below the home of the login", function()
    local program = require "neap.targets.git.program"
    local fixture = require "tests.targets.fixture"
    fixture.within(fixture.run(), changing, function()
      equal(program.target({ git = "~/git/x/" }, nil, 1).repo, process.user().home .. "/git/x")
      matches(raises(program.target, { git = "git/x" }, nil, 1), "no absolute path")
    end)
  end)
end)

describe("a commit", function()
  it("takes the named files, with any name, and nothing else that is changed or staged", function()
    local one = new()
    one:person [[echo staged >s; git add s; echo 6 >>a; echo Y >"b c"; printf x >"*"; printf y >"-q"
      mkdir "e f"; echo z >"e f/ü"]]
    local before = one:picture()
    local trial = one:trial { 'git.commit(R, { "a", "*", "-q", "e f" }, "Über\\n\\nmore\\n", ' ..
      '{ author = "A B <a@b>", date = "2020-02-02T02:02:02+0000" })', 'fail("back")' }
    trial:run "stopped"
    local shown = git(one, "-c core.quotePath=false show --format='%s%n%b%an %ae %aI' --name-status -1")
    equal((shown:gsub("Neap%-Effect: %S+", "Neap-Effect: X")),
      "Über\nmore\n\nNeap-Effect: X\nA B a@b 2020-02-02T02:02:02+00:00\n\n" .. "A\t*\nA\t-q\nM\ta\nA\te f/ü")
    equal(one:person "git status --porcelain", ' M "b c"\nA  s\n?? untracked\n')
    equal(git(one, "diff --cached --name-only"), "s")
    trial:roll_back "rolled back"
    equal(one:picture(), before)
  end)

  it("and a tag are signed as git is configured to, or as is said", function()
    local one = new()
    local key = sshd.key(scratch(), "signer", "ed25519")
    one:person('git config gpg.format ssh; git config commit.gpgSign true; git config user.signingKey ' .. key)
    one:person 'echo 6 >>a; echo 7 >>"b c"'
    one:there_and_back({ 'git.commit(R, "a", "signed") git.commit(R, "b c", "not", { sign = false })',
      'git.tag(R, "t", "HEAD", { message = "t", sign = true }) git.tag(R, "u", "HEAD", { message = "u" })' }, function()
      local function is_signed(name) return git(one, "cat-file -p " .. name):find "BEGIN SSH SIGNATURE" ~= nil end
      equal({ is_signed "HEAD~1", is_signed "HEAD", is_signed "t", is_signed "u" }, { true, false, true, false })
    end)
  end)

  it("of what is committed already is none", function()
    local one = new()
    local trial = one:trial { 'git.commit(R, ".", "nothing", { keep = "it" })' }
    one:person "rm untracked"
    trial:run "done"
    equal(git(one, "log --format=%s"), "first")
  end)

  it("names a file that is not there", function()
    equal(new():refused('git.commit(R, { "none" }, "x")').kind, "missing")
  end)

  it("goes through the repository's hooks", function()
    local one = new()
    one:person [[printf '#!/bin/sh\necho checked >&2\nexit 1\n' >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
      echo 6 >>a]]
    equal(one:refused('git.commit(R, "a", "six")').message:match "^the hook pre%-commit refuses",
      "the hook pre-commit refuses")
    one:person [[printf '#!/bin/sh\necho more >>a; git add a\n' >.git/hooks/pre-commit]]
    local trial = one:trial { 'git.commit(R, "a", "six")' }
    trial:run()
    matches(trial:failure().message, "hook")
    equal(git(one, "log --format=%s"), "first")
    one:person [[rm .git/hooks/pre-commit; printf '#!/bin/sh\nsed -i "1s/^/[x] /" "$1"\n' >.git/hooks/commit-msg
      chmod +x .git/hooks/commit-msg; git checkout -q a; echo 6 >>a]]
    one:trial({ 'git.commit(R, "a", "six")' }):run "done"
    equal(git(one, "log --format=%s -1"), "[x] six")
  end)
end)

describe("names that could be taken for something else", function()
  it("are refused before anything is asked", function()
    local one = new()
    for _, step in ipairs {
      'git.branch(R, "-d")', 'git.branch(R, "a..b")', 'git.branch(R, "x", "--all")', 'git.checkout(R, "-f")',
      'git.checkout(R, "a\\nb")', 'git.tag(R, "x.lock")', 'git.commit(R, "../x", "m")', 'git.commit(R, "/x", "m")',
      'git.push(R, "master", { remote = "--receive-pack=touch PATH/log" })', 'git.push(R, "--mirror")',
      'git.push(R, ":master")', 'git.fetch(R, { remote = "ext::sh -c id" })',
      'git.clone { git = "PATH/x", remote = "ext::touch% PATH/log" }', 'git.clone { git = "PATH/x", remote = "-u" }',
      'git.clone { git = "PATH/x", remote = "fd::7" }', 'git.log(R, "--output=PATH/log")',
      'git.show(R, "HEAD", "../a")',
      'git.diff(R, "--output=PATH/log", "HEAD")', 'git.commit(R, "a", "m", { sign = "-x y" })',
    } do
      local failure = one:refused(step)
      equal({ step, type(failure) == "string" or failure.kind == "mistake" or failure.kind }, { step, true })
    end
  end)

  it("are those that git refuses", function()
    local program = require "neap.targets.git.program"
    for _, name in ipairs { "a", "a/b", "a.b", ".a", "a/.b", "a..b", "a.lock", "a.lock/b", "a b", "a~", "a^", "a:b",
      "a?", "a*", "a[", "a\\b", "a@{b", "a@b", "/a", "a/", "a//b", "a.", "a-", "ü", "a\127", "a\tb", "{a}", "a,b" } do
      local result = process.run({ "git", "check-ref-format", "refs/heads/" .. name }, { reads = true })
      equal({ name, program.is_ref_name(name) }, { name, result.status == 0 })
    end
  end)
end)
