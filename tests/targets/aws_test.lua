local aws     = require "neap.targets.aws"
local clients = require "neap.targets.aws.client"
local fixture = require "tests.targets.fixture"
local json    = require "native.json"
local moto    = require "tests.moto"
local secret  = require "native.secret"
local world   = require "tests.targets.aws.world"

local KEYS = "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = the/secret+of=a%test\n"

describe("aws", function()
  local server, proxy -- one for all tests: it takes seconds to start

  local function start()
    server = moto.start()
    proxy = world.server { "python3", "tests/targets/aws/proxy.py", server.url }
    clients.signature_life = { s3 = 1, other = 1 }
  end

  before_each(function()
    if not moto.is_there() then skip "moto is not installed (make deps)" end
    if not server then start() end
    server:reset()
    world.ask(proxy.url .. "/proxy/reset", {})
    world.home(scratch(), { credentials = KEYS })
  end)
  after_each(world.restore)

  local function section(more)
    local aws_section = { region = "us-west-2", endpoint = proxy.url }
    for key, value in pairs(more or {}) do aws_section[key] = value end
    return aws_section
  end

  -- fn within a run whose environment has this section.
  local function within(fn, more)
    local run = fixture.run()
    run.keys, run.environment.aws = secret.keyring(), section(more)
    return fixture.within(run, function(inner) return inner() end, fn)
  end

  local function trial(...)
    local self = fixture.trial({ ... }, "")
    self.environment.aws = section()
    return self
  end

  local function log() return world.ask(proxy.url .. "/proxy/log") end

  local function count(text) return select(2, log():gsub(text:gsub("%p", "%%%0"), "")) end

  local function faults(match, list) world.ask(proxy.url .. "/proxy", { match = match, ["do"] = list }) end

  local function user_names()
    local names = {}
    local list = within(function() return aws.client("iam"):all "ListUsers" end)
    for i, user in ipairs(list) do names[i] = user.UserName end
    return names
  end

  -- ---- reads ----

  describe("reads", function()
    it("by the operations of every protocol", function()
      within(function()
        equal(aws.client("sts"):GetCallerIdentity().Account, "123456789012")
        equal(#aws.client("ec2"):DescribeVpcs().Vpcs, 1)
        equal(#aws.client("dynamodb"):ListTables().TableNames, 0)
        equal(#aws.client("lambda"):call("ListFunctions").Functions, 0)
        equal(#aws.client("s3"):ListBuckets().Buckets, 0)
      end)
    end)

    it("again what broke, and what the service could not answer", function()
      faults("ListUsers", { "cut-before", "503-before", "throttle", "pass" })
      equal(user_names(), {})
      equal(count "ListUsers", 4)
    end)

    it("no more often than five times", function()
      faults("ListUsers", { "503-before", "503-before", "503-before", "503-before", "503-before", "503-before" })
      local failure = raises(user_names)
      equal({ failure.kind, failure.code, count "ListUsers" }, { "remote", "ServiceUnavailable", 5 })
    end)

    it("by the clock of the server where this one is wrong", function()
      faults("ListUsers", { "late", "pass" })
      equal(user_names(), {})
      equal(count "ListUsers", 2)
    end)

    it("and says of a refusal its code, its request and what was asked", function()
      local failure = raises(within, function() aws.client("iam"):GetUser { UserName = "nobody" } end)
      equal({ failure.kind, failure.code }, { "missing", "NoSuchEntity" })
      matches(failure.message, "^GetUser of iam: .*nobody.*NoSuchEntity, request [%w-]+")
      failure = raises(within, function() aws.client("s3"):HeadObject { Bucket = "nowhere", Key = "a" } end)
      equal({ failure.kind, failure.code }, { "missing", "404" })
    end)

    it("nothing that the model does not know, and names what is near", function()
      local function mistake(fn) return raises(within, fn) end
      matches(mistake(function() aws.client "iamm" end), 'no AWS service "iamm". Did you mean')
      matches(mistake(function() aws.client("iam"):ListUser() end), 'iam has no operation "ListUser".*ListUsers')
      matches(mistake(function() aws.client("iam"):GetUser { Username = "a" } end), 'has no "Username".*UserName')
      matches(mistake(function() aws.client("iam"):DeleteUser {} end), "DeleteUser: UserName is missing")
      matches(mistake(function() aws.client("ec2"):DescribeInstances { MaxResults = "5" } end),
        "DescribeInstances.MaxResults: expected a whole number")
      matches(mistake(function() aws.client("s3"):call("ListBuckets", {}, { time = 1 }) end),
        'no option is named "time"')
      matches(mistake(function() aws.client("s3"):wait("BucketExist", {}) end), 'no waiter "BucketExist".*BucketExists')
    end)

    it("lists to their end, page by page", function()
      within(function()
        local s3 = aws.client "s3"
        changing(function()
          local secrets = clients.of("secretsmanager", { endpoint = proxy.url, region = "us-west-2" })
          for i = 1, 5 do
            secrets:call("CreateSecret", { Name = "s" .. i, SecretString = "x" }, { reads = false, timeout = 30 })
          end
          local bucket = clients.of("s3", { endpoint = proxy.url, region = "us-west-2" })
          bucket:call("CreateBucket", { Bucket = "lab",
            CreateBucketConfiguration = { LocationConstraint = "us-west-2" } }, { reads = false, timeout = 30 })
          for _, key in ipairs { "a b/+x=y&z/ünï", "c//d", "../e", "f%41~" } do
            bucket:call("PutObject", { Bucket = "lab", Key = key, Body = key }, { reads = false, timeout = 30 })
          end
        end)
        equal(#aws.client("secretsmanager"):all("ListSecrets", { MaxResults = 2 }), 5)
        local keys = {}
        for i, object in ipairs(s3:all("ListObjectsV2", { Bucket = "lab", MaxKeys = 2 })) do keys[i] = object.Key end
        equal(keys, { "../e", "a b/+x=y&z/ünï", "c//d", "f%41~" })
        for _, key in ipairs(keys) do equal(s3:GetObject({ Bucket = "lab", Key = key }).Body, key) end
      end)
      equal({ count "ListSecrets", count "GET /lab?" }, { 3, 2 })
    end)

    it("until something is as a waiter of the model wants it", function()
      within(function()
        local s3 = aws.client "s3"
        local failure = raises(function()
          s3:wait("BucketExists", { Bucket = "lab" }, { timeout = 0.4, every = 0.2 })
        end)
        equal(failure.kind, "timeout")
        changing(function()
          clients.of("s3", { endpoint = proxy.url, region = "us-west-2" }):call("CreateBucket", { Bucket = "lab",
            CreateBucketConfiguration = { LocationConstraint = "us-west-2" } }, { reads = false, timeout = 30 })
        end)
        s3:wait("BucketExists", { Bucket = "lab" }, { timeout = 5, every = 0.2 })
        matches(raises(function() aws.client("ecs"):wait("ServicesStable", { services = { "a" } }) end),
          "the path .* says more than names, indices and projections")
      end)
    end)

    it("by a signature that is checked, and with no other", function()
      local key
      within(function()
        changing(function()
          local iam = clients.of("iam", { endpoint = proxy.url, region = "us-west-2", plain = true })
          local function call(...) return iam:call(...) end
          local once = { reads = false, timeout = 30 }
          call("CreateUser", { UserName = "ops" }, once)
          key = call("CreateAccessKey", { UserName = "ops" }, once).AccessKey
          call("PutUserPolicy", { UserName = "ops", PolicyName = "p", PolicyDocument = json.encode {
            Version = "2012-10-17", Statement = { { Effect = "Allow", Action = { "s3:*" }, Resource = "*" } } } }, once)
        end)
      end)
      local function list(text, bucket)
        world.home(scratch(), { credentials = ("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n")
          :format(key.AccessKeyId, text) })
        return within(function() return aws.client("s3"):ListObjectsV2 { Bucket = bucket, Prefix = "a b+/é" } end)
      end
      server:check_signatures(0)
      local good, wrong = raises(list, key.SecretAccessKey, "none"), raises(list, "wrong", "none")
      server:check_signatures(1 << 30)
      equal({ good.code, wrong.kind, wrong.code }, { "NoSuchBucket", "auth", "SignatureDoesNotMatch" })
    end)

    it("of the account that the environment names, and of no other", function()
      truthy(within(function() return aws.client("s3"):ListBuckets().Owner end, { account = "123456789012" }))
      local failure = raises(within, function() aws.client("s3"):ListBuckets() end, { account = "210987654321" })
      equal({ failure.kind, failure.code }, { "denied", "identity" })
      matches(failure.message, "of the AWS account 123456789012, the environment's is 210987654321")
    end)

    it("of another account where the environment names one for the profile that is called", function()
      local function list() return aws.client("s3", { profile = "default" }):ListBuckets().Owner end
      local other = { account = "210987654321", accounts = { default = "123456789012" } }
      truthy(within(list, other))
      local mixed = { account = "123456789012", accounts = { default = "210987654321" } }
      equal(raises(within, list, mixed).code, "identity")
    end)
  end)

  -- ---- changes ----

  local CREATE = [[aws.client("iam"):CreateUser({ UserName = "ann" },
    { undo = { operation = "DeleteUser", parameters = { UserName = "ann" } }]]
  local DONE = [[, done = { operation = "GetUser", parameters = { UserName = "ann" } }]]
  local SECRET = [[aws.client("secretsmanager"):CreateSecret({ Name = "one", SecretString = "x" },
    { keep = "a test" })]]

  describe("changes", function()
    it("once, and takes it back by the call that undoes it", function()
      local self = trial(CREATE .. "})", 'fail "enough"')
      self:run "stopped"
      equal(user_names(), { "ann" })
      self:roll_back "rolled back"
      equal({ user_names(), count "CreateUser", count "DeleteUser" }, { {}, 1, 1 })
    end)

    it("gives what the service answers", function()
      trial [[local user = aws.client("iam"):CreateUser({ UserName = "ann" }, { keep = "a test" }).User
        if user.Arn ~= "arn:aws:iam::123456789012:user/ann" then fail(user.Arn) end]]:run "done"
    end)

    it("nothing while it is planned, and pins the account", function()
      local plan = trial(CREATE .. "})"):plan()
      equal(plan.phases[1].steps[1].effects[1].show, "CreateUser of iam in us-west-2")
      equal(plan.pins, { ["AWS profile default"] = "account 123456789012" })
      equal(log(), "POST / GetCallerIdentity\n")
      equal(user_names(), {})
    end)

    it("nothing that the model does not know: says of a mistake where it stands in the procedure", function()
      for call, why in pairs {
        ['("s3"):ListBukets()'] = "Did you mean 'ListBuckets'",
        ['("iam"):all("GetUser")'] = "does not come page by page",
        ['("ec2"):wait("InstanceRuning")'] = "Did you mean 'InstanceRunning'",
        ['("s3"):presigned("GetObjec", { Bucket = "b", Key = "k" }, 60)'] = "Did you mean 'GetObject'",
        ['("s3"):presigned("GetObject", { Bucket = "b", Key = "k" })'] = "good for 1 to 604800 seconds, not nil",
        ['("s3"):presigned("GetObject", { Bucket = "b", Key = "k" }, 604801)'] = "not 604801",
        ['("iam"):CreateUser({ UserName = "v" }, { keep = "x", done = { operation = "GetUsr" } })'] = "'GetUser'",
      } do
        local self = trial("aws.client" .. call)
        matches(tostring(raises(self.plan, self)), "^procedures/test/it.lua:3: .*" .. why)
      end
    end)

    it("nothing of another account: nothing is even intended", function()
      local self = trial(CREATE .. "})")
      self.environment.aws = section { account = "210987654321" }
      local failure = self:run("stopped").failure
      equal({ failure.code, count "CreateUser", #self:all "intent" }, { "identity", 0, 0 })
      self:abandon()
    end)

    it("nothing where the service says no", function()
      local outcome = trial [[aws.client("iam"):DeleteUser({ UserName = "nobody" }, { keep = "a test" })]]:run "failed"
      equal({ outcome.failure.kind, outcome.failure.code, #outcome.in_doubt }, { "missing", "NoSuchEntity", 0 })
    end)

    it("again what was only put off", function()
      faults("CreateUser", { "throttle", "throttle", "pass" })
      trial(CREATE .. "})"):run "done"
      equal({ user_names(), count "CreateUser" }, { { "ann" }, 3 })
    end)

    for _, fault in ipairs { "cut-after", "503-after" } do
      it(("and finds by its question that it happened: %s"):format(fault), function()
        faults("CreateUser", { fault })
        trial(CREATE .. DONE .. "})"):run "done"
        equal({ user_names(), count "CreateUser" }, { { "ann" }, 1 })
      end)
    end

    for _, fault in ipairs { "cut-before", "503-before" } do
      it(("and finds by its question that it did not: %s"):format(fault), function()
        faults("CreateUser", { fault })
        local outcome = trial(CREATE .. DONE .. "})"):run "failed"
        equal({ outcome.failure.kind, #outcome.in_doubt, user_names() }, { "lost", 0, {} })
      end)

      it(("and asks a person where no question tells: %s"):format(fault), function()
        faults("CreateUser", { fault })
        local self = trial(CREATE .. "})")
        equal(#self:run().in_doubt, 1)
        self:abandon()
      end)
    end

    for _, fault in ipairs { "cut-after", "503-after", "cut-before", "503-before" } do
      it(("once by its token, whatever broke: %s"):format(fault), function()
        faults("CreateSecret", { fault })
        trial(SECRET):run "done"
        equal(#within(function() return aws.client("secretsmanager"):all "ListSecrets" end), 1)
        local again = fault:find "after" and 1 or 0
        equal({ count "CreateSecret", count "CreateSecret again" }, { 2, again })
      end)
    end

    it("keeps what is secret in a reply a secret", function()
      local self = trial [[local key = aws.client("iam"):CreateUser({ UserName = "ann" }, { keep = "a test" })
        local made = aws.client("iam"):CreateAccessKey({ UserName = "ann" }, { keep = "a test" }).AccessKey
        if type(made.SecretAccessKey) == "string" then fail "it is a text" end]]
      self:run "done"
      equal(json.encode(self:all "end"):find '"SecretAccessKey":"%w', nil)
    end)
  end)

  it("ends its servers", function()
    proxy:close()
    server:close()
    server = nil
    clients.signature_life = { s3 = 900, other = 300 }
  end)
end)
