--- Reads a procedure: its parameters, phases and steps, in order, without running any.
local branches   = require "neap.engine.branch"
local data       = require "neap.engine.data"
local duration   = require "neap.engine.duration"
local fault      = require "native.error"
local guides     = require "neap.engine.guide"
local near       = require "neap.near"
local parameters = require "neap.engine.parameters"
local sandbox    = require "neap.engine.sandbox"
local task       = require "native.task"
local unknown    = require "neap.engine.unknown"
local words      = require "neap.words"

--- @class neap.source
--- @field files table<string, string>
--- @field path string  "procedures/GROUP/NAME.lua"
--- @field arguments? table<string, any>
--- @field environment? table  as environment.load gives it, or a run's frozen one
--- @field showing? boolean  to show the procedure without running it: a missing parameter is a placeholder

--- @class neap.procedure
--- @field name string
--- @field title string  its first comment
--- @field path string
--- @field phases table[]
--- @field steps table[]
--- @field parameters table[]
--- @field arguments table
--- @field kinds table  what it and its libraries declare
--- @field used table<string, true>  the files that were loaded
--- @field remarks table[]
--- @field guides neap.guide[]  what it was written from, and those of the procedures it includes
--- @field needs table[]
--- @field globals table  what its steps see
--- @field environment? table  with what the procedure needs resolved

local procedure = {}

local PARTS = {
  step = {
    on = { "table", "function" }, at_a_time = { "number", "string" }, max_failures = { "number" },
    when = { "function" }, run = { "function" }, undo = { "function" }, irreversible = { "string" },
    keep = { "string" }, retry = { "table" }, timeout = { "string", "number" }, check = { "function" },
    hint = { "string" }, from = { "string" },
  },
  manual = {
    when = { "function" }, text = { "string", "function" }, check = { "function" }, evidence = { "string" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" },
  },
  await = {
    when = { "function" }, check = { "function" }, every = { "string", "number" }, retry = { "table" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" },
  },
  remark = { from = { "string" } },
  phase = { when = { "function" } },
}
local REQUIRED = { await = "check" }

--- The parts that each kind of step may have, with their types.
--- @return table<string, table<string, string[]>>
function procedure.parts() return PARTS end

local function among(value, types)
  for _, wanted in ipairs(types) do
    if type(value) == wanted then return true end
  end
  return false
end

local RETRY = { times = true, every = true }

local function mistake_in_retry(retry)
  for key in pairs(retry) do
    if not RETRY[key] then return (": retry has no key named %q%s"):format(tostring(key), near.hint(key, RETRY)) end
  end
  if math.type(retry.times) ~= "integer" or retry.times < 1 then
    return ": retry takes how many times it is tried again, and how long after, as in { times = 3, every = \"10s\" }"
  end
  if retry.every ~= nil and not duration.seconds(retry.every) then
    return (": every is %q, which is no duration like \"30s\" or \"1h30m\""):format(tostring(retry.every))
  end
end

local function mistake_in_width(at_a_time)
  local share = type(at_a_time) == "string" and tonumber(at_a_time:match "^(%d+)%%$")
  if share and share >= 1 and share <= 100 then return end
  if math.type(at_a_time) == "integer" and at_a_time >= 1 then return end
  return (": at_a_time is %q, expected a number or a share like \"25%%\""):format(tostring(at_a_time))
end

--- What is wrong with one part, or nil.
local function mistake_in(kind, part, value)
  local wanted = PARTS[kind][part]
  if not wanted then return (" has no part named %q%s"):format(tostring(part), near.hint(part, PARTS[kind])) end
  if not among(value, wanted) then
    return (": %s is a %s, expected a %s"):format(part, type(value), table.concat(wanted, " or "))
  end
  if (part == "timeout" or part == "every") and not duration.seconds(value) then
    return (": %s is %q, which is no duration like \"30s\" or \"1h30m\""):format(part, value)
  end
  if part == "retry" then return mistake_in_retry(value) end
  if part == "from" then
    local _, mistake = guides.ranges(value)
    return mistake and ": " .. mistake
  end
  if part == "at_a_time" then return mistake_in_width(value) end
end

--- What is wrong with the parts as a whole, or nil.
local function mistake_in_all(kind, given)
  local required = REQUIRED[kind]
  if required and not given[required] then return " lacks " .. required end
  if kind == "step" and not given.run and not given.undo then return " lacks run" end
  if given.keep and given.irreversible then return " is either keep or irreversible" end
  if (given.at_a_time or given.max_failures) and not given.on then
    return " says how many at a time, or may fail, of what? It lacks on"
  end
end

--- Raises at the procedure's own line when a part is unknown, of the wrong type, or missing.
local function check_parts(kind, title, given, level)
  if type(title) ~= "string" or title == "" then error(kind .. " takes a title", level) end
  if type(given) ~= "table" then error(("%s %q takes a table of parts"):format(kind, title), level) end
  local mistake
  for part, value in pairs(given) do mistake = mistake or mistake_in(kind, part, value) end
  mistake = mistake or mistake_in_all(kind, given)
  if mistake then error(("%s %q%s"):format(kind, title, mistake), level) end
end

--- A step is attempted only where its phase is.
local function both(first, second)
  if not first or not second then return first or second end
  return function() return first() and second() end
end

--- What a rollback does with a step: "own" (its undo), "keep", "irreversible", or "effects" (theirs).
local function disposition(given)
  return given.undo and "own" or given.keep and "keep" or given.irreversible and "irreversible" or "effects"
end

local function where_declared()
  local frame = debug.getinfo(3, "Sl")
  return ("%s:%d"):format(frame.short_src, frame.currentline)
end

--- A table that is read through a function and cannot be written.
local function view(index, mistake)
  local function refuse() error(mistake, 2) end
  return setmetatable({}, { __index = index, __newindex = refuse, __metatable = false })
end

--- What a step's declaration returns; handle.result is what its run returned, once it has ended.
local function make_handle(definition)
  return view(function(_, key)
    if key ~= "result" then error(("a step has no %q; its result is .result"):format(tostring(key)), 2) end
    local branch = branches.current()
    if not branch then error(("%q has no result yet: use it inside a later step"):format(definition.title), 2) end
    local state = branch.run.state:step(definition.title)
    if state and state.status == "done" then
      if state.skipped then return nil end
      return data.plain(state.result)
    end
    if branch.run.planning then
      local planned = branch.run.plan_results[definition.title]
      return not planned and unknown.outcome(definition.number) or planned and planned[1]
    end
    local what = state and state.status == "skipped" and "was skipped" or "has not ended"
    error(("%q %s, so it has no result"):format(definition.title, what), 2)
  end, "a step is not altered")
end

local function current_phase(loading)
  if #loading.phases == 0 then loading.words.phase "" end
  return loading.phases[#loading.phases]
end

local function add(loading, kind, title, given)
  check_parts(kind, title, given, 3)
  local where = where_declared()
  if loading.titles[title] then
    error(("two steps are titled %q: here, and at %s; a title names its step on resume"):format(title,
      loading.titles[title].where), 2)
  end
  if title:find "/" then
    error(("the title %q has a slash, which separates a step from its branches"):format(title), 2)
  end
  if title == "repl" then error("the title \"repl\" is that of the lines typed at a failure", 2) end
  local phase = current_phase(loading)
  local frame = debug.getinfo(2, "Sl")
  local definition = { kind = kind, title = title, phase = phase.title, where = where,
    file = frame.source:sub(2), line = frame.currentline, guide = loading.guide,
    disposition = disposition(given), number = ("%d.%d"):format(phase.number, #phase.steps + 1) }
  for part, value in pairs(given) do definition[part] = value end
  definition.when = both(phase.when, given.when)
  loading.titles[title] = definition
  table.insert(phase.steps, definition)
  table.insert(loading.steps, definition)
  return make_handle(definition)
end

local function placeholder(_, name) return ("<%s>"):format(name) end

--- What an included procedure's `parameters { … }` returns: the arguments of the one that includes it.
local function included_parameters(loading, given)
  local list = parameters.declarations(given)
  local values = parameters.values(list, loading.arguments or {}, "parameter", loading.showing)
  return sandbox.frozen(loading.showing and setmetatable(values, { __index = placeholder }) or values)
end

--- What `parameters { … }` returns; shown without a run, a value that is missing reads as its name.
local function declare_parameters(loading, given)
  loading.parameters = parameters.declarations(given)
  if not loading.showing then parameters.refuse_unknown(loading.parameters, loading.given) end
  local values = parameters.values(loading.parameters, loading.given, "parameter", loading.showing)
  loading.arguments = loading.showing and setmetatable(values, { __index = placeholder }) or values
  return sandbox.frozen(loading.arguments)
end

--- What `needs { … }` returns: env, but with the needed values checked and of their types.
local function declare_needs(loading, given)
  local list = parameters.declarations(given)
  local env, raw = loading.env()
  local found = {}
  for _, one in ipairs(list) do
    table.insert(loading.needs, one)
    found[one.name] = rawget(raw, one.name) -- not a placeholder, where there is no environment
    if found[one.name] == nil then found[one.name] = rawget(raw.hosts, one.name) end
  end
  local checked = sandbox.frozen(parameters.values(list, found, "value", loading.showing))
  return view(function(_, name)
    local value = checked[name]
    local names_a_host = type(value) == "table" and value.name
    if value ~= nil and not names_a_host then return value end
    return env[name]
  end, "an environment is not altered")
end

--- Which guide the steps below were written from; those of another one that is included name theirs.
local function declare_guide(loading, title, given)
  if type(title) ~= "string" or title == "" then error("guide takes a title", 2) end
  if type(given) ~= "table" then error(("guide %q takes a table of parts"):format(title), 2) end
  local mistake = guides.mistake(given)
  if mistake then error(("guide %q%s"):format(title, mistake), 2) end
  loading.guide = { title = title, sha256 = given.sha256, file = given.file, from = given.from }
  table.insert(loading.guides, loading.guide)
end

--- The words that are said at file level; `included` is the path of a procedure that another one includes.
local function declaring(loading, included)
  local declared = {}
  function declared.phase(title)
    local phase = { title = title, number = #loading.phases + 1, steps = {} }
    table.insert(loading.phases, phase)
    return function(given)
      check_parts("phase", title, given, 3)
      phase.when = given.when
    end
  end
  for kind in pairs(PARTS) do
    if not declared[kind] and kind ~= "remark" then
      declared[kind] = function(title)
        return function(given) return add(loading, kind, title, given) end
      end
    end
  end
  function declared.remark(text)
    return function(given)
      check_parts("remark", text, given, 3)
      table.insert(loading.remarks, { text = text, from = given.from, where = where_declared(), guide = loading.guide })
    end
  end
  function declared.guide(title)
    return function(given) return declare_guide(loading, title, given) end
  end
  local has_parameters
  function declared.parameters(given)
    if has_parameters then error("parameters are declared once, in one table", 2) end
    has_parameters = true
    return (included and included_parameters or declare_parameters)(loading, given)
  end
  function declared.needs(given) return declare_needs(loading, given) end
  return declared
end

local function find_module(loading, name)
  if type(name) ~= "string" or not name:find "^[%w_]+[%w_.%-]*$" or name:find("..", 1, true) then
    error(("require takes a name like \"encode.lib\", not %q"):format(tostring(name)), 3)
  end
  local path = "procedures/" .. name:gsub("%.", "/") .. ".lua"
  if not loading.files[path] then error(("no library %s: there is no %s in the repository"):format(name, path), 3) end
  return path
end

local function run_file(loading, path, globals)
  loading.used[path] = true
  local chunk, message = load(loading.files[path], "@" .. path, "t", globals or loading.globals)
  if not chunk then fault.raise { kind = "conflict", code = "syntax", message = message, where = "" } end
  return chunk()
end

--- `require "encode.lib"` is procedures/encode/lib.lua of the snapshot; nothing else can be reached.
local function make_require(loading)
  local loaded, unfinished = {}, {}
  return function(name)
    local path = find_module(loading, name)
    if loaded[path] == unfinished then error(("%s requires itself in a circle"):format(name), 2) end
    if loaded[path] == nil then
      loaded[path] = unfinished
      local result = run_file(loading, path)
      loaded[path] = result == nil and true or result
    end
    return loaded[path]
  end
end

local make_globals

local function find_procedure(loading, name)
  local path = type(name) == "string" and name:find "^[%w_-]+/[%w_-]+$" and "procedures/" .. name .. ".lua"
  if not path then error(("include takes a procedure like \"rdw/quiesce\", not %q"):format(tostring(name)), 3) end
  if not loading.files[path] then error(("no procedure %s: there is no %s in the repository"):format(name, path), 3) end
  local before = loading.included[path]
  if before then error(("%s is included twice: here, and at %s"):format(name, before), 3) end
  return path
end

--- The steps of another procedure stand where it is included, in its own phases; its globals are its own, and what the
--- file returns is returned.
local function include(loading, name)
  local path = find_procedure(loading, name)
  loading.included[path] = where_declared()
  local own = loading.guide
  local result = run_file(loading, path, make_globals(loading, path))
  loading.guide = own
  return result
end

--- The globals of the procedure and its libraries, or of a procedure that it includes.
function make_globals(loading, included)
  local globals
  local base = sandbox.base(function() return globals end)
  local declared = declaring(loading, included)
  loading.words = loading.words or declared
  function declared.include(name) return include(loading, name) end
  local found = {}
  local own = {}
  local meta = { __metatable = false }
  function meta.__index(_, name)
    if own[name] ~= nil then return own[name] end
    if base[name] ~= nil then return base[name] end
    if name == "env" then return (loading.env()) end
    if declared[name] and not loading.sealed then return declared[name] end
    if declared[name] then error(("%s is said at file level, not inside a step"):format(name), 2) end
    if found[name] == nil then found[name] = words.find(name, sandbox.frozen) end
    return found[name]
  end
  function meta.__newindex(_, name, value)
    if loading.sealed then
      error(("the global %q cannot be set after loading: what a step finds out goes into its result")
        :format(tostring(name)), 2)
    end
    own[name] = value
  end
  base.require = loading.require
  globals = setmetatable({}, meta)
  return globals
end

local function first_comment(text)
  return text:match "^%-%-+%s*([^\n]*)" or ""
end

--- Reads a procedure out of a snapshot's files.
--- @param given neap.source
--- @return neap.procedure
function procedure.load(given)
  if not given.files[given.path] then fault.raise { kind = "missing", message = "there is no " .. given.path } end
  local env, resolved
  local loading = {
    files = given.files, given = given.arguments or {}, showing = given.showing,
    phases = {}, steps = {}, titles = {}, remarks = {}, guides = {}, needs = {}, kinds = {}, used = {},
    included = { [given.path] = given.path .. ":1" },
  }
  local raw
  function loading.env()
    resolved = resolved or words.resolve(given.environment, loading.arguments or loading.given, loading.showing)
    if not env then env, raw = words.environment(resolved) end
    return env, raw
  end
  loading.require = make_require(loading)
  loading.globals = make_globals(loading)
  task.with_context({ kinds = loading.kinds }, sandbox.bounded, run_file, loading, given.path)
  if not loading.parameters and not given.showing then parameters.refuse_unknown({}, loading.given) end
  loading.sealed = true
  if not given.showing then loading.env() end
  return {
    name = given.path:match "^procedures/(.*)%.lua$", title = first_comment(given.files[given.path]), path = given.path,
    phases = loading.phases, steps = loading.steps, titled = loading.titles, parameters = loading.parameters or {},
    arguments = loading.arguments or {}, kinds = loading.kinds, remarks = loading.remarks, needs = loading.needs,
    guides = loading.guides,
    used = loading.used, globals = loading.globals,
    environment = resolved,
  }
end

sandbox.lock_strings()

return procedure
