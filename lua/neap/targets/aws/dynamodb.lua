--- Global secondary indexes of DynamoDB's tables, added and removed one at a time.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local task     = require "native.task"

local dynamodb = {}

local EVERY = 5 -- seconds between two looks

local function describe(target)
  local found = account.find(target, "DescribeTable", { TableName = target.table })
  return found and found.Table
end

local function index_of(target, description)
  for _, one in ipairs(description and description.GlobalSecondaryIndexes or {}) do
    if one.IndexName == target.index then return one end
  end
end

local function key_type(description, name)
  for _, one in ipairs(description.AttributeDefinitions) do
    if one.AttributeName == name then return one.AttributeType end
  end
end

local function get(target)
  local description = describe(target)
  local one = index_of(target, description)
  if not one then return nil end
  local state = { keys = {}, projection = one.Projection.ProjectionType, fields = one.Projection.NonKeyAttributes }
  for i, key in ipairs(one.KeySchema) do
    state.keys[i] = { name = key.AttributeName, key = key.KeyType, type = key_type(description, key.AttributeName) }
  end
  if state.fields and not state.fields[1] then state.fields = nil end
  local throughput = one.ProvisionedThroughput or {}
  if (throughput.ReadCapacityUnits or 0) > 0 then
    state.read, state.write = throughput.ReadCapacityUnits, throughput.WriteCapacityUnits
  end
  return state
end

--- Waits until neither the table nor any of its indexes is changing: DynamoDB takes one change at a time.
local function wait_until_still(target)
  local function is_still()
    local description = describe(target)
    if description and description.TableStatus ~= "ACTIVE" then return false end
    for _, one in ipairs(description and description.GlobalSecondaryIndexes or {}) do
      if one.IndexStatus and one.IndexStatus ~= "ACTIVE" then return false end
    end
    return true
  end
  while not is_still() do task.sleep(EVERY) end
end

local function creation(target, state)
  local keys, definitions = {}, {}
  for i, key in ipairs(state.keys) do
    keys[i] = { AttributeName = key.name, KeyType = key.key }
    definitions[i] = { AttributeName = key.name, AttributeType = key.type }
  end
  local create = { IndexName = target.index, KeySchema = keys,
    Projection = { ProjectionType = state.projection, NonKeyAttributes = state.fields } }
  if state.read then
    create.ProvisionedThroughput = { ReadCapacityUnits = state.read, WriteCapacityUnits = state.write }
  end
  return { Create = create }, definitions
end

local function update(target, change, definitions)
  wait_until_still(target)
  account.change(target, "UpdateTable", { TableName = target.table, AttributeDefinitions = definitions,
    GlobalSecondaryIndexUpdates = { change } }, { repeatable = false })
  wait_until_still(target)
end

resource.declare("dynamodb.index", {
  timeout = 3600 * 6, get = get,
  put = function(target, state)
    if get(target) then update(target, { Delete = { IndexName = target.index } }) end
    if state then update(target, creation(target, state)) end
  end,
  take = function(target, _, intent)
    wait_until_still(target)
    if not effect.same(get(target), intent.after) then task.sleep(account.late(target, intent)) end
    wait_until_still(target)
    return nil
  end,
  show = function(target) return ("index %s of %s"):format(target.index, target.table) end,
})

local function target_of(name, index, options)
  return resource.target("dynamodb", options, { table = name, index = index })
end

--- Makes a table have an index: { keys = { { name =, key = "HASH"|"RANGE", type = "S"|"N"|"B" }, … }, projection =
--- "ALL", fields = { … }, read =, write = }; nil: not have it. One that is another is removed and made anew. Waits
--- until it is filled.
--- @param name string  of the table
--- @param index string
--- @param definition table?
--- @param options? table  keep, irreversible, timeout; profile, region
function dynamodb.index(name, index, definition, options)
  options = resource.options(options, {}, 2)
  local target = target_of(name, index, options)
  if not effect.planning() and not describe(target) then
    fault.raise { kind = "missing", message = ("there is no table %s"):format(name) }
  end
  effect.change("dynamodb.index", target, function()
    return definition and { keys = definition.keys, projection = definition.projection or "ALL",
      fields = definition.fields, read = definition.read, write = definition.write }
  end, resource.of_change(options))
end

return dynamodb
