--- What targets do with the hosts of a run: sessions, commands, files. `local` is the machine neap runs on.
---
--- A run keeps one session per host, and one file channel per host and user; each is made at its first use. What breaks
--- raises kind `lost` for the call in hand, the next call connects anew.
local fault   = require "native.error"
local named   = require "neap.targets.named"
local process = require "native.process"
local near    = require "neap.near"
local secret  = require "native.secret"
local sftp    = require "native.sftp"
local shell   = require "neap.targets.shell"
local task    = require "native.task"

local hosts = {}

--- The methods of hosts; neap.targets.host fills it.
hosts.methods = {}

--- Other ways to a shell than ssh, by the word before the colon of a name ("pod:…"): fn(name, text, reads) -> stream.
--- The targets that know such places fill it; an environment names none of them.
hosts.ways = {}

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 3600 -- seconds
local OPEN_TIMEOUT = 60                       -- seconds for a session or a file channel, questions to a person included
local LAST_LINES, LAST_BYTES = 200, 64 * 1024
local SFTP_SERVER = [[
for folder in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec; do
  [ -x $folder/sftp-server ] && exec %s$folder/sftp-server
done
echo "sftp-server is not installed" >&2; exit 127]]

-- ---- which host ----

--- The run that the calling task works for. Raises kind `conflict` outside of one.
--- @return table
function hosts.run()
  local context = task.context()
  local run = type(context) == "table" and context.run
  if not run then fault.raise { kind = "conflict", message = "a host can be reached only inside a step" } end
  return run
end

local new_host = named.class("host", hosts.methods, { "name", "address" })

--- The name of a host given by name, by its entry of the environment, or as a host.
--- @param value string|table
--- @return string
function hosts.name(value)
  local name = type(value) == "table" and value.name or value
  if type(name) ~= "string" then error("expected a host, got " .. type(value), 2) end
  return name
end

local function way_of(name) return hosts.ways[name:match "^(%l+):"] end

local function entry_of(run, name)
  local entry = run.environment.hosts[name]
  if name == "local" then return entry or {} end
  if way_of(name) then return {} end
  if type(entry) == "table" and entry.name then return entry end
  local message = entry and "%s is a group of hosts, where one host is expected" or "no host is named %s%s"
  fault.raise { kind = "missing", message = message:format(name, near.hint(name, run.environment.hosts)), host = name }
end

--- @class neap.host
--- @field name string
--- @field address string?   as other machines know it

--- A host, or a list of hosts, for an environment's entry. Opens nothing.
--- @param entry table
--- @return neap.host|neap.host[]
function hosts.object(entry)
  if entry.name then return new_host(entry) end
  local list = {}
  for i, member in ipairs(entry) do list[i] = new_host(member) end
  return list
end

--- The host of that name in the run's environment. Opens nothing yet. Raises kind `missing` where there is none.
--- @param value string|table  a name, an entry of the environment, or a host
--- @return neap.host
function hosts.of(value)
  local name = hosts.name(value)
  return new_host { name = name, address = entry_of(hosts.run(), name).address }
end

--- The user to act as: the one asked for, else the host's own `become`; false asks for the login itself.
--- @param value string|table
--- @param become? string|false
--- @return string|false
function hosts.become(value, become)
  if become == nil then become = entry_of(hosts.run(), hosts.name(value)).become end
  if become and not become:find("^[%w_][%w_.-]*$") then error(("%q is no user's name"):format(become), 2) end
  return become or false
end

-- ---- connections ----

local Connection = {}
Connection.__index = Connection

function Connection:close()
  local made = self.made
  self.made = {}
  for key, opened in pairs(made) do
    if key ~= "session" then pcall(opened.close, opened) end
  end
  if made.session then pcall(made.session.close, made.session) end
end

local function connection_of(value)
  local run, name = hosts.run(), hosts.name(value)
  local key = "host " .. name
  if not run.connections[key] then
    run.connections[key] = setmetatable({ name = name, entry = entry_of(run, name), made = {}, making = {},
      memory = {} }, Connection)
  end
  return run.connections[key], run
end

--- Raises what it is given, with the host's name. What broke is closed, so that the next call connects anew.
local function raise_here(connection, failure)
  if fault.is(failure) then
    failure.host = failure.host or connection.name
    if failure.kind == "lost" and connection.name ~= "local" then connection:close() end
  end
  error(failure, 0)
end

--- Calls fn; what it raises names the host, and a session that broke is closed.
--- @param value string|table
function hosts.guard(value, fn, ...)
  local results = table.pack(pcall(fn, ...))
  if not results[1] then raise_here(connection_of(value), results[2]) end
  return table.unpack(results, 2, results.n)
end

--- Takes down in the run who was met under a name. Raises `denied` when it was another before.
--- @param name string  a host's, or what else the target is called
--- @param identity string  what only it can show
function hosts.met(name, identity)
  local run = hosts.run()
  if run.meet then run:meet(name, identity) end
end

--- Vouches for a host that did not exist when the run began, by the fingerprint of its key: from the console of the cloud
--- that made it, say. It is recorded, and the host must show that key.
--- @param value string|table
--- @param fingerprint string  "SHA256:…"
function hosts.trust(value, fingerprint)
  local run, name = hosts.run(), hosts.name(value)
  if type(fingerprint) ~= "string" or not fingerprint:find "^SHA256:[%w+/]+=*$" then
    error("trust takes a fingerprint like \"SHA256:…\"", 2)
  end
  entry_of(run, name)
  if not run.planning then run:vouch(name, fingerprint) end
end

--- The run's `prompt` asks a person for a passphrase; `overrides` of an entry are settings of ssh.open's.
local function open_session(connection, run)
  if run.fakes then run.fakes:no_connection("the host " .. connection.name) end
  local ssh = require "neap.targets.ssh"
  local entry, policy = connection.entry, run.environment.policy or {}
  local overrides = { user = entry.user, port = entry.port }
  for key, value in pairs(entry.overrides or {}) do overrides[key] = value end
  -- one table of jump hosts and opened keys for the run: a passphrase is asked for once
  run.connections.ssh = run.connections.ssh or { close = function() end, shared = {} }
  local session = ssh.open(entry.ssh, { ask = run.prompt, pins = (run.pins or {})[connection.name],
    trusted = (run.trusted or {})[connection.name], allow_exec = policy.allow_exec,
    shared = run.connections.ssh.shared, overrides = overrides })
  if run.meet then run:meet(connection.name, session:facts().host_key) end
  return session
end

--- What is kept for a connection under that key; made by one task when several want it at the same time.
local function made_once(connection, key, make, ...)
  if connection.made[key] then return connection.made[key] end
  local making = connection.making[key] or task.spawn(task.shield, task.deadline, OPEN_TIMEOUT, make, ...)
  connection.making[key] = making
  local ok, result = making:wait()
  connection.making[key] = nil
  if not ok then error(result, 0) end
  connection.made[key] = result
  return result
end

local function session_of(connection, run)
  local session = connection.made.session
  if session and not session.alive then connection:close() end
  return made_once(connection, "session", open_session, connection, run)
end

--- A stream to a shell text on the host. Without `reads` it needs leave to change.
--- @param value string|table
--- @param text string
--- @param reads boolean
function hosts.open(value, text, reads)
  local connection, run = connection_of(value)
  if connection.name == "local" then
    return process.spawn({ "/bin/sh", "-c", text }, { cwd = process.user().home, reads = reads })
  end
  return hosts.guard(value, function()
    local way = way_of(connection.name)
    if way then return way(connection.name, text, reads) end
    return session_of(connection, run):exec(text, { reads = reads })
  end)
end

-- ---- ports ----

local function open_tunnel(connection, run, address, port)
  return session_of(connection, run):tunnel(address, port)
end

--- A port of 127.0.0.1 that leads to a port as the host sees it: for a database or a service that only it can reach. It is
--- for this process alone, is made once for a run, and goes with the session; what was connected is `lost` then. failure()
--- says why the last connection broke, where the host told.
--- @param via string|table  the host
--- @param address string  as the host knows it
--- @param port integer
--- @return { port: integer, close: function, failure: fun(): string? }
function hosts.tunnel(via, address, port)
  local connection, run = connection_of(via)
  if connection.name == "local" then error("local needs no tunnel", 2) end
  local key = ("port %d of %s"):format(port, address)
  local opened = hosts.guard(via, function()
    session_of(connection, run) -- first: where it broke, what it carried goes
    return made_once(connection, key, open_tunnel, connection, run, address, port)
  end)
  local function close()
    if connection.made[key] == opened then connection.made[key] = nil end
    opened:close()
  end
  return { port = opened:port(), close = close, failure = function() return opened:failure() end }
end

-- ---- commands ----

--- The last 200 lines, or 64 KiB, of what a command said: its errors, and before them what there is room for of its
--- output, since many a program says there what went wrong.
--- @param result { out: string, err: string }
--- @return string
function hosts.last_lines(result)
  local lines = {}
  for _, side in ipairs { result.out, result.err } do
    for line in secret.redact(side):gmatch("[^\n]+") do lines[#lines + 1] = line end
  end
  local text = table.concat(lines, "\n", math.max(1, #lines - LAST_LINES + 1))
  if #text <= LAST_BYTES then return text end
  return (text:sub(-LAST_BYTES):gsub("^[\x80-\xBF]+", "")) -- whole letters
end

--- Whether that is sudo's refusal, and not the command's own words: then it has not run.
--- @param result { out: string, err: string, status?: integer }
function hosts.refused_by_sudo(result)
  return result.status == 1 and result.out == "" and (result.err:find("^sudo: ") or result.err:find("^Sorry, user "))
end

--- Whether that exit status is among the wanted ones: a list, "any", or nil for 0 alone.
--- @param status integer
--- @param ok? integer[]|"any"
function hosts.accepts(status, ok)
  if ok == "any" then return true end
  for _, good in ipairs(ok or { 0 }) do
    if status == good then return true end
  end
  return false
end

local function how_it_ended(result)
  return result.signal and ("killed by SIG%s"):format(result.signal) or ("exit status %d"):format(result.status)
end

--- Raises unless the command ended as it should: kind `denied` where sudo refused it (then it did not run), else
--- `remote` with the exit status as code and its last lines as output.
--- @param value string|table
--- @param command string[]|string
--- @param result { out: string, err: string, status?: integer, signal?: string }
--- @param options? { ok?: integer[]|"any", become?: string|false }
function hosts.check(value, command, result, options)
  local name, become = hosts.name(value), options and options.become
  if become and hosts.refused_by_sudo(result) then
    local login = hosts.login(name).user
    fault.raise { kind = "denied", host = name, output = hosts.last_lines(result),
      message = ("%s on %s may not run this as %s: %s"):format(login, name, become, shell.line(command)),
      hint = ("sudoers on %s lacks: %s ALL=(%s) NOPASSWD: %s"):format(name, login, become,
        type(command) == "table" and tostring(command[1]) or "/bin/sh") }
  end
  if result.status and hosts.accepts(result.status, options and options.ok) then return end
  fault.raise { kind = "remote", host = name, code = result.status, output = hosts.last_lines(result),
    message = ("%s failed on %s (%s)"):format(shell.line(command), name, how_it_ended(result)) }
end

--- Runs a command on a host's session and waits for it; it dies with the connection, or does not. So it is for what
--- reads; what changes runs by witness.run. Raises as hosts.check does.
--- @param value string|table
--- @param command string[]|string  a list, or a text for the shell
--- @param options? table  become, input, reads, ok, timeout, env, cwd, and on_output(bytes, "out"|"err")
--- @return { out: string, err: string, status: integer }
function hosts.exec(value, command, options)
  options = options or {}
  local become = hosts.become(value, options.become)
  local text, settings = shell.text(command, { become = become, env = options.env, cwd = options.cwd })
  local fakes = hosts.run().fakes
  local result = fakes and fakes:command(hosts.name(value), command) or hosts.guard(value, function()
    local stream <close> = hosts.open(value, text, options.reads)
    return stream:collect { input = shell.input(settings, options.input or ""), on_output = options.on_output,
      timeout = options.timeout or (options.reads and READ_TIMEOUT or CHANGE_TIMEOUT) }
  end)
  hosts.check(value, command, result, { ok = options.ok, become = become })
  return { out = result.out, err = result.err, status = result.status }
end

--- What targets remember of a host as long as this process attends the run.
--- @param value string|table
--- @return table
function hosts.memory(value) return connection_of(value).memory end

local function ask_login(value)
  local result = hosts.exec(value, "id -un && id -gn && cd && pwd -P", { become = false, reads = true })
  local user, group, home = result.out:match("([^\n]+)\n([^\n]+)\n([^\n]+)\n$")
  if not user then
    fault.raise { kind = "protocol", host = hosts.name(value), output = result.out,
      message = ("%s does not say who is logged in"):format(hosts.name(value)) }
  end
  return { user = user, group = group, home = home }
end

--- Whom the session belongs to; asked once.
--- @param value string|table
--- @return { user: string, group: string, home: string }
function hosts.login(value)
  local memory = hosts.memory(value)
  memory.login = memory.login or ask_login(value)
  return memory.login
end

-- ---- files ----

local function sftp_text(become)
  return SFTP_SERVER:format(become and ("sudo -n -u %s -- "):format(shell.quote(become)) or "")
end

local function open_files(connection, run, become)
  local text = sftp_text(become)
  local stream = connection.name == "local" and process.spawn({ "/bin/sh", "-c", text }, { cwd = "/", reads = true })
    or session_of(connection, run):exec(text, { reads = true })
  local ok, files = pcall(sftp.open, stream)
  if ok then return files end
  stream:close()
  if become and fault.is(files) and tostring(files.output or ""):find("^sudo: ") then
    local login = hosts.login(connection.name).user
    fault.raise { kind = "denied", host = connection.name, output = files.output,
      message = ("%s on %s may not reach files as %s"):format(login, connection.name, become),
      hint = ("sudoers on %s lacks: %s ALL=(%s) NOPASSWD: /usr/lib/openssh/sftp-server"):format(connection.name, login,
        become) }
  end
  error(files, 0)
end

--- Methods of a file channel, with errors that name the host; a channel that broke is made anew by the next call.
local FILES = {}

function FILES:__index(method)
  local connection, become, run = self.connection, self.become, self.run
  return function(_, ...)
    local key = "files as " .. (become or "login")
    local results = table.pack(pcall(function(...)
      local files = made_once(connection, key, open_files, connection, run, become)
      return files[method](files, ...)
    end, ...))
    if results[1] then return table.unpack(results, 2, results.n) end
    if fault.is(results[2], "lost") then connection.made[key] = nil end
    raise_here(connection, results[2])
  end
end

--- The files of a host as that user sees them: native.sftp's methods.
--- @param value string|table
--- @param become? string|false
function hosts.files(value, become)
  local connection, run = connection_of(value)
  if run.fakes then return run.fakes:files(connection.name) end
  return setmetatable({ connection = connection, run = run, become = hosts.become(value, become) }, FILES)
end

return hosts
