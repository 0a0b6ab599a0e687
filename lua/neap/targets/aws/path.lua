--- Paths into results as models of AWS have them: names, indices and projections of JMESPath. What else that language
--- has is refused by name.
local path = {}

--- "Stacks[].StackStatus" as a list of parts: a name, an index, or `true` for a projection.
local function parts_of(text)
  local parts, at = {}, 1
  while at <= #text do
    local name, behind = text:match("^%.?([%a_][%w_-]*)()", at)
    if name then
      parts[#parts + 1], at = name, behind
    elseif text:match("^%[%*?%]", at) then
      parts[#parts + 1], at = true, text:match("^%[%*?%]()", at)
    else
      local index
      index, behind = text:match("^%[(-?%d+)%]()", at)
      if not index then return nil end
      parts[#parts + 1], at = tonumber(index), behind
    end
  end
  return parts
end

local follow

local function project(value, parts, at)
  local list = {}
  if type(value) ~= "table" then return nil end
  for _, item in ipairs(value) do
    local found = follow(item, parts, at)
    if parts[at] and type(found) == "table" and #found > 0 and found.projected then
      table.move(found, 1, #found, #list + 1, list)
    elseif found ~= nil then
      list[#list + 1] = found
    end
  end
  list.projected = true
  return list
end

function follow(value, parts, at)
  local part = parts[at]
  if part == nil then return value end
  if part == true then return project(value, parts, at + 1) end
  if type(value) ~= "table" then return nil end
  if type(part) == "number" then return follow(value[part < 0 and #value + 1 + part or part + 1], parts, at + 1) end
  return follow(value[part], parts, at + 1)
end

--- Raises a mistake for a path that uses more of JMESPath than names, indices and projections.
--- @param text string
--- @param level integer
function path.check(text, level)
  for one in (text .. "||"):gmatch "%s*(.-)%s*||" do
    if not parts_of(one) then
      error(("the path %q says more than names, indices and projections"):format(text), level + 1)
    end
  end
end

--- What a path leads to in plain data; nil where that is nothing. A projection is a list. Raises as path.check.
--- @param value any
--- @param text string  "Stacks[].StackStatus"; alternatives are parted by ||
--- @return any
function path.find(value, text)
  path.check(text, 2)
  for one in (text .. "||"):gmatch "%s*(.-)%s*||" do
    local found = follow(value, parts_of(one), 1)
    if type(found) == "table" then found.projected = nil end
    if found ~= nil then return found end
  end
end

return path
