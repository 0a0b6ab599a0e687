--- `neap env`: which environments there are, what is in one, where each value comes from, and whether they are sound.
local environment = require "neap.environment"
local failure     = require "neap.cli.failure"
local fault       = require "native.error"
local repository  = require "neap.repository"
local view        = require "neap.cli.view.env"

local env = {
  summary = "list, show or check environments",
  examples = {
    "neap env list",
    "neap env show encode/lab",
    "neap env show encode/lab --explain hosts.old.ssh",
    "neap env check",
  },
}

local FOUND_PROBLEMS = 9

function env.arguments(parser)
  parser:command_target "what"
  parser:command("list", "the environments"):add_help(false)
  local show = parser:command("show", "what an environment holds, and where it comes from"):add_help(false)
  show:argument("name", "<group>/<name>, or <name> where only one group has it")
  show:option("--explain", "where this value comes from"):argname "KEY"
  local check = parser:command("check", "read environments and say what is wrong in them"):add_help(false)
  check:argument("name", "only this one"):args "?"
end

local function count_hosts(loaded)
  local count = 0
  for _, entry in pairs(loaded.hosts) do
    if #entry == 0 and entry.name ~= "local" then count = count + 1 end
  end
  return count
end

--- Reads one environment; its failure is part of the answer.
local function attempt(entry)
  local ok, loaded = pcall(environment.load, entry.file)
  if not ok and not fault.is(loaded) then error(loaded, 0) end
  local result = { name = entry.name, file = entry.file }
  if ok then
    result.hosts, result.guard = count_hosts(loaded), loaded.policy.guard or "none"
  else
    result.problem = { message = loaded.message, where = loaded.where, hint = loaded.hint }
  end
  return result
end

--- The value of a dotted key with its references resolved.
local function resolved(loaded, key)
  local value = loaded.sections
  if not loaded.origins[key] then key = "values." .. key end
  for part in key:gmatch "[^.]+" do value = value and (value[part] or value[tonumber(part)]) end
  return value
end

local actions = {}

function actions.list(options)
  local results = {}
  for i, entry in ipairs(repository.environments()) do results[i] = attempt(entry) end
  local model = { environments = results, looked_in = repository.search_path() }
  return model, view.list, 0
end

function actions.show(options)
  local found = failure.named(repository.environment, options.name)
  local loaded = environment.load(found.file)
  if not options.explain then return loaded, view.show, 0 end
  local origin = failure.named(environment.origin, loaded, options.explain)
  return { key = options.explain, origin = origin, value = resolved(loaded, options.explain) }, view.explain, 0
end

function actions.check(options)
  local entries = options.name and { failure.named(repository.environment, options.name) } or repository.environments()
  local results, status = {}, 0
  for i, entry in ipairs(entries) do
    results[i] = attempt(entry)
    if results[i].problem then status = FOUND_PROBLEMS end
  end
  return { environments = results, looked_in = repository.search_path() }, view.check, status
end

--- An environment as it is answered: what its files come to, not their text.
local function plain(model)
  if not model.sections then return model end
  return { name = model.name, origins = model.origins, sections = model.sections }
end

function env.run(options)
  local console = options.console
  local model, show, status = actions[options.what](options)
  if console.json then
    console:answer_json(plain(model))
  else
    console:answer(show(model, console.out))
  end
  return status
end

return env
