--- What outlives every process of a schedule: targets, the wire to them, the journal's store, and what happened in fact.
--- Messages land lazily, in the order of their times, whenever somebody looks.
local clock  = require "native.clock"
local fault  = require "native.error"
local ledger = require "tests.sim.ledger"
local store  = require "neap.fakes.store"

local world = {}
world.__index = world

local POINTS = 6000 -- of one schedule; more of them mean that it goes round in a circle

--- @param spec table  see tests.sim.spec
--- @return table world
function world.new(spec)
  local self = setmetatable({ spec = spec, values = {}, loaded = {}, witnesses = {}, places = {}, net = {}, landed = {},
    events = {}, foreign = {}, foreign_values = {}, processes = {}, points = 0, crashes = 0 }, world)
  for target, value in pairs(spec.values) do self.values[target], self.loaded[target] = value, value end
  self.store = store.new()
  self.ledger = ledger.new(self)
  return self
end

--- Raises a violation: the schedule has shown something that must never be.
function world:violated(message, ...)
  self.violation = self.violation or message:format(...)
  error("violated", 0)
end

--- Counts a point of any process; sleepers wake after as many as they were told.
function world:count_point()
  self.points = self.points + 1
  if self.points > POINTS then self:violated "the schedule comes to no end" end
  for _, process in ipairs(self.processes) do
    if process.sleeping then
      process.wakes_in = process.wakes_in - 1
      if process.wakes_in <= 0 then process:wake() end
    end
  end
end

--- Somebody else's hand on a target.
function world:change_by_hand(target)
  self:land_due()
  local value = ("foreign %d"):format(#self.foreign_values + 1)
  self.foreign_values[#self.foreign_values + 1], self.foreign_values[value] = value, true
  self.foreign[target] = value
  self.values[target] = value
end

-- ---- the wire ----

local function land(self, message)
  local ok, reply = pcall(message.apply, message)
  if not ok and not fault.is(reply) then error(reply, 0) end
  if message.reply == nil then message.reply = { ok = ok, value = reply } end
end

--- Lands everything whose time has come.
function world:land_due()
  while true do
    local first
    for i, message in ipairs(self.net) do
      if message.at <= clock.now() and (not first or message.at < self.net[first].at) then first = i end
    end
    if not first then return end
    land(self, table.remove(self.net, first))
  end
end

--- Puts a message on the wire; it lands after `delay` seconds, whatever becomes of its sender.
function world:send(message, delay)
  message.at = clock.now() + delay
  self.net[#self.net + 1] = message
end

--- Everything that is still on the wire lands.
function world:drain()
  local last = 0
  for _, message in ipairs(self.net) do last = math.max(last, message.at - clock.now()) end
  if last > 0 then clock.advance(last + 1) end
  self:land_due()
  if #self.net > 0 then self:drain() end
end

-- ---- what servers do when a message lands ----

local function refuse(message) fault.raise { kind = "conflict", message = message } end

--- The witness is taken in the effect's own atomic act, or the effect is refused.
function world:take_witness(message)
  local place = message.place
  if place and not self.places[place] then refuse "there is no place for its witness" end
  if self.witnesses[message.id] then refuse "its witness is taken" end
  self.witnesses[message.id] = message.partial and "partial" or "done"
end

local function note_landing(self, message)
  if self.landed[message.id] and message.witnessed then
    self:violated("%s landed twice", message.id)
  end
  self.landed[message.id] = message.partial and "partial" or "done"
  self.ledger:check_landing(message)
end

--- A state is put. message: { id, target, before, after, precondition, witnessed, place }
function world:apply_put(message)
  if message.ignored then return end
  if message.witnessed then self:take_witness(message) end
  if message.precondition and self.values[message.target] ~= message.before then
    self.witnesses[message.id] = "refused"
    refuse "it was changed by somebody else"
  end
  note_landing(self, message)
  self.values[message.target] = message.after
end

local function event_of(self, key)
  self.events[key] = self.events[key] or { standing = 0, partial = 0, made = 0 }
  return self.events[key]
end

--- An event happens, whole or half. message: { id, key, partial, witnessed, place }
function world:apply_event(message)
  if message.witnessed then self:take_witness(message) end
  note_landing(self, message)
  local event = event_of(self, message.key)
  if message.partial then
    event.partial = event.partial + 1
    fault.raise { kind = "remote", message = message.key .. " ended half way", code = 1 }
  end
  if event.standing > 0 then self:violated("%s was made a second time", message.key) end
  event.standing, event.made = 1, event.made + 1
  return "result of " .. message.key
end

--- An event is taken back.
function world:apply_undo(message)
  if message.witnessed then self:take_witness(message) end
  note_landing(self, message)
  local event = event_of(self, message.key)
  if message.partial then fault.raise { kind = "remote", message = "the undo ended half way", code = 1 } end
  if event.standing == 0 and event.partial == 0 then
    self:violated("%s was taken back, and does not stand", message.key)
  end
  event.standing, event.partial = 0, 0
end

--- A service reads its configuration.
function world:apply_reload(message)
  self:take_witness(message)
  note_landing(self, message)
  if message.partial then fault.raise { kind = "remote", message = "the reload failed", code = 1 } end
  self.loaded[message.target] = self.values[message.target]
end

--- Whether an effect has happened, for the person who is asked: "applied" or "not applied".
function world:truth(id)
  self:land_due()
  return self.landed[id] == "done" and "applied" or "not applied"
end

return world
