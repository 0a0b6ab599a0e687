--- Global secondary indexes of DynamoDB's tables, added and removed one at a time.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local shell    = require "neap.targets.shell"
local task     = require "native.task"

local dynamodb = {}

local EVERY = 5          -- seconds between two looks
local TIMEOUT = 3600 * 6 -- seconds, for a table of any size

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
  local count = 0
  while not is_still() do
    count = count + 1
    resource.pause(count, EVERY)
  end
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
  timeout = TIMEOUT, get = get,
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

local DEFINITION = { keys = true, projection = true, fields = true, read = true, write = true }
local KEY = { name = true, key = true, type = true }
local ROLES, TYPES = { HASH = true, RANGE = true }, { S = true, N = true, B = true }

local function check_key(one, level)
  if type(one) ~= "table" then error('a key is { name = "…", key = "HASH", type = "S" }', level + 1) end
  shell.check_options(one, KEY, level + 1)
  if type(one.name) ~= "string" or not ROLES[one.key or ""] or not TYPES[one.type or ""] then
    error('a key is { name = "…", key = "HASH" or "RANGE", type = "S", "N" or "B" }', level + 1)
  end
end

local function check(definition, level)
  shell.check_options(definition, DEFINITION, level + 1)
  if type(definition.keys) ~= "table" or not definition.keys[1] then
    error('an index is { keys = { { name = "…", key = "HASH", type = "S" } }, projection = "ALL" }', level + 1)
  end
  for _, one in ipairs(definition.keys) do check_key(one, level + 1) end
end

--- An index may be there and not be filled yet, or be on its way out: what it is, is to be seen once the table is still.
local await_still = effect.read("dynamodb.still", function(target)
  if not describe(target) then
    fault.raise { kind = "missing", message = ("there is no table %s"):format(target.table) }
  end
  wait_until_still(target)
end)

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
  if definition ~= nil then check(definition, 2) end
  local target = target_of(name, index, options)
  if not effect.planning() then task.deadline(options.timeout or TIMEOUT, await_still, resource.apart(target)) end
  effect.change("dynamodb.index", target, function()
    return definition and { keys = definition.keys, projection = definition.projection or "ALL",
      fields = definition.fields, read = definition.read, write = definition.write }
  end, resource.of_change(options))
end

return dynamodb
