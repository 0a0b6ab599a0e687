--- Sessions to hosts as the person's own ssh would make them: `ssh -G` for the settings, known_hosts for whom to trust, agent
--- and key files for who we are. Nobody unknown is ever trusted here.
local crypto      = require "native.crypto"
local fault       = require "native.error"
local fs          = require "native.fs"
local known_hosts = require "neap.targets.known_hosts"
local native      = require "native.ssh"
local process     = require "native.process"
local task        = require "native.task"

local ssh = {}

local HOST_KEYS = {
  "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
}

-- ---- settings ----

--- nil: it is not there, or not ours to read, which is as good.
local function read_file(path)
  local ok, text = pcall(fs.read, path)
  if ok then return text end
  if not fault.is(text) then error(text, 0) end
end

local MANY = { identityfile = true, certificatefile = true }

local function parse_settings(text)
  local settings = { identityfile = {}, certificatefile = {} }
  for key, value in text:gmatch("(%S+) ([^\n]*)\n") do
    if MANY[key] then
      table.insert(settings[key], value)
    else
      settings[key] = value
    end
  end
  return settings
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
  local settings = parse_settings(result.out)
  if settings.hostname and math.tointeger(tonumber(settings.port)) then return settings end
  return fault.raise { kind = "protocol", host = alias, message = "ssh -G does not say where " .. alias .. " is" }
end

local function expanded(path, settings, alias)
  local user = process.user()
  local values = { ["%"] = "%", d = user.home, u = user.name, r = settings.user, h = settings.hostname, n = alias,
    p = settings.port, i = tostring(user.uid) }
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

local function override(settings, overrides)
  settings.hostname = overrides.hostname or settings.hostname
  settings.port = overrides.port and tostring(overrides.port) or settings.port
  settings.user = overrides.user or settings.user
  if overrides.proxy_jump or overrides.proxy_command then
    settings.proxyjump, settings.proxycommand = overrides.proxy_jump, overrides.proxy_command
  end
  settings.hostkeyalias = overrides.host_key_alias or settings.hostkeyalias
  settings.identityagent = overrides.identity_agent or settings.identityagent
  if overrides.identity_file then
    settings.identityfile, settings.identitiesonly = only(overrides.identity_file), "yes"
  end
end

local function files_of(settings, alias, overrides)
  if overrides.known_hosts then return only(overrides.known_hosts) end
  local files = {}
  local listed = (settings.userknownhostsfile or "~/.ssh/known_hosts") .. " "
    .. (settings.globalknownhostsfile or "/etc/ssh/ssh_known_hosts")
  for _, path in ipairs(words(listed)) do
    if path ~= "none" then files[#files + 1] = expanded(path, settings, alias) end
  end
  return files
end

local function settings_of(alias, overrides)
  local settings = ask_ssh(alias)
  override(settings, overrides)
  settings.known_hosts = files_of(settings, alias, overrides)
  for _, list in ipairs { settings.identityfile, settings.certificatefile } do
    for i, path in ipairs(list) do list[i] = expanded(path, settings, alias) end
  end
  settings.port = tonumber(settings.port)
  settings.alias = alias
  return settings
end

-- ---- the host's key ----

local function key_name(settings)
  if settings.hostkeyalias and settings.hostkeyalias ~= "none" then return settings.hostkeyalias:lower() end
  return known_hosts.name(settings.hostname, settings.port)
end

--- Entries under the host's name; a key that stands there without its port counts too, if it is the same.
local function entries_of(settings, name)
  local entries = {}
  for _, file in ipairs(settings.known_hosts) do
    local found = known_hosts.entries(read_file(file) or "", name, file)
    table.move(found, 1, #found, #entries + 1, entries)
  end
  return entries
end

local function algorithms_of(settings, entries)
  local usable, allowed = {}, {}
  for name in (settings.hostkeyalgorithms or ""):gmatch("[^,]+") do allowed[name] = true end
  for _, name in ipairs(HOST_KEYS) do
    if allowed[name] or not next(allowed) then usable[#usable + 1] = name end
  end
  return known_hosts.preference(entries, #usable > 0 and usable or HOST_KEYS)
end

local function described(key) return key.type .. " " .. known_hosts.fingerprint(key.blob) end

local SAYS = {
  revoked = function(name, key, entry)
    return ("the key of %s is revoked (%s): %s"):format(name, entry.place, described(key)),
      "this host must get a new key"
  end,
  changed = function(name, key, entry, alias)
    return ("the key of %s is not the known one: it shows %s, known is %s (%s)"):format(name, described(key),
        described(entry), entry.place),
      ("somebody may stand between; if the host was set up anew, delete %s and run: neap host add %s"):format(
        entry.place, alias)
  end,
  other = function(name, key, entry, alias)
    return ("%s shows a key of a type that is not known of it: %s, known is %s (%s)"):format(name, described(key),
        described(entry), entry.place),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
  authority = function(name, key, entry, alias)
    return ("%s is known by a certificate authority (%s), which is not supported; it shows %s"):format(name,
      entry.place, described(key)),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
  unknown = function(name, key, _, alias)
    return ("the key of %s is not known: %s"):format(name, described(key)),
      ("compare the fingerprint with the host's own, then run: neap host add %s"):format(alias)
  end,
}

--- RevokedHostKeys, as a list of public keys. Its binary form is refused rather than passed over.
local function check_revoked_file(settings, key)
  local path = settings.revokedhostkeys
  if not path or path == "none" then return end
  path = expanded(path, settings, settings.alias)
  local text = read_file(path)
  local listed = text and text:find(crypto.base64(key.blob), 1, true)
  if text and not listed and not text:find("^SSHKRL\n") then return end
  fault.raise { kind = "denied", host = settings.alias,
    message = listed and ("the key of %s is revoked (%s): %s"):format(settings.alias, path, described(key))
      or ("RevokedHostKeys %s cannot be read as a list of public keys"):format(path) }
end

local function check_host_key(settings, entries, key, trusted)
  local name = key_name(settings)
  check_revoked_file(settings, key)
  local verdict, entry = known_hosts.verdict(entries, key)
  if verdict == "unknown" and name:find("^%[") then
    local plain, where = known_hosts.verdict(entries_of(settings, settings.hostname:lower()), key)
    if plain == "trusted" or plain == "revoked" then verdict, entry = plain, where end
  end
  if verdict == "trusted" then return end
  if verdict == "unknown" and trusted == known_hosts.fingerprint(key.blob) then return end
  local message, hint = SAYS[verdict](name, key, entry, settings.alias)
  fault.raise { kind = "denied", host = settings.alias, message = message, hint = hint }
end

local function check_pins(settings, pins, key)
  local pinned = pins
  if type(pins) == "table" then pinned = pins.host_key end
  if pinned and pinned ~= described(key) and pinned ~= known_hosts.fingerprint(key.blob) then
    fault.raise { kind = "denied", code = "identity", host = settings.alias,
      message = ("%s shows another host key than the one this run was made for: %s, known is %s"):format(settings.alias,
        described(key), pinned),
      hint = "if it was set up anew on purpose, plan again; a run that is open can only be rolled back or abandoned" }
  end
end

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
      return open_settled(settings_of(hop.alias, overrides), hop_options, before)
    end)
  end
  return last
end

--- The configured ProxyCommand, if its program may be run.
local function proxy_command(settings, options)
  local command = settings.proxycommand
  if not command or command == "none" then return end
  command = expanded(command, settings, settings.alias)
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
    host_keys = table.concat(algorithms_of(settings, entries), ","),
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

-- ---- who we are ----

local function counted(bytes, at) return string.unpack(">s4", bytes, at) end

local function type_of(blob)
  local ok, kind = pcall(counted, blob, 1)
  return ok and kind or "unknown"
end

--- What can be read of a private key without its passphrase: whether it needs one, and in OpenSSH's format the public half.
local function private_key(text)
  local body = text:match("BEGIN OPENSSH PRIVATE KEY%-+%s+(.-)%s+%-+END")
  if not body then
    return { encrypted = text:find("ENCRYPTED", 1, true) ~= nil }
  end
  local ok, cipher, blob = pcall(function()
    local bytes = crypto.unbase64((body:gsub("%s", "")))
    local cipher, at = counted(bytes, #"openssh-key-v1\0" + 1)
    for _ = 1, 2 do
      local _, past = counted(bytes, at)
      at = past
    end
    return cipher, (counted(bytes, at + 4))
  end)
  if not ok then return { encrypted = false } end
  return { encrypted = cipher ~= "none", blob = blob }
end

local function public_blob(path)
  local text = read_file(path)
  local base64 = text and text:match("^%S+%s+(%S+)")
  local ok, blob = pcall(crypto.unbase64, base64 or "-")
  return ok and base64 and blob or nil
end

local function agent_path(settings)
  local path = settings.identityagent or "SSH_AUTH_SOCK"
  if path == "none" then return end
  if path == "SSH_AUTH_SOCK" then return process.environ("SSH_AUTH_SOCK") end
  if path:sub(1, 1) == "$" then return process.environ((path:gsub("[${}]", ""))) end
  return expanded(path, settings, settings.alias)
end

local function agent_keys(settings)
  local path = agent_path(settings)
  if not path or path == "" then return nil, {} end
  local ok, agent = pcall(native.agent, path)
  if not ok then return nil, {} end
  return agent, agent:keys()
end

--- Files in the configured order, with what is known of each.
local function file_keys(settings)
  local keys = {}
  for _, path in ipairs(settings.identityfile) do
    local text = read_file(path)
    local key = text and private_key(text) or { absent = true }
    key.path = path
    key.blob = key.blob or public_blob(path .. ".pub")
    key.certificate = read_file(path .. "-cert.pub") and path .. "-cert.pub" or nil
    if not key.absent or key.blob then keys[#keys + 1] = key end
  end
  return keys
end

--- The keys to be tried, in OpenSSH's order: configured ones that the agent holds, its others, then files.
local function candidates(settings, held, files)
  local configured, list = {}, {}
  for _, key in ipairs(files) do
    if key.blob then configured[key.blob] = key end
  end
  for _, key in ipairs(held) do
    if configured[key.blob] then
      list[#list + 1] = { agent = true, blob = key.blob, name = configured[key.blob].path }
      configured[key.blob].held = true
    end
  end
  for _, key in ipairs(held) do
    if not configured[key.blob] and settings.identitiesonly ~= "yes" then
      list[#list + 1] = { agent = true, blob = key.blob, name = key.comment .. ", agent" }
    end
  end
  for _, key in ipairs(files) do
    if not key.held and not key.absent then list[#list + 1] = key end
  end
  return list
end

local function passphrase_of(key, options)
  local kept = options.shared.passphrases
  if kept[key.path] then return kept[key.path] end
  local text = options.ask and options.ask(("Passphrase of %s: "):format(key.path), { secret = true })
  kept[key.path] = text
  return text
end

--- true, or false and why not
local function try_file(session, user, key, options)
  local passphrase
  if key.encrypted then
    if key.blob and not session:offer(user, key.blob) then return false, "not accepted" end
    passphrase = passphrase_of(key, options)
    if not passphrase then return false, "encrypted, and no passphrase was given" end
  end
  if key.certificate and session:auth_key(user, key.path, key.certificate, passphrase) then return true end
  local accepted, why = session:auth_key(user, key.path, nil, passphrase)
  if accepted then return true end
  if not key.encrypted then return false, why end
  options.shared.passphrases[key.path] = nil
  return false, "the passphrase is wrong, or the key is not accepted"
end

local function key_text(key)
  local blob = key.blob
  local text = blob and type_of(blob) .. " " .. known_hosts.fingerprint(blob) or "key"
  return ("%s (%s)"):format(text, key.path or key.name)
end

local function refuse(settings, methods, tried)
  local who = ("%s@%s"):format(settings.user, settings.alias)
  fault.raise {
    kind = "auth", host = settings.alias,
    message = #tried == 0 and ("%s: no key to log in with"):format(who)
      or ("%s accepts none of the %d keys tried"):format(who, #tried),
    output = table.concat(tried, "\n"),
    hint = ("the server takes: %s; keys come from the agent and from IdentityFile of: ssh -G %s"):format(methods,
      settings.alias),
  }
end

local function authenticate(session, settings, options)
  local user = settings.user
  local methods = session:auth_methods(user)
  if not methods then return end
  local tried = {}
  if (","..methods..","):find(",publickey,", 1, true) then
    local agent <close>, held = agent_keys(settings)
    for _, key in ipairs(candidates(settings, held, file_keys(settings))) do
      local accepted, why
      if key.agent then
        accepted, why = session:auth_agent(user, agent, key.blob)
      else
        accepted, why = try_file(session, user, key, options)
      end
      if accepted then return key_text(key) end
      tried[#tried + 1] = ("%s: %s"):format(key_text(key), why)
    end
  end
  refuse(settings, methods, tried)
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
  facts.host_key, facts.user, facts.key = described(self.key), self.user, self.login
  return facts
end

--- Its streams are lost then. What runs is ended.
function session_methods:close() self.native:close() end

session_meta.__close = session_methods.close

function open_settled(settings, options, before)
  local entries = entries_of(settings, key_name(settings))
  local connection, jump = connect(settings, entries, options, before)
  local session = setmetatable({ native = connection, host = settings.alias, user = settings.user, jump = jump,
    key = connection:host_key() }, session_meta)
  local ok, result = pcall(function()
    check_host_key(settings, entries, session.key, options.trusted)
    check_pins(settings, options.pins, session.key)
    return authenticate(connection, settings, options)
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
  return open_settled(settings_of(alias, options.overrides or {}), options)
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
  local settings = settings_of(alias, options.overrides or {})
  local name = key_name(settings)
  local entries = entries_of(settings, name)
  local connection <close> = connect(settings, entries, options)
  local key = connection:host_key()
  return {
    host = alias, name = name, key = key, host_key = described(key), verdict = (known_hosts.verdict(entries, key)),
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
  local settings = settings_of(alias, overrides or {})
  return #entries_of(settings, key_name(settings)) > 0,
    #file_keys(settings) > 0 or (agent_path(settings) or "") ~= ""
end

--- Adds what ssh.look found to known_hosts. Refuses keys that are revoked or differ from a known one of their type.
--- @param found ssh.found
function ssh.trust(found)
  if found.verdict == "trusted" then return end
  if found.verdict == "revoked" or found.verdict == "changed" then
    fault.raise { kind = "denied", host = found.host,
      message = ("%s is not added: its key is %s"):format(found.name, found.verdict) }
  end
  local before = read_file(found.file) or ""
  local gap = before ~= "" and before:sub(-1) ~= "\n" and "\n" or ""
  fs.mkdir(found.file:match("^(.*)/") or ".", "0700")
  fs.append(found.file, gap .. known_hosts.line(found.name, found.key, found.hashed))
end

return ssh
