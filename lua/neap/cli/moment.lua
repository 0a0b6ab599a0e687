--- Moments as people write them: 02:00, 2026-12-01 02:00, 2026-12-01T02:00:00Z.
local clock   = require "native.clock"
local failure = require "neap.cli.failure"
local process = require "native.process"
local window  = require "neap.engine.window"

local moment = {}

local DAY = 86400
local FORMS = "02:00, 2026-12-01T02:00, 2026-12-01T02:00+01:00 or 2026-12-01T01:00Z"

--- By GNU date, which knows no such time in the hour that a clock leaps over.
local function seconds_of(zone, text)
  local env = zone ~= "local" and { TZ = zone } or nil
  local said = process.run({ "date", "-d", text, "+%s" }, { env = env, reads = true })
  return said.status == 0 and math.tointeger(tonumber(said.out))
    or failure.wrong_use(("there is no %s in the zone %s"):format(text, zone), "neap run --at " .. FORMS)
end

local function day_after(day) return clock.utc(clock.parse(day .. "T12:00:00.000Z") + DAY):sub(1, 10) end

--- The next time that clocks there show it.
local function next_one(zone, time, now)
  local day = window.shown(zone, now, "%Y-%m-%d")
  local found = seconds_of(zone, day .. " " .. time)
  return found > now and found or seconds_of(zone, day_after(day) .. " " .. time)
end

--- Seconds since the epoch. A time of day is the next one; without an offset it is one of the zone. Raises wrong use for
--- what is no moment, or is past.
--- @param text string
--- @param zone string  "local", "UTC", or a name of the zone database
--- @param now number
--- @return integer
function moment.of(text, zone, now)
  if text:find "^%d%d?:%d%d$" then return next_one(zone, text, now) end
  local day, time, offset = text:match "^(%d%d%d%d%-%d%d%-%d%d)[T ](%d%d:%d%d:?%d?%d?)([Z%d:+%-]*)$"
  local is_offset = offset == "" or offset == "Z" or offset and offset:find "^[+-]%d%d:?%d%d$"
  if not is_offset then failure.wrong_use(("'%s' is no time"):format(text), "neap run --at " .. FORMS) end
  local found = seconds_of(zone, ("%s %s%s"):format(day, time, offset))
  if found <= now then failure.wrong_use(("%s is past"):format(text), "neap run --at " .. FORMS) end
  return found
end

--- @param seconds integer
--- @param zone string
--- @return string  "Tue 2026-12-01 02:00 CET"
function moment.text(seconds, zone) return window.shown(zone, seconds, "%a %Y-%m-%d %H:%M %Z") end

return moment
