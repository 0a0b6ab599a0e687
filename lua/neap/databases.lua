--- The databases of an environment: what a file says of each, checked, in the form in which a run keeps it.
local duration = require "neap.engine.duration"
local fault    = require "native.error"
local near     = require "neap.near"
local secrets  = require "neap.secrets"

local databases = {}

local KEYS = { "postgres", "mysql", "host", "port", "database", "user", "password", "socket", "via", "ca", "tls",
               "dialect", "read_timeout" }
local DIALECTS = { postgres = { "postgres", "redshift" }, mysql = { "mysql" } }

--- Something whose value is known only with the arguments of a run.
local function is_open(value) return type(value) == "string" and value:find("$(", 1, true) ~= nil end

local function wrong(key, message, ...) error({ key = key, message = message:format(...) }, 0) end

local function check_keys(name, entry)
  local known = {}
  for _, key in ipairs(KEYS) do known[key] = true end
  for key, value in pairs(entry) do
    if not known[key] then
      wrong(key, "database '%s' has no key '%s'.%s Keys are %s", name, tostring(key),
        near.question(tostring(key), KEYS), table.concat(KEYS, ", "))
    end
    if type(value) == "table" then wrong(key, "%s of database '%s' is one text", key, name) end
  end
end

local function one_of(value, names)
  for _, name in ipairs(names) do
    if name == value then return true end
  end
end

local function number(name, key, value)
  if value == nil or is_open(value) then return value end
  return math.tointeger(tonumber(value)) or wrong(key, "%s of database '%s' is no number: %s", key, name, value)
end

local function seconds(name, key, value)
  if value == nil or is_open(value) then return value end
  local ok, parsed = pcall(duration.seconds, value)
  return ok and parsed or wrong(key, "%s of database '%s' is no time, as in 30s or 3h: %s", key, name, value)
end

--- Where the server is: a service of libpq's, a folder or path of a socket, a host.
local function place_of(name, entry, engine)
  local at = entry[engine]
  local service = at:match "^service=(%S+)$"
  if service then
    if engine ~= "postgres" then wrong(engine, "services are PostgreSQL's; mysql of '%s' names a host", name) end
    return { service = service, host = entry.host, socket = entry.socket }
  end
  if at:find "[=%s]" and not is_open(at) then
    wrong(engine, "%s of database '%s' is service=NAME or a host; port, database and user have keys of their own",
      engine, name)
  end
  if entry.host then wrong("host", "database '%s' names its host twice: in %s and in host", name, engine) end
  if at:sub(1, 1) == "/" then return { socket = entry.socket or at } end
  return { host = at, socket = entry.socket }
end

local function is_near(place, entry)
  local host = place.host or ""
  return place.socket or entry.via or host == "localhost" or host == "::1" or host:find "^127%." ~= nil
end

local function check_tls(name, entry, place)
  if entry.tls == nil or is_open(entry.tls) then return end
  if not one_of(entry.tls, { "verify", "off" }) then wrong("tls", "tls of database '%s' is verify or off", name) end
  if entry.tls == "verify" or is_near(place, entry) then return end
  wrong("tls", "tls of database '%s' is off, which is for sockets, for this machine and for tunnels (via)", name)
end

local function check_password(name, reference)
  if reference == nil or is_open(reference) then return end
  local ok, failure = pcall(secrets.parse, reference)
  if ok then return end
  if not fault.is(failure) then error(failure, 0) end
  wrong("password", "password of database '%s': %s; it is %s", name, failure.message, failure.hint)
end

local function check_via(name, via, hosts)
  if via == nil or is_open(via) then return end
  if not hosts[via] or not hosts[via].name then
    wrong("via", "via of database '%s' names no host: %s%s", name, via, near.hint(via, hosts))
  end
end

local function built(name, entry, hosts)
  if type(entry) ~= "table" or #entry > 0 then wrong(nil, "database '%s' is a map, as in { postgres: HOST }", name) end
  if not name:find "^[%a_][%w_-]*$" then wrong(nil, "databases: %q is no name", name) end
  check_keys(name, entry)
  local engine = entry.postgres and "postgres" or "mysql"
  if not entry[engine] or (entry.postgres and entry.mysql) then
    wrong(nil, "database '%s' says where it is by postgres or by mysql", name)
  end
  local place = place_of(name, entry, engine)
  check_tls(name, entry, place)
  check_password(name, entry.password)
  check_via(name, entry.via, hosts)
  local dialect = entry.dialect or engine
  if not is_open(dialect) and not one_of(dialect, DIALECTS[engine]) then
    wrong("dialect", "dialect of database '%s' is %s", name, table.concat(DIALECTS[engine], " or "))
  end
  return {
    name = name, engine = engine, dialect = dialect, service = place.service, host = place.host, socket = place.socket,
    port = number(name, "port", entry.port), database = entry.database, user = entry.user, password = entry.password,
    via = entry.via, ca = entry.ca, tls = entry.tls or (place.socket and "off" or "verify"),
    read_timeout = seconds(name, "read_timeout", entry.read_timeout),
  }
end

--- A database of an environment in the form in which a run keeps it; its password stays the reference it is.
--- @param name string
--- @param entry any  as the file has it
--- @param hosts table<string, table>
--- @return table? database  nil where it is wrong
--- @return string? message  what is wrong
--- @return string? key      of the entry, where it is about one
function databases.build(name, entry, hosts)
  local ok, result = pcall(built, tostring(name), entry, hosts)
  if ok then return result end
  if type(result) ~= "table" or fault.is(result) then error(result, 0) end
  return nil, result.message, result.key
end

return databases
