--- How a cluster of the environment is reached: kubeconfig files, merged as kubectl merges them. The environment names the
--- context; current-context counts for nothing. Tokens and keys are secrets.
local fault   = require "native.error"
local fs      = require "native.fs"
local hosts   = require "neap.targets.connection"
local json    = require "native.json"
local near    = require "neap.near"
local process = require "native.process"
local secret  = require "native.secret"
local yaml    = require "native.yaml"

local config = {}

local ACCOUNT     = "/var/run/secrets/kubernetes.io/serviceaccount/"
local EXEC_API    = { ["client.authentication.k8s.io/v1"] = true, ["client.authentication.k8s.io/v1beta1"] = true }
local MAX_FILE    = 4 << 20

--- What a program that gives credentials inherits of our environment; all else it is told by the kubeconfig.
local INHERITED = { "HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CONFIG_HOME",
                    "AWS_PROFILE", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE" }

local function wrong(message, ...) fault.raise { kind = "protocol", message = message:format(...) } end

-- ---- the files ----

local function home_path(path) return (path:gsub("^~/", process.user().home:gsub("%%", "%%%%") .. "/")) end

--- The files to read: those of the environment, else of KUBECONFIG, else kubectl's own.
local function paths_of(entry)
  local given = entry.kubeconfig or process.environ "KUBECONFIG" or "~/.kube/config"
  local paths = {}
  for _, part in ipairs(type(given) == "table" and given or { given }) do
    for path in part:gmatch "[^:]+" do paths[#paths + 1] = home_path(path) end
  end
  return paths
end

local function read_file(path, index)
  local ok, document = pcall(yaml.parse, fs.read(path), { name = path })
  if not ok then error(document, 0) end
  if type(document) ~= "table" then wrong("%s is no kubeconfig", path) end
  return { path = path, folder = path:match "^(.*)/[^/]*$" or ".", document = document, index = index }
end

--- Adds what a file names under `section`, unless an earlier file has said it.
local function add_names(found, file, section, part)
  local list = file.document[section]
  for i, one in ipairs(type(list) == "table" and list or {}) do
    if type(one) == "table" and type(one.name) == "string" and not found[one.name] then
      found[one.name] = { value = type(one[part]) == "table" and one[part] or {}, file = file,
        path = ("%s.%d.%s"):format(section, i, part) }
    end
  end
end

local function merged(paths)
  local found = { clusters = {}, users = {}, contexts = {}, read = {} }
  for index, path in ipairs(paths) do
    local stat = fs.stat(path)
    if stat and stat.size > MAX_FILE then wrong("%s is too large for a kubeconfig", path) end
    if stat then
      local file = read_file(path, index)
      found.read[#found.read + 1] = path
      add_names(found.clusters, file, "clusters", "cluster")
      add_names(found.users, file, "users", "user")
      add_names(found.contexts, file, "contexts", "context")
    end
  end
  return found
end

local function named(found, section, name, what)
  local one = type(name) == "string" and found[section][name]
  if one then return one end
  return fault.raise { kind = "missing", hint = #found.read == 0 and "no kubeconfig was found" or nil,
    message = ("%s has no %s named %q%s"):format(#found.read > 0 and table.concat(found.read, ", ") or "kubeconfig",
      what, tostring(name), near.hint(tostring(name), found[section])) }
end

local function text_or_nil(value) return type(value) == "string" and value ~= "" and value or nil end

-- ---- credentials ----

--- A secret of the file itself; the file is opened by nobody else but its owner.
local function picked(one, key, keys)
  if one.value[key] == nil or one.value[key] == json.null or one.value[key] == "" then return nil end
  one.file.secret = one.file.secret or secret.file(one.file.path, keys)
  return secret.pick(one.file.secret, one.path .. "." .. key, ("%s of %s"):format(key, one.file.path))
end

--- A file that the kubeconfig names, relative to itself.
local function beside(one, path)
  if path == nil or path == json.null or path == "" then return nil end
  if type(path) ~= "string" then wrong("%s names a file by something that is no text", one.file.path) end
  return path:sub(1, 1) == "/" and path or one.file.folder .. "/" .. path
end

local function token_of_file(path, keys)
  return function() return secret.literal((fs.read(path):gsub("%s+$", "")), keys) end
end

local function check_allowed(program, policy)
  for _, one in ipairs(policy and policy.allow_exec or {}) do
    if one == program then return end
  end
  fault.raise { kind = "denied", hint = ("name %s in policy.allow_exec of the environment"):format(program),
    message = ("the environment does not allow %s to be run for credentials of a cluster"):format(program) }
end

--- A word or a value of an exec plugin.
local function scalar(value, path)
  if type(value) ~= "table" and value ~= json.null and value ~= nil then return tostring(value) end
  return wrong("the exec plugin of %s has a list, a map or nothing where a text is wanted", path)
end

local function exec_environment(exec, path, server, ca)
  local env = {}
  for _, name in ipairs(INHERITED) do env[name] = process.environ(name) end
  for _, one in ipairs(type(exec.env) == "table" and exec.env or {}) do
    if type(one) == "table" and type(one.name) == "string" then env[one.name] = scalar(one.value, path) end
  end
  local told = { apiVersion = exec.apiVersion, kind = "ExecCredential", spec = { interactive = false } }
  if exec.provideClusterInfo == true then
    told.spec.cluster = { server = server, ["certificate-authority-data"] = ca }
  end
  env.KUBERNETES_EXEC_INFO = json.encode(told)
  return env
end

local function pick_or_nil(document, path)
  local ok, value = pcall(secret.pick, document, path)
  if ok then return value end
  if fault.is(value, "missing") then return nil end
  error(value, 0)
end

--- What gives credentials by a program, without a shell: asked again when the server does not take them any more.
local function of_program(one, settings, keys, policy)
  local exec, path = one.value.exec, one.file.path
  if not EXEC_API[exec.apiVersion] then
    wrong("this release does not know exec plugins of %s", tostring(exec.apiVersion))
  end
  if type(exec.command) ~= "string" then wrong("the exec plugin of %s names no command", one.file.path) end
  if exec.interactiveMode == "Always" then
    fault.raise { kind = "denied", message = ("%s wants a terminal (interactiveMode Always)"):format(exec.command) }
  end
  local program = exec.command:find "/" and beside(one, exec.command) or exec.command
  return function()
    check_allowed(exec.command, policy)
    local argv = { program }
    for _, word in ipairs(type(exec.args) == "table" and exec.args or {}) do argv[#argv + 1] = scalar(word, path) end
    local stream <close> = process.spawn(argv, { clear_env = true, reads = true, input = false,
      env = exec_environment(exec, path, settings.server, settings.ca_data) })
    local document, said, status = secret.collect(stream, keys)
    if status ~= 0 then
      fault.raise { kind = "auth", code = status > 0 and status or nil, output = said ~= "" and said or nil,
        message = ("%s gives no credentials"):format(exec.command) }
    end
    local given = { token = pick_or_nil(document, "status.token"),
      certificate_data = pick_or_nil(document, "status.clientCertificateData"),
      key_data = pick_or_nil(document, "status.clientKeyData") }
    if not given.token and not (given.certificate_data and given.key_data) then
      fault.raise { kind = "auth",
        message = ("%s ends well, and prints no ExecCredential with a token or a certificate"):format(exec.command) }
    end
    return given
  end
end

local function credentials(one, settings, keys, policy)
  local user = one.value
  settings.certificate, settings.key = beside(one, user["client-certificate"]), beside(one, user["client-key"])
  local certificate = user["client-certificate-data"]
  settings.certificate_data = type(certificate) == "string" and certificate ~= "" and certificate or nil
  settings.key_data = picked(one, "client-key-data", keys)
  if settings.certificate_data then settings.certificate = nil end
  if settings.key_data then settings.key = nil end
  settings.user, settings.password = text_or_nil(user.username), picked(one, "password", keys)
  settings.token = picked(one, "token", keys)
  local path = beside(one, user.tokenFile)
  if path then settings.again = token_of_file(path, keys) end
  if type(user.exec) == "table" then settings.again = of_program(one, settings, keys, policy) end
  if user["auth-provider"] ~= nil then wrong "auth-provider is gone from Kubernetes; use an exec plugin" end
end

-- ---- a cluster ----

local function in_cluster(keys)
  local host, port = process.environ "KUBERNETES_SERVICE_HOST", process.environ "KUBERNETES_SERVICE_PORT"
  if not host or not fs.exists(ACCOUNT .. "token") then
    fault.raise { kind = "missing", message = "neap does not run in a pod: there is no service account" }
  end
  host = host:find ":" and ("[%s]"):format(host) or host
  return { server = ("https://%s:%s"):format(host, port or "443"), ca = ACCOUNT .. "ca.crt",
    again = token_of_file(ACCOUNT .. "token", keys),
    namespace = fs.exists(ACCOUNT .. "namespace") and fs.read(ACCOUNT .. "namespace"):match "%S+" or nil }
end

local function check_server(name, cluster, server)
  if type(server) ~= "string" or not server:find "^https://[^/@]+" then
    wrong("the server of the cluster %s is no https address", tostring(name))
  end
  if cluster["insecure-skip-tls-verify"] == true then
    fault.raise { kind = "denied", hint = "name its certificate-authority",
      message = ("the kubeconfig would not verify who the cluster %s is (insecure-skip-tls-verify)"):format(name) }
  end
end

local function of_files(entry, keys, policy)
  if type(entry.context) ~= "string" then wrong "a cluster of the environment names its context" end
  local found = merged(paths_of(entry))
  local context = named(found, "contexts", entry.context, "context").value
  local one = named(found, "clusters", context.cluster, "cluster")
  check_server(context.cluster, one.value, one.value.server)
  local settings = { server = one.value.server:gsub("/+$", ""), ca = beside(one, one.value["certificate-authority"]),
    ca_data = text_or_nil(one.value["certificate-authority-data"]), namespace = text_or_nil(context.namespace),
    server_name = text_or_nil(one.value["tls-server-name"]), proxy = text_or_nil(one.value["proxy-url"]) }
  if settings.ca_data then settings.ca = nil end
  if context.user then credentials(named(found, "users", context.user, "user"), settings, keys, policy) end
  return settings
end

--- How the cluster of that name in the run's environment is reached. Raises `missing`, `protocol`, `denied`.
--- @param name string
--- @return table settings  server, ca, ca_data, certificate, key, certificate_data, key_data, token, user, password,
---   again() -> a token, or { token, certificate_data, key_data }, namespace, server_name, proxy, via, expect_version;
---   in a trial namespace, and ask(method, path) -> what its cluster answers
function config.of(name)
  local run = hosts.run()
  local clusters = run.environment.clusters or {}
  local entry = clusters[name]
  if type(entry) ~= "table" then
    fault.raise { kind = "missing", message = ("the environment has no cluster %q%s"):format(tostring(name),
      near.hint(tostring(name), clusters)) }
  end
  if run.fakes then
    return { namespace = entry.namespace or "default",
      ask = function(method, path) return run.fakes:ask_cluster(name, method, path) end }
  end
  local settings = entry.context == "in-cluster" and in_cluster(run.keys)
    or of_files(entry, run.keys, run.environment.policy)
  settings.namespace = entry.namespace or settings.namespace or "default"
  settings.via, settings.expect_version = entry.via, entry.expect_version
  return settings
end

return config
