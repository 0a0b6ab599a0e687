--- What a template of CloudFormation says by itself, without AWS: which resources another one has no more, and what AWS
--- does not take in one update, both of templates in JSON; and the parameters it takes.
local json    = require "native.json"
local ordered = require "neap.ordered"
local yaml    = require "native.yaml"

local template = {}

--- @param text string
--- @return table<string, table>  its resources by logical id; empty where it is no JSON
function template.resources(text)
  local ok, document = pcall(json.decode, text)
  local resources = ok and type(document) == "table" and document.Resources
  return type(resources) == "table" and resources or {}
end

--- The resources that the one has and the other has not.
--- @param before string
--- @param after string
--- @return { id: string, type: string, how: string }[]
function template.losses(before, after)
  local there, list = template.resources(after), {}
  local was = template.resources(before)
  if next(there) == nil then return list end
  for _, id in ipairs(ordered.keys(was)) do
    if not there[id] then list[#list + 1] = { id = id, type = was[id].Type, how = "deleted" } end
  end
  return list
end

-- ---- parameters ----

local function root_of(tree) return tree:documents()[1].root end

--- The node under a key of a map; nil where there is none.
local function under(tree, map, key)
  if not map or tree:node(map) ~= "map" then return nil end
  local children = tree:children(map)
  for i = 1, #children, 2 do
    if tree:text(children[i]) == key then return children[i + 1] end
  end
end

local function text_under(tree, map, key)
  local node = under(tree, map, key)
  return node and tree:text(node)
end

--- The parameters that a template in JSON or YAML takes, as GetTemplateSummary tells it. Raises kind `protocol`, with line
--- and column, where it is neither.
--- @param text string
--- @return { ParameterKey: string, DefaultValue: string?, NoEcho: boolean }[]
function template.parameters(text)
  local tree, list = yaml.nodes(text, { name = "template" }), {} -- JSON is YAML, too
  local map = under(tree, root_of(tree), "Parameters")
  local children = map and tree:node(map) == "map" and tree:children(map) or {}
  for i = 1, #children, 2 do
    local definition = children[i + 1]
    list[#list + 1] = { ParameterKey = tree:text(children[i]), DefaultValue = text_under(tree, definition, "Default"),
      NoEcho = (text_under(tree, definition, "NoEcho") or ""):lower() == "true" }
  end
  return list
end

-- ---- indexes of DynamoDB: one may come or go in an update of a table ----

local TABLE = "AWS::DynamoDB::Table"

local function indexes_of(resource)
  local list = (resource.Properties or {}).GlobalSecondaryIndexes or {}
  local named = {}
  for _, one in ipairs(list) do
    if type(one) ~= "table" or type(one.IndexName) ~= "string" then return nil end
    named[one.IndexName] = one
  end
  return named
end

local function without_throughput(index)
  return index and json.encode { index.KeySchema or {}, index.Projection or {} }
end

--- Names that go, names that come: one whose keys or projection change does both.
local function differences(now, wanted)
  local going, coming = {}, {}
  for _, name in ipairs(ordered.keys(now)) do
    if without_throughput(now[name]) ~= without_throughput(wanted[name]) then going[#going + 1] = name end
  end
  for _, name in ipairs(ordered.keys(wanted)) do
    if without_throughput(now[name]) ~= without_throughput(wanted[name]) then coming[#coming + 1] = name end
  end
  return going, coming
end

local function sorted_values(map)
  local list = {}
  for i, name in ipairs(ordered.keys(map)) do list[i] = map[name] end
  return list
end

--- DynamoDB refuses attributes that no key uses.
local function attributes_for(properties, others)
  local used, known, list = {}, {}, {}
  local schemas = { properties.KeySchema or {} }
  for _, kind in ipairs { "GlobalSecondaryIndexes", "LocalSecondaryIndexes" } do
    for _, index in ipairs(properties[kind] or {}) do schemas[#schemas + 1] = index.KeySchema end
  end
  for _, schema in ipairs(schemas) do
    for _, key in ipairs(schema) do used[key.AttributeName] = true end
  end
  for _, definitions in ipairs { properties.AttributeDefinitions or {}, others or {} } do
    for _, one in ipairs(definitions) do
      if used[one.AttributeName] and not known[one.AttributeName] then
        known[one.AttributeName] = true
        list[#list + 1] = one
      end
    end
  end
  return list
end

--- The table with one difference less from what is there: what goes goes first, one at a time, then comes what comes.
local function one_change(table_now, table_wanted)
  local now, wanted = indexes_of(table_now), indexes_of(table_wanted)
  if not now or not wanted then return false end
  local going, coming = differences(now, wanted)
  if #going + #coming <= 1 then return false end
  local properties, set = table_wanted.Properties, {}
  for name, index in pairs(now) do set[name] = index end
  if going[1] then set[going[1]] = nil else set[coming[1]] = wanted[coming[1]] end
  properties.GlobalSecondaryIndexes = next(set) and sorted_values(set) or nil
  properties.AttributeDefinitions = attributes_for(properties, table_now.Properties.AttributeDefinitions)
  return true
end

--- The template that comes next on the way from one to another: DynamoDB takes one change of a table's global secondary
--- indexes at a time. All else is as wanted from the first update on.
--- @param now string
--- @param wanted string
--- @return string  the wanted one itself, where one update is enough
function template.next(now, wanted)
  local ok, document = pcall(json.decode, wanted)
  if not ok or type(document) ~= "table" then return wanted end
  local was, is_between = template.resources(now), false
  for id, resource in pairs(document.Resources or {}) do
    local before = was[id]
    if resource.Type == TABLE and before and before.Type == TABLE then
      is_between = one_change(before, resource) or is_between
    end
  end
  return is_between and json.encode_pretty(document) or wanted
end

return template
