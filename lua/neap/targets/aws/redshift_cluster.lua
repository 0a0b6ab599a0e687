--- The kind of effect on a cluster of Redshift: made, resized, changed, deleted behind a final snapshot, and restored
--- from that one.
local account    = require "neap.targets.aws.account"
local effect     = require "neap.engine.effect"
local fault      = require "native.error"
local resource   = require "neap.targets.aws.resource"
local task       = require "native.task"

local cluster = {}

local EVERY = 15 -- seconds between two looks
local LOOKS = 8  -- in a row that find a cluster at rest and not as it shall be: nothing more is coming

local BROKEN = { ["hardware-failure"] = true, ["incompatible-hsm"] = true, ["incompatible-network"] = true,
  ["incompatible-parameters"] = true, ["incompatible-restore"] = true, ["storage-full"] = true }
local AT_REST = { available = true, paused = true }
local AWAITED = { "NodeType", "NumberOfNodes", "ClusterType", "PubliclyAccessible", "EncryptionType" }

-- ---- what is there ----

--- What Redshift says of a cluster; nil where it is not there.
--- @param target { cluster: string }
--- @return table?
function cluster.describe(target)
  local found = account.find(target, "DescribeClusters", { ClusterIdentifier = target.cluster })
  return found and found.Clusters and found.Clusters[1]
end

local function is_going(one) return one.ClusterStatus == "deleting" or one.ClusterStatus == "final-snapshot" end

--- Whether neither a change is under way nor one waits.
--- @param one table  of cluster.describe
--- @return boolean
function cluster.is_at_rest(one)
  if not AT_REST[one.ClusterStatus] then return false end
  for _, name in ipairs(AWAITED) do
    if (one.PendingModifiedValues or {})[name] ~= nil then return false end
  end
  return true
end

local function names_of(list, key)
  local names = {}
  for i, one in ipairs(list or {}) do names[i] = one[key] end
  table.sort(names)
  return names
end

--- @param target table
--- @return table?
function cluster.get(target)
  local one = cluster.describe(target)
  if not one or is_going(one) then return nil end
  return { node_type = one.NodeType, nodes = one.NumberOfNodes, database = one.DBName, user = one.MasterUsername,
    port = one.Endpoint and one.Endpoint.Port or 5439, public = one.PubliclyAccessible == true,
    encrypted = one.Encrypted == true, subnet_group = one.ClusterSubnetGroupName,
    parameter_group = names_of(one.ClusterParameterGroups, "ParameterGroupName")[1],
    security_groups = names_of(one.VpcSecurityGroups, "VpcSecurityGroupId") }
end

--- Waits until a cluster is at rest; nil where it is gone. Raises kind `remote` where it is broken.
--- @param target table
--- @return table?
function cluster.wait_until_at_rest(target)
  local one, count = cluster.describe(target), 0
  while one and not cluster.is_at_rest(one) do
    if BROKEN[one.ClusterStatus] then
      fault.raise { kind = "remote", code = one.ClusterStatus,
        message = ("the cluster %s is %s"):format(target.cluster, one.ClusterStatus) }
    end
    count = count + 1
    resource.pause(count, EVERY)
    one = cluster.describe(target)
  end
  return one
end

--- Waits until a cluster is so. What was asked for may begin to show some time later, so one that is at rest is looked
--- at again; the verification says of one that stays as it was.
local function wait_until(target, state)
  for count = 1, LOOKS do
    cluster.wait_until_at_rest(target)
    if effect.same(cluster.get(target), state) then return end
    resource.pause(count, EVERY)
  end
end

-- ---- changes ----

local function cluster_type(nodes) return nodes > 1 and "multi-node" or "single-node" end

local function creation(target, state)
  return { ClusterIdentifier = target.cluster, NodeType = state.node_type, ClusterType = cluster_type(state.nodes),
    NumberOfNodes = state.nodes > 1 and state.nodes or nil, DBName = state.database, MasterUsername = state.user,
    MasterUserPassword = target.password, ManageMasterPassword = target.managed, Port = state.port,
    PubliclyAccessible = state.public, Encrypted = state.encrypted, ClusterSubnetGroupName = state.subnet_group,
    ClusterParameterGroupName = state.parameter_group, VpcSecurityGroupIds = state.security_groups }
end

local function restoration(target, state)
  return { ClusterIdentifier = target.cluster, SnapshotIdentifier = target.snapshot, NodeType = state.node_type,
    NumberOfNodes = state.nodes, Port = state.port, PubliclyAccessible = state.public, Encrypted = state.encrypted,
    ClusterSubnetGroupName = state.subnet_group, ClusterParameterGroupName = state.parameter_group,
    VpcSecurityGroupIds = state.security_groups, IamRoles = target.roles }
end

local function create(target, state, call)
  while cluster.describe(target) do task.sleep(EVERY) end -- one that is being deleted
  if call.undoes and target.snapshot then
    return resource.make(target, "RestoreFromClusterSnapshot", restoration(target, state))
  end
  if not target.password and not target.managed then
    fault.raise { kind = "denied", message = ("the password of %s is not known"):format(target.cluster),
      hint = "give it, or managed = true" }
  end
  return resource.make(target, "CreateCluster", creation(target, state))
end

local function delete(target)
  local ok, failure = pcall(account.change, target, "DeleteCluster", { ClusterIdentifier = target.cluster,
    SkipFinalClusterSnapshot = target.snapshot == nil, FinalClusterSnapshotIdentifier = target.snapshot },
    { repeatable = true })
  local one = cluster.describe(target)
  if not ok and one and not is_going(one) then error(failure, 0) end
  for count = 1, math.huge do
    if not cluster.describe(target) then return end
    resource.pause(count, EVERY)
  end
end

local SIZE = { node_type = true, nodes = true }
local SETTINGS = { parameter_group = "ClusterParameterGroupName", security_groups = "VpcSecurityGroupIds",
  public = "PubliclyAccessible", encrypted = "Encrypted", port = "Port" }

local function resize(target, state)
  account.change(target, "ResizeCluster", { ClusterIdentifier = target.cluster, NodeType = state.node_type,
    ClusterType = cluster_type(state.nodes), NumberOfNodes = state.nodes, Classic = target.classic or false },
    { repeatable = true })
end

--- The same state with the size of another.
local function of_size(state, other)
  local copy = {}
  for name, value in pairs(state) do copy[name] = SIZE[name] and other[name] or value end
  return copy
end

--- Settings first, then the size: Redshift makes one change after the other.
local function modify(target, state, now)
  local changed = {}
  for name, parameter in pairs(SETTINGS) do
    if not effect.same(state[name], now[name]) then changed[parameter] = state[name] end
  end
  if next(changed) then
    changed.ClusterIdentifier = target.cluster
    account.change(target, "ModifyCluster", changed, { repeatable = true })
    wait_until(target, of_size(state, now))
  end
  if not effect.same(of_size(state, now), state) then resize(target, state) end
end

local function put(target, state, call)
  if not state then return delete(target) end
  local now = cluster.wait_until_at_rest(target) and cluster.get(target)
  if now then modify(target, state, now) else create(target, state, call) end
  wait_until(target, state)
end

-- ---- settling ----

local function is_moving(target)
  local one = cluster.describe(target)
  return one and not cluster.is_at_rest(one) and not BROKEN[one.ClusterStatus] and one.ClusterStatus
end

local take_at_rest = resource.taken_in_parts(cluster.get, function(state) return state end)

local function take(target, id, intent)
  local moving = is_moving(target)
  if moving then return "running", ("the cluster is %s"):format(moving) end
  local verdict, why = take_at_rest(target, id, intent)
  if is_moving(target) then return "running", "the cluster is changing" end
  return verdict, why
end

effect.resource "redshift.cluster" {
  timeout = 3600 * 12, get = cluster.get, put = put, take = take, meet = account.meet,
  show = function(target) return "cluster " .. target.cluster end,
  key = function(target) return { target.cluster, target.region, target.profile } end,
}

return cluster
