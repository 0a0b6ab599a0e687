--- AWS: every operation of every service that the machine has a model of. What reads is asked at once; what changes is made
--- once, with a token that makes a repetition the same request where the service has one.
local clients     = require "neap.targets.aws.client"
local clock       = require "native.clock"
local credentials = require "neap.targets.aws.credentials"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local hosts       = require "neap.targets.connection"
local json        = require "native.json"
local model       = require "neap.targets.aws.model"
local near        = require "neap.near"
local pages       = require "neap.targets.aws.pages"
local serialize   = require "neap.targets.aws.serialize"
local task        = require "native.task"

local aws = {}

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 3600 -- seconds
local SIGNATURE_LIFE = { s3 = 900 }           -- seconds for which a request that was sent can still be carried out
local OTHER_LIFE     = 300
local TOKEN_LIFE     = 8 * 3600               -- the shortest of what services remember a token for

-- ---- clients ----

local OPTIONS = { profile = true, region = true, endpoint = true }

local function check_keys(options, known, level)
  for key in pairs(options or {}) do
    if not known[key] then
      error(("no option is named %q%s"):format(tostring(key), near.hint(tostring(key), known)), level + 1)
    end
  end
  return options or {}
end

--- What names a client, as plain data: given, else of the environment, else of the profile.
local function target_of(service, options)
  local run = hosts.run()
  local section = run.environment.aws or {}
  local profile = options.profile or section.profile
  return { service = service, profile = profile, endpoint = options.endpoint,
    region = options.region or section.region or credentials.region { profile = profile } }
end

--- The client of a target, made once in a run; the account is known to be the right one.
local function client_of(target)
  local run = hosts.run()
  run.connections["aws clients"] = run.connections["aws clients"] or { close = function() end, known = {} }
  local known, section = run.connections["aws clients"].known, run.environment.aws or {}
  local key = json.encode(target)
  if not known[key] then
    known[key] = clients.of(target.service, { profile = target.profile, region = target.region,
      endpoint = target.endpoint, endpoints = section.endpoints, endpoint_url = section.endpoint, ca = section.ca })
  end
  return known[key]
end

--- Asks once in a run whose account the credentials are of, and holds it against the environment's and the plan's.
local function meet_account(target)
  local run = hosts.run()
  local clients_of_run = run.connections["aws clients"]
  local name = "AWS profile " .. (target.profile or "default")
  if clients_of_run.met == nil then clients_of_run.met = {} end
  if clients_of_run.met[name] then return end
  local sts = client_of { service = "sts", profile = target.profile, region = target.region }
  local account = sts:call("GetCallerIdentity", {}, { reads = true, repeatable = true, timeout = READ_TIMEOUT }).Account
  local wanted = (run.environment.aws or {}).account
  if wanted and tostring(wanted) ~= account then
    local message = "these credentials are of the AWS account %s, the environment's is %s"
    fault.raise { kind = "denied", code = "identity", message = message:format(account, tostring(wanted)) }
  end
  hosts.met(name, "account " .. account)
  clients_of_run.met[name] = true
end

-- ---- reads ----

local read_call = effect.read("aws.read", function(target, name, parameters, timeout)
  return client_of(target):call(name, parameters, { reads = true, repeatable = true, timeout = timeout or READ_TIMEOUT })
end)

local read_all = effect.read("aws.list", function(target, name, parameters, timeout)
  local client = client_of(target)
  return pages.all(client.service, name, parameters, function(page)
    return client:call(name, page, { reads = true, repeatable = true, timeout = timeout or READ_TIMEOUT })
  end)
end)

local read_state = effect.read("aws.wait", function(target, name, parameters, options)
  local client = client_of(target)
  return pages.wait(client.service, name, parameters, function(operation, given)
    return client:call(operation, given, { reads = true, repeatable = true, timeout = READ_TIMEOUT })
  end, options) or {}
end)

-- ---- changes ----

--- A clear no of the service, by the name of the effect that was refused: nothing has happened, and nothing will.
local function refusals()
  local run = hosts.run()
  run.connections["aws refusals"] = run.connections["aws refusals"] or { close = function() end, of = {} }
  return run.connections["aws refusals"].of
end

local function carry_out(target, data, call)
  meet_account(target)
  local client = client_of(target)
  local parameters, has_token = serialize.with_token(client.service, data.operation, data.parameters, call.witness)
  local ok, result = pcall(client.call, client, data.operation, parameters,
    { reads = false, repeatable = has_token, timeout = call.timeout })
  if ok then return result end
  if clients.is_refusal(result) then refusals()[call.witness] = true end
  error(result, 0)
end

--- Whether the question that came with the call says that it happened.
local function probe(target, question)
  local ok, result = pcall(read_call, target, question.operation, question.parameters or {})
  if ok then return not question.missing end
  if fault.is(result, "missing") then return question.missing == true end
  error(result, 0)
end

--- What has a token is made once more: it is the same request, and its answer the first one's. Else its signature is waited
--- out, after which nothing can land, and the question asked.
local function take(target, id, intent)
  if refusals()[id] then return "void" end
  local data = intent.undoes and intent.undo or intent.data
  local client = client_of(target)
  local parameters, has_token = serialize.with_token(client.service, data.operation, data.parameters, id)
  if has_token and (not intent.time or clock.now() - clock.parse(intent.time) < TOKEN_LIFE) then
    local ok, result = pcall(client.call, client, data.operation, parameters,
      { reads = false, repeatable = true, timeout = READ_TIMEOUT })
    if ok then return "done", result end
    if clients.is_refusal(result) then return "void" end
    error(result, 0)
  end
  if not data.done then
    return "unknown", "the call may have been carried out, and there is no question that tells (done)"
  end
  task.sleep(intent.timeout == 0 and 0 or SIGNATURE_LIFE[target.service] or OTHER_LIFE)
  return probe(target, data.done) and "done" or "void"
end

effect.action "aws.call" {
  timeout = CHANGE_TIMEOUT,
  run = carry_out,
  undo = carry_out,
  undo_needs_data = true,
  take = take,
  show = function(target) return ("AWS %s%s"):format(target.service, target.region and " " .. target.region or "") end,
  says = function(data) return data.operation end,
}

-- ---- what authors call ----

local Client = {}

local CALL_OPTIONS = { reads = true, undo = true, keep = true, irreversible = true, done = true, timeout = true }

local function check_call(self, name, parameters, level)
  client_of(self.target):check(name, parameters, level + 1)
end

--- A call given as { operation =, parameters = }, checked.
local function described(self, given, what, level)
  if given == nil then return nil end
  if type(given) ~= "table" or type(given.operation) ~= "string" then
    error(('%s is a call, as in { operation = "DeleteTags", parameters = { … } }'):format(what), level + 1)
  end
  check_call(self, given.operation, given.parameters or {}, level + 1)
  return { operation = given.operation, parameters = given.parameters or {}, missing = given.missing }
end

--- @class (exact) neap.aws.call_options
--- @field reads? boolean        it changes nothing, though its name does not say so
--- @field undo? table           { operation =, parameters = }: the call that takes it back
--- @field keep? string
--- @field irreversible? string
--- @field done? table           { operation =, parameters =, missing = true? }: a read that finds something, or with
---   missing finds nothing, once it happened
--- @field timeout? number       seconds

--- Calls an operation by its name in AWS's own documentation. Get…, List…, Describe…, Head…, Query, Scan, Search…,
--- Lookup… and AssumeRole… read, every other changes something, once. Raises a mistake for what the model does not know.
--- @param name string  "DescribeInstances"
--- @param parameters? table
--- @param options? neap.aws.call_options
--- @return table result
function Client:call(name, parameters, options)
  parameters, options = parameters or {}, check_keys(options, CALL_OPTIONS, 2)
  check_call(self, name, parameters, 2)
  if options.reads or model.reads(name) then return read_call(self.target, name, parameters, options.timeout) end
  return effect.perform("aws.call", self.target,
    { operation = name, parameters = parameters, done = described(self, options.done, "done", 2) },
    { undo = described(self, options.undo, "undo", 2), keep = options.keep, irreversible = options.irreversible,
      timeout = options.timeout })
end

--- All items that an operation lists, page after page.
--- @param name string  "ListUsers"
--- @param parameters? table
--- @return any[]
function Client:all(name, parameters)
  check_call(self, name, parameters or {}, 2)
  return read_all(self.target, name, parameters or {})
end

--- Waits as a waiter of the service's model does.
--- @param name string  "StackCreateComplete"
--- @param parameters? table
--- @param options? { timeout?: number, every?: number }
--- @return table result
function Client:wait(name, parameters, options)
  options = check_keys(options, { timeout = true, every = true }, 2)
  client_of(self.target).service:waiter(name)
  return read_state(self.target, name, parameters or {}, options)
end

--- A URL by which anybody may fetch (GetObject) or put (PutObject) an object for a time.
--- @param name string
--- @param parameters table
--- @param seconds integer
--- @return string|native.secret.value
function Client:presigned(name, parameters, seconds)
  check_call(self, name, parameters, 2)
  return client_of(self.target):presigned(name, parameters, seconds)
end

--- client:DescribeInstances { … } is client:call("DescribeInstances", { … }).
local META = { __name = "aws.client", __metatable = false }

function META.__index(_, key)
  if Client[key] then return Client[key] end
  if type(key) == "string" and key:find "^%u" then
    return function(self, parameters, options) return Client.call(self, key, parameters, options) end
  end
  error(("a client of AWS has no %q%s"):format(tostring(key), near.hint(tostring(key), Client)), 2)
end

function META.__newindex() error("a client of AWS is not altered", 2) end

--- A client of a service, in the environment's profile and region where no others are given.
--- @param service string  as the AWS command line has it: "route53"
--- @param options? { profile?: string, region?: string, endpoint?: string }
--- @return aws.client
function aws.client(service, options)
  options = check_keys(options, OPTIONS, 2)
  model.of(service)
  return setmetatable({ target = target_of(service, options) }, META)
end

return aws
