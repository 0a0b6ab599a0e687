--- When an environment may be changed: its policy's window of days and hours, and its freezes.
local clock   = require "native.clock"
local fault   = require "native.error"
local fs      = require "native.fs"
local process = require "native.process"

--- @class neap.window
--- @field days table<integer, boolean>  0 is Sunday
--- @field from integer  seconds of the day
--- @field to integer  less than from: it ends on the next day
--- @field zone string  "UTC", "local", or a name of the zone database
--- @field freezes { from: string, to: string, why: string? }[]  dates, both days included
--- @field text string  for people

local window = {}

local DAY = 86400
local NAMES = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" }
local ZONES = "/usr/share/zoneinfo/"

local function wrong(message, ...)
  fault.raise { kind = "conflict", code = "usage", where = "", message = message:format(...) }
end

local function days_of(given)
  if given == nil then given = NAMES end
  if type(given) ~= "table" then wrong("policy.window.days is a list like [tue, wed, thu]") end
  local days = {}
  for _, name in ipairs(given) do
    local found
    for i, known in ipairs(NAMES) do
      if tostring(name):lower():sub(1, 3) == known then found = i - 1 end
    end
    days[found or wrong("policy.window.days: %q is no day", tostring(name))] = true
  end
  return days
end

local function time_of(given, key, default)
  if given == nil then return default end
  local hours, minutes = tostring(given):match "^(%d%d?):(%d%d)$"
  if not hours or tonumber(hours) > 24 or tonumber(minutes) > 59 then
    wrong("policy.window.%s: %q is no time like \"02:00\"", key, tostring(given))
  end
  return hours * 3600 + minutes * 60
end

local function zone_of(given)
  local zone = given or "local"
  if zone == "local" or zone == "UTC" then return zone end
  if not zone:find "^[%w_+%-/]+$" or not fs.exists(ZONES .. zone) then
    wrong("policy.window.zone: no zone is named %q", tostring(zone))
  end
  return zone
end

local function freezes_of(given)
  if given == nil then return {} end
  for _, one in ipairs(type(given) == "table" and given or { false }) do
    local whole = type(one) == "table" and tostring(one.from):find "^%d+%-%d%d%-%d%d$"
      and tostring(one.to):find "^%d+%-%d%d%-%d%d$"
    if not whole then wrong "policy.freeze is a list of { from: 2026-12-20, to: 2027-01-03, why: … }" end
  end
  return given
end

local function describe(self, given)
  if not given then return "at any time" end
  local names = {}
  for i, name in ipairs(NAMES) do
    if self.days[i - 1] then names[#names + 1] = name end
  end
  local days = #names == 7 and "every day" or table.concat(names, ", ")
  return ("%s %02d:%02d-%02d:%02d %s"):format(days, self.from // 3600, self.from % 3600 // 60, self.to // 3600,
    self.to % 3600 // 60, self.zone)
end

--- What a policy says; nil: it may be changed at any time. Raises for what is no window.
--- @param policy table
--- @return neap.window?
function window.of(policy)
  local given = policy.window
  if not given and not policy.freeze then return nil end
  if given and type(given) ~= "table" then wrong "policy.window has days, from, to and zone" end
  local self = { days = days_of(given and given.days), from = time_of(given and given.from, "from", 0),
    to = time_of(given and given.to, "to", DAY), zone = zone_of(given and given.zone),
    freezes = freezes_of(policy.freeze) }
  self.text = describe(self, given)
  return self
end

-- ---- the clock on the wall there ----

local FORMAT = "%w %H %M %S %Y-%m-%d"

--- What a clock in a zone shows.
--- @param zone string  "local", "UTC", or a name of the zone database
--- @param now number  seconds since the epoch
--- @param format string  of strftime
--- @return string
function window.shown(zone, now, format)
  if zone == "local" then return clock.local_time(now, format) end
  local options = { env = { TZ = zone }, reads = true }
  return process.run({ "date", "-d", "@" .. math.floor(now), "+" .. format }, options).out:match "^[^\n]*"
end

--- Day of the week, seconds of the day, date.
local function wall(zone, now)
  if zone == "UTC" then
    local whole = math.floor(now)
    return (whole // DAY + 4) % 7, now % DAY, clock.utc(now):sub(1, 10)
  end
  local day, hours, minutes, seconds, date = window.shown(zone, now, FORMAT):match "^(%d) (%d+) (%d+) (%d+) (%S+)"
  return math.tointeger(day), hours * 3600 + minutes * 60 + seconds + now % 1, date
end

local function frozen(self, date)
  for _, one in ipairs(self.freezes) do
    if one.from <= date and date <= one.to then return one end
  end
end

--- Whether the window is open, and until when.
--- @param self neap.window
--- @param now number  seconds since the epoch
--- @return number? ends  seconds since the epoch; nil: it is closed
--- @return string? why  it is closed
function window.ends(self, now)
  local day, time, date = wall(self.zone, now)
  local freeze = frozen(self, date)
  if freeze then
    return nil, ("frozen from %s to %s%s"):format(freeze.from, freeze.to, freeze.why and ": " .. freeze.why or "")
  end
  if self.from < self.to then
    if self.days[day] and time >= self.from and time < self.to then return now - time + self.to end
  elseif self.days[day] and time >= self.from then
    return now - time + self.to + DAY
  elseif self.days[(day - 1) % 7] and time < self.to then
    return now - time + self.to
  end
  return nil, "the window is " .. self.text
end

return window
