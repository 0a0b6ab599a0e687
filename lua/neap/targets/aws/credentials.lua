--- Who we are at AWS: the chain of places that the command line and the SDKs look at, in their order. Secret keys and session
--- tokens are secrets from where they are read on.
local clock   = require "native.clock"
local crypto  = require "native.crypto"
local fault   = require "native.error"
local fs      = require "native.fs"
local hosts   = require "neap.targets.connection"
local json    = require "native.json"
local process = require "native.process"
local requests = require "neap.targets.http_request"
local secret  = require "native.secret"

local credentials = {}

local MARGIN   = 300 -- seconds before their end at which credentials are had anew
local DEPTH    = 5   -- profiles that lead to one another
local METADATA = "http://169.254.169.254"

-- ---- configuration: ~/.aws/config and ~/.aws/credentials ----

local function path_of(variable, name)
  local path = process.environ(variable) or "~/.aws/" .. name
  return (path:gsub("^~", process.user().home))
end

--- Sections of the configuration file; keys and values as texts, what is nested below a key left out.
local function sections(path)
  local found, section = {}, nil
  for line in (fs.exists(path) and fs.read(path) or ""):gmatch "[^\r\n]+" do
    local name = line:match "^%s*%[%s*(.-)%s*%]"
    local key, value = line:match "^([%w_.-]+)%s*=%s*(.-)%s*$"
    if name then
      section = name:gsub("^profile%s+", "")
      found[section] = found[section] or {}
    elseif section and key and not key:find "^[#;]" then
      found[section][key] = value
    end
  end
  return found
end

local SECRET_KEYS = { aws_secret_access_key = true, aws_session_token = true }

--- What the files say of a profile. Secrets are picked out of their file when they are wanted.
local function profile_of(name)
  local config = sections(path_of("AWS_CONFIG_FILE", "config"))
  local file = path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials")
  local profile = {}
  for _, given in ipairs { config[name] or {}, sections(file)[name] or {} } do
    for key, value in pairs(given) do
      if not SECRET_KEYS[key] then profile[key] = value end
    end
  end
  return profile, config
end

local function picked(keys, name, key)
  for _, file in ipairs { path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials"), path_of("AWS_CONFIG_FILE", "config") } do
    if fs.exists(file) then
      local document = secret.file(file, keys)
      for _, section in ipairs { name, "profile " .. name } do
        local value = secret.ini(document, section, key, ("%s of %s"):format(key, name))
        if value then return value end
      end
    end
  end
end

-- ---- what gives credentials ----

local function seconds(text)
  return text and clock.parse((text:gsub("%.%d+", ""):gsub("%+00:00$", "Z"):gsub("Z$", ".000Z"))) or nil
end

--- Credentials as services and programs give them, in JSON.
local function from_json(value, keys, source, names)
  local key, secret_key = value[names.key or "AccessKeyId"], value[names.secret or "SecretAccessKey"]
  if type(key) ~= "string" or type(secret_key) ~= "string" then
    fault.raise { kind = "auth", message = source .. " gives no credentials of AWS" }
  end
  local token = value[names.token or "SessionToken"]
  return { key = key, secret = secret.literal(secret_key, keys), token = token and secret.literal(token, keys) or nil,
    ends = seconds(value[names.ends or "Expiration"]), source = source }
end

local function decoded(text, source)
  local ok, value = pcall(json.decode, text)
  if ok and type(value) == "table" then return value end
  return fault.raise { kind = "auth", message = source .. " does not answer with JSON" }
end

local function from_environment(settings, keys)
  local key = process.environ "AWS_ACCESS_KEY_ID"
  if settings.profile or not key then return nil end
  local token = process.environ "AWS_SESSION_TOKEN" and secret.variable("AWS_SESSION_TOKEN", keys)
  return { key = key, secret = secret.variable("AWS_SECRET_ACCESS_KEY", keys), token = token, source = "the environment" }
end

local function from_file(name, profile, keys)
  if not profile.aws_access_key_id then return nil end
  local secret_key = picked(keys, name, "aws_secret_access_key")
  if not secret_key then
    fault.raise { kind = "auth", message = ("the profile %s has an access key and no secret of it"):format(name) }
  end
  return { key = profile.aws_access_key_id, secret = secret_key, token = picked(keys, name, "aws_session_token"),
    source = "profile " .. name }
end

local function words_of(text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  return words
end

local function from_program(name, profile, keys, policy)
  if not profile.credential_process then return nil end
  local argv = words_of(profile.credential_process)
  local allowed = false
  for _, one in ipairs(policy and policy.allow_exec or {}) do allowed = allowed or one == argv[1] end
  if not allowed then
    fault.raise { kind = "denied", hint = ("name %s in policy.allow_exec of the environment"):format(argv[1]),
      message = ("the environment does not allow %s to be run for the profile %s"):format(argv[1], name) }
  end
  local result = process.run(argv, { reads = true, timeout = 60 })
  if result.status ~= 0 then
    fault.raise { kind = "auth", code = result.status, message = argv[1] .. " gives no credentials", output = result.err }
  end
  return from_json(decoded(result.out, argv[1]), keys, "credential_process of profile " .. name, {})
end

-- ---- roles ----

--- Asks STS with the credentials given, or with none.
local function ask_sts(settings, operation, parameters, with)
  local client = require("neap.targets.aws.client").of("sts", { region = settings.region, endpoint_url = settings.endpoint_url,
    endpoints = settings.endpoints, ca = settings.ca, credentials = with })
  return client:call(operation, parameters, { reads = true, repeatable = true, timeout = 60 }).Credentials
end

local function of_role(value, keys, source)
  return from_json(value, keys, source, {})
end

local function session_name() return ("neap-%s"):format(crypto.hex(crypto.random(6))) end

local resolve

local function from_role(settings, name, profile, config, keys, depth)
  if not profile.role_arn or profile.web_identity_token_file then return nil end
  if depth > DEPTH then
    fault.raise { kind = "auth", message = ("the profile %s leads to others without an end"):format(name) }
  end
  local base
  if profile.source_profile and profile.source_profile ~= name then
    base = resolve(settings, profile.source_profile, keys, depth + 1)
  else
    local own = {}
    for key, value in pairs(profile) do own[key] = key ~= "role_arn" and value or nil end
    base = credentials.first(settings, name, own, config, keys, depth + 1)
  end
  local parameters = { RoleArn = profile.role_arn, RoleSessionName = profile.role_session_name or session_name(),
    ExternalId = profile.external_id, DurationSeconds = math.tointeger(tonumber(profile.duration_seconds)),
    SerialNumber = profile.mfa_serial }
  if profile.mfa_serial then
    local prompt = hosts.run().prompt
    parameters.TokenCode = prompt and prompt("code of " .. profile.mfa_serial, {})
    if not parameters.TokenCode then
      fault.raise { kind = "auth", message = "nobody was there to type the code of " .. profile.mfa_serial }
    end
  end
  return of_role(ask_sts(settings, "AssumeRole", parameters, base), keys, ("role of profile %s"):format(name))
end

local function from_web_identity(settings, name, profile, keys)
  local file = profile.web_identity_token_file or process.environ "AWS_WEB_IDENTITY_TOKEN_FILE"
  local role = profile.role_arn or process.environ "AWS_ROLE_ARN"
  if not file or not role then return nil end
  local parameters = { RoleArn = role, WebIdentityToken = secret.literal(fs.read(file):gsub("%s+$", ""), keys),
    RoleSessionName = profile.role_session_name or process.environ "AWS_ROLE_SESSION_NAME" or session_name() }
  return of_role(ask_sts(settings, "AssumeRoleWithWebIdentity", parameters, {}), keys, "web identity of " .. name)
end

-- ---- single sign-on ----

--- The cached token of `aws sso login`: its file is named by the digest of the session's name, or of its start URL.
local function sso_token(key, keys)
  local path = ("%s/.aws/sso/cache/%s.json"):format(process.user().home, key)
  local file = fs.exists(path) and decoded(fs.read(path), path)
  local ends = file and seconds(file.expiresAt)
  if not file or not file.accessToken or (ends and ends < clock.now()) then
    fault.raise { kind = "auth", message = "the single sign-on of AWS has run out, or there was none", hint = "aws sso login" }
  end
  return secret.literal(file.accessToken, keys)
end

local function from_sso(settings, name, profile, config, keys)
  if not profile.sso_account_id or not profile.sso_role_name then return nil end
  local session = profile.sso_session and config["sso-session " .. profile.sso_session] or profile
  if not session.sso_start_url then
    fault.raise { kind = "auth", message = ("the profile %s names no start URL of its sign-on"):format(name) }
  end
  local client = require("neap.targets.aws.client").of("sso", { region = session.sso_region or settings.region,
    endpoint_url = settings.endpoint_url, endpoints = settings.endpoints, ca = settings.ca, credentials = {} })
  local token = sso_token(crypto.sha1(profile.sso_session or session.sso_start_url), keys)
  local value = client:call("GetRoleCredentials", { roleName = profile.sso_role_name, accountId = profile.sso_account_id,
    accessToken = token }, { reads = true, repeatable = true, timeout = 60 }).roleCredentials
  local made = from_json(value, keys, "single sign-on of profile " .. name,
    { key = "accessKeyId", secret = "secretAccessKey", token = "sessionToken", ends = "none" })
  made.ends = value.expiration and value.expiration / 1000
  return made
end

-- ---- machines ----

local function from_container(keys)
  local url = process.environ "AWS_CONTAINER_CREDENTIALS_FULL_URI"
  local path = process.environ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
  if not url and not path then return nil end
  local headers = { Authorization = process.environ "AWS_CONTAINER_AUTHORIZATION_TOKEN" }
  local reply = requests.repeated({ method = "GET", url = requests.address(url or "http://169.254.170.2" .. path, {}, 1) },
    { headers = headers, redirects = 0 }, 10)
  return from_json(decoded(reply.body, "the container"), keys, "the container", { token = "Token" })
end

--- Version 2 of the metadata service alone: version 1 hands out keys to whoever can be made to ask.
local function from_metadata(keys)
  if process.environ "AWS_EC2_METADATA_DISABLED" == "true" then return nil end
  local base = process.environ "AWS_EC2_METADATA_SERVICE_ENDPOINT" or METADATA
  local function ask(method, path, headers)
    return requests.once({ method = method, url = requests.address(base .. path, {}, 1), reads = true },
      { headers = headers, max_bytes = 65536 }, 2).body
  end
  local ok, token = pcall(ask, "PUT", "/latest/api/token", { ["X-aws-ec2-metadata-token-ttl-seconds"] = "600" })
  if not ok then return nil end
  local headers = { ["X-aws-ec2-metadata-token"] = token }
  local role = ask("GET", "/latest/meta-data/iam/security-credentials/", headers):match "[^\n]+"
  if not role then return nil end
  local text = ask("GET", "/latest/meta-data/iam/security-credentials/" .. role, headers)
  return from_json(decoded(text, "the machine's metadata"), keys, "role " .. role .. " of this machine", { token = "Token" })
end

-- ---- the chain ----

--- The credentials of a profile whose settings are known, from the first place that has some.
--- @param settings table
--- @param name string
--- @param profile table
--- @param config table
--- @param keys native.secret.keyring
--- @param depth integer
--- @return aws.credentials
function credentials.first(settings, name, profile, config, keys, depth)
  local found = from_role(settings, name, profile, config, keys, depth)
    or from_web_identity(settings, name, profile, keys)
    or from_sso(settings, name, profile, config, keys)
    or from_file(name, profile, keys)
    or from_program(name, profile, keys, hosts.run().environment.policy)
    or from_container(keys) or from_metadata(keys)
  if found then return found end
  return fault.raise { kind = "auth", message = ("there are no credentials of AWS (profile %s)"):format(name),
    hint = "neap looks at the environment, ~/.aws, sign-on, container and machine, in this order" }
end

function resolve(settings, name, keys, depth)
  local profile, config = profile_of(name)
  if settings.profile and not next(profile) then
    fault.raise { kind = "auth", message = ("~/.aws has no profile %s"):format(name) }
  end
  return credentials.first(settings, name, profile, config, keys, depth)
end

--- The credentials for these settings, from an earlier time as long as they are good.
--- @param settings { profile?: string, region?: string, credentials?: aws.credentials }
--- @return aws.credentials
function credentials.of(settings)
  if settings.credentials then return settings.credentials end
  local run = hosts.run()
  run.connections["aws credentials"] = run.connections["aws credentials"] or { close = function() end, known = {} }
  local known = run.connections["aws credentials"].known
  local name = settings.profile or process.environ "AWS_PROFILE" or "default"
  local one = known[name]
  if not one or (one.ends and one.ends - MARGIN < clock.now()) then
    known[name] = from_environment(settings, run.keys) or resolve(settings, name, run.keys, 1)
  end
  return known[name]
end

--- The region of a profile; nil where nothing names one.
--- @param settings { profile?: string, region?: string }
--- @return string?
function credentials.region(settings)
  if settings.region then return settings.region end
  local name = settings.profile or process.environ "AWS_PROFILE" or "default"
  return process.environ "AWS_REGION" or process.environ "AWS_DEFAULT_REGION" or (profile_of(name)).region
end

return credentials
