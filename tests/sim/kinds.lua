--- Kinds of change over the fake wire, and the words by which a schedule's procedure uses them. The first letter of a
--- target says what it is: c a state with a witness, r one with a witness and a precondition, p a plain one.
local crypto  = require "native.crypto"
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local process = require "tests.sim.process"
local task    = require "native.task"
local words   = require "neap.words"

local LATENCY = 0.05 -- seconds to a server, and back
local DEFINITE = { "connect", "denied", "auth" }

-- ---- one call over the wire ----

local function lost()
  fault.raise { kind = "lost", message = "the connection broke" }
end

local function refused(planned)
  fault.raise { kind = DEFINITE[planned.pick % #DEFINITE + 1], message = "nothing was sent" }
end

--- What only compares is bound by its timeout at the server too: it cannot land later.
local function bounded(message, delay)
  return message.witnessed and delay or math.min(delay, message.timeout)
end

local function send_late(self, message, planned)
  task.may_change "a call over the fake wire"
  if not planned.never then self.world:send(message, bounded(message, planned.delay)) end
end

local function answer(message)
  if message.reply.ok then return message.reply.value end
  error(message.reply.value, 0)
end

--- Sends a message and waits until it has landed.
local function deliver(self, message)
  task.may_change "a call over the fake wire"
  self.world:send(message, LATENCY)
  task.sleep(LATENCY)
  self.world:land_due()
  self:check_alive()
end

local function copy_of(message)
  local copy = {}
  for key, value in pairs(message) do copy[key] = value end
  copy.twin = true
  return copy
end

local suffer = { -- what befalls a call that changes something
  refused = function(_, _, planned) refused(planned) end,
  ["crash before"] = process.die,
  ["crash sent"] = function(self, message, planned)
    send_late(self, message, planned)
    self:die()
  end,
  ["crash after"] = function(self, message)
    deliver(self, message)
    self:die()
  end,
  ["lost request"] = function()
    task.may_change "a call over the fake wire"
    lost()
  end,
  ["lost reply"] = function(self, message)
    deliver(self, message)
    lost()
  end,
  late = function(self, message, planned)
    send_late(self, message, planned)
    lost()
  end,
  silent = function(self, message, planned)
    send_late(self, message, planned)
    task.sleep(1e6)
  end,
  doubled = function(self, message, planned)
    deliver(self, message)
    if message.witnessed then self.world:send(copy_of(message), planned.delay) end
    return answer(message)
  end,
  ignored = function(self, message)
    message.ignored = not message.key
    deliver(self, message)
    return answer(message)
  end,
  broken = function(self, message)
    message.partial, message.ignored = message.key ~= nil, not message.key
    deliver(self, message)
    answer(message)
    fault.raise { kind = "remote", message = "the server failed" }
  end,
  ["sleep before"] = function(self, message, planned)
    self:stop(planned)
    deliver(self, message)
    return answer(message)
  end,
  ["sleep after"] = function(self, message, planned)
    deliver(self, message)
    self:stop(planned)
    return answer(message)
  end,
  pause = function(self, message)
    task.context().run.pausing = "interrupted by the operator"
    deliver(self, message)
    return answer(message)
  end,
  cancel = function(self, message, planned)
    self.main:cancel()
    send_late(self, message, planned)
    task.sleep(LATENCY)
    return answer(message)
  end,
}

--- A call that changes its target. message: { id, target | key, timeout, witnessed, apply }
local function change(message)
  local self = process.current()
  local planned = self:point()
  message.world, message.told = self.world, self.told
  self.world.ledger:check_sending(message.id)
  local befalls = suffer[planned.call]
  if befalls then return befalls(self, message, planned) end
  deliver(self, message)
  return answer(message)
end

local ask_suffer = { -- what befalls a call that only asks
  refused = function(_, planned) refused(planned) end,
  lost = lost,
  crash = process.die,
  sleep = process.stop,
}

--- A question to a target; with `closing` the question itself takes a witness, so a lost reply matters.
local function ask(fn, closing)
  local self = process.current()
  local planned = self:point()
  local befalls = ask_suffer[planned.ask]
  if befalls and not (closing and planned.after) then befalls(self, planned) end
  task.sleep(LATENCY)
  self:check_alive()
  self.world:land_due()
  local results = table.pack(fn(self.world, self))
  if befalls and closing and planned.after then befalls(self, planned) end
  return table.unpack(results, 1, results.n)
end

-- ---- states ----

local function get(target)
  return ask(function(world) return world.values[target] end)
end

local function put(witnessed, precondition)
  return function(target, state, call)
    change { id = call.witness, target = target, before = call.before, after = state, timeout = call.timeout,
      witnessed = witnessed, precondition = precondition,
      apply = function(message) message.world:apply_put(message) end }
  end
end

--- Closes the witness; what happened, as the server knows it.
local function take_witness(world, witness)
  if not world.witnesses[witness] then world.witnesses[witness] = "closed" end
  return world.witnesses[witness]
end

local VERDICTS = { done = "done", partial = "partial", closed = "void", refused = "void" }

local function verdict_of(_, witness)
  return ask(function(world) return VERDICTS[take_witness(world, witness)] end, true)
end

effect.resource "sim.cell" {
  get = get, put = put(true, false), timeout = 60,
  take = function(_, witness)
    ask(function(world) take_witness(world, witness) end, true)
  end,
}
effect.resource "sim.row" { get = get, put = put(true, true), take = verdict_of, timeout = 60 }
effect.resource "sim.plain" { get = get, put = put(false, false), timeout = 30 }

local RESOURCES = { c = "sim.cell", r = "sim.row", p = "sim.plain" }

-- ---- events ----

local function key_of(target, data) return target .. " " .. tostring(data) end

local function run(witnessed)
  return function(target, data, call)
    return change { id = call.witness, key = key_of(target, data), timeout = call.timeout, witnessed = witnessed,
      place = call.place, apply = function(message) return message.world:apply_event(message) end }
  end
end

local function undo(witnessed)
  return function(target, _, call)
    change { id = call.witness, key = key_of(target, call.data), timeout = call.timeout, witnessed = witnessed,
      place = call.place, apply = function(message) message.world:apply_undo(message) end }
  end
end

local function prepare()
  return ask(function(world, self)
    self.place = self.place or crypto.hex(crypto.random(4))
    world.places[self.place] = true
    return self.place
  end)
end

local function release(_, place)
  ask(function(world) world.places[place] = nil end)
end

effect.action "sim.event" {
  prepare = prepare, release = release, run = run(true), undo = undo(true), undo_needs_data = true, take = verdict_of,
}
effect.action "sim.back" { -- what an own undo says to take an event back
  run = function(target, data, call)
    return change { id = call.witness, key = key_of(target, data), timeout = call.timeout, witnessed = true,
      apply = function(message) return message.world:apply_undo(message) end }
  end,
  take = verdict_of,
}
effect.action "sim.final" { run = run(true), take = verdict_of }
effect.action "sim.probe" {
  timeout = 40, run = run(false), undo = undo(false),
  done = function(target, data)
    return ask(function(world)
      local event = world.events[key_of(target, data)]
      return event ~= nil and event.standing > 0
    end)
  end,
}
effect.action "sim.opaque" { timeout = 20, run = run(false), undo = undo(false) }
effect.action "sim.reload" {
  run = function(target, _, call)
    return change { id = call.witness, key = target, target = target, timeout = call.timeout, witnessed = true,
      apply = function(message) message.world:apply_reload(message) end }
  end,
  take = verdict_of,
}

-- ---- words ----

local read = effect.read("sim.read", function(target) return get(target) end)
local check = effect.read("sim.check", function() ask(function() end) end)

local function with_suffix(now, suffix)
  now = now or ""
  return now:find(suffix, 1, true) and now or now .. suffix
end

words.fakes.sim = {
  set = function(target, value, options)
    return effect.change(RESOURCES[target:sub(1, 1)], target, function() return value end, options)
  end,
  edit = function(target, suffix)
    return effect.change(RESOURCES[target:sub(1, 1)], target, function(now) return with_suffix(now, suffix) end)
  end,
  derive = function(target, from, suffix)
    return effect.change(RESOURCES[target:sub(1, 1)], target, function() return (read(from) or "none") .. suffix end)
  end,
  read = read,
  check = check,
  perform = function(kind, target, data, options) return effect.perform("sim." .. kind, target, data, options) end,
  reloading = function(target, fn, options) return effect.bracket("sim.reload", target, fn, options) end,
}
