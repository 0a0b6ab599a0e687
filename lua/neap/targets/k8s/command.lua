--- Commands that change something in a container, as effects: as on a host each runs once and outlives the connection, by a
--- witness in a folder of the container; where it has no shell, without one.
local client  = require "neap.targets.k8s.client"
local effect  = require "neap.engine.effect"
local exec    = require "neap.targets.k8s.exec"
local fault   = require "native.error"
local secret  = require "native.secret"
local shell   = require "neap.targets.shell"
local task    = require "native.task"
local witness = require "neap.targets.witness"

local commands = {}

local function with_hint(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then return result end
  if fault.is(result, "denied") and not result.code then
    result.hint = result.hint or "an image without a shell needs witness = false: what a call without an answer did, a "
      .. "person then has to say"
  end
  return error(result, 0)
end

local function prepare(target)
  return target.witness and with_hint(witness.prepare, { host = exec.host(target) }) or nil
end

local function run(target, command, data, call)
  task.may_change "k8s.exec"
  if call.place then
    return witness.run(exec.host(target), call, command, { input = data.input, ok = data.ok, timeout = call.timeout })
  end
  return exec.run(target, command, { input = data.input, ok = data.ok, timeout = call.timeout })
end

local function nobody_knows(target, why)
  fault.raise { kind = "conflict", host = target.cluster,
    message = ("nothing says whether the command ran in %s: %s"):format(exec.show(target), why),
    hint = "look at what it changes, then say what became of it" }
end

local function take(target, id, intent)
  if not intent.place then nobody_knows(target, "it runs there without a witness") end
  local ok, verdict, detail = pcall(witness.take, { host = exec.host(target) }, id, intent,
    not intent.undoes and intent.data and intent.data.ok or nil)
  if ok then return verdict, detail end
  if fault.is(verdict, "missing") then nobody_knows(target, "the pod is not there any more") end
  return error(verdict, 0)
end

--- With a pod goes what was made in it.
local function release(target, place)
  local ok, failure = pcall(witness.release, { host = exec.host(target) }, place)
  if not ok and not fault.is(failure, "missing") then error(failure, 0) end
end

effect.action "k8s.exec" {
  meet = function(target) client.meet(target.cluster) end,
  prepare = prepare,
  run = function(target, data, call) return run(target, target.command, data, call) end,
  undo = function(target, undo, call) return run(target, undo.command, {}, call) end,
  undo_needs_data = true,
  take = take,
  release = release,
  show = function(target) return ("%s %s"):format(exec.show(target), shell.line(target.command)) end,
  says = function(data)
    return data.input and ("with %d bytes of input"):format(secret.size(data.input)) or "runs once"
  end,
}

--- @param place neap.k8s.container
--- @param command (string|number)[]|string
--- @param options table  of k8s.exec
function commands.perform(place, command, options)
  local target = { host = "cluster " .. place.cluster, cluster = place.cluster, namespace = place.namespace,
    pod = place.pod, container = place.container, command = command, witness = options.witness ~= false }
  return effect.perform("k8s.exec", target, { input = options.input, ok = options.ok },
    { undo = options.undo and { command = options.undo }, keep = options.keep, irreversible = options.irreversible,
      timeout = options.timeout })
end

return commands
