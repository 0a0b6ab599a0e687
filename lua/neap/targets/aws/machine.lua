--- Credentials that a container or a machine of AWS has from where it runs.
local fault    = require "native.error"
local fs       = require "native.fs"
local given    = require "neap.targets.aws.given"
local process  = require "native.process"
local requests = require "neap.targets.http.request"
local secret   = require "native.secret"

local machine = {}

local METADATA  = "http://169.254.169.254"
local CONTAINER = "http://169.254.170.2"
local PATH      = "/latest/meta-data/iam/security-credentials/"

local function token_of_container(keys)
  local file = process.environ "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
  if file then return secret.literal(fs.read(file):gsub("%s+$", ""), keys) end
  return process.environ "AWS_CONTAINER_AUTHORIZATION_TOKEN"
    and secret.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", keys)
end

--- Those of a container (ECS, EKS), where the environment says where it asks for them; nil else.
--- @param keys native.secret.keyring
--- @return aws.credentials?
function machine.container(keys)
  local path = process.environ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
  local url = path and CONTAINER .. path or process.environ "AWS_CONTAINER_CREDENTIALS_FULL_URI"
  if not url then return nil end
  local reply = requests.repeated({ method = "GET", url = requests.address(url, {}, 1) },
    { headers = { Authorization = token_of_container(keys) }, redirects = 0, max_bytes = 65536 }, 10)
  return given.json(reply.body, keys, "the container")
end

local function ask(method, path, headers)
  local base = process.environ "AWS_EC2_METADATA_SERVICE_ENDPOINT" or METADATA
  return requests.once({ method = method, url = requests.address(base:gsub("/$", "") .. path, {}, 1), reads = true },
    { headers = headers, max_bytes = 65536 }, 2).body
end

--- Those of the machine's role. Version 2 of the metadata service alone: version 1 hands out keys to whoever can be
--- made to ask.
--- @param keys native.secret.keyring
--- @return aws.credentials?
--- @return string looked  why there are none
function machine.metadata(keys)
  if (process.environ "AWS_EC2_METADATA_DISABLED" or ""):lower() == "true" then
    return nil, "AWS_EC2_METADATA_DISABLED"
  end
  local ok, token = pcall(ask, "PUT", "/latest/api/token", { ["X-aws-ec2-metadata-token-ttl-seconds"] = "600" })
  if not ok and not fault.is(token) then error(token, 0) end
  if not ok and fault.is(token, "cancelled") then error(token, 0) end
  if not ok then return nil, "its metadata service gives no token: " .. token.message end
  local headers = { ["X-aws-ec2-metadata-token"] = secret.literal(token, keys) }
  local found, role = pcall(ask, "GET", PATH, headers)
  if not found and not fault.is(role, "missing") then error(role, 0) end
  role = found and role:match "[^%s]+"
  if not role then return nil, "it has no role" end
  return given.json(ask("GET", PATH .. role, headers), keys, "role " .. role .. " of this machine"), ""
end

return machine
