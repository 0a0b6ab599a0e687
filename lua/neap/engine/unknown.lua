--- What a withheld effect would return. An identifier flows on as a placeholder; looking inside an outcome raises kind
--- "unknown", which ends that step's plan: plan never guesses a branch.
local fault = require "native.error"

local unknown = {}

local IDENTIFIER, OUTCOME = {}, {}
local described = setmetatable({}, { __mode = "k" })

local function make(meta, after)
  local value = setmetatable({}, meta)
  described[value] = after
  return value
end

--- A placeholder for a name or number that is known after a step.
--- @param after string  the step
function unknown.identifier(after) return make(IDENTIFIER, after) end

--- A result whose inside nobody knows yet.
--- @param after string
function unknown.outcome(after) return make(OUTCOME, after) end

--- @return boolean
function unknown.is(value) return described[value] ~= nil end

--- @return string? after  the step that makes it known
function unknown.after(value) return described[value] end

--- Whether plain data holds a placeholder anywhere.
--- @return boolean
function unknown.inside(value)
  if described[value] then return true end
  if type(value) ~= "table" then return false end
  for _, item in pairs(value) do
    if unknown.inside(item) then return true end
  end
  return false
end

--- Whether plain data holds the text of a placeholder anywhere: an identifier that was put together with other text.
--- @return boolean
function unknown.mentioned(value)
  if type(value) == "string" then return value:find("<known after ", 1, true) ~= nil end
  if type(value) ~= "table" or described[value] then return described[value] ~= nil end
  for _, item in pairs(value) do
    if unknown.mentioned(item) then return true end
  end
  return false
end

--- Raises: what is asked for is known only after a step.
--- @param after string
function unknown.raise(after)
  fault.raise { kind = "unknown", message = "known after " .. after, after = after }
end

local function look_inside(value) unknown.raise(described[value]) end

local function text(value)
  return described[value] and ("<known after %s>"):format(described[value]) or tostring(value)
end

IDENTIFIER.__tostring = text
IDENTIFIER.__concat = function(a, b)
  return text(a) .. text(b)
end
IDENTIFIER.__plain = text
IDENTIFIER.__name = "unknown identifier"
for _, event in ipairs {
  "__index", "__newindex", "__len", "__call", "__lt", "__le", "__add", "__sub", "__unm", "__mul", "__div",
} do
  IDENTIFIER[event] = function(a, b) look_inside(described[a] and a or b) end
  OUTCOME[event] = IDENTIFIER[event]
end
OUTCOME.__concat = IDENTIFIER.__add
OUTCOME.__tostring = text
OUTCOME.__plain = text
OUTCOME.__pairs = look_inside
IDENTIFIER.__pairs = look_inside

return unknown
