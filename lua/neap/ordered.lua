--- Maps in a fixed order: the same each time, whatever order Lua keeps their keys in.
local ordered = {}

local function by_type_and_value(a, b)
  local type_a, type_b = type(a), type(b)
  if type_a ~= type_b then return type_a < type_b end
  if type_a == "number" or type_a == "string" then return a < b end
  return false
end

--- The keys of a map, numbers before texts, each by their value; of nil, none.
--- @param map table?
--- @return any[]
function ordered.keys(map)
  local keys = {}
  for key in pairs(map or {}) do keys[#keys + 1] = key end
  table.sort(keys, by_type_and_value)
  return keys
end

return ordered
