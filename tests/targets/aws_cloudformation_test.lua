local json  = require "native.json"
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
c = client('cloudformation')
def one(s):
    n = s['StackName']
    return [n, s.get('Parameters'), s.get('Tags'), c.get_template(StackName=n)['TemplateBody'],
      sorted(r['LogicalResourceId'] for r in c.describe_stack_resources(StackName=n)['StackResources'])]
show([one(s) for s in c.describe_stacks()['Stacks']] + [len(client('sns').list_topics()['Topics']),
    len(client('sqs').list_queues().get('QueueUrls', []))])
]==]

local TEMPLATE = [[{"Parameters": {"Name": {"Type": "String", "Default": "one"}, "Size": {"Type": "String",
  "Default": "3"}},
 "Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Name"}}}},
 "Outputs": {"Where": {"Value": {"Ref": "Queue"}}}}]]
local TOPIC = '"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Name"}}}'
local SECOND = TEMPLATE:gsub('"Resources": {', '"Resources": {' .. TOPIC .. ", ")
local WITHOUT = TEMPLATE:gsub('"Queue": .-}}}}', TOPIC .. "}"):gsub('"Ref": "Queue"', '"Ref": "Topic"')

local MAKE =
  ("client('cloudformation').create_stack(StackName='old', TemplateBody='''%s''', " ..
  "Parameters=[{'ParameterKey': 'Name', 'ParameterValue': 'mine'}], " ..
  "Tags=[{'Key': 'a', 'Value': 'b'}])"):format(TEMPLATE)

describe("cloudformation", function()
  local world

  before_each(function() world = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("makes a stack, changes one, keeps parameters that nobody gives, and takes it back", function()
    world:there_and_back(PICTURE, {
      ('cloudformation.stack("new", { template = %q, parameters = { Name = "theirs" }, tags = { x = "y" } })'):format(
        TEMPLATE),
      ('cloudformation.stack("old", { template = %q })'):format(SECOND),
    }, function(now, plan)
      equal(#now, 4)
      local effects = plan.phases[1].steps[2].effects
      equal({ effects[1].sign, effects[1].show }, { "~", "stack old" })
      matches(effects[1].after_text, "parameter Name: mine")
      matches(effects[1].after_text, "AWS::SNS::Topic")
    end)
  end)

  it("makes no change set while it is planned", function()
    world:trial({ ('cloudformation.stack("old", { template = %q })'):format(SECOND) }):plan()
    equal(world:boto "show(client('cloudformation').list_change_sets(StackName='old')['Summaries'])", {})
  end)

  it("does nothing where the stack is so already", function()
    local plan = world:trial({ ('cloudformation.stack("old", { template = %q })'):format(TEMPLATE) }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "=")
  end)

  it("deletes nothing that the policy protects, unless it is named", function()
    world.policy = { cloudformation = { never_delete = { "AWS::SQS::Queue" } } }
    local step = 'cloudformation.stack("old", { template = %q }%s)'
    local failure = world:refused(PICTURE, step:format(WITHOUT, ""))
    equal({ failure.kind, failure.code }, { "denied", "never_delete" })
    matches(failure.output, "Queue AWS::SQS::Queue would be deleted")
    equal(world:boto "show(client('cloudformation').list_change_sets(StackName='old')['Summaries'])", {})
    equal(world:refused(PICTURE, 'cloudformation.delete("old")').code, "never_delete")
    world:trial({ step:format(WITHOUT, ', { named = { "Queue" } }') }):run "done"
  end)

  it("gives out what the stack gives out", function()
    world:trial({ 'if not cloudformation.outputs("old").Where:find "mine" then fail "outputs" end' }):run "done"
  end)

  -- A template whose resources take their time, and of which these fail.
  local function slowly(fails)
    return (SECOND:gsub("^{", '{"Metadata": {"Slowly": {"fails": ' .. fails .. "}}, ", 1))
  end

  local function told(trial)
    local lines = {}
    for i, event in ipairs(trial:all "output") do lines[i] = ("%s %s %s"):format(event.host, event.side, event.text) end
    return lines
  end

  it("shows what happens to a stack while it is waited for, each event once and in order", function()
    local trial = world:trial { ('cloudformation.stack("old", { template = %q })'):format(slowly "{}"),
      'cloudformation.delete("old")' }
    trial:run "done"
    local lines = told(trial)
    equal({ table.unpack(lines, 1, 4) }, {
      "old out old AWS::CloudFormation::Stack UPDATE_IN_PROGRESS: User Initiated\n",
      "old out Topic AWS::SNS::Topic CREATE_IN_PROGRESS\n", "old out Topic AWS::SNS::Topic CREATE_COMPLETE\n",
      "old out old AWS::CloudFormation::Stack UPDATE_COMPLETE\n" })
    equal({ table.unpack(lines, 5) }, {
      "old out old AWS::CloudFormation::Stack DELETE_IN_PROGRESS: User Initiated\n",
      "old out old AWS::CloudFormation::Stack DELETE_COMPLETE\n" })
  end)

  it("says of a stack that failed which resource was the first, and why, in one clean line", function()
    local trial = world:trial { ('cloudformation.stack("new", { template = %q, parameters = { Name = "theirs" } })')
      :format(slowly [[{"Topic": "no such\u009b2J key\nTopic AWS::SNS::Topic CREATE_COMPLETE"}]]) }
    trial:run()
    local failure = trial:failure()
    equal(failure.code, "ROLLBACK_COMPLETE")
    matches(failure.message, "stack new came to stand at ROLLBACK_COMPLETE: Topic AWS::SNS::Topic CREATE_FAILED: no")
    equal(select(2, failure.output:gsub("\n", "")), 0)
    equal(failure.output:find "cancelled", nil)
    local lines = told(trial)
    equal(#lines, 7)
    matches(lines[4] .. lines[5], "new err Topic AWS::SNS::Topic CREATE_FAILED: no such")
    matches(lines[7], "new out new AWS::CloudFormation::Stack ROLLBACK_COMPLETE")
    local page = require "neap.cli.view.page".new { width = 200, utf8 = true }
    for _, line in ipairs(lines) do
      for _, shown in ipairs(page:lines(line)) do equal(shown:find "\xC2\x9B", nil) end
    end
    equal(world:boto "show(len(client('sqs').list_queues().get('QueueUrls', [])))", 1) -- the old stack's own
  end)

  it("refuses parameters that the template does not take, and parts that a stack does not have", function()
    local function mistake(stack)
      return world:mistake(('cloudformation.stack("old", %s)'):format(stack))
    end
    matches(mistake(('{ template = %q, parameters = { Nmae = "x" } }'):format(TEMPLATE)),
      "^procedures/test/it.lua:%d+: the template of old: Parameters has no \"Nmae\"%. Did you mean 'Name'")
    matches(mistake(('{ template = %q, parametrs = { Name = "x" } }'):format(TEMPLATE)),
      "^procedures/test/it.lua:%d+: a stack has no \"parametrs\"%. Did you mean 'parameters'")
  end)

  it("takes no stack for as wanted that an update has left half way, and says what helps", function()
    local broken = SECOND:gsub("^{",
      '{"Metadata": {"Slowly": {"fails": {"Topic": "Limit"}, "ends": "UPDATE_ROLLBACK_FAILED"}}, ', 1)
    world:trial({ ('cloudformation.stack("old", { template = %q })'):format(broken) }):run "failed"
    local before = world:boto(PICTURE)
    for _, template in ipairs { TEMPLATE, SECOND } do
      local trial = world:trial { ('cloudformation.stack("old", { template = %q })'):format(template) }
      local failure = raises(function() trial:plan() end)
      equal({ failure.kind, failure.code }, { "conflict", "UPDATE_ROLLBACK_FAILED" })
      matches(failure.hint, "continue%-update%-rollback %-%-stack%-name old")
    end
    equal(world:boto(PICTURE), before)
  end)

  it("leaves alone a stack that somebody else is changing, also where it is to be deleted", function()
    for _, step in ipairs { ('cloudformation.stack("old", { template = %q })'):format(TEMPLATE),
      'cloudformation.delete "old"' } do
      world:anew()
      world:boto(([==[
c = client('cloudformation')
c.create_change_set(StackName='old', ChangeSetName='theirs', ChangeSetType='UPDATE', TemplateBody=%s)
c.execute_change_set(StackName='old', ChangeSetName='theirs')]==]):format(json.encode((slowly "{}"))))
      local trial = world:trial { step }
      local outcome = trial:run()
      local failure = trial:failure() or outcome.failure
      equal(failure.kind, "conflict")
      matches(failure.message, "^the stack old is changing already: UPDATE_IN_PROGRESS")
    end
  end)

  it("makes a stack anew whose creation AWS had rolled back, though what it had would be protected", function()
    world.policy = { cloudformation = { never_delete = { "AWS::SQS::Queue" } } }
    local step = 'cloudformation.stack("new", { template = %q, parameters = { Name = "theirs" } })'
    local trial = world:trial { step:format((slowly '{"Topic": "Limit"}')) }
    trial:run "failed"
    matches(trial:failure().hint, "the empty stack is left")
    world:trial({ step:format(TEMPLATE) }):run "done"
  end)

  it("is as it should be after a crash at any commit", function()
    world:each_crash(stage.anew, PICTURE, { ('cloudformation.stack("old", { template = %q })'):format(SECOND) })
  end)

  it("ends its servers", stage.finish)
end)
