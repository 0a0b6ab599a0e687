--- One service of AWS in one region: calls by the service's model, signed, sent again where that is safe, and refusals
--- as errors whose code is AWS's own.
local clock       = require "native.clock"
local credentials = require "neap.targets.aws.credentials"
local crypto      = require "native.crypto"
local endpoint    = require "neap.targets.aws.endpoint"
local fault       = require "native.error"
local hosts       = require "neap.targets.connection"
local model       = require "neap.targets.aws.model"
local points      = require "native.fault"
local parse       = require "neap.targets.aws.parse"
local process     = require "native.process"
local requests    = require "neap.targets.http.request"
local serialize   = require "neap.targets.aws.serialize"
local shapes      = require "neap.targets.aws.shapes"
local sigv4       = require "neap.targets.aws.sigv4"
local special     = require "neap.targets.aws.special"
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
local EXPIRED = { ExpiredToken = true, ExpiredTokenException = true, TokenRefreshRequired = true }
local BY_CODE = {
  { "auth", { "^Expired", "^InvalidClientTokenId$", "^UnrecognizedClient", "^SignatureDoesNotMatch$", "^AuthFailure$",
    "^InvalidAccessKeyId$", "^InvalidSignature", "^RequestTimeTooSkewed$", "^RequestExpired$",
    "^MissingAuthenticationToken" } },
  { "denied", { "^AccessDenied", "^UnauthorizedOperation$", "^Forbidden$", "^AuthorizationError", "^NotAuthorized",
    "^403$" } },
  { "missing", { "NotFound", "^NoSuch", "DoesNotExist", "^404$" } },
  { "conflict", { "AlreadyExists", "AlreadyOwned", "Conflict", "^PreconditionFailed$", "InUse", "Duplicate",
    "^409$", "^412$" } },
}

--- Seconds for which a request that was sent can still be carried out: as long as its signature is good.
client.signature_life = {
  s3 = points.seconds("NEAP_SIGNATURE_LIFE", 900), other = points.seconds("NEAP_SIGNATURE_LIFE", 300),
}

--- @param service string
--- @param settings { profile?: string, region?: string, endpoint?: string, endpoints?: table<string, string>,
---   endpoint_url?: string, ca?: string, credentials?: aws.credentials, plain?: boolean }  plain: what is sensitive in
---   results comes as text
--- @return aws.client
function client.of(service, settings)
  return setmetatable({ service = model.of(service), settings = settings, skew = 0, places = {} }, Client)
end

--- Where its service answers, looked up once for each region; a bucket may lie in another region than the client's.
--- @param bucket? string
--- @return { scheme: string, host: string, path: string, region: string, name: string, given?: boolean }
function Client:place(bucket)
  local region = bucket and self.bucket_regions and self.bucket_regions[bucket]
  local key = region or ""
  self.places[key] = self.places[key] or endpoint.of(self.service,
    region and setmetatable({ region = region }, { __index = self.settings }) or self.settings)
  return self.places[key]
end

-- ---- one request ----

local function is_unclear(status) return status >= 500 or status == 408 end

local function kind_of(problem, status, reads)
  for _, one in ipairs(BY_CODE) do
    for _, pattern in ipairs(one[2]) do
      if problem.code:find(pattern) and not is_unclear(status) then return one[1] end
    end
  end
  if is_unclear(status) and not THROTTLED[problem.code] then return reads and "remote" or "lost" end
  return reads and "remote" or "denied"
end

local function refuse(self, name, reply, reads)
  local problem = parse.problem(self.service, reply)
  local status = reply.status < 300 and 500 or reply.status
  fault.raise { kind = kind_of(problem, status, reads), code = problem.code, status = status,
    retry_after = reply.headers["retry-after"], date = parse.date(reply),
    region = reply.headers["x-amz-bucket-region"], message = ("%s of %s: %s (%s%s)"):format(name, self.service.name,
      problem.message, problem.code, problem.request and ", request " .. problem.request or "") }
end

--- S3 has its buckets as hosts of their own, where their names allow it.
local function as_virtual_host(request, at, bucket)
  if at.given or not special.is_host_name(bucket) then return end
  request.host = bucket .. "." .. request.host
  request.path = request.path:sub(#bucket + 2)
  if request.path == "" then request.path = "/" end
end

local function build(self, name, parameters)
  local at = self:place(parameters.Bucket)
  local request = serialize.request(self.service, name, special.before(self.service, name, parameters))
  request.host = (not at.given and request.host_prefix or "") .. at.host
  if self.service.name == "s3" then as_virtual_host(request, at, parameters.Bucket) end
  request.path = at.path .. request.path
  special.add_headers(self.service, name, request)
  return request, at
end

--- The file of authorities that is to be used instead of the system's.
local function authorities(settings)
  return settings.ca or process.environ "AWS_CA_BUNDLE" or credentials.profile(settings.profile).ca_bundle
end

--- Signs it, unless anybody may ask for that, or who asks is nobody yet.
local function sign(self, name, request, at)
  if self.service:operation(name).authtype == "none" then return end
  local who = credentials.of(self.settings)
  if who.key then sigv4.sign(request, who, at.region, at.name, sigv4.time(self.skew)) end
end

local function exchange(self, name, parameters, reads, timeout)
  local request, at = build(self, name, parameters)
  sign(self, name, request, at)
  local query = sigv4.query(request.query)
  local url = ("%s://%s%s"):format(at.scheme, request.host, request.path)
  requests.address(url, {}, 1)
  if query ~= "" then url = url .. "?" .. query end
  local reply = requests.once({ method = request.method, url = url, reads = reads },
    { headers = request.headers, body = request.body, ok = "any", max_bytes = LARGE,
      ca = authorities(self.settings) }, timeout)
  if reply.status >= 300 or special.is_error(self.service, name, reply) then refuse(self, name, reply, reads) end
  local result = parse.result(self.service, name, reply, not self.settings.plain and hosts.run().keys or nil)
  return special.after(self.service, name, result, parameters, reply)
end

-- ---- attempts ----

--- The server's clock counts.
local function correct_clock(self, failure, state)
  if not SKEWED[failure.code] or not failure.date or state.corrected then return false end
  local skew = failure.date - clock.now()
  if math.abs(skew - self.skew) < 60 then return false end
  self.skew, state.corrected = skew, true
  return true
end

--- Whether new credentials are worth an attempt: they may end before their time. Has them looked for anew, once.
--- @param failure table
--- @param state table  of the attempts of one call
--- @return boolean
function Client:renew(failure, state)
  if not EXPIRED[failure.code] or state.renewed or self.settings.credentials then return false end
  state.renewed = true
  credentials.forget(self.settings)
  return true
end

--- A bucket may lie in another region than the client's.
local function follow_region(self, failure, parameters, state)
  if not failure.region or failure.region == self.settings.region or state.moved or not parameters.Bucket then
    return false
  end
  self.bucket_regions, state.moved = self.bucket_regions or {}, true
  self.bucket_regions[parameters.Bucket] = failure.region
  return true
end

--- Whether an attempt that failed may be made again: always where it reads, or carries a token that makes it the same
--- request; else only where it certainly was not acted on.
local function may_repeat(self, failure, parameters, repeatable, state)
  if not fault.is(failure) then return false end
  if THROTTLED[failure.code] or failure.kind == "connect" then return true end
  if correct_clock(self, failure, state) or self:renew(failure, state)
    or follow_region(self, failure, parameters, state) then return true end
  local unclear = failure.kind == "lost" or failure.status ~= nil and is_unclear(failure.status)
  state.unclear = state.unclear or unclear
  return repeatable and unclear
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
--- @field happened? fun(): boolean  asked before it is sent again: whether an earlier attempt was carried out after all

--- Calls an operation. Raises kinds as its refusals are, with AWS's code; `lost` where nobody can tell what became of
--- it. Gives nil where `happened` says so: it was carried out, and what AWS answered is not known.
--- @param name string
--- @param parameters table
--- @param options aws.call_options
--- @return table?
function Client:call(name, parameters, options)
  local state = {}
  return task.deadline(options.timeout, function()
    for count = 1, ATTEMPTS do
      local ok, result = pcall(exchange, self, name, parameters, options.reads, options.timeout)
      if ok then return result end
      local again = may_repeat(self, result, parameters, options.repeatable, state)
      if count == ATTEMPTS or not again then
        if fault.is(result) then result.unclear = state.unclear end
        error(result, 0)
      end
      pause(result, count)
      if options.happened and options.happened() then return nil end
    end
  end)
end

--- Raises a mistake where the operation or its parameters are not as the model has them.
--- @param name string
--- @param parameters table
--- @param level integer
function Client:check(name, parameters, level) shapes.check(self.service, name, parameters, level + 1) end

--- Whether a failure is a clear no: the request was not carried out, nor an earlier one like it.
--- @param failure any
--- @return boolean
function client.is_refusal(failure)
  return fault.is(failure) and failure.status ~= nil and not failure.unclear
    and (not is_unclear(failure.status) or THROTTLED[failure.code] == true)
end

--- Whether somebody has given the endpoint of this service.
--- @return boolean
function Client:is_given() return endpoint.given(self.service, self.settings) ~= nil end

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
