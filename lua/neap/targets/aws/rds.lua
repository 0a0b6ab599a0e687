--- Snapshots of databases of RDS and of clusters of Aurora.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local task     = require "native.task"

local rds = {}

local EVERY = 15 -- seconds between two looks

local OF = {
  database = { create = "CreateDBSnapshot", describe = "DescribeDBSnapshots", delete = "DeleteDBSnapshot",
    list = "DBSnapshots", id = "DBSnapshotIdentifier", source = "DBInstanceIdentifier" },
  cluster = { create = "CreateDBClusterSnapshot", describe = "DescribeDBClusterSnapshots",
    delete = "DeleteDBClusterSnapshot", list = "DBClusterSnapshots", id = "DBClusterSnapshotIdentifier",
    source = "DBClusterIdentifier" },
}

local function find(target)
  local of = OF[target.of]
  local found = account.find(target, of.describe, { [of.id] = target.snapshot })
  return found and found[of.list] and found[of.list][1]
end

local function wait_until_available(target)
  while true do
    local one = find(target)
    if one and one.Status == "available" then return { snapshot = target.snapshot, size_gib = one.AllocatedStorage } end
    if not one or one.Status:find "fail" or one.Status == "error" then
      fault.raise { kind = "remote",
        message = ("the snapshot %s is %s"):format(target.snapshot, one and one.Status or "not there") }
    end
    task.sleep(EVERY)
  end
end

local function refuse_taken(target, one)
  if not one then return end
  resource.refuse_taken("a snapshot " .. target.snapshot, ("of %s, made at %s"):format(
    one[OF[target.of].source] or "something else", one.SnapshotCreateTime or "an unknown time"))
end

local function mark_of(one) return one and resource.mark_in(one.TagList) end

local function delete(target, call)
  local of, one = OF[target.of], find(target)
  if one and not resource.is_of_run(mark_of(one), call.witness) then refuse_taken(target, one) end
  if one then account.change(target, of.delete, { [of.id] = target.snapshot }, { repeatable = true }) end
  while find(target) do task.sleep(EVERY) end
end

--- Its mark tells whose a snapshot is: somebody else may have taken the name.
local function take(target, id, intent)
  if not find(target) then task.sleep(account.late(target, intent)) end
  local one = find(target)
  if intent.undoes then return resource.is_of_run(mark_of(one), id) and "void" or "done" end
  if mark_of(one) ~= id then return "void" end
  return "done", wait_until_available(target)
end

effect.action "rds.snapshot" {
  timeout = 3600 * 6,
  run = function(target, _, call)
    local of = OF[target.of]
    refuse_taken(target, find(target))
    account.change(target, of.create, { [of.id] = target.snapshot, [of.source] = target.source,
      Tags = { { Key = resource.MARK, Value = call.witness } } }, { repeatable = false })
    return wait_until_available(target)
  end,
  undo = function(target, _, call) return delete(target, call) end,
  take = take,
  meet = account.meet,
  show = function(target) return ("snapshot %s of %s"):format(target.snapshot, target.source) end,
  says = function() return "is made" end,
}

local look_for_taken = effect.read("rds.taken", function(target) refuse_taken(target, find(target)) end)

--- Makes a snapshot of a database ({ database = id }) or of a cluster ({ cluster = id }) and waits until it is there; a
--- rollback deletes it, unless it is to be kept. Raises kind `conflict` where there is one of that name that this effect
--- has not made.
--- @param source { database?: string, cluster?: string }
--- @param snapshot string  its name, not taken yet
--- @param options? table   keep, irreversible, timeout; profile, region, endpoint
--- @return { snapshot: string, size_gib: integer }
function rds.snapshot(source, snapshot, options)
  local of, id = next(source)
  if not OF[of] or next(source, of) then error('the source is { database = "…" } or { cluster = "…" }', 2) end
  options = resource.options(options, {}, 2)
  local target = resource.target("rds", options, { of = of, source = id, snapshot = snapshot })
  if effect.planning() then look_for_taken(resource.apart(target)) end
  return effect.perform("rds.snapshot", target, nil, resource.of_change(options))
end

return rds
