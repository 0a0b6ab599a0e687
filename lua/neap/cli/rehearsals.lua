--- Where the rehearsals lie that an environment's policy asks for, and whether there is one.
local environment = require "neap.environment"
local fault       = require "native.error"
local fs          = require "native.fs"
local rehearsed   = require "neap.engine.rehearsed"
local repository  = require "neap.repository"
local session     = require "neap.engine.session"
local state       = require "neap.state"

local rehearsals = {}

--- The other environments of a group that are not guarded. One that cannot be read has been rehearsed in by nobody.
local function others(env)
  local names = {}
  for _, entry in ipairs(repository.environments()) do
    if entry.group == env.group and entry.name ~= env.name then
      local ok, other = pcall(environment.load, entry.file)
      if not ok and not fault.is(other) then error(other, 0) end
      if ok and other.policy.guard ~= "production" then names[#names + 1] = entry.name end
    end
  end
  return names
end

local function named(env, names)
  local full = {}
  for i, name in ipairs(names) do
    full[i] = repository.environment(name, not name:find "/" and env.group or nil).name
  end
  return full
end

local function place_of(name)
  local folder = state.path(name)
  return { environment = name, state = fs.exists(folder .. "/journal.db") and folder or nil }
end

--- The journals in which a rehearsal counts for an environment; nil: its policy asks for none. Raises `missing` where the
--- policy names an environment that is not there.
--- @param env neap.environment
--- @return neap.rehearsal_place[]?
function rehearsals.places(env)
  local demand = rehearsed.demand(env.policy)
  if not demand then return nil end
  local places = {}
  for i, name in ipairs(demand.environments and named(env, demand.environments) or others(env)) do
    places[i] = place_of(name)
  end
  return places
end

--- How it stands for a procedure: what is asked for, and the rehearsal that counts or why none does; nil: none is asked for.
--- @param env neap.environment
--- @param procedure string  its name
--- @param files table<string, string>
--- @return { within: string, places: string[], found?: neap.rehearsed, flaws: string[] }?
function rehearsals.standing(env, procedure, files)
  local places = rehearsals.places(env)
  if not places then return nil end
  local demand, names = rehearsed.demand(env.policy), {}
  for i, place in ipairs(places) do names[i] = place.environment end
  local found, flaws = rehearsed.find(places, procedure, session.code_digest(files), demand.within)
  return { within = demand.text, places = names, found = found, flaws = flaws }
end

return rehearsals
