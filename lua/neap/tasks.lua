--- Several tasks as one.
local task = require "native.task"

local tasks = {}

--- Waits until all of them have ended, well or not: what one has raised its own handle says. Where the waiting is
--- cancelled, or its time is over, they are cancelled too, and that is raised once they have ended.
--- @param running native.task.handle[]
function tasks.wait(running)
  local ok, failure = true, nil
  for _, one in ipairs(running) do
    local waited, problem = pcall(one.wait, one)
    if not waited then
      for _, other in ipairs(running) do other:cancel() end
      task.shield(one.wait, one)
      ok, failure = false, problem
    end
  end
  if not ok then error(failure, 0) end
end

return tasks
