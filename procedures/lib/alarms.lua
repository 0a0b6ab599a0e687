--- Alarms of CloudWatch that are to be still during maintenance.
local alarms = {}

local function cloudwatch() return aws.client "cloudwatch" end

--- Which of these alarms tell somebody, as of now. Raises for one that is not there.
--- @param names string[]
--- @return string[]
function alarms.enabled(names)
  local state, list = {}, {}
  for _, one in ipairs(cloudwatch():DescribeAlarms({ AlarmNames = names }).MetricAlarms or {}) do
    state[one.AlarmName] = one.ActionsEnabled
  end
  for _, name in ipairs(names) do
    if state[name] == nil then fail("there is no alarm " .. name) end
    if state[name] then list[#list + 1] = name end
  end
  return list
end

local CALL = { [true] = "EnableAlarmActions", [false] = "DisableAlarmActions" }

local function set(name, enabled)
  local parameters = { AlarmNames = { name } }
  cloudwatch():call(CALL[enabled], parameters, { undo = { operation = CALL[not enabled], parameters = parameters },
    done = { operation = "DescribeAlarms", parameters = parameters, path = "MetricAlarms[].ActionsEnabled",
      equals = { enabled } } })
end

--- Has alarms tell nobody. A rollback has them tell again.
--- @param names string[]  that tell somebody now
function alarms.disable(names)
  for _, name in ipairs(names) do set(name, false) end
end

--- Has alarms tell again.
--- @param names string[]  that tell nobody now
function alarms.enable(names)
  for _, name in ipairs(names) do set(name, true) end
end

--- Deletes those of these alarms that are there; they watch what is no more.
--- @param names string[]
--- @param why string  why a rollback leaves them deleted
function alarms.delete(names, why)
  for _, one in ipairs(cloudwatch():DescribeAlarms({ AlarmNames = names }).MetricAlarms or {}) do
    local parameters = { AlarmNames = { one.AlarmName } }
    cloudwatch():DeleteAlarms(parameters, { keep = why,
      done = { operation = "DescribeAlarms", parameters = parameters, path = "MetricAlarms[].AlarmName", missing = true } })
  end
end

return alarms
