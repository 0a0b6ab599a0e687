--- A PostgreSQL server of this test process alone, on loopback and a socket, with TLS and passwords, for the tests
--- of SQL. It is started at its first use, and ended and removed when this process is gone, however it ends.
local fs      = require "native.fs"
local process = require "native.process"
local sshd    = require "tests.sshd"
local task    = require "native.task"

local postgres = {}

local running -- the server, or nil

-- What is left when the input ends. In a shell of its own, so that the tests may be killed.
local WATCH = [[trap '' TERM HUP INT; cat >/dev/null; "$@" >/dev/null 2>&1; rm -rf "$0"]]

-- No child of this process: other tests count those.
local APART = [[exec 3<&0; setsid sh -c "$@" <&3 3<&- >/dev/null 2>&1 &]]

local function programs()
  local versions = {}
  for _, name in ipairs(fs.list "/usr/lib/postgresql") do versions[#versions + 1] = math.tointeger(tonumber(name)) end
  table.sort(versions)
  return ("/usr/lib/postgresql/%d/bin/"):format(versions[#versions] or error("PostgreSQL is not installed"))
end

-- The server refuses to be root's.
local function as_server(argv)
  if process.user().uid ~= 0 then return argv end
  local list = { "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--reset-env" }
  return table.move(argv, 1, #argv, #list + 1, list)
end

local function run_as_server(argv) return sshd.run(as_server(argv), { cwd = "/", timeout = 120 }) end

-- An authority, and a certificate by it for the name "localhost" and no address; another authority that signed nothing.
local function make_certificates(folder)
  local function openssl(...) sshd.run { "openssl", ... } end
  local key = { "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes" }
  local function request(name, ...)
    local argv = { "req", "-subj", "/CN=" .. name, "-keyout", folder .. "/" .. name .. ".key", table.unpack(key) }
    table.move({ ... }, 1, select("#", ...), #argv + 1, argv)
    openssl(table.unpack(argv))
  end
  request("ca", "-x509", "-days", "2", "-out", folder .. "/ca.crt")
  request("other", "-x509", "-days", "2", "-out", folder .. "/other.crt")
  request("server", "-out", folder .. "/server.csr")
  sshd.write(folder .. "/names", "subjectAltName = DNS:localhost\n")
  openssl("x509", "-req", "-in", folder .. "/server.csr", "-CA", folder .. "/ca.crt", "-CAkey", folder .. "/ca.key",
    "-CAcreateserial", "-days", "2", "-extfile", folder .. "/names", "-out", folder .. "/server.crt")
end

local function settings(folder, port)
  return ([[
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
ssl = on
ssl_cert_file = '%s/server.crt'
ssl_key_file = '%s/server.key'
password_encryption = 'scram-sha-256'
fsync = off
full_page_writes = off
max_connections = 60
shared_buffers = 16MB
lc_messages = 'C'
logging_collector = off
]]):format(port, folder, folder, folder)
end

local ACCESS = [[
local all,replication all trust
host all all 127.0.0.1/32 scram-sha-256
]]

local function make_cluster(server)
  local data, bin = server.data, server.bin
  sshd.write(server.folder .. "/password", server.password .. "\n")
  if process.user().uid == 0 then sshd.run { "chown", "-R", "postgres:postgres", server.folder } end
  run_as_server { bin .. "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8",
    "--locale=C.UTF-8", "--pwfile", server.folder .. "/password" }
  local file = io.open(data .. "/postgresql.conf", "a")
  file:write(settings(server.folder, server.port))
  file:close()
  sshd.write(data .. "/pg_hba.conf", ACCESS)
end

local function add_control(server)
  local function ctl(...)
    return run_as_server { server.bin .. "pg_ctl", "-D", server.data, "-w", "-s", "-l", server.folder .. "/log", ... }
  end
  local function postmaster() return math.tointeger(sshd.read(server.data .. "/postmaster.pid"):match "^%d+") end

  --- Runs psql as superuser; returns what it prints, columns by |, without names. Raises what it says on an error.
  function server.sql(text, database)
    return sshd.run({ "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", server.folder, "-p", tostring(server.port),
      "-U", "postgres", "-d", database or "postgres" }, { input = text, timeout = 120 })
  end

  function server.begin() ctl "start" end

  function server.restart() ctl("restart", "-m", "fast") end

  --- Ends every process of it at once, as a power cut would; begin() starts it again.
  function server.kill()
    local pids = { postmaster() }
    for child in sshd.run({ "ps", "-o", "pid=", "--ppid", tostring(pids[1]) }):gmatch "%d+" do
      pids[#pids + 1] = math.tointeger(child)
    end
    for _, pid in ipairs(pids) do
      local start_time = process.start_time(pid)
      if start_time then process.kill(pid, start_time) end
    end
    for _, pid in ipairs(pids) do -- until nobody has the number: the server that starts asks for it
      while process.start_time(pid) do task.sleep(0.01) end
    end
  end

  --- Makes a standby, which follows it.
  function server.make_standby()
    local socket = { "-h", server.folder, "-p", tostring(server.port), "-U", "postgres" }
    run_as_server { server.bin .. "pg_basebackup", "-R", "-c", "fast", "-D", server.standby, table.unpack(socket) }
    run_as_server { server.bin .. "pg_ctl", "-D", server.standby, "-w", "-s", "-l", server.folder .. "/standby.log",
      "-o", ("-p %d"):format(sshd.free_port()), "start" }
  end

  --- Puts the standby in the place of the server that was killed, at the same address.
  function server.take_over()
    run_as_server { server.bin .. "pg_ctl", "-D", server.standby, "-w", "-s", "promote" }
    run_as_server { server.bin .. "pg_ctl", "-D", server.standby, "-w", "-s", "-m", "fast", "stop" }
    fs.remove_tree(server.data)
    fs.rename(server.standby, server.data)
    server.begin()
  end

  --- Ends and removes it; the next start() makes another.
  function server.stop()
    running = nil
    server.watch:close()
    while fs.stat(server.folder) do task.sleep(0.02) end
  end
end

local function make()
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-postgres-")
  local server = {
    folder = folder, data = folder .. "/data", standby = folder .. "/standby", bin = programs(),
    host = "127.0.0.1", port = sshd.free_port(), socket = folder,
    user = "postgres", password = "p w'\\" .. math.random(1 << 40), ca = folder .. "/ca.crt",
    other_ca = folder .. "/other.crt",
  }
  local stop = as_server { server.bin .. "pg_ctl", "-D", server.data, "-m", "immediate", "stop" }
  local watch = { "sh", "-c", APART, "sh", WATCH, folder, table.unpack(stop) }
  server.watch = process.spawn(watch, { reads = true, cwd = "/" })
  server.watch:wait()
  make_certificates(folder)
  make_cluster(server)
  add_control(server)
  server.begin()
  return server
end

--- The server of this process: host, port, socket (the folder of its socket), user, password, ca (what vouches for
--- its name "localhost"), other_ca; sql(text, database?) -> text, kill(), begin(), restart(), make_standby(),
--- take_over(), stop().
function postgres.start()
  running = running or make()
  return running
end

return postgres
