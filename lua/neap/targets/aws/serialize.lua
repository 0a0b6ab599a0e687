--- An operation's parameters as the request that its service's protocol wants: query, ec2, json, rest-json, rest-xml.
local clock   = require "native.clock"
local crypto  = require "native.crypto"
local json    = require "native.json"
local ordered = require "neap.ordered"
local secret  = require "native.secret"
local sigv4   = require "neap.targets.aws.sigv4"

local serialize = {}

-- ---- scalars ----

local FORMATS = { iso8601 = "!%Y-%m-%dT%H:%M:%SZ", rfc822 = "!%a, %d %b %Y %H:%M:%S GMT" }

--- A time in the format that its place or its shape asks for.
local function time(shape, value, default)
  local seconds = type(value) == "number" and value or clock.parse(value)
  local format = shape.timestampFormat or default
  if format == "unixTimestamp" then return math.tointeger(seconds) or seconds end
  return os.date(FORMATS[format], math.floor(seconds))
end

--- The shortest text that reads as the same number.
local function number_text(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  for _, format in ipairs { "%.15g", "%.16g", "%.17g" } do
    local text = format:format(value)
    if tonumber(text) == value then return text:find "[.en]" and text or text .. ".0" end
  end
end

--- A value as text, for a query, a header or a path.
local function text_of(shape, value, default_time)
  if shape.type == "timestamp" then return tostring(time(shape, value, default_time)) end
  if shape.type == "blob" then return secret.base64(value) end
  if type(value) == "number" then return number_text(value) end
  return secret.is(value) and value or tostring(value)
end

-- ---- query and ec2: a list of names and values ----

local function capitalised(name) return name:sub(1, 1):upper() .. name:sub(2) end

local NAMES = {
  query = function(shape, name) return shape.locationName or name end,
  ec2 = function(shape, name)
    return shape.queryName or shape.locationName and capitalised(shape.locationName) or name
  end,
}

local function join(prefix, name) return prefix == "" and name or prefix .. "." .. name end

local add

local adds = {}

function adds.structure(state, shape, value, prefix)
  for _, name in ipairs(ordered.keys(value)) do
    local member = state.service:shape(shape.members[name])
    add(state, member, value[name], join(prefix, NAMES[state.protocol](member, name)))
  end
end

--- What the items of a list are called before their numbers.
local function item_prefix(state, shape, member, prefix)
  if state.protocol == "ec2" then return prefix end
  if not shape.flattened then return join(prefix, member.locationName or "member") end
  return member.locationName and join(prefix:match "^(.*)%.[^.]*$" or "", member.locationName) or prefix
end

function adds.list(state, shape, value, prefix)
  local member = state.service:shape(shape.member)
  if #value == 0 and state.protocol == "query" then state.list[#state.list + 1] = { prefix, "" } end
  prefix = item_prefix(state, shape, member, prefix)
  for i, item in ipairs(value) do add(state, member, item, ("%s.%d"):format(prefix, i)) end
end

function adds.map(state, shape, value, prefix)
  local key_shape, value_shape = state.service:shape(shape.key), state.service:shape(shape.value)
  if not shape.flattened then prefix = prefix .. ".entry" end
  for i, key in ipairs(ordered.keys(value)) do
    local entry = ("%s.%d."):format(prefix, i)
    add(state, key_shape, key, entry .. (key_shape.locationName or "key"))
    add(state, value_shape, value[key], entry .. (value_shape.locationName or "value"))
  end
end

function add(state, shape, value, prefix)
  if adds[shape.type] then return adds[shape.type](state, shape, value, prefix) end
  state.list[#state.list + 1] = { prefix, text_of(shape, value, "iso8601") }
end

local function as_form(service, operation, parameters, request)
  local state = { service = service, protocol = service.protocol,
    list = { { "Action", operation.name }, { "Version", service.metadata.apiVersion } } }
  if operation.input then add(state, service:shape(operation.input), parameters, "") end
  request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
  request.body = sigv4.query(state.list)
end

-- ---- JSON ----

local to_json

local jsons = {}

function jsons.structure(service, shape, value)
  if shape.document then return value end
  local object = {}
  for name, item in pairs(value) do
    local member = service:shape(shape.members[name])
    object[member.locationName or name] = to_json(service, member, item)
  end
  return object
end

function jsons.list(service, shape, value)
  local list = json.array {}
  for i, item in ipairs(value) do list[i] = to_json(service, shape.member, item) end
  return list
end

function jsons.map(service, shape, value)
  local object = {}
  for key, item in pairs(value) do object[key] = to_json(service, shape.value, item) end
  return object
end

function to_json(service, member, value)
  local shape = service:shape(member)
  if jsons[shape.type] then return jsons[shape.type](service, shape, value) end
  if shape.type == "timestamp" then return time(shape, value, "unixTimestamp") end
  if shape.type == "blob" then return secret.base64(value) end
  return value
end

--- JSON in which values may be secrets: each is written as a mark first, and put in encoded.
local function encode_json(value)
  local secrets, tag = {}, crypto.hex(crypto.random(12))
  local function marked(item)
    if secret.is(item) then
      secrets[#secrets + 1] = item
      return ("%s:%d:"):format(tag, #secrets)
    end
    if type(item) ~= "table" then return item end
    local copy = getmetatable(item) and json.array {} or {}
    for key, inner in pairs(item) do copy[key] = marked(inner) end
    return copy
  end
  local text = json.encode(marked(value))
  if #secrets == 0 then return text end
  local out, at = "", 1
  for before, number, behind in text:gmatch("()" .. tag .. ":(%d+):()") do
    out = out .. text:sub(at, before - 1) .. secret.json(secrets[tonumber(number)])
    at = behind
  end
  return out .. text:sub(at)
end

local function as_json(service, operation, parameters, request)
  local value = operation.input and jsons.structure(service, service:shape(operation.input), parameters) or {}
  request.headers["Content-Type"] = "application/x-amz-json-" .. (service.metadata.jsonVersion or "1.0")
  request.headers["X-Amz-Target"] = ("%s.%s"):format(service.metadata.targetPrefix, operation.name)
  request.body = encode_json(value)
end

-- ---- XML ----

local ESCAPED = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\r"] = "&#xD;",
                  ["\n"] = "&#xA;" }

local function escaped(value)
  if secret.is(value) then error("a secret cannot be sent to a service that speaks XML", 0) end
  return (value:gsub('[&<>"\r\n]', ESCAPED))
end

local function element(name, attributes, content) return ("<%s%s>%s</%s>"):format(name, attributes, content, name) end

local function namespace(shape)
  local space = shape.xmlNamespace
  if not space then return "" end
  return (' xmlns%s="%s"'):format(space.prefix and ":" .. space.prefix or "", escaped(space.uri or space))
end

local to_xml

local xmls = {}

function xmls.structure(service, shape, value, name)
  local attributes, content = namespace(shape), {}
  for _, key in ipairs(ordered.keys(value)) do
    local member = service:shape(shape.members[key])
    if member.xmlAttribute then
      attributes = ('%s %s="%s"'):format(attributes, member.locationName or key, escaped(value[key]))
    elseif not member.location then
      content[#content + 1] = to_xml(service, member, value[key], member.locationName or key)
    end
  end
  return element(name, attributes, table.concat(content))
end

function xmls.list(service, shape, value, name)
  local content, member = {}, service:shape(shape.member)
  local each = shape.flattened and name or member.locationName or "member"
  for i, item in ipairs(value) do content[i] = to_xml(service, member, item, each) end
  return shape.flattened and table.concat(content) or element(name, "", table.concat(content))
end

function xmls.map(service, shape, value, name)
  local content, key_shape, value_shape = {}, service:shape(shape.key), service:shape(shape.value)
  for i, key in ipairs(ordered.keys(value)) do
    content[i] = element(shape.flattened and name or "entry", "",
      to_xml(service, key_shape, key, key_shape.locationName or "key")
      .. to_xml(service, value_shape, value[key], value_shape.locationName or "value"))
  end
  return shape.flattened and table.concat(content) or element(name, "", table.concat(content))
end

function to_xml(service, shape, value, name)
  if xmls[shape.type] then return xmls[shape.type](service, shape, value, name) end
  return element(name, "", escaped(text_of(shape, value, "iso8601")))
end

-- ---- REST: parts of the request in path, query and headers, the rest in the body ----

local function fill_path(template, values)
  return (template:gsub("{([^{}]+)}", function(name)
    local greedy = name:sub(-1) == "+"
    local value = values[greedy and name:sub(1, -2) or name]
    return greedy and sigv4.path(value) or secret.percent(value)
  end))
end

local function add_query(service, request, shape, name, value)
  local function put(inner, key, item)
    request.query[#request.query + 1] = { key, text_of(inner, item, "iso8601") }
  end
  if shape.type == "list" then
    for _, item in ipairs(value) do put(service:shape(shape.member), shape.locationName or name, item) end
  elseif shape.type == "map" then
    for _, key in ipairs(ordered.keys(value)) do
      local item = value[key]
      for _, one in ipairs(type(item) == "table" and item or { item }) do put({ type = "string" }, key, one) end
    end
  else
    put(shape, shape.locationName or name, value)
  end
end

local function header_text(service, shape, value)
  if shape.jsonvalue then return crypto.base64(json.encode(value)) end
  if shape.type ~= "list" then return text_of(shape, value, "rfc822") end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = header_text(service, service:shape(shape.member), item) end
  return parts[1] and table.concat(parts, ",")
end

--- Puts each parameter where its member says; returns those of the path and those of the body.
local function place_parameters(service, shape, parameters, request)
  local path, body = {}, {}
  for _, name in ipairs(ordered.keys(parameters)) do
    local member, value = service:shape(shape.members[name]), parameters[name]
    local where, key = member.location, member.locationName or name
    if where == "uri" then
      path[key] = text_of(member, value, "iso8601")
    elseif where == "querystring" then
      add_query(service, request, member, name, value)
    elseif where == "header" then
      request.headers[key] = header_text(service, member, value)
    elseif where == "headers" then
      for inner, item in pairs(value) do request.headers[(member.locationName or "") .. inner] = item end
    else
      body[name] = value
    end
  end
  return path, body
end

local BODIES = {}

BODIES["rest-json"] = function(service, shape, value, request)
  request.headers["Content-Type"] = request.headers["Content-Type"] or "application/json"
  request.body = encode_json(jsons.structure(service, shape, value))
end

BODIES["rest-xml"] = function(service, shape, value, request)
  request.body = xmls.structure(service, shape, value, shape.locationName or shape.shape)
end

local function has_body_members(shape)
  for _, member in pairs(shape.members) do
    if not member.location then return true end
  end
  return false
end

--- The body is one member, whole, or all that stands nowhere else. JSON has an empty object where it could have one.
local function add_body(service, shape, body, request)
  local write, is_json = BODIES[service.protocol], service.protocol == "rest-json"
  local payload = shape.payload and service:shape(shape.members[shape.payload])
  if payload and (payload.type == "blob" or payload.type == "string") then
    request.body = body[shape.payload]
  elseif payload and body[shape.payload] ~= nil then
    write(service, payload, body[shape.payload], request)
  elseif payload and is_json then
    request.headers["Content-Type"], request.body = request.headers["Content-Type"] or "application/json", "{}"
  elseif not payload and (next(body) ~= nil or is_json and has_body_members(shape)) then
    write(service, shape, body, request)
  end
end

local function as_rest(service, operation, parameters, request)
  local template, query = operation.http.requestUri:match "^([^?]*)%??(.*)$"
  local shape = operation.input and service:shape(operation.input) or { type = "structure", members = {} }
  for name, value in query:gmatch "([^&=]+)=?([^&]*)" do request.query[#request.query + 1] = { name, value } end
  local path, body = place_parameters(service, shape, parameters, request)
  request.path = fill_path(template, path)
  add_body(service, shape, body, request)
end

--- Some operations have hosts of their own, by a name in front of the service's.
local function host_prefix(service, operation, parameters)
  local template = operation.endpoint and operation.endpoint.hostPrefix
  if not template then return nil end
  local members = service:shape(operation.input).members
  return (template:gsub("{([^{}]+)}", function(name)
    local value = members[name] and parameters[name]
    if type(value) ~= "string" or not value:find "^[%w][%w-]*$" then
      error(("%s: %s stands in the host's name: letters, digits and dashes"):format(operation.name, name), 0)
    end
    return value
  end))
end

local PROTOCOLS = { query = as_form, ec2 = as_form, json = as_json, ["rest-json"] = as_rest, ["rest-xml"] = as_rest }

--- Names of tokens that the models do not mark as what they are.
local UNMARKED = { cloudformation = "ClientRequestToken" }

--- A token in the form of a UUID, which every service takes, of what names the effect.
local function uuid_of(name)
  return (crypto.sha256(name):gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x%x%x%x%x%x%x%x%x).*$",
    "%1-%2-%3-%4-%5"))
end

--- The parameters with a token that makes a repeated request the same one, where the operation takes one and none is
--- given.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @param witness string  names the effect
--- @return table parameters
--- @return boolean has  whether there is such a token
function serialize.with_token(service, name, parameters, witness)
  local operation = service:operation(name)
  local shape = operation.input and service:shape(operation.input)
  for key, member in pairs(shape and shape.members or {}) do
    if member.idempotencyToken or key == UNMARKED[service.name] then
      local copy = { [key] = uuid_of(witness) }
      for other, value in pairs(parameters) do copy[other] = value end
      return copy, true
    end
  end
  return parameters, false
end

--- The request of an operation, without host and signature; its parameters have been checked.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @return aws.request
function serialize.request(service, name, parameters)
  local operation = service:operation(name)
  local request = { method = operation.http.method, path = "/", query = {}, headers = {} }
  request.host_prefix = host_prefix(service, operation, parameters)
  PROTOCOLS[service.protocol](service, operation, parameters, request)
  return request
end

return serialize
