--- The grammar of `parameters { … }` and `needs { … }`: one declaration a name, values checked against it.
--- A declaration is "type" or { "what it is", type = "text", default = …, match = "^%d+$", one_of = { … } }.
local duration = require "neap.engine.duration"
local fault    = require "native.error"
local near     = require "neap.near"

local parameters = {}

local KEYS = { type = true, default = true, match = true, one_of = true, optional = true }

local function wrong(message, ...) fault.raise { kind = "conflict", code = "usage", message = message:format(...) } end

local function is_map(value) return type(value) == "table" and #value == 0 end

--- From what a file or the command line gives to the value; nil if it is none of the type.
local parse = {
  text     = function(value) return type(value) ~= "table" and tostring(value) or nil end,
  integer  = function(value) return math.tointeger(tonumber(value)) end,
  number   = function(value) return tonumber(value) end,
  duration = function(value) return duration.seconds(value) and value or nil end,
  list     = function(value) return type(value) == "table" and (#value > 0 or next(value) == nil) and value or nil end,
  map      = function(value) return is_map(value) and value or nil end,
  host     = function(value) return type(value) == "table" and value.name and #value == 0 and value or nil end,
  hosts    = function(value) return type(value) == "table" and (value.name and { value } or value) or nil end,
}

function parse.boolean(value)
  local said = { ["true"] = true, yes = true, on = true, ["false"] = false, no = false, off = false }
  if type(value) == "boolean" then return value end
  return said[value]
end

--- Normalises declarations; raises at the author's line for one that is none.
--- @param declared table<string, string|table>
--- @return table[] list  { name, description, type, default, match, one_of, optional }, by name
function parameters.declarations(declared)
  local list = {}
  for name, given in pairs(declared) do
    local entry = type(given) == "table" and given or { type = parse[given] and given or "text",
      not parse[given] and given or nil }
    for key in pairs(entry) do
      if key ~= 1 and not KEYS[key] then
        error(("%s: no key is named %q%s"):format(name, key, near.hint(key, KEYS)), 3)
      end
    end
    local type_name = entry.type or "text"
    if not parse[type_name] then
      error(("%s: no type is named %q%s"):format(name, type_name, near.hint(type_name, parse)), 3)
    end
    list[#list + 1] = { name = name, description = entry[1], type = type_name, default = entry.default,
      match = entry.match, one_of = entry.one_of, optional = entry.optional }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function check(declared, value, what)
  local parsed = parse[declared.type](value)
  if parsed == nil then wrong("%s %s: %q is no %s", what, declared.name, tostring(value), declared.type) end
  if declared.match and not tostring(parsed):find(declared.match) then
    wrong("%s %s: %q does not match %s", what, declared.name, tostring(value), declared.match)
  end
  if declared.one_of then
    for _, allowed in ipairs(declared.one_of) do
      if allowed == parsed then return parsed end
    end
    wrong("%s %s: %q is none of %s", what, declared.name, tostring(value), table.concat(declared.one_of, ", "))
  end
  return parsed
end

--- The values for the declarations. A missing one raises, naming it; with showing it is left out.
--- @param list table[]   from declarations
--- @param given table<string, any>
--- @param what string    "parameter" or "value", for messages
--- @param showing? boolean
--- @return table<string, any>
function parameters.values(list, given, what, showing)
  local values = {}
  for _, declared in ipairs(list) do
    local value = given[declared.name]
    if value == nil then value = declared.default end
    if value ~= nil then
      values[declared.name] = check(declared, value, what)
    elseif not declared.optional and not showing then
      fault.raise { kind = "missing", code = "usage", message = ("%s %s is needed (%s%s)"):format(what, declared.name,
        declared.type, declared.description and ": " .. declared.description or ""), name = declared.name }
    end
  end
  return values
end

--- Raises for a given name that is not declared, with the near one.
function parameters.refuse_unknown(list, given)
  local names = {}
  for _, declared in ipairs(list) do names[declared.name] = true end
  for name in pairs(given) do
    if not names[name] then wrong("no parameter is named %q%s", name, near.hint(name, names)) end
  end
end

return parameters
