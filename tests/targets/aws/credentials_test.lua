local aws         = require "neap.targets.aws"
local credentials = require "neap.targets.aws.credentials"
local crypto      = require "native.crypto"
local fixture     = require "tests.targets.fixture"
local fs          = require "native.fs"
local process     = require "native.process"
local secret      = require "native.secret"
local sshd        = require "tests.sshd"
local task        = require "native.task"
local world       = require "tests.targets.aws.world"

local BASE = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base/secret+=\n"

describe("credentials of AWS", function()
  local peer, home

  before_each(function()
    peer = world.server { "python3", "tests/targets/aws/identity.py" }
    home = scratch()
  end)
  after_each(function()
    world.restore()
    peer:close()
  end)

  local function log() return world.ask(peer.url .. "/log") end

  local function new_run()
    local run = fixture.run()
    run.keys = secret.keyring()
    return run
  end

  local function within(run, fn, ...)
    return fixture.within(run, function(inner, ...) return inner(...) end, fn, ...)
  end

  -- The credentials that the files and the variables give, for a profile or none.
  local function of(profile, files, more, run)
    world.home(home, files or {}, more)
    return within(run or new_run(), credentials.of,
      { profile = profile, endpoint_url = peer.url, region = "us-west-2" })
  end

  local function check(found, key, value, token)
    matches(found.key, key)
    truthy(secret.same(found.secret, value))
    equal(found.token ~= nil and secret.same(found.token, token or ""), token ~= nil)
  end

  describe("of files", function()
    it("are keys of the profile; those of credentials count before those of config", function()
      check(of("base", { credentials = BASE }), "^AKIABASE$", "base/secret+=")
      local found = of("two", { config = "[profile two]\naws_access_key_id = A\naws_secret_access_key = b\n",
        credentials = "[two]\n# a remark\naws_access_key_id=C\naws_secret_access_key = d\naws_session_token = e\n" })
      check(found, "^C$", "d", "e")
      equal(found.source, "profile two")
    end)

    it("by AWS_PROFILE, default where nothing is said, at the places that the environment names", function()
      check(of(nil, { credentials = BASE }, { AWS_PROFILE = "base" }), "^AKIABASE$", "base/secret+=")
      check(of(nil, { credentials = BASE:gsub("base%]", "default]") }), "^AKIABASE$", "base/secret+=")
      fs.mkdir(home .. "/elsewhere")
      sshd.write(home .. "/elsewhere/keys", BASE)
      sshd.run { "chmod", "600", home .. "/elsewhere/keys" }
      check(of("base", {}, { AWS_SHARED_CREDENTIALS_FILE = home .. "/elsewhere/keys" }), "^AKIABASE$", "base/secret+=")
    end)

    it("are refused where others may read them", function()
      world.home(home, { credentials = BASE })
      sshd.run { "chmod", "644", home .. "/.aws/credentials" }
      local failure = raises(within, new_run(), credentials.of, { profile = "base" })
      equal({ failure.kind, failure.hint }, { "denied", "chmod 600 " .. home .. "/.aws/credentials" })
    end)

    it("that are not there are named with the places that were looked at, and the near name", function()
      local failure = raises(of, "bsae", { credentials = BASE })
      equal(failure.kind, "auth")
      matches(failure.message, "no AWS profile bsae in .*/.aws/config and .*/.aws/credentials.*Did you mean 'base'")
      failure = raises(of, nil, {}, { AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" })
      equal(failure.kind, "auth")
      matches(failure.message, "AWS_ACCESS_KEY_ID.*profile default in .*/.aws/credentials.*container.*machine")
      matches(raises(of, "half", { credentials = "[half]\naws_access_key_id = A\n" }).message, "no secret of it")
    end)
  end)

  it("of the environment count before files, not before a profile that was asked for", function()
    local text = [[
      local secret = require "native.secret"
      local credentials = require "neap.targets.aws.credentials"
      local fixture = require "tests.targets.fixture"
      it("x", function()
        local run = fixture.run()
        run.keys = secret.keyring()
        fixture.within(run, function()
          local found = credentials.of {}
          equal(found.key, "AKENV")
          truthy(secret.same(found.secret, "of+env") and secret.same(found.token, "t"))
          equal(credentials.of({ profile = "base" }).key, "AKIABASE")
        end)
      end)]]
    world.home(home, { credentials = BASE })
    world.restore()
    sshd.write(home .. "/inner_test.lua", 'describe("y", function()\n' .. text .. "\nend)\n")
    local result = process.run({ process.executable(), "test", home .. "/inner_test.lua" }, { reads = true, env = {
      HOME = home, AWS_ACCESS_KEY_ID = "AKENV", AWS_SECRET_ACCESS_KEY = "of+env", AWS_SESSION_TOKEN = "t" } })
    equal({ result.status, result.out:match "1 passed, 0 failed" }, { 0, "1 passed, 0 failed" })
  end)

  describe("of roles", function()
    local ROLE = "[profile role]\nrole_arn = arn:aws:iam::1:role/deploy\nsource_profile = base\nexternal_id = x\n"

    it("are taken with those of another profile, and so on", function()
      check(of("role", { config = ROLE, credentials = BASE }), "^ASIA%-deploy", "secret+of/deploy", "token/of+deploy")
      matches(log(), 'AssumeRole by AKIABASE {"ExternalId": "x", "RoleArn": "arn:aws:iam::1:role/deploy"}')
      check(of("next", { credentials = BASE, config = ROLE
        .. "[profile next]\nrole_arn = arn:aws:iam::2:role/far\nsource_profile = role\n" }), "^ASIA%-far",
        "secret+of/far", "token/of+far")
      matches(log(), "AssumeRole by ASIA%-deploy%-2 .*role/far")
    end)

    it("end where they lead in a circle", function()
      local circle = "[profile a]\nrole_arn = r/a\nsource_profile = b\n"
        .. "[profile b]\nrole_arn = r/b\nsource_profile = a\n"
      local failure = raises(of, "a", { config = circle })
      equal(failure.kind, "auth")
      matches(failure.message, "leads to others without an end")
    end)

    it("with a second factor ask for its code, once however many want it", function()
      local run, asked = new_run(), {}
      run.prompt = function(text)
        asked[#asked + 1] = text
        return "123456"
      end
      local config = ROLE .. "mfa_serial = arn:aws:iam::1:mfa/ann\n"
      world.home(home, { config = config, credentials = BASE })
      within(run, function()
        local tasks = {}
        for i = 1, 3 do
          tasks[i] = task.spawn(credentials.of, { profile = "role", endpoint_url = peer.url, region = "us-west-2" })
        end
        for _, one in ipairs(tasks) do
          local ok, found = one:wait()
          truthy(ok)
          check(found, "^ASIA%-deploy%-1$", "secret+of/deploy", "token/of+deploy")
        end
      end)
      equal(asked, { "code of arn:aws:iam::1:mfa/ann" })
      matches(log(), '"SerialNumber": "arn:aws:iam::1:mfa/ann", "TokenCode": "123456"')
      matches(raises(of, "role", { config = config, credentials = BASE }).message, "nobody was there to type")
      run.prompt, run.connections = function() return "000000" end, {}
      equal(raises(of, "role", { config = config, credentials = BASE }, nil, run).kind, "auth")
    end)

    it("by a web identity, of the environment or of a profile", function()
      sshd.write(home .. "/token", "the-identity\n")
      check(of(nil, {}, { AWS_WEB_IDENTITY_TOKEN_FILE = home .. "/token", AWS_ROLE_ARN = "arn:aws:iam::1:role/pod" }),
        "^ASIA%-pod", "secret+of/pod", "token/of+pod")
      matches(log(), 'AssumeRoleWithWebIdentity by nobody .*"WebIdentityToken": "the%-identity"')
      local config = "[profile w]\nrole_arn = arn:aws:iam::1:role/own\nweb_identity_token_file = " .. home .. "/token\n"
      check(of("w", { config = config }), "^ASIA%-own", "secret+of/own", "token/of+own")
    end)
  end)

  describe("of single sign-on", function()
    local SSO = "[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Admin\n"
      .. "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.example.org/start\n"

    local function sign_on(name, ends)
      fs.mkdir(home .. "/.aws/sso/cache", "0700")
      local path = ("%s/.aws/sso/cache/%s.json"):format(home, crypto.sha1(name))
      sshd.write(path, ('{"accessToken": "bearer-1", "expiresAt": "%s", "region": "eu-west-1"}'):format(ends))
      sshd.run { "chmod", "600", path }
    end

    it("come by the session that was left, also as a source of roles", function()
      sign_on("corp", "2099-01-01T00:00:00Z")
      check(of("sso", { config = SSO }), "^ASIA%-sso", "secret+of/sso", "token/of+sso")
      matches(log(), 'sso bearer%-1 {"account_id": "123456789012", "role_name": "Admin"}')
      check(of("up", { config = SSO .. "[profile up]\nrole_arn = arn:aws:iam::2:role/up\nsource_profile = sso\n" }),
        "^ASIA%-up", "secret+of/up", "token/of+up")
      matches(log(), "AssumeRole by ASIA%-sso")
    end)

    it("come by a start URL that stands in the profile itself", function()
      sign_on("https://old.example.org/start", "2099-01-01T00:00:00UTC")
      local old = "[profile old]\nsso_start_url = https://old.example.org/start\nsso_region = eu-west-1\n"
        .. "sso_account_id = 1\nsso_role_name = R\n"
      check(of("old", { config = old }), "^ASIA%-sso", "secret+of/sso", "token/of+sso")
    end)

    it("that have run out say how to sign on again", function()
      sign_on("corp", "2020-01-01T00:00:00Z")
      local failure = raises(of, "sso", { config = SSO })
      equal({ failure.kind, failure.hint }, { "auth", "aws sso login --profile sso" })
    end)
  end)

  it("of a program, where the environment allows it", function()
    local config = '[profile p]\ncredential_process = /bin/sh "' .. home .. '/give me" now\n'
    sshd.write(home .. "/give me", [[echo '{"Version": 1, "AccessKeyId": "AP", "SecretAccessKey": "of+program",
      "SessionToken": "tp", "Expiration": "2099-01-01T00:00:00Z"}']])
    local failure = raises(of, "p", { config = config })
    equal({ failure.kind, failure.hint }, { "denied", "name /bin/sh in policy.allow_exec of the environment" })
    local run = new_run()
    run.environment.policy = { allow_exec = { "/bin/sh" } }
    local found = of("p", { config = config }, nil, run)
    check(found, "^AP$", "of+program", "tp")
    equal(found.ends, 4070908800)
    sshd.write(home .. "/give me", "echo no >&2; exit 3")
    run = new_run()
    run.environment.policy = { allow_exec = { "/bin/sh" } }
    failure = raises(of, "p", { config = config }, nil, run)
    equal({ failure.kind, failure.code, failure.output }, { "auth", 3, "no\n" })
  end)

  it("of a container", function()
    sshd.write(home .. "/bearer", "open sesame\n")
    check(of(nil, {}, { AWS_CONTAINER_CREDENTIALS_FULL_URI = peer.url .. "/container",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = home .. "/bearer" }), "^ASIA%-container", "secret+of/container",
      "token/of+container")
    equal(log(), "container open sesame")
    local failure = raises(of, nil, {}, { AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://example.org/container" })
    equal(failure.kind, "denied")
  end)

  describe("of a machine", function()
    it("come by version 2 of the metadata service", function()
      check(of(nil, {}, { AWS_EC2_METADATA_SERVICE_ENDPOINT = peer.url }), "^ASIA%-machine", "secret+of/machine",
        "token/of+machine")
    end)

    it("never by version 1, and not where that is turned off", function()
      world.ask(peer.url .. "/v1", {})
      local failure = raises(of, nil, {}, { AWS_EC2_METADATA_SERVICE_ENDPOINT = peer.url })
      equal({ failure.kind, log() }, { "auth", "metadata PUT /latest/api/token" })
      failure = raises(of, nil, {},
        { AWS_EC2_METADATA_SERVICE_ENDPOINT = peer.url, AWS_EC2_METADATA_DISABLED = "true" })
      matches(failure.message, "AWS_EC2_METADATA_DISABLED")
      equal(log(), "metadata PUT /latest/api/token")
    end)
  end)

  it("are kept as long as they are good, and had anew before they end", function()
    local run = new_run()
    local function ask() return of("role", { credentials = BASE,
      config = "[profile role]\nrole_arn = r/deploy\nsource_profile = base\n" }, nil, run).key end
    equal({ ask(), ask() }, { "ASIA-deploy-1", "ASIA-deploy-1" })
    world.restore()
    world.ask(peer.url .. "/life/200", {})
    run = new_run()
    equal({ ask(), ask() }, { "ASIA-deploy-2", "ASIA-deploy-3" })
  end)

  it("have the region of the call, the environment's section, the variables, the profile: in this order", function()
    local function region(options, section, more)
      world.home(home, { config = "[default]\nregion = eu-west-3\n", credentials = BASE }, more)
      local run = new_run()
      run.environment.aws = section
      return within(run, function() return aws.client("iam", options):region() end)
    end
    local variables = { AWS_REGION = "eu-west-1", AWS_DEFAULT_REGION = "eu-west-2" }
    equal(region({ region = "us-west-2" }, { region = "us-east-2" }, variables), "us-west-2")
    equal(region(nil, { region = "us-east-2" }, variables), "us-east-2")
    equal(region(nil, nil, variables), "eu-west-1")
    equal(region(nil, nil, { AWS_DEFAULT_REGION = "eu-west-2" }), "eu-west-2")
    equal(region(nil, nil, nil), "eu-west-3")
  end)
end)
