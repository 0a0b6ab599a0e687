--- The section `aws` of an environment: whose account, where, as whom.
local near    = require "neap.near"
local ordered = require "neap.ordered"

local section = {}

local KEYS = { "profile", "region", "account", "accounts", "endpoint", "endpoints", "ca", "late" }

local function is_open(value) return type(value) == "string" and value:find "%$%(" ~= nil end

local function wrong_url(value)
  if type(value) ~= "string" then return "is a URL" end
  if not value:find "^https?://[^/@%s]+[^%s]*$" then return ("is no URL, as in https://host: %s"):format(value) end
end

local function wrong_account(value)
  if not tostring(value):find "^%d%d%d%d%d%d%d%d%d%d%d%d$" then return "is a number of twelve digits" end
end

local CHECKS = {
  account = wrong_account,
  accounts = function(value)
    if type(value) ~= "table" or value[1] ~= nil then
      return "is a map of profiles to accounts, as in { developers: \"123456789012\" }"
    end
    for profile, account in pairs(value) do
      local problem = not is_open(account) and wrong_account(account)
      if problem then return ("of %s %s"):format(profile, problem) end
    end
  end,
  region = function(value)
    if not tostring(value):find "^%l[%l%d-]+%d$" then return "is a region, as in us-west-2" end
  end,
  endpoint = wrong_url,
  late = function(value)
    if not tostring(value):find "^%d+$" then return "is a number of seconds" end
  end,
  endpoints = function(value)
    if type(value) ~= "table" or value[1] ~= nil then
      return "is a map of services to URLs, as in { s3: https://host }"
    end
    for service, url in pairs(value) do
      local problem = not is_open(url) and wrong_url(url)
      if problem then return ("of %s %s"):format(service, problem) end
    end
  end,
}

local function is_known(key)
  for _, name in ipairs(KEYS) do
    if name == key then return true end
  end
  return false
end

--- What is wrong with it; nil where nothing is.
--- @param aws table  the section; values with $(…) in them are not known yet
--- @return string? message
--- @return string? key  whose line it is
function section.mistake(aws)
  if aws.late and not aws.endpoint then
    return "aws.late is for another server than AWS's: it needs endpoint", "late"
  end
  for _, key in ipairs(ordered.keys(aws)) do
    if not is_known(key) then
      return ("aws has no key '%s'.%s Keys are %s"):format(key, near.question(tostring(key), KEYS),
        table.concat(KEYS, ", ")), key
    end
    local value = aws[key]
    local problem = not is_open(value) and (CHECKS[key] and CHECKS[key](value)
      or not CHECKS[key] and type(value) ~= "string" and "is a text")
    if problem then return ("aws.%s %s"):format(key, problem), key end
  end
end

return section
