--- What the command line names: the procedure, its environment, its arguments, the run, a file.
local arguments   = require "neap.cli.arguments"
local environment = require "neap.environment"
local failure     = require "neap.cli.failure"
local fs          = require "native.fs"
local repository  = require "neap.repository"
local state       = require "neap.state"

local choice = {}

--- The options that say what is to be run where.
function choice.add_options(parser)
  parser:argument("procedure", "<group>/<name>, or the path of its file")
  parser:option("--env", "the environment: <name> of the procedure's group, or <group>/<name>"):argname "ENV"
  parser:option("-p", "a parameter of the procedure"):argname "NAME=VALUE":count "*":target "param"
end

--- The text of a file.
--- @param path string
--- @param verb string
--- @return string
function choice.text(path, verb)
  local there = fs.stat(path)
  if there and there.type == "file" then return fs.read(path) end
  return failure.wrong_use(there and path .. " is a " .. there.type or "there is no " .. path,
    ("neap %s --help"):format(verb))
end

--- The short names of a group's environments.
function choice.environment_names(group)
  local names = {}
  for _, entry in ipairs(repository.environments()) do
    if entry.group == group then names[#names + 1] = entry.name:match "[^/]*$" end
  end
  return names
end

--- Nothing is taken for granted: what changes an environment names it.
local function need_environment(found, verb)
  local names = choice.environment_names(found.group)
  local example = ("neap %s %s --env %s"):format(verb, found.name, names[1] or "ENV")
  local there = #names > 0 and (" (there is %s)"):format(table.concat(names, ", ")) or ""
  failure.wrong_use(("%s needs --env%s"):format(verb, there), example)
end

--- The procedure, with the code a run of it can reach.
--- @param options { procedure: string }
--- @return { name: string, group: string, path: string, files: table<string, string>, root: string }
function choice.procedure(options)
  local found = failure.named(repository.procedure, options.procedure)
  local files, path = repository.snapshot(found)
  return { name = found.name, group = found.group, root = found.root, files = files, path = path }
end

--- The environment for a procedure.
--- @param options { env?: string }
--- @param procedure table  as choice.procedure gives it
--- @param verb string
--- @return neap.environment
function choice.environment(options, procedure, verb)
  if not options.env then need_environment(procedure, verb) end
  local found = failure.named(repository.environment, options.env, not options.env:find "/" and procedure.group or nil)
  return environment.load(found.file)
end

--- An environment by its name alone.
--- @param name string
--- @return neap.environment
function choice.named_environment(name)
  return environment.load(failure.named(repository.environment, name).file)
end

--- The arguments given by -p.
--- @return table<string, string>
function choice.arguments(options) return arguments.pairs(options.param) end

--- What the engine needs to plan or start a run.
--- @param options table  of the command line
--- @param verb string
--- @return table request  with environment, procedure, files, arguments
function choice.request(options, verb)
  local found = choice.procedure(options)
  local env = choice.environment(options, found, verb)
  local files = found.files
  for path, bytes in pairs(env.files) do files[path] = bytes end
  return {
    procedure = found.path, name = found.name, files = files, arguments = choice.arguments(options),
    environment = env,
  }
end

--- The environments with a journal that have this name, full or short; all without one.
--- @param name? string
--- @return string[] names
--- @return table<string, string> folders
function choice.journals(name)
  local known, matching = state.known(), {}
  for _, full in ipairs(known) do
    if name == nil or full == name or full:match "[^/]*$" == name then matching[#matching + 1] = full end
  end
  return matching, known
end

local function runs_of(environments, folders, number)
  local history, found = require "neap.cli.history", {}
  for _, name in ipairs(environments) do
    for _, run in ipairs(history.of(name, folders[name])) do
      if run.run == number then found[#found + 1] = run end
    end
  end
  return found
end

--- A run by its number, where only one reachable environment has it; else with --env, or as encode/lab/142.
--- @param text string
--- @param options { env?: string }
--- @return table run  as history gives it
function choice.run(text, options)
  local name, digits = text:match "^(.+)/(%d+)$"
  local number = math.tointeger(tonumber(digits or text))
  if not number then failure.wrong_use(("'%s' is no run: they are numbers"):format(text), "neap runs") end
  local environments, folders = choice.journals(name or options.env)
  local found = runs_of(environments, folders, number)
  if #found == 0 then
    local where = (name or options.env) and " of " .. (name or options.env) or ""
    failure.wrong_use(("no run %d%s"):format(number, where), "neap runs")
  end
  if #found > 1 then
    failure.wrong_use(("%s and %s each have a run %d: add --env"):format(found[1].environment, found[2].environment,
      number), "neap runs")
  end
  return found[1]
end

--- A run that is still open; for one that is closed there is nothing to do.
--- @param text string
--- @param options { env?: string }
--- @return table run
function choice.open_run(text, options)
  local run = choice.run(text, options)
  if run.outcome then
    failure.wrong_use(("run %d is closed: %s"):format(run.run, run.outcome),
      ("neap log %s/%d"):format(run.environment, run.run))
  end
  return run
end

return choice
