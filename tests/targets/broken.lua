--- For tests of changes whose requests are broken: attempts until one comes to its end, and faults tried side by side.
local group = require "neap.engine.group"
local json  = require "native.json"

local broken = {}

--- Runs a trial, and again, as a person would: what stopped is resumed; after what came to nothing `between` looks at what
--- that has left, and a new one is begun. Raises where it comes to no end.
--- @param attempts integer  at most
--- @param new_trial fun(): table  of fixture.trial
--- @param between? fun()
function broken.until_done(attempts, new_trial, between)
  local trial = new_trial()
  local outcome = trial:run()
  for _ = 2, attempts do
    if outcome.status == "done" then return end
    if select(2, trial.store:lease()) then
      outcome = trial:resume()
    else
      if between then between() end
      trial = new_trial()
      outcome = trial:run()
    end
  end
  if outcome.status == "done" then return end
  error("it comes to no end: " .. json.encode_pretty(outcome.failure or outcome), 0)
end

--- Calls try(fault, index) for each fault, all side by side. Raises what failed, by its fault, once all have ended.
--- @param faults string[]
--- @param try fun(fault: string, index: integer)
function broken.try_each(faults, try)
  local failures = group.each(faults, { max_failures = #faults }, try)
  for i, one in ipairs(failures) do failures[i] = ("%s: %s"):format(one.item, tostring(one.failure)) end
  if failures[1] then error(table.concat(failures, "\n"), 0) end
end

return broken
