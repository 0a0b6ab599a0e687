--- The Lua that a procedure sees: copies of the safe part of the library, and nothing by which code could act, keep
--- state or behave differently the next time. It stops accidents; it is no jail.
local memory  = require "native.memory"
local near    = require "neap.near"
local ordered = require "neap.ordered"
local task    = require "native.task"

local sandbox = {}

local ABSENT = { ["string.dump"] = true, ["math.random"] = true, ["math.randomseed"] = true }

local function refuse() error("the library cannot be altered", 2) end

local function plain_table(value) return type(value) == "table" and debug.getmetatable(value) == nil end

--- A read-only view, of all that lies in it too; pairs goes over it in sorted order. Under `name` it raises for a key that
--- is not there, with the near one.
--- @param source table
--- @param name? string
--- @return table
function sandbox.frozen(source, name)
  local within = {}
  local function index(_, key)
    local value = source[key]
    if value == nil and name then
      error(("%s has no %q%s"):format(name, tostring(key), near.hint(tostring(key), source)), 2)
    end
    if not plain_table(value) then return value end
    within[value] = within[value] or sandbox.frozen(value)
    return within[value]
  end
  local view = {}
  return setmetatable(view, { __index = index, __newindex = refuse, __metatable = false,
    __len = function() return #source end,
    __pairs = function() return sandbox.pairs(source, view) end })
end

--- pairs in sorted order: a procedure takes the same way each time. __pairs is honoured. The values are those that `view`
--- shows, where one is given.
--- @param map table
--- @param view? table
function sandbox.pairs(map, view)
  local meta = debug.getmetatable(map)
  if type(meta) == "table" and meta.__pairs then return meta.__pairs(map) end
  view = view or map
  local keys, i = ordered.keys(map), 0
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then return key, view[key] end
  end, view, nil
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

local own = setmetatable({}, { __mode = "k" }) -- the metatables that procedures have set

--- Only what a procedure has set itself: those of hosts, errors and texts are neap's.
local function safe_getmetatable(object)
  local meta = debug.getmetatable(object)
  if meta == nil then return nil end
  if not own[meta] then return false end
  return getmetatable(object)
end

local function safe_setmetatable(object, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("__gc is not allowed: it would run at any time", 2)
  end
  local before = debug.getmetatable(object)
  if before and not own[before] then error("cannot change a protected metatable", 2) end
  setmetatable(object, meta)
  if meta then own[meta] = true end
  return object
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
    rawlen = rawlen, getmetatable = safe_getmetatable, setmetatable = safe_setmetatable, _VERSION = _VERSION,
    string = sandbox.frozen(strings), table = sandbox.frozen(copy("table", table)),
    math = sandbox.frozen(copy("math", math)), utf8 = sandbox.frozen(copy("utf8", utf8)),
  }
  function base.load(text, name)
    if type(text) ~= "string" then error("load takes text", 2) end
    return load(text, "=load " .. tostring(name or ""), "t", globals())
  end
  return base
end

-- ---- a file that runs away while it is loaded ----

local STEPS, EVERY = 100000000, 100000 -- of Lua's machine: some seconds; how often it is counted
local MEMORY = 512 << 20 -- bytes beyond what is there already

--- Whether a function is a procedure's or a library's, or what they have loaded.
--- @param fn function|integer  or a level of the stack
--- @return boolean
function sandbox.is_foreign(fn)
  local found = debug.getinfo(type(fn) == "number" and fn + 1 or fn, "S")
  return found ~= nil and (found.source:find "^@procedures/" or found.source:find "^=load") ~= nil
end

--- Calls fn(...), which runs code that only declares; raises when that takes too many steps or too much memory.
--- @param fn function
--- @return any ...
function sandbox.bounded(fn, ...)
  local left = STEPS // EVERY
  local function count()
    left = left - 1
    if left > 0 then return end
    debug.sethook(count, "", 1) -- where pcall takes the error, the next step raises it again
    if not sandbox.is_foreign(2) then return end
    error("this file does not come to an end: what takes long belongs inside a step", 2)
  end
  -- in a task of its own: the hook takes the place of the one by which tasks let each other run
  local results = table.pack(task.spawn(function(...)
    memory.limit(memory.used() + MEMORY)
    debug.sethook(count, "", EVERY)
    local loaded = table.pack(pcall(fn, ...))
    debug.sethook()
    memory.limit()
    return table.unpack(loaded, 1, loaded.n)
  end, ...):wait())
  if not results[1] then error(results[2], 0) end
  if not results[2] then error(results[3], 0) end
  return table.unpack(results, 3, results.n)
end

return sandbox
