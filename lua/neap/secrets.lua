--- Where secrets come from: references as environments have them, and the values that they stand for.
local fault   = require "native.error"
local near    = require "neap.near"
local process = require "native.process"
local secret  = require "native.secret"

local secrets = {}

local HOW = "env:NAME, file:PATH[#key.path], cmd:PROGRAM ARGUMENT…[#key.path], vault:PATH#key, ssm:NAME[#key.path], "
  .. "aws-sm:NAME[#key.path], k8s:CLUSTER/NAMESPACE/NAME#KEY, ask:PROMPT"

--- What a program that prints a secret gets of our environment.
local INHERITED = { "HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
                    "XDG_CONFIG_HOME", "GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_DIR", "SOPS_AGE_KEY_FILE" }

local function wrong(message, ...)
  fault.raise { kind = "protocol", where = "", message = message:format(...), hint = HOW }
end

--- The words of a command: parted by spaces, held together by quotes; nothing else has a meaning.
local function words_of(text)
  local words, word, quote = {}, nil, nil
  for character in text:gmatch "." do
    if quote then
      if character == quote then quote = nil else word = word .. character end
    elseif character == "'" or character == '"' then
      quote, word = character, word or ""
    elseif character == " " then
      words[#words + 1], word = word, nil
    else
      word = (word or "") .. character
    end
  end
  if quote then wrong("a quote is not closed in cmd:%s", text) end
  words[#words + 1] = word
  return words
end

local CHECKS = {
  env = function(name)
    if not name:find "^[%a_][%w_]*$" then wrong("env:%s names no variable", name) end
  end,
  file = function(path)
    if path == "" then wrong "file: names no file" end
  end,
  cmd = function(text)
    if #words_of(text) == 0 then wrong "cmd: names no program" end
  end,
  k8s = function(text)
    if not text:find "^[^/#]+/[^/#]+/[^/#]+#[%w_.-]+$" then wrong("k8s:%s is no CLUSTER/NAMESPACE/NAME#KEY", text) end
  end,
  ask = function(prompt)
    if prompt == "" then wrong "ask: says nothing to who is asked" end
  end,
  vault = function(path, key)
    if not path:find "^[%w_.-]+/[%w_./-]*[%w_.-]$" or path:find "%.%." then
      wrong("vault:%s is no path, as in secret/encode/database", path)
    end
    if not key then wrong("vault:%s is a map; behind # stands which value of it is meant", path) end
  end,
  ssm = function(name)
    if not name:find "^[%w_./:-]+$" then wrong("ssm:%s is no name of a parameter", name) end
  end,
  ["aws-sm"] = function(name)
    if not name:find "^[%w_./:+=@-]+$" then wrong("aws-sm:%s is no name of a secret", name) end
  end,
}

--- Schemes whose values may be documents, of which one part is meant.
local PICKS = { file = true, cmd = true, vault = true, ssm = true, ["aws-sm"] = true }

--- What stands before the last #, and the path behind it. What is no path of names belongs to what stands before.
local function parted(scheme, rest)
  local before, path = rest:match "^(.*)#([^#%s'\"/]*)$"
  if not PICKS[scheme] or not path then return rest end
  for part in (path .. "."):gmatch "([^.]*)%." do
    if not part:find "^[%w_-]+$" then wrong("%s:%s: behind # stand names, parted by dots", scheme, rest) end
  end
  return before, path
end

--- The parts of a reference, its form checked. Raises `protocol`.
--- @param reference any
--- @return string scheme
--- @return string rest
--- @return string? path  of the value that is meant within a JSON or YAML document
function secrets.parse(reference)
  if type(reference) ~= "string" then wrong "a secret is a reference, as in env:TOKEN" end
  local scheme, rest = reference:match "^([%w-]+):(.*)$"
  if not scheme then wrong "the secret stands there itself, instead of where it is kept" end
  if not CHECKS[scheme] then wrong("there are no secrets of %s:%s", scheme, near.hint(scheme, CHECKS)) end
  local before, path = parted(scheme, rest)
  CHECKS[scheme](before, path)
  return scheme, before, path
end

local sources = {}

function sources.env(name, reference, from) return secret.variable(name, from.keys, reference) end

function sources.file(path, reference, from)
  if path:sub(1, 2) == "~/" then path = process.user().home .. path:sub(2) end
  if path:sub(1, 1) ~= "/" then path = (from.root or ".") .. "/" .. path end
  return secret.file(path, from.keys, reference)
end

local function check_allowed(program, policy)
  local allowed = policy and policy.allow_exec or {}
  for _, name in ipairs(type(allowed) == "table" and allowed or { allowed }) do
    if name == program then return end
  end
  fault.raise { kind = "denied", message = ("the environment does not allow %s to be run for a secret"):format(program),
    hint = ("name %s in policy.allow_exec of the environment"):format(program) }
end

local function inherited()
  local env = {}
  for _, name in ipairs(INHERITED) do env[name] = process.environ(name) end
  return env
end

function sources.cmd(text, reference, from)
  local argv = words_of(text)
  check_allowed(argv[1], from.policy)
  local stream <close> = process.spawn(argv, { env = inherited(), clear_env = true, cwd = from.root, reads = true })
  local value, said, status = secret.collect(stream, from.keys, reference)
  if status == 0 and secret.size(value) > 0 then return value end
  fault.raise { kind = "auth", code = status > 0 and status or nil, output = said ~= "" and said or nil,
    message = status == 0 and ("%s printed nothing"):format(argv[1])
      or ("%s gave no secret (%s)"):format(argv[1], status < 0 and "killed" or "exit status " .. status) }
end

function sources.k8s(text, reference)
  local cluster, namespace, name, key = text:match "^([^/]+)/([^/]+)/([^#]+)#(.+)$"
  return require("neap.targets.k8s.secret").value(cluster, namespace, name, key, reference)
end

function sources.ask(prompt, reference, from)
  local text = from.prompt and from.prompt(prompt, { secret = true })
  if not text or text == "" then
    fault.raise { kind = "auth", message = ("nobody was there to type it: %s"):format(prompt) }
  end
  return secret.literal(text, from.keys, reference)
end

for _, scheme in ipairs { "vault", "ssm", "aws-sm" } do
  sources[scheme] = function(rest, reference, from)
    return require "neap.secret_stores".read(scheme, rest, reference, from)
  end
end

--- @class neap.secrets.from
--- @field keys native.secret.keyring  of the environment
--- @field policy? table  of the environment
--- @field aws? table  of the environment
--- @field root? string  the repository: relative paths and commands begin there
--- @field prompt? fun(text: string, options: table): string?

--- The secret that a reference stands for. May wait: for a program, for a person. Raises `protocol` where the reference is
--- none, `missing`, `denied` and `auth` where there is no secret to be had.
--- @param reference string
--- @param from neap.secrets.from
--- @return native.secret.value
function secrets.resolve(reference, from)
  local scheme, rest, path = secrets.parse(reference)
  if not path then return sources[scheme](rest, reference, from) end
  local document = sources[scheme](rest, nil, from)
  local ok, picked = pcall(secret.pick, document, path, reference)
  if not ok and fault.is(picked) then picked.message = ("%s: %s"):format(reference, picked.message) end
  if not ok then error(picked, 0) end
  if secret.size(picked) > 0 then return picked end
  fault.raise { kind = "auth", message = ("%s is empty"):format(reference) }
end

local function take_variable(reference, keys)
  local name = type(reference) == "string" and reference:match "^env:([%a_][%w_]*)$"
  if name then secret.take_variable(name, keys) end
end

--- Takes the variables that hold secrets, passwords of databases and ways to tell of a run out of this process's environment.
--- @param environment table?
--- @param keys native.secret.keyring
function secrets.take_variables(environment, keys)
  for _, reference in pairs(environment and environment.secrets or {}) do take_variable(reference, keys) end
  for _, database in pairs(environment and environment.databases or {}) do take_variable(database.password, keys) end
  for _, reference in ipairs(require("neap.notices").references(environment and environment.notify)) do
    take_variable(reference, keys)
  end
end

-- ---- within a run ----

local function from_run(run)
  local environment = run.environment
  return { keys = run.keys, policy = environment.policy, aws = environment.aws,
    root = environment.root, prompt = run.prompt }
end

--- The secret of that reference, resolved once in a run however many tasks want it.
--- @param run table  the session
--- @param reference string
--- @return native.secret.value
function secrets.of_run(run, reference)
  local task = require "native.task"
  run.secrets = run.secrets or { made = {}, making = {} }
  local made, making = run.secrets.made, run.secrets.making
  if made[reference] then return made[reference] end
  making[reference] = making[reference] or task.spawn(task.shield, secrets.resolve, reference, from_run(run))
  local ok, result = making[reference]:wait()
  making[reference] = nil
  if not ok then error(result, 0) end
  made[reference] = result
  return result
end

local function look_for(run, reference)
  local ok, failure = pcall(secrets.of_run, run, reference)
  if not ok and not fault.is(failure) then error(failure, 0) end -- it fails again where it is used
end

--- Has secrets looked for before they are used: those of variables and files, and what a run that is taken up again has in
--- its journal.
--- @param run table  the session
--- @param records table[]
function secrets.begin(run, records)
  secrets.take_variables(run.environment, run.keys)
  for _, reference in pairs(run.environment.secrets or {}) do
    if reference:find "^env:" or reference:find "^file:" then look_for(run, reference) end
  end
  require("neap.engine.data").each_secret(records, function(one)
    if secret.is_open(one) then
      pcall(secret.text, one) -- opening it is what makes it known; by another key it stays closed
    elseif secret.source(one) then
      look_for(run, secret.source(one))
    end
  end)
end

local function name_of(references, name)
  if references[name] then return references[name] end
  error(("the environment has no secret %q%s"):format(tostring(name), near.hint(tostring(name), references)), 3)
end

--- What a procedure sees as env.secrets. A secret is had inside a step alone: it and its use stay together.
--- @param references table<string, string>
--- @return table
function secrets.view(references)
  local function index(_, name)
    local reference = name_of(references, name)
    local branch = require("neap.engine.branch").current()
    if not branch or not branch.path then
      error(("env.secrets.%s is had inside a step: a secret and its use stay together"):format(name), 2)
    end
    return secrets.of_run(branch.run, reference)
  end
  return setmetatable({}, { __index = index, __metatable = false,
    __newindex = function() error("secrets are not altered", 2) end })
end

--- Gives those secrets of a record, which are known by where they come from, their values again.
--- @param run table  the session
--- @param value any  plain data
function secrets.complete(run, value)
  require("neap.engine.data").each_secret(value, function(one)
    local source = not secret.is_open(one) and secret.source(one)
    if source then secret.fill(one, secrets.of_run(run, source)) end
  end)
end

return secrets
