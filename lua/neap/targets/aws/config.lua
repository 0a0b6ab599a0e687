--- What ~/.aws/config and ~/.aws/credentials say. Secret keys and session tokens in them are secrets from the first.
local fault   = require "native.error"
local fs      = require "native.fs"
local home    = require "neap.home"
local near    = require "neap.near"
local ordered = require "neap.ordered"
local process = require "native.process"
local secret  = require "native.secret"

local config = {}

local HIDDEN = { aws_secret_access_key = true, aws_session_token = true }

--- The two files: where they are, as the environment or the home says.
--- @return string config
--- @return string credentials
function config.paths()
  local function path_of(variable, name)
    local path = process.environ(variable) or "~/.aws/" .. name
    return (path:gsub("^~", home()))
  end
  return path_of("AWS_CONFIG_FILE", "config"), path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials")
end

--- The folder that single sign-on keeps its tokens in.
--- @return string
function config.sso_cache() return home() .. "/.aws/sso/cache" end

--- A file that others may read is read as long as there is nothing secret in it.
local function open_text(path, keys)
  local document = secret.literal(fs.read(path), keys)
  for _, section in pairs(secret.ini(document, {})) do
    for key in pairs(section) do
      if HIDDEN[key] then
        fault.raise { kind = "denied", message = ("others may read %s, and there is a key in it"):format(path),
          hint = "chmod 600 " .. path }
      end
    end
  end
  return document
end

local function sections_of(path, keys)
  if path == "/dev/null" or not fs.exists(path) then return {} end
  local others_read = tonumber(fs.stat(path).mode, 8) & 63 ~= 0 -- 0077
  return secret.ini(others_read and open_text(path, keys) or secret.file(path, keys), HIDDEN)
end

--- "profile NAME", also in quotes, is NAME; "default" is itself.
local function name_of(section)
  local name = section:match "^profile%s+(.+)$"
  return name and (name:match "^['\"](.*)['\"]$" or name) or section
end

local function add(into, section)
  for key, value in pairs(section) do into[key] = value end
end

--- @class aws.files
--- @field profiles table<string, table>
--- @field sessions table<string, table>  of single sign-on
--- @field services table<string, table>  endpoints, by service

--- Both files together; what credentials says of a profile counts before what config says.
--- @param keys native.secret.keyring
--- @return aws.files
function config.read(keys)
  local files = { profiles = {}, sessions = {}, services = {} }
  local first, second = config.paths()
  local function profile(name)
    files.profiles[name] = files.profiles[name] or {}
    return files.profiles[name]
  end
  for section, content in pairs(sections_of(first, keys)) do
    local kind, name = section:match "^(%S+)%s+(.+)$"
    if kind == "sso-session" then
      files.sessions[name] = content
    elseif kind == "services" then
      files.services[name] = content
    else
      add(profile(name_of(section)), content)
    end
  end
  for section, content in pairs(sections_of(second, keys)) do add(profile(name_of(section)), content) end
  return files
end

--- The name of the profile that is meant: the one given, AWS_PROFILE, else default.
--- @param given? string
--- @return string
function config.name(given)
  return given or process.environ "AWS_PROFILE" or process.environ "AWS_DEFAULT_PROFILE" or "default"
end

--- A profile. Raises kind `auth` where it is not there and was asked for by name.
--- @param files aws.files
--- @param name string
--- @return table
function config.profile(files, name)
  local profile = files.profiles[name]
  if profile or name == "default" then return profile or {} end
  local first, second = config.paths()
  return fault.raise { kind = "auth", code = "profile",
    message = ("there is no AWS profile %s in %s and %s.%s"):format(name, first, second,
      near.question(name, ordered.keys(files.profiles))) }
end

return config
