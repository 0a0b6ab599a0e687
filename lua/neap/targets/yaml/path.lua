--- Paths into YAML documents: `spec.containers[name=app].image`, `list[2]`, `["a.key.with.dots"]`.
local yaml_path = {}

--- @class (exact) yaml_path.part
--- @field name? string     of a key
--- @field index? integer   in a list, from 1
--- @field key? string      of the entry of a list in which this key
--- @field value? string    has this value

local function complain(path, at)
  error(("%q is no path: it goes wrong at its byte %d"):format(path, at), 0)
end

--- What stands between quotes from `at` on, and where it ends.
local function quoted(path, at)
  local text, last = path:match('^"([^"]*)"()', at)
  if not text then text, last = path:match("^'([^']*)'()", at) end
  return text, last
end

--- One part in brackets, without the opening one, and where the next begins.
local function bracket(path, at)
  local index, behind = path:match("^(%d+)%]()", at)
  if index then return { index = math.tointeger(tonumber(index)) }, behind end
  local text, last = quoted(path, at)
  if text and path:sub(last, last) == "]" then return { name = text }, last + 1 end
  local key, from = path:match("^([^%[%]=\"']+)=()", at)
  if not key then complain(path, at) end
  local value, to = quoted(path, from)
  if not value then value, to = path:match("^([^%[%]]+)()", from) end
  if not value or path:sub(to, to) ~= "]" then complain(path, from) end
  return { key = key, value = value }, to + 1
end

--- The parts of a path, outermost first. Raises a mistake where it is none.
--- @param path string
--- @return yaml_path.part[]
function yaml_path.parse(path)
  if type(path) ~= "string" or path == "" then error("a path is a text as in spec.replicas", 0) end
  local parts, at = {}, 1
  while at <= #path do
    if path:sub(at, at) == "[" then
      parts[#parts + 1], at = bracket(path, at + 1)
    else
      if #parts > 0 then
        if path:sub(at, at) ~= "." then complain(path, at) end
        at = at + 1
      end
      local name, behind = path:match("^([^.%[%]]+)()", at)
      if not name then complain(path, at) end
      parts[#parts + 1], at = { name = name }, behind
    end
  end
  return parts
end

--- Part of a path as text, for messages.
--- @param parts yaml_path.part[]
--- @param first? integer
--- @param last? integer
--- @return string
function yaml_path.text(parts, first, last)
  local out = {}
  for i = first or 1, last or #parts do
    local part = parts[i]
    if part.index then
      out[#out + 1] = ("[%d]"):format(part.index)
    elseif part.key then
      out[#out + 1] = ("[%s=%s]"):format(part.key, part.value)
    elseif part.name:find("[.%[%]]") then
      out[#out + 1] = ('["%s"]'):format(part.name)
    else
      out[#out + 1] = (#out > 0 and "." or "") .. part.name
    end
  end
  return table.concat(out)
end

return yaml_path
