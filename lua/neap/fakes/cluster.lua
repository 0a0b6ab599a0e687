--- A cluster in memory: what its API server says of the objects that a test gives and that changes make. What is applied is
--- what the manifest says; all that is there runs.
local client = require "neap.targets.k8s.client"
local fault  = require "native.error"
local json   = require "native.json"
local plans  = require "neap.targets.k8s.plan"
local secret = require "native.secret"
local state  = require "neap.targets.k8s.state"

local clusters = {}

local KIND = "k8s.object"
local IN_NO_NAMESPACE = { Namespace = true, Node = true, PersistentVolume = true, ClusterRole = true,
  ClusterRoleBinding = true, IngressClass = true, StorageClass = true, PriorityClass = true,
  CustomResourceDefinition = true }
local SCALED = { Deployment = true, StatefulSet = true, DaemonSet = true, ReplicaSet = true }

-- ---- objects and their states ----

--- Of pods nothing is made up but that there are as many as there are to be.
local function status_of(object)
  if not SCALED[object.kind] then return nil end
  local count = object.spec and object.spec.replicas or 1
  return { observedGeneration = 1, replicas = count, updatedReplicas = count, readyReplicas = count,
    availableReplicas = count }
end

local function object_of(entry)
  local target, object = entry.target, state.build(entry.state, state.paths(entry.state), true)
  object.apiVersion, object.kind = target.api, target.kind
  object.metadata = object.metadata or {}
  object.metadata.name, object.metadata.namespace, object.metadata.generation = target.object, target.namespace, 1
  object.status = status_of(object)
  return object
end

--- All entries of a cluster that a test accepts, by their names.
local function entries(targets, cluster, accepts)
  local found = {}
  for _, entry in pairs(targets.states) do
    local is_here = entry.kind == KIND and entry.target.cluster == cluster and entry.state ~= nil
    if is_here and accepts(entry.target) then found[#found + 1] = entry end
  end
  table.sort(found, function(a, b) return a.target.object < b.target.object end)
  return found
end

--- Puts an object there, as somebody else has made it.
--- @param targets neap.fake_targets
--- @param cluster string
--- @param object table  a manifest
--- @param namespace string  where it names none
function clusters.put(targets, cluster, object, namespace)
  local made = plans.guessed(object)
  made.own, made.maker = {}, "test"
  targets:put(KIND, { host = "cluster " .. cluster, cluster = cluster, api = object.apiVersion, kind = object.kind,
    namespace = not IN_NO_NAMESPACE[object.kind] and (object.metadata.namespace or namespace) or nil,
    object = object.metadata.name }, made)
end

--- The object of a name; nil where it is not there.
--- @param targets neap.fake_targets
--- @param cluster string
--- @param ref string|{ kind: string, name: string, namespace?: string }  "deployment/reporting"
--- @param namespace? string  nil: any
--- @return table?
function clusters.object(targets, cluster, ref, namespace)
  local word, name = ref.kind, ref.name
  if type(ref) == "string" then word, name = ref:match "^([^/]+)/(.+)$" end
  namespace = type(ref) == "table" and ref.namespace or namespace
  local found = entries(targets, cluster, function(target)
    local is_there = not namespace or not target.namespace or target.namespace == namespace
    return is_there and target.object == name and client.is_kind(word, target.kind)
  end)
  return found[1] and object_of(found[1])
end

-- ---- what is asked ----

--- "app=shop,tier=web"; what else a selector can say a test has to answer.
local function has_labels(object, labels)
  for part in (labels or ""):gmatch "[^,]+" do
    local name, value = part:match "^([^=!]+)==?([^=]*)$"
    if not name or (object.metadata.labels or {})[name] ~= value then return false end
  end
  return true
end

local function one(targets, of, ref, options) return clusters.object(targets, of.cluster, ref, options.namespace) end

local function list(targets, of, word, options)
  local found = {}
  for _, entry in ipairs(entries(targets, of.cluster, function(target)
    local is_there = options.all_namespaces or not target.namespace
      or target.namespace == (options.namespace or client.namespace(of.cluster))
    return is_there and client.is_kind(word, target.kind)
  end)) do
    local object = object_of(entry)
    if has_labels(object, options.labels) then found[#found + 1] = object end
  end
  return found
end

--- What reads of a cluster say, where the test has no answer of its own.
clusters.reads = {
  ["k8s.get"] = one,
  ["k8s.list"] = list,
  ["k8s.rollout"] = function() end,
  ["k8s.wait_for"] = one,
  ["k8s.wait_gone"] = function() end,
  ["k8s.events"] = function() return {} end,
  ["k8s.dry_run"] = function(targets, target, body)
    return plans.guessed(json.decode(secret.is(body) and secret.reveal(body) or body), targets:get(KIND, target))
  end,
}

--- The kinds that are served in a version: the usual ones, and those of definitions that are there.
local function resources(targets, cluster, api)
  local found = {}
  for kind, words in pairs(client.usual[api] or {}) do
    found[#found + 1] = { kind = kind, name = words:match "%S+$", namespaced = not IN_NO_NAMESPACE[kind] }
  end
  local function is_definition(target) return target.kind == "CustomResourceDefinition" end
  for _, entry in ipairs(entries(targets, cluster, is_definition)) do
    local spec = object_of(entry).spec
    local names, namespaced = spec.names, spec.scope == "Namespaced"
    for _, version in ipairs(spec.versions) do
      if ("%s/%s"):format(spec.group, version.name) == api then
        found[#found + 1] = { kind = names.kind, name = names.plural, namespaced = namespaced }
      end
    end
  end
  return found
end

--- What an API server is asked beside reads: which kinds there are. All else is not there.
--- @param targets neap.fake_targets
--- @param cluster string
--- @param method string
--- @param path string
--- @return table
function clusters.ask(targets, cluster, method, path)
  local api = method == "GET" and (path:match "^/api/([^/]+)$" or path:match "^/apis/([^/]+/[^/]+)$")
  local found = api and resources(targets, cluster, api) or {}
  if #found > 0 then return { resources = found } end
  return fault.raise { kind = "missing", code = 404, host = cluster,
    message = ("the trial's cluster %s has nothing at %s"):format(cluster, path) }
end

return clusters
