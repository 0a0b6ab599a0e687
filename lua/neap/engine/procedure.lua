--- Reads a procedure: its parameters, phases and steps, in order, without running any.
local branches   = require "neap.engine.branch"
local data       = require "neap.engine.data"
local duration   = require "neap.engine.duration"
local fault      = require "native.error"
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
--- @field remarks table[]
--- @field needs table[]
--- @field environment? table  with what the procedure needs resolved

local procedure = {}

local PARTS = {
  step = {
    on = { "table", "function" }, at_a_time = { "number", "string" }, max_failures = { "number" },
    when = { "function" }, run = { "function" }, undo = { "function" }, irreversible = { "string" },
    keep = { "string" }, retry = { "table" }, timeout = { "string", "number" }, hint = { "string" },
    from = { "string" },
  },
  manual = {
    when = { "function" }, text = { "string" }, check = { "function" }, evidence = { "string" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" },
  },
  await = {
    when = { "function" }, check = { "function" }, every = { "string", "number" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" },
  },
  remark = { from = { "string" } },
}
local REQUIRED = { await = "check" }

local function among(value, types)
  for _, wanted in ipairs(types) do
    if type(value) == wanted then return true end
  end
  return false
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
end

--- What is wrong with the parts as a whole, or nil.
local function mistake_in_all(kind, given)
  local required = REQUIRED[kind]
  if required and not given[required] then return " lacks " .. required end
  if kind == "step" and not given.run and not given.undo then return " lacks run" end
  if given.keep and given.irreversible then return " is either keep or irreversible" end
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
    local state = branch.run.state.steps[definition.title]
    if state and state.status == "done" then return data.plain(state.result) end
    if branch.run.planning then
      return branch.run.plan_results[definition.title] or unknown.outcome(definition.number)
    end
    error(("%q has not ended, so it has no result"):format(definition.title), 2)
  end, "a step is not altered")
end

local function current_phase(loading)
  if #loading.phases == 0 then loading.words.phase "" end
  return loading.phases[#loading.phases]
end

local function add(loading, kind, title, given)
  check_parts(kind, title, given, 3)
  if loading.titles[title] then
    error(("two steps are titled %q; a title names its step on resume"):format(title), 2)
  end
  if title:find "/" then
    error(("the title %q has a slash, which separates a step from its branches"):format(title), 2)
  end
  local phase = current_phase(loading)
  local definition = { kind = kind, title = title, phase = phase.title, where = where_declared(),
    disposition = disposition(given), number = ("%d.%d"):format(phase.number, #phase.steps + 1) }
  for part, value in pairs(given) do definition[part] = value end
  loading.titles[title] = definition
  table.insert(phase.steps, definition)
  table.insert(loading.steps, definition)
  return make_handle(definition)
end

local function placeholder(_, name) return ("<%s>"):format(name) end

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
  local env = loading.env()
  local found = {}
  for _, one in ipairs(list) do
    table.insert(loading.needs, one)
    found[one.name] = env[one.name] or env.hosts[one.name]
  end
  local checked = parameters.values(list, found, "value", loading.showing)
  return view(function(_, name)
    local value = checked[name]
    local names_a_host = type(value) == "table" and value.name
    if value ~= nil and not names_a_host then return value end
    return env[name]
  end, "an environment is not altered")
end

--- The words that are said at file level.
local function declaring(loading)
  local declared = {}
  function declared.phase(title)
    table.insert(loading.phases, { title = title, number = #loading.phases + 1, steps = {} })
  end
  for kind in pairs(PARTS) do
    if kind ~= "remark" then
      declared[kind] = function(title)
        return function(given) return add(loading, kind, title, given) end
      end
    end
  end
  function declared.remark(text)
    return function(given)
      check_parts("remark", text, given, 3)
      table.insert(loading.remarks, { text = text, from = given.from, where = where_declared() })
    end
  end
  function declared.parameters(given)
    if loading.parameters then error("parameters are declared once, in one table", 2) end
    return declare_parameters(loading, given)
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

local function run_file(loading, path)
  local chunk, message = load(loading.files[path], "@" .. path, "t", loading.globals)
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

local function make_globals(loading)
  local base = sandbox.base(function() return loading.globals end)
  local declared = declaring(loading)
  loading.words = declared
  local found = {}
  local own = {}
  local meta = { __metatable = false }
  function meta.__index(_, name)
    if own[name] ~= nil then return own[name] end
    if base[name] ~= nil then return base[name] end
    if name == "env" then return loading.env() end
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
  base.require = make_require(loading)
  return setmetatable({}, meta)
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
    phases = {}, steps = {}, titles = {}, remarks = {}, needs = {}, kinds = {},
  }
  function loading.env()
    resolved = resolved or words.resolve(given.environment, loading.arguments or loading.given, loading.showing)
    env = env or words.environment(resolved)
    return env
  end
  loading.globals = make_globals(loading)
  task.with_context({ kinds = loading.kinds }, run_file, loading, given.path)
  if not loading.parameters and not given.showing then parameters.refuse_unknown({}, loading.given) end
  loading.sealed = true
  if not given.showing then loading.env() end
  return {
    name = given.path:match "^procedures/(.*)%.lua$", title = first_comment(given.files[given.path]), path = given.path,
    phases = loading.phases, steps = loading.steps, titled = loading.titles, parameters = loading.parameters or {},
    arguments = loading.arguments or {}, kinds = loading.kinds, remarks = loading.remarks, needs = loading.needs,
    environment = resolved,
  }
end

sandbox.lock_strings()

return procedure
