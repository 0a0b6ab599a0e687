--- Several tasks as one.
local task = require "native.task"

local tasks = {}

--- Waits for all of them. Those that are left when the waiting is cancelled are cancelled too; raises what the last one
--- that failed raised.
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
