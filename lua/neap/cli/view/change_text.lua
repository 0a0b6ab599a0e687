--- A state as a text, for a difference.
local view = {}

--- @param state any  nil: it was not there
--- @return string
function view.text(state)
  if state == nil then return "" end
  if type(state) == "table" and type(state.content) == "string" then return state.content end
  if type(state) ~= "table" then return tostring(state) end
  return require "native.json".encode_pretty(require "neap.cli.view.json".safe(state))
end

return view
