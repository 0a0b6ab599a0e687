--- AWS Signature Version 4: the text of a request that is signed, and the headers or the query that carry the
--- signature. Rests on Amazon's "Signature Version 4 for API requests".
local clock  = require "native.clock"
local crypto = require "native.crypto"
local native = require "native.sigv4"
local secret = require "native.secret"

local sigv4 = {}

local ALGORITHM = "AWS4-HMAC-SHA256"

--- Stands for the digest of a body that is not signed: over TLS, which protects it already.
sigv4.UNSIGNED = "UNSIGNED-PAYLOAD"

-- Headers that proxies and libraries change on the way.
local LEFT_OUT = { authorization = true, ["user-agent"] = true, expect = true, ["transfer-encoding"] = true,
                   connection = true, ["x-amzn-trace-id"] = true }

--- @class aws.request
--- @field method string
--- @field host string
--- @field path string     encoded once, as it is sent
--- @field query table[]   { name, value } pairs, not encoded
--- @field headers table<string, string>
--- @field body? string
--- @field digest? string  of the body, where it is not given or not to be signed

--- @class aws.credentials
--- @field key string  the access key's id
--- @field secret string|native.secret.value
--- @field token? string|native.secret.value  of a session

local function encoded(value) return secret.percent(secret.is(value) and value or tostring(value)) end

--- Names and values, encoded and in order, joined: the query as it is signed, and sent.
--- @param list table[]  { name, value }
--- @return string|native.secret.value
function sigv4.query(list)
  local parts, text = {}, ""
  for i, one in ipairs(list) do parts[i] = { encoded(one[1]), encoded(one[2]) } end
  table.sort(parts, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return not secret.is(a[2]) and not secret.is(b[2]) and a[2] < b[2]
  end)
  for i, one in ipairs(parts) do text = text .. (i > 1 and "&" or "") .. one[1] .. "=" .. one[2] end
  return text
end

--- A path, encoded but for its slashes.
--- @param path string
--- @return string
function sigv4.path(path) return (path:gsub("[^/]+", secret.percent)) end

--- Without empty parts, "." and "..".
local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/") .. (parts[1] and path:sub(-1) == "/" and "/" or "")
end

--- Every service but S3 has the path in its normal form, and what was encoded encoded once more.
local function canonical_path(request, service)
  local path = request.path == "" and "/" or request.path
  return service == "s3" and path or sigv4.path(normal(path))
end

local function trimmed(value)
  if secret.is(value) then return value end
  return (tostring(value):gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " "))
end

--- The headers that are signed, each a line, and their names. The lines are a secret where a session's token is among
--- them.
local function canonical_headers(headers)
  local names, values, lines = {}, {}, ""
  for name, value in pairs(headers) do
    local lower = name:lower()
    if not LEFT_OUT[lower] then names[#names + 1], values[lower] = lower, value end
  end
  table.sort(names)
  for _, name in ipairs(names) do lines = lines .. name .. ":" .. trimmed(values[name]) .. "\n" end
  return lines, table.concat(names, ";")
end

local function text_to_sign(request, scope, time, query, headers, names, digest)
  local canonical = request.method .. "\n" .. canonical_path(request, scope.service) .. "\n" .. query .. "\n" .. headers
    .. "\n" .. names .. "\n" .. digest
  return table.concat({ ALGORITHM, time, scope.text, crypto.sha256(canonical) }, "\n")
end

local function scope_of(time, region, service)
  local date = time:sub(1, 8)
  return { date = date, region = region, service = service,
    text = ("%s/%s/%s/aws4_request"):format(date, region, service) }
end

local function signature(credentials, scope, text)
  return native.sign(credentials.secret, scope.date, scope.region, scope.service, text)
end

--- The time as requests have it: "20150830T123600Z". skew: seconds that the server's clock is ahead of this one.
--- @param skew? number
--- @return string
function sigv4.time(skew) return os.date("!%Y%m%dT%H%M%SZ", math.floor(clock.now() + (skew or 0))) end

--- Adds to a request the headers that sign it.
--- @param request aws.request
--- @param credentials aws.credentials
--- @param region string
--- @param service string  the name that the service signs by
--- @param time string     of sigv4.time
function sigv4.sign(request, credentials, region, service, time)
  local headers, scope = request.headers, scope_of(time, region, service)
  local digest = request.digest or crypto.sha256(request.body or "")
  headers["Host"] = headers["Host"] or request.host
  headers["X-Amz-Date"] = time
  headers["X-Amz-Security-Token"] = credentials.token
  if service == "s3" then headers["X-Amz-Content-Sha256"] = digest end
  local lines, names = canonical_headers(headers)
  local text = text_to_sign(request, scope, time, sigv4.query(request.query), lines, names, digest)
  headers["Authorization"] = ("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(ALGORITHM, credentials.key,
    scope.text, names, signature(credentials, scope, text))
end

--- The query of a URL by which anybody may make this request of S3 for a time; a secret where the session's token is in
--- it.
--- @param request aws.request  its headers, besides Host, are those that have to be sent with it
--- @param credentials aws.credentials
--- @param region string
--- @param time string
--- @param seconds integer  at most a week
--- @return string|native.secret.value
function sigv4.presigned(request, credentials, region, time, seconds)
  local scope = scope_of(time, region, "s3")
  request.headers["Host"] = request.headers["Host"] or request.host
  local lines, names = canonical_headers(request.headers)
  local query = table.move(request.query, 1, #request.query, 1, {})
  for name, value in pairs {
    ["X-Amz-Algorithm"] = ALGORITHM, ["X-Amz-Credential"] = credentials.key .. "/" .. scope.text,
    ["X-Amz-Date"] = time, ["X-Amz-Expires"] = seconds, ["X-Amz-SignedHeaders"] = names,
    ["X-Amz-Security-Token"] = credentials.token } do
    query[#query + 1] = { name, value }
  end
  local joined = sigv4.query(query)
  local text = text_to_sign(request, scope, time, joined, lines, names, sigv4.UNSIGNED)
  return joined .. "&X-Amz-Signature=" .. signature(credentials, scope, text)
end

return sigv4
