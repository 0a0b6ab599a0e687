--- A cluster in memory: what its API server says of the objects that a test gives and that changes make. What is applied is
--- what the manifest says; all that is there runs.
local client  = require "neap.targets.k8s.client"
local fault   = require "native.error"
local json    = require "native.json"
local ordered = require "neap.ordered"
local plans   = require "neap.targets.k8s.plan"
local secret  = require "native.secret"
local state   = require "neap.targets.k8s.state"

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

-- ---- kinds ----

local RANKS = { [""] = 3, beta = 2, alpha = 1 }

--- Whether a server prefers a version to another: v2, v1, v1beta2, v1beta1, v1alpha1.
local function is_preferred(version, other)
  local function parts(name)
    local major, stage, minor = name:match "^v(%d+)(%a*)(%d*)$"
    return { RANKS[stage] or 0, tonumber(major) or 0, tonumber(minor) or 0 }
  end
  local a, b = parts(version), parts(other)
  for i, part in ipairs(a) do
    if part ~= b[i] then return part > b[i] end
  end
  return false
end

--- Adds the kind of a definition, in each version in which it is served.
local function add_defined(found, spec)
  local names = spec.names
  for _, version in ipairs(spec.versions) do
    if version.served ~= false then
      found[#found + 1] = { api = ("%s/%s"):format(spec.group, version.name), kind = names.kind, name = names.plural,
        singularName = names.singular, shortNames = names.shortNames, namespaced = spec.scope == "Namespaced" }
    end
  end
end

--- The kinds that a cluster serves, as a server says them, each with its api: the usual ones, and those of definitions
--- that are there.
local function served(targets, cluster)
  local found = {}
  for api, usual in pairs(client.usual) do
    for kind, words in pairs(usual) do
      found[#found + 1] = { api = api, kind = kind, name = words:match "%S+$", namespaced = not IN_NO_NAMESPACE[kind] }
    end
  end
  local function is_definition(target) return target.kind == "CustomResourceDefinition" end
  for _, entry in ipairs(entries(targets, cluster, is_definition)) do add_defined(found, object_of(entry).spec) end
  return found
end

--- Whether objects of a kind are in namespaces; those of one that is not served are.
local function is_namespaced(targets, cluster, api, kind)
  for _, one in ipairs(served(targets, cluster)) do
    if one.api == api and one.kind == kind then return one.namespaced end
  end
  return true
end

--- What says of a kind whether a word of a person means it: "deploy", "tenants", "tenant.shop.example".
local function means(targets, cluster, word)
  local kinds, first, group = {}, word:lower():match "^([^.]+)%.?(.*)$"
  for _, one in ipairs(served(targets, cluster)) do
    local is_of_group = group == "" or one.api:match "^(.+)/" == group
    if is_of_group and client.is_called(one, first) then kinds[one.kind] = true end
  end
  return function(kind) return kinds[kind] or client.is_kind(word, kind) end
end

-- ---- what a test gives and sees ----

--- Puts an object there, as somebody else has made it. An object of a kind of one's own comes behind its definition.
--- @param targets neap.fake_targets
--- @param cluster string
--- @param object table  a manifest
--- @param namespace string  where it names none
function clusters.put(targets, cluster, object, namespace)
  local made = plans.guessed(object)
  made.own, made.maker = {}, "test"
  targets:put(KIND, { host = "cluster " .. cluster, cluster = cluster, api = object.apiVersion, kind = object.kind,
    namespace = is_namespaced(targets, cluster, object.apiVersion, object.kind)
      and (object.metadata.namespace or namespace) or nil,
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
  local is_meant = means(targets, cluster, word)
  local found = entries(targets, cluster, function(target)
    local is_there = not namespace or not target.namespace or target.namespace == namespace
    return is_there and target.object == name and is_meant(target.kind)
  end)
  return found[1] and object_of(found[1])
end

-- ---- what is asked ----

--- The labels of "app=shop,tier=web"; nil: the selector says something else.
local function labels_of(selector)
  local labels = {}
  for part in (selector or ""):gmatch "[^,]+" do
    local name, value = part:match "^%s*([%w./_-]+)%s*==?%s*([%w._-]*)%s*$"
    if not name then return nil end
    labels[#labels + 1] = { name = name, value = value }
  end
  return labels
end

local function has_labels(object, labels)
  for _, label in ipairs(labels) do
    if (object.metadata.labels or {})[label.name] ~= label.value then return false end
  end
  return true
end

local function one(targets, of, ref, options) return clusters.object(targets, of.cluster, ref, options.namespace) end

local function list(targets, of, word, options)
  local labels = labels_of(options.labels)
  if not labels or options.fields then targets:no_answer("k8s.list", of, word, options) end
  local found, is_meant = {}, means(targets, of.cluster, word)
  for _, entry in ipairs(entries(targets, of.cluster, function(target)
    local is_there = options.all_namespaces or not target.namespace
      or target.namespace == (options.namespace or client.namespace(of.cluster))
    return is_there and is_meant(target.kind)
  end)) do
    local object = object_of(entry)
    if has_labels(object, labels) then found[#found + 1] = object end
  end
  return found
end

--- Nothing goes by itself here: what is there stays.
local function gone(targets, of, ref, options)
  local object = clusters.object(targets, of.cluster, ref, options.namespace or client.namespace(of.cluster))
  if not object then return end
  fault.raise { kind = "timeout", host = of.cluster,
    message = ("%s/%s of the trial's cluster %s is still there"):format(object.kind:lower(), object.metadata.name,
      of.cluster) }
end

--- What reads of a cluster say, where the test has no answer of its own.
clusters.reads = {
  ["k8s.get"] = one,
  ["k8s.list"] = list,
  ["k8s.rollout"] = function() end,
  ["k8s.wait_for"] = one,
  ["k8s.wait_gone"] = gone,
  ["k8s.deleted"] = function() end,
  ["k8s.events"] = function() return {} end,
  ["k8s.dry_run"] = function(targets, target, body)
    return plans.guessed(json.decode(secret.is(body) and secret.reveal(body) or body), targets:get(KIND, target))
  end,
}

--- The kinds that are served in a version.
local function resources(targets, cluster, api)
  local found = {}
  for _, kind in ipairs(served(targets, cluster)) do
    if kind.api == api then found[#found + 1] = kind end
  end
  return found
end

--- The groups that have names, each with the version that is preferred.
local function groups(targets, cluster)
  local found, preferred = {}, {}
  for _, kind in ipairs(served(targets, cluster)) do
    local group, version = kind.api:match "^(.+)/(.+)$"
    if group and (not preferred[group] or is_preferred(version, preferred[group])) then preferred[group] = version end
  end
  for _, group in ipairs(ordered.keys(preferred)) do
    found[#found + 1] = { name = group, preferredVersion = { version = preferred[group],
      groupVersion = group .. "/" .. preferred[group] } }
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
  if method == "GET" and path == "/apis" then return { groups = groups(targets, cluster) } end
  local api = method == "GET" and (path:match "^/api/([^/]+)$" or path:match "^/apis/([^/]+/[^/]+)$")
  local found = api and resources(targets, cluster, api) or {}
  if #found > 0 then return { resources = found } end
  return fault.raise { kind = "missing", code = 404, host = cluster,
    message = ("the trial's cluster %s has nothing at %s"):format(cluster, path) }
end

return clusters
