--- The settings for a host, as the person's own ssh has them: what `ssh -G` says, and what the caller gives instead.
local fault   = require "native.error"
local fs      = require "native.fs"
local process = require "native.process"

local settings = {}

--- The text of a file; nil: it is not there, or not ours to read, which is as good.
--- @param path string
--- @return string?
function settings.read_file(path)
  local ok, text = pcall(fs.read, path)
  if ok then return text end
  if not fault.is(text) then error(text, 0) end
end

local MANY = { identityfile = true, certificatefile = true }

local function parse_settings(text)
  local found = { identityfile = {}, certificatefile = {} }
  for key, value in text:gmatch("(%S+) ([^\n]*)\n") do
    if MANY[key] then
      table.insert(found[key], value)
    else
      found[key] = value
    end
  end
  return found
end

local function explicit_settings(alias)
  return { hostname = alias, port = "22", user = process.user().name, identityfile = {}, certificatefile = {} }
end

--- What `ssh -G` says of an alias; without an ssh program, only what the caller gives.
local function ask_ssh(alias)
  if alias:find("^%-") or alias:find("%c") then
    fault.raise { kind = "denied", message = ("%q is not a host name"):format(alias) }
  end
  local ok, result = pcall(process.run, { "ssh", "-G", "--", alias }, { reads = true, timeout = 20 })
  if not ok then
    if fault.is(result, "missing") then return explicit_settings(alias) end
    error(result, 0)
  end
  if result.status ~= 0 then
    fault.raise { kind = "connect", host = alias, message = "ssh does not accept its configuration for " .. alias,
      output = result.err }
  end
  local found = parse_settings(result.out)
  if found.hostname and math.tointeger(tonumber(found.port)) then return found end
  return fault.raise { kind = "protocol", host = alias, message = "ssh -G does not say where " .. alias .. " is" }
end

--- A path or a command of the settings, with what its tokens and variables stand for.
--- @param path string
--- @param of table  the settings
--- @param alias string
--- @return string
function settings.expanded(path, of, alias)
  local user = process.user()
  local values = { ["%"] = "%", d = user.home, u = user.name, r = of.user, h = of.hostname, n = alias, p = of.port,
    i = tostring(user.uid) }
  path = path:gsub("^~/", user.home .. "/"):gsub("%%(.)", values)
  return (path:gsub("%${([%w_]+)}", function(name) return process.environ(name) or "" end))
end

local function words(text)
  local list = {}
  for word in (text or ""):gmatch("%S+") do list[#list + 1] = word end
  return list
end

local function only(value)
  return type(value) == "table" and value or { value }
end

--- @class ssh.overrides
--- @field hostname? string
--- @field port? integer
--- @field user? string
--- @field identity_file? string|string[]  instead of the configured ones and of the agent's other keys
--- @field known_hosts? string|string[]  files, instead of the configured ones
--- @field identity_agent? string  path of a socket, or "none"
--- @field proxy_jump? string
--- @field proxy_command? string
--- @field host_key_alias? string

local function override(of, overrides)
  of.hostname = overrides.hostname or of.hostname
  of.port = overrides.port and tostring(overrides.port) or of.port
  of.user = overrides.user or of.user
  if overrides.proxy_jump or overrides.proxy_command then
    of.proxyjump, of.proxycommand = overrides.proxy_jump, overrides.proxy_command
  end
  of.hostkeyalias = overrides.host_key_alias or of.hostkeyalias
  of.identityagent = overrides.identity_agent or of.identityagent
  if overrides.identity_file then
    of.identityfile, of.identitiesonly = only(overrides.identity_file), "yes"
  end
end

local function files_of(of, alias, overrides)
  if overrides.known_hosts then return only(overrides.known_hosts) end
  local files = {}
  local listed = (of.userknownhostsfile or "~/.ssh/known_hosts") .. " "
    .. (of.globalknownhostsfile or "/etc/ssh/ssh_known_hosts")
  for _, path in ipairs(words(listed)) do
    if path ~= "none" then files[#files + 1] = settings.expanded(path, of, alias) end
  end
  return files
end

--- The settings of an alias. `known_hosts` are the files to look in, `port` is a number, paths are expanded.
--- @param alias string
--- @param overrides ssh.overrides
--- @return table
function settings.of(alias, overrides)
  local of = ask_ssh(alias)
  override(of, overrides)
  of.known_hosts = files_of(of, alias, overrides)
  for _, list in ipairs { of.identityfile, of.certificatefile } do
    for i, path in ipairs(list) do list[i] = settings.expanded(path, of, alias) end
  end
  of.port = tonumber(of.port)
  of.alias = alias
  return of
end

return settings
