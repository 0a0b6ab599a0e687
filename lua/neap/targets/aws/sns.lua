--- Who is told by a topic of SNS.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local near     = require "neap.near"
local resource = require "neap.targets.aws.resource"

local sns = {}

local ATTRIBUTES = { filter = "FilterPolicy", filter_scope = "FilterPolicyScope", redrive = "RedrivePolicy" }

local function find(target)
  for _, one in ipairs(resource.all(target, "ListSubscriptionsByTopic", { TopicArn = target.topic },
    "Subscriptions")) do
    if one.Protocol == target.protocol and one.Endpoint == target.endpoint_of then return one.SubscriptionArn end
  end
end

local function is_pending(arn) return not arn:find "^arn:" end

--- What a subscription has, nil where there is none.
local function state_of(target, arn)
  if is_pending(arn) then return { raw = false } end
  local found = account.find(target, "GetSubscriptionAttributes", { SubscriptionArn = arn })
  if not found then return nil end
  local attributes, state = found.Attributes or {}, {}
  for field, name in pairs(ATTRIBUTES) do state[field] = attributes[name] end
  if not state.filter then state.filter_scope = nil end
  state.raw = attributes.RawMessageDelivery == "true"
  return state
end

local function get(target)
  local arn = find(target)
  return arn and state_of(target, arn)
end

local function attributes_of(state)
  local map = {}
  for field, name in pairs(ATTRIBUTES) do map[name] = state[field] end
  if state.raw then map.RawMessageDelivery = "true" end
  return map
end

local function set(target, arn, name, value)
  account.change(target, "SetSubscriptionAttributes",
    { SubscriptionArn = arn, AttributeName = name, AttributeValue = value or "" }, { repeatable = true })
end

local function put(target, state, call)
  local arn = find(target)
  if not state then
    if arn and is_pending(arn) then
      fault.raise { kind = "denied", message = ("%s has not confirmed yet: AWS cannot take that away"):format(
        target.endpoint_of) }
    end
    if arn then account.change(target, "Unsubscribe", { SubscriptionArn = arn }, { repeatable = true }) end
    return
  end
  if not arn then
    return account.change(target, "Subscribe", { TopicArn = target.topic, Protocol = target.protocol,
      Endpoint = target.endpoint_of, Attributes = attributes_of(state) }, { repeatable = true })
  end
  for field, name in pairs(ATTRIBUTES) do
    if state[field] ~= (call.before or {})[field] then set(target, arn, name, state[field]) end
  end
  set(target, arn, "RawMessageDelivery", tostring(state.raw))
end

resource.declare("sns.subscription", {
  get = get, put = put,
  show = function(target) return ("%s %s of %s"):format(target.protocol, target.endpoint_of, target.topic) end,
  text = function(state)
    return ("subscribed%s%s"):format(state.raw and ", raw" or "", state.filter and ", by " .. state.filter or "")
  end,
})

local function target_of(topic, protocol, endpoint, options)
  if type(topic) ~= "string" or not topic:find "^arn:" then error("a topic is named by its ARN", 3) end
  return resource.target("sns", options, { topic = topic, protocol = protocol, endpoint_of = endpoint })
end

local PROTOCOLS = { http = true, https = true, email = true, ["email-json"] = true, sms = true, sqs = true,
  application = true, lambda = true, firehose = true }

local function check(protocol, options, level)
  if not PROTOCOLS[protocol or ""] then
    error(("SNS has no protocol %q%s"):format(tostring(protocol), near.hint(protocol, PROTOCOLS)), level + 1)
  end
  for _, name in ipairs { "filter", "redrive" } do
    if options[name] ~= nil and not pcall(resource.document, options[name]) then
      error(("%s is a text of JSON"):format(name), level + 1)
    end
  end
end

--- Lets a topic tell somebody. Who is told by e-mail has to confirm it.
--- @param topic string     ARN
--- @param protocol string  "email", "sqs", "https", …
--- @param endpoint string  an address, an ARN, a URL
--- @param options? table   filter, redrive (JSON texts), filter_scope, raw; keep, irreversible, timeout; profile,
---   region
function sns.subscribe(topic, protocol, endpoint, options)
  options = resource.options(options, { filter = true, filter_scope = true, redrive = true, raw = true }, 2)
  check(protocol, options, 2)
  effect.change("sns.subscription", target_of(topic, protocol, endpoint, options), function()
    return { raw = options.raw or false, filter = options.filter, redrive = options.redrive,
      filter_scope = options.filter and (options.filter_scope or "MessageAttributes") or nil }
  end, resource.of_change(options))
end

--- Lets a topic tell somebody no more; a rollback subscribes them again as they were, and who is told by e-mail has to
--- confirm that.
--- @param topic string
--- @param protocol string
--- @param endpoint string
--- @param options? table  keep, irreversible, timeout; profile, region
function sns.unsubscribe(topic, protocol, endpoint, options)
  options = resource.options(options, {}, 2)
  effect.change("sns.subscription", target_of(topic, protocol, endpoint, options), function() return nil end,
    resource.of_change(options))
end

local read_list = effect.read("sns.subscriptions", function(target)
  local list = {}
  for _, one in ipairs(resource.all(target, "ListSubscriptionsByTopic", { TopicArn = target.topic },
    "Subscriptions")) do
    local state = state_of(target, one.SubscriptionArn)
    if state then
      state.protocol, state.endpoint, state.confirmed = one.Protocol, one.Endpoint, not is_pending(one.SubscriptionArn)
      list[#list + 1] = state
    end
  end
  return list
end)

--- Whom a topic tells, with what sns.subscribe takes.
--- @param topic string
--- @param options? table  profile, region
--- @return { protocol: string, endpoint: string, confirmed: boolean, raw: boolean, filter: string?,
---   filter_scope: string?, redrive: string? }[]
function sns.subscriptions(topic, options)
  return read_list(target_of(topic, nil, nil, account.check_options(options, {}, 2)))
end

return sns
