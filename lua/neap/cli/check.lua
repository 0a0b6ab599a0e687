--- `neap check`: reads every procedure for every environment of its group, without network.
local advice      = require "neap.cli.advice"
local environment = require "neap.environment"
local failure     = require "neap.cli.failure"
local fault       = require "native.error"
local rehearsals  = require "neap.cli.rehearsals"
local repository  = require "neap.repository"
local view        = require "neap.cli.view.check"

local check = {
  summary = "say what is wrong in procedures and environments, without network",
  examples = { "neap check", "neap check encode/release" },
}

local FOUND_PROBLEMS = 9

function check.arguments(parser)
  parser:argument("procedure", "only this one"):args "?"
  parser:option("--format", "text, or github: beside the lines of a pull request"):choices { "text", "github" }
end

--- A failure as `file:line: message`, whether it was raised by the world or is a mistake in the file.
local function problem_of(raised)
  if fault.is(raised) then
    return { where = (raised.where or ""):gsub(":%s*$", ""), message = raised.message, hint = raised.hint }
  end
  local where, message = tostring(raised):match "^([^\n]-:%d+): ([^\n]*)"
  return { where = where or "", message = message or tostring(raised) }
end

local function attempt(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then return result or true end
  return nil, problem_of(result)
end

--- A value that still waits for an argument of the run cannot be judged yet.
local function is_open(value) return type(value) == "string" and value:find("$(", 1, true) ~= nil end

--- Raises for a value that the procedure needs and the environment lacks, or has in another form.
local function check_need(need, env, path)
  local value = env.values[need.name]
  if value == nil then value = env.hosts[need.name] end
  if is_open(value) then return end
  local ok, raised = pcall(require "neap.engine.parameters".values, { need }, { [need.name] = value }, "value")
  if ok then return end
  if not fault.is(raised) then error(raised, 0) end
  fault.raise { kind = "missing", message = raised.message, where = path,
                hint = "say it under the environment's values" }
end

--- Raises for a secret that the code names and the environment lacks.
local function check_secrets(path, text, env)
  local number = 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    for name in line:gsub("%-%-.*$", ""):gmatch "%f[%w_]env%.secrets%.([%a_][%w_]*)" do
      if not env.secrets[name] then
        fault.raise { kind = "missing", where = ("%s:%d"):format(path, number),
          message = ("the environment has no secret '%s'"):format(name),
          hint = "say it under the environment's secrets" }
      end
    end
  end
end

local function check_needs(loaded, env, path, files)
  for _, need in ipairs(loaded.needs) do check_need(need, env, path) end
  for used in pairs(loaded.used) do check_secrets(used, files[used], env) end
end

--- Whoever may look at a login's processes reads its variables.
local function advise_on_environment(env, warn)
  if (env.policy.guard or "none") == "none" then return end
  for name, reference in pairs(env.secrets) do
    if type(reference) == "string" and reference:find "^env:" then
      local origin = env.origins["secrets." .. name]
      warn { rule = "env-secret", where = ("%s:%d"):format(origin.file, origin.line),
        message = ("the secret %s of a guarded environment comes from a variable: %s"):format(name, reference) }
    end
  end
end

--- Parameters that a person would give are stood in for.
local function check_pair(entry, env, warn)
  local files, path = repository.snapshot(entry)
  local loaded, problem = attempt(require "neap.engine.procedure".load, {
    files = files, path = path, environment = env, arguments = {}, showing = true,
  })
  if problem then return problem end
  for _, warning in ipairs(advice.on(loaded, files)) do warn(warning) end
  return select(2, attempt(check_needs, loaded, env, path, files))
end

--- An environment, with the environments that its policy names.
local function load_environment(file)
  local env = environment.load(file)
  local ok, raised = pcall(rehearsals.places, env)
  if ok then return env end
  local origin = fault.is(raised) and env.origins["policy.rehearsed.in"]
  if origin then raised.where = ("%s:%d"):format(origin.file, origin.line) end
  error(raised, 0)
end

local function environments_of(group, problems)
  local loaded = {}
  for _, entry in ipairs(repository.environments()) do
    if entry.group == group then
      local env, problem = attempt(load_environment, entry.file)
      loaded[#loaded + 1] = { name = entry.name, env = env }
      if problem then
        problem.blocks = entry.name
        problems[#problems + 1] = problem
      end
    end
  end
  return loaded
end

--- The same mistake shows in every environment; it is named once.
local function add_problem(problems, seen, problem, pair)
  local key = problem.where .. "\0" .. problem.message
  if not seen[key] then
    seen[key] = problem
    problem.pairs = {}
    problems[#problems + 1] = problem
  end
  table.insert(seen[key].pairs, pair)
end

--- A library's places show in every procedure that loads it.
local function add_warning(warnings, seen, warning)
  local key = warning.where .. "\0" .. warning.message
  if seen[key] then return end
  seen[key] = true
  warnings[#warnings + 1] = warning
end

local function by_place(a, b)
  if a.where ~= b.where then return a.where < b.where end
  return a.message < b.message
end

local function model(entries)
  local problems, seen, good, all, by_group = {}, {}, 0, 0, {}
  local warnings, warned = {}, {}
  local function warn(warning) add_warning(warnings, warned, warning) end
  for _, entry in ipairs(entries) do
    by_group[entry.group] = by_group[entry.group] or environments_of(entry.group, problems)
    for _, place in ipairs(by_group[entry.group]) do
      all = all + 1
      if place.env then advise_on_environment(place.env, warn) end
      local problem = place.env and check_pair(entry, place.env, warn)
      if problem then add_problem(problems, seen, problem, { procedure = entry.name, environment = place.name }) end
      if place.env and not problem then good = good + 1 end
    end
  end
  table.sort(warnings, by_place)
  return { procedures = #entries, pairs = all, good = good, problems = problems, warnings = warnings }
end

local function without_environment(entries)
  local names, has = {}, {}
  for _, entry in ipairs(repository.environments()) do has[entry.group] = true end
  for _, entry in ipairs(entries) do
    if not has[entry.group] then names[#names + 1] = entry.name end
  end
  return names
end

function check.run(options)
  local console = options.console
  local entries = options.procedure and { failure.named(repository.procedure, options.procedure) }
    or repository.procedures()
  local found = model(entries)
  found.without_environment = without_environment(entries)
  local show = options.format == "github" and view.github or view.text
  if console.json then console:answer_json(found) else console:answer(show(found, console.out)) end
  return #found.problems > 0 and FOUND_PROBLEMS or 0
end

return check
