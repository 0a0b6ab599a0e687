--- What the doctor finds of one thing.
local fault = require "native.error"

--- Calls a check; what it raises is its finding. What it returns is what is said when all is well.
--- @param area string
--- @param name string
--- @param check function
--- @return { area: string, name: string, ok: boolean, note: string, hint: string?, output: string? }
return function(area, name, check, ...)
  local ok, note = pcall(check, ...)
  if ok then return { area = area, name = name, ok = true, note = note or "" } end
  if not fault.is(note) then error(note, 0) end
  return { area = area, name = name, ok = false, note = note.message, hint = note.hint, output = note.output }
end
