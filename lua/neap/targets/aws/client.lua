--- One service of AWS in one region: calls by the service's model, signed, sent again where that is safe, and refusals as
--- errors whose code is AWS's own.
local clock       = require "native.clock"
local credentials = require "neap.targets.aws.credentials"
local crypto      = require "native.crypto"
local endpoint    = require "neap.targets.aws.endpoint"
local fault       = require "native.error"
local model       = require "neap.targets.aws.model"
local parse       = require "neap.targets.aws.parse"
local requests    = require "neap.targets.http_request"
local serialize   = require "neap.targets.aws.serialize"
local shapes      = require "neap.targets.aws.shapes"
local sigv4       = require "neap.targets.aws.sigv4"
local task        = require "native.task"

local client = {}

local Client = {}
Client.__index = Client

local ATTEMPTS     = 5
local FIRST_PAUSE  = 0.2 -- seconds, doubled each time, and a random share of it
local LONGEST      = 20
local LARGE        = 64 << 20 -- bytes of a reply

--- Codes that say "not now": the request was not acted on.
local THROTTLED = {
  Throttling = true, ThrottlingException = true, ThrottledException = true, RequestThrottledException = true,
  TooManyRequestsException = true, ProvisionedThroughputExceededException = true, RequestLimitExceeded = true,
  BandwidthLimitExceeded = true, LimitExceededException = true, RequestThrottled = true, SlowDown = true,
  PriorRequestNotComplete = true, EC2ThrottledException = true, TransactionInProgressException = true,
}
local SKEWED = { RequestTimeTooSkewed = true, RequestExpired = true, RequestInTheFuture = true,
                 SignatureDoesNotMatch = true, InvalidSignatureException = true, AuthFailure = true }
local BY_CODE = {
  { "auth", { "^ExpiredToken", "^InvalidClientTokenId$", "^UnrecognizedClient", "^SignatureDoesNotMatch$", "^AuthFailure$",
    "^InvalidAccessKeyId$", "^InvalidSignature", "^RequestTimeTooSkewed$", "^RequestExpired$", "^MissingAuthenticationToken" } },
  { "denied", { "^AccessDenied", "^UnauthorizedOperation$", "^Forbidden$", "^AuthorizationError", "^NotAuthorized", "^403$" } },
  { "missing", { "NotFound", "^NoSuch", "DoesNotExist", "^404$" } },
  { "conflict", { "AlreadyExists", "Conflict", "^PreconditionFailed$", "InUse", "^DuplicateRequest", "^409$", "^412$" } },
}

--- @param service string
--- @param settings { profile?: string, region?: string, endpoint?: string, account?: string }
--- @return aws.client
function client.of(service, settings)
  return setmetatable({ service = model.of(service), settings = settings, skew = 0 }, Client)
end

-- ---- one request ----

local function kind_of(problem, status, reads)
  for _, one in ipairs(BY_CODE) do
    for _, pattern in ipairs(one[2]) do
      if problem.code:find(pattern) then return one[1] end
    end
  end
  if status >= 500 or status == 408 then return reads and "remote" or "lost" end
  return reads and "remote" or "denied"
end

local function check(self, name, reply, reads)
  if reply.status < 300 then return parse.result(self.service, name, reply) end
  local problem = parse.problem(self.service, reply)
  fault.raise { kind = kind_of(problem, reply.status, reads), code = problem.code, status = reply.status,
    retry_after = reply.headers["retry-after"], date = parse.date(reply),
    message = ("%s of %s: %s (%s%s)"):format(name, self.service.name, problem.message, problem.code,
      problem.request and ", request " .. problem.request or "") }
end

--- S3 has its buckets as hosts of their own, where their names allow it.
local function as_virtual_host(request, at, bucket)
  if at.given or not bucket or not bucket:find "^[%l%d][%l%d-]+[%l%d]$" then return end
  request.host = bucket .. "." .. request.host
  request.path = request.path:sub(#bucket + 2)
  if request.path == "" then request.path = "/" end
end

local function add_checksum(request, operation)
  local wanted = operation.httpChecksumRequired or operation.httpChecksum and operation.httpChecksum.requestChecksumRequired
  if not wanted or type(request.body) ~= "string" then return end
  local bytes = crypto.sha256(request.body):gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  request.headers["X-Amz-Checksum-Sha256"] = crypto.base64(bytes)
end

local function build(self, name, parameters)
  local at = endpoint.of(self.service, self.settings)
  local request = serialize.request(self.service, name, parameters)
  request.host = at.host
  if self.service.name == "s3" then as_virtual_host(request, at, parameters.Bucket) end
  request.path = at.path .. request.path
  add_checksum(request, self.service:operation(name))
  return request, at
end

local function is_open(operation) return operation.authtype == "none" end

local function exchange(self, name, parameters, reads, timeout)
  local request, at = build(self, name, parameters)
  if not is_open(self.service:operation(name)) then
    sigv4.sign(request, credentials.of(self.settings), at.region, at.name, sigv4.time(self.skew))
  end
  local query = sigv4.query(request.query)
  local url = ("%s://%s%s%s%s"):format(at.scheme, request.host, request.path, query ~= "" and "?" or "", query)
  requests.address(url, {}, 1)
  local reply = requests.once({ method = request.method, url = url, reads = reads },
    { headers = request.headers, body = request.body, ok = "any", max_bytes = LARGE, ca = self.settings.ca }, timeout)
  return check(self, name, reply, reads)
end

-- ---- attempts ----

--- Whether an attempt that failed may be made again: always where it reads, or carries a token that makes it the same
--- request; else only where it certainly was not acted on.
local function may_repeat(self, failure, repeatable)
  if not fault.is(failure) then return false end
  if THROTTLED[failure.code] or failure.kind == "connect" then return true end
  if SKEWED[failure.code] and failure.date and not self.corrected then
    local skew = failure.date - clock.now()
    if math.abs(skew - self.skew) < 60 then return false end
    self.skew, self.corrected = skew, true -- the server's clock counts
    return true
  end
  return repeatable and (failure.kind == "lost" or (failure.status or 0) >= 500)
end

local function pause(failure, count)
  local asked = tonumber(failure.retry_after)
  local share = tonumber(crypto.hex(crypto.random(2)), 16) / 65536
  task.sleep(asked and math.min(asked, LONGEST) or math.min(LONGEST, FIRST_PAUSE * 2 ^ count * share))
end

--- @class aws.call_options
--- @field reads boolean
--- @field repeatable? boolean  it reads, or has a token
--- @field timeout number       seconds for all attempts

--- Calls an operation. Raises kinds as its refusals are, with AWS's code; `lost` where nobody can tell what became of it.
--- @param name string
--- @param parameters table
--- @param options aws.call_options
--- @return table
function Client:call(name, parameters, options)
  return task.deadline(options.timeout, function()
    for count = 1, ATTEMPTS do
      local ok, result = pcall(exchange, self, name, parameters, options.reads, options.timeout)
      if ok then return result end
      if count == ATTEMPTS or not may_repeat(self, result, options.repeatable) then error(result, 0) end
      pause(result, count)
    end
  end)
end

--- Raises a mistake where the operation or its parameters are not as the model has them.
--- @param name string
--- @param parameters table
--- @param level integer
function Client:check(name, parameters, level) shapes.check(self.service, name, parameters, level + 1) end

--- Whether a failure is a clear no: the request was not carried out.
--- @param failure any
--- @return boolean
function client.is_refusal(failure)
  return fault.is(failure) and failure.status ~= nil and failure.status < 500 and failure.status ~= 408
end

--- A URL by which anybody may fetch, or put, an object for a time.
--- @param name string  "GetObject"
--- @param parameters table
--- @param seconds integer
--- @return string|native.secret.value
function Client:presigned(name, parameters, seconds)
  local request, at = build(self, name, parameters)
  request.headers = {}
  local query = sigv4.presigned(request, credentials.of(self.settings), at.region, sigv4.time(self.skew), seconds)
  return ("%s://%s%s?"):format(at.scheme, request.host, request.path) .. query
end

return client
