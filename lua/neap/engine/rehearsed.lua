--- What rehearsals are good for: what one came to, and the policy that wants one before a run.
local clock     = require "native.clock"
local duration  = require "neap.engine.duration"
local fault     = require "native.error"
local journal   = require "neap.engine.journal"
local step_path = require "neap.engine.step_path"

--- @class neap.rehearsal_place
--- @field environment string  full name
--- @field state? string|table  its folder; nil: it has no journal that this login can reach

--- @class neap.rehearsed
--- @field environment string
--- @field run integer
--- @field ended string

local rehearsed = {}

-- ---- what one came to ----

--- Nothing was done in neap's place, and nothing was typed.
local function was_all_by_neap(state)
  for _, path in ipairs(state.step_order) do
    if step_path.line_number(path) then return false end
  end
  return #state:by_person() == 0 and state.left == 0 and #state.amendments == 0
end

--- What a rehearsal came to that is closed now; nil for other runs.
--- @param state table  the fold
--- @param outcome "done"|"rolled back"|"abandoned"
--- @return "passed"|"failed"|nil
function rehearsed.verdict(state, outcome)
  if not state.first.rehearsal then return nil end
  local compared = state.rehearsal.compared
  local whole = outcome == "done" or outcome == "rolled back" and state.rehearsal["not crossed"] ~= nil
  return compared and compared.passed and whole and was_all_by_neap(state) and "passed" or "failed"
end

-- ---- the policy ----

local function wrong(message, ...)
  fault.raise { kind = "conflict", code = "usage", where = "", message = message:format(...) }
end

local function seconds_of(given, key)
  local seconds = given ~= nil and duration.seconds(tostring(given))
  if seconds and seconds > 0 then return seconds end
  return wrong("policy.%s: %s is no duration like \"30d\"", key, given == nil and "nothing" or ("%q"):format(
    tostring(given)))
end

local function names_of(given)
  if given == nil then return nil end
  if type(given) ~= "table" or #given == 0 then wrong "policy.rehearsed.in is a list like [test, lab]" end
  local names = {}
  for i, name in ipairs(given) do names[i] = tostring(name) end
  return names
end

--- What an environment's policy asks for; nil: nothing. Raises for what is no such policy.
--- @param policy table
--- @return { within: number, text: string, environments: string[]? }?  within: seconds; environments: nil: any other one of
---   the group that is not guarded
function rehearsed.demand(policy)
  local short, given = policy.rehearsed_within, policy.rehearsed
  if short ~= nil and given ~= nil then wrong "policy has both rehearsed and rehearsed_within: one of them will do" end
  if short ~= nil then return { within = seconds_of(short, "rehearsed_within"), text = tostring(short) } end
  if given == nil then return nil end
  if type(given) ~= "table" then wrong "policy.rehearsed is a map like { within: 30d, in: [test] }" end
  return { within = seconds_of(given.within, "rehearsed.within"), text = tostring(given.within),
    environments = names_of(given["in"]) }
end

-- ---- looking for one ----

local function runs_of(place)
  if not place.state then return {} end
  local opened = journal.open(place.state, { read_only = true })
  local ok, runs = pcall(opened.runs, opened)
  if type(place.state) == "string" then opened:close() end
  if not ok then error(runs, 0) end
  return runs
end

--- Why a rehearsal does not count, or nil.
local function flaw(run, code, since)
  if run.rehearsal ~= "passed" then return run.rehearsal == "open" and "it is not at its end" or "it failed" end
  if run.code ~= code then return "it was of other code" end
  if (clock.parse(run.ended) or 0) < since then return "it is older than the policy allows" end
end

--- The newest rehearsal of this code that counts, and of the newest others why they do not.
--- @param places neap.rehearsal_place[]
--- @param procedure string  its name
--- @param code string  digest of its code
--- @param within number  seconds
--- @return neap.rehearsed?
--- @return string[] flaws
function rehearsed.find(places, procedure, code, within)
  local found, flaws, since = nil, {}, clock.now() - within
  for _, place in ipairs(places) do
    local newest
    for _, run in ipairs(runs_of(place)) do
      if run.procedure == procedure and run.rehearsal then
        local why = flaw(run, code, since)
        local better = not why and (not found or run.ended > found.ended)
        if better then found = { environment = place.environment, run = run.run, ended = run.ended } end
        newest = newest or { run = run, why = why }
      end
    end
    if newest and newest.why then
      flaws[#flaws + 1] = ("%s, run %d of %s: %s"):format(place.environment, newest.run.run,
        (newest.run.ended or newest.run.started):sub(1, 10), newest.why)
    end
  end
  return found, flaws
end

local function names_of_places(places)
  local names = {}
  for i, place in ipairs(places) do names[i] = place.environment end
  return #names > 0 and table.concat(names, " or ") or "another environment of its group, of which there is none"
end

--- Refuses a run that the environment's policy wants rehearsed and that is not: kind "denied", code "rehearsal".
--- @param self table  the session, prepared and not begun
--- @param given { rehearsal?: boolean, rehearsals?: neap.rehearsal_place[] }
--- @param code string  digest of the code that would run
--- @return neap.rehearsed?  for the journal
function rehearsed.require(self, given, code)
  local demand = rehearsed.demand(self.environment.policy or {})
  if not demand or given.rehearsal then return nil end
  local places = given.rehearsals or {}
  local found, flaws = rehearsed.find(places, self.procedure.name, code, demand.within)
  if found then return found end
  local name, first = self.procedure.name, places[1] and places[1].environment
  fault.raise { kind = "denied", code = "rehearsal", where = "",
    message = ("%s wants this code of %s rehearsed within %s in %s, and it is not"):format(self.environment.name, name,
      demand.text, names_of_places(places)),
    output = #flaws > 0 and table.concat(flaws, "\n") or nil, state = "Nothing was changed.",
    next = first and { ("neap rehearse %s --env %s"):format(name, first) } or { "neap env list" } }
end

--- What the run's journal says of it.
--- @param one neap.rehearsed
--- @return table record
function rehearsed.note(one)
  return { type = "note", kind = "rehearsed", environment = one.environment, of_run = one.run, ended = one.ended,
    text = ("rehearsed in %s, run %d, on %s"):format(one.environment, one.run, one.ended:sub(1, 10)) }
end

return rehearsed
