--- Jobs that are run to their end. A job's name is its witness: there is one of a name, and on it stands whose it is.
local client = require "neap.targets.k8s.client"
local effect = require "neap.engine.effect"
local fault  = require "native.error"
local json   = require "native.json"
local state  = require "neap.targets.k8s.state"
local task   = require "native.task"
local waits  = require "neap.targets.k8s.wait"

local jobs = {}

local ASK = 60   -- seconds for one request, at the server too
local DAY = 86400

local KIND = { api = "batch/v1", kind = "Job", resource = "jobs", namespaced = true }

local function place_of(target)
  return { cluster = target.cluster, kind = KIND, namespace = target.namespace, object = target.object }
end

local function read(target)
  return client.get(target.cluster, client.path(KIND, target.namespace, target.object))
end

local function is_ours(job, witness) return (job.metadata.annotations or {})[state.MADE_BY] == witness end

local function result_of(job)
  return { name = job.metadata.name, succeeded = job.status and job.status.succeeded or 0,
    begun = job.status and job.status.startTime, ended = job.status and job.status.completionTime }
end

local function create(target, data, call)
  local object = json.decode(data.manifest)
  object.metadata.annotations = object.metadata.annotations or {}
  object.metadata.annotations[state.MADE_BY] = call.witness
  local ok, failure = pcall(client.request, target.cluster, "POST", client.path(KIND, target.namespace), {
    timeout = ASK, body = json.encode(object),
    query = { fieldManager = state.MANAGER, fieldValidation = "Strict", timeout = ASK .. "s" } })
  if ok then return end
  if fault.is(failure, "conflict") then
    failure.hint = "a job runs once: delete the one of that name before, or name it after what this run is for"
  end
  error(failure, 0)
end

local function remove(target, witness)
  local job = read(target)
  if not job or (witness and not is_ours(job, witness)) then return end
  client.request(target.cluster, "DELETE", client.path(KIND, target.namespace, target.object), { timeout = ASK,
    body = json.encode { kind = "DeleteOptions", apiVersion = "v1", propagationPolicy = "Background",
      preconditions = { uid = job.metadata.uid } } })
end

local function ended(target)
  local job = read(target)
  if not job then return "void" end
  local over, stands = waits.job_progress(job)
  if over then return "done", result_of(job) end
  if over == nil then return "partial", "the job has failed: " .. stands end
  return "running", stands
end

local function take(target, witness, intent)
  if intent.undoes then
    local job = read(target)
    if job and job.metadata.deletionTimestamp then return "running", "it is being deleted" end
    return job and "void" or "done"
  end
  local job = read(target)
  if not job and (intent.timeout or ASK) > 0 then
    task.sleep(math.min(ASK, intent.timeout or ASK)) -- the server gives up a request that makes it after that
    job = read(target)
  end
  if not job or not is_ours(job, witness) then return "void" end
  return ended(target)
end

effect.action "k8s.job" {
  timeout = DAY,
  meet = function(target) client.meet(target.cluster) end,
  run = function(target, data, call)
    create(target, data, call)
    return result_of(waits.job(place_of(target), data.timeout))
  end,
  done = function(target) return (ended(target)) == "done" end,
  undo = function(target) remove(target) end,
  take = take,
  show = function(target)
    return ("%s %s job/%s"):format(target.cluster, target.namespace, target.object)
  end,
  says = function() return "is run to its end" end,
}

--- Runs a job to its end. Raises `remote` with the last lines of its log where it fails, `conflict` where there is one of
--- its name.
--- @param cluster string
--- @param object table    the job, its namespace and name in it
--- @param timeout number  seconds
--- @param options { keep?: string, irreversible?: string }
--- @return { name: string, succeeded: integer, begun?: string, ended?: string }
function jobs.run(cluster, object, timeout, options)
  if object.kind ~= "Job" or object.apiVersion ~= "batch/v1" then
    fault.raise { kind = "protocol", message = ("a %s is no Job of batch/v1"):format(tostring(object.kind)) }
  end
  if not object.metadata.name then
    fault.raise { kind = "protocol",
      message = "a job that is run needs metadata.name: by it neap knows whether it ran" }
  end
  local target = { host = "cluster " .. cluster, cluster = cluster, namespace = object.metadata.namespace,
    object = object.metadata.name }
  return effect.perform("k8s.job", target, { manifest = json.encode(object), timeout = timeout },
    { keep = options.keep, irreversible = options.irreversible, timeout = timeout + ASK })
end

return jobs
