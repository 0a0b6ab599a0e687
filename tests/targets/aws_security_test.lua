--- Security groups of EC2.
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
show([[g['GroupName'], g['Description'], sorted([p['IpProtocol'], p.get('FromPort'), p.get('ToPort'),
    sorted([r['CidrIp'], r.get('Description')] for r in p['IpRanges']),
    sorted(r['GroupId'] for r in p['UserIdGroupPairs'])] for p in g['IpPermissions'])]
  for g in client('ec2').describe_security_groups()['SecurityGroups'] if g['GroupName'] != 'default'])
]==]

local MAKE = [==[
ec2 = client('ec2')
vpc = ec2.describe_vpcs()['Vpcs'][0]['VpcId']
old = ec2.create_security_group(GroupName='old', Description='of the lab', VpcId=vpc)['GroupId']
ec2.authorize_security_group_ingress(GroupId=old, IpPermissions=[
    {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22, 'IpRanges': [{'CidrIp': '10.0.0.1/32', 'Description': 'jump'}]},
    {'IpProtocol': 'tcp', 'FromPort': 80, 'ToPort': 81, 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
show({'vpc': vpc, 'old': old})
]==]

describe("security groups of EC2", function()
  local world, made

  before_each(function() world, made = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("one is made that lets in addresses and another group, and taken away again", function()
    world:there_and_back(PICTURE, { ([[ec2.security_group(%q, "rdw-redshift", { description = "Redshift", rules = {
      { port = 5439, from = "10.1.0.0/16", note = "nodes" }, { port = 5439, from = %q } } })
      if not ec2.security_group_id(%q, "rdw-redshift"):find "^sg%%-" then fail "no id" end]]):format(made.vpc, made.old,
      made.vpc) }, function(now, plan)
        equal(#now, 2)
        equal(now[2], { "rdw-redshift", "Redshift", { { "tcp", 5439, 5439, { { "10.1.0.0/16", "nodes" } },
          { made.old } } } })
        equal(plan.phases[1].steps[1].effects[1].sign, "+")
      end)
  end)

  it("rules come and go, and a note changes, all back as they were", function()
    world:there_and_back(PICTURE, { ([[ec2.security_group(%q, "old", { rules = {
      { port = 22, from = "10.0.0.1/32", note = "the jump server" }, { port = 443, from = "0.0.0.0/0" } } })]]):format(
      made.vpc) }, function(now)
        equal(now[1][3], { { "tcp", 22, 22, { { "10.0.0.1/32", "the jump server" } }, {} },
          { "tcp", 443, 443, { { "0.0.0.0/0", require "native.json".null } }, {} } })
      end)
  end)

  it("one goes, and comes back with its rules", function()
    world:there_and_back(PICTURE, { ('ec2.security_group(%q, "old", nil)'):format(made.vpc) }, function(now)
      equal(now, {})
    end)
  end)

  it("a rule that nobody could mean is refused before anything is asked", function()
    local step = 'ec2.security_group(%q, "old", { rules = { { ports = 1, from = "::/0" } } })'
    matches(world:refused(PICTURE, step:format(made.vpc)).message, 'no "ports".*port')
    matches(world:refused(PICTURE, ('ec2.security_group(%q, "old", { description = "another" })'):format(made.vpc))
      .message, "cannot be changed")
  end)

  it("is as it should be after a crash at some commits", function()
    world:each_crash(stage.anew, PICTURE, { [[local vpc = aws.client("ec2"):DescribeVpcs().Vpcs[1].VpcId
      ec2.security_group(vpc, "old", { rules = { { port = 443, from = "0.0.0.0/0" } } })]] })
  end)

  it("ends its servers", stage.finish)
end)
