--- What a run knows of AWS: its clients, each made once; whose account it is; what was refused.
local clients = require "neap.targets.aws.client"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local json    = require "native.json"

local known = {}

local READ_TIMEOUT = 60 -- seconds

--- The environment's section.
--- @return table
function known.section() return hosts.run().environment.aws or {} end

local function kept()
  local connections = hosts.run().connections
  connections.aws = connections.aws or { close = function() end, clients = {}, met = {}, refused = {} }
  return connections.aws
end

--- Effects that a service has clearly refused, by their witness: nothing happened, and nothing will.
--- @return table<string, boolean>
function known.refused() return kept().refused end

--- Whose account a profile is to be of; nil where the environment does not say.
--- @param profile? string
--- @return string?
function known.account(profile)
  local section = known.section()
  local account = section.accounts and section.accounts[profile or ""] or section.account
  return account and tostring(account)
end

--- The client of a target, which may name more than this.
--- @param target { service: string, profile?: string, region?: string, endpoint?: string, plain?: boolean }
--- @return aws.client
function known.client(target)
  local made, section = kept().clients, known.section()
  local key = json.encode { target.service, target.profile or false, target.region or false, target.endpoint or false,
    target.plain or false }
  made[key] = made[key] or clients.of(target.service, { profile = target.profile, region = target.region,
    endpoint = target.endpoint, endpoints = section.endpoints, endpoint_url = section.endpoint, ca = section.ca,
    plain = target.plain })
  return made[key]
end

--- Seconds after which a request that was sent is carried out no more: the life of its signature, unless the environment
--- knows the server better.
--- @param service string
--- @return number
function known.life(service)
  local life = clients.signature_life
  return tonumber(known.section().late) or life[service] or life.other
end

--- How a client calls what reads.
--- @param timeout? number
--- @return aws.call_options
function known.reading(timeout) return { reads = true, repeatable = true, timeout = timeout or READ_TIMEOUT } end

local function sts_of(target)
  return known.client { service = "sts", profile = target.profile, region = target.region }
end

--- Whether there is an account to ask for: behind an endpoint that was given for one service there may be none.
local function has_account(target)
  return known.section().account ~= nil or not known.client(target):is_given() or sts_of(target):is_given()
end

--- Asks STS whose the credentials are. Raises kind `denied` with the code "identity" where the account is not the
--- environment's.
--- @param target table  of known.client
--- @return { Account: string, Arn: string }
function known.caller(target)
  local caller, wanted = sts_of(target):call("GetCallerIdentity", {}, known.reading()), known.account(target.profile)
  if not wanted or wanted == caller.Account then return caller end
  return fault.raise { kind = "denied", code = "identity", output = caller.Arn,
    message = ("these credentials are of the AWS account %s, the environment's is %s"):format(caller.Account, wanted) }
end

--- Asks once in a run whose account the credentials are of, and holds it against the environment's and the plan's.
--- Raises kind `denied` with the code "identity" where it is another.
--- @param target table  of known.client
--- @return aws.client  of the target
function known.meet(target)
  local name, kept_here, client = "AWS profile " .. (target.profile or "default"), kept(), known.client(target)
  if kept_here.met[client] then return client end
  if not kept_here.met[name] and has_account(target) then
    hosts.met(name, "account " .. known.caller(target).Account)
    kept_here.met[name] = true
  end
  kept_here.met[client] = true
  return client
end

return known
