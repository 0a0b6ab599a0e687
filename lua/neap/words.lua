--- The names a procedure sees beside Lua's own, and nothing else it sees. Those of targets are loaded at first use.
local sandbox = require "neap.engine.sandbox"
local task    = require "native.task"

local words = {}

--- Word to module, or to a function of a module.
local MODULES = {
  effect = "neap.engine.effect", file = "neap.targets.file", nginx = "neap.targets.nginx",
  postgres = "neap.targets.postgres", service = "neap.targets.service", host = "neap.targets.host",
  witness = "neap.targets.witness", git = "neap.targets.git", sql = "neap.targets.sql",
  json = "neap.targets.json", template = "neap.targets.template", yaml = "neap.targets.yaml",
  http = "neap.targets.http", aws = "neap.targets.aws", dns = "neap.targets.dns", mail = "neap.targets.mail",
  k8s = "neap.targets.k8s", s3 = "neap.targets.s3", iam = "neap.targets.aws.iam", route53 = "neap.targets.aws.route53",
  sns = "neap.targets.aws.sns", cloudformation = "neap.targets.aws.cloudformation",
  events = "neap.targets.aws.events", elb = "neap.targets.aws.elb", ec2 = "neap.targets.aws.ec2",
  rds = "neap.targets.aws.rds", dynamodb = "neap.targets.aws.dynamodb",
  redshift = "neap.targets.aws.redshift", crontab = "neap.targets.crontab",
}
local FUNCTIONS = {
  with_reload = { "neap.targets.service", "with_reload" }, with_restart = { "neap.targets.service", "with_restart" },
  parallel = { "neap.engine.together", "parallel" }, each = { "neap.engine.together", "each" },
  now = { "neap.engine.together", "now" }, random = { "neap.engine.together", "random" },
  fail = { "neap.engine.together", "fail" },
}

--- Words that fakes add, for tests of procedures; empty in a run.
words.fakes = {}

--- Of these only what authors need, not what the engine and other targets take from them. effect: declarations and
--- changes. host, for own kinds of change: the host of a name (of), commands and files of it (exec, files; they change
--- nothing outside a kind's put, run and undo), as whom (become); and how to know one that is new (trust). witness: the
--- parts of a kind whose changes are commands.
local OFFERED = {
  effect = { "read", "resource", "action", "change", "perform", "bracket", "planning" },
  host = { "of", "exec", "files", "become", "trust" },
  witness = { "run", "take", "prepare", "release" },
}

local function offered(name, module)
  if not OFFERED[name] then return module end
  local view = {}
  for _, key in ipairs(OFFERED[name]) do view[key] = module[key] end
  return view
end

--- Loads what lies behind every word, and so declares all of neap's kinds of change.
function words.load()
  for _, module in pairs(MODULES) do task.with_context(nil, require, module) end
end

--- The value of a word, or nil where there is none. freeze(table) makes a module unalterable for the procedure.
--- @param name string
--- @param freeze fun(module: table, name?: string): table
--- @return any
function words.find(name, freeze)
  if words.fakes[name] ~= nil then return words.fakes[name] end
  if MODULES[name] then
    -- neap's own declarations are neap's, also when a procedure is the first to need them
    return freeze(offered(name, task.with_context(nil, require, MODULES[name])), name)
  end
  local place = FUNCTIONS[name]
  return place and task.with_context(nil, require, place[1])[place[2]] or nil
end

--- An environment with its references resolved, now that the arguments are known. A run's frozen one is so already.
--- @param environment table?   of environment.load, or the data of a run; nil only while showing
--- @param arguments table
--- @param showing? boolean  a procedure is shown, so arguments may be missing
--- @return table
function words.resolve(environment, arguments, showing)
  if not environment then return { name = "<environment>", placeholders = true } end
  if not environment.tree or showing then return environment end
  return require("neap.environment").resolve(environment, arguments)
end

--- Who asks for a host or database that is not there means another one: with nil a step would run for nobody.
local function frozen(view)
  local shown = setmetatable({}, getmetatable(view))
  for name, value in pairs(view) do shown[name] = value end
  for _, what in ipairs { "hosts", "databases" } do
    shown[what] = sandbox.frozen(view[what], ("env.%s of %s"):format(what, view.name))
  end
  return sandbox.frozen(shown)
end

--- A procedure that is shown for no environment: each group is empty, each value stands for itself.
local function add_placeholders(view)
  setmetatable(view.hosts, { __index = function() return {} end })
  setmetatable(view.databases, { __index = function(_, name) return ("<%s>"):format(tostring(name)) end })
  setmetatable(view.repositories, { __index = function(_, name) return { git = "/<" .. tostring(name) .. ">" } end })
  setmetatable(view, { __index = function(_, name) return ("<%s>"):format(tostring(name)) end })
end

--- A value that could not be read where it is deployed is missed by who asks for it.
local function hide_unread(view, unread)
  if not unread then return end
  for name in pairs(unread) do view[name] = nil end
  setmetatable(view, { __index = function(_, name)
    if not unread[name] then return nil end
    require("native.error").raise { kind = "missing", message = ("the value '%s': %s"):format(name, unread[name]) }
  end })
end

--- What a procedure sees as env: hosts and databases as objects, repositories by name, each value under its own name.
--- @param resolved table   an environment whose references are resolved
--- @return table frozen
--- @return table view  the same, before it was frozen
function words.environment(resolved)
  local view = { name = resolved.name, databases = {}, hosts = {}, repositories = resolved.repositories or {} }
  for name, entry in pairs(resolved.hosts or {}) do
    view.hosts[name] = task.with_context(nil, require, "neap.targets.host").object(entry)
  end
  for name, entry in pairs(resolved.databases or {}) do
    task.with_context(nil, require, "neap.targets.sql") -- brings the methods
    view.databases[name] = require("neap.targets.database").object(entry)
  end
  for name, value in pairs(resolved.values or {}) do
    if view[name] == nil then view[name] = value end
  end
  hide_unread(view, resolved.unread)
  view.secrets = require("neap.secrets").view(resolved.secrets or {})
  if resolved.placeholders then add_placeholders(view) end
  return frozen(view), view
end

--- Has the secrets that a run can have without asking, and those it used before, looked for in all that it reads.
--- @param run table  the session
--- @param records? table[]  of a run that is taken up again
function words.begin_secrets(run, records) require("neap.secrets").begin(run, records or {}) end

--- The secret that a reference of the environment stands for, for a target that has to show it to a server.
--- @param run table  the session
--- @param reference string
--- @return native.secret.value
function words.secret(run, reference) return require("neap.secrets").of_run(run, reference) end

--- Gives the secrets in plain data, of which the journal knows only where they come from, their values.
--- @param run table  the session
--- @param value any
function words.complete_secrets(run, value) require("neap.secrets").complete(run, value) end

--- The keys of an environment's list of who is told, beside those of programs.
--- @return table<string, boolean>
function words.notice_keys() return require("neap.notices").keys() end

--- What is wrong with an entry of that list, or nil.
--- @param entry table
--- @return string?
function words.notice_mistake(entry) return require("neap.notices").mistake(entry) end

--- Whether an entry has something to say of an event.
--- @param entry table
--- @param event string
--- @return boolean
function words.notice_wants(entry, event) return require("neap.notices").wants(entry, event) end

--- Who is told by an entry.
--- @param entry table
--- @return string
function words.notice_name(entry) return require("neap.notices").name(entry) end

--- Tells of an event; raises what came of it.
--- @param run table  the session
--- @param entry table
--- @param event table
function words.notice(run, entry, event) require("neap.notices").tell(run, entry, event) end

--- Where a word is made: a module, or a function of one; nil where there is no such word.
--- @param name string
--- @return { module: string, key: string? }?
function words.place(name)
  if MODULES[name] then return { module = MODULES[name] } end
  local place = FUNCTIONS[name]
  return place and { module = place[1], key = place[2] } or nil
end

--- All words, sorted, for messages and completion.
--- @return string[]
function words.names()
  local names = {}
  for name in pairs(MODULES) do names[#names + 1] = name end
  for name in pairs(FUNCTIONS) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return words
