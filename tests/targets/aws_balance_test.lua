--- SNS, EventBridge and load balancers.
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
s, e, b, g = client('sns'), client('events'), client('elb'), client('elbv2')
def one(t):
    return sorted([x['Protocol'], x['Endpoint'],
      [s.get_subscription_attributes(SubscriptionArn=x['SubscriptionArn'])['Attributes'].get(k)
        for k in ('FilterPolicy',
          'RawMessageDelivery')]] for x in s.list_subscriptions_by_topic(TopicArn=t)['Subscriptions'])
show([one(t['TopicArn']) for t in s.list_topics()['Topics']] + [e.describe_rule(Name='nightly')['State'],
  sorted(i['InstanceId'] for i in b.describe_load_balancers()['LoadBalancerDescriptions'][0]['Instances'])] +
  [[t['Target'] for t in g.describe_target_health(TargetGroupArn=x['TargetGroupArn'])['TargetHealthDescriptions']]
    for x in g.describe_target_groups()['TargetGroups']])
]==]

local MAKE = [==[
s, e, ec2 = client('sns'), client('events'), client('ec2')
topic = s.create_topic(Name='alarms')['TopicArn']
s.subscribe(TopicArn=topic, Protocol='email', Endpoint='ann@example.com')
s.subscribe(TopicArn=topic, Protocol='sqs', Endpoint='arn:aws:sqs:us-west-2:123456789012:q',
    Attributes={'RawMessageDelivery': 'true', 'FilterPolicy': '{"a": ["b"]}'})
e.put_rule(Name='nightly', ScheduleExpression='rate(1 day)')
ids = [i['InstanceId'] for i in ec2.run_instances(ImageId='ami-12c6146b', MinCount=2, MaxCount=2)['Instances']]
b = client('elb')
b.create_load_balancer(LoadBalancerName='classic', AvailabilityZones=['us-west-2a'],
    Listeners=[{'Protocol': 'HTTP', 'LoadBalancerPort': 80, 'InstancePort': 80}])
b.register_instances_with_load_balancer(LoadBalancerName='classic', Instances=[{'InstanceId': ids[0]}])
v = ec2.describe_vpcs()['Vpcs'][0]['VpcId']
nets = [n['SubnetId'] for n in ec2.describe_subnets()['Subnets']][:2]
g = client('elbv2')
lb = g.create_load_balancer(Name='app', Subnets=nets)['LoadBalancers'][0]['LoadBalancerArn']
group = g.create_target_group(Name='web', Protocol='HTTP', Port=80, VpcId=v)['TargetGroups'][0]['TargetGroupArn']
g.create_listener(LoadBalancerArn=lb, Protocol='HTTP', Port=80, DefaultActions=[{'Type': 'forward',
  'TargetGroupArn': group}])
g.register_targets(TargetGroupArn=group, Targets=[{'Id': ids[0], 'Port': 80}])
show({'topic': topic, 'ids': ids, 'group': group})
]==]

describe("what stands round AWS's servers", function()
  local world, made

  before_each(function() world, made = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("SNS: takes subscriptions away, adds others, and makes all as they were", function()
    world:there_and_back(PICTURE, { ([[
      for _, one in ipairs(sns.subscriptions(%q)) do sns.unsubscribe(%q, one.protocol, one.endpoint) end
      sns.subscribe(%q, "sqs", "arn:aws:sqs:us-west-2:123456789012:other", { filter = '{"x": ["y"]}' })]]):format(
      made.topic, made.topic, made.topic) }, function(now) equal(#now[1], 1) end)
  end)

  it("SNS: says of each subscription what it takes to have it again", function()
    world:there_and_back(PICTURE, { ([[
      local list = sns.subscriptions(%q)
      for _, one in ipairs(list) do sns.unsubscribe(%q, one.protocol, one.endpoint) end
      for _, one in ipairs(list) do
        sns.subscribe(%q, one.protocol, one.endpoint, { raw = one.raw, filter = one.filter, redrive = one.redrive,
          filter_scope = one.filter_scope })
      end]]):format(made.topic, made.topic, made.topic) }, function(now)
      equal(now[1][2][3], { [[{"a": ["b"]}]], "true" })
      equal(#now[1], 2)
    end)
  end)

  it("SNS: refuses a protocol that there is not, and a filter that is no JSON", function()
    for step, why in pairs {
      ['"emial", "a@example.org"'] = "no protocol \"emial\"%. Did you mean 'email'",
      ['"email", "a@example.org", { filter = "{" }'] = "filter is a text of JSON",
    } do
      matches(world:mistake(('sns.subscribe("arn:aws:sns:us-west-2:1:t", %s)'):format(step)),
        "^procedures/test/it.lua:%d+: .*" .. why)
    end
  end)

  it("EventBridge: disables and enables a rule", function()
    world:there_and_back(PICTURE, { 'events.disable "nightly"' }, function(now) equal(now[2], "DISABLED") end)
    equal(world:refused(PICTURE, 'events.disable "none"').kind, "missing")
  end)

  it("load balancers: one goes, another comes", function()
    world:there_and_back(PICTURE, { ('elb.register("classic", %q) elb.deregister("classic", %q)'):format(made.ids[2],
      made.ids[1]) }, function(now) equal(now[3], { made.ids[2] }) end)
    world:there_and_back(PICTURE,
      { ('elb.register(%q, %q, { port = 80 }) elb.deregister(%q, %q, { port = 80 })'):format(
      made.group, made.ids[2], made.group, made.ids[1]) }, function(now) equal(now[4][1].Id, made.ids[2]) end)
  end)

  it("load balancers: who does not become healthy is said, also when it was registered before", function()
    world:boto(("client('ec2').stop_instances(InstanceIds=[%q])"):format(made.ids[2]))
    local register = ('elb.register("classic", %q, { timeout = 1 })'):format(made.ids[2])
    for _ = 1, 2 do
      local trial = world:trial { register }
      trial:run()
      matches(trial:failure().message, made.ids[2]:gsub("-", "%%-")
        .. " is registered behind classic, and is OutOfService after 1 s")
    end
    world:boto(("client('ec2').start_instances(InstanceIds=[%q])"):format(made.ids[2]))
    equal(world:trial({ register }):run().status, "done")
  end)

  it("is as it should be after a crash at some commits", function()
    world.make = [==[
topic = client('sns').create_topic(Name='alarms')['TopicArn']
client('sns').subscribe(TopicArn=topic, Protocol='email', Endpoint='ann@example.com')
client('events').put_rule(Name='nightly', ScheduleExpression='rate(1 day)')
]==]
    world:each_crash(stage.anew, [==[
s = client('sns')
show([sorted([x['Protocol'],
  x['Endpoint']] for x in s.list_subscriptions_by_topic(TopicArn=t['TopicArn'])['Subscriptions'])
    for t in s.list_topics()['Topics']] + [client('events').describe_rule(Name='nightly')['State']])
]==], { ('sns.unsubscribe(%q, "email", "ann@example.com")'):format(made.topic), 'events.disable "nightly"' })
  end)

  it("ends its servers", stage.finish)
end)
