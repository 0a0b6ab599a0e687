--- Credentials as services and programs give them.
local clock  = require "native.clock"
local fault  = require "native.error"
local json   = require "native.json"
local secret = require "native.secret"

local given = {}

--- Seconds since the epoch of a time as AWS writes it; nil for none.
--- @param text? string
--- @return number?
function given.time(text)
  if type(text) ~= "string" then return nil end
  return clock.parse((text:gsub("%.%d+", ""):gsub("%+00:00$", "Z"):gsub("UTC$", "Z")))
end

local function nothing(source) fault.raise { kind = "auth", message = source .. " gives no credentials of AWS" } end

local function kept(value, keys) return secret.is(value) and value or secret.literal(value, keys) end

--- Of a result that was parsed: AccessKeyId, SecretAccessKey, SessionToken or Token, Expiration.
--- @param value table
--- @param keys native.secret.keyring
--- @param source string
--- @return aws.credentials
function given.parsed(value, keys, source)
  local key, token = value.SecretAccessKey, value.SessionToken or value.Token
  if type(value.AccessKeyId) ~= "string" or type(key) ~= "string" and not secret.is(key) then nothing(source) end
  return { key = value.AccessKeyId, secret = kept(key, keys), source = source, token = token and kept(token, keys),
    ends = given.time(value.Expiration) }
end

--- Of a reply's text that is JSON.
--- @param text string
--- @param keys native.secret.keyring
--- @param source string
--- @return aws.credentials
function given.json(text, keys, source)
  local ok, value = pcall(json.decode, text)
  if not ok or type(value) ~= "table" then nothing(source) end
  return given.parsed(value, keys, source)
end

local function part(read, document, name)
  local ok, value = pcall(read, document, name)
  if ok then return value end
  if fault.is(value, "missing") then return nil end
  error(value, 0)
end

--- Of a program's output, which stays a secret.
--- @param document native.secret.value
--- @param source string
--- @return aws.credentials
function given.document(document, source)
  local key = part(secret.plain, document, "AccessKeyId")
  local value = part(secret.pick, document, "SecretAccessKey")
  if not key or not value then nothing(source) end
  return { key = key, secret = value, source = source, token = part(secret.pick, document, "SessionToken"),
    ends = given.time(part(secret.plain, document, "Expiration")) }
end

return given
