--- Who may do what at AWS: access keys, roles, policies and what has which.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local shell    = require "neap.targets.shell"
local task     = require "native.task"

local iam = {}

local function check_name(value, what, level)
  if type(value) ~= "string" or not value:find "^[%w+=,.@_-]+$" then
    error(("%s: %q is no name"):format(what, tostring(value)), level + 1)
  end
end

local function change(target, operation, parameters)
  return account.change(target, operation, parameters, { repeatable = false })
end

-- ---- access keys ----

local function list_keys(target)
  local list = {}
  for _, key in ipairs(resource.all(target, "ListAccessKeys", { UserName = target.user }, "AccessKeyMetadata")) do
    list[#list + 1] = { id = key.AccessKeyId, status = key.Status, created = key.CreateDate }
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

local function status_of(target)
  for _, key in ipairs(list_keys(target)) do
    if key.id == target.id then return key.status end
  end
end

--- The key that is there and was not known before; nil where there is none.
local function unknown_key(target, known)
  local set = {}
  for _, id in ipairs(known) do set[id] = true end
  for _, key in ipairs(list_keys(target)) do
    if not set[key.id] then return key.id end
  end
end

local function delete_key(target, id)
  local ok, failure = pcall(account.change, target, "DeleteAccessKey", { UserName = target.user, AccessKeyId = id },
    { repeatable = true })
  if not ok and not fault.is(failure, "missing") then error(failure, 0) end
end

--- A user has two keys at most: which there are is what the operator wants to know then.
local function refuse_key(target, failure)
  if fault.is(failure) and failure.code == "LimitExceeded" then
    local lines = {}
    for i, key in ipairs(list_keys(target)) do
      lines[i] = ("%s %s, made at %s"):format(key.id, key.status, key.created)
    end
    failure.output = table.concat(lines, "\n")
    failure.hint = "delete one that nobody uses: iam.deactivate_key, then iam.delete_key"
  end
  error(failure, 0)
end

effect.action "iam.create_key" {
  timeout = 120,
  run = function(target, data)
    local ok, found = pcall(account.change, target, "CreateAccessKey", { UserName = target.user },
      { repeatable = false, happened = function() return unknown_key(target, data.known) ~= nil end })
    if not ok then refuse_key(target, found) end
    if not found then
      fault.raise { kind = "lost",
        message = ("a key of %s was made, and its secret did not arrive"):format(target.user) }
    end
    return { id = found.AccessKey.AccessKeyId, secret = found.AccessKey.SecretAccessKey }
  end,
  undo = function(target, _, call)
    local id = call.result and call.result.id or unknown_key(target, call.data.known)
    if id then delete_key(target, id) end
  end,
  take = function(target, _, intent)
    local known = intent.data.known
    if intent.undoes then
      task.sleep(account.late(target, intent))
      return unknown_key(target, known) and "void" or "done"
    end
    if not unknown_key(target, known) then task.sleep(account.late(target, intent)) end
    if not unknown_key(target, known) then return "void" end
    return "partial", "a key was made, and its secret did not arrive"
  end,
  meet = account.meet,
  show = function(target) return "access key of " .. target.user end,
  says = function() return "is made" end,
}

resource.declare("iam.key_status", {
  get = status_of,
  put = function(target, status)
    account.change(target, "UpdateAccessKey", { UserName = target.user, AccessKeyId = target.id, Status = status },
      { repeatable = true })
  end,
  show = function(target) return ("access key %s of %s"):format(target.id, target.user) end,
  text = function(status) return status end,
})

effect.action "iam.delete_key" {
  timeout = 120,
  run = function(target) delete_key(target, target.id) end,
  take = function(target, _, intent)
    if status_of(target) then task.sleep(account.late(target, intent)) end
    return status_of(target) and "void" or "done"
  end,
  meet = account.meet,
  show = function(target) return ("access key %s of %s"):format(target.id, target.user) end,
  says = function() return "is deleted for good" end,
}

local read_keys = effect.read("iam.keys", list_keys)

local function keys_of(user, options, more)
  check_name(user, "user", 3)
  options = resource.options(options, {}, 3)
  local fields = { user = user }
  for key, value in pairs(more or {}) do fields[key] = value end
  return resource.target("iam", options, fields), options
end

--- The access keys of a user.
--- @param user string
--- @param options? table  profile, region, endpoint
--- @return { id: string, status: "Active"|"Inactive", created: string }[]
function iam.keys(user, options) return read_keys((keys_of(user, options))) end

--- Makes an access key; a rollback deletes it. Its secret is a secret value.
--- @param user string
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
--- @return { id: string, secret: native.secret.value }
function iam.create_key(user, options)
  local known = {}
  local target, checked = keys_of(user, options)
  for i, key in ipairs(read_keys(resource.apart(target))) do known[i] = key.id end
  return effect.perform("iam.create_key", target, { known = known }, resource.of_change(checked))
end

local function set_status(user, id, status, options)
  local target
  target, options = keys_of(user, options, { id = id })
  effect.change("iam.key_status", target, function(before)
    if before then return status end
    return fault.raise { kind = "missing", message = ("%s has no access key %s"):format(user, id) }
  end, resource.of_change(options))
end

--- Lets an access key in again.
--- @param user string
--- @param id string  of an access key
--- @param options? table  as of iam.create_key
function iam.activate_key(user, id, options) set_status(user, id, "Active", options) end

--- Lets an access key in no more; it is still there.
--- @param user string
--- @param id string  of an access key
--- @param options? table  as of iam.create_key
function iam.deactivate_key(user, id, options) set_status(user, id, "Inactive", options) end

--- Deletes an access key, which must be inactive. It does not come back: say `keep` where nobody is harmed, else it is
--- a point of no return.
--- @param user string
--- @param id string
--- @param options? table  as of iam.create_key
function iam.delete_key(user, id, options)
  local target
  target, options = keys_of(user, options, { id = id })
  local status = effect.state("iam.key_status", target)
  if status == "Active" then
    fault.raise { kind = "conflict", message = ("the access key %s of %s is active"):format(id, user),
      hint = "iam.deactivate_key first, and see that nobody misses it" }
  end
  if status then effect.perform("iam.delete_key", target, nil, resource.of_change(options)) end
end

-- ---- roles ----

resource.declare("iam.role", {
  get = function(target)
    local found = account.find(target, "GetRole", { RoleName = target.name })
    local role = found and found.Role
    return role and { trust = resource.document(role.AssumeRolePolicyDocument),
      description = role.Description ~= "" and role.Description or nil,
      longest_session = role.MaxSessionDuration or 3600, path = role.Path }
  end,
  put = function(target, state, call)
    if not state then return change(target, "DeleteRole", { RoleName = target.name }) end
    if not call.before then
      return change(target, "CreateRole", { RoleName = target.name, Path = state.path, Description = state.description,
        AssumeRolePolicyDocument = state.trust, MaxSessionDuration = state.longest_session })
    end
    account.change(target, "UpdateAssumeRolePolicy", { RoleName = target.name, PolicyDocument = state.trust },
      { repeatable = true })
    return account.change(target, "UpdateRole", { RoleName = target.name, Description = state.description or "",
      MaxSessionDuration = state.longest_session }, { repeatable = true })
  end,
  show = function(target) return "role " .. target.name end,
})

local ROLE = { trust = true, description = true, longest_session = true, path = true }

--- A policy's text in one form. Raises a mistake where it is none.
local function policy_of(document, what, level)
  local ok, text = pcall(resource.document, document)
  if ok and text:find "^{" then return text end
  if not ok and fault.is(text) and text.kind ~= "protocol" then error(text, 0) end -- what a plan does not know yet, say
  local why = document == nil and "it is missing" or ok and "it is no map"
    or fault.is(text) and text.message or tostring(text)
  error(("%s is a policy, as JSON or as a table: %s"):format(what, why), level + 1)
end

--- Makes a role be as given: { trust = the policy of who may take it, description =, longest_session = seconds, path =
--- }; nil: not there. A role that has policies is not deleted by AWS.
--- @param name string
--- @param role table?
--- @param options? table  as of iam.create_key
function iam.role(name, role, options)
  check_name(name, "role", 2)
  options = resource.options(options, {}, 2)
  if role ~= nil then shell.check_options(role, ROLE, 2) end
  local wanted = role and { trust = policy_of(role.trust, "trust", 2), description = role.description,
    longest_session = role.longest_session or 3600 }
  effect.change("iam.role", resource.target("iam", options, { name = name }), function(before)
    if wanted then wanted.path = before and before.path or role.path or "/" end
    return wanted
  end, resource.of_change(options))
end

-- ---- policies within a role, user or group ----

local OWNERS = {
  role = { member = "RoleName", get = "GetRolePolicy", put = "PutRolePolicy", delete = "DeleteRolePolicy",
    list = "ListAttachedRolePolicies", attach = "AttachRolePolicy", detach = "DetachRolePolicy" },
  user = { member = "UserName", get = "GetUserPolicy", put = "PutUserPolicy", delete = "DeleteUserPolicy",
    list = "ListAttachedUserPolicies", attach = "AttachUserPolicy", detach = "DetachUserPolicy" },
  group = { member = "GroupName", get = "GetGroupPolicy", put = "PutGroupPolicy", delete = "DeleteGroupPolicy",
    list = "ListAttachedGroupPolicies", attach = "AttachGroupPolicy", detach = "DetachGroupPolicy" },
}

--- Which of role, user and group is named, and by what.
local function owner_of(owner, level)
  local kind, name = next(owner)
  if not OWNERS[kind] or next(owner, kind) then
    error('whose is one of { role = "…" }, { user = "…" }, { group = "…" }', level + 1)
  end
  check_name(name, kind, level + 1)
  return kind, name
end

resource.declare("iam.inline", {
  get = function(target)
    local owner = OWNERS[target.owner]
    local found = account.find(target, owner.get, { [owner.member] = target.name, PolicyName = target.policy })
    return found and resource.document(found.PolicyDocument)
  end,
  put = function(target, document)
    local owner = OWNERS[target.owner]
    account.change(target, document and owner.put or owner.delete,
      { [owner.member] = target.name, PolicyName = target.policy, PolicyDocument = document }, { repeatable = true })
  end,
  show = function(target) return ("policy %s of %s %s"):format(target.policy, target.owner, target.name) end,
  text = resource.pretty,
})

--- Makes a policy within a role, user or group be this document; nil: not there.
--- @param owner { role?: string, user?: string, group?: string }
--- @param policy string
--- @param document table|string|nil
--- @param options? table  as of iam.create_key
function iam.inline_policy(owner, policy, document, options)
  local kind, name = owner_of(owner, 2)
  check_name(policy, "policy", 2)
  options = resource.options(options, {}, 2)
  local wanted = document and policy_of(document, "the document", 2)
  effect.change("iam.inline", resource.target("iam", options, { owner = kind, name = name, policy = policy }),
    function() return wanted end, resource.of_change(options))
end

-- ---- attachments ----

--- The managed policies of a role, user or group; who is not there, yet, has none.
local function attached_to(target)
  local owner = OWNERS[target.owner]
  local ok, list = pcall(resource.all, target, owner.list, { [owner.member] = target.name }, "AttachedPolicies")
  if ok then return list end
  if fault.is(list, "missing") then return {} end
  error(list, 0)
end

resource.declare("iam.attachment", {
  get = function(target)
    for _, one in ipairs(attached_to(target)) do
      if one.PolicyArn == target.policy then return true end
    end
  end,
  put = function(target, attached)
    local owner = OWNERS[target.owner]
    account.change(target, attached and owner.attach or owner.detach,
      { [owner.member] = target.name, PolicyArn = target.policy }, { repeatable = true })
  end,
  show = function(target) return ("%s of %s %s"):format(target.policy, target.owner, target.name) end,
  text = function() return "attached" end,
})

local function attachment(owner, policy, attached, options)
  local kind, name = owner_of(owner, 3)
  options = resource.options(options, {}, 3)
  effect.change("iam.attachment", resource.target("iam", options, { owner = kind, name = name, policy = policy }),
    function() return attached end, resource.of_change(options))
end

--- Gives a role, user or group a managed policy.
--- @param owner { role?: string, user?: string, group?: string }
--- @param policy string  its ARN
--- @param options? table  as of iam.create_key
function iam.attach(owner, policy, options) attachment(owner, policy, true, options) end

--- Takes a managed policy away from a role, a user or a group.
--- @param owner { role?: string, user?: string, group?: string }
--- @param policy string  its ARN
--- @param options? table  as of iam.create_key
function iam.detach(owner, policy, options) attachment(owner, policy, nil, options) end

-- ---- managed policies ----

local function document_of(target, version)
  local found = account.read(target, "GetPolicyVersion", { PolicyArn = target.policy, VersionId = version })
  return resource.document(found.PolicyVersion.Document)
end

local function versions_of(target)
  return resource.all(target, "ListPolicyVersions", { PolicyArn = target.policy }, "Versions")
end

local MOST_VERSIONS = 5 -- that AWS keeps of a policy

local function version_number(one) return tonumber(one.VersionId:match "%d+") end

--- Makes room, where there is none: the oldest version goes.
local function make_room(target, list)
  if #list < MOST_VERSIONS then return end
  local oldest
  for _, one in ipairs(list) do
    if not one.IsDefaultVersion and (not oldest or version_number(one) < version_number(oldest)) then oldest = one end
  end
  change(target, "DeletePolicyVersion", { PolicyArn = target.policy, VersionId = oldest.VersionId })
end

--- Makes a version with that document the one that counts; one above it that it takes back is deleted.
local function go_back(target, list, document)
  local current
  for _, one in ipairs(list) do current = one.IsDefaultVersion and one or current end
  for _, one in ipairs(list) do
    if not one.IsDefaultVersion and document_of(target, one.VersionId) == document then
      account.change(target, "SetDefaultPolicyVersion", { PolicyArn = target.policy, VersionId = one.VersionId },
        { repeatable = true })
      if version_number(one) < version_number(current) then
        change(target, "DeletePolicyVersion", { PolicyArn = target.policy, VersionId = current.VersionId })
      end
      return true
    end
  end
end

resource.declare("iam.policy", {
  get = function(target)
    local found = account.find(target, "GetPolicy", { PolicyArn = target.policy })
    return found and document_of(target, found.Policy.DefaultVersionId)
  end,
  put = function(target, document)
    local list = versions_of(target)
    if go_back(target, list, document) then return end
    make_room(target, list)
    change(target, "CreatePolicyVersion", { PolicyArn = target.policy, PolicyDocument = document, SetAsDefault = true })
  end,
  show = function(target) return "policy " .. target.policy end,
  text = resource.pretty,
})

--- Makes a managed policy that is there say this, as a new version of it, or an earlier one with the same text; a fifth
--- version pushes the oldest out, which does not come back.
--- @param policy string  its ARN
--- @param document table|string
--- @param options? table  as of iam.create_key
function iam.policy(policy, document, options)
  options = resource.options(options, {}, 2)
  local wanted = policy_of(document, "the document", 2)
  effect.change("iam.policy", resource.target("iam", options, { policy = policy }), function(before)
    if before then return wanted end
    return fault.raise { kind = "missing", message = ("there is no policy %s"):format(policy) }
  end, resource.of_change(options))
end

return iam
