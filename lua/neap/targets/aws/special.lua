--- What operations of AWS want, and the models of its services do not say.
local crypto = require "native.crypto"
local secret = require "native.secret"
local sigv4  = require "neap.targets.aws.sigv4"

local special = {}

local function changed(parameters, key, value)
  local copy = {}
  for name, item in pairs(parameters) do copy[name] = item end
  copy[key] = value
  return copy
end

-- ---- before a request ----

--- Ids of Route 53 come as "/hostedzone/Z1" and "/change/C1", and are sent without that.
local function short_ids(parameters)
  for _, key in ipairs { "Id", "HostedZoneId", "ResourceId", "DelegationSetId", "ChangeId" } do
    local value = parameters[key]
    if type(value) == "string" and value:find "/" then
      parameters = changed(parameters, key, value:match "[^/]*$")
    end
  end
  return parameters
end

local function with_user_data(parameters)
  if parameters.UserData == nil then return parameters end
  return changed(parameters, "UserData", secret.base64(parameters.UserData))
end

--- "bucket/key?versionId=…": the key as it is sent in a header.
local function with_source(parameters)
  local source = parameters.CopySource
  if type(source) ~= "string" then return parameters end
  local path, version = source:match "^(.*)(%?versionId=[^?]*)$"
  return changed(parameters, "CopySource", sigv4.path(path or source) .. (version or ""))
end

--- Keys that XML cannot have come encoded, so that every key comes.
local function encoded_keys(parameters)
  if parameters.EncodingType then return parameters end
  return changed(parameters, "EncodingType", "url")
end

local BEFORE = {
  route53 = { any = short_ids },
  ec2 = { RunInstances = with_user_data },
  autoscaling = { CreateLaunchConfiguration = with_user_data },
  s3 = { CopyObject = with_source, UploadPartCopy = with_source, ListObjects = encoded_keys,
         ListObjectsV2 = encoded_keys, ListObjectVersions = encoded_keys, ListMultipartUploads = encoded_keys },
}

--- The parameters as they are sent.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @return table
function special.before(service, name, parameters)
  local list = BEFORE[service.name]
  local act = list and (list[name] or list.any)
  return act and act(parameters) or parameters
end

--- Adds headers of some services, and the checksum that S3 wants of some bodies.
--- @param service aws.service
--- @param name string
--- @param request aws.request
function special.add_headers(service, name, request)
  if service.name == "apigateway" then request.headers.Accept = "application/json" end
  local operation = service:operation(name)
  local wanted = operation.httpChecksumRequired
    or operation.httpChecksum and operation.httpChecksum.requestChecksumRequired
  if not wanted or type(request.body) ~= "string" then return end
  local digest = crypto.sha256(request.body):gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end)
  request.headers["X-Amz-Checksum-Sha256"] = crypto.base64(digest)
end

-- ---- after a reply ----

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(two) return string.char(tonumber(two, 16)) end))
end

local ENCODED = { "Key", "Prefix", "Delimiter", "StartAfter", "Marker", "NextMarker", "KeyMarker", "NextKeyMarker" }
local LISTS = { "Contents", "CommonPrefixes", "Versions", "DeleteMarkers", "Uploads" }

local function decode_keys(result)
  for _, key in ipairs(ENCODED) do
    if result[key] then result[key] = decoded(result[key]) end
  end
  for _, list in ipairs(LISTS) do
    for _, item in ipairs(result[list] or {}) do decode_keys(item) end
  end
  return result
end

local function plain_keys(result, parameters)
  if parameters.EncodingType or result.EncodingType ~= "url" then return result end
  result.EncodingType = nil
  return decode_keys(result)
end

--- Documents of policies come percent-encoded.
local function plain_documents(result)
  for key, value in pairs(result) do
    if type(value) == "table" then
      plain_documents(value)
    elseif type(value) == "string" and (key == "PolicyDocument" or key == "AssumeRolePolicyDocument"
        or key == "Document") and value:find "^%%7B" then
      result[key] = decoded((value:gsub("%+", "%%2B")))
    end
  end
  return result
end

local function console_output(result)
  if result.Output then result.Output = crypto.unbase64(result.Output) end
  return result
end

local AFTER = {
  iam = { any = plain_documents },
  ec2 = { GetConsoleOutput = console_output },
  s3 = { ListObjects = plain_keys, ListObjectsV2 = plain_keys, ListObjectVersions = plain_keys,
         ListMultipartUploads = plain_keys,
         GetBucketLocation = function(result, _, reply)
           result.LocationConstraint = reply.body:match ">([%w-]+)</LocationConstraint>"
           return result
         end },
}

--- The result as it is meant.
--- @param service aws.service
--- @param name string
--- @param result table
--- @param parameters table
--- @param reply neap.http.reply
--- @return table
function special.after(service, name, result, parameters, reply)
  local list = AFTER[service.name]
  local act = list and (list[name] or list.any)
  return act and act(result, parameters, reply) or result
end

local LATE_ERRORS = { CopyObject = true, CompleteMultipartUpload = true, UploadPartCopy = true }

--- Whether a reply of status 200 is a refusal: S3 begins to answer before it knows.
--- @param service aws.service
--- @param name string
--- @param reply neap.http.reply
--- @return boolean
function special.is_error(service, name, reply)
  return service.name == "s3" and LATE_ERRORS[name] ~= nil and reply.body:find "<Error>" ~= nil
end

--- Whether S3 can have the bucket as a name of a host.
--- @param bucket? string
--- @return boolean
function special.is_host_name(bucket)
  return bucket ~= nil and #bucket <= 63 and bucket:find "^[%l%d][%l%d-]+[%l%d]$" ~= nil
end

return special
