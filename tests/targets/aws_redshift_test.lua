--- Redshift, against moto with what tests/targets/aws/moto_redshift.py adds: there a change takes time, as at AWS.
local json  = require "native.json"
local sshd  = require "tests.sshd"
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
r = client('redshift')
def cluster(c):
    return [c['ClusterIdentifier'], c['NodeType'], c['NumberOfNodes'], c['DBName'], c['MasterUsername'],
      sorted(g['VpcSecurityGroupId'] for g in c['VpcSecurityGroups']), c['ClusterParameterGroups'],
      c.get('ClusterSubnetGroupName'), c['PubliclyAccessible'], c['Encrypted'], c['ClusterStatus'],
      sorted([i['IamRoleArn'], i['ApplyStatus']] for i in c['IamRoles'])]
def group(g):
    n = g['ParameterGroupName']
    return [n, g['Description'], sorted([p['ParameterName'], p['ParameterValue']] for p in
      r.describe_cluster_parameters(ParameterGroupName=n, Source='user')['Parameters'])]
show([[cluster(c) for c in r.describe_clusters()['Clusters']],
  [group(g) for g in r.describe_cluster_parameter_groups()['ParameterGroups']],
  [[g['ClusterSubnetGroupName'], g['Description'], sorted(s['SubnetIdentifier'] for s in g['Subnets'])]
    for g in r.describe_cluster_subnet_groups()['ClusterSubnetGroups']]])
]==]

local SNAPSHOTS = [==[
names = [s['SnapshotIdentifier'] for s in client('redshift').describe_cluster_snapshots()['Snapshots']]
show([n for n in names if not n.startswith('rs:')]) # the automatic ones
]==]

-- Without what is another each time it is made.
local CRASHED = [==[
r = client('redshift')
show([[c['NumberOfNodes'], c['ClusterStatus'], sorted(i['IamRoleArn'] for i in c['IamRoles'])]
    for c in r.describe_clusters()['Clusters']] + [[p['ParameterName'], p['ParameterValue']] for p in
      r.describe_cluster_parameters(ParameterGroupName='lab', Source='user')['Parameters']])
]==]

local MAKE = [==[
ec2, r = client('ec2'), client('redshift')
vpc = ec2.describe_vpcs()['Vpcs'][0]['VpcId']
nets = sorted(n['SubnetId'] for n in ec2.describe_subnets()['Subnets'])
sg = [ec2.create_security_group(GroupName=n, Description=n, VpcId=vpc)['GroupId'] for n in ('a', 'b')]
r.create_cluster_subnet_group(ClusterSubnetGroupName='nets', Description='of the lab', SubnetIds=nets[:2])
r.create_cluster_parameter_group(ParameterGroupName='lab', ParameterGroupFamily='redshift-1.0', Description='lab')
r.modify_cluster_parameter_group(ParameterGroupName='lab', Parameters=[
  {'ParameterName': 'require_ssl', 'ParameterValue': 'true'}])
r.create_cluster(ClusterIdentifier='old', NodeType='dc2.large', ClusterType='single-node', MasterUsername='root',
  MasterUserPassword='Its-0wn-word', ClusterSubnetGroupName='nets', VpcSecurityGroupIds=sg[:1],
  ClusterParameterGroupName='lab', PubliclyAccessible=False, Encrypted=True,
  IamRoles=['arn:aws:iam::123456789012:role/one'])
while r.describe_clusters()['Clusters'][0]['ClusterStatus'] != 'available': pass
show({'nets': nets, 'groups': sg})
]==]

local ROLE = "arn:aws:iam::123456789012:role/two"

describe("redshift", function()
  local world, made

  before_each(function()
    world, made = stage.with(scratch(), MAKE)
    sshd.write(world.folder .. "/word", "Gr4ndma-kn1ts-lane-7")
    sshd.run { "chmod", "600", world.folder .. "/word" }
    world.secrets = { root = "file:" .. world.folder .. "/word" }
  end)
  after_each(stage.leave)

  local function new_cluster()
    return ([[redshift.cluster("new", { node_type = "dc2.large", nodes = 2, user = "root", password = env.secrets.root,
      subnet_group = "nets", security_groups = { %q, %q }, parameter_group = "lab" })]]):format(made.groups[2],
      made.groups[1])
  end

  it("makes a cluster with all that it stands in, waits until it is available, and takes it away again", function()
    world:there_and_back(PICTURE, {
      ('redshift.subnet_group("zones", { subnets = { %q, %q, %q } })'):format(table.unpack(made.nets)),
      [[redshift.parameter_group("reports", { parameters = { wlm_json_configuration =
        redshift.wlm { concurrency = 12, short_queries = 5 }, statement_timeout = 60000 } })]],
      new_cluster(),
    }, function(now, plan)
      local cluster = now[1][2]
      equal({ cluster[1], cluster[3], cluster[11], cluster[6] }, { "new", 2, "available",
        { table.unpack(now[1][2][6]) } })
      equal(#cluster[6], 2)
      equal(now[2][3][3], { { "statement_timeout", "60000" }, { "wlm_json_configuration",
        '[{"auto_wlm":false,"query_concurrency":12},{"max_execution_time":5000,"short_query_queue":true}]' } })
      equal(#now[3][2][3], 3)
      matches(plan.phases[1].steps[2].effects[1].after_text, '"query_concurrency": 12')
    end)
    equal(json.encode(world.last.events):find("Gr4ndma", 1, true), nil)
  end)

  it("resizes a cluster and gives it other security groups, and waits for both", function()
    world:there_and_back(PICTURE, { ('redshift.cluster("old", { nodes = 4, security_groups = { %q } })'):format(
      made.groups[2]) }, function(now, plan)
        equal({ now[1][1][3], now[1][1][6], now[1][1][11] }, { 4, { made.groups[2] }, "available" })
        equal(plan.phases[1].steps[1].effects[1].sign, "~")
      end)
  end)

  it("does nothing where the cluster is so already, and refuses what a cluster cannot become", function()
    local plan = world:trial({ 'redshift.cluster("old", { node_type = "dc2.large", nodes = 1 })' }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "=")
    matches(world:refused(PICTURE, 'redshift.cluster("old", { user = "admin" })').message,
      "user of the cluster old is root")
    matches(world:refused(PICTURE, 'redshift.cluster("none", { nodes = 2 })').message, "to make it node_type is needed")
    matches(world:refused(PICTURE, 'redshift.cluster("old", { node = 2 })').message, 'no "node".*nodes')
  end)

  it("deletes a cluster behind a final snapshot, and restores it from that with its roles", function()
    world:there_and_back(PICTURE, { 'redshift.delete("old", { snapshot = "old-last" })' }, function(now)
      equal(now[1], {})
    end)
    equal(world:boto(SNAPSHOTS), { "old-last" })
  end)

  it("deletes no cluster without a snapshot, unless somebody says why", function()
    matches(world:refused(PICTURE, 'redshift.delete("old", { snapshot = false })').message, "name the final snapshot")
    world:trial({ 'redshift.delete("old", { snapshot = false, irreversible = "a test" })' }):run "done"
    equal(world:boto(PICTURE)[1], {})
  end)

  it("attaches and detaches roles, and waits until they are in sync", function()
    world:there_and_back(PICTURE, { ('redshift.attach("old", %q) redshift.detach("old", "%s")'):format(ROLE,
      "arn:aws:iam::123456789012:role/one") }, function(now) equal(now[1][1][12], { { ROLE, "in-sync" } }) end)
    equal(world:refused(PICTURE, ('redshift.attach("none", %q)'):format(ROLE)).kind, "missing")
  end)

  it("reboots a cluster whose parameters wait for it, forward and back, and no other", function()
    world:there_and_back(PICTURE, { [[redshift.with_reboot("old", function()
      redshift.parameter_group("lab", { parameters = { require_ssl = false, wlm_json_configuration = "[ {} ]" } })
    end)]] }, function(now)
      equal(now[2][2][3], { { "wlm_json_configuration", "[{}]" } })
      equal(now[1][1][7], { { ParameterGroupName = "lab", ParameterApplyStatus = "in-sync" } })
    end)
  end)

  it("is as it should be after a crash at some commits", function()
    world:each_crash(stage.anew, CRASHED, {
      ('redshift.attach("old", %q)'):format(ROLE), 'redshift.cluster("old", { nodes = 2 })',
      'redshift.parameter_group("lab", { parameters = { require_ssl = "false" } })',
    })
  end)

  it("ends its servers", stage.finish)
end)
