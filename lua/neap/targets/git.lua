--- Repositories of a host, by its own git: branches, commits of files, merges, tags and what remotes have. A repository
--- is one of env.repositories, or a table { git = "~/git/name", on = host, become? }. A change of a branch, here or at a
--- remote, is made only from the state that was looked at, and taken back only from the state that it left.
local effect  = require "neap.engine.effect"
local names   = require "neap.targets.git.names"
local plans   = require "neap.targets.git.plan"
local program = require "neap.targets.git.program"
local reads   = require "neap.targets.git.reads"
local shell   = require "neap.targets.shell"
require "neap.targets.git.kinds"

local git = {}

--- @class (exact) neap.repository
--- @field git string     its folder: absolute, or below ~/
--- @field on? string     the host it lies on; default: local
--- @field remote? string  its address, for git.clone
--- @field branch? string  the branch that git.clone checks out
--- @field become? string|false  whom git runs as

--- @class (exact) neap.git_options
--- @field become? string|false  whom git runs as; false: the login itself
--- @field keep? string          why a rollback leaves it
--- @field irreversible? string  why there is no way back behind it
--- @field timeout? number       seconds

local CHANGE = { become = true, keep = true, irreversible = true, timeout = true }
local READ = { become = true }

--- Those names and more.
local function and_more(known, ...)
  local all = {}
  for name in pairs(known) do all[name] = true end
  for _, name in ipairs { ... } do all[name] = true end
  return all
end

local OPTIONS = {
  branch = CHANGE, clone = CHANGE, checkout = CHANGE, rebase = CHANGE, reset = CHANGE,
  fetch = and_more(CHANGE, "remote"), delete_branch = and_more(CHANGE, "force"),
  delete_remote = and_more(CHANGE, "remote"),
  tag = and_more(CHANGE, "message", "sign", "date"), push = and_more(CHANGE, "remote", "force", "set_upstream"),
  pull = and_more(CHANGE, "remote", "branch"), merge = and_more(CHANGE, "no_ff", "ff_only", "message", "sign"),
  commit = and_more(CHANGE, "author", "date", "sign"),
  log = and_more(READ, "limit", "paths"), diff = and_more(READ, "paths", "stat"), ls_remote = and_more(READ, "remote"),
  branches = and_more(READ, "remote"),
}

--- The target of a word, and its checked options.
local function begin(repo, options, known)
  options = shell.check_options(options, known, 3)
  return program.target(repo, options.become, 3), options
end

local function given(options)
  return { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout }
end

-- ---- moving branches ----

--- Moves a branch; the function says where to, from where it is. files: "move" or "stay", where it may be checked out.
local function move(target, ref, options, new_state, files)
  return effect.change("git.ref", names.with(target, { ref = ref, files = files }), function(before)
    local after = new_state(before)
    plans.describe(target, before, after)
    if files == "move" and before ~= after then
      plans.check_clean(target)
      plans.shadow(target, before, after)
    end
    return after
  end, given(options))
end

local function check_still(target, ref, before, expected)
  if before == expected then return end
  names.refuse(target, "conflict", "%s is at %s, and was at %s when it was looked at,", ref, before or "nothing",
    expected or "nothing")
end

--- Makes a branch at a commit; nothing is done where it is there already.
--- @param repo neap.repository
--- @param name string
--- @param start? string  a branch, tag or commit; default: what is checked out
--- @param options? neap.git_options
--- @return string commit
function git.branch(repo, name, start, options)
  local target
  target, options = begin(repo, options, OPTIONS.branch)
  program.ref_name("a branch", name, 2)
  local id = names.commit_named(target, start or "HEAD", 2)
  return move(target, "refs/heads/" .. name, options, function(before)
    if before and before ~= id then
      names.refuse(target, "conflict", "the branch %s is there already, at %s,", name, before)
    end
    return id
  end)
end

--- In a plan a commit may be known by its name only, until it is fetched.
local function relation_of(target, ours, theirs)
  local relation = plans.relation(target, ours, theirs)
  if relation == "unknown" then plans.refuse(theirs) end
  return relation
end

local function check_merged(target, name, tip)
  local head = names.commit_named(target, "HEAD", 3)
  local relation = relation_of(target, tip, head)
  if relation == "same" or relation == "ahead" then return end
  names.refuse(target, "conflict", "the branch %s holds commits that what is checked out does not hold,", name)
end

--- Takes a branch away, if it is there, with what it follows. Raises kind `conflict` where it holds commits that what is
--- checked out does not.
--- @param repo neap.repository
--- @param name string
--- @param options? table  of neap.git_options, and force = true: also one that is not merged
function git.delete_branch(repo, name, options)
  local target
  target, options = begin(repo, options, OPTIONS.delete_branch)
  program.ref_name("a branch", name, 2)
  local tip = names.ref_state(target, "refs/heads/" .. name)
  if tip and not options.force then check_merged(target, name, tip) end
  move(target, "refs/heads/" .. name, options, function() return nil end)
  effect.change("git.upstream", names.with(target, { branch = name }), function() return nil end, given(options))
end

--- Moves the branch that is checked out to a commit, and its files with it, which have to be clean.
--- @param repo neap.repository
--- @param to string  a branch, tag or commit
--- @param options? neap.git_options
--- @return string commit
function git.reset(repo, to, options)
  local target
  target, options = begin(repo, options, OPTIONS.reset)
  local branch = names.current_branch(target)
  local id = names.commit_named(target, to, 2)
  return move(target, branch, options, function() return id end, "move")
end

--- A branch that only origin has is made here, and follows it, as git's own checkout does.
local function make_of_origin(target, name, options)
  if not program.is_ref_name(name) or names.ref_state(target, "refs/heads/" .. name)
    or names.ref_state(target, "refs/tags/" .. name) then
    return
  end
  local theirs = names.ref_state(target, "refs/remotes/origin/" .. name)
  if not theirs then return end
  move(target, "refs/heads/" .. name, options, function(before) return before or theirs end)
  effect.change("git.upstream", names.with(target, { branch = name }),
    function() return "origin refs/heads/" .. name end, given(options))
end

--- Checks out a branch; of a tag or commit HEAD is detached. A branch that only origin has is made here first. Changed files
--- are refused; files that git does not know stay.
--- @param repo neap.repository
--- @param what string
--- @param options? neap.git_options
function git.checkout(repo, what, options)
  local target
  target, options = begin(repo, options, OPTIONS.checkout)
  program.rev(what, 2)
  make_of_origin(target, what, options)
  local branch = program.is_ref_name(what) and names.ref_state(target, "refs/heads/" .. what)
  local id = branch or names.commit_named(target, what, 2)
  local from = effect.planning() and names.find(target, "HEAD", 2)
  effect.change("git.head", target, function(before)
    local after = branch and "refs/heads/" .. what or id
    if before ~= after then plans.check_clean(target) end
    return after
  end, given(options))
  if from then plans.shadow(target, from, id) end
end

-- ---- commits ----

local function check_text(what, text, level)
  if type(text) ~= "string" or not text:find "%S" or text:find "%z" then
    error(("%s: a text is expected"):format(what), level + 1)
  end
  return text
end

local function check_commit_options(options)
  if options.author and not tostring(options.author):find "^[^<>\n]+ <[^<>%s]+>$" then
    error('author: write it as "Name <address>"', 3)
  end
  local sign = options.sign
  if sign ~= nil and type(sign) ~= "boolean" and not tostring(sign):find "^[%w_@.+-]+$" then
    error("sign: true, false, or the name of a key", 3)
  end
  if options.date then check_text("date", options.date, 3) end
end

local OBJECT = { keep = "nothing refers to it once its branch is put back" }

local function made(options, result, commit)
  if effect.planning() then return plans.placeholder(result, commit) end
  return result, options
end

--- Commits these files of the worktree, as they are, on the branch that is checked out; what else is staged stays so.
--- Nothing is done where they are as committed. A rollback takes the commit off the branch and leaves the files.
--- @param repo neap.repository
--- @param paths string[]|string  below the repository; a folder stands for what is in it, "." for all
--- @param message string
--- @param options? table  of neap.git_options; author = "Name <address>", date = as git takes it, sign = true, false or a key
--- @return string commit
function git.commit(repo, paths, message, options)
  local target
  target, options = begin(repo, options, OPTIONS.commit)
  check_commit_options(options)
  message = check_text("a message", message, 2):gsub("%s+$", "")
  paths = type(paths) == "table" and { table.unpack(paths) } or { paths }
  if #paths == 0 then error("git.commit names the files to be committed", 2) end
  for i, path in ipairs(paths) do paths[i] = program.path(path, 2):gsub("/+$", "") end
  local branch = names.current_branch(target)
  local parent = names.ref_state(target, branch)
  if not parent then names.refuse(target, "conflict", "%s has no commit yet", branch) end
  local found = plans.tree(target, parent, paths)
  local id = parent
  if #found.files > 0 then
    id = effect.perform("git.commit", target, { tree = found.tree, parents = { parent }, paths = paths,
      message = message, author = options.author, date = options.date, sign = options.sign, files = found.files,
      stat = found.stat }, OBJECT)
    id = made(options, id, { parents = { parent }, tree = found.tree, base = found.base, changes = found.changes,
      subject = message:match "^[^\n]*", files = found.files })
  end
  return move(target, branch, options, function(before)
    check_still(target, branch, before, parent)
    return id
  end, "stay")
end

local function merge_commit(target, ours, theirs, message, options)
  local found = plans.merge(target, ours, theirs)
  local id = effect.perform("git.merge", target, { tree = found.tree, parents = { ours, theirs }, message = message,
    sign = options.sign }, OBJECT)
  return made(options, id, { parents = { ours, theirs }, tree = found.tree, base = found.base, changes = found.changes,
    subject = message:match "^[^\n]*" })
end

local function merged(target, branch, ours, theirs, what, options)
  local relation = relation_of(target, ours, theirs)
  if relation == "same" or relation == "behind" then return ours end
  if relation == "ahead" and not options.no_ff then return theirs end
  if options.ff_only then
    names.refuse(target, "conflict", "%s and %s have each gone on: there is no fast-forward",
      branch:gsub("^refs/heads/", ""), what)
  end
  local message = options.message or ("Merge %s into %s"):format(what, (branch:gsub("^refs/heads/", "")))
  return merge_commit(target, ours, theirs, message, options)
end

--- Merges a branch, tag or commit into the branch that is checked out, whose files have to be clean: by moving it
--- forward where that will do, else by a commit. Raises kind `conflict` with the files that both have changed; then
--- nothing is touched.
--- @param repo neap.repository
--- @param what string
--- @param options? table  of neap.git_options; no_ff = true: always by a commit; ff_only = true: never; message, sign
--- @return string commit
function git.merge(repo, what, options)
  local target
  target, options = begin(repo, options, OPTIONS.merge)
  check_commit_options(options)
  local branch = names.current_branch(target)
  local ours = names.ref_state(target, branch)
  local theirs = names.commit_named(target, what, 2)
  local id = merged(target, branch, ours, theirs, what, options)
  return move(target, branch, options, function(before)
    check_still(target, branch, before, ours)
    return id
  end, "move")
end

--- Puts the commits of the branch that is checked out on top of another commit. Its files have to be clean. Raises kind
--- `conflict` with the files that do not fit; then nothing is touched.
--- @param repo neap.repository
--- @param onto string
--- @param options? neap.git_options
--- @return string commit
function git.rebase(repo, onto, options)
  local target
  target, options = begin(repo, options, OPTIONS.rebase)
  local branch = names.current_branch(target)
  local tip = names.ref_state(target, branch)
  local base = names.commit_named(target, onto, 2)
  local relation = relation_of(target, tip, base)
  local id = relation == "ahead" and base or tip
  if relation == "diverged" then
    id = effect.perform("git.rebase", target, { tip = tip, onto = base }, OBJECT)
    id = made(options, id, { parents = { base }, subject = ("rebased %s"):format(branch:gsub("^refs/heads/", "")) })
  end
  return move(target, branch, options, function(before)
    check_still(target, branch, before, tip)
    return id
  end, "move")
end

--- Makes a tag at a commit; with a message it is an object of its own, and may be signed. Nothing is done where it is
--- there already at that commit.
--- @param repo neap.repository
--- @param name string
--- @param at? string  default: what is checked out
--- @param options? table  of neap.git_options; message, sign = true, false or a key, date
--- @return string object
function git.tag(repo, name, at, options)
  local target
  target, options = begin(repo, options, OPTIONS.tag)
  program.ref_name("a tag", name, 2)
  check_commit_options(options)
  local commit, ref = names.commit_named(target, at or "HEAD", 2), "refs/tags/" .. name
  local there = names.ref_state(target, ref)
  local id = there and names.find(target, ref, 2) == commit and there or commit
  if options.message and not there then
    id = effect.perform("git.tag", target, { tag = name, commit = commit, sign = options.sign, date = options.date,
      message = check_text("a message", options.message, 2) }, { keep = "nothing refers to it once the tag is gone" })
    id = made(options, id, { parents = { commit }, subject = "tag " .. name })
  end
  return move(target, ref, options, function(before)
    if before and before ~= id then
      names.refuse(target, "conflict", "the tag %s is there already, at %s,", name, before)
    end
    return id
  end)
end

-- ---- remotes ----

--- Clones the repository's `remote` to its place, where nothing is; `branch` is checked out. A rollback takes it away
--- while nobody has made anything in it.
--- @param repo neap.repository
--- @param options? neap.git_options
function git.clone(repo, options)
  local target
  target, options = begin(repo, options, OPTIONS.clone)
  local url = program.url(repo.remote, 2)
  if repo.branch then program.ref_name("a branch", repo.branch, 2) end
  effect.change("git.clone", names.with(target, { branch = repo.branch }), function(before)
    if before and before ~= url then
      names.refuse(target, "conflict", "%s is not cloned: %s is", url, before == "" and "something else" or before)
    end
    if not before and effect.planning() then effect.shadow(target.host, target.repo) end -- nobody knows what is in it
    return url
  end, given(options))
end

local FETCHED = "what was fetched harms nobody"

local function fetch(target, remote, ref, options)
  effect.perform("git.fetch", target, { remote = remote, ref = ref }, { keep = options.keep or FETCHED,
    timeout = options.timeout })
  plans.note_fetch(target, remote)
end

--- Brings what a remote has to the branches that stand for it here ("origin/master"). A rollback leaves them.
--- @param repo neap.repository
--- @param options? table  of neap.git_options; remote: default "origin"
function git.fetch(repo, options)
  local target
  target, options = begin(repo, options, OPTIONS.fetch)
  fetch(target, program.remote_name(options.remote or "origin", 2), nil, options)
end

local function upstream_of(target, branch, options)
  local follows = effect.state("git.upstream", names.with(target, { branch = branch:gsub("^refs/heads/", "") }))
  local remote, ref = (follows or ""):match "^(%S+) (%S+)$"
  remote = program.remote_name(options.remote or remote or "origin", 3)
  return remote, options.branch and "refs/heads/" .. program.ref_name("a branch", options.branch, 3) or ref or branch
end

--- Brings the branch that is checked out forward to what the remote has of it. Raises kind `conflict` where both have gone
--- on: then git.fetch, and git.merge or git.rebase.
--- @param repo neap.repository
--- @param options? table  of neap.git_options; remote and branch: default what the branch follows, else the same of "origin"
--- @return string commit
function git.pull(repo, options)
  local target
  target, options = begin(repo, options, OPTIONS.pull)
  local branch = names.current_branch(target)
  local remote, ref = upstream_of(target, branch, options)
  local theirs = effect.state("git.remote_ref", names.with(target, { remote = remote, ref = ref }))
  if not theirs then names.refuse(target, "missing", "%s has no %s, for what is", remote, ref) end
  local ours = names.ref_state(target, branch)
  local relation = plans.relation(target, ours, theirs)
  if relation == "unknown" then
    fetch(target, remote, ref, options)
    relation = effect.planning() and "ahead" or plans.relation(target, ours, theirs)
  end
  if relation == "diverged" then
    names.refuse(target, "conflict", "%s here and at %s have each gone on", branch:gsub("^refs/heads/", ""), remote)
  end
  return move(target, branch, options, function(before)
    check_still(target, branch, before, ours)
    return relation == "ahead" and theirs or before
  end, "move")
end

--- A branch or tag here, and what it is called at the remote.
local function source_of(target, source, level)
  if source == "HEAD" then source = names.current_branch(target):gsub("^refs/heads/", "") end
  program.ref_name("a branch or tag", source, level + 1)
  for _, place in ipairs { "refs/heads/", "refs/tags/" } do
    local id = names.ref_state(target, place .. source)
    if id then return id, place, source end
  end
  names.refuse(target, "missing", "there is neither a branch nor a tag %q", source)
end

local function check_forward(target, place, before, id, remote)
  local relation = plans.relation(target, before, id, true)
  if place == "refs/heads/" and (relation == "ahead" or relation == "same") then return end
  local message = relation == "unknown" and "%s has commits that are not here and would be lost by a push of what is"
    or place == "refs/tags/" and "%s has another tag of this name, which would be lost by a push of what is"
    or "%s has commits that this branch does not hold and that would be lost by a push of what is"
  names.refuse(target, "conflict", message, remote)
end

--- Pushes a branch or tag. Only forward, unless forced; also then only from the state that was looked at. A rollback puts
--- back what the remote had.
--- @param repo neap.repository
--- @param refspec string  its name, "here:there", or "HEAD"
--- @param options? table  of neap.git_options; remote: default "origin"; force; set_upstream = true: the branch follows it
--- @return string object
function git.push(repo, refspec, options)
  local target
  target, options = begin(repo, options, OPTIONS.push)
  local remote = program.remote_name(options.remote or "origin", 2)
  local here, there = tostring(refspec):match "^([^:]+):?([^:]*)$"
  local id, place, name = source_of(target, here or refspec, 2)
  there = there ~= "" and program.ref_name("a branch or tag", there, 2) or name
  local ref = place .. there
  local pushed = effect.change("git.remote_ref", names.with(target, { remote = remote, ref = ref }), function(before)
    if before and before ~= id and not options.force then check_forward(target, place, before, id, remote) end
    plans.describe(target, before, id)
    return id
  end, given(options))
  if options.set_upstream and place == "refs/heads/" then
    effect.change("git.upstream", names.with(target, { branch = name }), function() return remote .. " " .. ref end,
      given(options))
  end
  return pushed
end

--- Takes a branch, or a tag ("refs/tags/…"), of a remote away, if it is there. A rollback puts it back.
--- @param repo neap.repository
--- @param name string
--- @param options? table  of neap.git_options; remote: default "origin"
function git.delete_remote(repo, name, options)
  local target
  target, options = begin(repo, options, OPTIONS.delete_remote)
  local remote = program.remote_name(options.remote or "origin", 2)
  program.ref_name("a branch", name, 2)
  local ref = name:find "^refs/" and name or "refs/heads/" .. name
  effect.change("git.remote_ref", names.with(target, { remote = remote, ref = ref }), function(before)
    plans.describe(target, before, nil)
    return nil
  end, given(options))
end

-- ---- reads ----

--- The absolute path of a file of a repository, for the words of `file`.
--- @param repo neap.repository
--- @param path string  below the repository
--- @param options? { become?: string|false }
--- @return string
function git.path(repo, path, options)
  local target = begin(repo, options, READ)
  return target.repo .. "/" .. program.path(path, 2)
end

--- What is checked out: branch (nil where HEAD is detached) and commit.
--- @param repo neap.repository
--- @param options? { become?: string|false }
--- @return { branch: string?, commit: string? }
function git.head(repo, options)
  local target = begin(repo, options, READ)
  local head = names.head_state(target)
  local branch = head and head:match "^refs/heads/(.*)"
  return { branch = branch, commit = branch and names.ref_state(target, head) or not branch and head or nil }
end

--- The commit that a branch, tag or other revision names; nil where there is none.
--- @param repo neap.repository
--- @param rev string
--- @param options? { become?: string|false }
--- @return string?
function git.rev(repo, rev, options) return names.find(begin(repo, options, READ), rev, 2) end

local function check_range(range, level)
  if type(range) ~= "string" or range == "" or range:find "^%-" or range:find "[%c]" then
    error(("%q is no range of commits"):format(tostring(range)), level + 1)
  end
  return range
end

local function checked_paths(paths, level)
  for _, path in ipairs(paths or {}) do program.path(path, level + 1) end
  return paths or {}
end

--- Commits, newest first.
--- @param repo neap.repository
--- @param range? string  as git takes it: "a..b", or a revision; default "HEAD"
--- @param options? { limit?: integer, paths?: string[], become?: string|false }  limit: default 100
--- @return { id: string, author: string, email: string, date: string, subject: string }[]
function git.log(repo, range, options)
  local target
  target, options = begin(repo, options, OPTIONS.log)
  return reads.log(target, check_range(range or "HEAD", 2), options.limit or 100, checked_paths(options.paths, 2))
end

--- What differs between two commits, as git shows it.
--- @param repo neap.repository
--- @param from string
--- @param to string
--- @param options? { paths?: string[], stat?: boolean, become?: string|false }  stat: only a line for each file
--- @return string
function git.diff(repo, from, to, options)
  local target
  target, options = begin(repo, options, OPTIONS.diff)
  return reads.diff(target, program.rev(from, 2), program.rev(to, 2), checked_paths(options.paths, 2), options.stat)
end

--- Whether no file differs from what is committed, and none is there that git does not know.
--- @param repo neap.repository
--- @param options? { become?: string|false }
--- @return boolean
function git.is_clean(repo, options) return reads.status((begin(repo, options, READ))) end

--- What a remote has: names of objects by full names ("refs/heads/master").
--- @param repo neap.repository
--- @param options? { remote?: string, become?: string|false }  remote: default "origin"
--- @return table<string, string>
function git.ls_remote(repo, options)
  local target
  target, options = begin(repo, options, OPTIONS.ls_remote)
  return reads.remote(target, program.remote_name(options.remote or "origin", 2))
end

--- The text of a file as it is in a commit.
--- @param repo neap.repository
--- @param rev string
--- @param path string
--- @param options? { become?: string|false }
--- @return string
function git.show(repo, rev, path, options)
  return reads.show(begin(repo, options, READ), program.rev(rev, 2), program.path(path, 2))
end

--- The branches that are here, or those that stand for a remote's: commits by name.
--- @param repo neap.repository
--- @param options? { remote?: string, become?: string|false }
--- @return table<string, string>
function git.branches(repo, options)
  local target
  target, options = begin(repo, options, OPTIONS.branches)
  local remote = options.remote and program.remote_name(options.remote, 2)
  return reads.branches(target, remote and ("refs/remotes/%s/"):format(remote) or "refs/heads/")
end

return git
