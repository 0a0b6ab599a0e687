--- The project's own files, for the tests of its structure.
local fs = require "native.fs"

local tree = {}

--- Paths below a folder whose names match the pattern, at any depth, sorted.
function tree.files(folder, pattern)
  local found = {}
  local function visit(path)
    for _, name in ipairs(fs.list(path)) do
      local inner = path .. "/" .. name
      if fs.stat(inner).type == "directory" then
        visit(inner)
      elseif name:find(pattern) then
        found[#found + 1] = inner
      end
    end
  end
  visit(folder)
  return found
end

--- The lines of a file.
function tree.lines(path)
  local lines = {}
  for line in (fs.read(path) .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

return tree
