--- What is answered as JSON: the same models, with what JSON cannot carry put into a form that it can.
local crypto = require "native.crypto"

local view = {}

local CODE = { files = true, environment_data = true } -- of the record `run`: the code itself is no event

--- Plain data for JSON: bytes that are no text become { "$base64": … }, functions are left out.
--- @param value any
--- @return any
function view.safe(value)
  if type(value) == "string" then
    return utf8.len(value) and value or { ["$base64"] = crypto.base64(value) }
  end
  if type(value) == "function" then return nil end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, item in pairs(value) do copy[key] = view.safe(item) end
  return copy
end

--- A journal record or volatile event as one goes out.
--- @param record table
--- @return table
function view.event(record)
  local copy = {}
  for key, value in pairs(record) do
    if not CODE[key] then copy[key] = view.safe(value) end
  end
  return copy
end

return view
