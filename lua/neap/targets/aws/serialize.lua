--- An operation's parameters as the request that its service's protocol wants: query, ec2, json, rest-json, rest-xml.
local clock  = require "native.clock"
local crypto = require "native.crypto"
local json   = require "native.json"
local secret = require "native.secret"
local sigv4  = require "neap.targets.aws.sigv4"

local serialize = {}

-- ---- scalars ----

local FORMATS = { iso8601 = "!%Y-%m-%dT%H:%M:%SZ", rfc822 = "!%a, %d %b %Y %H:%M:%S GMT" }

--- A time in the format that its place or its shape asks for.
local function time(shape, member, value, default)
  local seconds = type(value) == "number" and value or clock.parse(value)
  local format = member.timestampFormat or shape.timestampFormat or default
  if format == "unixTimestamp" then return math.tointeger(seconds) or seconds end
  return os.date(FORMATS[format], math.floor(seconds))
end

local function number_text(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return value % 1 == 0 and ("%.1f"):format(value) or ("%.17g"):format(value)
end

--- A value as text, for a query, a header or a path.
local function text_of(shape, member, value, default_time)
  if shape.type == "timestamp" then return tostring(time(shape, member, value, default_time)) end
  if shape.type == "blob" then return secret.base64(value) end
  if type(value) == "number" then return number_text(value) end
  return secret.is(value) and value or tostring(value)
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- ---- query and ec2: a list of names and values ----

local function capitalised(name) return name:sub(1, 1):upper() .. name:sub(2) end

local NAMES = {
  query = function(member, name) return member.locationName or name end,
  ec2 = function(member, name)
    return member.queryName or member.locationName and capitalised(member.locationName) or name
  end,
}

local function join(prefix, name) return prefix == "" and name or prefix .. "." .. name end

local add

local adds = {}

function adds.structure(state, shape, _, value, prefix)
  for _, name in ipairs(sorted(value)) do
    local member = shape.members[name]
    add(state, member, value[name], join(prefix, NAMES[state.protocol](member, name)))
  end
end

function adds.list(state, shape, _, value, prefix)
  if #value == 0 then
    if state.protocol == "query" then state.list[#state.list + 1] = { prefix, "" } end
    return
  end
  local member = shape.member
  if state.protocol == "query" and not shape.flattened then
    prefix = join(prefix, member.locationName or "member")
  elseif state.protocol == "query" and member.locationName then
    prefix = (prefix:match "^(.*)%.[^.]*$" or "")
    prefix = join(prefix, member.locationName)
  end
  for i, item in ipairs(value) do add(state, member, item, ("%s.%d"):format(prefix, i)) end
end

function adds.map(state, shape, _, value, prefix)
  if not shape.flattened then prefix = prefix .. ".entry" end
  for i, key in ipairs(sorted(value)) do
    local entry = ("%s.%d."):format(prefix, i)
    add(state, shape.key, key, entry .. (shape.key.locationName or "key"))
    add(state, shape.value, value[key], entry .. (shape.value.locationName or "value"))
  end
end

function add(state, member, value, prefix)
  local shape = state.service:shape(member)
  if adds[shape.type] then return adds[shape.type](state, shape, member, value, prefix) end
  state.list[#state.list + 1] = { prefix, text_of(shape, member, value, "iso8601") }
end

local function as_form(service, operation, parameters, request)
  local state = { service = service, protocol = service.protocol,
    list = { { "Action", operation.name }, { "Version", service.metadata.apiVersion } } }
  if operation.input then add(state, operation.input, parameters, "") end
  request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
  request.body = sigv4.query(state.list)
end

-- ---- JSON ----

local to_json

local jsons = {}

function jsons.structure(service, shape, value)
  local object = {}
  for name, item in pairs(value) do
    local member = shape.members[name]
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
  if shape.type == "timestamp" then return time(shape, member, value, "unixTimestamp") end
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
    local copy = setmetatable({}, getmetatable(item))
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

local function namespace(member, shape)
  local space = member.xmlNamespace or shape.xmlNamespace
  if not space then return "" end
  return (' xmlns%s="%s"'):format(space.prefix and ":" .. space.prefix or "", escaped(space.uri or space))
end

local to_xml

local xmls = {}

function xmls.structure(service, shape, member, value, name)
  local attributes, content = namespace(member, shape), {}
  for _, key in ipairs(sorted(value)) do
    local inner = shape.members[key]
    if inner.xmlAttribute then
      attributes = ('%s %s="%s"'):format(attributes, inner.locationName or key, escaped(value[key]))
    elseif not inner.location then
      content[#content + 1] = to_xml(service, inner, value[key], inner.locationName or key)
    end
  end
  return element(name, attributes, table.concat(content))
end

function xmls.list(service, shape, member, value, name)
  local content = {}
  local each = shape.flattened and (shape.member.locationName or name) or shape.member.locationName or "member"
  for i, item in ipairs(value) do content[i] = to_xml(service, shape.member, item, each) end
  return shape.flattened and table.concat(content) or element(name, namespace(member, shape), table.concat(content))
end

function xmls.map(service, shape, member, value, name)
  local content = {}
  for i, key in ipairs(sorted(value)) do
    content[i] = element(shape.flattened and name or "entry", "",
      to_xml(service, shape.key, key, shape.key.locationName or "key")
      .. to_xml(service, shape.value, value[key], shape.value.locationName or "value"))
  end
  return shape.flattened and table.concat(content) or element(name, namespace(member, shape), table.concat(content))
end

function to_xml(service, member, value, name)
  local shape = service:shape(member)
  if xmls[shape.type] then return xmls[shape.type](service, shape, member, value, name) end
  return element(name, namespace(member, shape), escaped(text_of(shape, member, value, "iso8601")))
end

-- ---- REST: parts of the request in path, query and headers, the rest in the body ----

local function fill_path(template, values)
  return (template:gsub("{([^{}]+)}", function(name)
    local greedy = name:sub(-1) == "+"
    local value = values[greedy and name:sub(1, -2) or name]
    return greedy and sigv4.path(value) or secret.percent(value)
  end))
end

local function add_query(request, shape, member, name, value, service)
  local key = member.locationName or name
  local function put(inner, k, item)
    request.query[#request.query + 1] = { k, text_of(inner, member, item, "iso8601") }
  end
  if shape.type == "list" then
    for _, item in ipairs(value) do put(service:shape(shape.member), key, item) end
  elseif shape.type == "map" then
    for k, item in pairs(value) do
      for _, one in ipairs(type(item) == "table" and item or { item }) do put({ type = "string" }, k, one) end
    end
  else
    put(shape, key, value)
  end
end

local function header_text(service, shape, member, value)
  if member.jsonvalue or shape.jsonvalue then return crypto.base64(json.encode(value)) end
  if shape.type ~= "list" then return text_of(shape, member, value, "rfc822") end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = text_of(service:shape(shape.member), shape.member, item, "rfc822") end
  return table.concat(parts, ",")
end

--- Puts each parameter where its member says; returns those of the path and those of the body.
local function place_parameters(service, shape, parameters, request)
  local path, body = {}, {}
  for _, name in ipairs(sorted(parameters)) do
    local member, value = shape.members[name], parameters[name]
    local inner = service:shape(member)
    local where = member.location
    if where == "uri" then
      path[member.locationName or name] = text_of(inner, member, value, "iso8601")
    elseif where == "querystring" then
      add_query(request, inner, member, name, value, service)
    elseif where == "header" then
      request.headers[member.locationName or name] = header_text(service, inner, member, value)
    elseif where == "headers" then
      for key, item in pairs(value) do request.headers[(member.locationName or "") .. key] = item end
    else
      body[name] = value
    end
  end
  return path, body
end

local BODIES = {}

BODIES["rest-json"] = function(service, shape, member, value, request)
  request.headers["Content-Type"] = request.headers["Content-Type"] or "application/json"
  request.body = encode_json(jsons.structure(service, shape, value))
  return member
end

BODIES["rest-xml"] = function(service, shape, member, value, request)
  local name = member.locationName or shape.locationName or member.shape
  request.body = xmls.structure(service, shape, member, value, name)
end

--- The body is one member, whole, or all that stands nowhere else.
local function add_body(service, operation, shape, body, request)
  local write = BODIES[service.protocol]
  local payload = shape.payload and shape.members[shape.payload]
  if payload then
    local inner, value = service:shape(payload), body[shape.payload]
    if inner.type == "structure" then
      if value ~= nil then write(service, inner, payload, value, request) end
    else
      request.body = value
    end
  elseif next(body) ~= nil then
    write(service, shape, operation.input, body, request)
  end
end

local function has_body_members(shape)
  for _, member in pairs(shape.members) do
    if not member.location then return true end
  end
  return false
end

local function as_rest(service, operation, parameters, request)
  local template, query = operation.http.requestUri:match "^([^?]*)%??(.*)$"
  local shape = operation.input and service:shape(operation.input) or { type = "structure", members = {} }
  for name, value in query:gmatch "([^&=]+)=?([^&]*)" do request.query[#request.query + 1] = { name, value } end
  local path, body = place_parameters(service, shape, parameters, request)
  request.path = fill_path(template, path)
  add_body(service, operation, shape, body, request)
  if service.protocol == "rest-json" and not request.body and not shape.payload and has_body_members(shape) then
    BODIES["rest-json"](service, shape, operation.input, {}, request)
  end
end

local PROTOCOLS = { query = as_form, ec2 = as_form, json = as_json, ["rest-json"] = as_rest, ["rest-xml"] = as_rest }

--- Members of the input that make a repeated request the same one, each with a new token where none is given.
--- @param service aws.service
--- @param name string
--- @param parameters table
--- @param token string
--- @return table parameters
--- @return boolean has  whether there is such a member
function serialize.with_token(service, name, parameters, token)
  local operation = service:operation(name)
  local shape = operation.input and service:shape(operation.input)
  for key, member in pairs(shape and shape.members or {}) do
    if member.idempotencyToken then
      local copy = { [key] = token }
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
  PROTOCOLS[service.protocol](service, operation, parameters, request)
  return request
end

return serialize
