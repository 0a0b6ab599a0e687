--- Where a service of AWS answers, and by which region and name its requests are signed.
local credentials = require "neap.targets.aws.credentials"
local fault   = require "native.error"
local fs      = require "native.fs"
local json    = require "native.json"
local model   = require "neap.targets.aws.model"
local process = require "native.process"

local endpoint = {}

local LARGEST = 16 << 20

local partitions -- the machine's, like the models

local function read_partitions()
  if partitions then return partitions end
  for _, folder in ipairs(model.folders()) do
    if fs.exists(folder .. "/endpoints.json") then
      partitions = json.decode(fs.read(folder .. "/endpoints.json", { max = LARGEST })).partitions
      return partitions
    end
  end
  return fault.raise { kind = "missing", message = "there is no list of the endpoints of AWS on this machine",
    hint = "install python3-botocore, or give the endpoint" }
end

--- The partition that a region belongs to: by name, else by the pattern of its regions.
local function partition_of(region)
  local list = read_partitions()
  for _, one in ipairs(list) do
    if one.regions[region] then return one end
  end
  for _, one in ipairs(list) do
    local prefix = one.regionRegex:match "^%^%(?(%l+)"
    if prefix and region:sub(1, #prefix + 1) == prefix .. "-" then return one end
  end
  return list[1]
end

local function filled(template, service, region, suffix)
  local values = { service = service, region = region, dnsSuffix = suffix }
  return (template:gsub("{(%w+)}", values))
end

--- A variable like AWS_ENDPOINT_URL_ROUTE_53 names the service by its id.
local function id_of(service)
  return ((service.metadata.serviceId or service.name):upper():gsub("[^%w]", "_"))
end

local function is_true(text) return (text or ""):lower() == "true" end

--- What the environment's variables and the profile say, in the order of the SDKs.
local function configured(service, settings)
  local profile, files = credentials.profile(settings.profile)
  if is_true(process.environ "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    or is_true(profile.ignore_configured_endpoint_urls) then return nil end
  for _, variable in ipairs { "AWS_ENDPOINT_URL_" .. id_of(service), "AWS_ENDPOINT_URL" } do
    if process.environ(variable) then return process.environ(variable), variable end
  end
  local section = profile.services and files.services[profile.services]
  local own = section and section[id_of(service):lower()]
  if type(own) == "table" and own.endpoint_url then return own.endpoint_url, "services " .. profile.services end
  return profile.endpoint_url, "endpoint_url of the profile"
end

--- Endpoints of these two kinds have names of their own, which nobody is sent past.
local function refuse_special(settings)
  local profile = credentials.profile(settings.profile)
  for variable, key in pairs { AWS_USE_FIPS_ENDPOINT = "use_fips_endpoint",
    AWS_USE_DUALSTACK_ENDPOINT = "use_dualstack_endpoint" } do
    if is_true(process.environ(variable)) or is_true(profile[key]) then
      fault.raise { kind = "denied", message = ("%s is set, and neap does not know such endpoints"):format(variable),
        hint = "give them as aws.endpoints of the environment" }
    end
  end
end

--- The URL that somebody has given for a service: the caller, the environment's section, its variables, the profile.
--- @param service aws.service
--- @param settings table
--- @return string? url
--- @return string? from  who has given it
function endpoint.given(service, settings)
  if settings.endpoint then return settings.endpoint, "the call" end
  local own = (settings.endpoints or {})[service.name]
  if own then return own, "aws.endpoints of the environment" end
  if settings.endpoint_url then return settings.endpoint_url, "aws.endpoint of the environment" end
  local url, from = configured(service, settings)
  return url, url and from
end

--- What is looked up of a service in a region: its host, and the scope of its signatures.
local function found(service, region)
  local partition = partition_of(region)
  local name = service.metadata.endpointPrefix
  local known = partition.services[name] or { endpoints = {} }
  local key = region
  if known.isRegionalized == false and known.partitionEndpoint then key = known.partitionEndpoint end
  local entry = known.endpoints[key] or {}
  local defaults = known.defaults or {}
  local template = entry.hostname or defaults.hostname or partition.defaults.hostname
  local scope = entry.credentialScope or defaults.credentialScope or {}
  return filled(template, name, key, partition.dnsSuffix), scope
end

--- @param service aws.service
--- @param settings { region?: string, endpoint?: string, endpoints?: table, endpoint_url?: string }
--- @return { scheme: string, host: string, path: string, region: string, name: string }
function endpoint.of(service, settings)
  local region = settings.region or "us-east-1"
  local name = service.metadata.signingName or service.metadata.endpointPrefix
  local url = endpoint.given(service, settings)
  if url then
    local scheme, host, path = url:match "^(https?)://([^/]+)(/?.*)$"
    if not scheme then
      fault.raise { kind = "protocol", message = ("the endpoint of %s is no URL: %s"):format(service.name, url) }
    end
    return { scheme = scheme, host = host, path = (path:gsub("/$", "")), region = region, name = name, given = true }
  end
  refuse_special(settings)
  local host, scope = found(service, region)
  return { scheme = "https", host = host, path = "", region = scope.region or region, name = scope.service or name }
end

return endpoint
