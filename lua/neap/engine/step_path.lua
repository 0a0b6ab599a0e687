--- The paths of records: "Switch the proxies" is a step, "Switch the proxies/proxy1" its branch proxy1, and
--- "undo of Switch the proxies" its own undo. "repl/7" is a line that a person typed, the seventh: a step of its own.
local step_path = {}

local UNDO, LINE = "undo of ", "^repl/(%d+)"

--- @param number integer
--- @return string path  of a typed line
function step_path.line(number) return "repl/" .. number end

--- @param path string
--- @return integer? number  of the typed line that the path belongs to; nil: to a step
function step_path.line_number(path) return math.tointeger(path:match(LINE)) end

--- @param title string  of a step
--- @return string path  of its own undo
function step_path.undo(title) return UNDO .. title end

--- @param path string
--- @return boolean  whether it lies in the own undo of a step
function step_path.is_undo(path) return path:sub(1, #UNDO) == UNDO end

--- The path without its branch: the step, its own undo, or the line.
--- @param path string
--- @return string
function step_path.root(path)
  local number = step_path.line_number(path)
  return number and step_path.line(number) or path:match "^[^/]*"
end

--- The step or line that the path belongs to, forward or back, and its branch.
--- @param path string
--- @return string title
--- @return string? branch
function step_path.split(path)
  local forward = step_path.is_undo(path) and path:sub(#UNDO + 1) or path
  local title = step_path.root(forward)
  local branch = forward:sub(#title + 2)
  return title, branch ~= "" and branch or nil
end

--- @param path string
--- @return string title  of the step or line that the path belongs to, forward or back
function step_path.title(path) return (step_path.split(path)) end

return step_path
