--- @meta native.memory

--- How much Lua may take, so that code that runs away is refused before the machine is out of memory.
--- @class native.memory
local memory = {}

--- From now on Lua may hold so many bytes; without an argument any number. What would take more raises the text
--- "not enough memory".
--- @param bytes? integer
function memory.limit(bytes) end

--- Bytes that Lua holds.
--- @return integer
function memory.used() end

return memory
