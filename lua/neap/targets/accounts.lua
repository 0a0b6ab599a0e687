--- The users and groups of a host: names for numbers, numbers for names.
local fault = require "native.error"
local hosts = require "neap.targets.connection"

local accounts = {}

local FILES = { user = "/etc/passwd", group = "/etc/group" }
local DATABASES = { user = "passwd", group = "group" }

local function add_lines(known, text)
  for name, number in text:gmatch("([^:\n]+):[^:\n]*:(%d+):") do
    number = tonumber(number)
    known.names[number] = known.names[number] or name
    known.numbers[name] = known.numbers[name] or number
  end
end

local function read_accounts(host, class)
  local known = { names = {}, numbers = {} }
  local ok, text = pcall(function() return hosts.files(host, false):read(FILES[class]) end)
  if ok then
    add_lines(known, "\n" .. text)
  elseif not fault.is(text, "missing") and not fault.is(text, "denied") then
    error(text, 0)
  end
  return known
end

local function accounts_of(host, class)
  local memory = hosts.memory(host)
  memory[class] = memory[class] or read_accounts(host, class)
  return memory[class]
end

--- Asks the host's name service, for accounts that stand in none of its files.
local function ask(host, class, key)
  local known = accounts_of(host, class)
  add_lines(known, hosts.exec(host, { "getent", DATABASES[class], tostring(key) },
    { become = false, reads = true, ok = "any" }).out)
  return known
end

--- The name of a user or group, or the number as text where it has none.
--- @param host string|table
--- @param class "user"|"group"
--- @param number integer
--- @return string
function accounts.name(host, class, number)
  local name = accounts_of(host, class).names[number] or ask(host, class, number).names[number]
  return name or tostring(number)
end

--- The number of a user or group; of one without a name, its text. Raises kind `missing` where the host knows none.
--- @param host string|table
--- @param class "user"|"group"
--- @param name string
--- @return integer
function accounts.number(host, class, name)
  local number = accounts_of(host, class).numbers[name] or ask(host, class, name).numbers[name]
    or math.tointeger(tonumber(name:match("^%d+$")))
  if number then return number end
  fault.raise { kind = "missing", host = hosts.name(host), message = ("%s knows no %s %s"):format(hosts.name(host),
    class, name) }
end

--- Whom a file belongs to that this user makes.
--- @param host string|table
--- @param become string|false
--- @return string owner
--- @return string group
function accounts.of(host, become)
  local login = hosts.login(host)
  if not become or become == login.user then return login.user, login.group end
  local memory = hosts.memory(host)
  local key = "group of " .. become
  memory[key] = memory[key] or hosts.exec(host, { "id", "-gn", become }, { become = false,
    reads = true }).out:match("[^\n]+")
  return become, memory[key]
end

return accounts
