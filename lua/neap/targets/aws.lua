--- AWS: every operation of every service that the machine has a model of. What reads is asked at once; what changes is
--- made once, with a token that makes a repetition the same request where the service has one.
local clients     = require "neap.targets.aws.client"
local clock       = require "native.clock"
local credentials = require "neap.targets.aws.credentials"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local known       = require "neap.targets.aws.known"
local model       = require "neap.targets.aws.model"
local near        = require "neap.near"
local pages       = require "neap.targets.aws.pages"
local path        = require "neap.targets.aws.path"
local serialize   = require "neap.targets.aws.serialize"
local shell       = require "neap.targets.shell"
local task        = require "native.task"

local aws = {}

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 120 -- seconds
local WEEK                         = 604800
local TOKEN_LIFE = 8 * 3600                  -- the shortest time for which a service remembers a token

-- ---- clients ----

local OPTIONS = { profile = true, region = true, endpoint = true }

--- What names a client, as plain data: given, else of the environment, else of the profile. A plan takes all that is
--- changed by way of an account for changed.
local function target_of(self)
  local service, options, section = rawget(self, "service"), rawget(self, "options"), known.section()
  local profile = options.profile or section.profile
  return { service = service, profile = profile, endpoint = options.endpoint,
    region = options.region or section.region or credentials.region(profile),
    account = "AWS " .. (known.account(profile) or profile or "default") }
end

-- ---- reads ----

--- A call that reads, of the right account.
local function asked(target, name, parameters, timeout)
  return known.meet(target):call(name, parameters, known.reading(timeout))
end

local read_call = effect.read("aws.read", asked)

local read_all = effect.read("aws.list", function(target, name, parameters)
  return pages.all(known.client(target).service, name, parameters, function(page) return asked(target, name, page) end)
end)

local read_state = effect.read("aws.wait", function(target, name, parameters, options)
  return pages.wait(known.client(target).service, name, parameters, function(operation, given)
    return asked(target, operation, given)
  end, options) or {}
end)

-- ---- changes ----

--- Whether the question that came with the call says that it happened.
local function probe(target, question)
  local ok, result = pcall(asked, target, question.operation, question.parameters or {})
  if not ok and not fault.is(result, "missing") then error(result, 0) end
  local found = ok
  if ok and question.path then
    found = path.find(result, question.path)
    if question.equals ~= nil then found = found == question.equals end
    found = found ~= nil and found ~= false and not (type(found) == "table" and #found == 0)
  end
  return found ~= (question.missing == true)
end

--- Calls what changes something, once; a clear no is remembered by the name of the effect, for nothing happened then.
local function carry_out(target, data, call)
  local client = known.client(target)
  local parameters, has_token = serialize.with_token(client.service, data.operation, data.parameters, call.witness)
  local ok, result = pcall(client.call, client, data.operation, parameters,
    { reads = false, repeatable = has_token, timeout = call.timeout,
      happened = not has_token and data.done and function() return probe(target, data.done) end or nil })
  if ok then return result end
  if clients.is_refusal(result) then known.refused()[call.witness] = true end
  error(result, 0)
end

--- What the service says when it is asked for the same once more; nil: it says nothing clear.
local function repeat_it(client, data, parameters)
  local ok, result = pcall(client.call, client, data.operation, parameters,
    { reads = false, repeatable = true, timeout = READ_TIMEOUT })
  if ok then return "done", result end
  if not clients.is_refusal(result) then error(result, 0) end
  if not fault.is(result, "conflict") then return "void" end
end

--- By the question: at once, or when nothing can land any more.
local function ask_for(target, intent, data)
  if not data.done then
    return "unknown",
      ("%s may have been carried out, and there is no question that tells (done)"):format(data.operation)
  end
  if probe(target, data.done) then return "done" end
  task.sleep(intent.timeout == 0 and 0 or known.life(target.service))
  return probe(target, data.done) and "done" or "void"
end

--- What has a token is made once more: it is the same request, and its answer the first one's. Else its signature is
--- waited out, after which nothing can land, and the question asked.
local function take(target, id, intent)
  if known.refused()[id] then return "void" end
  local data = intent.undoes and intent.undo or intent.data
  local client = known.client(target)
  local parameters, has_token = serialize.with_token(client.service, data.operation, data.parameters, id)
  if has_token and (not intent.time or clock.now() - clock.parse(intent.time) < TOKEN_LIFE) then
    local verdict, result = repeat_it(client, data, parameters)
    if verdict then return verdict, result end
  end
  return ask_for(target, intent, data)
end

effect.action "aws.call" {
  timeout = CHANGE_TIMEOUT,
  run = carry_out,
  undo = carry_out,
  undo_needs_data = true,
  take = take,
  prepare = function(target) known.meet(target) end, -- before the intent: who is not let in has changed nothing
  show = function(target)
    return ("%s of %s%s"):format(target.operation or "AWS", target.service, -- older runs have no operation here
      target.region and " in " .. target.region or "")
  end,
  says = function() return "is called" end,
}

-- ---- what authors call ----

local Client = {}

local CALL_OPTIONS = { reads = true, undo = true, keep = true, irreversible = true, done = true, timeout = true }

local function check_call(self, name, parameters, level)
  known.client(target_of(self)):check(name, parameters, level + 1)
end

local QUESTION = { operation = true, parameters = true, missing = true, path = true, equals = true }

--- A call given as { operation =, parameters = }, checked.
local function described(self, given, what, level)
  if given == nil then return nil end
  if type(given) ~= "table" or type(given.operation) ~= "string" then
    error(('%s is a call, as in { operation = "DeleteTags", parameters = { … } }'):format(what), level + 1)
  end
  shell.check_keys(given, QUESTION, what, level + 1)
  check_call(self, given.operation, given.parameters or {}, level + 1)
  return { operation = given.operation, parameters = given.parameters or {}, missing = given.missing,
    path = given.path, equals = given.equals }
end

--- @class (exact) neap.aws.call_options
--- @field reads? boolean        it changes nothing, though its name does not say so
--- @field undo? table           { operation =, parameters = }: the call that takes it back
--- @field keep? string
--- @field irreversible? string
--- @field done? table           { operation =, parameters =, path =?, equals =?, missing = true? }: a read that finds
---   something (at the path, or there what equals this), or with missing finds nothing, once it happened
--- @field timeout? number       seconds

--- Calls an operation by its name in AWS's own documentation. Get…, List…, Describe…, Head…, Query, Scan, Search…,
--- Lookup… and AssumeRole… read, every other changes something, once. Raises a mistake for what the model does not
--- know.
--- @param name string  "DescribeInstances"
--- @param parameters? table
--- @param options? neap.aws.call_options
--- @return table result
function Client:call(name, parameters, options)
  parameters, options = parameters or {}, shell.check_options(options, CALL_OPTIONS, 2)
  check_call(self, name, parameters, 2)
  if options.reads or model.reads(name) then return read_call(target_of(self), name, parameters, options.timeout) end
  if effect.planning() then known.meet(target_of(self)) end -- whose account it is, the run is held to
  local target = target_of(self)
  target.operation = name
  return effect.perform("aws.call", target,
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
  pages.check_list(known.client(target_of(self)).service, name, 2)
  return read_all(target_of(self), name, parameters or {})
end

--- Waits as a waiter of the service's model does.
--- @param name string  "StackCreateComplete"
--- @param parameters? table
--- @param options? { timeout?: number, every?: number }
--- @return table result
function Client:wait(name, parameters, options)
  options = shell.check_options(options, { timeout = true, every = true }, 2)
  pages.check(known.client(target_of(self)).service, name, 2)
  return read_state(target_of(self), name, parameters or {}, options)
end

--- The region in which it asks; nil where nothing names one.
--- @return string?
function Client:region() return target_of(self).region end

--- A URL by which anybody may fetch (GetObject) or put (PutObject) an object for a time.
--- @param name string
--- @param parameters table
--- @param seconds integer  at most a week
--- @return string|native.secret.value
function Client:presigned(name, parameters, seconds)
  check_call(self, name, parameters, 2)
  if math.type(seconds) ~= "integer" or seconds < 1 or seconds > WEEK then
    error(("a URL is good for 1 to %d seconds, not %s"):format(WEEK, tostring(seconds)), 2)
  end
  return known.client(target_of(self)):presigned(name, parameters, seconds)
end

--- client:DescribeInstances { … } is client:call("DescribeInstances", { … }).
local META = { __name = "aws.client", __metatable = false }

function META.__index(_, key)
  if Client[key] then return Client[key] end
  if type(key) == "string" and key:find "^%u" then
    return function(self, parameters, options) return Client.call(self, key, parameters, options) end
  end
  error(("a client of AWS has no %q%s"):format(tostring(key), near.hint(key, Client)), 2)
end

function META.__newindex() error("a client of AWS is not altered", 2) end

--- A client of a service, in the environment's profile and region where no others are given. Nothing is asked yet.
--- @param service string  as the AWS command line has it: "route53"
--- @param options? { profile?: string, region?: string, endpoint?: string }
--- @return aws.client
function aws.client(service, options)
  options = shell.check_options(options, OPTIONS, 2)
  model.check(service, 2)
  return setmetatable({ service = service, options = options }, META)
end

return aws
