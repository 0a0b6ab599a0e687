--- Templates that CloudFormation takes by way of a bucket alone.
local crypto = require "native.crypto"
local stage  = require "tests.targets.aws.stage"

local PICTURE = [==[
c = client('cloudformation')
show(sorted([[s['StackName'], len(json.dumps(c.get_template(StackName=s['StackName'])['TemplateBody'])),
    s.get('Parameters'),
    [r['LogicalResourceId'] for r in c.describe_stack_resources(StackName=s['StackName'])['StackResources']],
    len([x for x in c.list_change_sets(StackName=s['StackName'])['Summaries']
        if x['ExecutionStatus'] != 'EXECUTE_COMPLETE'])]
    for s in c.describe_stacks()['Stacks']], key=str))
]==]
local OBJECTS = "show([o['Key'] for o in client('s3').list_objects_v2(Bucket='templates').get('Contents', [])])"

local function template(resource, size)
  return ([[{"Parameters": {"Name": {"Type": "String", "Default": "one"}}, "Metadata": {"Note": %q},
 "Resources": {%q: {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Name"}}}}}]]):format(
    ("x"):rep(size), resource)
end

local LARGE, OTHER, SMALL = template("Large", 60000), template("Other", 70000), template("Small", 0)

local MAKE = ([==[
s = client('s3')
for name in ('templates', 'theirs'):
    s.create_bucket(Bucket=name, CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
s.put_object(Bucket='theirs', Key='t', Body='''%s''')
client('cloudformation').create_stack(StackName='old', TemplateURL=url.replace('127.0.0.1', 'localhost') + '/theirs/t',
    Parameters=[{'ParameterKey': 'Name', 'ParameterValue': 'old'}])
client('cloudformation').create_stack(StackName='little', TemplateBody='''%s''')
]==]):format(LARGE, SMALL)

local BUCKET = ', { s3_bucket = "templates", s3_prefix = "neap" }'

local function step(name, text, options)
  return ("cloudformation.stack(%q, { template = %q, parameters = { Name = %q } }%s)"):format(name, text, name,
    options or "")
end

local function key(text) return "neap/" .. crypto.sha256(text) .. ".template" end

describe("cloudformation, with a template above 51,200 bytes,", function()
  local world

  before_each(function()
    world = stage.with(scratch(), MAKE)
    world.section.endpoint = world.url:gsub("127.0.0.1", "localhost") -- by which moto tells that buckets are paths
  end)
  after_each(stage.leave)

  it("makes a stack and changes one by way of the bucket, and takes both back", function()
    world:there_and_back(PICTURE, { step("new", LARGE, BUCKET), step("old", OTHER, BUCKET) }, function(now)
      equal(#now, 3)
    end)
    local keys = { key(LARGE), key(OTHER) }
    table.sort(keys)
    equal(world:boto(OBJECTS), keys)
  end)

  it("plans the difference and uploads nothing", function()
    local plan = world:trial({ step("new", LARGE, BUCKET), step("old", OTHER, BUCKET) }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "+")
    matches(plan.phases[1].steps[2].effects[1].after_text, '"Other": {')
    equal(#world:boto(OBJECTS), 0)
  end)

  it("makes the stack of its own template, whatever somebody has put under that name", function()
    world:boto(("client('s3').put_object(Bucket='templates', Key='%s', Body='''%s''')"):format(key(LARGE), OTHER))
    world:trial({ step("new", LARGE, BUCKET) }):run "done"
    local resources = "list(client('cloudformation').get_template(StackName='new')['TemplateBody']['Resources'])"
    equal(world:boto(("show(%s)"):format(resources)), { "Large" })
  end)

  it("does nothing, and uploads nothing, where the stack is so already", function()
    local plan = world:trial({ step("old", LARGE, BUCKET) }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "=")
    world:trial({ step("old", LARGE, BUCKET) }):run "done"
    equal(#world:boto(OBJECTS), 0)
  end)

  it("names the option where there is no bucket to put it into, in plan and run", function()
    local failure = world:refused(PICTURE, step("new", LARGE))
    equal({ failure.kind, failure.code }, { "denied", "TemplateTooLarge" })
    matches(failure.message, "^the template of new has 60%d+ bytes: above 51200 CloudFormation takes it from a bucket")
    matches(failure.hint, "s3_bucket")
    equal(raises(function() world:trial({ step("new", LARGE) }):plan() end).code, "TemplateTooLarge")
  end)

  it("wants the bucket, too, where it is the earlier template that a rollback would bring back", function()
    for _, one in ipairs { step("old", SMALL), 'cloudformation.delete "old"' } do
      local failure = world:refused(PICTURE, one)
      equal(failure.code, "TemplateTooLarge")
      matches(failure.message, "^the template that old has, and a rollback brings back, has 60%d+ bytes")
    end
    world:there_and_back(PICTURE, { step("old", SMALL, BUCKET), 'cloudformation.delete("old"' .. BUCKET .. ")" })
  end)

  it("refuses what is larger than CloudFormation takes at all", function()
    local failure = world:refused(PICTURE, step("new", template("Huge", 1 << 20), BUCKET))
    matches(failure.message, "CloudFormation takes 1048576 at most")
  end)

  it("says what an update would change, by way of the bucket", function()
    world:trial({ ([[local found = cloudformation.preview("little", { template = %q }%s)
      if not found[1]:find "Large" then fail(table.concat(found, ";")) end]]):format(LARGE, BUCKET) }):run "done"
    equal(world:boto(OBJECTS), { key(LARGE) })
  end)

  it("says which bucket is not there, and has changed nothing", function()
    local failure = world:refused(PICTURE, step("new", LARGE, ', { s3_bucket = "nobodys" }'))
    equal(failure.code, "NoSuchBucket")
    matches(failure.message, "s3://nobodys/")
  end)

  it("is as it should be after a crash at some commits", function()
    world:each_crash(stage.anew, PICTURE, { step("old", OTHER, BUCKET) })
  end)

  it("ends its servers", stage.finish)
end)
