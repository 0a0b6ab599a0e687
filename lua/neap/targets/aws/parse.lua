--- Replies of AWS as plain data by the shapes of the model, and refusals as what they say.
local clock  = require "native.clock"
local crypto = require "native.crypto"
local fault  = require "native.error"
local json   = require "native.json"
local secret = require "native.secret"
local xml    = require "native.xml"

local parse = {}

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11,
                 Dec = 12 }

local LAST_TIME = 253402300800 -- seconds to the year 10000

-- ---- scalars ----

--- Every time comes as UTC text, "2018-11-21T02:21:42Z", whatever form the protocol has.
local function time(value)
  local seconds = tonumber(value)
  if seconds and math.abs(seconds) < LAST_TIME then return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)) end
  local day, month, year, clock_time = value:match "^%a+, (%d+) (%a+) (%d+) ([%d:]+) GMT$"
  if day and MONTHS[month] then
    return ("%04d-%02d-%02dT%sZ"):format(tonumber(year), MONTHS[month], tonumber(day), clock_time)
  end
  return (value:gsub("%.0+Z$", "Z"):gsub("%+00:00$", "Z"))
end

local function unbase64(text)
  local ok, bytes = pcall(crypto.unbase64, text)
  return ok and bytes or text
end

--- A scalar that came as text.
local function scalar(shape, text)
  if shape.type == "integer" or shape.type == "long" then return math.tointeger(tonumber(text)) or tonumber(text) end
  if shape.type == "float" or shape.type == "double" then return tonumber(text) end
  if shape.type == "boolean" then return text == "true" end
  if shape.type == "timestamp" then return time(text) end
  if shape.type == "blob" then return unbase64(text) end
  return text
end

--- A value, as a secret where the model calls it sensitive and there is a keyring to take it.
local function kept(service, shape, value)
  if service.keys and shape.sensitive and type(value) == "string" then return secret.literal(value, service.keys) end
  return value
end

-- ---- XML ----

local function children(node, name)
  local list = {}
  for _, child in ipairs(node) do
    if child.name == name then list[#list + 1] = child end
  end
  return list
end

local from_xml

local xmls = {}

local function name_in(service, member, name)
  if member.type == "list" and member.flattened then
    local inner = service:shape(member.member).locationName
    if inner then return inner end
  end
  return member.locationName or name
end

function xmls.structure(service, shape, nodes)
  local value, node = {}, nodes[1]
  for name, reference in pairs(shape.members) do
    local member = service:shape(reference)
    if member.xmlAttribute then
      value[name] = node.attributes and node.attributes[member.locationName or name]
    elseif not member.location then
      local found = children(node, name_in(service, member, name))
      if #found > 0 then value[name] = from_xml(service, member, found) end
    end
  end
  return value
end

--- Whatever the items are called: servers do not keep to the names of the models.
function xmls.list(service, shape, nodes)
  local list, member = json.array {}, service:shape(shape.member)
  for i, item in ipairs(shape.flattened and nodes or nodes[1]) do list[i] = from_xml(service, member, { item }) end
  return list
end

function xmls.map(service, shape, nodes)
  local map, entries = {}, shape.flattened and nodes or nodes[1]
  local key_shape, value_shape = service:shape(shape.key), service:shape(shape.value)
  for _, entry in ipairs(entries) do
    local key = children(entry, key_shape.locationName or "key")[1]
    local value = children(entry, value_shape.locationName or "value")
    if key and value[1] then map[key.text or ""] = from_xml(service, value_shape, value) end
  end
  return map
end

function from_xml(service, shape, nodes)
  if xmls[shape.type] then return xmls[shape.type](service, shape, nodes) end
  return kept(service, shape, scalar(shape, nodes[1].text or ""))
end

-- ---- JSON ----

local from_json

local jsons = {}

--- What is no text, number or truth where the model has one is taken for what it says, or left out.
local AS = {
  string = function(value) return type(value) ~= "table" and tostring(value) or nil end,
  number = function(value) return tonumber(value) end,
  boolean = function(value) return value == "true" end,
}

local OF = { integer = "number", long = "number", float = "number", double = "number", boolean = "boolean" }

local function as_modelled(shape, value)
  local wanted = OF[shape.type] or "string"
  if type(value) == wanted then return value end
  return AS[wanted](value)
end

function jsons.structure(service, shape, value)
  if shape.document then return value end
  local object = {}
  for name, reference in pairs(shape.members) do
    local member = service:shape(reference)
    local item = value[member.locationName or name]
    if item ~= nil and item ~= json.null and not member.location then
      object[name] = from_json(service, member, item)
    end
  end
  return object
end

function jsons.list(service, shape, value)
  local list, member = json.array {}, service:shape(shape.member)
  for i, item in ipairs(value) do list[i] = from_json(service, member, item) end
  return list
end

function jsons.map(service, shape, value)
  local map, member = {}, service:shape(shape.value)
  for key, item in pairs(value) do
    if type(key) == "string" then map[key] = from_json(service, member, item) end
  end
  return map
end

function from_json(service, shape, value)
  if jsons[shape.type] then return type(value) == "table" and jsons[shape.type](service, shape, value) or nil end
  if value == json.null then return nil end
  if shape.type == "timestamp" then return type(value) ~= "table" and time(tostring(value)) or nil end
  if shape.type == "blob" then value = type(value) == "string" and unbase64(value) or nil end
  return kept(service, shape, as_modelled(shape, value))
end

-- ---- replies ----

local function document(service, reply)
  if reply.body == "" then return nil end
  local read = service.protocol:find "json" and json.decode or xml.parse
  local ok, value = pcall(read, reply.body)
  if ok and value == json.null then return nil end
  if ok and type(value) == "table" then return value end
  return fault.raise { kind = "lost", code = reply.status, output = reply.body:sub(1, 2000),
    message = ("%s answers with something that is neither a result nor an error"):format(service.name) }
end

local READ = {}

function READ.query(service, shape, reply)
  local node = document(service, reply)
  local wrapper = shape.resultWrapper
  if wrapper and node then node = children(node, wrapper)[1] end
  return node and xmls.structure(service, shape, { node }) or {}
end

function READ.ec2(service, shape, reply)
  local node = document(service, reply)
  return node and xmls.structure(service, shape, { node }) or {}
end

READ["rest-xml"] = READ.ec2

function READ.json(service, shape, reply)
  local value = document(service, reply)
  return value and jsons.structure(service, shape, value) or {}
end

READ["rest-json"] = READ.json

local function header_value(service, shape, text)
  if shape.jsonvalue then return json.decode(crypto.unbase64(text)) end
  if shape.type ~= "list" then return kept(service, shape, scalar(shape, text)) end
  local list, member = json.array {}, service:shape(shape.member)
  for part in text:gmatch "[^,]+" do list[#list + 1] = scalar(member, part:match "^%s*(.-)%s*$") end
  return list
end

local function headers_below(reply, prefix)
  local map = {}
  for key, text in pairs(reply.headers) do
    if key:sub(1, #prefix) == prefix:lower() then map[key:sub(#prefix + 1)] = text end
  end
  return map
end

local function add_headers(service, shape, reply, value)
  for name, reference in pairs(shape.members) do
    local member = service:shape(reference)
    if member.location == "statusCode" then
      value[name] = reply.status
    elseif member.location == "header" then
      local text = reply.headers[(member.locationName or name):lower()]
      if text then value[name] = header_value(service, member, text) end
    elseif member.location == "headers" then
      value[name] = headers_below(reply, member.locationName or "")
    end
  end
  return value
end

--- A member that is the whole body: as it came, or as a structure of its own.
local function from_payload(service, shape, reply)
  local member = service:shape(shape.members[shape.payload])
  if member.type == "blob" or member.type == "string" then
    return { [shape.payload] = kept(service, member, reply.body) }
  end
  local node = document(service, reply)
  if not node then return {} end
  return { [shape.payload] = service.protocol == "rest-xml" and from_xml(service, member, { node })
    or from_json(service, member, node) }
end

--- The result of an operation. Raises kind `lost` where the reply is none: a proxy's page, say.
--- @param service aws.service
--- @param name string
--- @param reply neap.http.reply
--- @param keys? native.secret.keyring  takes what the model calls sensitive
--- @return table
function parse.result(service, name, reply, keys)
  service = setmetatable({ keys = keys }, { __index = service })
  local operation = service:operation(name)
  if not operation.output then return {} end
  local shape = service:shape(operation.output)
  local value = shape.payload and from_payload(service, shape, reply)
    or READ[service.protocol](service, shape, reply)
  return service.protocol:find "^rest" and add_headers(service, shape, reply, value) or value
end

-- ---- refusals ----

--- Code and message wherever a protocol has them: in an Error, an Errors, or the document itself.
local function xml_problem(node)
  local function text(within, name)
    local found = within and children(within, name)[1]
    return found and found.text
  end
  local errors = children(node, "Errors")[1]
  local problem = node.name == "Error" and node or children(node, "Error")[1] or errors and children(errors, "Error")[1]
  return { code = text(problem, "Code"), message = text(problem, "Message"),
    request = text(node, "RequestId") or text(node, "RequestID") or text(problem, "RequestId") }
end

local function json_problem(value, reply)
  local code = value.__type or value.code or value.Code or reply.headers["x-amzn-errortype"]
  local message = value.message or value.Message or value.errorMessage
  return { code = type(code) == "string" and code:gsub("^.*#", ""):gsub(":.*$", "") or nil,
    message = type(message) == "string" and message or nil }
end

--- What a reply with an error status says.
--- @param service aws.service
--- @param reply neap.http.reply
--- @return { code: string, message: string, request: string? }
function parse.problem(service, reply)
  local is_json = service.protocol:find "json"
  local ok, value = pcall(is_json and json.decode or xml.parse, reply.body)
  local problem = {}
  if ok and type(value) == "table" then problem = is_json and json_problem(value, reply) or xml_problem(value) end
  local header = reply.headers["x-amzn-errortype"]
  return {
    code = problem.code or header and header:gsub(":.*$", "") or tostring(reply.status),
    message = problem.message or reply.body:sub(1, 500),
    request = problem.request or reply.headers["x-amzn-requestid"] or reply.headers["x-amz-request-id"],
  }
end

--- Seconds since the epoch of a reply's Date; nil where it has none.
--- @param reply neap.http.reply
--- @return number?
function parse.date(reply)
  local text = reply.headers.date
  return text and clock.parse(time(text):gsub("Z$", ".000Z"))
end

return parse
