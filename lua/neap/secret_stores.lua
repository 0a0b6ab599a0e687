--- Secrets that servers keep: Vault, the parameters of AWS Systems Manager, AWS Secrets Manager.
local credentials = require "neap.targets.aws.credentials"
local fault       = require "native.error"
local home        = require "neap.home"
local json        = require "native.json"
local known       = require "neap.targets.aws.known"
local process     = require "native.process"
local requests    = require "neap.targets.http.request"
local secret      = require "native.secret"
local task        = require "native.task"

local stores = {}

local TIMEOUT = 30 -- seconds

--- Calls fn within the run that the task works for, else within one made of what is known: for `neap env check`.
local function within_run(from, fn, ...)
  local context = task.context()
  if type(context) == "table" and context.run then return fn(...) end
  local run = { keys = from.keys, prompt = from.prompt, connections = {},
    environment = { hosts = {}, aws = from.aws, policy = from.policy } }
  return task.with_context({ run = run }, fn, ...)
end

-- ---- Vault ----

local function token_of(keys)
  if process.environ "VAULT_TOKEN" then return secret.variable("VAULT_TOKEN", keys) end
  local ok, token = pcall(secret.file, home() .. "/.vault-token", keys)
  if ok then return token end
  if not fault.is(token, "missing") then error(token, 0) end
  return fault.raise { kind = "auth", message = "there is no token of Vault: neither VAULT_TOKEN nor ~/.vault-token",
    hint = "vault login" }
end

local function ask(path, keys)
  local base = (process.environ "VAULT_ADDR" or "https://127.0.0.1:8200"):gsub("/$", "")
  local url = requests.address(base .. "/v1/" .. path, {}, 1)
  local reply = requests.repeated({ method = "GET", url = url }, { redirects = 0, ok = "any", max_bytes = 1 << 20,
    headers = { ["X-Vault-Token"] = token_of(keys), ["X-Vault-Namespace"] = process.environ "VAULT_NAMESPACE" },
    ca = process.environ "VAULT_CACERT" }, TIMEOUT)
  local ok, value = pcall(json.decode, reply.body)
  return reply.status, ok and type(value) == "table" and value or {}
end

--- The path as its engine wants it: behind a mount of version 2 stands "data".
local function path_in_engine(path, keys)
  local status, value = ask("sys/internal/ui/mounts/" .. path, keys)
  local mount = status == 200 and type(value.data) == "table" and value.data.path
  local version = mount and type(value.data.options) == "table" and tostring(value.data.options.version)
  if version ~= "2" or path:sub(1, #mount) ~= mount or path:find("^data/", #mount + 1) then return path end
  return mount .. "data/" .. path:sub(#mount + 1)
end

local KINDS = { [403] = "auth", [404] = "missing" }

local function refuse(path, status, value)
  local errors = type(value.errors) == "table" and table.concat(value.errors, "; ") or ""
  fault.raise { kind = KINDS[status] or "remote", code = status,
    message = ("vault:%s is not to be had: %s"):format(path,
      errors ~= "" and errors or status == 404 and "there is nothing" or "status " .. status) }
end

--- A secret of an engine for keys and values, of version 1 or 2: a map, as JSON.
local function vault(path, keys)
  local status, value = ask(path_in_engine(path, keys), keys)
  local data = status == 200 and value.data
  if type(data) ~= "table" then refuse(path, status, value) end
  if type(data.data) == "table" and type(data.metadata) == "table" then data = data.data end
  return json.encode(data)
end

-- ---- AWS ----

local function call(service, operation, parameters)
  local section = known.section()
  local target = { service = service, profile = section.profile, plain = true,
    region = section.region or credentials.region(section.profile) }
  known.meet(target)
  return known.client(target):call(operation, parameters, known.reading(TIMEOUT))
end

local function parameter(name)
  return call("ssm", "GetParameter", { Name = name, WithDecryption = true }).Parameter.Value
end

local function managed(name)
  local value = call("secretsmanager", "GetSecretValue", { SecretId = name })
  return value.SecretString or value.SecretBinary
end

local READ = {
  vault = function(path, from) return vault(path, from.keys) end,
  ssm = parameter,
  ["aws-sm"] = managed,
}

--- The secret that is kept there, or the document that it is a part of.
--- @param scheme "vault"|"ssm"|"aws-sm"
--- @param rest string
--- @param reference string?  what it is known by; nil for a document
--- @param from neap.secrets.from
--- @return native.secret.value
function stores.read(scheme, rest, reference, from)
  local text = within_run(from, READ[scheme], rest, from)
  if type(text) == "string" and text ~= "" then return secret.literal(text, from.keys, reference) end
  return fault.raise { kind = "auth", message = ("%s:%s is empty"):format(scheme, rest) }
end

return stores
