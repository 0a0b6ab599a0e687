--- What procedures hand over as data, read-only views of an environment too, as tables of its own.
local json   = require "native.json"
local secret = require "native.secret"

local plain_data = {}

local function is_list(value) return getmetatable(value) == "json.array" or value[1] ~= nil end

--- A deep copy of plain data without metatables but that of lists. A secret in it is what `replace` makes of it; where
--- there is none, a mistake.
--- @param value any
--- @param replace? fun(value: native.secret.value): any
--- @return any
function plain_data.copy(value, replace)
  if secret.is(value) then
    if not replace then error("a secret would be readable in this text", 0) end
    return replace(value)
  end
  if type(value) ~= "table" then return value end
  local copy = is_list(value) and json.array {} or {}
  for key, each in pairs(value) do copy[key] = plain_data.copy(each, replace) end
  return copy
end

return plain_data
