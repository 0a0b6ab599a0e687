--- The code that lines see: of a procedure, or of the environment's group, as its files are now.
local arguments  = require "neap.cli.arguments"
local choice     = require "neap.cli.choice"
local fault      = require "native.error"
local procedure  = require "neap.engine.procedure"
local repository = require "neap.repository"

local code = {}

--- A name that no file of a repository has, for its names do not begin with a dot.
local LINES = "procedures/%s/.lines.lua"

--- Names by which `require` knows the libraries among the files: they may declare kinds of change.
local function libraries(files, group)
  local names = {}
  for path in pairs(files) do
    local name = path:match "^procedures/(.*)%.lua$"
    if name and (name:find "^lib/" or name == group .. "/lib") then names[#names + 1] = (name:gsub("/", ".")) end
  end
  table.sort(names)
  return names
end

--- What stands in place of a procedure: the arguments that were given, and the libraries.
local function text_of_lines(given, names)
  local text, declared = { "-- Lines typed at `neap repl`." }, {}
  for name in pairs(given) do declared[#declared + 1] = name .. ' = "text"' end
  table.sort(declared)
  if declared[1] then text[#text + 1] = ("parameters { %s }"):format(table.concat(declared, ", ")) end
  for _, name in ipairs(names) do text[#text + 1] = ("require %q"):format(name) end
  return table.concat(text, "\n") .. "\n"
end

--- For no environment: what is wrong with that is not a library's mistake.
local function loads(path, files)
  return pcall(procedure.load, { files = files, path = path, showing = true })
end

--- The libraries that can be loaded, each of them alone where not all can; and what is wrong with the others.
local function loadable(path, files, names)
  local good, mistakes = {}, {}
  for _, name in ipairs(names) do
    files[path] = text_of_lines({}, { name })
    local ok, failure = loads(path, files)
    if ok then good[#good + 1] = name else mistakes[#mistakes + 1] = ("%s: %s"):format(name, tostring(failure)) end
  end
  return good, mistakes
end

local function of_group(env, given)
  local path = LINES:format(env.group)
  local files = repository.snapshot { root = env.root, group = env.group, file = env.root .. "/" .. path }
  local names, mistakes = libraries(files, env.group), {}
  files[path] = text_of_lines({}, names)
  if #names > 0 and not loads(path, files) then names, mistakes = loadable(path, files, names) end
  files[path] = text_of_lines(given, names)
  return files, path, mistakes
end

--- @class neap.repl.code
--- @field environment neap.environment
--- @field procedure string  its path in files
--- @field name? string  of the procedure; nil: lines alone
--- @field files table<string, string>
--- @field arguments table<string, string>
--- @field mistakes string[]  libraries that could not be loaded

--- The code as it lies there now.
--- @param options { env: string, procedure?: string, param?: string[] }
--- @return neap.repl.code
function code.read(options)
  local given = arguments.pairs(options.param)
  local found = options.procedure and choice.procedure(options)
  local env = found and choice.environment(options, found, "repl") or choice.named_environment(options.env)
  local read = { environment = env, arguments = given, mistakes = {} }
  if found then
    read.files, read.procedure, read.name = found.files, found.path, found.name
  else
    read.files, read.procedure, read.mistakes = of_group(env, given)
  end
  for path, bytes in pairs(env.files) do read.files[path] = bytes end
  return read
end

--- Adds to what was raised how a value is given that the environment refers to.
--- @param raised any
--- @return any raised
function code.explain(raised)
  local name = fault.is(raised) and not raised.hint and raised.message:match "^%$%(([%w_.]+)%) is neither a value"
  if name then raised.hint = ("add  -p %s=VALUE, or name a procedure that has this parameter"):format(name) end
  return raised
end

--- Gives a session that only reads the code as it is now. Raises where that does not load; the session then has what it
--- had.
--- @param session table
--- @param read neap.repl.code
function code.take(session, read)
  local loaded = procedure.load { files = read.files, path = read.procedure, arguments = read.arguments,
    environment = read.environment }
  session.files, session.path, session.procedure, session.kinds = read.files, read.procedure, loaded, loaded.kinds
  session.environment = loaded.environment
end

--- Whether a file of the environment is among the paths: hosts may lie elsewhere then.
--- @param read neap.repl.code
--- @param paths string[]
--- @return boolean
function code.has_environment(read, paths)
  for _, path in ipairs(paths) do
    if read.environment.files[path] then return true end
  end
  return false
end

return code
