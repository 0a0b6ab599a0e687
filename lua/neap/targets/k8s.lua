--- Kubernetes: objects of a cluster of the environment, read, applied, altered, deleted and waited for.
local client    = require "neap.targets.k8s.client"
local commands  = require "neap.targets.k8s.command"
local effect    = require "neap.engine.effect"
local exec      = require "neap.targets.k8s.exec"
local fault     = require "native.error"
local hosts     = require "neap.targets.connection"
local jobs      = require "neap.targets.k8s.job"
local json      = require "native.json"
local kinds     = require "neap.targets.k8s.kinds"
local logs      = require "neap.targets.k8s.logs"
local losses    = require "neap.targets.k8s.loss"
local manifests = require "neap.targets.k8s.manifest"
local ordered   = require "neap.ordered"
local plans     = require "neap.targets.k8s.plan"
local secrets   = require "neap.targets.k8s.secret"
local shell     = require "neap.targets.shell"
local state     = require "neap.targets.k8s.state"
local task      = require "native.task"
local waits     = require "neap.targets.k8s.wait"

local k8s = {}

local ROLLOUT_TIMEOUT, WAIT_TIMEOUT, JOB_TIMEOUT = 600, 600, 3600 -- seconds
local READ_TIMEOUT = 60
local KIND_TIMEOUT = 30 -- seconds in which a server serves what a new definition describes

-- ---- what is meant ----

local CHANGE = { "keep", "irreversible", "timeout" }

local function check_options(options, known, more, level)
  local names = {}
  for _, list in ipairs { known, more or {} } do
    for _, name in ipairs(list) do names[name] = true end
  end
  shell.check_options(options, names, level + 1) -- no tail call: the level counts this function too
  return options or {}
end

local function effect_options(options)
  return { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout }
end

local function parts_of(ref, level)
  if type(ref) == "table" and type(ref.kind) == "string" and type(ref.name) == "string" then
    return ref.kind, ref.name, ref.namespace
  end
  local kind, name = tostring(ref):match "^([%w.-]+)/([%w.:-]+)$"
  if not kind then error(("%q names no object, as in \"deployment/reporting\""):format(tostring(ref)), level + 1) end
  return kind, name
end

--- Asks until there is an answer: a server serves soon after its definition what that describes.
local function until_served(cluster, is_defined, ask)
  local until_then = task.now() + KIND_TIMEOUT
  local kind = ask()
  while not kind and is_defined and not effect.planning() and task.now() < until_then do
    task.sleep(0.25)
    client.forget_kinds(cluster)
    kind = ask()
  end
  return kind
end

--- The kind that a word means, also one that this run defines.
local function kind_of_word(cluster, word)
  local defined = plans.defined_as(cluster, word)
  if not defined then return client.kind_called(cluster, word) end
  return until_served(cluster, true, function() return client.kind(cluster, defined.api, defined.kind) end) or defined
end

--- Where an object is: its kind as the server has it, its namespace and name.
local function place_of(cluster, ref, options, level)
  local word, name, namespace = parts_of(ref, level + 1)
  local kind = kind_of_word(cluster, word)
  return { cluster = cluster, kind = kind, object = name,
    namespace = kind.namespaced and (namespace or options.namespace or client.namespace(cluster)) or nil }
end

local function target_of(place)
  return { host = "cluster " .. place.cluster, cluster = place.cluster, api = place.kind.api, kind = place.kind.kind,
    namespace = place.namespace, object = place.object }
end

-- ---- reads: of the cluster, so that a plan does not ask after it has planned a change there ----

local function read(name, fn)
  local ask = effect.read(name, fn)
  return function(cluster, ...)
    return ask({ host = "cluster " .. cluster, cluster = cluster }, ...)
  end
end

local function shown_object(cluster, object)
  if object and object.kind == "Secret" then return secrets.concealed(object) end
  return object
end

local read_object = read("k8s.get", function(of, ref, options)
  local place = place_of(of.cluster, ref, options, 4)
  return shown_object(of.cluster, client.get(of.cluster, client.path(place.kind, place.namespace, place.object)))
end)

--- An object as the server has it; nil where it is not there. What a Secret holds are secrets, decoded.
--- @param cluster string  of the environment's clusters
--- @param ref string|{ kind: string, name: string, namespace?: string }  "deployment/reporting"
--- @param options? { namespace?: string }
--- @return table?
function k8s.get(cluster, ref, options)
  return read_object(cluster, ref, check_options(options, { "namespace" }, nil, 2))
end

local read_list = read("k8s.list", function(of, word, options)
  local kind = client.kind_called(of.cluster, word)
  local namespace = options.namespace or client.namespace(of.cluster)
  local items = client.list(of.cluster, client.path(kind, not options.all_namespaces and namespace or nil),
    { labelSelector = options.labels, fieldSelector = options.fields })
  for i, item in ipairs(items) do items[i] = shown_object(of.cluster, item) end
  return items
end)

--- All objects of a kind in a namespace.
--- @param cluster string
--- @param kind string  "pods"
--- @param options? { namespace?: string, all_namespaces?: boolean, labels?: string, fields?: string }  selectors
--- @return table[]
function k8s.list(cluster, kind, options)
  return read_list(cluster, kind, check_options(options, { "namespace", "all_namespaces", "labels", "fields" }, nil, 2))
end

local read_events = read("k8s.events", function(of, ref, options)
  if not ref then return waits.events(of.cluster, options.namespace or client.namespace(of.cluster)) end
  local place = place_of(of.cluster, ref, options, 4)
  return waits.events(of.cluster, place.namespace, place.object)
end)

--- Events of an object, or of a namespace, oldest first.
--- @param cluster string
--- @param ref? string
--- @param options? { namespace?: string }
--- @return { time: string, type: string, reason: string, message: string, object: string, count: integer }[]
function k8s.events(cluster, ref, options)
  return read_events(cluster, ref or false, check_options(options, { "namespace" }, nil, 2))
end

local read_version = read("k8s.version", function(of) return client.version(of.cluster).gitVersion end)

--- The version of the API server, "v1.30.2".
--- @param cluster string
--- @return string
function k8s.version(cluster) return read_version(cluster) end

-- ---- changes ----

local APPLY = { "namespace", "force_conflicts" }

--- Where an object of a manifest is to be. A kind that the server does not know yet is served soon after its definition.
local function place_of_object(cluster, object, namespace)
  local kind = until_served(cluster, plans.defined_kind(cluster, object) ~= nil, function()
    return client.kind(cluster, object.apiVersion, object.kind)
  end)
  if not kind then kind = effect.planning() and plans.defined_kind(cluster, object) end
  if not kind then
    fault.raise { kind = "missing", host = cluster,
      message = ("cluster %s knows no kind %s of %s"):format(cluster, object.kind, object.apiVersion) }
  end
  if not kind.namespaced then return { cluster = cluster, kind = kind, object = object.metadata.name } end
  local own = object.metadata.namespace
  if own and namespace and own ~= namespace then
    fault.raise { kind = "denied", host = cluster, hint = "leave one of them out",
      message = ("the manifest of %s/%s says namespace %s, and the call says %s"):format(object.kind:lower(),
        object.metadata.name, own, namespace) }
  end
  return { cluster = cluster, kind = kind, object = object.metadata.name,
    namespace = own or namespace or client.namespace(cluster) }
end

local function check_name(object)
  if object.metadata.name then return end
  fault.raise { kind = "protocol",
    message = ("a %s that is applied needs metadata.name, not generateName"):format(object.kind) }
end

local function apply_one(cluster, object, options)
  check_name(object)
  local place = place_of_object(cluster, object, options.namespace)
  local target = target_of(place)
  object.metadata.namespace = place.namespace
  plans.note_definition(cluster, object)
  if effect.planning() then
    return effect.change("k8s.object", target, function(before)
      return plans.applied(target, object, before, options.force_conflicts)
    end, effect_options(options))
  end
  local after = kinds.recorded_dry_run(target, state.encode(object), options.force_conflicts)
  return effect.change("k8s.object", target, function() return after end, effect_options(options))
end

--- Applies manifests by the server (server-side apply, as field manager "neap"), one effect an object, in the order in
--- which they can be made. Raises `conflict` where other managers have said otherwise of a field, which names them, and
--- `denied` with the field that the server does not accept. A rollback puts back what was there, and deletes what was not.
--- @param cluster string
--- @param given string|table  texts of several lines, paths of files and folders, objects, lists of these
--- @param options? { namespace?: string, force_conflicts?: boolean, keep?: string, irreversible?: string, timeout?: number }
function k8s.apply(cluster, given, options)
  options = check_options(options, APPLY, CHANGE, 2)
  for _, object in ipairs(manifests.objects(given)) do apply_one(cluster, object, options) end
end

--- Whether that names an object, and is no path of a file.
local function is_name(given)
  if type(given) == "table" then return given.kind ~= nil and given.name ~= nil end
  return given:find "^[%w.-]+/[%w.:-]+$" ~= nil and not given:find "%.ya?ml$" and not given:find "%.json$"
end

--- Places of objects that are named, or described by manifests.
local function places_of(cluster, given, options, level)
  local list, places = type(given) == "table" and given[1] ~= nil and given or { given }, {}
  if is_name(list[1]) then
    for _, one in ipairs(list) do places[#places + 1] = place_of(cluster, one, options, level + 1) end
    return places
  end
  for _, object in ipairs(manifests.objects(given)) do
    check_name(object)
    table.insert(places, 1, place_of_object(cluster, object, options.namespace))
  end
  return places
end

local wait_deleted = read("k8s.deleted", function(_, place, timeout) waits.deleted(place, timeout) end)

--- Deletes objects and waits until they are gone: those of manifests in the reverse of the order in which they are made.
--- What is not there is passed over. A rollback makes them again as people had described them, but for what their owner
--- makes again, and jobs, which would run again; with namespaces, definitions of kinds and claims of volumes goes what it
--- cannot make again: they are a point of no return, unless `keep` says otherwise. Raises `timeout` with the finalizers
--- that hold an object.
--- @param cluster string
--- @param given string|table  "deployment/x", a list of such names, or manifests
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }  600 seconds to be gone
function k8s.delete(cluster, given, options)
  options = check_options(options, { "namespace" }, CHANGE, 2)
  for _, place in ipairs(places_of(cluster, given, options, 2)) do
    local target = target_of(place)
    effect.change("k8s.object", target, function() return nil end, losses.options(target, effect_options(options)))
    if not effect.planning() then wait_deleted(cluster, place, options.timeout or WAIT_TIMEOUT) end
  end
end

local function change_fields(cluster, ref, options, level, alter)
  local place = place_of(cluster, ref, options, level + 1)
  local target = target_of(place)
  return effect.change("k8s.object", target, function(before)
    if before then return plans.altered(target, before, alter(before, target)) end
    return fault.raise { kind = "missing", host = cluster, message = kinds.show(target) .. " is not there" }
  end, effect_options(options))
end

--- Sets the number of replicas. Does not wait for them: k8s.rollout does.
--- @param cluster string
--- @param ref string  "deployment/x"
--- @param count integer
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }
function k8s.scale(cluster, ref, count, options)
  options = check_options(options, { "namespace" }, CHANGE, 2)
  if math.type(count) ~= "integer" or count < 0 then error("scale takes a number of replicas", 2) end
  change_fields(cluster, ref, options, 2, function(before)
    return plans.with_field(before, { "f:spec", "f:replicas" }, count)
  end)
end

--- Sets images of a workload's containers.
--- @param cluster string
--- @param ref string
--- @param images table<string, string>  by the container's name
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }
function k8s.set_image(cluster, ref, images, options)
  options = check_options(options, { "namespace" }, CHANGE, 2)
  change_fields(cluster, ref, options, 2, function(before, target)
    return plans.with_images(before, images, kinds.show(target))
  end)
end

local function set_entries(cluster, ref, section, entries, options, level)
  change_fields(cluster, ref, options, level + 1, function(before)
    for name, value in pairs(entries) do
      if value ~= false and type(value) ~= "string" then error("values of labels and annotations are texts", 0) end
      local path = { "f:metadata", "f:" .. section, "f:" .. name }
      before = plans.with_field(before, path, value ~= false and value or nil)
    end
    return before
  end)
end

--- Sets annotations; false takes one away.
--- @param cluster string
--- @param ref string
--- @param annotations table<string, string|false>
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }
function k8s.annotate(cluster, ref, annotations, options)
  set_entries(cluster, ref, "annotations", annotations, check_options(options, { "namespace" }, CHANGE, 2), 2)
end

--- Sets labels; false takes one away.
--- @param cluster string
--- @param ref string
--- @param labels table<string, string|false>
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }
function k8s.label(cluster, ref, labels, options)
  set_entries(cluster, ref, "labels", labels, check_options(options, { "namespace" }, CHANGE, 2), 2)
end

--- Sets fields of maps within an object, as a merge patch does, but for lists: those are applied. json.null takes a field
--- away.
--- @param cluster string
--- @param ref string
--- @param patch table  { spec = { paused = true } }
--- @param options? { namespace?: string, keep?: string, irreversible?: string, timeout?: number }
function k8s.patch(cluster, ref, patch, options)
  options = check_options(options, { "namespace" }, CHANGE, 2)
  change_fields(cluster, ref, options, 2, function(before) return plans.patched(before, patch, {}) end)
end

-- ---- waits ----

--- Of a wait a plan says that there is one; it asks nobody, for the cluster is not what it will be.
effect.action "k8s.wait" {
  run = function() error("a wait is performed by plans alone", 0) end,
  done = function() return false end,
  show = function(target) return ("%s %s"):format(target.cluster, target.ref) end,
  says = function(data) return data.what end,
}

local function planned_wait(cluster, ref, what)
  if not effect.planning() then return nil end
  local shown = type(ref) == "table" and ref.kind .. "/" .. ref.name or ref
  return effect.perform("k8s.wait", { cluster = cluster, ref = shown }, { what = what },
    { keep = "it changes nothing" })
end

local wait_rollout = read("k8s.rollout", function(of, ref, options)
  waits.rollout(place_of(of.cluster, ref, options, 4), options.timeout or ROLLOUT_TIMEOUT)
end)

--- Waits until a deployment, stateful set or daemon set runs as its object says. Raises `timeout`, and `remote` where it
--- has failed for good, with what its pods suffer from.
--- @param cluster string
--- @param ref string
--- @param options? { namespace?: string, timeout?: number }  600 seconds
function k8s.rollout(cluster, ref, options)
  options = check_options(options, { "namespace", "timeout" }, nil, 2)
  parts_of(ref, 2)
  if planned_wait(cluster, ref, "is waited for until it is rolled out") then return end
  wait_rollout(cluster, ref, options)
end

local wait_condition = read("k8s.wait_for", function(of, ref, options, wanted)
  return shown_object(of.cluster, waits.condition(place_of(of.cluster, ref, options, 4), wanted,
    options.timeout or WAIT_TIMEOUT))
end)

--- Waits until an object has a condition, "Ready" or "Ready=False", or until a function of it returns true; it is given nil
--- while the object is not there.
--- @param cluster string
--- @param ref string
--- @param wanted string|fun(object: table?): any
--- @param options? { namespace?: string, timeout?: number }  600 seconds
--- @return table? object
function k8s.wait_for(cluster, ref, wanted, options)
  options = check_options(options, { "namespace", "timeout" }, nil, 2)
  parts_of(ref, 2)
  local what = type(wanted) == "string" and wanted or "as a function says"
  return planned_wait(cluster, ref, ("is waited for until it is %s"):format(what))
    or wait_condition(cluster, ref, options, wanted)
end

local wait_gone = read("k8s.wait_gone", function(of, ref, options)
  waits.gone(place_of(of.cluster, ref, options, 4), options.timeout or WAIT_TIMEOUT)
end)

--- Waits until an object is not there any more.
--- @param cluster string
--- @param ref string
--- @param options? { namespace?: string, timeout?: number }  600 seconds
function k8s.wait_gone(cluster, ref, options)
  options = check_options(options, { "namespace", "timeout" }, nil, 2)
  parts_of(ref, 2)
  if planned_wait(cluster, ref, "is waited for until it is gone") then return end
  wait_gone(cluster, ref, options)
end

local read_logs = read("k8s.logs", function(of, ref, options)
  local place = place_of(of.cluster, ref, options, 4)
  if options.follow then return logs.follow(place, options, options.timeout or WAIT_TIMEOUT) end
  return waits.logs(place, options)
end)

local LOGS = { "namespace", "container", "tail", "since", "previous", "follow", "until", "timeout" }

--- The log of a pod, or of one pod of a workload: one that runs, if any does. `since` is in seconds. With `follow` it is
--- read as it is written, for `timeout` seconds at most: until the pod writes no more, or a line has the pattern `until`,
--- or that function returns true of it. Raises `timeout`, and `remote` where the log ends without that line.
--- @param cluster string
--- @param ref string  "pod/x", "deployment/x", "job/x"
--- @param options? { namespace?: string, container?: string, tail?: integer, since?: integer, previous?: boolean,
---   follow?: boolean, ["until"]?: string|(fun(line: string): any), timeout?: number }  600 seconds
--- @return string
function k8s.logs(cluster, ref, options)
  options = check_options(options, LOGS, nil, 2)
  if not options.follow and (options["until"] or options.timeout) then error("until and timeout are for follow", 2) end
  local waited = options.follow and planned_wait(cluster, ref, "its log is followed")
  return waited or read_logs(cluster, ref, options)
end

-- ---- commands in containers ----

local read_pod = read("k8s.pod", function(of, ref, options) return waits.pod(place_of(of.cluster, ref, options, 4)) end)

local function container_of(cluster, ref, options, level)
  local kind, name, namespace = parts_of(ref, level + 1)
  local is_pod = kind:lower():find "^pods?$" or kind:lower() == "po"
  local pod = is_pod and name or effect.planning() and ("(one of %s/%s)"):format(kind, name)
    or read_pod(cluster, ref, { namespace = options.namespace })
  return { cluster = cluster, namespace = namespace or options.namespace or client.namespace(cluster), pod = pod,
    container = options.container }
end

local read_exec = read("k8s.exec", function(_, place, command, options)
  local result = exec.run(place, command, { reads = true, input = options.input, ok = options.ok,
    timeout = options.timeout or READ_TIMEOUT })
  return result
end)

local EXEC = { "namespace", "container", "input", "ok", "reads", "witness", "undo" }

--- Runs a command in a container of a pod, or of one of a workload's, exactly once: it outlives the connection, and a
--- witness in the container says what became of it. The image needs a shell for that; with witness = false none is
--- needed, and of a call without an answer a person says what it did. reads: it changes nothing. Raises `remote` unless
--- the exit status is in `ok` (default: 0).
--- @param cluster string
--- @param ref string  "pod/x", "deployment/x"
--- @param command (string|number)[]|string  a list, or a text for the shell
--- @param options? { namespace?: string, container?: string, input?: string, ok?: integer[]|"any", reads?: boolean,
---   witness?: boolean, undo?: (string|number)[]|string, keep?: string, irreversible?: string, timeout?: number }
--- @return { out: string, err: string, status: integer }
function k8s.exec(cluster, ref, command, options)
  options = check_options(options, EXEC, CHANGE, 2)
  shell.text(command)
  local place = container_of(cluster, ref, options, 2)
  if options.reads then return read_exec(cluster, place, command, options) end
  return commands.perform(place, command, options)
end

--- Runs a job to its end, once: by its name neap knows after an interruption whether it ran. Raises `remote` with the last
--- lines of its log where it fails. A rollback deletes the job, not what it did: say `irreversible` or `keep` of that.
--- @param cluster string
--- @param given string|table  a manifest of one Job
--- @param options? { namespace?: string, timeout?: number, keep?: string, irreversible?: string }  3600 seconds
--- @return { name: string, succeeded: integer, begun?: string, ended?: string }
function k8s.run_job(cluster, given, options)
  options = check_options(options, { "namespace" }, CHANGE, 2)
  local objects = manifests.objects(given)
  if #objects ~= 1 then error("run_job takes one job", 2) end
  local object = objects[1]
  object.metadata.namespace = object.metadata.namespace or options.namespace or client.namespace(cluster)
  return jobs.run(cluster, object, options.timeout or JOB_TIMEOUT, options)
end

--- The names of the environment's clusters, sorted.
--- @return string[]
function k8s.clusters()
  return json.array(ordered.keys(hosts.run().environment.clusters))
end

return k8s
