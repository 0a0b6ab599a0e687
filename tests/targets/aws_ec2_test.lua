--- EC2, RDS and DynamoDB.
local process = require "native.process"
local stage   = require "tests.targets.aws.stage"

local PICTURE = [==[
ec2, rds, d = client('ec2'), client('rds'), client('dynamodb')
all = [i for r in ec2.describe_instances()['Reservations'] for i in r['Instances']
    if i['State']['Name'] != 'terminated']
t = d.describe_table(TableName='users')['Table']
show({'instances': [[i['InstanceId'], i['State']['Name'],
    sorted([x['Key'], x['Value']] for x in i.get('Tags',
  []) if x['Key'] != 'neap-effect')] for i in all],
  'images': [i['Name'] for i in ec2.describe_images(Owners=['self'])['Images']],
  'snapshots': sorted(s['DBSnapshotIdentifier'] for s in rds.describe_db_snapshots(SnapshotType='manual')
      ['DBSnapshots']) + sorted(s['DBClusterSnapshotIdentifier']
      for s in rds.describe_db_cluster_snapshots(SnapshotType='manual')['DBClusterSnapshots']),
  'indexes': [[i['IndexName'], i['KeySchema'], i['Projection']] for i in t.get('GlobalSecondaryIndexes', [])]})
]==]

local MAKE = [==[
ec2, rds, d = client('ec2'), client('rds'), client('dynamodb')
i = ec2.run_instances(ImageId='ami-12c6146b', MinCount=1, MaxCount=1, TagSpecifications=[{'ResourceType': 'instance',
    'Tags': [{'Key': 'a', 'Value': 'b'}, {'Key': 'c', 'Value': 'd'}]}])['Instances'][0]['InstanceId']
rds.create_db_instance(DBInstanceIdentifier='one', DBInstanceClass='db.t3.small', Engine='mysql', AllocatedStorage=20,
    MasterUsername='me', MasterUserPassword='long password')
rds.create_db_cluster(DBClusterIdentifier='many', Engine='aurora-mysql', MasterUsername='me',
  MasterUserPassword='long password')
d.create_table(TableName='users', KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],
    AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}, {'AttributeName': 'mail',
      'AttributeType': 'S'}],
    BillingMode='PAY_PER_REQUEST', GlobalSecondaryIndexes=[{'IndexName': 'by-mail',
      'KeySchema': [{'AttributeName': 'mail', 'KeyType': 'HASH'}], 'Projection': {'ProjectionType': 'KEYS_ONLY'}}])
show(i)
]==]

describe("AWS's servers and databases", function()
  local world, id

  before_each(function() world, id = stage.with(scratch(), MAKE) end)
  after_each(stage.leave)

  it("EC2: one is started and ended again, another stopped and started, with other tags", function()
    world:there_and_back(PICTURE, { ([[
      local made = ec2.run("proxy3", { ImageId = "ami-12c6146b", InstanceType = "t3.small" },
        { tags = { role = "proxy" } })
      if ec2.instance(made.id).state ~= "running" then fail "it does not run" end
      ec2.stop(%q) ec2.tags(%q, { a = "x", c = false, e = "f" })]]):format(id, id) }, function(now)
      equal(#now.instances, 2)
      equal({ now.instances[1][2], now.instances[1][3] }, { "stopped", { { "a", "x" }, { "e", "f" } } })
    end)
  end)

  it("EC2: what a program makes is ended with the run, and no other of its name", function()
    local program = process.run({ "pwd" }, { reads = true }).out:gsub("\n", "") .. "/tests/lab/stand-ins/encode/ask-aws"
    world:boto(("client('ec2').create_tags(Resources=['%s'], Tags=[{'Key': 'Name', 'Value': 'data7'}])"):format(id))
    world:there_and_back(PICTURE, { ([[
      ec2.launched("data*", function()
        env.hosts["local"]:run({ %q, %q, "ec2", "Version=2016-11-15", "Action=RunInstances", "ImageId=ami-12c6146b",
          "MinCount=1", "MaxCount=1", "TagSpecification.1.ResourceType=instance", "TagSpecification.1.Tag.1.Key=Name",
          "TagSpecification.1.Tag.1.Value=data0" }, { keep = "as the test says" })
      end)]]):format(program, world.url), [[
      local names = {}
      for i, one in ipairs(ec2.named "data*") do names[i] = one.name .. " " .. one.state end
      if table.concat(names, ",") ~= "data0 running,data7 running" then fail(table.concat(names, ",")) end]] },
      function(now) equal(#now.instances, 2) end)
  end)

  it("EC2: what is ended does not come back: a point of no return", function()
    local trial = world:trial { ('ec2.terminate(%q)'):format(id), 'fail("back")' }
    trial:run "stopped"
    equal(raises(trial.roll_back, trial).code, "no return")
    trial:abandon()
    equal(world:boto(PICTURE).instances, {})
  end)

  it("EC2: an image of an instance is made, and taken away", function()
    world:there_and_back(PICTURE, { ('ec2.image("base 7", { instance = %q, no_reboot = true })'):format(id) },
      function(now)
      equal(now.images, { "base 7" })
    end)
  end)

  it("EC2: an image is copied from another region, and taken away", function()
    local east = world:boto [==[
import boto3
e = boto3.client('ec2', endpoint_url=url, region_name='us-east-1', aws_access_key_id='AKIATEST',
    aws_secret_access_key='the/secret+of=a%test')
i = e.run_instances(ImageId='ami-12c6146b', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
show(e.create_image(InstanceId=i, Name='far')['ImageId'])]==]
    world:there_and_back(PICTURE, { ('ec2.image("near", { image = %q, from = "us-east-1" })'):format(east) },
      function(now) equal(now.images, { "near" }) end)
  end)

  it("EC2: an image whose name is taken is refused in plan and run, and the other one stays", function()
    world:boto(("client('ec2').create_image(InstanceId='%s', Name='base 7')"):format(id))
    local step = ('ec2.image("base 7", { instance = %q })'):format(id)
    local failure = world:refused(PICTURE, step)
    equal({ failure.kind, failure.code }, { "conflict", "taken" })
    matches(failure.message, "^there is an image base 7 already, ami%-%w+, made at ")
    equal(raises(function() world:trial({ step }):plan() end).code, "taken")
  end)

  it("RDS: a snapshot whose name is taken is neither adopted nor deleted, in plan, run and rollback", function()
    world:boto "client('rds').create_db_snapshot(DBInstanceIdentifier='one', DBSnapshotIdentifier='yearly')"
    local step = 'rds.snapshot({ database = "one" }, "yearly")'
    local failure = world:refused(PICTURE, step)
    equal({ failure.kind, failure.code }, { "conflict", "taken" })
    matches(failure.message, "^there is a snapshot yearly already, of one, made at 20")
    equal(raises(function() world:trial({ step }):plan() end).code, "taken")
  end)

  it("RDS: a rollback leaves a snapshot that somebody has put in the place of the run's own", function()
    local trial = world:trial { 'rds.snapshot({ database = "one" }, "mine")', 'fail "back"' }
    trial:run "stopped"
    world:boto [==[
r = client('rds')
r.delete_db_snapshot(DBSnapshotIdentifier='mine')
r.create_db_snapshot(DBInstanceIdentifier='one', DBSnapshotIdentifier='mine')]==]
    local there = world:boto(PICTURE).snapshots
    trial:roll_back()
    equal(world:boto(PICTURE).snapshots, there)
  end)

  it("refuses what an instance, an image or an index does not have, where the procedure says it", function()
    matches(world:mistake 'ec2.run("web", { ImageID = "ami-12c6146b" })',
      "RunInstances: it has no \"ImageID\"%. Did you mean")
    matches(world:mistake 'ec2.run("web", { ImageId = "ami-12c6146b" }, { tag = {} })',
      "^procedures/test/it.lua:%d+: no option is named \"tag\"")
    matches(world:mistake 'dynamodb.index("users", "i", { kyes = {} })',
      "no option is named \"kyes\"%. Did you mean 'keys'")
    matches(world:mistake 'dynamodb.index("users", "i", { keys = { { name = "x", key = "HASH", type = "String" } } })',
      "a key is ")
    matches(world:mistake 'ec2.image("x", { instanse = "i-1" })',
      "no option is named \"instanse\"%. Did you mean 'instance'")
  end)

  it("RDS: snapshots of a database and of a cluster", function()
    world:there_and_back(PICTURE, { 'rds.snapshot({ database = "one" }, "before-v88") ' ..
      'rds.snapshot({ cluster = "many" }, "many-before-v88")' }, function(now) equal(#now.snapshots, 2) end)
  end)

  it("DynamoDB: an index goes, another comes, and back", function()
    world:there_and_back(PICTURE, { [[
      dynamodb.index("users", "by-mail", nil)
      dynamodb.index("users", "by-age", { keys = { { name = "age", key = "HASH", type = "N" } },
        projection = "ALL" })]] },
      function(now) equal(now.indexes[1][1], "by-age") end)
    equal(world:refused(PICTURE, 'dynamodb.index("none", "i", nil)').kind, "missing")
  end)

  it("DynamoDB: an index that somebody has begun is waited for until it is filled", function()
    world:boto [==[
client('dynamodb').update_table(TableName='users', AttributeDefinitions=[{'AttributeName': 'age',
    'AttributeType': 'N'}], GlobalSecondaryIndexUpdates=[{'Create': {'IndexName': 'slow-by-age',
    'KeySchema': [{'AttributeName': 'age', 'KeyType': 'HASH'}], 'Projection': {'ProjectionType': 'ALL'}}}])]==]
    world:trial({ [[dynamodb.index("users", "slow-by-age",
      { keys = { { name = "age", key = "HASH", type = "N" } } })]] }):run "done"
    equal(world:boto [==[
show([i['IndexStatus'] for i in client('dynamodb').describe_table(TableName='users')['Table']['GlobalSecondaryIndexes']
    if i['IndexName'] == 'slow-by-age'])]==], { "ACTIVE" })
  end)

  it("is as it should be after a crash at some commits", function()
    world:each_crash(stage.anew, [==[
show([len([1 for r in client('ec2').describe_instances()['Reservations'] for i in r['Instances']
    if i['State']['Name'] != 'terminated']),
  sorted(s['DBSnapshotIdentifier'] for s in client('rds').describe_db_snapshots(SnapshotType='manual')['DBSnapshots'])])
]==], { 'ec2.run("proxy3", { ImageId = "ami-12c6146b" })', 'rds.snapshot({ database = "one" }, "before-v88")' })
  end)

  it("ends its servers", stage.finish)
end)
