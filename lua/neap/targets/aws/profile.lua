--- Credentials of a profile: its own keys, a role of another profile, a web identity, single sign-on, a program.
local clock   = require "native.clock"
local config  = require "neap.targets.aws.config"
local crypto  = require "native.crypto"
local fault   = require "native.error"
local fs      = require "native.fs"
local given   = require "neap.targets.aws.given"
local hosts   = require "neap.targets.connection"
local process = require "native.process"
local secret  = require "native.secret"

local profiles = {}

local DEPTH   = 5  -- profiles that lead to one another
local TIMEOUT = 60 -- seconds

-- ---- keys and programs ----

local function own_keys(name, profile)
  if not profile.aws_access_key_id then return nil end
  if not secret.is(profile.aws_secret_access_key) then
    fault.raise { kind = "auth", message = ("the profile %s has an access key and no secret of it"):format(name) }
  end
  return { key = profile.aws_access_key_id, secret = profile.aws_secret_access_key, source = "profile " .. name,
    token = secret.is(profile.aws_session_token) and profile.aws_session_token or nil }
end

--- The words of a command line: parted by blanks, held together by double quotes.
local function argv_of(text)
  local argv = {}
  for before, quoted in (text .. '""'):gmatch '([^"]*)"([^"]*)"' do
    for word in before:gmatch "%S+" do argv[#argv + 1] = word end
    if quoted ~= "" then argv[#argv + 1] = quoted end
  end
  return argv
end

local function check_allowed(program, name)
  local policy = hosts.run().environment.policy or {}
  local allowed = policy.allow_exec or {}
  for _, one in ipairs(type(allowed) == "table" and allowed or { allowed }) do
    if one == program then return end
  end
  fault.raise { kind = "denied", hint = ("name %s in policy.allow_exec of the environment"):format(program),
    message = ("the environment does not allow %s to be run for the AWS profile %s"):format(program, name) }
end

local function from_program(name, profile, keys)
  if not profile.credential_process then return nil end
  local argv = argv_of(profile.credential_process)
  check_allowed(argv[1], name)
  local stream <close> = process.spawn(argv, { reads = true })
  local document, said, status = secret.collect(stream, keys)
  if status ~= 0 then
    fault.raise { kind = "auth", code = status, output = said ~= "" and said or nil,
      message = ("%s gives no credentials for the AWS profile %s (exit status %d)"):format(argv[1], name, status) }
  end
  return given.document(document, "credential_process of profile " .. name)
end

-- ---- roles ----

--- A client of a service by which credentials are had, with those that it is to sign with.
local function client_of(service, settings, with, region)
  return require "neap.targets.aws.client".of(service, { region = region or settings.region, profile = settings.profile,
    endpoints = settings.endpoints, endpoint_url = settings.endpoint_url, ca = settings.ca, credentials = with })
end

local function ask(service, settings, with, region, operation, parameters)
  local client = client_of(service, settings, with, region)
  local ok, result = pcall(client.call, client, operation, parameters,
    { reads = true, repeatable = true, timeout = TIMEOUT })
  if ok then return result end
  if fault.is(result, "denied") then result.kind = "auth" end
  error(result, 0)
end

local function session_name() return ("neap-%s"):format(crypto.hex(crypto.random(6))) end

local function code_of(serial)
  local prompt = hosts.run().prompt
  local code = prompt and prompt(("code of %s"):format(serial), {})
  if code and code ~= "" then return code end
  return fault.raise { kind = "auth", message = "nobody was there to type the code of " .. serial }
end

--- The credentials that a role is taken with.
local function base_of(settings, name, profile, keys, files, depth)
  if profile.credential_source then
    local sources = { Environment = "environment", EcsContainer = "container", Ec2InstanceMetadata = "metadata" }
    local source = sources[profile.credential_source]
    if source == "environment" then
      return { key = process.environ "AWS_ACCESS_KEY_ID", secret = secret.variable("AWS_SECRET_ACCESS_KEY", keys),
        token = process.environ "AWS_SESSION_TOKEN" and secret.variable("AWS_SESSION_TOKEN", keys) or nil }
    end
    return source and require "neap.targets.aws.machine"[source](keys)
  end
  local from = profile.source_profile
  if not from then
    fault.raise { kind = "auth", message = ("the profile %s has a role, and no source_profile"):format(name) }
  end
  if from ~= name then return profiles.credentials(settings, from, keys, files, depth + 1) end
  return own_keys(name, profile)
end

local function from_role(settings, name, profile, keys, files, depth)
  if not profile.role_arn or profile.web_identity_token_file then return nil end
  if depth > DEPTH then
    fault.raise { kind = "auth", message = ("the AWS profile %s leads to others without an end"):format(name) }
  end
  local base = base_of(settings, name, profile, keys, files, depth)
  if not base then
    fault.raise { kind = "auth", message = ("the AWS profile %s, which %s takes its role with, has no credentials")
      :format(profile.source_profile or profile.credential_source, name) }
  end
  local result = ask("sts", settings, base, profile.region, "AssumeRole", { RoleArn = profile.role_arn,
    RoleSessionName = profile.role_session_name or session_name(), ExternalId = profile.external_id,
    DurationSeconds = math.tointeger(tonumber(profile.duration_seconds)), SerialNumber = profile.mfa_serial,
    TokenCode = profile.mfa_serial and code_of(profile.mfa_serial) })
  return given.parsed(result.Credentials or {}, keys, ("role %s of profile %s"):format(profile.role_arn, name))
end

local function with_token(settings, region, file, role, session, keys, source)
  local token = secret.literal(fs.read(file):gsub("%s+$", ""), keys)
  local result = ask("sts", settings, {}, region, "AssumeRoleWithWebIdentity", { RoleArn = role,
    WebIdentityToken = token, RoleSessionName = session or session_name() })
  return given.parsed(result.Credentials or {}, keys, source)
end

--- Those of a web identity that the environment names (IRSA); nil where it names none.
--- @param settings table
--- @param keys native.secret.keyring
--- @return aws.credentials?
function profiles.web_identity(settings, keys)
  local file, role = process.environ "AWS_WEB_IDENTITY_TOKEN_FILE", process.environ "AWS_ROLE_ARN"
  if not file or not role then return nil end
  return with_token(settings, nil, file, role, process.environ "AWS_ROLE_SESSION_NAME", keys,
    "web identity of the environment")
end

local function from_web_identity(settings, name, profile, keys)
  if not profile.web_identity_token_file or not profile.role_arn then return nil end
  return with_token(settings, profile.region, profile.web_identity_token_file, profile.role_arn,
    profile.role_session_name, keys, "web identity of profile " .. name)
end

-- ---- single sign-on ----

local function run_out(name)
  fault.raise { kind = "auth", code = "sign-on", hint = "aws sso login --profile " .. name,
    message = ("the single sign-on of the AWS profile %s has run out, or there was none"):format(name) }
end

--- The token that `aws sso login` has left: its file is named by the digest of the session's name, or of the start URL.
local function sso_token(name, key, keys)
  local path = ("%s/%s.json"):format(config.sso_cache(), key)
  if not fs.exists(path) then run_out(name) end
  local document = secret.file(path, keys)
  local ok, ends = pcall(secret.plain, document, "expiresAt")
  if not ok or (given.time(ends) or 0) < clock.now() then run_out(name) end
  return secret.pick(document, "accessToken")
end

local function from_sso(settings, name, profile, keys, files)
  if not profile.sso_account_id or not profile.sso_role_name then return nil end
  local session = profile.sso_session and files.sessions[profile.sso_session] or profile
  if not session.sso_start_url then
    fault.raise { kind = "auth", message = profile.sso_session
      and ("the profile %s names the sign-on %s, which is not there"):format(name, profile.sso_session)
      or ("the profile %s names no start URL of its sign-on"):format(name) }
  end
  local result = ask("sso", settings, {}, session.sso_region, "GetRoleCredentials", { roleName = profile.sso_role_name,
    accountId = profile.sso_account_id,
    accessToken = sso_token(name, crypto.sha1(profile.sso_session or session.sso_start_url), keys) })
  local value = result.roleCredentials or {}
  local found = given.parsed({ AccessKeyId = value.accessKeyId, SecretAccessKey = value.secretAccessKey,
    SessionToken = value.sessionToken }, keys, "single sign-on of profile " .. name)
  found.ends = value.expiration and value.expiration / 1000
  return found
end

--- The credentials of a profile; nil where it has none. Raises kind `auth` where it should have some, and `denied` for
--- a program that the environment does not allow.
--- @param settings table
--- @param name string
--- @param keys native.secret.keyring
--- @param files aws.files
--- @param depth integer
--- @return aws.credentials?
function profiles.credentials(settings, name, keys, files, depth)
  local profile = config.profile(files, name)
  return from_role(settings, name, profile, keys, files, depth)
    or from_web_identity(settings, name, profile, keys)
    or from_sso(settings, name, profile, keys, files)
    or own_keys(name, profile)
    or from_program(name, profile, keys)
end

return profiles
