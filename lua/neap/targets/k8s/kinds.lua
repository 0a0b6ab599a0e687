--- What neap changes in a cluster: objects. Each change holds for the version of the object that was looked at; an effect
--- that is to be shut out has its name written on the object, which makes a request on its way come too late.
local client = require "neap.targets.k8s.client"
local effect = require "neap.engine.effect"
local fault  = require "native.error"
local hosts  = require "neap.targets.connection"
local json   = require "native.json"
local state  = require "neap.targets.k8s.state"
local task   = require "native.task"
local waits  = require "neap.targets.k8s.wait"

local kinds = {}

local AGAIN       = 5     -- attempts where the object was altered in between in what does not count
local CLOSE_AGAIN = 20
local POLL        = 0.25  -- seconds between two looks at what is being deleted
local SHARE       = 0.75  -- of a call's time that it waits for that
local TIMEOUT     = 60    -- seconds; the server's own for a request
local SETTLER     = "neap-settle" -- whose words are no state
local APPLY       = "application/apply-patch+yaml"
local MERGE       = "application/merge-patch+json"

-- ---- targets ----

--- @class neap.k8s.target
--- @field host string       "cluster opus": what a plan takes for touched
--- @field cluster string
--- @field api string
--- @field kind string
--- @field namespace? string
--- @field object string     its name

local function kind_of(target)
  local kind = client.kind(target.cluster, target.api, target.kind)
  if kind then return kind end
  fault.raise { kind = "missing", code = "kind",
    message = ("cluster %s knows no kind %s of %s"):format(target.cluster, target.kind, target.api) }
end

local function path_of(target) return client.path(kind_of(target), target.namespace, target.object) end

--- The object as the server has it; nil where it is not there.
--- @param target neap.k8s.target
--- @return table?
function kinds.read(target)
  if not client.kind(target.cluster, target.api, target.kind) then return nil end
  return client.get(target.cluster, path_of(target))
end

--- How a target reads: "opus rdw deployment/reporting".
--- @param target neap.k8s.target
--- @return string
function kinds.show(target)
  return ("%s %s%s/%s"):format(target.cluster, target.namespace and target.namespace .. " " or "", target.kind:lower(),
    target.object)
end

-- ---- requests that change something ----

--- A clear no of the server to the first request of an effect: nothing has happened, and nothing will.
local function refusals()
  local run = hosts.run()
  run.connections["kubernetes refusals"] = run.connections["kubernetes refusals"] or { close = function() end, of = {} }
  return run.connections["kubernetes refusals"].of
end

local function is_refusal(failure)
  return fault.is(failure) and math.type(failure.code) == "integer" and failure.code >= 400 and failure.code < 500
    and failure.code ~= 408
end

--- One effect's requests: after the first that was carried out a refusal is no proof any more that nothing happened.
local function sender(target, call)
  local self = { call = call, target = target, sent = false }
  function self.request(method, path, options)
    options.timeout = call.timeout or TIMEOUT
    if call.witness then refusals()[call.witness] = nil end -- of an attempt before this one
    local ok, result = pcall(client.request, target.cluster, method, path, options)
    if ok then
      self.sent = true
      return result
    end
    if is_refusal(result) and not self.sent and call.witness then refusals()[call.witness] = true end
    error(result, 0)
  end
  return self
end

local function server_time(call)
  return ("%ds"):format(math.max(1, math.min(TIMEOUT, math.ceil(call.timeout or TIMEOUT))))
end

local function is_closed(object, witness)
  local closed = object and (object.metadata.annotations or {})[state.CLOSED]
  return closed ~= nil and witness ~= nil and (" " .. closed .. " "):find(" " .. witness .. " ", 1, true) ~= nil
end

local function refuse_closed(target, object, witness)
  if not is_closed(object, witness) then return end
  fault.raise { kind = "conflict", code = "closed",
    message = ("%s: this change was given up, and comes too late"):format(kinds.show(target)) }
end

local function refuse_altered(target, now, before)
  if state.same(now, before) then return end
  fault.raise { kind = "conflict",
    message = ("%s was changed by somebody since it was read"):format(kinds.show(target)) }
end

--- The object itself, as what names it in a body.
local function identity(target, live)
  return { apiVersion = target.api, kind = target.kind, metadata = { name = target.object, namespace = target.namespace,
    uid = live and live.metadata.uid, resourceVersion = live and live.metadata.resourceVersion } }
end

local function merge(into, from)
  for key, value in pairs(from) do
    if type(value) == "table" and type(into[key]) == "table" then merge(into[key], value) else into[key] = value end
  end
  return into
end

--- Applies what neap says of the object.
local function apply(sender_, wanted, live)
  local target, call = sender_.target, sender_.call
  local body = merge(identity(target, live), state.build(wanted, wanted.own, false))
  local made_by = live and (live.metadata.annotations or {})[state.MADE_BY]
  if not live then made_by = call.witness end
  if made_by and #wanted.own > 0 then
    body.metadata.annotations = body.metadata.annotations or {}
    body.metadata.annotations[state.MADE_BY] = made_by
  end
  return sender_.request("PATCH", path_of(target), { body = state.encode(body), type = APPLY,
    query = { fieldManager = state.MANAGER, force = true, timeout = server_time(call) } })
end

--- Whether the object was altered between the look at it and the request.
local function came_between(failure) return fault.is(failure, "conflict") and failure.reason == "Conflict" end

--- Applies after a first request of the same effect; what controllers write in between does not count.
local function apply_then(sender_, wanted, live)
  local target, now = sender_.target, state.of(live)
  for count = 1, AGAIN do
    local ok, failure = pcall(apply, sender_, wanted, live)
    if ok then return end
    if count == AGAIN or not came_between(failure) then error(failure, 0) end
    live = kinds.read(target)
    refuse_closed(target, live, sender_.call.witness)
    refuse_altered(target, state.of(live), now)
  end
end

-- ---- making ----

local function make(sender_, wanted)
  local target, call, own = sender_.target, sender_.call, {}
  for _, name in ipairs(wanted.own) do own[name] = true end
  local others = {}
  for _, name in ipairs(state.paths(wanted)) do
    if not own[name] then others[#others + 1] = name end
  end
  local said = false
  for _, name in ipairs(others) do said = said or not name:find '"#"]$' end
  if not said then return apply(sender_, wanted, nil) end
  -- in the name of who had said most of it; what neap had said of it, it says again
  local body = merge(identity(target), state.build(wanted, state.paths(wanted), true))
  body.metadata.annotations = body.metadata.annotations or {}
  body.metadata.annotations[state.MADE_BY] = call.witness
  local made = sender_.request("POST", client.path(kind_of(target), target.namespace), { body = state.encode(body),
    query = { fieldManager = wanted.maker or state.MANAGER, timeout = server_time(call) } })
  if #wanted.own > 0 then apply_then(sender_, wanted, made) end
end

-- ---- taking away ----

--- Waits until an object that is being deleted is not there, for most of the call's time; the object where it still is.
local function still_there(target, uid, call)
  local until_then = task.now() + SHARE * (call.timeout or TIMEOUT)
  while true do
    local live = kinds.read(target)
    if not live or live.metadata.uid ~= uid then return nil end
    if task.now() >= until_then then return live end
    task.sleep(POLL)
  end
end

--- What is accepted is not taken back: an object that its finalizers hold will go, and its state is that it is not there.
local function delete(sender_, live)
  local target = sender_.target
  sender_.request("DELETE", path_of(target), { body = json.encode { kind = "DeleteOptions", apiVersion = "v1",
    propagationPolicy = "Background",
    preconditions = { uid = live.metadata.uid, resourceVersion = live.metadata.resourceVersion } } })
  if sender_.call.undoes then still_there(target, live.metadata.uid, sender_.call) end
end

--- Another of its name can only be made once it is not there.
local function wait_for_room(target, live, call)
  live = still_there(target, live.metadata.uid, call)
  if not live then return end
  fault.raise { kind = "conflict", code = "being deleted", host = target.cluster,
    message = ("%s cannot be made: the one of that name %s"):format(kinds.show(target), waits.held(live)),
    hint = waits.HELD_HINT }
end

-- ---- altering ----

local REPLICAS = json.encode(json.array { "f:spec", "f:replicas" })

local function scale(sender_, live, wanted, manager)
  local target = sender_.target
  local body = { apiVersion = "autoscaling/v1", kind = "Scale", metadata = identity(target, live).metadata,
    spec = { replicas = json.decode(wanted.fields[REPLICAS]) } }
  return sender_.request("PUT", path_of(target) .. "/scale", { body = json.encode(body),
    query = { fieldManager = manager, timeout = server_time(sender_.call) } })
end

local function says_differently(now, wanted)
  if table.concat(now.own, "\n") ~= table.concat(wanted.own, "\n") then return true end
  for _, name in ipairs(wanted.own) do
    if not state.same_value(now.fields[name], wanted.fields[name]) then return true end
  end
  return false
end

local SCALED = { Deployment = true, StatefulSet = true, ReplicaSet = true, ReplicationController = true }

local function is_scaling(target, wanted, changed)
  return #changed == 1 and changed[1] == REPLICAS and wanted.fields[REPLICAS] ~= nil and SCALED[target.kind] == true
end

--- Where an autoscaler has said the number it is nobody's state. It stands on the object while neap says another, and is
--- put back in a name that counts for nobody's.
local function remember_number(live, was, now, wanted)
  local notes = live.metadata.annotations or {}
  live.metadata.annotations = notes
  if now.fields[REPLICAS] == nil and wanted.fields[REPLICAS] ~= nil then
    notes[state.NUMBER] = notes[state.NUMBER] or tostring(was)
  elseif wanted.fields[REPLICAS] == nil and notes[state.NUMBER] then
    live.spec.replicas, notes[state.NUMBER] = math.tointeger(tonumber(notes[state.NUMBER])), nil
    return true
  end
  return false
end

--- The requests of an alteration but for what is applied; how many fields changed.
local function alter_fields(sender_, live, now, wanted)
  local target, call = sender_.target, sender_.call
  local manager, was = call.undoes and wanted.maker or state.MANAGER, live.spec and live.spec.replicas
  local changed = state.alter(live, now, wanted)
  if is_scaling(target, wanted, changed) and now.fields[REPLICAS] then
    scale(sender_, live, wanted, manager)
  elseif #changed > 0 then
    if SCALED[target.kind] and remember_number(live, was, now, wanted) then manager = SETTLER end
    sender_.request("PUT", path_of(target), { body = state.encode(live),
      query = { fieldManager = manager, timeout = server_time(call) } })
  end
  return #changed
end

local function alter(sender_, live, wanted)
  local target, now = sender_.target, state.of(live)
  local changed = alter_fields(sender_, live, now, wanted)
  if changed > 0 then
    live = kinds.read(target)
    now = live and state.of(live)
  end
  if not now or not says_differently(now, wanted) then return end
  local send = changed > 0 and apply_then or apply
  send(sender_, wanted, live)
end

-- ---- the kind ----

local function carry_out(target, wanted, sender_, live)
  if live and live.metadata.deletionTimestamp then
    if wanted then wait_for_room(target, live, sender_.call) end
    live = nil
  end
  if not live then return wanted and make(sender_, wanted) end
  if not wanted then return delete(sender_, live) end
  return alter(sender_, live, wanted)
end

local function put(target, wanted, call)
  local sender_ = sender(target, call)
  for count = 1, AGAIN do
    local live = kinds.read(target)
    refuse_closed(target, live, call.witness)
    refuse_altered(target, state.of(live), call.before)
    local ok, failure = pcall(carry_out, target, wanted, sender_, live)
    if ok then
      if target.kind == "CustomResourceDefinition" then client.forget_kinds(target.cluster) end
      return
    end
    if sender_.sent or count == AGAIN or not came_between(failure) then error(failure, 0) end
  end
end

--- Writes on the object that this effect is shut out: from now on its request meets another version of it.
local function close(target, live, witness)
  for count = 1, CLOSE_AGAIN do
    local closed = (live.metadata.annotations or {})[state.CLOSED]
    local body = { metadata = { uid = live.metadata.uid, resourceVersion = live.metadata.resourceVersion,
      annotations = { [state.CLOSED] = closed and closed .. " " .. witness or witness } } }
    local ok, failure = pcall(client.request, target.cluster, "PATCH", path_of(target),
      { body = json.encode(body), type = MERGE, query = { fieldManager = SETTLER } })
    if ok then return end
    if count == CLOSE_AGAIN or not fault.is(failure, "conflict") then error(failure, 0) end
    live = kinds.read(target)
    if not live then return end
  end
end

local function take(target, witness, intent)
  if refusals()[witness] then return "void" end
  local live = kinds.read(target)
  if live and live.metadata.deletionTimestamp then
    if intent.after == nil then return nil end
    live = nil
  end
  if live then
    if not is_closed(live, witness) then close(target, live, witness) end
  elseif intent.after ~= nil and (intent.timeout or TIMEOUT) > 0 then
    task.sleep(math.min(intent.timeout or TIMEOUT, TIMEOUT)) -- the server gives up a request that makes it after that
  end
  return nil
end

effect.resource "k8s.object" {
  timeout = TIMEOUT,
  meet = function(target) client.meet(target.cluster) end,
  get = function(target) return state.of(kinds.read(target)) end,
  put = put,
  take = take,
  show = kinds.show,
  text = state.text,
}

-- ---- what would become of it ----

local function conflict_with(failure)
  local managers = {}
  for _, cause in ipairs(failure.causes or {}) do
    managers[#managers + 1] = cause.message:match 'conflict with "([^"]+)"'
  end
  return managers
end

--- Whether only neap itself, by other words than apply, has said otherwise.
local function only_own(managers)
  for _, manager in ipairs(managers) do
    if manager ~= state.MANAGER then return false end
  end
  return #managers > 0
end

local function raise_conflict(target, failure)
  local lines = {}
  for _, cause in ipairs(failure.causes or {}) do
    lines[#lines + 1] = ("%s: %s"):format(tostring(cause.field), cause.message)
  end
  fault.raise { kind = "conflict", code = 409, host = target.cluster, output = table.concat(lines, "\n"),
    message = ("%s: other managers have said otherwise of these fields: %s"):format(kinds.show(target),
      table.concat(lines, "; ")),
    hint = "let them give the fields up, leave the fields out, or take them over with force_conflicts = true" }
end

local function ask(target, body, force)
  return client.request(target.cluster, "PATCH", path_of(target), { reads = true, body = body, type = APPLY,
    query = { fieldManager = state.MANAGER, dryRun = "All", fieldValidation = "Strict", force = force or nil } })
end

local function raise_of(target, failure)
  if not fault.is(failure) then error(failure, 0) end
  failure.message = ("%s: %s"):format(kinds.show(target), failure.message)
  if failure.message:find "immutable" then
    failure.hint = "what cannot be altered is made anew: delete the object before, or give it another name"
  end
  error(failure, 0)
end

--- The state that applying would lead to, by the server's own dry run. Raises `conflict` where other managers would lose
--- fields and `force` is not given.
--- @param target neap.k8s.target
--- @param body string|native.secret.value
--- @param force? boolean
--- @return neap.k8s.state
function kinds.dry_run(target, body, force)
  local ok, result = pcall(ask, target, body, force)
  if not ok and fault.is(result, "conflict") and not force then
    if not only_own(conflict_with(result)) then raise_conflict(target, result) end
    ok, result = pcall(ask, target, body, true)
  end
  if not ok then raise_of(target, result) end
  return state.of(result)
end

--- Whether neap has applied something that is to be said no more.
local function gives_up(now, wanted)
  for _, name in ipairs(now.own) do
    if wanted.fields[name] == nil then return true end
  end
  return false
end

--- The state that altering an object would lead to, by the server's own dry run: with what it takes for the same, and its
--- refusal of what it does not know. What neap itself has applied and now gives up is left to applying.
--- @param target neap.k8s.target
--- @param live table  the object as it was read
--- @param wanted neap.k8s.state
--- @return neap.k8s.state
function kinds.alteration(target, live, wanted)
  for count = 1, AGAIN do
    local now = state.of(live)
    local changed = state.alter(live, now, wanted)
    if is_scaling(target, wanted, changed) or gives_up(now, wanted) then return wanted end
    local ok, result = pcall(client.request, target.cluster, "PUT", path_of(target), { reads = true,
      body = state.encode(live),
      query = { fieldManager = state.MANAGER, dryRun = "All", fieldValidation = "Strict" } })
    if ok then return state.of(result) end
    if count == AGAIN or not came_between(result) then raise_of(target, result) end
    live = kinds.read(target)
    refuse_altered(target, state.of(live), now)
  end
end

kinds.recorded_dry_run = effect.read("k8s.dry_run", kinds.dry_run)

return kinds
