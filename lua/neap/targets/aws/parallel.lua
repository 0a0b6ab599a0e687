--- Several requests at a time: what is asked of AWS takes as long as the way there.
local task  = require "native.task"
local tasks = require "neap.tasks"

local parallel = {}

--- Calls fn(item, index) for each item, at most so many side by side; after one failed none is begun. Raises the first
--- failure, once those that were begun have ended.
--- @param items any[]
--- @param at_a_time integer
--- @param fn fun(item: any, index: integer)
function parallel.each(items, at_a_time, fn)
  local at, failure, failed = 1, nil, false
  local function work()
    while at <= #items and not failed do
      local index = at
      at = index + 1
      local ok, problem = pcall(fn, items[index], index)
      if not ok and not failed then failed, failure = true, problem end
    end
  end
  if #items == 1 then at_a_time = 1 end
  if at_a_time == 1 then
    work()
  else
    local workers = {}
    for _ = 1, math.min(#items, at_a_time) do workers[#workers + 1] = task.spawn(work) end
    tasks.wait(workers)
  end
  if failed then error(failure, 0) end
end

return parallel
