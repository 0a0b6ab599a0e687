--- Parameters of an operation against the shapes of its model: what is unknown, missing or of another type is refused
--- before anything is sent, with its place and the near name.
local clock  = require "native.clock"
local near   = require "neap.near"
local secret = require "native.secret"

local shapes = {}

local function wrong(place, message, ...) error(("%s: %s"):format(place, message:format(...)), 0) end

--- What a plan has in place of an identifier that a withheld change would give.
local function is_placeholder(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and meta.__name == "unknown identifier"
end

local check

local checks = {}

function checks.structure(service, shape, value, place)
  if shape.document then return end
  if type(value) ~= "table" then wrong(place, "expected a table, got a %s", type(value)) end
  for name in pairs(value) do
    if not shape.members[name] then
      wrong(place, "it has no %q%s", tostring(name), near.hint(tostring(name), shape.members))
    end
  end
  for _, name in ipairs(shape.required or {}) do
    if value[name] == nil and not shape.members[name].idempotencyToken then wrong(place, "%s is missing", name) end
  end
  for name, member in pairs(shape.members) do
    if value[name] ~= nil then check(service, service:shape(member), value[name], place .. "." .. name) end
  end
end

function checks.list(service, shape, value, place)
  if type(value) ~= "table" or (next(value) ~= nil and value[1] == nil) then wrong(place, "expected a list") end
  for i, item in ipairs(value) do check(service, service:shape(shape.member), item, ("%s[%d]"):format(place, i)) end
end

function checks.map(service, shape, value, place)
  if type(value) ~= "table" then wrong(place, "expected a table, got a %s", type(value)) end
  for key, item in pairs(value) do
    if type(key) ~= "string" then wrong(place, "its keys are texts") end
    check(service, service:shape(shape.value), item, place .. "." .. key)
  end
end

local function text(_, _, value, place)
  if type(value) ~= "string" and not secret.is(value) then wrong(place, "expected a text, got a %s", type(value)) end
end

local function integer(_, _, value, place)
  if math.type(value) ~= "integer" then wrong(place, "expected a whole number, got %s", tostring(value)) end
end

local function number(_, _, value, place)
  if type(value) ~= "number" then wrong(place, "expected a number, got a %s", type(value)) end
end

checks.string, checks.blob, checks.character = text, text, text
checks.integer, checks.long = integer, integer
checks.float, checks.double = number, number

function checks.boolean(_, _, value, place)
  if type(value) ~= "boolean" then wrong(place, "expected true or false, got a %s", type(value)) end
end

--- Seconds since the epoch, or a text like "2018-11-21T02:21:42Z".
function checks.timestamp(_, _, value, place)
  if type(value) ~= "number" and not (type(value) == "string" and clock.parse(value)) then
    wrong(place, "expected a time: seconds since the epoch, or a text like 2018-11-21T02:21:42Z")
  end
end

function check(service, shape, value, place)
  if is_placeholder(value) then return end
  checks[shape.type](service, service:shape(shape), value, place)
end

--- Raises a mistake that names the place where parameters are not as the operation takes them.
--- @param service aws.service
--- @param name string  of the operation
--- @param parameters table
--- @param level integer
function shapes.check(service, name, parameters, level)
  local operation = service:operation(name, level + 1)
  local ok, problem = true, nil
  if operation.input then
    ok, problem = pcall(check, service, service:shape(operation.input), parameters, name)
  elseif next(parameters) ~= nil then
    ok, problem = false, name .. ": it takes no parameters"
  end
  if not ok and type(problem) ~= "string" then error(problem, 0) end
  if not ok then error(problem, level + 1) end
end

return shapes
