--- What is read of a repository and of its remotes, each one call of git.
local effect  = require "neap.engine.effect"
local program = require "neap.targets.git.program"
local shell   = require "neap.targets.shell"

local reads = {}

local LOG = [=[git log -z -n "$limit" --format='%H%x1f%an%x1f%ae%x1f%aI%x1f%s' --end-of-options "$range" -- ]=]

--- Commits of a range, newest first.
reads.log = effect.read("git.log", function(target, range, limit, paths)
  local out = program.ask(target, "read the log", { range = range, limit = limit }, LOG .. shell.words(paths))
  local list = {}
  for id, author, email, date, subject in out:gmatch "(%x+)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^%z]*)%z?" do
    list[#list + 1] = { id = id, author = author, email = email, date = date, subject = subject }
  end
  return list
end)

--- What differs between two commits.
reads.diff = effect.read("git.diff", function(target, from, to, paths, stat)
  local body = ([[git diff --no-ext-diff %s --end-of-options "$from" "$to" -- ]]):format(stat and "--stat=100" or "")
  return program.ask(target, "compare commits", { from = from, to = to }, body .. shell.words(paths))
end)

--- Whether nothing differs from what is committed.
reads.status = effect.read("git.is_clean", function(target)
  return program.ask(target, "read the status", nil, "git status --porcelain | head -n 1") == ""
end)

--- What a remote has, by full name.
reads.remote = effect.read("git.ls_remote", function(target, remote)
  local refs = {}
  local out = program.ask(target, "ask " .. remote, { remote = remote }, 'git ls-remote -q -- "$remote"',
    { network = true })
  for id, ref in out:gmatch "(%x+)\t([^\n]+)" do refs[ref] = id end
  return refs
end)

--- The text of a file in a commit.
reads.show = effect.read("git.show", function(target, rev, path)
  return program.ask(target, "read " .. path, { rev = rev, path = path },
    'git cat-file blob "$(git rev-parse --verify --end-of-options "$rev^{commit}"):$path"')
end)

--- What is at references below a prefix, by the rest of their names.
reads.branches = effect.read("git.branches", function(target, prefix)
  local branches = {}
  local out = program.ask(target, "list branches", { prefix = prefix },
    [[git for-each-ref --format='%(objectname) %(symref) %(refname)' "$prefix"]])
  for id, ref in out:gmatch "(%x+)  (refs/[^\n]+)" do branches[ref:sub(#prefix + 1)] = id end
  return branches
end)

return reads
