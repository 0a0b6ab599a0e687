--- Redshift: clusters and what they are made with, the roles that they act by, reboots.
local account  = require "neap.targets.aws.account"
local cluster  = require "neap.targets.aws.redshift_cluster"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local groups   = require "neap.targets.aws.redshift_groups"
local near     = require "neap.near"
local resource = require "neap.targets.aws.resource"
local secret   = require "native.secret"
local task     = require "native.task"

local redshift = { parameter_group = groups.parameter_group, subnet_group = groups.subnet_group, wlm = groups.wlm }

local EVERY  = 15 -- seconds between two looks
local SHOWS  = 60 -- seconds in which a cluster shows that parameters wait for it

local function missing(name)
  fault.raise { kind = "missing", message = ("there is no cluster %s"):format(name) }
end

-- ---- clusters ----

local FIELDS = { node_type = "string", nodes = "number", database = "string", user = "string", port = "number",
  public = "boolean", encrypted = "boolean", subnet_group = "string", parameter_group = "string",
  security_groups = "table" }
local MADE_WITH = { password = true, managed = true }
local NEEDED = { "node_type", "user", "subnet_group", "security_groups" }
local DEFAULTS = { nodes = 1, database = "dev", port = 5439, public = false, encrypted = true,
  parameter_group = "default.redshift-1.0" }
local FIXED = { "database", "user", "subnet_group" }

local function check_cluster(given, level)
  if type(given) ~= "table" then error("a cluster is a table: { node_type = …, nodes = …, … }", level + 1) end
  for key, value in pairs(given) do
    if not FIELDS[key] and not MADE_WITH[key] then
      error(("a cluster has no %q%s"):format(tostring(key), near.hint(key, FIELDS)), level + 1)
    end
    if FIELDS[key] and type(value) ~= FIELDS[key] then
      error(("%s of a cluster is a %s, expected a %s"):format(key, type(value), FIELDS[key]), level + 1)
    end
  end
  if given.password ~= nil and not secret.is(given.password) then
    error("a password is a secret of the environment: env.secrets.NAME", level + 1)
  end
end

local function check_new(name, given)
  for _, key in ipairs(NEEDED) do
    if given[key] == nil then
      fault.raise { kind = "missing",
        message = ("there is no cluster %s, and to make it %s is needed"):format(name, key) }
    end
  end
end

local function wanted(name, given, before)
  local state = {}
  if not before then check_new(name, given) end
  for key in pairs(FIELDS) do
    state[key] = given[key]
    if state[key] == nil then state[key] = (before or DEFAULTS)[key] end
  end
  state.security_groups = { table.unpack(state.security_groups) }
  table.sort(state.security_groups)
  for _, key in ipairs(before and FIXED or {}) do
    if state[key] ~= before[key] then
      fault.raise { kind = "conflict",
        message = ("%s of the cluster %s is %s, and cannot be changed"):format(key, name, tostring(before[key])) }
    end
  end
  return state
end

local function cluster_target(name, options, fields)
  fields = fields or {}
  fields.cluster = name
  return resource.target("redshift", options, fields)
end

--- Makes a cluster be so, and waits until it is available: fields that are not given stay, of a new one they are
--- Redshift's own (one node, database dev, port 5439, encrypted, not public). Another number or type of nodes resizes
--- it. The password counts when it is made; managed = true: AWS keeps one. A rollback deletes a cluster that was made,
--- without a snapshot unless the option says which.
--- @param name string
--- @param given { node_type?: string, nodes?: integer, database?: string, user?: string, password?:
---   native.secret.value, managed?: boolean, port?: integer, public?: boolean, encrypted?: boolean, subnet_group?:
---   string, parameter_group?: string, security_groups?: string[] }
--- @param options? table  classic (the resize), snapshot (taken where a rollback deletes it); keep, irreversible,
---   timeout; profile, region, endpoint
function redshift.cluster(name, given, options)
  options = resource.options(options, { classic = true, snapshot = true }, 2)
  check_cluster(given, 2)
  local target = cluster_target(name, options, { password = given.password, managed = given.managed,
    classic = options.classic, snapshot = options.snapshot })
  if given.managed then -- older models do not know it
    account.client(target):check("ModifyCluster", { ClusterIdentifier = name, ManageMasterPassword = true }, 2)
  end
  effect.change("redshift.cluster", target, function(before) return wanted(name, given, before) end,
    resource.of_change(options))
end

local function roles_of(target)
  local one, list = cluster.describe(target), {}
  if not one then return nil end
  for _, role in ipairs(one.IamRoles or {}) do
    if role.ApplyStatus ~= "removing" then list[#list + 1] = role.IamRoleArn end
  end
  table.sort(list)
  return list
end

local read_roles = effect.read("redshift.roles", roles_of)

--- Deletes a cluster behind a final snapshot, from which a rollback restores it; that snapshot stays. snapshot =
--- false: no snapshot is taken, which needs `irreversible`.
--- @param name string
--- @param options table  snapshot: its name, not taken yet, or false; keep, irreversible, timeout; profile, region
function redshift.delete(name, options)
  options = resource.options(options, { snapshot = true }, 2)
  local snapshot = options.snapshot
  if type(snapshot) ~= "string" and (snapshot ~= false or not options.irreversible) then
    error('name the final snapshot: { snapshot = "…" }, or say { snapshot = false, irreversible = "why" }', 2)
  end
  local target = cluster_target(name, options)
  target.roles, target.snapshot = read_roles(resource.apart(target)), snapshot or nil
  effect.change("redshift.cluster", target, function() return nil end, resource.of_change(options))
end

-- ---- roles ----

local function is_in_sync(one)
  for _, role in ipairs(one.IamRoles or {}) do
    if role.ApplyStatus ~= "in-sync" then return false end
  end
  return true
end

local function difference(list, other)
  local set, only = {}, {}
  for _, one in ipairs(other) do set[one] = true end
  for _, one in ipairs(list) do
    if not set[one] then only[#only + 1] = one end
  end
  return only
end

local function wait_until_in_sync(target)
  local one, count = cluster.describe(target), 0
  while one and not is_in_sync(one) do
    count = count + 1
    resource.pause(count, EVERY)
    one = cluster.describe(target)
  end
end

local function put_roles(target, state)
  cluster.wait_until_at_rest(target)
  local now = roles_of(target) or missing(target.cluster)
  account.change(target, "ModifyClusterIamRoles", { ClusterIdentifier = target.cluster,
    AddIamRoles = difference(state, now), RemoveIamRoles = difference(now, state) }, { repeatable = true })
  wait_until_in_sync(target)
end

resource.declare("redshift.roles", {
  timeout = 1800, get = roles_of, put = put_roles,
  show = function(target) return "roles of cluster " .. target.cluster end,
  text = function(list) return table.concat(list, "\n") end,
})

local function check_role(role, level)
  if type(role) ~= "string" or not role:find "^arn:[^:]+:iam::" then
    error(("%q is no ARN of a role"):format(tostring(role)), level + 1)
  end
end

local function change_roles(name, role, is_attached, options)
  options = resource.options(options, {}, 3)
  check_role(role, 3)
  effect.change("redshift.roles", cluster_target(name, options), function(before)
    local list = difference(before or missing(name), { role })
    if is_attached then list[#list + 1] = role end
    table.sort(list)
    return list
  end, resource.of_change(options))
end

--- Lets a cluster act by a role (read from S3, for one), and waits until it can.
--- @param name string
--- @param role string  its ARN
--- @param options? table  keep, irreversible, timeout; profile, region, endpoint
function redshift.attach(name, role, options) change_roles(name, role, true, options) end

--- Takes roles away from a cluster, and waits until they are gone.
--- @param name string
--- @param role string  its ARN
--- @param options? table  as of redshift.attach
function redshift.detach(name, role, options) change_roles(name, role, false, options) end

--- The roles that a cluster may act by, sorted.
--- @param name string
--- @param options? table  profile, region, endpoint
--- @return string[]
function redshift.roles(name, options)
  return read_roles(cluster_target(name, account.check_options(options, {}, 2))) or missing(name)
end

-- ---- reboots ----

local function status_of_parameters(one)
  return ((one.ClusterParameterGroups or {})[1] or {}).ParameterApplyStatus or "in-sync"
end

local function is_pending(target)
  return status_of_parameters(cluster.wait_until_at_rest(target) or missing(target.cluster)) == "pending-reboot"
end

--- Whether parameters wait for a reboot, once the cluster shows that they were changed; such as need none are waited
--- for.
local function waits_for_reboot(target)
  local ends, seen = task.now() + SHOWS, false
  for count = 1, math.huge do
    local one = cluster.describe(target) or missing(target.cluster)
    local status, is_at_rest = status_of_parameters(one), cluster.is_at_rest(one)
    if is_at_rest and status == "pending-reboot" then return true end
    local is_quiet = is_at_rest and status == "in-sync"
    if is_quiet and (seen or task.now() >= ends) then return false end
    seen = seen or not is_quiet
    resource.pause(count, EVERY)
  end
end

local function reboot(target)
  if not waits_for_reboot(target) then return end
  account.change(target, "RebootCluster", { ClusterIdentifier = target.cluster }, { repeatable = false })
  for count = 1, math.huge do
    if not is_pending(target) then return end
    resource.pause(count, EVERY)
  end
end

effect.action "redshift.reboot" {
  timeout = 3600, run = reboot, meet = account.meet,
  take = function(target, _, intent)
    if is_pending(target) then task.sleep(account.late(target, intent)) end
    return is_pending(target) and "void" or "done"
  end,
  show = function(target) return "cluster " .. target.cluster end,
  says = function() return "is rebooted where parameters wait for it" end,
}

--- Reboots a cluster after what `fn` changes of its parameters, if that waits for a reboot; a rollback does so after
--- they are put back. Nothing is rebooted where fn changes nothing.
--- @param name string
--- @param fn fun()
--- @param options? table  profile, region, endpoint
function redshift.with_reboot(name, fn, options)
  return effect.bracket("redshift.reboot", cluster_target(name, account.check_options(options, {}, 2)), fn)
end

-- ---- reads ----

local read_cluster = effect.read("redshift.describe", function(target)
  local one = cluster.describe(target)
  if not one then return nil end
  local state = cluster.get(target) or {}
  state.status, state.address = one.ClusterStatus, one.Endpoint and one.Endpoint.Address
  state.parameters = status_of_parameters(one)
  return state
end)

--- What Redshift says of a cluster: as redshift.cluster takes it, and status, address, and whether its parameters are
--- in-sync or wait (pending-reboot). nil: it is not there.
--- @param name string
--- @param options? table  profile, region, endpoint
--- @return table?
function redshift.describe(name, options)
  return read_cluster(cluster_target(name, account.check_options(options, {}, 2)))
end

return redshift
