--- The paths of records: "Switch the proxies" is a step, "Switch the proxies/proxy1" its branch proxy1, and
--- "undo of Switch the proxies" its own undo.
local step_path = {}

local UNDO = "undo of "

--- @param title string  of a step
--- @return string path  of its own undo
function step_path.undo(title) return UNDO .. title end

--- @param path string
--- @return boolean  whether it lies in the own undo of a step
function step_path.is_undo(path) return path:sub(1, #UNDO) == UNDO end

--- The path without its branch: the step, or its own undo.
--- @param path string
--- @return string
function step_path.root(path) return (path:match "^[^/]*") end

--- The step that the path belongs to, forward or back, and its branch.
--- @param path string
--- @return string title
--- @return string? branch
function step_path.split(path)
  local forward = step_path.is_undo(path) and path:sub(#UNDO + 1) or path
  local title, branch = forward:match "^([^/]*)/?(.*)$"
  return title, branch ~= "" and branch or nil
end

--- @param path string
--- @return string title  of the step that the path belongs to, forward or back
function step_path.title(path) return (step_path.split(path)) end

return step_path
