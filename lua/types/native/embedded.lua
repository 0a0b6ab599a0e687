--- @meta native.embedded

--- neap's own texts: its Lua, types and manual, which are in the program.
--- @class native.embedded
local embedded = {}

--- A text; nil where there is none. Raises a mistake for a path that leads out.
--- @param path string  below `lua/`: "neap/manual/sql.md"
--- @return string?
function embedded.text(path) end

--- The paths of all texts.
--- @return string[]
function embedded.paths() end

return embedded
