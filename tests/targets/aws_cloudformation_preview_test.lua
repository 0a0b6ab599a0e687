--- What is looked at before a stack is updated, and updates that DynamoDB takes one after the other.
local json  = require "native.json"
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
c = client('cloudformation')
show([[s['StackName'], c.get_template(StackName=s['StackName'])['TemplateBody'],
    len([x for x in c.list_change_sets(StackName=s['StackName'])['Summaries']
        if x['ExecutionStatus'] != 'EXECUTE_COMPLETE'])]
    for s in c.describe_stacks()['Stacks']])
]==]

local TEMPLATE = [[{"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}}}}]]
local SECOND   = TEMPLATE:gsub('"Resources": {', '%0"Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}, ')
local WITHOUT  = [[{"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}}}]]

local TABLE = [[{"Resources": {"Tiles": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "tiles",
  "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
  "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"},
    {"AttributeName": "NAME", "AttributeType": "S"}],
  "GlobalSecondaryIndexes": [{"IndexName": "NAME", "Projection": {"ProjectionType": "ALL"},
    "KeySchema": [{"AttributeName": "NAME", "KeyType": "HASH"}]}]}}}}]]

local function make(name, template)
  return ("client('cloudformation').create_stack(StackName='%s', TemplateBody=%s)"):format(name, json.encode(template))
end

describe("cloudformation, before an update", function()
  local world

  before_each(function() world = stage.with(scratch(), make("old", TEMPLATE)) end)
  after_each(stage.leave)

  local function protect() world.policy = { cloudformation = { never_delete = { "AWS::SQS::Queue" } } } end

  it("refuses in the plan what two templates say is deleted", function()
    protect()
    local trial = world:trial { ('cloudformation.stack("old", { template = %q })'):format(WITHOUT) }
    equal(raises(function() trial:plan() end).code, "never_delete")
  end)

  it("says what an update would change, and leaves no change set", function()
    local before = world:boto(PICTURE)
    world:trial({ ([[local found = cloudformation.preview("old", { template = %q })
      if found[1] ~= "Add Topic AWS::SNS::Topic" or found[2] then fail(table.concat(found, ";")) end]]):format(
      SECOND) })
      :run "done"
    equal(world:boto(PICTURE), before)
  end)

  it("refuses a look at an update that would lose what the policy protects", function()
    protect()
    local failure = world:refused(PICTURE, ('cloudformation.preview("old", { template = %q })'):format(WITHOUT))
    equal(failure.code, "never_delete")
  end)

  it("is as it should be after a crash at any commit of a look", function()
    world:each_crash(stage.anew, PICTURE, { ('cloudformation.preview("old", { template = %q })'):format(SECOND) })
  end)

  it("updates a stack twice where a table gets another index for one that it had, and back likewise", function()
    local old, new = TABLE:gsub("NAME", "old"), TABLE:gsub("NAME", "new")
    world:boto(make("tiles", old))
    world:there_and_back(PICTURE, { ('cloudformation.stack("tiles", { template = %q })'):format(new) },
      function(_, plan)
        local effects = plan.phases[1].steps[1].effects
        equal(#effects, 2)
        equal(effects[1].after_text:find("IndexName", 1, true), nil)
        matches(effects[2].after_text, "new")
      end)
  end)

  it("goes on between two such updates after a crash at any commit", function()
    local old, new = TABLE:gsub("NAME", "old"), TABLE:gsub("NAME", "new")
    world.make = make("tiles", old)
    world:each_crash(stage.anew, PICTURE, { ('cloudformation.stack("tiles", { template = %q })'):format(new) })
  end)

  it("ends its servers", stage.finish)
end)
