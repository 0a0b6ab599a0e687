--- The records as they are committed, judged one by one: an account of its own, which shares no code with the engine's fold.
local json = require "native.json"

local ledger = {}
ledger.__index = ledger

local UNWITNESSED = { ["sim.probe"] = true, ["sim.opaque"] = true } -- nobody can see that these ended half way
local RESOURCES = { c = true, r = true, p = true }

--- @param world table
function ledger.new(world)
  return setmetatable({ world = world, records = {}, by_witness = {} }, ledger)
end

local function new_account(run)
  return { run = run, effects = {}, order = {}, steps = {}, attempts = {}, turn = "forward", seq = 0, token = 0 }
end

local take = {}

function take.step(account, record)
  local step = { seq = record.seq, path = record.path, undo = record.undo, undoes = record.undoes, status = "open",
    failed = account.steps[record.path] and account.steps[record.path].failed }
  account.steps[record.path], account.attempts[record.seq] = step, step
end

function take.turn(account, record) account.turn = record.direction end

local function title_of(path) return path:match "^[^/]*" end

--- Whether a step's own undo, which is done, stands for the undo of this effect.
local function covered(account, effect)
  local step = account.steps[title_of(effect.path)]
  return step and step.undo == "own" and step.undone
end

local function stands(account, effect)
  return (effect.status == "done" or effect.status == "partial" or effect.status == "intended") and not effect.undoes
    and not effect.undone and not effect.kept and not covered(account, effect) and not effect.path:find "^undo of "
end

local function check_order(self, account, undone)
  for _, effect in ipairs(account.order) do
    if effect.seq > undone.seq and stands(account, effect) then
      self.world:violated("effect %d is undone while the later effect %d stands", undone.seq, effect.seq)
    end
  end
end

local function point_of_no_return(account)
  local last = 0
  for _, effect in ipairs(account.order) do
    if effect.disposition == "irreversible" and effect.status == "done" and not effect.undone then
      last = math.max(last, effect.seq)
    end
  end
  for _, step in pairs(account.attempts) do
    if step.undo == "irreversible" and step.status == "done" then last = math.max(last, step.end_seq) end
  end
  return last
end

local function check_undo(self, account, intent)
  local undone = account.effects[intent.undoes]
  if not undone then self.world:violated("record %d undoes what nobody knows", intent.seq) end
  if account.turn ~= "back" then return end
  if undone.seq < point_of_no_return(account) then
    self.world:violated("effect %d is undone, behind a point of no return", undone.seq)
  end
  check_order(self, account, undone)
end

function take.intent(account, record, self)
  local effect = { seq = record.seq, path = record.path, kind = record.kind, target = record.target,
    status = "intended", undoes = record.undoes, disposition = record.disposition, bracket = record.bracket,
    witness = record.witness, token = record.token, show = record.show }
  account.effects[record.seq] = effect
  table.insert(account.order, effect)
  if record.witness then self.by_witness[record.witness] = effect end
  if record.undoes then check_undo(self, account, effect) end
end

local function end_effect(self, account, effect, record)
  local status = record.status
  if status == "undone" or status == "kept" then
    if effect.undone or effect.kept then self.world:violated("effect %d has a second end: %s", effect.seq, status) end
    effect[status] = true
    return
  end
  if effect.status ~= "intended" and effect.status ~= "partial" then
    self.world:violated("effect %d is %s, and has a second end: %s", effect.seq, effect.status, status)
  end
  effect.status, effect.how, effect.ended_by = status, record.how, record.token
  if effect.undoes and status == "done" then account.effects[effect.undoes].undone = true end
end

local function end_step(account, step, record)
  step.status, step.end_seq = record.status, record.seq
  if record.status == "failed" then step.failed = true end
  local undone = step.undoes and account.attempts[step.undoes]
  if undone and record.status == "done" then undone.undone = true end
end

take["end"] = function(account, record, self)
  if record.status == "same" then return end
  local effect = account.effects[record.of]
  if effect then return end_effect(self, account, effect, record) end
  end_step(account, account.attempts[record.of], record)
end

local function check_close(self, account, record)
  for _, one in ipairs(record.outcome == "rolled back" and record.remaining or {}) do
    if one.status ~= "partial" then
      self.world:violated("the run is rolled back, and %s is said to remain", one.show)
    end
  end
  local remains = {}
  for _, one in ipairs(record.remaining or {}) do remains[one.show .. " " .. one.path] = true end
  for _, effect in ipairs(account.order) do
    if effect.status == "intended" and record.outcome ~= "abandoned" then
      self.world:violated("the run is closed and effect %d has no end", effect.seq)
    end
    if record.outcome == "abandoned" and stands(account, effect) and not remains[effect.show .. " " .. effect.path] then
      self.world:violated("the run is abandoned and effect %d is not named", effect.seq)
    end
  end
end

function take.close(account, record, self)
  check_close(self, account, record)
  account.closed = record.outcome
end

--- Takes in what a commit has made durable.
function ledger:commit(batch)
  local account = self.records[batch.run] or new_account(batch.run)
  self.records[batch.run] = account
  for _, entry in ipairs(batch) do
    local record = json.decode(entry.line)
    if account.closed then self.world:violated("run %d goes on after its close", batch.run) end
    if record.seq ~= account.seq + 1 or record.token < account.token then
      self.world:violated("record %d of token %d follows %d of %d", record.seq, record.token, account.seq,
        account.token)
    end
    account.seq, account.token = record.seq, record.token
    if take[record.type] then take[record.type](account, record, self) end
  end
end

--- A call may be sent once its intent is durable, and not after its own process has written its end.
function ledger:check_sending(id)
  local effect = self.by_witness[id]
  if not effect then self.world:violated("a call is sent without an intent") end
  if effect.status ~= "intended" and effect.ended_by == effect.token then
    self.world:violated("the call of effect %d is sent, and its end is written: %s", effect.seq, effect.status)
  end
end

--- A rollback does not put back over what it has seen to be somebody else's, unless told to.
function ledger:check_landing(message)
  local world, effect = self.world, self.by_witness[message.id]
  local now = message.target and world.values[message.target]
  if effect.undoes and not effect.path:find "^undo of " and world.foreign_values[now] and message.before == now
    and not message.told then
    world:violated("the foreign state of %s is overwritten", message.target)
  end
end

--- The account of the last run.
function ledger:last() return self.records[#self.records] end

--- The oldest effect whose intent has no end: a resume asks about them in this order.
function ledger:first_in_doubt()
  for _, effect in ipairs(self:last().order) do
    if effect.status == "intended" then return effect end
  end
end

--- Of each landing: its effect has the end that says so; of each end: it happened. Targets that somebody else changed are
--- left out where a kind can only compare.
function ledger:check_truth()
  for id, effect in pairs(self.by_witness) do
    local landed = self.world.landed[id]
    local fuzzy = RESOURCES[effect.target:sub(1, 1)] and self.world.foreign[effect.target]
      or landed == "partial" and UNWITNESSED[effect.kind]
    if landed and not fuzzy and effect.status ~= landed and effect.status ~= "intended" and effect.how ~= "person" then
      self.world:violated("effect %d happened (%s), and its end says %s", effect.seq, landed, effect.status)
    elseif not landed and not fuzzy and (effect.status == "done" or effect.status == "partial") then
      self.world:violated("effect %d did not happen, and its end says %s", effect.seq, effect.status)
    end
  end
end

return ledger
