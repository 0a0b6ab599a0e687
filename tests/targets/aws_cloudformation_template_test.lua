local json     = require "native.json"
local template = require "neap.targets.aws.cloudformation_template"

--- A table whose indexes have these names, each by the key of the same name.
local function of(names, more)
  local indexes, attributes = {}, { { AttributeName = "id", AttributeType = "S" } }
  for i, name in ipairs(names) do
    indexes[i] = { IndexName = name, KeySchema = { { AttributeName = name, KeyType = "HASH" } },
      Projection = { ProjectionType = more or "ALL" } }
    attributes[#attributes + 1] = { AttributeName = name, AttributeType = "S" }
  end
  return json.encode { Resources = { Tiles = { Type = "AWS::DynamoDB::Table", Properties = {
    KeySchema = { { AttributeName = "id", KeyType = "HASH" } }, AttributeDefinitions = attributes,
    GlobalSecondaryIndexes = indexes[1] and indexes or nil } } } }
end

local function shape(text)
  local properties = json.decode(text).Resources.Tiles.Properties
  local found = { indexes = {}, attributes = {} }
  for i, one in ipairs(properties.GlobalSecondaryIndexes or {}) do found.indexes[i] = one.IndexName end
  for i, one in ipairs(properties.AttributeDefinitions) do found.attributes[i] = one.AttributeName end
  table.sort(found.attributes)
  return found
end

local function way(now, wanted)
  local steps = {}
  repeat
    now = template.next(now, wanted)
    steps[#steps + 1] = shape(now)
  until now == wanted
  return steps
end

describe("a template of CloudFormation", function()
  it("is put as it is where at most one index changes", function()
    for _, pair in ipairs { { of { "a" }, of { "a" } }, { of { "a" }, of {} }, { of {}, of { "a" } } } do
      equal(template.next(pair[1], pair[2]), pair[2])
    end
  end)

  it("that renames an index first lets the old one go, with the attribute that nothing else uses", function()
    equal(way(of { "old", "same" }, of { "new", "same" }), {
      { indexes = { "same" }, attributes = { "id", "same" } },
      { indexes = { "new", "same" }, attributes = { "id", "new", "same" } },
    })
  end)

  it("changes one index at a time, however many there are", function()
    local steps = way(of { "a", "b" }, of { "c", "d" })
    local found = {}
    for i, step in ipairs(steps) do found[i] = table.concat(step.indexes, " ") end
    equal(found, { "b", "", "c", "c d" })
  end)

  it("makes an index of other columns anew", function()
    equal(#way(of { "a" }, of({ "a" }, "KEYS_ONLY")), 2)
  end)

  it("says what another one has no more, and nothing where it is no JSON", function()
    local without = json.encode { Resources = { Queue = { Type = "AWS::SQS::Queue" } } }
    equal(template.losses(of {}, without), { { id = "Tiles", type = "AWS::DynamoDB::Table", how = "deleted" } })
    equal(template.losses(of {}, "Resources:\n  Queue: {}\n"), {})
    equal(template.next(of { "a" }, "Resources: {}"), "Resources: {}")
  end)

  it("says what it takes, in JSON and in YAML with CloudFormation's tags, where nobody asks AWS", function()
    local wanted = {
      { ParameterKey = "Name", DefaultValue = "one", NoEcho = false },
      { ParameterKey = "Password", NoEcho = true },
      { ParameterKey = "Size", DefaultValue = "010", NoEcho = false },
    }
    equal(template.parameters('{"Parameters": {"Name": {"Type": "String", "Default": "one"},\n\t"Password": '
      .. '{"NoEcho": true}, "Size": {"Default": "010"}}, "Resources": {"Q": {"Fn::Sub": "\\/${Name}"}}}'), wanted)
    equal(template.parameters [[
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Name: { Type: String, Default: one }
  Password:
    NoEcho: "True"
  Size:
    Default: 010 # as it stands there
Resources:
  Q: !Sub "${Name}"
]], wanted)
    equal(template.parameters "Resources: {}", {})
    local failure = raises(template.parameters, "Parameters: [")
    equal(failure.kind, "protocol")
    matches(failure.message, "^template:%d+:%d+: ")
  end)
end)
