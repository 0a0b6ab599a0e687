--- sshd processes of their own on loopback, with keys and configuration in a scratch folder, for the tests of ssh.
local process = require "native.process"
local task    = require "native.task"

local sshd = {}

local function run(argv, options)
  options = options or {}
  options.reads = true
  local result = process.run(argv, options)
  assert(result.status == 0, table.concat(argv, " ") .. ": " .. result.err .. result.out)
  return result.out
end

sshd.run = run

function sshd.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

function sshd.write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

--- Makes a key pair; returns the path of the private half.
function sshd.key(folder, name, kind, options)
  options = options or {}
  local path = folder .. "/" .. name
  local argv = { "ssh-keygen", "-q", "-t", kind, "-N", options.passphrase or "", "-C", name, "-f", path }
  if options.bits then table.move({ "-b", tostring(options.bits) }, 1, 2, #argv + 1, argv) end
  if options.pem then table.move({ "-m", "PEM" }, 1, 2, #argv + 1, argv) end
  run(argv)
  return path
end

--- "ssh-ed25519 AAAA…" of a private key's path.
function sshd.public(path) return (sshd.read(path .. ".pub"):match("^(%S+ %S+)")) end

--- The fingerprint as ssh-keygen prints it.
function sshd.fingerprint(path) return (run({ "ssh-keygen", "-lf", path .. ".pub" }):match("SHA256:%S+")) end

function sshd.free_port()
  for _ = 1, 100 do
    local port = math.random(12000, 32000) -- below those that the kernel gives to clients
    local taken = run({ "ss", "-Htln", "sport = :" .. port })
    if taken == "" then return port end
  end
  error("no free port")
end

--- false: somebody else took the port meanwhile.
local function listening(log)
  for _ = 1, 500 do
    local file = io.open(log)
    local text = file and file:read("a") or ""
    if file then file:close() end
    if text:find("Server listening", 1, true) then return true end
    if text:find("Cannot bind", 1, true) then return false end
    assert(not text:find("fatal", 1, true), text)
    task.sleep(0.01)
  end
  error("sshd does not start: " .. log)
end

--- Starts an sshd. options: host_keys = { "ed25519", … }, users = paths of private keys that may log in, extra = lines
--- of configuration. Returns { port, host_key(kind) -> path, line(kind) -> known_hosts line, log, stop }.
function sshd.start(folder, options)
  options = options or {}
  local port = sshd.free_port()
  local name = folder .. "/sshd-" .. port
  local server = { port = port, log = name .. ".log" }
  local lines = {
    "Port " .. port, "ListenAddress 127.0.0.1", "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes",
    "PasswordAuthentication no", "KbdInteractiveAuthentication no", "LogLevel VERBOSE", "PrintMotd no",
    "AuthorizedKeysFile " .. name .. ".keys", "Subsystem sftp /usr/lib/openssh/sftp-server", options.extra or "",
  }
  for _, kind in ipairs(options.host_keys or { "ed25519" }) do
    lines[#lines + 1] = "HostKey " .. sshd.key(folder, "host-" .. port .. "-" .. kind, kind)
  end
  local keys = {}
  for _, path in ipairs(options.users or {}) do keys[#keys + 1] = sshd.public(path) end
  sshd.write(name .. ".keys", table.concat(keys, "\n") .. "\n")
  sshd.write(name .. ".conf", table.concat(lines, "\n") .. "\n")
  run { "mkdir", "-p", "/run/sshd" }
  local child = process.spawn({ "/usr/sbin/sshd", "-D", "-f", name .. ".conf", "-E", server.log }, { reads = true })
  if not listening(server.log) then
    child:close()
    return sshd.start(folder, options)
  end
  function server.host_key(kind) return folder .. "/host-" .. port .. "-" .. (kind or "ed25519") end
  function server.line(kind) return ("[127.0.0.1]:%d %s\n"):format(port, sshd.public(server.host_key(kind))) end
  function server.stop() child:close() end
  --- Ends every connection of this server at once, as a power cut would.
  function server.cut()
    local text = sshd.read(server.log)
    child:close()
    local list = "ss -Htnp state established sport = :%d | grep -o 'pid=[0-9]*' | sort -u"
    local found = run { "sh", "-c", list:format(port) }
    for pid in found:gmatch("pid=(%d+)") do pcall(run, { "kill", "-9", pid }) end
    return text
  end
  return server
end

--- Starts one that a key of the folder may log in to; the server, and an environment's hosts with it, called `far`.
--- `more`: keys of that host beside its place.
function sshd.far(folder, more)
  local key = sshd.key(folder, "id", "ed25519")
  local server = sshd.start(folder, { users = { key } })
  sshd.write(folder .. "/known", server.line())
  local far = { name = "far", ssh = "127.0.0.1", port = server.port, user = process.user().name,
    overrides = { identity_file = key, known_hosts = folder .. "/known", identity_agent = "none" } }
  for name, value in pairs(more or {}) do far[name] = value end
  return server, { far = far }
end

return sshd
