--- Waiting for what a cluster does by itself: roll-outs, conditions, ends. What takes too long is explained by the pods.
local client = require "neap.targets.k8s.client"
local fault  = require "native.error"
local task   = require "native.task"

local waits = {}

local LOOK      = 10 -- seconds after which it is looked at again, though nothing was told
local MOST_PODS = 5  -- that are named
local LOG_LINES = 20

local function value(number) return math.type(number) == "integer" and number or 0 end

-- ---- when a roll-out is over ----

local function condition(object, kind)
  for _, one in ipairs(object.status and object.status.conditions or {}) do
    if one.type == kind then return one end
  end
end

local ROLLED_OUT = {}

function ROLLED_OUT.Deployment(spec, status, object)
  local wanted = spec.replicas == nil and 1 or value(spec.replicas)
  local progress = condition(object, "Progressing")
  if progress and progress.reason == "ProgressDeadlineExceeded" then return nil, progress.message end
  local updated, all, available = value(status.updatedReplicas), value(status.replicas), value(status.availableReplicas)
  return updated == wanted and all == updated and available == updated,
    ("%s%d of %d updated, %d available, %d of the old ones left"):format(
      spec.paused and "it is paused (spec.paused); " or "", updated, wanted, available, math.max(0, all - updated))
end

function ROLLED_OUT.StatefulSet(spec, status)
  local wanted = spec.replicas == nil and 1 or value(spec.replicas)
  local updated, ready = value(status.updatedReplicas), value(status.readyReplicas)
  local is_new = status.updateRevision == nil or status.currentRevision == status.updateRevision or updated == wanted
  return is_new and ready == wanted and value(status.replicas) == wanted,
    ("%d of %d updated, %d ready"):format(updated, wanted, ready)
end

function ROLLED_OUT.DaemonSet(_, status)
  local wanted, updated = value(status.desiredNumberScheduled), value(status.updatedNumberScheduled)
  return updated == wanted and value(status.numberAvailable) == wanted,
    ("%d of %d updated, %d available"):format(updated, wanted, value(status.numberAvailable))
end

--- Whether it is over; nil where it will not be. And how it stands.
local function progress_of(object)
  local status = object.status or {}
  if value(status.observedGeneration) < value(object.metadata.generation) then return false, "not yet seen" end
  return ROLLED_OUT[object.kind](object.spec, status, object)
end

-- ---- why it takes so long ----

--- "a=b,c in (d)": as the server takes a selector in a URL.
--- @param selector table  of a workload
--- @return string
function waits.selector(selector)
  local parts = {}
  for key, one in pairs(selector.matchLabels or {}) do parts[#parts + 1] = key .. "=" .. one end
  for _, one in ipairs(selector.matchExpressions or {}) do
    local values = table.concat(one.values or {}, ",")
    parts[#parts + 1] = one.operator == "In" and ("%s in (%s)"):format(one.key, values)
      or one.operator == "NotIn" and ("%s notin (%s)"):format(one.key, values)
      or one.operator == "Exists" and one.key or "!" .. one.key
  end
  table.sort(parts)
  return table.concat(parts, ",")
end

--- What keeps a container, or nil.
local function trouble_of(status)
  local waiting, ended = (status.state or {}).waiting, (status.state or {}).terminated
  local last = (status.lastState or {}).terminated
  local what = waiting and waiting.reason ~= "ContainerCreating" and waiting.reason ~= "PodInitializing" and waiting
    or ended and value(ended.exitCode) ~= 0 and ended
  if not what then return nil end
  local text = ("%s: %s"):format(status.name, tostring(what.reason or "Error"))
  if what.message then text = text .. (" (%s)"):format(what.message) end
  if last and last.exitCode then text = text .. (", it had ended with status %d"):format(last.exitCode) end
  return text
end

local function troubles_of(pod)
  local list, status = {}, pod.status or {}
  for _, section in ipairs { "initContainerStatuses", "containerStatuses" } do
    for _, one in ipairs(status[section] or {}) do list[#list + 1] = trouble_of(one) end
  end
  local scheduled = condition(pod, "PodScheduled")
  if scheduled and scheduled.status == "False" then
    list[#list + 1] = ("%s: %s"):format(tostring(scheduled.reason), tostring(scheduled.message))
  end
  if status.reason then list[#list + 1] = tostring(status.reason) end
  return list
end

local POD = { api = "v1", kind = "Pod", resource = "pods", namespaced = true }
local EVENT = { api = "v1", kind = "Event", resource = "events", namespaced = true }

--- Events of an object, oldest first: { time, type, reason, message, object, count }.
--- @param cluster string
--- @param namespace? string
--- @param object? string  its name
--- @return table[]
function waits.events(cluster, namespace, object)
  local list = {}
  local query = object and { fieldSelector = "involvedObject.name=" .. object } or nil
  for _, one in ipairs(client.list(cluster, client.path(EVENT, namespace), query)) do
    local function text(any) return type(any) == "string" and any or nil end
    list[#list + 1] = { type = one.type, reason = one.reason, message = one.message, count = value(one.count),
      time = text(one.lastTimestamp) or text(one.eventTime) or text(one.metadata.creationTimestamp) or "",
      object = ("%s/%s"):format(tostring(one.involvedObject.kind):lower(), tostring(one.involvedObject.name)) }
  end
  table.sort(list, function(a, b) return a.time < b.time end)
  return list
end

local function last_warning(cluster, namespace, object)
  local ok, events = pcall(waits.events, cluster, namespace, object)
  for i = ok and #events or 0, 1, -1 do
    if events[i].type == "Warning" then return ("%s: %s"):format(events[i].reason, events[i].message) end
  end
end

--- What the pods of a workload suffer from, as lines; empty where they may not be seen.
--- @param cluster string
--- @param object table  with spec.selector
--- @return string[]
function waits.troubles(cluster, object)
  local lines, namespace = {}, object.metadata.namespace
  local warning = last_warning(cluster, namespace, object.metadata.name)
  lines[#lines + 1] = warning and ("%s/%s: %s"):format(object.kind:lower(), object.metadata.name, warning)
  local selector = object.spec and object.spec.selector
  if not selector then return lines end
  local query = { labelSelector = waits.selector(selector) }
  local ok, pods = pcall(client.list, cluster, client.path(POD, namespace), query)
  for _, pod in ipairs(ok and pods or {}) do
    local troubles = troubles_of(pod)
    if #troubles > 0 and #lines < MOST_PODS then
      local event = last_warning(cluster, namespace, pod.metadata.name)
      lines[#lines + 1] = ("pod/%s: %s%s"):format(pod.metadata.name, table.concat(troubles, ", "),
        event and "; " .. event or "")
    end
  end
  return lines
end

-- ---- the waits ----

local function read(place) return client.get(place.cluster, client.path(place.kind, place.namespace, place.object)) end

local function pause(place, object, until_then)
  local left = math.max(0, math.min(LOOK, until_then - task.now()))
  client.next_change(place.cluster, place.kind, place.namespace, place.object,
    object and object.metadata.resourceVersion, left)
end

--- "deployment/web in rdw of opus"
local function shown(place)
  return ("%s/%s%s of %s"):format(place.kind.kind:lower(), place.object,
    place.namespace and " in " .. place.namespace or "", place.cluster)
end

local function give_up(place, object, message, more)
  local troubles = object and waits.troubles(place.cluster, object) or {}
  fault.raise { kind = more and more.kind or "timeout", host = place.cluster,
    message = ("%s %s"):format(shown(place), message),
    output = #troubles > 0 and table.concat(troubles, "\n") or nil }
end

--- Looks at an object until judge(object or nil) is true. judge returns false or nil, and how it stands; nil: never.
local function until_true(place, timeout, judge)
  local until_then = task.now() + timeout
  while true do
    local object = read(place)
    local over, stands = judge(object)
    if over then return object end
    if over == nil then give_up(place, object, "has failed: " .. tostring(stands), { kind = "remote" }) end
    if task.now() >= until_then then
      give_up(place, object, ("is not there yet after %g s: %s"):format(timeout, tostring(stands)))
    end
    pause(place, object, until_then)
  end
end

--- Waits until a deployment, stateful set or daemon set is as its object says.
--- @param place { cluster: string, kind: table, namespace: string, object: string }
--- @param timeout number
--- @return table object
function waits.rollout(place, timeout)
  if not ROLLED_OUT[place.kind.kind] then error(("a %s is not rolled out"):format(place.kind.kind), 2) end
  return until_true(place, timeout, function(object)
    if not object then return nil, "it is not there" end
    return progress_of(object)
  end)
end

--- "it says nothing of Readi, but of Ready, Scheduled"
local function says_nothing(object, kind)
  local said = {}
  for _, one in ipairs(object.status and object.status.conditions or {}) do said[#said + 1] = tostring(one.type) end
  table.sort(said)
  return ("it says nothing of %s%s"):format(kind, #said > 0 and ", but of " .. table.concat(said, ", ") or "")
end

--- Waits until an object has a condition ("Ready"; "Ready=False"), or a function of it is true.
--- @param place table
--- @param wanted string|fun(object: table?): any
--- @param timeout number
--- @return table? object
function waits.condition(place, wanted, timeout)
  if type(wanted) == "function" then
    return until_true(place, timeout, function(object) return wanted(object) and true or false, "not so" end)
  end
  local kind, status = wanted:match "^([^=]+)=?(.*)$"
  status = status ~= "" and status or "True"
  return until_true(place, timeout, function(object)
    local found = object and condition(object, kind)
    return found ~= nil and found.status == status, object == nil and "it is not there"
      or found and ("%s is %s%s"):format(kind, tostring(found.status), found.message and ": " .. found.message or "")
      or says_nothing(object, kind)
  end)
end

--- Waits until an object is not there, or another of its name.
--- @param place table
--- @param timeout number
function waits.gone(place, timeout)
  local uid
  until_true(place, timeout, function(object)
    uid = uid or object and object.metadata.uid
    return object == nil or object.metadata.uid ~= uid, "it is still there"
  end)
end

-- ---- what is being deleted ----

waits.HELD_HINT = "what has put finalizers on it takes them off once it has cleaned up: see whether that runs"

--- Why an object that is being deleted is still there.
--- @param object table
--- @return string
function waits.held(object)
  local finalizers = object.metadata.finalizers or {}
  local parts = { "is being deleted" }
  if #finalizers > 0 then parts[2] = "it waits for its finalizers " .. table.concat(finalizers, ", ") end
  for _, one in ipairs(object.kind == "Namespace" and object.status and object.status.conditions or {}) do
    if one.status == "True" and one.message then parts[#parts + 1] = one.message end
  end
  return table.concat(parts, "; ")
end

--- Waits until what is being deleted is gone. What is not being deleted, as another of its name, is not waited for.
--- @param place table
--- @param timeout number
function waits.deleted(place, timeout)
  local until_then = task.now() + timeout
  while true do
    local object = read(place)
    if not object or not object.metadata.deletionTimestamp then return end
    if task.now() >= until_then then
      fault.raise { kind = "timeout", host = place.cluster, hint = waits.HELD_HINT,
        message = ("%s is not gone after %g s: it %s"):format(shown(place), timeout, waits.held(object)) }
    end
    pause(place, object, until_then)
  end
end

-- ---- logs ----

--- The name of a pod: the place itself, or one of a workload's that runs, if any does.
--- @param place table
--- @return string
function waits.pod(place)
  if place.kind.kind == "Pod" then return place.object end
  local object = read(place)
  local selector = object and object.spec and object.spec.selector
  if not selector then
    fault.raise { kind = "missing", host = place.cluster,
      message = ("there are no pods of %s/%s"):format(place.kind.kind:lower(), place.object) }
  end
  local found
  for _, pod in ipairs(client.list(place.cluster, client.path(POD, place.namespace),
    { labelSelector = waits.selector(selector) })) do
    if not found or (pod.status or {}).phase == "Running" then found = pod.metadata.name end
  end
  if found then return found end
  return fault.raise { kind = "missing", host = place.cluster,
    message = ("there are no pods of %s/%s"):format(place.kind.kind:lower(), place.object) }
end

--- The log of a pod, or of one of a workload's.
--- @param place table
--- @param options { container?: string, tail?: integer, previous?: boolean, since?: integer }
--- @return string
function waits.logs(place, options)
  local path = client.path(POD, place.namespace, waits.pod(place)) .. "/log"
  return client.request(place.cluster, "GET", path, { raw = true, query = { container = options.container,
    tailLines = options.tail, previous = options.previous or nil, sinceSeconds = options.since } })
end

-- ---- jobs ----

--- Whether a job is over: true done, nil failed, false neither; and how it stands.
--- @param job table
--- @return boolean? over
--- @return string stands
function waits.job_progress(job)
  local failed, complete = condition(job, "Failed"), condition(job, "Complete")
  if failed and failed.status == "True" then return nil, tostring(failed.message or failed.reason) end
  local status = job.status or {}
  return complete ~= nil and complete.status == "True",
    ("%d succeeded, %d failed, %d active"):format(value(status.succeeded), value(status.failed), value(status.active))
end

local function job_log(place)
  local ok, text = pcall(waits.logs, place, { tail = LOG_LINES })
  return ok and text or nil
end

--- Waits until a job has succeeded. Raises `remote` where it has failed, with the last lines of its log, and `timeout`.
--- @param place table
--- @param timeout number
--- @return table job
function waits.job(place, timeout)
  local until_then = task.now() + timeout
  while true do
    local job = read(place)
    local over, stands
    if job then over, stands = waits.job_progress(job) else over, stands = nil, "it is gone" end
    if over then return job end
    if over == nil or task.now() >= until_then then
      local lines = job and waits.troubles(place.cluster, job) or {}
      lines[#lines + 1] = job and job_log(place)
      fault.raise { kind = over == nil and "remote" or "timeout", host = place.cluster,
        message = ("job/%s of %s %s: %s"):format(place.object, place.cluster,
          over == nil and "has failed" or ("is not over after %g s"):format(timeout), stands),
        output = #lines > 0 and table.concat(lines, "\n") or nil }
    end
    pause(place, job, until_then)
  end
end

return waits
