--- `neap env`: which environments there are, what is in one, where each value comes from, and whether they are sound.
local deployed    = require "neap.deployed"
local environment = require "neap.environment"
local failure     = require "neap.cli.failure"
local fault       = require "native.error"
local fs          = require "native.fs"
local repository  = require "neap.repository"
local secret      = require "native.secret"
local notices     = require "neap.notices"
local secrets     = require "neap.secrets"
local state       = require "neap.state"
local view        = require "neap.cli.view.env"
local ordered     = require "neap.ordered"

local env = {
  summary = "list, show or check environments, copy their keys",
  examples = {
    "neap env list",
    "neap env show encode/lab",
    "neap env show encode/lab --explain hosts.old.ssh",
    "neap env check",
    "neap env key export encode/lab /root/encode-lab.key",
  },
}

local FOUND_PROBLEMS = 9

function env.arguments(parser)
  parser:command_target "what"
  parser:command("list", "the environments"):add_help(false)
  local show = parser:command("show", "what an environment holds, and where it comes from"):add_help(false)
  show:argument("environment", "<group>/<name>, or <name> where only one group has it")
  show:option("--explain", "where this value comes from"):argname "KEY"
  local check = parser:command("check", "read environments and say what is wrong in them"):add_help(false)
  check:argument("environment", "only this one"):args "?"
  local key = parser:command("key", "copy the key that opens what the journal has sealed"):add_help(false)
  key:argument("direction", "export or import"):choices { "export", "import" }
  key:argument("environment", "<group>/<name>, or <name> where only one group has it")
  key:argument("file", "where it goes, or comes from: 32 bytes, for you alone")
end

local function count_hosts(loaded)
  local count = 0
  for _, entry in pairs(loaded.hosts) do
    if entry.name and entry.name ~= "local" then count = count + 1 end
  end
  return count
end

local function is_open(text) return text:find("$(", 1, true) ~= nil end

--- What a host lacks before it can be reached.
local function missing_of(host, add)
  if host.name == "local" or is_open(host.ssh) then return end
  local ssh = require "neap.targets.ssh"
  local ok, known, has_key = pcall(ssh.prepared, host.ssh, { user = host.user, port = host.port })
  if not ok and not fault.is(known) then error(known, 0) end
  if not ok then return add(("%s: %s"):format(host.name, known.message)) end
  if not known then add(("%s: known_hosts has no key of it"):format(host.name), "neap host add " .. host.ssh) end
  if not has_key then add(("%s: neither a key file nor an agent to log in with"):format(host.name)) end
end

local function missing_of_group(env_loaded, name, group, add)
  local program = type(group) == "table" and group.from == "command" and group.command[1]
  if program and not require "neap.groups".may_run(env_loaded.policy.allow_exec, program) then
    add(("group %s: policy.allow_exec does not name %s"):format(name, program))
  end
end

--- Values that are read out of deployed configuration, as far as their place is known before a run.
local function missing_of_values(loaded, values, path, add)
  for _, name in ipairs(ordered.keys(values)) do
    local value, here = values[name], path .. tostring(name)
    if type(value) == "table" then
      missing_of_values(loaded, value, here .. ".", add)
    elseif deployed.is_reference(value) and not value:find("$(", 1, true) then
      local ok, problem = pcall(deployed.value, value, loaded.repositories)
      if not ok and not fault.is(problem) then error(problem, 0) end
      if not ok then add(("value %s: %s"):format(here, problem.message)) end
    end
  end
end

--- What an environment lacks on this machine, as far as that can be said without connecting.
local function missing(loaded)
  local list = {}
  local function add(text, hint) list[#list + 1] = { text = text, hint = hint } end
  for _, name in ipairs(ordered.keys(loaded.hosts)) do
    if loaded.hosts[name].name then missing_of(loaded.hosts[name], add) end
    missing_of_group(loaded, name, loaded.sections.hosts[name], add)
  end
  missing_of_values(loaded, loaded.values, "", add)
  return list
end

local function prompt_of(console)
  return function(text, how)
    return console.may_ask and console:ask(console.err:clean(text) .. " ", how) or nil
  end
end

--- Tries to have a secret; what it is stays here.
local function try_secret(name, reference, from, may_ask)
  local tried = { name = name, source = reference }
  if is_open(reference) then
    tried.skipped = "known when the run has its arguments"
  elseif reference:find "^ask:" and not may_ask then
    tried.skipped = "asked at a terminal"
  else
    local ok, value = pcall(secrets.resolve, reference, from)
    if not ok and not fault.is(value) then error(value, 0) end
    tried.shown = ok and tostring(value) or nil
    tried.short = ok and secret.is_short(value) or nil
    tried.problem = not ok and { message = value.message, hint = value.hint, output = value.output } or nil
  end
  return tried
end

--- Each secret of an environment, and each of who is told of a run: whether it can be had here.
local function tried_secrets(loaded, console)
  local references, list = {}, {}
  for name, reference in pairs(loaded.secrets) do references[name] = reference end
  for i, reference in ipairs(notices.references(loaded.notify)) do references["notify " .. i] = reference end
  if not next(references) then return nil end
  local from = { keys = secret.keyring(state.folder(loaded.name) .. "/key"), policy = loaded.policy, root = loaded.root,
    aws = loaded.aws, prompt = prompt_of(console) }
  for i, name in ipairs(ordered.keys(references)) do
    list[i] = try_secret(name, references[name], from, console.may_ask)
  end
  return list
end

local function lacks_secret(result)
  for _, tried in ipairs(result.secrets or {}) do
    if tried.problem then return true end
  end
  return false
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
  local found = failure.named(repository.environment, options.environment)
  local loaded = environment.load(found.file)
  if not options.explain then return loaded, view.show, 0 end
  local origin = failure.named(environment.origin, loaded, options.explain)
  return { key = options.explain, origin = origin, value = resolved(loaded, options.explain) }, view.explain, 0
end

function actions.check(options)
  local name = options.environment
  local entries = name and { failure.named(repository.environment, name) } or repository.environments()
  local results, status = {}, 0
  for i, entry in ipairs(entries) do
    results[i] = attempt(entry)
    if not results[i].problem then
      local loaded = environment.load(entry.file)
      results[i].missing, results[i].secrets = missing(loaded), tried_secrets(loaded, options.console)
    end
    if results[i].problem or lacks_secret(results[i]) then status = FOUND_PROBLEMS end
  end
  return { environments = results, looked_in = repository.search_path() }, view.check, status
end

--- Copies the key that seals what the journal holds of secrets: to a file, or from one.
function actions.key(options)
  local name = failure.named(repository.environment, options.environment).name
  local key = state.folder(name) .. "/key"
  local from, to = key, options.file
  if options.direction == "import" then from, to = to, from end
  if options.direction == "export" and fs.exists(to) then
    fault.raise { kind = "conflict", message = to .. " is there already", where = "" }
  end
  secret.copy_key(from, to)
  return { environment = name, direction = options.direction, file = options.file, key = key }, view.key, 0
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
