--- Objects that procedures hold for entries of their environment: hosts, databases. They are known by their names, which is
--- all that the journal keeps of them, and are not altered.
local near = require "neap.near"

local named = {}

--- Neap's own code may ask any table for any key; a procedure that does has mistyped it.
local function asked_by_procedure() return debug.getinfo(3, "S").source:find "^@" ~= nil end

--- A class of such objects.
--- @param what string  "host"
--- @param methods table<string, function>  which may be filled later
--- @param fields string[]  what an object tells beside its methods, where it has it
--- @return fun(facts: { name: string }): table new
function named.class(what, methods, fields)
  local meta = { __name = what }
  local known = setmetatable({}, { __mode = "k" }) -- the facts of each object

  local function hint(key)
    local there = {}
    for _, field in ipairs(fields) do there[field] = true end
    for name in pairs(methods) do there[name] = true end
    return there[key] and "" or near.hint(key, there), there[key]
  end

  function meta.__index(self, key)
    local value = known[self][key]
    if value == nil then value = methods[key] end
    if value == nil and type(key) == "string" and asked_by_procedure() then
      local text, is_known = hint(key)
      if not is_known then error(("a %s has no %q%s"):format(what, key, text), 2) end
    end
    return value
  end

  function meta.__newindex() error(("a %s is not altered"):format(what), 2) end

  function meta.__plain(self) return { name = self.name } end

  function meta.__tostring(self) return self.name end

  function meta.__eq(a, b) return a.name == b.name end

  return function(facts)
    local object = setmetatable({}, meta)
    known[object] = facts
    return object
  end
end

return named
