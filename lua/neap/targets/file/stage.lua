--- Folders of this machine for what is on its way from one place to another.
local fs = require "native.fs"

local stages = {}

--- Calls fn with the path of a new folder, which goes when fn is over. Raises what fn raises.
--- @param name string  that the folder's begins with
--- @param fn fun(stage: string)
function stages.with(name, fn)
  local stage = fs.mkdtemp(("/var/tmp/neap-%s-"):format(name))
  local ok, failure = pcall(fn, stage)
  fs.remove_tree(stage)
  if not ok then error(failure, 0) end
end

return stages
