--- Sessions to hosts as the person's own ssh would make them: `ssh -G` for the settings, known_hosts for whom to trust, agent
--- and key files for who we are. Nobody unknown is ever trusted here.
local configured  = require "neap.targets.ssh.settings"
local fault       = require "native.error"
local fs          = require "native.fs"
local host_key    = require "neap.targets.ssh.host_key"
local known_hosts = require "neap.targets.known_hosts"
local login       = require "neap.targets.ssh.login"
local native      = require "native.ssh"
local task        = require "native.task"

local ssh = {}

-- ---- connecting ----

--- What the caller keeps for all its sessions: open jump hosts, passphrases that were given.
--- @class ssh.shared
--- @field jumps? table<string, table>
--- @field passphrases? table<string, string>

--- @class ssh.options
--- @field ask? fun(prompt: string, options: { secret: boolean }): string?  asks the person, for a key's passphrase
--- @field pins? string|{ host_key: string }  the host key, as facts() gives it
--- @field trusted? string  the fingerprint, "SHA256:…", of a host that known_hosts need not know
--- @field overrides? ssh.overrides
--- @field shared? ssh.shared
--- @field allow_exec? string[]  programs that a ProxyCommand may run; none unless named here
--- @field timeout? number  of the connection, in seconds

local open_settled

local function hop_of(text)
  local rest = text:gsub("^ssh://", "")
  local user, host = rest:match("^(.+)@(.+)$")
  host = host or rest
  local name, port = host:match("^%[(.+)%]:(%d+)$")
  if not name then name, port = host:match("^([^:]+):(%d+)$") end
  return { alias = name or host:match("^%[(.+)%]$") or host, user = user, port = tonumber(port) }
end

local function opened_once(shared, key, open)
  shared.jumps = shared.jumps or {}
  while shared.jumps[key] == "opening" do task.sleep(0.02) end
  local session = shared.jumps[key]
  if session and session.alive then return session end
  shared.jumps[key] = "opening"
  local ok, result = pcall(open)
  shared.jumps[key] = ok and result or nil
  if not ok then error(result, 0) end
  return result
end

--- Sessions to each hop in turn, the next through the one before; returns the last.
local function through_jumps(settings, options)
  local jumps, key = settings.proxyjump, ""
  if not jumps or jumps == "none" then return end
  local last
  for text in jumps:gmatch("[^,]+") do
    local hop, before = hop_of(text), last
    key = key .. "," .. text
    last = opened_once(options.shared, key, function()
      local overrides = { user = hop.user, port = hop.port }
      for _, name in ipairs { "known_hosts", "identity_file", "identity_agent" } do
        overrides[name] = (options.overrides or {})[name]
      end
      if before then overrides.proxy_jump, overrides.proxy_command = "none", "none" end
      local hop_options = { overrides = overrides }
      for _, name in ipairs { "ask", "shared", "timeout", "allow_exec" } do hop_options[name] = options[name] end
      return open_settled(configured.of(hop.alias, overrides), hop_options, before)
    end)
  end
  return last
end

--- The configured ProxyCommand, if its program may be run.
local function proxy_command(settings, options)
  local command = settings.proxycommand
  if not command or command == "none" then return end
  command = configured.expanded(command, settings, settings.alias)
  local program = command:gsub("^exec%s+", ""):match("^%S+") or ""
  for _, name in ipairs(options.allow_exec or {}) do
    if name == program or name == program:match("[^/]*$") then return "exec " .. command:gsub("^exec%s+", "") end
  end
  fault.raise { kind = "denied", host = settings.alias,
    message = ("the ProxyCommand of %s runs %s, which is not allowed"):format(settings.alias, program),
    hint = ("name %s in policy.allow_exec of the environment"):format(program) }
end

local function seconds(text) return text and tonumber((text:gsub("s$", ""))) end

local function connect(settings, entries, options, before)
  local command = not before and proxy_command(settings, options) or nil
  local jump = before or not command and through_jumps(settings, options) or nil
  local timeout = options.timeout or seconds(settings.connecttimeout) or 30
  local interval = seconds(settings.serveraliveinterval) or 0
  local ok, session = pcall(native.connect, {
    host = settings.hostname, port = settings.port, through = jump and jump.native,
    command = command,
    host_keys = table.concat(host_key.algorithms(settings, entries), ","),
    keepalive = interval > 0 and interval or nil,
    keepalive_count = interval > 0 and tonumber(settings.serveralivecountmax) or nil, timeout = timeout,
  })
  if ok then return session, jump end
  if fault.is(session, "timeout") then
    fault.raise { kind = "connect", host = settings.alias,
      message = ("%s port %d: no answer within %g s"):format(settings.hostname, settings.port, timeout) }
  end
  if fault.is(session) then session.host = session.host or settings.alias end
  error(session, 0)
end

-- ---- sessions ----

--- @class ssh.session
--- @field alive boolean  false once the connection has broken
--- @field host string  the alias
local session_methods = {}
local session_meta = {}

function session_meta.__index(session, name)
  if name == "alive" then return (session.native:alive()) end
  return session_methods[name]
end

local function name_host(session, ok, ...)
  if ok then return ... end
  local failure = ...
  if fault.is(failure) then failure.host = failure.host or session.host end
  error(failure, 0)
end

--- Starts a command. It changes its host, unless `reads` is set. `pty`: with a terminal, whose end also ends the command.
--- @param text string  for the host's shell
--- @param options? { reads: boolean, pty: boolean, pid: boolean, timeout: number }
--- @return stream
function session_methods:exec(text, options)
  return name_host(self, pcall(self.native.exec, self.native, text, options))
end

--- Starts a subsystem, "sftp".
--- @param name string
--- @return stream
function session_methods:subsystem(name)
  return name_host(self, pcall(self.native.subsystem, self.native, name))
end

--- A port of 127.0.0.1 that leads to a port as the host sees it, for this process alone.
--- @param address string
--- @param port integer
--- @return native.ssh.tunnel
function session_methods:tunnel(address, port)
  return name_host(self, pcall(self.native.tunnel, self.native, address, port))
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Ends the process group of a command, by stream:pid(): TERM, and KILL after five seconds. Returns when it is gone.
--- @param pid integer
--- @param options? { become: string }  the user whose process it is
function session_methods:kill(pid, options)
  local become = options and options.become and ("sudo -n -u %s -- "):format(quoted(options.become)) or "exec "
  local text = become .. "sh -c " .. quoted(native.ending(pid))
  local stream <close> = self:exec(text, { reads = true, pid = false })
  local result = stream:collect { timeout = 20 }
  if result.status ~= 0 then
    fault.raise { kind = "remote", host = self.host, code = result.status, output = result.err,
      message = ("process %d on %s could not be ended"):format(pid, self.host) }
  end
end

--- The host key: "SHA256:…".
--- @return string
function session_methods:fingerprint() return known_hosts.fingerprint(self.key.blob) end

--- What identifies the connection. `key` is the key we logged in with.
--- @return { host_key: string, user: string, address: string, port: integer, banner: string, cipher: string, key: string }
function session_methods:facts()
  local facts = self.native:facts()
  facts.host_key, facts.user, facts.key = host_key.described(self.key), self.user, self.login
  return facts
end

--- Its streams are lost then. What runs is ended.
function session_methods:close() self.native:close() end

session_meta.__close = session_methods.close

function open_settled(settings, options, before)
  local entries = host_key.entries(settings, host_key.name(settings))
  local connection, jump = connect(settings, entries, options, before)
  local session = setmetatable({ native = connection, host = settings.alias, user = settings.user, jump = jump,
    key = connection:host_key() }, session_meta)
  local ok, result = pcall(function()
    host_key.check(settings, entries, session.key, options.trusted)
    host_key.check_pins(settings, options.pins, session.key)
    return login.authenticate(connection, settings, options)
  end)
  if not ok then
    connection:close()
    name_host(session, false, result)
  end
  session.login = result
  return session
end

local function defaulted(options)
  local copy = {}
  for key, value in pairs(options or {}) do copy[key] = value end
  copy.shared = copy.shared or {}
  copy.shared.passphrases = copy.shared.passphrases or {}
  return copy
end

--- Opens a session to a host of ~/.ssh/config, or any address. Raises `connect`, `denied` (its key), `auth`.
--- @param alias string
--- @param options? ssh.options
--- @return ssh.session
function ssh.open(alias, options)
  options = defaulted(options)
  return open_settled(configured.of(alias, options.overrides or {}), options)
end

-- ---- getting to know a host ----

--- @class ssh.found
--- @field host string
--- @field name string  as it stands in known_hosts
--- @field key { type: string, blob: string }
--- @field host_key string  type and fingerprint, as facts() gives them
--- @field verdict string  what known_hosts says of it: trusted revoked changed other authority unknown
--- @field file string  the known_hosts file that ssh.trust would write to
--- @field hashed boolean

--- Fetches the key of a host without trusting it and without logging in.
--- @param alias string
--- @param options? ssh.options
--- @return ssh.found
function ssh.look(alias, options)
  options = defaulted(options)
  local settings = configured.of(alias, options.overrides or {})
  local name = host_key.name(settings)
  local entries = host_key.entries(settings, name)
  local connection <close> = connect(settings, entries, options)
  local key = connection:host_key()
  return {
    host = alias, name = name, key = key, host_key = host_key.described(key),
    verdict = (known_hosts.verdict(entries, key)),
    file = settings.known_hosts[1], hashed = settings.hashknownhosts == "yes",
    address = connection:facts().address, port = settings.port,
  }
end

--- Whether known_hosts has a key of a host, and whether there is anything to log in with. Connects to nothing.
--- @param alias string
--- @param overrides? ssh.overrides
--- @return boolean known
--- @return boolean has_key  a key file, or an agent
function ssh.prepared(alias, overrides)
  local settings = configured.of(alias, overrides or {})
  return #host_key.entries(settings, host_key.name(settings)) > 0, login.has_key(settings)
end

--- Adds what ssh.look found to known_hosts. Refuses keys that are revoked or differ from a known one of their type.
--- @param found ssh.found
function ssh.trust(found)
  if found.verdict == "trusted" then return end
  if found.verdict == "revoked" or found.verdict == "changed" then
    fault.raise { kind = "denied", host = found.host,
      message = ("%s is not added: its key is %s"):format(found.name, found.verdict) }
  end
  local before = configured.read_file(found.file) or ""
  local gap = before ~= "" and before:sub(-1) ~= "\n" and "\n" or ""
  fs.mkdir(found.file:match("^(.*)/") or ".", "0700")
  fs.append(found.file, gap .. known_hosts.line(found.name, found.key, found.hashed))
end

return ssh
