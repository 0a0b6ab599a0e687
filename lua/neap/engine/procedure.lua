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

local procedure = {}

local PARTS = {
  step = { on = { "table", "function" }, at_a_time = { "number", "string" }, max_failures = { "number" },
    when = { "function" }, run = { "function" }, undo = { "function" }, irreversible = { "string" }, keep = { "string" },
    retry = { "table" }, timeout = { "string", "number" }, hint = { "string" }, from = { "string" } },
  manual = { when = { "function" }, text = { "string" }, check = { "function" }, evidence = { "string" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" } },
  await = { when = { "function" }, check = { "function" }, every = { "string", "number" },
    timeout = { "string", "number" }, hint = { "string" }, from = { "string" } },
  remark = { from = { "string" } },
}
local REQUIRED = { await = "check" }

local function among(value, types)
  for _, wanted in ipairs(types) do
    if type(value) == wanted then return true end
  end
  return false
end

--- Raises at the procedure's own line when a part is unknown, of the wrong type, or missing.
local function check_parts(kind, title, given, level)
  if type(title) ~= "string" or title == "" then error(kind .. " takes a title", level) end
  if type(given) ~= "table" then error(("%s %q takes a table of parts"):format(kind, title), level) end
  for part, value in pairs(given) do
    local wanted = PARTS[kind][part]
    if not wanted then
      error(("%s %q has no part named %q%s"):format(kind, title, tostring(part), near.hint(part, PARTS[kind])), level)
    elseif not among(value, wanted) then
      error(("%s %q: %s is a %s, expected a %s"):format(kind, title, part, type(value), table.concat(wanted, " or ")), level)
    end
    if (part == "timeout" or part == "every") and not duration.seconds(value) then
      error(("%s %q: %s is %q, which is no duration like \"30s\" or \"1h30m\""):format(kind, title, part, value), level)
    end
  end
  if REQUIRED[kind] and not given[REQUIRED[kind]] then error(("%s %q lacks %s"):format(kind, title, REQUIRED[kind]), level) end
  if kind == "step" and not given.run and not given.undo then error(("step %q lacks run"):format(title), level) end
  if given.keep and given.irreversible then error(("step %q is either keep or irreversible"):format(title), level) end
end

--- What a rollback does with a step: "own" (its undo), "keep", "irreversible", or "effects" (theirs).
local function disposition(given)
  return given.undo and "own" or given.keep and "keep" or given.irreversible and "irreversible" or "effects"
end

local function where_declared()
  local frame = debug.getinfo(3, "Sl")
  return ("%s:%d"):format(frame.short_src, frame.currentline)
end

--- What a step's declaration returns; handle.result is what its run returned, once it has ended.
local function make_handle(definition)
  local function index(_, key)
    if key ~= "result" then error(("a step has no %q; its result is .result"):format(tostring(key)), 2) end
    local branch = branches.current()
    if not branch then error(("%q has no result yet: use it inside a later step"):format(definition.title), 2) end
    local state = branch.run.state.steps[definition.title]
    if state and state.status == "done" then return data.plain(state.result) end
    if branch.run.planning then return branch.run.plan_results[definition.title] or unknown.outcome(definition.number) end
    error(("%q has not ended, so it has no result"):format(definition.title), 2)
  end
  return setmetatable({}, { __index = index, __newindex = function() error("a step is not altered", 2) end, __metatable = false })
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
  if title:find "/" then error(("the title %q has a slash, which separates a step from its branches"):format(title), 2) end
  loading.titles[title] = true
  local phase = current_phase(loading)
  local definition = { kind = kind, title = title, phase = phase.title, where = where_declared(),
    disposition = disposition(given), number = ("%d.%d"):format(phase.number, #phase.steps + 1) }
  for part, value in pairs(given) do definition[part] = value end
  table.insert(phase.steps, definition)
  table.insert(loading.steps, definition)
  return make_handle(definition)
end

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
    loading.parameters = parameters.declarations(given)
    if not loading.showing then parameters.refuse_unknown(loading.parameters, loading.given) end
    loading.arguments = parameters.values(loading.parameters, loading.given, "parameter", loading.showing)
    return sandbox.frozen(loading.showing and setmetatable(loading.arguments, { __index = function(_, name)
      return ("<%s>"):format(name)
    end }) or loading.arguments)
  end
  function declared.needs(given)
    local list = parameters.declarations(given)
    for _, one in ipairs(list) do table.insert(loading.needs, one) end
    local env = loading.env()
    local found = {}
    for _, one in ipairs(list) do found[one.name] = env[one.name] or env.hosts[one.name] end
    local checked = parameters.values(list, found, "value", loading.showing)
    return setmetatable({}, { __index = function(_, name)
      if checked[name] ~= nil and not (type(checked[name]) == "table" and checked[name].name) then return checked[name] end
      return env[name]
    end, __newindex = function() error("an environment is not altered", 2) end, __metatable = false })
  end
  return declared
end

local function find_module(loading, name)
  if type(name) ~= "string" or not name:find "^[%w_]+[%w_.%-]*$" or name:find("..", 1, true) then
    error(("require takes a name like \"encode.lib\", not %q"):format(tostring(name)), 3)
  end
  local path = "procedures/" .. name:gsub("%.", "/") .. ".lua"
  return loading.files[path] and path or error(("no library %s: there is no %s in the repository"):format(name, path), 3)
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
      error(("the global %q cannot be set after loading: what a step finds out goes into its result"):format(tostring(name)), 2)
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
--- @param given { files: table<string, string>, path: string, arguments: table<string, any>, environment?: table, showing?: boolean }
---   path is "procedures/GROUP/NAME.lua"; environment is as environment.load gives it, or a run's frozen one; with showing
---   a missing parameter is a placeholder, for showing the procedure without running it
--- @return { name: string, title: string, phases: table[], steps: table[], parameters: table[], arguments: table, kinds: table, remarks: table[], needs: table[], environment: table? }
function procedure.load(given)
  if not given.files[given.path] then fault.raise { kind = "missing", message = "there is no " .. given.path } end
  local env, resolved
  local loading = { files = given.files, given = given.arguments or {}, showing = given.showing, phases = {}, steps = {},
    titles = {}, remarks = {}, needs = {}, kinds = {} }
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
    phases = loading.phases, steps = loading.steps, parameters = loading.parameters or {},
    arguments = loading.arguments or {}, kinds = loading.kinds, remarks = loading.remarks, needs = loading.needs,
    environment = resolved,
  }
end

sandbox.lock_strings()

return procedure
