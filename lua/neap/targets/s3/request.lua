--- Requests of S3 that carry objects: from texts and files, into texts and files, in flat memory; sent again where that
--- is the same request.
local account     = require "neap.targets.aws.account"
local clock       = require "native.clock"
local credentials = require "neap.targets.aws.credentials"
local crypto      = require "native.crypto"
local fault       = require "native.error"
local native      = require "native.http"
local parse       = require "neap.targets.aws.parse"
local process     = require "native.process"
local requests    = require "neap.targets.http.request"
local secret      = require "native.secret"
local sigv4       = require "neap.targets.aws.sigv4"
local task        = require "native.task"

local request = {}

local ATTEMPTS    = 6
local FIRST_PAUSE = 0.2 -- seconds, doubled each time
local LONGEST     = 20
local LARGEST     = 16 << 20 -- bytes of a reply that is not written to a file

local KINDS = { [401] = "auth", [403] = "denied", [404] = "missing", [409] = "conflict", [410] = "missing",
                [412] = "conflict" }
local EXPIRED_KIND = { ExpiredToken = "auth", TokenRefreshRequired = "auth" }
local NOT_NOW = { SlowDown = true, ServiceUnavailable = true, RequestTimeout = true, Throttling = true,
                  RequestLimitExceeded = true }

--- The bytes of a digest in hexadecimal digits, as base64.
--- @param digest string
--- @return string
function request.base64(digest)
  local bytes = digest:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  return crypto.base64(bytes)
end

--- A tag of an object as states have it; "": the server has none.
--- @param given string?  as a server says it
--- @return string
function request.etag(given) return ((given or ""):gsub('"', "")) end

--- A tag as a condition of a request.
--- @param etag string
--- @return string
function request.quoted_etag(etag) return ('"%s"'):format(etag) end

-- ---- one exchange ----

--- Buckets are hosts of their own where their names allow it, and the server is Amazon's.
local function place(at, given)
  local key = given.key and "/" .. sigv4.path(given.key) or ""
  if at.given or not given.bucket:find "^[%l%d][%l%d-]+[%l%d]$" then
    return at.host, ("%s/%s%s"):format(at.path, secret.percent(given.bucket), key)
  end
  return given.bucket .. "." .. at.host, key == "" and "/" or key
end

--- The address of an object, unsigned: for those who have credentials of their own.
--- @param target table  of account.target
--- @param bucket string
--- @param key string
--- @return string
function request.url(target, bucket, key)
  local at = account.client(target):place(bucket)
  local host, path = place(at, { bucket = bucket, key = key })
  return ("%s://%s%s"):format(at.scheme, host, path)
end

local function signed(client, given)
  local at = client:place(given.bucket)
  local one = { method = given.method, query = given.query or {}, headers = {}, body = given.body }
  for name, value in pairs(given.headers or {}) do one.headers[name] = value end
  one.host, one.path = place(at, given)
  one.digest = given.digest or given.body_file and sigv4.UNSIGNED
  local who = credentials.of(client.settings)
  if who.key then sigv4.sign(one, who, at.region, at.name, sigv4.time(client.skew)) end
  local query = sigv4.query(one.query)
  local url = ("%s://%s%s%s%s"):format(at.scheme, one.host, one.path, query ~= "" and "?" or "", query)
  return requests.address(url, {}, 1), one.headers
end

local function headers_of(list)
  local map = {}
  for _, one in ipairs(list) do map[one[1]] = map[one[1]] and map[one[1]] .. ", " .. one[2] or one[2] end
  return map
end

local function body_of(exchange, given)
  local parts, size = {}, 0
  for bytes in exchange.read, exchange do
    size = size + #bytes
    if size > LARGEST then
      fault.raise { kind = "protocol", hint = "bring it into a file: s3.download",
        message = ("s3://%s/%s has more than the %d MiB that are read at once"):format(given.bucket, given.key or "",
          LARGEST >> 20) }
    end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

local function refuse(client, given, reply)
  local problem = parse.problem(client.service, reply)
  -- a refusal of HEAD has no body that would say why; such a request is a bad one only where its credentials have run out
  if given.method == "HEAD" and reply.status == 400 then problem.code = "ExpiredToken" end
  local kind = KINDS[reply.status] or EXPIRED_KIND[problem.code]
    or (given.reads and "remote" or reply.status >= 500 and "lost" or "denied")
  fault.raise { kind = kind, code = problem.code, status = reply.status, retry_after = reply.headers["retry-after"],
    region = reply.headers["x-amz-bucket-region"], date = parse.date(reply),
    message = ("%s of s3://%s/%s: %s (%s)"):format(given.method, given.bucket, given.key or "",
      problem.message ~= "" and problem.message or "status " .. reply.status, problem.code) }
end

local function is_local(url) return url:find "^https?://localhost[:/]" or url:find "^https?://127%." end

local function exchange_once(client, given)
  local url, headers = signed(client, given)
  local exchange <close> = native.open { url = url, method = given.method, headers = headers, body = given.body,
    body_file = given.body_file, to_file = given.to_file, only_good = true,
    ca = client.settings.ca or process.environ "AWS_CA_BUNDLE", proxy = is_local(url) and "" or nil }
  local head = exchange:response { timeout = 86400 } -- the deadline is that of the whole
  local reply = { status = head.status, headers = headers_of(head.headers), body = body_of(exchange, given) }
  if reply.status >= 300 then refuse(client, given, reply) end
  return reply
end

-- ---- attempts ----

local function pause(failure, count)
  local asked = tonumber(failure.retry_after)
  task.sleep(math.min(LONGEST, asked and asked >= 0 and asked or FIRST_PAUSE * 2 ^ (count - 1)))
end

--- What a refusal teaches: that credentials have run out, the bucket's region, the server's clock.
local function learns(client, given, failure, state)
  if client:renew(failure, state) then return true end
  client.bucket_regions = client.bucket_regions or {}
  if failure.region and failure.region ~= (client.bucket_regions[given.bucket] or client.settings.region) then
    client.bucket_regions[given.bucket] = failure.region
    return true
  end
  if failure.code ~= "RequestTimeTooSkewed" or not failure.date then return false end
  local skew = failure.date - clock.now()
  local is_news = math.abs(skew - client.skew) > 60
  client.skew = skew
  return is_news
end

local function is_worth_repeating(client, given, failure, state)
  if not fault.is(failure) then return false end
  if failure.status and learns(client, given, failure, state) then return true end
  local status = failure.status or 0
  return NOT_NOW[failure.code] or failure.kind == "connect" or failure.kind == "lost" or status == 429 or status >= 500
end

--- @class neap.s3.request
--- @field method string
--- @field bucket string
--- @field key? string
--- @field query? table[]      { name, value } pairs
--- @field headers? table<string, string>
--- @field body? string
--- @field body_file? { path: string, offset?: integer, length?: integer }
--- @field digest? string      of body_file: SHA-256 as hexadecimal digits
--- @field to_file? string     the object is added to it; refusals are not
--- @field reads? boolean
--- @field before_again? fun() called before it is sent another time
--- @field happened? fun(): boolean  asked then: whether an earlier attempt was carried out after all

--- Sends a request until it has an answer: every request here is one that is the same when it comes twice. Raises
--- `missing`, `denied`, `conflict` where S3 says no, `lost` where nobody can tell; code is S3's.
--- @param target table  of account.target
--- @param given neap.s3.request
--- @param timeout number  seconds
--- @return { status: integer, headers: table<string, string>, body: string }?  nil: it was, as `happened` says
function request.send(target, given, timeout)
  local client, state = account.meet(target), {}
  return task.deadline(timeout, function()
    for count = 1, ATTEMPTS do
      local ok, reply = pcall(exchange_once, client, given)
      if ok then return reply end
      if count == ATTEMPTS or not is_worth_repeating(client, given, reply, state) then error(reply, 0) end
      pause(reply, count)
      if given.before_again then given.before_again() end
      if given.happened and given.happened() then return nil end
    end
  end)
end

return request
