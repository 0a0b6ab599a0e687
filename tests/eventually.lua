local task = require "native.task"

--- Waits for what has to come; raises where it does not come in time.
--- @param holds fun(): any
--- @param seconds? number  20
--- @return any  what holds() has given in the end
return function(holds, seconds)
  local until_then = task.now() + (seconds or 20)
  while true do
    local value = holds()
    if value then return value end
    if task.now() > until_then then error("it does not come to that", 2) end
    task.sleep(0.02)
  end
end
