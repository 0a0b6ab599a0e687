--- How long steps take, learned from what earlier runs left at their close; how long a rollback from here would take, by
--- what its changes took.
local clock = require "native.clock"
local json  = require "native.json"

local estimate = {}

local RUNS = 100   -- that are looked back
local LAST = 5     -- durations of a step that count
local SHORTEST = 1 -- seconds; what takes less is no part of an estimate

local function between(from, to)
  local first, last = from and clock.parse(from), to and clock.parse(to)
  return first and last and math.max(last - first, 0)
end

--- Seconds that the steps of a run took, by title, for its close. What was interrupted, or done by a person in neap's
--- place, says nothing.
--- @param state table  the fold
--- @return table<string, number>
function estimate.took(state)
  local took = {}
  local function note(path, seconds)
    if seconds and seconds >= SHORTEST and not path:find "/" then took[path] = math.floor(seconds * 10 + 0.5) / 10 end
  end
  for path, seconds in pairs(state.took) do note(path, seconds) end
  for path, step in pairs(state.steps) do
    local counts = step.status == "done" and not step.interrupted and not step.how and not step.undoes
    if counts then note(path, between(step.started, step.ended)) end
  end
  return took
end

local function median(list)
  table.sort(list)
  local middle = #list // 2
  return #list % 2 == 1 and list[middle + 1] or (list[middle] + list[middle + 1]) / 2
end

local function took_by(store, run, procedure)
  local line = store:last(run)
  if not line or not line:find('"took"', 1, true) then return nil end
  local record = json.decode(line)
  return record.type == "close" and record.procedure == procedure and record.took or nil
end

--- What the steps of a procedure usually take: the median of the last five times.
--- @param store table  the journal's
--- @param procedure string  its name
--- @param before? integer  a run's number: only earlier ones
--- @return { steps: table<string, number>, runs: integer }
function estimate.learned(store, procedure, before)
  local lists, runs = {}, 0
  local newest = before and before - 1 or store:newest()
  for run = newest, math.max(newest - RUNS, 1), -1 do
    local took = took_by(store, run, procedure)
    if took then runs = runs + 1 end
    for title, seconds in pairs(took or {}) do
      lists[title] = lists[title] or {}
      if #lists[title] < LAST then table.insert(lists[title], seconds) end
    end
    if runs == LAST then break end
  end
  local steps = {}
  for title, list in pairs(lists) do steps[title] = median(list) end
  return { steps = steps, runs = runs }
end

--- Seconds that a rollback from here would take, if putting back takes as long as changing did.
--- @param state table
--- @return number
function estimate.undo(state) return state:seconds_to_undo() end

--- Seconds that the steps still to be done usually take; nil where nothing is known of them.
--- @param learned { steps: table<string, number> }
--- @param procedure neap.procedure
--- @param state table
--- @return number?
function estimate.left(learned, procedure, state)
  local total
  for title, seconds in pairs(learned.steps) do
    if procedure.titled[title] and not state:is_over(title) then total = (total or 0) + seconds end
  end
  return total
end

return estimate
