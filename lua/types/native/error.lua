--- @meta native.error

--- Errors that say what the world refused. A plain string is a mistake in code instead.
--- @class native.error
local fault = {}

--- As text it is where and message.
--- @class neap.error
--- @field kind "connect"|"lost"|"auth"|"timeout"|"denied"|"missing"|"conflict"|"remote"|"protocol"|"verify"|"cancelled"|"fenced"|"journal"
--- @field message string  what happened to what
--- @field where? string  "procedures/encode/release.lua:41: "; else the innermost line outside neap's own Lua
--- @field host? string
--- @field code? string|integer  exit status, SQLSTATE, HTTP status
--- @field output? string  the target's own last lines
--- @field hint? string

--- Makes the table an error object.
--- @param fields neap.error
--- @return neap.error fields  the same table
function fault.new(fields) end

--- The same, and raises it.
--- @param fields neap.error
function fault.raise(fields) end

--- Whether it is an error object, and of that kind.
--- @param value any
--- @param kind? string
--- @return boolean
function fault.is(value, kind) end

return fault
