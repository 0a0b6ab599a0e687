--- Who neap is at AWS, for a person who asks: where the credentials come from, whose they are, where it asks.
local credentials = require "neap.targets.aws.credentials"
local endpoint    = require "neap.targets.aws.endpoint"
local known       = require "neap.targets.aws.known"
local ordered     = require "neap.ordered"

local identity = {}

--- The client's target: of a profile, else of the environment's.
local function target_of(profile)
  local section = known.section()
  profile = profile or section.profile
  local region, from = section.region, section.region and "aws.region of the environment"
  if not region then region, from = credentials.region(profile) end
  return { service = "sts", profile = profile, region = region }, from
end

--- The place of the chain that has credentials. Raises kind `auth` where none has, with the places that were looked at.
--- @param profile? string
--- @return { source: string, key: string, ends: number? }  ends: seconds since the epoch, nil for never
function identity.credentials(profile)
  local found = credentials.of(known.client(target_of(profile)).settings)
  return { source = found.source, key = found.key, ends = found.ends }
end

--- @param profile? string
--- @return { region: string?, from: string? }  nil: nothing names one
function identity.region(profile)
  local target, from = target_of(profile)
  return { region = target.region, from = from }
end

local function place(client)
  local service, settings = client.service, client.settings
  local at = endpoint.of(service, settings)
  local _, from = endpoint.given(service, settings)
  return { service = service.name, url = ("%s://%s%s"):format(at.scheme, at.host, at.path),
    from = from or "the endpoints of AWS" }
end

--- Where STS is asked, and each service that the environment gives an endpoint of its own.
--- @param profile? string
--- @return { service: string, url: string, from: string }[]
function identity.endpoints(profile)
  local target = target_of(profile)
  local list = { place(known.client(target)) }
  for _, name in ipairs(ordered.keys(known.section().endpoints or {})) do
    if name ~= "sts" then
      target.service = name
      list[#list + 1] = place(known.client(target))
    end
  end
  return list
end

--- What STS says. Raises kind `denied` with the code "identity" where the account is not the environment's.
--- @param profile? string
--- @return { account: string, arn: string }
function identity.caller(profile)
  local found = known.caller((target_of(profile)))
  return { account = found.Account, arn = found.Arn }
end

return identity
