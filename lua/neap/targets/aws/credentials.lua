--- Who we are at AWS: the chain of places that the command line and the SDKs look at, in their order. Secret keys and
--- session tokens are secrets from where they are read on.
local clock    = require "native.clock"
local config   = require "neap.targets.aws.config"
local fault    = require "native.error"
local hosts    = require "neap.targets.connection"
local machine  = require "neap.targets.aws.machine"
local process  = require "native.process"
local profiles = require "neap.targets.aws.profile"
local secret   = require "native.secret"
local task     = require "native.task"

local credentials = {}

local MARGIN = 300 -- seconds before their end at which credentials are had anew

local function from_environment(keys)
  local key = process.environ "AWS_ACCESS_KEY_ID"
  if not key then return nil end
  return { key = key, secret = secret.variable("AWS_SECRET_ACCESS_KEY", keys), source = "the environment",
    token = process.environ "AWS_SESSION_TOKEN" and secret.variable("AWS_SESSION_TOKEN", keys) or nil }
end

local function nowhere(name, looked)
  local first, second = config.paths()
  fault.raise { kind = "auth", code = "no credentials",
    message = ("there are no credentials of AWS: neither in the environment (AWS_ACCESS_KEY_ID), nor for the profile "
      .. "%s in %s and %s (keys, role, web identity, sign-on, program), nor of a container, nor of a machine (%s)")
      :format(name, second, first, looked) }
end

--- The first place that has some. A profile that was asked for by name counts before keys of the environment.
local function find(settings, keys)
  local name = config.name(settings.profile)
  local found = not settings.profile and from_environment(keys)
  if found then return found end
  found = profiles.credentials(settings, name, keys, config.read(keys), 1)
  if found then return found end
  if settings.profile then nowhere(name, "not asked: the profile was asked for by name") end
  found = profiles.web_identity(settings, keys) or machine.container(keys)
  if found then return found end
  local looked
  found, looked = machine.metadata(keys)
  return found or nowhere(name, looked)
end

local function is_good(one) return one ~= nil and (not one.ends or one.ends - MARGIN > clock.now()) end

--- The credentials for these settings, from an earlier time as long as they are good. However many tasks want them, they
--- are looked for, and a person asked, once. Raises kind `auth` where there are none, with the places that were looked at.
--- @param settings { profile?: string, region?: string, credentials?: aws.credentials }
--- @return aws.credentials
function credentials.of(settings)
  if settings.credentials then return settings.credentials end
  local run = hosts.run()
  run.connections["aws credentials"] = run.connections["aws credentials"]
    or { close = function() end, known = {}, making = {} }
  local kept, name = run.connections["aws credentials"], settings.profile or ""
  if is_good(kept.known[name]) then return kept.known[name] end
  kept.making[name] = kept.making[name] or task.spawn(task.shield, find, settings, run.keys)
  local ok, found = kept.making[name]:wait()
  kept.making[name] = nil
  if not ok then error(found, 0) end
  kept.known[name] = found
  return found
end

--- Has them looked for anew at the next call: a service has said that they have run out.
--- @param settings { profile?: string }
function credentials.forget(settings)
  local kept = hosts.run().connections["aws credentials"]
  if kept then kept.known[settings.profile or ""] = nil end
end

--- What the files say of a profile, read once in a run.
--- @param name? string
--- @return table profile
--- @return aws.files
function credentials.profile(name)
  local run = hosts.run()
  run.connections["aws files"] = run.connections["aws files"]
    or { close = function() end, read = config.read(run.keys) }
  local files = run.connections["aws files"].read
  return config.profile(files, config.name(name)), files
end

--- The region of a profile: AWS_REGION, AWS_DEFAULT_REGION, else what the profile says; nil where nothing names one.
--- @param name? string
--- @return string? region
--- @return string? from   what names it
function credentials.region(name)
  for _, variable in ipairs { "AWS_REGION", "AWS_DEFAULT_REGION" } do
    if process.environ(variable) then return process.environ(variable), variable end
  end
  local region = credentials.profile(name).region
  return region, region and "profile " .. config.name(name)
end

return credentials
