--- Durations as people write them: "30s", "5m", "1h30m", "2d", "250ms"; a number is seconds.
local duration = {}

local SECONDS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }

--- Seconds of a duration, or nil if the text is none.
--- @param value string|number
--- @return number?
function duration.seconds(value)
  if type(value) == "number" then return value end
  if type(value) ~= "string" or value == "" then return nil end
  local total, rest = 0, value
  while rest ~= "" do
    local number, unit, after = rest:match("^(%d+%.?%d*)(%a+)(.*)$")
    if not number or not SECONDS[unit] then return nil end
    total, rest = total + tonumber(number) * SECONDS[unit], after
  end
  return total
end

--- A duration for people: "0.4s", "2m51s", "1h12m".
--- @param seconds number
--- @return string
function duration.text(seconds)
  if seconds < 60 then return ("%.1fs"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 3600 then return ("%dm%02ds"):format(whole // 60, whole % 60) end
  return ("%dh%02dm"):format(whole // 3600, whole % 3600 // 60)
end

return duration
