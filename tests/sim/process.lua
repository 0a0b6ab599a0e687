--- One process of neap's within a schedule: what befalls it at each of its points, and how it dies. A process that is dead
--- never reaches a target or the store again, whatever its tasks still unwind.
local fault = require "native.error"
local task  = require "native.task"

local process = {}
process.__index = process

--- @param world table
--- @param life table   { op, faults }
--- @param driver table  the task that is woken when the process ends, dies, or sleeps for long
function process.new(world, life, driver)
  local self = setmetatable({ world = world, life = life, driver = driver, alive = true, points = 0, faults = {},
    seen = {}, queue = {} }, process)
  for _, one in ipairs(life.faults or {}) do self.faults[one.at] = one end
  table.insert(world.processes, self)
  return self
end

--- The process that the calling task belongs to.
function process.current()
  local context = task.context()
  return context.process or context.run.journal.store.process
end

function process:check_alive()
  if self.world.violation then error("violated", 0) end
  if not self.alive then error("dead", 0) end
end

--- Ends it as a kill does.
function process:die()
  self:kill()
  error("dead", 0)
end

--- The same from outside.
function process:kill()
  self.alive, self.sleeping = false, false
  self.world.crashes = self.world.crashes + 1
  self.main:cancel()
  self.driver:wake()
  if self.asleep then self.asleep:wake() end
end

--- Wakes it from a long sleep.
function process:wake()
  self.sleeping = false
  self.asleep:wake()
end

local function until_woken(self)
  while self.sleeping do task.park() end
end

local function wait_while_stopped(self)
  while self.stopped do
    table.insert(self.queue, task.current())
    task.shield(task.park)
  end
end

--- Stops it for a while, as SIGSTOP does: its deadlines pass when it wakes. With planned.points it sleeps until others
--- have passed so many.
function process:stop(planned)
  wait_while_stopped(self)
  self:check_alive()
  self.stopped, self.asleep = true, task.current()
  if planned.points then
    self.sleeping, self.wakes_in = true, planned.points
    self.driver:wake()
    task.shield(until_woken, self)
  else
    task.shield(task.sleep, planned.delay)
  end
  self.stopped, self.asleep = false, nil
  for _, waiting in ipairs(self.queue) do waiting:wake() end
  self.queue = {}
  self:check_alive()
end

--- Every call to a target and every commit passes here. Returns the fault that is planned for this point, or nothing.
--- @return table planned  empty where nothing befalls it
function process:point()
  self:check_alive()
  wait_while_stopped(self)
  self:check_alive()
  self.world:count_point()
  self.points = self.points + 1
  local planned = self.faults[self.points] or {}
  if planned.by_hand then self.world:change_by_hand(planned.by_hand) end
  return planned
end

-- ---- the store as this process reaches it ----

local function journal_failure(code)
  fault.raise { kind = "journal", code = code, message = "the journal cannot be written: " .. code }
end

local BEFORE = {
  ["sleep before"] = process.stop, ["crash before"] = process.die,
  error = function() journal_failure "SQLITE_IOERR" end,
  full = function(self)
    if self.ballast_gone then return end
    self.was_full = true
    journal_failure "SQLITE_FULL"
  end,
}
local AFTER = {
  ["sleep after"] = process.stop, ["crash after"] = process.die,
  ["error after"] = function() journal_failure "SQLITE_IOERR_FSYNC" end,
}

--- One transaction; write() returns the batch it wrote, then what the caller gets.
local function commit(self, write)
  local planned = self:point()
  if BEFORE[planned.commit] then BEFORE[planned.commit](self, planned) end
  local result = table.pack(write())
  self.world.ledger:commit(result[1])
  if AFTER[planned.commit] then AFTER[planned.commit](self, planned) end
  return table.unpack(result, 2, result.n)
end

--- Makes room on the full disk; true if it did.
function process:free_ballast()
  if not self.was_full or self.ballast_gone or not self.world.spec.ballast then return false end
  self.ballast_gone = true
  return true
end

--- The world's store, every transaction of which is a point.
function process:store()
  local rows, view = self.world.store, { process = self }
  function view.insert(_, batch)
    commit(self, function()
      rows:insert(batch)
      return batch
    end)
  end
  function view.take(_, run, records)
    return commit(self, function()
      local batch
      local number, token = rows:take(run, function(...)
        batch = records(...)
        return batch
      end)
      return batch, number, token
    end)
  end
  return setmetatable(view, { __index = rows, __newindex = rows })
end

return process
