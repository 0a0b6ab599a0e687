--- The runs of all environments whose journals this login can read.
local fault = require "native.error"
local state = require "neap.state"

local history = {}

--- Calls `use(journal)` with an environment's journal, opened for reading, and returns what it returns.
--- @param folder string
function history.reading(folder, use)
  local journal = require "neap.engine.journal".open(folder, { read_only = true })
  local ok, result = pcall(use, journal)
  journal:close()
  if not ok then error(result, 0) end
  return result
end

--- The runs of one environment, newest first.
--- @param environment string  full name
--- @param folder string
--- @return table[]
function history.of(environment, folder)
  return history.reading(folder, function(journal)
    local runs = journal:runs()
    for _, run in ipairs(runs) do run.environment, run.folder = environment, folder end
    return runs
  end)
end

--- The chain of hashes of a run, whole or not; what is wrong with it is an answer here, not an error.
--- @param run table  as history gives it
--- @return { whole: boolean, records?: integer, head?: string, problem?: string }
function history.chain(run)
  return history.reading(run.folder, function(journal)
    local ok, count, head = pcall(journal.verify, journal, run.run)
    if ok then return { whole = true, records = count, head = head } end
    if not fault.is(count) then error(count, 0) end
    return { whole = false, problem = count.message }
  end)
end

--- The runs of every environment, newest first. A journal that may not be read is left out.
--- @return table[]
function history.all()
  local known, all = state.known(), {}
  for _, environment in ipairs(known) do
    local ok, runs = pcall(history.of, environment, known[environment])
    if not ok and not fault.is(runs) then error(runs, 0) end
    for _, run in ipairs(ok and runs or {}) do all[#all + 1] = run end
  end
  table.sort(all, function(a, b)
    if a.started ~= b.started then return a.started > b.started end
    return a.environment < b.environment
  end)
  return all
end

return history
