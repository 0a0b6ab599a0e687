--- Runs tasks side by side and waits for all of them. When one fails, calls in flight finish and nothing new is begun.
local fault = require "native.error"
local task  = require "native.task"
local tasks = require "neap.tasks"

local group = {}

--- Calls fn(item, index) for each item, at most at_a_time of them side by side.
--- @param items any[]
--- @param options { at_a_time?: integer, max_failures?: integer, stop?: table }  stop.requested is set once too many failed
--- @param fn fun(item: any, index: integer)
--- @return table[] failures  { index, item, failure } in order of index; more than max_failures (0) of them: the caller raises
function group.each(items, options, fn)
  local next_item, failures, running = 1, {}, {}
  local stop = options.stop or {}
  local function worker()
    while next_item <= #items and not stop.requested do
      local index = next_item
      next_item = index + 1
      local ok, failure = pcall(fn, items[index], index)
      if not ok then
        failures[#failures + 1] = { index = index, item = items[index], failure = failure }
        if #failures > (options.max_failures or 0) or fault.is(failure, "cancelled") then stop.requested = true end
      end
    end
  end
  for _ = 1, math.min(#items, options.at_a_time or #items) do running[#running + 1] = task.spawn(worker) end
  tasks.wait(running)
  table.sort(failures, function(a, b) return a.index < b.index end)
  return failures
end

return group
