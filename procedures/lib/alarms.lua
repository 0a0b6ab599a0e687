--- Alarms of CloudWatch that are to be still during maintenance.
local alarms = {}

local function cloudwatch() return aws.client "cloudwatch" end

local function found(names)
  return cloudwatch():DescribeAlarms({ AlarmNames = { table.unpack(names) } }).MetricAlarms or {}
end

--- Which of these alarms tell somebody, as of now. Raises for one that is not there.
local function enabled(names)
  local state, list = {}, {}
  for _, one in ipairs(found(names)) do
    state[one.AlarmName] = one.ActionsEnabled
  end
  for _, name in ipairs(names) do
    if state[name] == nil then fail("there is no alarm " .. name) end
    if state[name] then list[#list + 1] = name end
  end
  return list
end

local CALL = { [true] = "EnableAlarmActions", [false] = "DisableAlarmActions" }

local function set(name, telling)
  local parameters = { AlarmNames = { name } }
  cloudwatch():call(CALL[telling], parameters, { undo = { operation = CALL[not telling], parameters = parameters },
    done = { operation = "DescribeAlarms", parameters = parameters, path = "MetricAlarms[0].ActionsEnabled",
      equals = telling } })
end

--- Has alarms tell nobody. A rollback has those tell again that did.
--- @param names string[]
--- @return string[] silenced  those that told somebody
function alarms.silence(names)
  local list = enabled(names)
  for _, name in ipairs(list) do set(name, false) end
  return list
end

--- Has alarms tell again.
--- @param names string[]  of alarms.silence
function alarms.enable(names)
  for _, name in ipairs(names) do set(name, true) end
end

--- Deletes those of these alarms that are there; they watch what is no more.
--- @param names string[]
--- @param why string  why a rollback leaves them deleted
function alarms.delete(names, why)
  for _, one in ipairs(found(names)) do
    local parameters = { AlarmNames = { one.AlarmName } }
    cloudwatch():DeleteAlarms(parameters, { keep = why, done = { operation = "DescribeAlarms",
      parameters = parameters, path = "MetricAlarms[0].AlarmName", missing = true } })
  end
end

return alarms
