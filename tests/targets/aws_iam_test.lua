local json  = require "native.json"
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
iam = client('iam')
def documents(arn): return sorted([v['VersionId'], v['IsDefaultVersion'],
    iam.get_policy_version(PolicyArn=arn, VersionId=v['VersionId'])['PolicyVersion']['Document']]
    for v in iam.list_policy_versions(PolicyArn=arn)['Versions'])
show({'keys': [[k['AccessKeyId'], k['Status']] for k in iam.list_access_keys(UserName='ann')['AccessKeyMetadata']],
  'roles': [[r['RoleName'], r.get('Description'), r['AssumeRolePolicyDocument'], r.get('MaxSessionDuration'),
    [p['PolicyName'] for p in
      iam.list_attached_role_policies(RoleName=r['RoleName'])['AttachedPolicies']],
      [[n, iam.get_role_policy(RoleName=r['RoleName'], PolicyName=n)['PolicyDocument']]
        for n in iam.list_role_policies(RoleName=r['RoleName'])['PolicyNames']]] for r in iam.list_roles()['Roles']],
  'policy': documents('arn:aws:iam::123456789012:policy/archive')})
]==]

local MAKE = [==[
iam = client('iam')
iam.create_user(UserName='ann')
one = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 's3:Get*', 'Resource': '*'}]}
trust = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'sts:AssumeRole',
    'Principal': {'Service': 'ec2.amazonaws.com'}}]}
iam.create_policy(PolicyName='archive', PolicyDocument=json.dumps(one))
iam.create_role(RoleName='old', AssumeRolePolicyDocument=json.dumps(trust), Description='the old one')
iam.put_role_policy(RoleName='old', PolicyName='inside', PolicyDocument=json.dumps(one))
show(iam.create_access_key(UserName='ann')['AccessKey']['AccessKeyId'])
]==]

local TRUST = '{ Version = "2012-10-17", Statement = { { Effect = "Allow", Action = "sts:AssumeRole", ' ..
  'Principal = { Service = "redshift.amazonaws.com" } } } }'
local DOCUMENT = '{ Version = "2012-10-17", Statement = { { Effect = "Allow", Action = "s3:*", Resource = "*" } } }'

describe("iam", function()
  local world, id

  before_each(function() world, id = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("makes a key whose secret is a secret, and deletes it again", function()
    world:there_and_back(PICTURE, { [[
      local key = iam.create_key("ann")
      if type(key.secret) == "string" or #key.id < 16 then fail "it is a text" end
    ]] }, function(now) equal(#now.keys, 2) end)
    equal(json.encode(world.last.events):find '"secret":"[%w+/]', nil)
  end)

  it("deactivates a key and activates it again; deletes an inactive one for good", function()
    world:there_and_back(PICTURE, { ('iam.deactivate_key("ann", %q)'):format(id) }, function(now)
      equal(now.keys[1][2], "Inactive")
    end)
    equal(world:refused(PICTURE, ('iam.delete_key("ann", %q)'):format(id)).kind, "conflict")
    world:trial(
      { ('iam.deactivate_key("ann", %q) iam.delete_key("ann", %q, { keep = "it was inactive" })'):format(id, id) })
      :run "done"
    equal(world:boto(PICTURE).keys, {})
  end)

  it("makes roles, changes them, and what they may", function()
    world:there_and_back(PICTURE, {
      ('iam.role("redshift", { trust = %s, description = "copies" })'):format(TRUST) ..
        ' iam.attach({ role = "redshift" }, "arn:aws:iam::123456789012:policy/archive")',
      ('iam.role("old", { trust = %s, longest_session = 7200 })'):format(TRUST) ..
        (' iam.inline_policy({ role = "old" }, "inside", %s) iam.inline_policy({ role = "old" }, "second", %s)'):format(
          DOCUMENT, DOCUMENT),
      ('iam.policy("arn:aws:iam::123456789012:policy/archive", %s)'):format(DOCUMENT),
    }, function(now)
      equal(#now.roles, 2)
      equal(#now.policy, 2)
    end)
  end)

  it("says of a user who has two keys already which they are", function()
    local ids = world:boto [==[
i = client('iam')
i.create_user(UserName='full')
show([i.create_access_key(UserName='full')['AccessKey']['AccessKeyId'] for n in range(2)])]==]
    local failure = world:refused(PICTURE, 'iam.create_key "full"')
    equal(failure.code, "LimitExceeded")
    for _, one in ipairs(ids) do matches(failure.output, one .. " Active, made at 20") end
    matches(failure.hint, "iam.delete_key")
  end)

  it("refuses a role whose policy is none, and parts that a role does not have, where the procedure says it", function()
    matches(world:mistake 'iam.role("r", { trus = {} })', "^procedures/test/it.lua:%d+: no option is named \"trus\"")
    matches(world:mistake 'iam.role("r", {})', "^procedures/test/it.lua:%d+: trust is a policy, .*it is missing")
    matches(world:mistake 'iam.inline_policy({ role = "r" }, "p", "{bad")',
      "^procedures/test/it.lua:%d+: the document is a policy")
  end)

  it("is as it should be after a crash at any commit", function()
    local KEYS = [==[
iam = client('iam')
show([len(iam.list_access_keys(UserName='ann')['AccessKeyMetadata']), len(iam.list_roles()['Roles'])])
]==]
    world:each_crash(stage.anew, KEYS, { 'iam.create_key("ann")',
      ('iam.role("redshift", { trust = %s })'):format(TRUST) })
  end)

  it("ends its servers", stage.finish)
end)
