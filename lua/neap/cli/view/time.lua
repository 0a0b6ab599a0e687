--- Times as people read them: the journal's UTC in the zone of whoever looks.
local clock = require "native.clock"

local time = {}

local function shown(utc, format)
  local seconds = utc and clock.parse(utc)
  return seconds and clock.local_time(seconds, format) or "-"
end

--- @param utc string  as the journal has it
function time.of_day(utc) return shown(utc, "%H:%M:%S") end

function time.day(utc) return shown(utc, "%Y-%m-%d") end

function time.minute(utc) return shown(utc, "%Y-%m-%d %H:%M") end

function time.second(utc) return shown(utc, "%Y-%m-%d %H:%M:%S") end

--- @param utc string?
--- @return number?  since the epoch
function time.seconds(utc) return utc and clock.parse(utc) end

--- Seconds from one to the other; nil where one is not known.
--- @return number?
function time.between(from, to)
  local first, last = from and clock.parse(from), to and clock.parse(to)
  return first and last and last - first or nil
end

return time
