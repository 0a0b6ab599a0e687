--- Talks to the API server of a cluster: requests in JSON over one connection, kinds by discovery, lists in pieces, and
--- what each refusal means.
local config = require "neap.targets.k8s.config"
local crypto = require "native.crypto"
local fault  = require "native.error"
local fs     = require "native.fs"
local hosts  = require "neap.targets.connection"
local json   = require "native.json"
local native = require "native.http"
local near   = require "neap.near"
local secret = require "native.secret"
local task   = require "native.task"
local websocket = require "neap.targets.websocket"

local client = {}

local MAX_BYTES     = 64 << 20
local READ_TIMEOUT  = 60  -- seconds
local REPEATS       = 6
local LONGEST_PAUSE = 30
local LONGEST_WORDS = 400 -- bytes of what a server says of one field
local CHUNK         = 500 -- objects a list asks for at once

-- ---- one exchange ----

--- What is kept of a cluster as long as this process attends the run.
local function cluster_of(name)
  local run = hosts.run()
  run.connections.kubernetes = run.connections.kubernetes or { close = function() end, known = {} }
  local known = run.connections.kubernetes.known
  known[name] = known[name] or { name = name, settings = config.of(name), kinds = {}, groups = {} }
  return known[name]
end

--- The namespace of what names none.
--- @param name string  of a cluster
--- @return string
function client.namespace(name) return cluster_of(name).settings.namespace end

--- Whether a cluster is a trial's, in memory.
--- @param name string
--- @return boolean
function client.is_in_memory(name) return cluster_of(name).settings.ask ~= nil end

--- Host and port of an address, and what comes behind them.
local function parts_of(server)
  local authority, path = server:match "^https://([^/]+)(.*)$"
  local host, port = authority:match "^(%[[%x:]+%]):?(%d*)$"
  if not host then host, port = authority:match "^([^:]+):?(%d*)$" end
  return host, port ~= "" and port or "443", path
end

--- The URL, and where to connect to when that is not what the URL says.
local function way_of(settings, path)
  local host, port, prefix = parts_of(settings.server)
  local url = ("https://%s:%s%s%s"):format(settings.server_name or host, port, prefix, path)
  if settings.via then
    return url, ("127.0.0.1:%d"):format(hosts.tunnel(settings.via, host, math.tointeger(port)).port)
  end
  return url, settings.server_name and ("%s:%s"):format(host, port) or nil
end

local function is_here(server) return server:find "^https://localhost[:/]?" or server:find "^https://127%." end

--- The program or file that gives credentials is asked when they are needed, and again when they are refused.
local function credentials_of(cluster, anew)
  local settings = cluster.settings
  if settings.again and (anew or not cluster.given) then
    local given = settings.again()
    cluster.given = type(given) == "table" and given or { token = given }
  end
  return cluster.given or settings
end

local function authorization(settings, given)
  local token = given.token or settings.token
  if token then return "Bearer " .. token end
  if settings.user and settings.password then
    return "Basic " .. secret.base64(settings.user .. ":" .. settings.password)
  end
end

--- How a path of a cluster is reached, and what says who asks.
local function connection_to(cluster, path, anew)
  local settings, given = cluster.settings, credentials_of(cluster, anew)
  local url, connect_to = way_of(settings, path)
  return { url = url, connect_to = connect_to, ca = settings.ca, ca_data = settings.ca_data,
    certificate = settings.certificate, key = settings.key,
    certificate_data = given.certificate_data or settings.certificate_data,
    key_data = given.key_data or settings.key_data,
    proxy = settings.proxy or ((connect_to or is_here(settings.server)) and "" or nil) },
    { ["User-Agent"] = "neap", Authorization = authorization(settings, given) }
end

local function open(cluster, request, anew)
  local options, headers = connection_to(cluster, request.path, anew)
  options.method, options.body, options.reads = request.method, request.body, request.reads
  options.headers, headers.Accept, headers["Content-Type"] = headers, "application/json", request.type
  return native.open(options)
end

local function collect(exchange, path)
  local parts, size = {}, 0
  for bytes in exchange.read, exchange do
    size = size + #bytes
    if size > MAX_BYTES then
      fault.raise { kind = "protocol", message = ("%s is answered with more than %d bytes"):format(path, MAX_BYTES) }
    end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

-- ---- refusals ----

local KINDS = { [400] = "denied", [401] = "auth", [403] = "denied", [404] = "missing", [405] = "denied",
                [406] = "denied", [409] = "conflict", [410] = "missing", [413] = "denied", [415] = "denied",
                [422] = "denied", [429] = "denied" }

local function decoded(body)
  local ok, value = pcall(json.decode, body)
  return ok and type(value) == "table" and value or nil
end

--- A server repeats whole objects in what it says; what is wrong with them stands at the end.
local function shortened(text)
  if #text <= LONGEST_WORDS then return text end
  local half = LONGEST_WORDS // 2
  local first, last = utf8.offset(text, 0, half) - 1, utf8.offset(text, 0, #text - half)
  return ("%s … %s"):format(text:sub(1, first), text:sub(last))
end

--- The server's own words: what is wrong with which field.
local function causes_of(status)
  local causes = {}
  for _, cause in ipairs(type(status.details) == "table" and status.details.causes or {}) do
    causes[#causes + 1] = { field = cause.field, message = shortened(tostring(cause.message)), reason = cause.reason }
  end
  return causes
end

local function raise_status(cluster, request, code, body, retry_after)
  local status = decoded(body) or {}
  local said = type(status.message) == "string" and shortened(status.message)
    or ("it answers with status %d"):format(code)
  local reads = request.method == "GET" or request.reads
  local lines = {}
  for _, cause in ipairs(causes_of(status)) do
    lines[#lines + 1] = (cause.field and cause.field .. ": " or "") .. cause.message
  end
  fault.raise { kind = KINDS[code] or (code < 500 and "denied") or (reads and "remote") or "lost", code = code,
    host = cluster.name, reason = status.reason, causes = causes_of(status), retry_after = tonumber(retry_after),
    message = ("cluster %s: %s"):format(cluster.name, said),
    output = #lines > 0 and table.concat(lines, "\n") or (not status.message and body:sub(1, 2000)) or nil }
end

local function header_of(head, name)
  for _, one in ipairs(head.headers) do
    if one[1] == name then return one[2] end
  end
end

local function exchange_once(cluster, request, anew)
  local exchange <close> = open(cluster, request, anew)
  local head = exchange:response { timeout = 86400 } -- the deadline is that of the whole
  local body = collect(exchange, request.path)
  if head.status >= 200 and head.status < 300 then return body end
  return raise_status(cluster, request, head.status, body, header_of(head, "retry-after"))
end

local NOT_LET_IN = "the token or certificate of its context is not accepted any more, or never was: log in again there"

--- A failure on the way to a server says which one that is.
local function said_whose(cluster, failure)
  if not fault.is(failure) or failure.kind == "cancelled" then return failure end
  if not failure.host then
    local settings = cluster.settings
    failure.host = cluster.name
    failure.message = ("cluster %s at %s%s: %s"):format(cluster.name, settings.server,
      settings.proxy and " by the proxy of its kubeconfig" or "", failure.message)
  end
  if failure.code == 401 then failure.hint = failure.hint or NOT_LET_IN end
  return failure
end

--- Where a token has expired a new one is asked for, once: a request that was not let in has changed nothing.
local function let_in(fn, cluster, request)
  local ok, result = pcall(fn, cluster, request)
  if not ok and fault.is(result, "auth") and result.code == 401 and cluster.settings.again then
    ok, result = pcall(fn, cluster, request, true)
  end
  if ok then return result end
  error(said_whose(cluster, result), 0)
end

--- Whether the server certainly did nothing and is to be asked again later (429), or a read got no answer.
local function is_worth_repeating(request, failure)
  if not fault.is(failure) then return false end
  if failure.code == 429 then return true end
  if request.method ~= "GET" and not request.reads then return false end
  return failure.kind == "connect" or failure.kind == "lost" or failure.kind == "remote"
end

local function pause_before(failure, count)
  local asked = failure.retry_after
  return math.min(LONGEST_PAUSE, asked and asked >= 0 and asked or 0.25 * 2 ^ (count - 1))
end

local function repeated(cluster, request)
  for count = 1, REPEATS do
    local ok, result = pcall(let_in, exchange_once, cluster, request)
    if ok then return result end
    if count == REPEATS or not is_worth_repeating(request, result) then error(result, 0) end
    task.sleep(pause_before(result, count))
  end
end

local function query_of(query)
  local parts = {}
  for name, value in pairs(query or {}) do
    parts[#parts + 1] = ("%s=%s"):format(name, secret.percent(tostring(value)))
  end
  table.sort(parts)
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

local meet_first

--- One request. Raises `connect` and `auth` where it was certainly not carried out, `denied`, `missing`, `conflict` where
--- the server says no (code, reason, causes), `lost` and `timeout` where nobody can tell.
--- @param name string     of a cluster
--- @param method string
--- @param path string     "/api/v1/namespaces"
--- @param options? { query?: table, body?: string|native.secret.value, type?: string, timeout?: number, reads?: boolean, raw?: boolean }
--- @return any  the object; with `raw` the text
function client.request(name, method, path, options)
  options = options or {}
  local cluster = cluster_of(name)
  if cluster.settings.ask then return cluster.settings.ask(method, path) end
  meet_first(cluster)
  local request = { method = method, path = path .. query_of(options.query), body = options.body, reads = options.reads,
    type = options.body and (options.type or "application/json") or nil }
  local ok, text = pcall(task.deadline, options.timeout or READ_TIMEOUT, repeated, cluster, request)
  if not ok then error(said_whose(cluster, text), 0) end
  if options.raw then return text end
  local value = decoded(text)
  if value then return value end
  return fault.raise { kind = "protocol", message = ("cluster %s does not answer %s with JSON"):format(name, path) }
end

--- Gives the text of a reply piece by piece to see(bytes), as it comes, until that returns true or there is no more.
local function streamed_once(cluster, request, anew)
  local exchange <close> = open(cluster, request, anew)
  local head = exchange:response { timeout = 86400 }
  if head.status ~= 200 then
    raise_status(cluster, request, head.status, collect(exchange, request.path), header_of(head, "retry-after"))
  end
  repeat
    local bytes = exchange:read { timeout = 86400 }
  until not bytes or request.see(bytes)
end

--- Reads what comes as long as it comes; the deadline is the caller's. Raises as request does.
--- @param name string
--- @param path string
--- @param query table
--- @param see fun(bytes: string): any  true: that is enough
function client.stream(name, path, query, see)
  local cluster = cluster_of(name)
  meet_first(cluster)
  let_in(streamed_once, cluster, { method = "GET", path = path .. query_of(query), see = see })
end

local function socket_once(cluster, request, anew)
  local options, headers = connection_to(cluster, request.path, anew)
  options.reads = request.reads
  return websocket.open(options, headers, request.protocols, function(status, body, found)
    raise_status(cluster, request, status, body, found["retry-after"])
  end)
end

--- A WebSocket to a path. Raises as request does.
--- @param name string
--- @param path string
--- @param query string  encoded
--- @param protocols string[]  the best first
--- @param reads boolean
--- @return neap.websocket
function client.socket(name, path, query, protocols, reads)
  local cluster = cluster_of(name)
  meet_first(cluster)
  return let_in(socket_once, cluster, { method = "CONNECT", path = path .. query, protocols = protocols,
    reads = reads })
end

-- ---- kinds ----

--- The usual kinds, by the version that serves them, and what people write for them; last the plural.
client.usual = {
  v1 = { Pod = "po pods", Service = "svc services", ConfigMap = "cm configmaps", Secret = "secrets",
    Namespace = "ns namespaces", Node = "no nodes", PersistentVolume = "pv persistentvolumes",
    PersistentVolumeClaim = "pvc persistentvolumeclaims", ServiceAccount = "sa serviceaccounts", Event = "ev events",
    Endpoints = "ep endpoints", LimitRange = "limits limitranges", ResourceQuota = "quota resourcequotas",
    ReplicationController = "rc replicationcontrollers" },
  ["apps/v1"] = { Deployment = "deploy deployments", StatefulSet = "sts statefulsets", DaemonSet = "ds daemonsets",
    ReplicaSet = "rs replicasets" },
  ["batch/v1"] = { Job = "jobs", CronJob = "cj cronjobs" },
  ["networking.k8s.io/v1"] = { Ingress = "ing ingresses", NetworkPolicy = "netpol networkpolicies",
    IngressClass = "ingressclasses" },
  ["rbac.authorization.k8s.io/v1"] = { Role = "roles", RoleBinding = "rolebindings", ClusterRole = "clusterroles",
    ClusterRoleBinding = "clusterrolebindings" },
  ["autoscaling/v2"] = { HorizontalPodAutoscaler = "hpa horizontalpodautoscalers" },
  ["policy/v1"] = { PodDisruptionBudget = "pdb poddisruptionbudgets" },
  ["storage.k8s.io/v1"] = { StorageClass = "sc storageclasses" },
  ["scheduling.k8s.io/v1"] = { PriorityClass = "pc priorityclasses" },
  ["apiextensions.k8s.io/v1"] = { CustomResourceDefinition = "crd crds customresourcedefinitions" },
}

local USUAL = {}
for group, kinds in pairs(client.usual) do
  for kind, short in pairs(kinds) do
    USUAL[kind:lower()] = { api = group, kind = kind }
    for word in short:gmatch "%S+" do USUAL[word] = USUAL[kind:lower()] end
  end
end

local function group_path(api) return (api:find "/" and "/apis/" or "/api/") .. api end

--- What the server says of the kinds of an API group in a version, asked once in a run; nil where there is no such group.
local function group_of(cluster, api)
  if cluster.groups[api] == nil then
    local ok, found = pcall(client.request, cluster.name, "GET", group_path(api))
    if not ok and not fault.is(found, "missing") then error(found, 0) end
    if not ok then return nil end
    cluster.groups[api] = found.resources or {}
  end
  return cluster.groups[api]
end

--- How a kind of a version is served.
--- @param name string  of a cluster
--- @param api string   "apps/v1"
--- @param kind string  "Deployment"
--- @return { api: string, kind: string, resource: string, namespaced: boolean }?  nil: the server knows no such kind
function client.kind(name, api, kind)
  local cluster = cluster_of(name)
  local key = api .. " " .. kind
  for _, one in ipairs(not cluster.kinds[key] and group_of(cluster, api) or {}) do
    if one.kind == kind and not one.name:find "/" then
      cluster.kinds[key] = { api = api, kind = kind, resource = one.name, namespaced = one.namespaced == true }
    end
  end
  return cluster.kinds[key]
end

--- Forgets the kinds that the server was found not to know, and those it knew: a definition was added or taken away.
--- @param name string
function client.forget_kinds(name)
  local cluster = cluster_of(name)
  cluster.kinds, cluster.groups = {}, {}
end

--- Whether a word of a person, in small letters, means a kind as a server describes it.
--- @param one { kind: string, name: string, singularName?: string, shortNames?: string[] }
--- @param word string
--- @return boolean
function client.is_called(one, word)
  if one.name:find "/" then return false end
  if one.kind:lower() == word or one.name == word or one.singularName == word then return true end
  for _, short in ipairs(one.shortNames or {}) do
    if short == word then return true end
  end
  return false
end

--- Looks for a word through the preferred versions of all groups, or of the one that is named.
local function search(name, word, group)
  for _, one in ipairs(client.request(name, "GET", "/apis").groups or {}) do
    if not group or one.name == group then
      local api = one.preferredVersion.groupVersion
      for _, resource in ipairs(group_of(cluster_of(name), api) or {}) do
        if client.is_called(resource, word) then return client.kind(name, api, resource.kind) end
      end
    end
  end
end

--- The kind that a word of a person means: "deployment", "deploy", "certificates.cert-manager.io". Raises `missing`.
--- @param name string
--- @param word string
--- @return { api: string, kind: string, resource: string, namespaced: boolean }
function client.kind_called(name, word)
  local usual = USUAL[word:lower()]
  local first, group = word:lower():match "^([^.]+)%.(.+)$"
  local found = usual and client.kind(name, usual.api, usual.kind) or search(name, first or word:lower(), group)
  if found then return found end
  return fault.raise { kind = "missing",
    message = ("cluster %s has no kind %q%s"):format(name, word, near.hint(word:lower(), USUAL)) }
end

--- Whether a word of a person means a usual kind, or is a kind's own name.
--- @param word string
--- @param kind string  "Deployment"
--- @return boolean
function client.is_kind(word, kind)
  local usual = USUAL[word:lower()]
  return usual and usual.kind == kind or word:lower() == kind:lower()
end

--- The path of an object, or without a name of all of a kind.
--- @param kind { api: string, resource: string, namespaced: boolean }
--- @param namespace? string  nil with a namespaced kind: of all namespaces
--- @param object? string
--- @return string
function client.path(kind, namespace, object)
  local path = group_path(kind.api)
  if kind.namespaced and namespace then path = path .. "/namespaces/" .. secret.percent(namespace) end
  path = path .. "/" .. kind.resource
  return object and path .. "/" .. secret.percent(object) or path
end

-- ---- reading ----

--- An object; nil where it is not there.
--- @param name string
--- @param path string
--- @param options? table  of request
--- @return table?
function client.get(name, path, options)
  local ok, object = pcall(client.request, name, "GET", path, options)
  if ok then return object end
  if fault.is(object, "missing") then return nil end
  error(object, 0)
end

local function list_once(name, path, query)
  local items, following = {}, nil
  repeat
    local given = { limit = CHUNK, continue = following }
    for key, value in pairs(query or {}) do given[key] = value end
    local page = client.request(name, "GET", path, { query = given })
    local api, kind = page.apiVersion, tostring(page.kind):gsub("List$", "")
    for _, item in ipairs(type(page.items) == "table" and page.items or {}) do
      item.apiVersion, item.kind = item.apiVersion or api, item.kind or kind
      items[#items + 1] = item
    end
    following = page.metadata and page.metadata.continue
  until not following or following == ""
  return items
end

--- All objects, asked for in pieces; from the beginning again where a piece has expired (410).
--- @param name string
--- @param path string
--- @param query? table
--- @return table[]
function client.list(name, path, query)
  for count = 1, REPEATS do
    local ok, items = pcall(list_once, name, path, query)
    if ok then return items end
    if count == REPEATS or not fault.is(items) or items.code ~= 410 then error(items, 0) end
  end
end

local BROKEN = { lost = true, connect = true, timeout = true }

--- Waits until something happens to an object, at most so many seconds.
--- @param name string
--- @param kind table
--- @param namespace? string
--- @param object string
--- @param version? string  the resource version that was seen
--- @param seconds number
function client.next_change(name, kind, namespace, object, version, seconds)
  local cluster, path = cluster_of(name), client.path(kind, namespace)
  local query = { watch = 1, fieldSelector = "metadata.name=" .. object, resourceVersion = version,
    timeoutSeconds = math.max(1, math.ceil(seconds)) }
  local ok, failure = pcall(task.deadline, seconds + 5, function()
    local exchange <close> = open(cluster, { method = "GET", path = path .. query_of(query) })
    if exchange:response({ timeout = 86400 }).status == 200 then
      exchange:read { timeout = 86400 }
    else
      task.sleep(math.min(1, seconds)) -- too old a version, or no leave to watch: then it is looked at from time to time
    end
  end)
  if ok or (fault.is(failure) and BROKEN[failure.kind]) then return end
  error(failure, 0)
end

-- ---- who it is ----

--- What the server says of its version.
--- @param name string
--- @return { gitVersion: string, major: string, minor: string }
function client.version(name) return client.request(name, "GET", "/version") end

local function check_version(cluster)
  local wanted = cluster.settings.expect_version
  if not wanted then return end
  wanted = tostring(wanted):gsub("^v", "")
  local found = client.version(cluster.name).gitVersion:gsub("^v", "")
  if found:sub(1, #wanted) == wanted and not found:sub(#wanted + 1):find "^%d" then return end
  fault.raise { kind = "denied", code = "identity", host = cluster.name,
    message = ("cluster %s is of version %s, the environment expects %s"):format(cluster.name, found, wanted) }
end

--- What only this cluster can show: the uid of its namespace kube-system; to a user who may not see that, its authority.
local function identity_of(cluster)
  local ok, system = pcall(client.request, cluster.name, "GET", "/api/v1/namespaces/kube-system")
  if ok then return "kube-system " .. tostring(system.metadata.uid) end
  if not fault.is(system, "denied") then error(system, 0) end
  local settings = cluster.settings
  local authority = settings.ca_data or settings.ca and fs.read(settings.ca) or ""
  return ("%s %s"):format(settings.server, crypto.sha256(authority))
end

--- Holds the cluster against the one this run was made for, once in a process. Raises `denied` where it is another.
--- @param name string
function client.meet(name)
  local cluster = cluster_of(name)
  if cluster.met then return end
  cluster.meeting = true
  local ok, failure = pcall(function()
    local identity = identity_of(cluster)
    check_version(cluster)
    hosts.met("cluster " .. name, identity)
  end)
  cluster.met, cluster.meeting = ok, false
  if not ok then error(failure, 0) end
end

--- Nothing is asked of a cluster, not by a plan either, before it is known which it is.
function meet_first(cluster)
  if not cluster.met and not cluster.meeting then client.meet(cluster.name) end
end

return client
