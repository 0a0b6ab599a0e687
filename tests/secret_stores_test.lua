local clients = require "neap.targets.aws.client"
local fixture = require "tests.targets.fixture"
local moto    = require "tests.moto"
local secret  = require "native.secret"
local secrets = require "neap.secrets"
local sshd    = require "tests.sshd"
local world   = require "tests.targets.aws.world"

describe("secrets that servers keep", function()
  local keys, home

  before_each(function() keys, home = secret.keyring(), scratch() end)
  after_each(world.restore)

  describe("of Vault", function()
    local vault

    before_each(function() vault = world.server { "python3", "tests/vault.py", "token-of-the-test" } end)
    after_each(function() vault:close() end)

    local function resolve(reference, token)
      world.home(home, {}, { VAULT_ADDR = vault.url })
      if token ~= false then sshd.write(home .. "/.vault-token", (token or "token-of-the-test") .. "\n") end
      if token ~= false then sshd.run { "chmod", "600", home .. "/.vault-token" } end
      return secrets.resolve(reference, { keys = keys })
    end

    it("are one value of a map, in engines of both versions", function()
      local found = resolve "vault:old/realm#password"
      truthy(secret.same(found, "of old vault"))
      equal(secret.source(found), "vault:old/realm#password")
      truthy(secret.same(resolve "vault:new/app/db#password", "of new vault"))
      truthy(secret.same(resolve "vault:new/data/app/db#password", "of new vault"))
    end)

    it("that are not to be had say why", function()
      local function failure(...)
        local found = raises(resolve, ...)
        return found.kind .. ": " .. found.message
      end
      equal(failure "vault:old/none#a", "missing: vault:old/none is not to be had: there is nothing")
      matches(failure "vault:old/realm#none", "^missing: vault:old/realm#none: there is no none in it")
      equal(failure("vault:old/realm#password", "wrong"), "auth: vault:old/realm is not to be had: permission denied")
      world.ask(vault.url .. "/seal", {})
      matches(failure "vault:old/realm#password", "Vault is sealed")
    end)

    it("need a token", function()
      local failure = raises(resolve, "vault:old/realm#password", false)
      equal({ failure.kind, failure.hint }, { "auth", "vault login" })
    end)
  end)

  it("of AWS are parameters and secrets, or parts of them, of the right account", function()
    if not moto.is_there() then skip "moto is not installed (make deps)" end
    local server = moto.start()
    world.home(home, { credentials = "[default]\naws_access_key_id = A\naws_secret_access_key = b\n" })
    local aws = { region = "us-west-2", endpoint = server.url, account = "123456789012" }
    local run = fixture.run()
    run.keys = keys
    local function put(service, operation, parameters)
      fixture.within(run, changing, function()
        clients.of(service, { region = "us-west-2", endpoint = server.url }):call(operation, parameters,
          { reads = false, timeout = 60 })
      end)
    end
    put("ssm", "PutParameter", { Name = "/prod/db", Value = "of ssm", Type = "SecureString" })
    put("secretsmanager", "CreateSecret", { Name = "prod/db", SecretString = '{"user": "a", "password": "of sm"}' })
    local function resolve(reference) return secrets.resolve(reference, { keys = keys, aws = aws }) end
    truthy(secret.same(resolve "ssm:/prod/db", "of ssm"))
    truthy(secret.same(resolve "aws-sm:prod/db#password", "of sm"))
    equal(raises(resolve, "ssm:/prod/none").kind, "missing")
    equal(raises(resolve, "aws-sm:none").kind, "missing")
    aws.account = "210987654321"
    equal(raises(resolve, "ssm:/prod/db").code, "identity")
    server:close()
  end)
end)
