--- Requests that change AWS are broken in every way, before and after the server carried them out: nothing is made
--- twice, nothing is lost. Judged by what the server carried out, and by its state as boto3 sees it.
local broken    = require "tests.targets.broken"
local clients   = require "neap.targets.aws.client"
local json      = require "native.json"
local sshd      = require "tests.sshd"
local stage     = require "tests.targets.aws.stage"
local task      = require "native.task"
local versitygw = require "tests.versitygw"
local world     = require "tests.targets.aws.world"

local KINDS = { "cut", "half", "500", "503", "503-later", "429", "429-later", "delay", "hold" }
local HOLD, LAND = 1.2, 1.5 -- seconds of silence; until a late request is carried out
local ATTEMPTS = 4          -- with those of a person who takes up what has stopped, or begins anew

-- What the server has, once for all rows: of S3, and of AWS.
local MAKE_S3 = [==[
s3 = client('s3')
s3.create_bucket(Bucket='pail', CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
s3.put_bucket_versioning(Bucket='pail', VersioningConfiguration={'Status': 'Enabled'})
s3.put_object(Bucket='pail', Key='source', Body=b's' * 9000000)
]==]
local MAKE = MAKE_S3 .. [==[
client('route53').create_hosted_zone(Name='example.org', CallerReference='1')
client('rds').create_db_instance(DBInstanceIdentifier='one', DBInstanceClass='db.t3.small', Engine='mysql',
    AllocatedStorage=20, MasterUsername='me', MasterUserPassword='long password')
]==]

local HELP = [==[
def versions(key):
    found = client('s3').list_object_versions(Bucket='pail', Prefix=key)
    return [len([v for v in found.get(k, []) if v['Key'] == key]) for k in ('Versions', 'DeleteMarkers')]
def size(key):
    try: return client('s3').head_object(Bucket='pail', Key=key)['ContentLength']
    except Exception: return None
def uploads(key):
    return len([u for u in client('s3').list_multipart_uploads(Bucket='pail').get('Uploads', []) if u['Key'] == key])
def queues(name):
    return [len(client('sqs').list_queues(QueueNamePrefix=name).get('QueueUrls', [])),
        [s['StackStatus'] for s in client('cloudformation').describe_stacks()['Stacks'] if s['StackName'] == name]]
]==]

local TEMPLATE = [[{"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "NAME"}}}}]]
local SECOND = TEMPLATE:gsub("}}}}$",
  [[}}, "Second": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "NAME-2"}}}}]])
local ZONE = "client('route53').list_hosted_zones()['HostedZones'][0]['Id']"
local STACK = 'cloudformation.stack("NAME", { template = [[%s]] }, { timeout = LIMIT })'
local TABLE = [[client('dynamodb').create_table(TableName='NAME',
    KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],
    AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}], BillingMode='PAY_PER_REQUEST')]]
local LARGE = { step = 's3.put("pail", "NAME", { file = "PATH/large" })',
  state = "show([size('NAME'), versions('NAME'), uploads('NAME')])", made = { 9000000, { 1, 0 }, 0 } }

-- One for each kind of operation: `request` are texts that its request has, beside its name; `make` is Python that
-- prepares a case, `state` Python that shows what counts of it, `made` what that is in the end; `once`: the server
-- carries it out once, and does not only make the same of the second. NAME is another in each case.
local S3_ROWS = {
  { name = "an object of S3 is put", request = "PUT /pail/NAME", once = true,
    step = 's3.put("pail", "NAME", { text = "fourteen bytes" }, { timeout = LIMIT })',
    state = "show([size('NAME'), versions('NAME')])", made = { 14, { 1, 0 } } },
  { name = "an upload in parts is begun", request = "POST /pail/NAME?uploads", step = LARGE.step, state = LARGE.state,
    made = LARGE.made },
  { name = "a part is brought up", request = "PUT /pail/NAME?partNumber=2", step = LARGE.step, state = LARGE.state,
    made = LARGE.made },
  { name = "an upload in parts is completed", request = "POST /pail/NAME?uploadId", step = LARGE.step,
    state = LARGE.state, made = LARGE.made },
  { name = "a large object is copied", request = "PUT /pail/NAME", once = true,
    step = 's3.copy("s3://pail/source", "s3://pail/NAME", { timeout = LIMIT })',
    state = "show([size('NAME'), versions('NAME')])", made = { 9000000, { 1, 0 } } },
  { name = "an object is deleted", request = "DELETE /pail/NAME", once = true,
    make = "client('s3').put_object(Bucket='pail', Key='NAME', Body=b'x')",
    step = 's3.delete("pail", "NAME", { timeout = LIMIT })', state = "show(versions('NAME'))", made = { 1, 1 } },
}

local AWS_ROWS = {
  { name = "a record of Route 53 is made", request = "<Action>CREATE", once = true,
    step = [[route53.records("example.org", { { name = "NAME.example.org", type = "A", ttl = 60,
      values = { "10.0.0.1" } } }, { timeout = LIMIT })]],
    state = "show([r['ResourceRecords'] for r in client('route53').list_resource_record_sets(HostedZoneId=" .. ZONE ..
      ")['ResourceRecordSets'] if r['Name'] == 'NAME.example.org.'])", made = { { { Value = "10.0.0.1" } } } },
  { name = "a stack's change set is made", request = "CreateChangeSet", step = STACK:format(TEMPLATE),
    state = "show(queues('NAME'))", made = { 1, { "CREATE_COMPLETE" } } },
  { name = "a stack is created", request = "ExecuteChangeSet", once = true, step = STACK:format(TEMPLATE),
    state = "show(queues('NAME'))", made = { 1, { "CREATE_COMPLETE" } } },
  { name = "a stack is updated", request = "ExecuteChangeSet", once = true, step = STACK:format(SECOND),
    make = ("client('cloudformation').create_stack(StackName='NAME', TemplateBody='''%s''')"):format(TEMPLATE),
    state = "show(queues('NAME'))", made = { 2, { "UPDATE_COMPLETE" } } },
  { name = "an access key of IAM is made", request = "CreateAccessKey",
    make = "client('iam').create_user(UserName='NAME')", step = 'iam.create_key("NAME", { timeout = LIMIT })',
    state = "show(len(client('iam').list_access_keys(UserName='NAME')['AccessKeyMetadata']))", made = 1 },
  { name = "a topic of SNS is subscribed to", request = "Subscribe", make = "client('sns').create_topic(Name='NAME')",
    step = [[sns.subscribe("arn:aws:sns:us-west-2:123456789012:NAME", "sqs",
      "arn:aws:sqs:us-west-2:123456789012:q", { timeout = LIMIT })]],
    state = "show(len(client('sns').list_subscriptions_by_topic(TopicArn='arn:aws:sns:us-west-2:123456789012:NAME')" ..
      "['Subscriptions']))", made = 1 },
  { name = "an index of DynamoDB is added", request = "UpdateTable", once = true, make = TABLE,
    step = [[dynamodb.index("NAME", "by-age", { keys = { { name = "age", key = "HASH", type = "N" } } },
      { timeout = LIMIT })]],
    state = "show([i['IndexName'] for i in client('dynamodb').describe_table(TableName='NAME')['Table']" ..
      ".get('GlobalSecondaryIndexes', [])])", made = { "by-age" } },
  { name = "an instance of EC2 is started", request = "RunInstances", once = true,
    step = 'ec2.run("NAME", { ImageId = "ami-12c6146b" }, { timeout = LIMIT })',
    state = "show(sum(len(r['Instances']) for r in client('ec2').describe_instances(Filters=[{'Name': 'tag:Name', " ..
      "'Values': ['NAME']}])['Reservations']))", made = 1 },
  { name = "a snapshot of RDS is made", request = "CreateDBSnapshot", once = true,
    step = 'rds.snapshot({ database = "one" }, "NAME", { timeout = LIMIT })',
    state = "show(len([s for s in client('rds').describe_db_snapshots()['DBSnapshots'] " ..
      "if s['DBSnapshotIdentifier'] == 'NAME']))", made = 1 },
  { name = "a parameter group of Redshift is made", request = "CreateClusterParameterGroup",
    step = 'redshift.parameter_group("NAME", { parameters = { require_ssl = "true" } }, { timeout = LIMIT })',
    state = "show([[p['ParameterValue'] for p in client('redshift').describe_cluster_parameters(ParameterGroupName=" ..
      "g['ParameterGroupName'], Source='user')['Parameters']] for g in client('redshift')." ..
      "describe_cluster_parameter_groups()['ParameterGroups'] if g['ParameterGroupName'] == 'NAME'])",
    made = { { "true" } } },
  { name = "a rule of EventBridge is disabled", request = "DisableRule",
    make = "client('events').put_rule(Name='NAME', ScheduleExpression='rate(1 day)')",
    step = 'events.disable("NAME", { timeout = LIMIT })', state = "show(client('events').describe_rule(Name='NAME')" ..
      "['State'])", made = "DISABLED" },
  { name = "an operation with a token is called", request = "CreateSecret", once = true,
    step = [[aws.client("secretsmanager"):CreateSecret({ Name = "NAME", SecretString = "x" },
      { keep = "a test", timeout = LIMIT })]],
    state = "show(len([s for s in client('secretsmanager').list_secrets()['SecretList'] if s['Name'] == 'NAME']))",
    made = 1 },
  { name = "an operation with a question is called", request = "CreateUser", once = true,
    step = [[aws.client("iam"):CreateUser({ UserName = "NAME" }, { keep = "a test", timeout = LIMIT,
      done = { operation = "GetUser", parameters = { UserName = "NAME" } } })]],
    state = "show(len([u for u in client('iam').list_users()['Users'] if u['UserName'] == 'NAME']))", made = 1 },
}

local function all_faults()
  local faults = { "land" }
  for _, kind in ipairs(KINDS) do table.move({ kind .. "-before", kind .. "-after" }, 1, 2, #faults + 1, faults) end
  return faults
end

local function named(text, name, limit)
  return (text:gsub("NAME", name):gsub("LIMIT", tostring(limit or 60)))
end

--- Tests for rows. new_place(folder) -> stage, and a server to be closed.
local function try_rows(rows, new_place)
  local place, server, proxy, count, asking

  before_each(function()
    local folder = scratch()
    sshd.run { "sh", "-c", 'head -c 9000000 /dev/urandom >"$1/large"', "sh", folder }
    place, server = new_place(folder)
    proxy = world.server { "python3", "tests/targets/aws/proxy.py", place.url }
    place.section.endpoint, place.section.endpoints = nil, { s3 = proxy.url }
    if not server then place.section.endpoint = proxy.url end
    count, asking = 0, false
    clients.signature_life = { s3 = LAND + 0.3, other = LAND + 0.3 }
    world.ask(proxy.url .. "/proxy", { hold = HOLD, land = LAND })
  end)
  after_each(function()
    stage.leave()
    if proxy then proxy:close() end
    if server then server:close() end
    proxy, server = nil, nil
  end)

  --- What Python shows, asked by one case after the other.
  local function boto(text)
    while asking do task.sleep(0.01) end
    asking = true
    local ok, value = pcall(place.boto, place, text)
    asking = false
    if not ok then error(value, 0) end
    return value
  end

  local function try(row, name, fault)
    if row.make then boto(named(row.make, name)) end
    local function look() return boto(HELP .. named(row.state, name)) end
    local before = look()
    local has = json.array { (named(row.request, name)), name }
    world.ask(proxy.url .. "/proxy/rule", { has = has, ["do"] = { fault } })
    local is_silent = fault:find "^hold" or fault == "land"
    local steps = { named(row.step, name, is_silent and 1 or nil) }
    broken.until_done(ATTEMPTS, function() return place:trial(steps) end, function() equal(look(), before) end)
    equal(look(), row.made)
    if row.once then equal(world.ask(proxy.url .. "/proxy/carried", { has = has }), "1") end
  end

  for _, row in ipairs(rows) do
    it(row.name, function()
      broken.try_each(all_faults(), function(fault)
        count = count + 1
        try(row, ("case-%03d-it"):format(count), fault)
      end)
    end)
  end
end

local function moto(folder)
  local place = stage.moto(folder)
  place:boto(MAKE)
  return place
end

describe("a change of S3 whose request is broken is made once:", function() try_rows(S3_ROWS, moto) end)

describe("a change of AWS whose request is broken is made once:", function() try_rows(AWS_ROWS, moto) end)

describe("a change of a strict server of S3 whose request is broken is made once:", function()
  try_rows(S3_ROWS, function(folder)
    if not versitygw.is_there() then skip "versitygw is not installed (sh vendor/versitygw.sh)" end
    local server = versitygw.start(folder, "AKIATEST", "the/secret+of=a%test")
    local place = stage.over(folder, server.url)
    place:boto(MAKE_S3)
    return place, server
  end)

  it("ends its servers", stage.finish)
end)
