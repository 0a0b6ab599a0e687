--- Carries one schedule out: life after life until its run is closed, then judges what stands.
local clock    = require "native.clock"
local crypto   = require "native.crypto"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local fold     = require "neap.engine.fold"
local journal  = require "neap.engine.journal"
local lease    = require "neap.engine.lease"
local process  = require "tests.sim.process"
local rollback = require "neap.engine.rollback"
local run      = require "neap.engine.run"
local spec     = require "tests.sim.spec"
local summary  = require "neap.engine.summary"
local task     = require "native.task"
local world    = require "tests.sim.world"

require "tests.sim.kinds"

local schedule = {}

summary.least = 1 -- each step that is over is summed up

local LIVES = 14 -- undisturbed ones, after which a run must be closed

-- one host has one lock, which ends with its holder; a journal that two hosts share has none
function lease.lock()
  local self = process.current()
  for _, other in ipairs(self.world.processes) do
    if other ~= self and other.alive and not other.ended and not self.world.spec.shared then
      fault.raise { kind = "conflict", code = "leased", message = "another neap is working on this environment" }
    end
  end
  return { close = function() end }
end

function lease.ballast()
  local self = process.current()
  return function() return self:free_ballast() end
end

-- ---- one life ----

local function answer_of(self, question)
  local life = self.life
  if question.kind == "in doubt" then return self.world:truth(self.world.ledger:first_in_doubt().witness) end
  if question.kind == "conflict" then
    self.told = self.told or life.conflict == "overwrite"
    return life.conflict
  end
  return question.options[1]
end

local function given(self)
  return {
    state = self:store(), procedure = "procedures/sim/it.lua", files = { ["procedures/sim/it.lua"] = self.world.text },
    arguments = {}, reason = "given up",
    environment = { name = "sim", group = "sim", hosts = {}, values = {}, policy = self.world.spec.policy },
    run = #self.world.store.by_run, to = self.life.to, on_conflict = self.life.on_conflict,
    ask = function(question)
      if not self.life.attended then return nil end
      self:check_alive()
      return { choice = answer_of(self, question), who = "operator" }
    end,
  }
end

local CALLS = { start = run.start, resume = run.resume, rollback = rollback.start, abandon = run.abandon }

local function live(self, driver)
  self.ok, self.result = pcall(CALLS[self.life.op], given(self))
  self.ended = true
  driver:wake()
end

--- A failure that is no error object is a mistake in the engine.
local function check_result(self)
  if not self.alive or self.world.violation then return end
  local failure = self.ok and self.result.failure or not self.ok and self.result
  if failure and not fault.is(failure) then self.world.violation = "a mistake: " .. tostring(failure) end
end

--- Runs a process until it ends, dies or sleeps for long.
local function wait_for(self)
  while self.alive and not self.ended and not self.sleeping do task.park() end
  if self.ended then check_result(self) end
end

local function run_life(w, life)
  local self = process.new(w, life, task.current())
  self.told = life.on_conflict == "overwrite" or w.spec.policy.on_conflict == "overwrite"
  self.main = task.spawn(task.with_context, { process = self }, live, self, task.current())
  wait_for(self)
  return self
end

local function wake_sleepers(w)
  for _, other in ipairs(w.processes) do
    if other.sleeping then
      other:wake()
      while other.alive and not other.ended do
        wait_for(other)
        if other.sleeping then other:wake() end
      end
    end
  end
end

local function closed(w)
  local account = w.ledger:last()
  return account and account.closed
end

local function leased(self) return not self.ok and fault.is(self.result) and self.result.code == "leased" end

local function violated(w, message, ...) w.violation = w.violation or message:format(...) end

local function disturbed_lives(w)
  for number, life in ipairs(w.spec.lives) do
    if closed(w) or w.violation then return end
    local open = w.ledger:last() ~= nil
    if open == (number > 1) or life.op == "start" then
      local self = run_life(w, life)
      if open and #w.store.by_run > 1 then violated(w, "a second run was started while the first is open") end
      if self.ended and leased(self) and not w.spec.shared then wake_sleepers(w) end
    end
  end
end

local function undisturbed_life(w, number)
  if not w.ledger:last() then return { op = "start", attended = true, conflict = "keep" } end
  local op = w.spec.goal == "back" and number % 3 ~= 0 and "rollback" or "resume"
  if number == LIVES and next(w.foreign) then op = "abandon" end
  return { op = op, attended = true, conflict = w.spec.hands and "keep" or "stop" }
end

local function to_the_end(w)
  wake_sleepers(w)
  for number = 1, LIVES do
    if closed(w) or w.violation then return end
    local self = run_life(w, undisturbed_life(w, number))
    w.last_result = self.result
  end
  if not closed(w) then violated(w, "the run is never closed: %s", tostring(w.last_result.failure)) end
end

-- ---- the judgement ----

local function outlined(reader, number)
  return fold.new(reader:source(function() return number end))
end

--- Who takes the run up from summaries is told what all its records come to.
local function check_summaries(w, reader, number)
  local short, whole = outlined(reader, number), outlined(reader, number)
  reader:read(number):each(function(outline) short:add(outline) end, function(note) short:add_summary(note) end)
  for _, entry in ipairs(w.store.by_run[number]) do whole:add(reader:outline(entry.line)) end
  for _, part in ipairs { "step_order", "finished", "standing", "kept", "took" } do
    if not data.same(short[part], whole[part]) then violated(w, "by summaries it is another state: %s", part) end
  end
  for place in pairs(whole.places) do
    if not short.places[place] then violated(w, "the summaries do not name the place %s", place) end
  end
end

local function check_chain(w)
  for number in ipairs(w.store.by_run) do
    local head, state = "", fold.new()
    local reader = journal.open(w.store)
    for _, entry in ipairs(w.store.by_run[number]) do
      head = crypto.sha256(head .. entry.line)
      if head ~= entry.hash then violated(w, "record %d does not follow from the one before", entry.seq) end
      state:add(reader:decode(entry.line))
      state:in_doubt()
      state:in_place()
      state:point_of_no_return()
    end
    check_summaries(w, reader, number)
    local ok, failure = pcall(reader.verify, reader, number)
    if not ok then violated(w, "the journal does not verify: %s", tostring(failure)) end
  end
end

local function check_refused(w)
  local before = #w.store.by_run[#w.store.by_run]
  for _, op in ipairs { "resume", "rollback", "abandon" } do
    local self = run_life(w, { op = op })
    if self.ok or not fault.is(self.result) or self.result.code ~= "closed" then
      violated(w, "%s of a closed run is not refused", op)
    end
  end
  if #w.store.by_run[#w.store.by_run] ~= before then violated(w, "a closed run has got another record") end
end

local function failed_steps(w)
  local failed = {}
  for path, step in pairs(w.ledger:last().steps) do
    local title = path:match "^[^/]*"
    failed[title] = failed[title] or step.failed
  end
  return failed
end

--- Whether a step that reads what it changes itself has failed and was attempted anew, with live reads.
local function sprung(w)
  local failed = failed_steps(w)
  for _, step in ipairs(w.spec.steps) do
    for _, op in ipairs(step.ops) do
      if op.op == "trap" and failed[step.title] then return true end
    end
  end
end

local function kept(w)
  local targets = {}
  for _, effect in ipairs(w.ledger:last().order) do
    if effect.kept then targets[effect.target] = true end
  end
  return targets
end

local function check_values(w, expected)
  local but = kept(w)
  for _, values in ipairs { expected, w.values } do
    for target in pairs(values) do
      if w.values[target] ~= expected[target] and not w.foreign[target] and not but[target] then
        violated(w, "%s: %s is %q, and should be %q", closed(w), target, tostring(w.values[target]),
          tostring(expected[target]))
      end
    end
  end
  if w.loaded.c9 ~= w.values.c9 and not w.foreign.c9 then
    violated(w, "%s: the service has not read its configuration", closed(w))
  end
end

local function check_events(w, expected)
  for key in pairs(expected) do
    if not w.events[key] or w.events[key].standing ~= 1 then violated(w, "%s: %s was not made", closed(w), key) end
  end
  for key, event in pairs(w.events) do
    if event.standing == 1 and not expected[key] then violated(w, "%s: %s stands", closed(w), key) end
  end
end

local function kept_events(w)
  local keys = {}
  for _, step in ipairs(w.spec.steps) do
    for _, op in ipairs(step.ops) do
      for _, suffix in ipairs(step.branches or { "" }) do
        local key = op.op == "event" and op.option == "keep" and op.target .. " " .. op.value .. suffix
        if key and w.events[key] and w.events[key].standing == 1 then keys[key] = true end
      end
    end
  end
  return keys
end

local function check_end(w)
  local outcome = closed(w)
  if outcome == "done" then
    if not next(w.foreign) and not sprung(w) then check_values(w, w.model.values) end
    check_events(w, w.model.events)
  elseif outcome == "rolled back" then
    check_values(w, w.spec.values)
    check_events(w, kept_events(w))
  end
end

local function judge(w)
  w:drain()
  if w.violation then return end
  w.ledger:check_truth()
  check_end(w)
  check_chain(w)
  check_refused(w)
end

local function bury(w, alive)
  for _, one in ipairs(w.processes) do
    if one.alive and not one.ended then one:kill() end
  end
  for _ = 1, 100 do
    if task.count() <= alive then return end
    task.sleep(10000)
  end
  violated(w, "a task of a process that is gone waits for ever")
end

--- Carries a schedule out.
--- @param made table  of spec.make
--- @return string? violation
--- @return table world
function schedule.run(made)
  local alive = task.count()
  clock.virtual(true)
  local w = world.new(made)
  w.text, w.model = spec.model(made)
  local ok, failure = pcall(function()
    disturbed_lives(w)
    if not w.violation then to_the_end(w) end
    if not w.violation then judge(w) end
  end)
  if not ok and not w.violation then w.violation = tostring(failure) end
  w.outcome = closed(w)
  bury(w, alive)
  clock.virtual(false)
  return w.violation, w
end

return schedule
