--- `neap doctor aws`: who neap is at AWS, as a run for this environment would be.
local clock    = require "native.clock"
local fault    = require "native.error"
local finding  = require "neap.cli.finding"
local identity = require "neap.targets.aws.identity"
local page     = require "neap.cli.view.page"
local secret   = require "native.secret"
local task     = require "native.task"

local aws = {}

local SOON = 24 * 3600 -- seconds before which an end is also said as a span

local function check_credentials(found, profile)
  local one = identity.credentials(profile)
  found.source, found.key, found.ends = one.source, one.key, one.ends
  found.expires = one.ends and os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(one.ends)) or nil
  return ("%s, key %s"):format(one.source, one.key)
end

local function check_expiry(ends)
  if not ends then return "none" end
  local left = ends - clock.now()
  local text = os.date("!%Y-%m-%d %H:%M UTC", math.floor(ends))
  if left <= 0 then fault.raise { kind = "auth", message = "over since " .. text, where = "" } end
  return left < SOON and ("%s, in about %s"):format(text, page.about(left)) or text
end

local function check_region(found, profile)
  local one = identity.region(profile)
  found.region, found.region_from = one.region, one.from
  if one.region then return ("%s, of %s"):format(one.region, one.from) end
  return fault.raise { kind = "missing", message = "nothing names a region", where = "",
    hint = "aws.region of the environment, AWS_REGION, or the profile's" }
end

local function check_caller(found, wanted, profile)
  local caller = identity.caller(profile)
  found.account, found.arn = caller.account, caller.arn
  return ("%s, %s"):format(caller.account, wanted and "as the environment says" or "the environment names none")
end

--- Each endpoint as a finding; one where they cannot be told.
local function endpoints_of(found, profile)
  local one = finding("aws", "endpoint", function() found.endpoints = identity.endpoints(profile) end)
  if not one.ok then return { one } end
  local list = {}
  for i, at in ipairs(found.endpoints) do
    list[i] = { area = "aws", name = at.service, ok = true, note = ("%s, of %s"):format(at.url, at.from) }
  end
  return list
end

local function check_all(env, profile)
  local found, findings = {}, {}
  local function add(one)
    if not findings[1] or one.ok or one.note ~= findings[1].note then findings[#findings + 1] = one end
  end
  add(finding("aws", "credentials", check_credentials, found, profile))
  if found.source then add(finding("aws", "expiry", check_expiry, found.ends)) end
  add(finding("aws", "region", check_region, found, profile))
  for _, one in ipairs(endpoints_of(found, profile)) do add(one) end
  if found.source then add(finding("aws", "account", check_caller, found, (env.aws or {}).account, profile)) end
  if found.arn then add { area = "aws", name = "caller", ok = true, note = found.arn } end
  found.ends = nil
  return { findings = findings, aws = found }
end

--- Looks who neap is, by the chain of credentials, and asks STS. Changes nothing.
--- @param env table       of environment.load, or what stands for one
--- @param given { profile?: string }
--- @param ask function    asks a person for the code of a device
--- @return { findings: table[], aws: table }
function aws.look(env, given, ask)
  local run = { connections = {}, environment = env, keys = secret.keyring(), prompt = ask }
  local context = setmetatable({ run = run }, { __index = task.context() })
  return task.with_context(context, check_all, env, given.profile)
end

return aws
