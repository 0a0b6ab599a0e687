--- What names of branches, tags and commits stand for in a repository; in a plan, as its earlier changes would leave them.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local plans   = require "neap.targets.git.plan"
local program = require "neap.targets.git.program"

local names = {}

--- A target of more: these fields, and the repository's.
--- @param target table
--- @param fields table
--- @return table
function names.with(target, fields)
  for key, value in pairs(target) do fields[key] = value end
  return fields
end

--- Raises, and says in which repository.
--- @param target table
--- @param kind string     of the error
--- @param message string  for string.format
function names.refuse(target, kind, message, ...)
  fault.raise { kind = kind, host = target.host, code = "git",
    message = message:format(...) .. (" in %s on %s"):format(target.repo, target.host) }
end

local function check_cloned(target)
  for _, one in ipairs(effect.planned "git.clone") do
    if one.target.repo == target.repo and one.target.host == target.host then
      fault.raise { kind = "unknown", message = "known after the repository is cloned", after = "the clone" }
    end
  end
end

--- The object that a branch or tag is at; nil where there is none.
--- @param target table
--- @param ref string  its full name
--- @return string?
function names.ref_state(target, ref)
  check_cloned(target)
  return effect.state("git.ref", names.with(target, { ref = ref }))
end

--- What is checked out, as the state of git.head.
--- @param target table
--- @return string?
function names.head_state(target)
  check_cloned(target)
  return effect.state("git.head", target)
end

--- The branch that is checked out, as "refs/heads/…". Raises kind `conflict` where HEAD is detached.
--- @param target table
--- @return string
function names.current_branch(target)
  local head = names.head_state(target)
  if head and head:find "^refs/heads/" then return head end
  names.refuse(target, "conflict", "no branch is checked out, HEAD is detached at %s,", head or "nothing")
end

local PEEL = [=[git rev-parse -q --verify --end-of-options "$rev^{commit}" || :]=]

local function peeled(target, rev)
  return program.ask(target, "find " .. rev, { rev = rev }, PEEL):match "%x+"
end

local read_rev = effect.read("git.rev", peeled)

local PLACES = { "%s", "refs/%s", "refs/tags/%s", "refs/heads/%s", "refs/remotes/%s" }

--- The state that an earlier planned change leaves this in, and whether there is such a change.
local function planned_state(target, kind, wanted)
  for _, one in ipairs(effect.planned(kind)) do
    local same = one.target.host == target.host and one.target.repo == target.repo
    for key, value in pairs(wanted) do same = same and one.target[key] == value end
    if same then return one.state, true end
  end
end

--- A branch that stands for a remote's shows what the remote has, once that was fetched or pushed.
local function planned_tracking(target, ref)
  local remote, name = ref:match "^refs/remotes/([^/]+)/(.+)$"
  if not remote then return nil, false end
  local at = { remote = remote, ref = "refs/heads/" .. name }
  if plans.is_fetched(target, remote) then return effect.state("git.remote_ref", names.with(target, at)), true end
  return planned_state(target, "git.remote_ref", at)
end

local function planned_ref(target, ref)
  local id, changed = planned_tracking(target, ref)
  if changed then return id, true end
  return names.ref_state(target, ref), select(2, planned_state(target, "git.ref", { ref = ref })) == true
end

--- In a plan: the commit that the planned branch, tag or HEAD of this name leads to.
local function planned_rev(target, rev)
  check_cloned(target)
  if rev == "HEAD" then
    local head = names.head_state(target)
    return head and head:find "^refs/" and names.ref_state(target, head) or head
  end
  local any_changed = false
  for _, place in ipairs(PLACES) do
    local ref = place:format(rev)
    if ref:find "^refs/." and program.is_ref_name(ref) then
      local id, changed = planned_ref(target, ref)
      any_changed = any_changed or changed
      if id then return plans.is_real(id) and peeled(target, id) or id end
    end
  end
  if any_changed then return nil end
  if rev:find "[~^@:]" and (#effect.planned "git.ref" > 0 or #effect.planned "git.head" > 0) then
    fault.raise { kind = "unknown", message = "known after an earlier step", after = "an earlier step" }
  end
  return peeled(target, rev)
end

--- The commit of that name; nil where there is none.
--- @param target table
--- @param rev string
--- @param level integer
--- @return string?
function names.find(target, rev, level)
  program.rev(rev, level + 1)
  if effect.planning() then return planned_rev(target, rev) end
  return read_rev(target, rev)
end

--- The commit of that name; raises kind `missing`.
--- @param target table
--- @param rev string
--- @param level integer
--- @return string
function names.commit_named(target, rev, level)
  return names.find(target, rev, level + 1) or names.refuse(target, "missing", "there is no commit %q", rev)
end

return names
