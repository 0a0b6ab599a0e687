--- Rules of EventBridge, and whether they are followed.
local account  = require "neap.targets.aws.account"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local resource = require "neap.targets.aws.resource"

local events = {}

resource.declare("events.rule_state", {
  get = function(target)
    local found = account.find(target, "DescribeRule", { Name = target.rule, EventBusName = target.bus })
    return found and found.State
  end,
  put = function(target, state)
    account.change(target, state == "DISABLED" and "DisableRule" or "EnableRule",
      { Name = target.rule, EventBusName = target.bus }, { repeatable = true })
  end,
  show = function(target) return "rule " .. target.rule end,
  text = function(state) return state end,
})

local function change(rule, state, options)
  options = resource.options(options, { bus = true }, 3)
  local target = resource.target("events", options, { rule = rule, bus = options.bus })
  effect.change("events.rule_state", target, function(before)
    if not before then fault.raise { kind = "missing", message = ("there is no rule %s"):format(rule) } end
    -- one that is enabled in another way (for events of CloudTrail as well) is enabled
    return state == "ENABLED" and before ~= "DISABLED" and before or state
  end, resource.of_change(options))
end

--- Has a rule followed.
--- @param rule string
--- @param options? table  bus; keep, irreversible, timeout; profile, region
function events.enable(rule, options) change(rule, "ENABLED", options) end

--- Has a rule followed no more; it stays as it is.
--- @param rule string
--- @param options? table  as of events.enable
function events.disable(rule, options) change(rule, "DISABLED", options) end

return events
