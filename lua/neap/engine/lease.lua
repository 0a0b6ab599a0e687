--- The right to change an environment. The lock says that a writer lives, and ends with it; the lease's row says that
--- the environment is dirty, and ends with `close` alone. No clock is asked.
local fault   = require "native.error"
local fs      = require "native.fs"
local process = require "native.process"

local lease = {}

local BALLAST = 8 << 20 -- bytes held back for the records that must still be written on a full disk

--- Who we are, for the record `own`.
--- @return table
function lease.owner()
  local pid = process.pid()
  return { host = process.hostname(), boot_id = process.boot_id(), pid = pid, start_time = process.start_time(pid) }
end

--- Takes the lock of an environment's folder; raises kind "conflict", code "leased" where another process has it.
--- @param folder string?  nil: a journal in memory, which nobody else can reach
--- @return { close: fun(self) } lock
function lease.lock(folder)
  if not folder then return { close = function() end } end
  local lock = fs.lock(folder .. "/lock")
  if not lock then
    fault.raise { kind = "conflict", code = "leased", message = "another neap is working on this environment" }
  end
  return lock
end

--- Writes the ballast file, and returns the function that gives it up: true if it made room.
--- @param folder string?
--- @return fun(): boolean
function lease.ballast(folder)
  if not folder then return function() return false end end
  local path = folder .. "/ballast"
  if not fs.exists(path) then
    if fs.free_bytes(folder) < 2 * BALLAST then
      fault.raise { kind = "journal", code = "full",
        message = ("less than %d MiB are free in %s, where the journal lies"):format(2 * BALLAST >> 20, folder),
        hint = "make room there first" }
    end
    fs.write(path, ("\0"):rep(BALLAST), { mode = "0600" })
  end
  return function()
    if not fs.exists(path) then return false end
    fs.remove(path)
    return true
  end
end

return lease
