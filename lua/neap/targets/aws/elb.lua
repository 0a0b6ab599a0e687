--- Who stands behind a load balancer: instances of a classic one, targets of a target group. Who comes is waited for
--- until it is healthy, who goes until it is drained.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"
local task     = require "native.task"

local elb = {}

local EVERY, TIMEOUT = 5, 900 -- seconds

-- ---- classic ----

local function instances_of(target)
  local found = account.read(target, "DescribeLoadBalancers", { LoadBalancerNames = { target.balancer } })
  for _, one in ipairs(found.LoadBalancerDescriptions[1].Instances or {}) do
    if one.InstanceId == target.id then return true end
  end
end

local function state_of(target)
  local found = account.find(target, "DescribeInstanceHealth",
    { LoadBalancerName = target.balancer, Instances = { { InstanceId = target.id } } })
  local one = found and found.InstanceStates and found.InstanceStates[1]
  return one and one.State
end

--- Registration is a change of the set; requests of an instance that goes are let end by the balancer's own draining.
local function put_instance(target, there)
  account.change(target, there and "RegisterInstancesWithLoadBalancer" or "DeregisterInstancesFromLoadBalancer",
    { LoadBalancerName = target.balancer, Instances = { { InstanceId = target.id } } }, { repeatable = true })
  while instances_of(target) ~= (there or nil) do task.sleep(EVERY) end
end

resource.declare("elb.instance", {
  timeout = TIMEOUT, get = instances_of, put = put_instance,
  show = function(target) return ("%s behind %s"):format(target.id, target.balancer) end,
  text = function() return "registered" end,
})

-- ---- target groups ----

local function description(target)
  return { Id = target.id, Port = target.port, AvailabilityZone = target.zone }
end

local function health_of(target)
  local found = account.read(target, "DescribeTargetHealth", { TargetGroupArn = target.group })
  for _, one in ipairs(found.TargetHealthDescriptions or {}) do
    local is_port = target.port == nil or one.Target.Port == target.port
    if one.Target.Id == target.id and is_port then return one.TargetHealth.State end
  end
end

local function is_member(target)
  local health = health_of(target)
  return health ~= nil and health ~= "draining" and health ~= "unused" or nil
end

local function put_member(target, there)
  account.change(target, there and "RegisterTargets" or "DeregisterTargets",
    { TargetGroupArn = target.group, Targets = { description(target) } }, { repeatable = true })
  while (health_of(target) or "unused") == "unused" == (there ~= nil) do task.sleep(EVERY) end
end

resource.declare("elb.target", {
  timeout = TIMEOUT, get = is_member, put = put_member,
  show = function(target) return ("%s behind %s"):format(target.id, target.group:match "targetgroup/([^/]+)"
    or target.group) end,
  text = function() return "registered" end,
})

-- ---- health ----

local HEALTHY = { healthy = true, unavailable = true, InService = true } -- unavailable: the group makes no checks

local function current_health(target) return (target.group and health_of or state_of)(target) or "not registered" end

--- Being registered is not yet being in service; and who was registered before may be ill. So this is asked each time, after
--- the change, by a read.
local await_health = effect.read("elb.health", function(target, seconds)
  local health
  local ok, failure = pcall(task.deadline, seconds, function()
    repeat
      if health then task.sleep(EVERY) end
      health = current_health(target)
    until HEALTHY[health]
  end)
  if ok then return health end
  if fault.is(failure, "timeout") then
    failure.message = ("%s is registered behind %s, and is %s after %d s"):format(target.id, target.balancer
      or target.group, health or "of unknown health", seconds)
  end
  error(failure, 0)
end)

-- ---- what authors call ----

local function make(kind, target, there, options)
  effect.change(kind, target, function() return there end, resource.of_change(options))
  if there and not effect.planning() then await_health(target, options.timeout or TIMEOUT) end
end

local function change(balancer, id, there, options)
  options = resource.options(options, { port = true, zone = true }, 3)
  if balancer:find "^arn:.*:targetgroup/" then
    local target = resource.target("elbv2", options, { group = balancer, id = id, port = options.port,
      zone = options.zone })
    return make("elb.target", target, there, options)
  end
  return make("elb.instance", resource.target("elb", options, { balancer = balancer, id = id }), there, options)
end

--- Puts an instance, or an address, behind a load balancer, and waits until it is healthy.
--- @param balancer string  the name of a classic one, or the ARN of a target group
--- @param id string        "i-…", or what the group's targets are
--- @param options? table   port, zone (of a group's target); keep, irreversible, timeout; profile, region
function elb.register(balancer, id, options) change(balancer, id, true, options) end

--- Takes it away again, and waits until it is drained.
--- @param balancer string
--- @param id string
--- @param options? table  as of elb.register
function elb.deregister(balancer, id, options) change(balancer, id, nil, options) end

return elb
