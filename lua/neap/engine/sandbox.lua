--- The Lua that a procedure sees: copies of the safe part of the library, and nothing by which code could act, keep
--- state or behave differently the next time. It stops accidents; it is no jail.
local sandbox = {}

local ABSENT = { ["string.dump"] = true, ["math.random"] = true, ["math.randomseed"] = true }

local function refuse() error("the library cannot be altered", 2) end

--- A read-only view; pairs goes over it in sorted order.
--- @param source table
--- @return table
function sandbox.frozen(source)
  return setmetatable({}, { __index = source, __newindex = refuse, __metatable = false,
    __pairs = function() return sandbox.pairs(source) end })
end

local function by_type_and_value(a, b)
  local type_a, type_b = type(a), type(b)
  if type_a ~= type_b then return type_a < type_b end
  if type_a == "number" or type_a == "string" then return a < b end
  return false
end

--- pairs in sorted order: a procedure takes the same way each time. __pairs is honoured.
function sandbox.pairs(map)
  local meta = getmetatable(map)
  if type(meta) == "table" and meta.__pairs then return meta.__pairs(map) end
  local keys, i = {}, 0
  for key in next, map do keys[#keys + 1] = key end
  table.sort(keys, by_type_and_value)
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then return key, map[key] end
  end, map, nil
end

--- tostring without addresses, which differ from run to run.
local function safe_tostring(value)
  local meta = getmetatable(value)
  if type(value) == "table" or type(value) == "userdata" then
    if type(meta) == "table" and meta.__tostring then return tostring(value) end
    return type(value)
  end
  if type(value) == "function" or type(value) == "thread" then return type(value) end
  return tostring(value)
end

local function safe_format(format, ...)
  local arguments = table.pack(...)
  for i = 1, arguments.n do
    local kind = type(arguments[i])
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" and kind ~= "nil" then
      arguments[i] = safe_tostring(arguments[i])
    end
  end
  return string.format(format, table.unpack(arguments, 1, arguments.n))
end

local function safe_setmetatable(object, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("__gc is not allowed: it would run at any time", 2)
  end
  return setmetatable(object, meta)
end

local function copy(name, library)
  local copied = {}
  for key, value in next, library do
    if not ABSENT[name .. "." .. key] then copied[key] = value end
  end
  return copied
end

local strings = copy("string", string)
strings.format = safe_format

--- Makes the methods of strings the same frozen copy for everybody. To be called once.
function sandbox.lock_strings()
  local meta = getmetatable ""
  if meta and type(meta) == "table" then
    meta.__index = strings
    meta.__metatable = "string"
  end
end

--- The base of a procedure's globals; load(text) sees `globals`, which the caller makes of it.
--- @param globals fun(): table
--- @return table
function sandbox.base(globals)
  local base = {
    assert = assert, error = error, ipairs = ipairs, pairs = sandbox.pairs, pcall = pcall, select = select,
    tonumber = tonumber, tostring = safe_tostring, type = type, xpcall = xpcall, rawequal = rawequal, rawget = rawget,
    rawlen = rawlen, getmetatable = getmetatable, setmetatable = safe_setmetatable, _VERSION = _VERSION,
    string = sandbox.frozen(strings), table = sandbox.frozen(copy("table", table)),
    math = sandbox.frozen(copy("math", math)), utf8 = sandbox.frozen(copy("utf8", utf8)),
  }
  function base.load(text, name)
    if type(text) ~= "string" then error("load takes text", 2) end
    return load(text, name or "=load", "t", globals())
  end
  return base
end

return sandbox
