--- A MariaDB of the tests' own: in a temporary folder, on a port of 127.0.0.1 and a socket, with TLS by its own CA. It is
--- made once for a process, and ends and goes with it.
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"
local sshd    = dofile("tests/sshd.lua")

local mariadb = {}

local PASSWORD = "Neap's \"own\" \\ pass"

--- Runs the server and, when its input ends because the process is gone, ends it and takes its folder away. No child of
--- the process, whose children are counted by other tests.
local WATCHER = [[
watch='folder=$1 keep=$2; shift 2
"$@" <&- & server=$!
echo $server
cat > /dev/null
kill -9 $server; wait $server 2> /dev/null
[ -e "$keep" ] || rm -rf "$folder"'
exec 3<&0
setsid sh -c "$watch" sh "$@" <&3 3<&- &]]

local SUBJECT = "/CN=neap tests "

local function openssl(...)
  sshd.run({ "openssl", ... })
end

--- ca.pem, and server.pem with its key, for 127.0.0.1 and db.neap.test alone; other.pem is another CA.
local function make_certificates(folder)
  sshd.write(folder .. "/names", "subjectAltName = DNS:db.neap.test, IP:127.0.0.1\n")
  for _, name in ipairs { "ca", "other" } do
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
      SUBJECT .. name, "-keyout", folder .. "/" .. name .. ".key", "-out", folder .. "/" .. name .. ".pem")
  end
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", SUBJECT .. "server",
    "-keyout", folder .. "/server.key", "-out", folder .. "/server.csr")
  openssl("x509", "-req", "-in", folder .. "/server.csr", "-CA", folder .. "/ca.pem", "-CAkey", folder .. "/ca.key",
    "-CAcreateserial", "-days", "2", "-extfile", folder .. "/names", "-out", folder .. "/server.pem")
end

local function sql_text(value) return "'" .. value:gsub("[\\']", "\\%0") .. "'" end

local function as_mysql(argv)
  if process.user().uid == 0 then argv[#argv + 1] = "--user=mysql" end
  return argv
end

local function make_data(folder)
  sshd.run(as_mysql { "mariadb-install-db", "--no-defaults", "--datadir=" .. folder .. "/data", "--skip-test-db",
    "--auth-root-authentication-method=normal", "--skip-name-resolve", "--innodb-log-file-size=8M",
    "--tmpdir=" .. folder .. "/tmp" })
end

local function client(server, text, password)
  return sshd.run({ "mariadb", "--no-defaults", "--skip-column-names", "--batch", "--socket=" .. server.socket,
    "--user=root", "--ssl=0" }, { input = text, env = { MYSQL_PWD = password } })
end

local function set_passwords(server)
  local text = "set password for root@'127.0.0.1' = password(%s); set password for root@localhost = password(%s); "
    .. "create database neap_test"
  client(server, text:format(sql_text(PASSWORD), sql_text(PASSWORD)), false)
end

local function read(path) return fs.exists(path) and fs.read(path) or "" end

--- true; false where somebody else has the port.
local function ready(server)
  for _ = 1, 1500 do
    local text = read(server.log)
    if text:find("ready for connections", 1, true) then return true end
    if text:find("Can't start server: Bind on TCP/IP port", 1, true) then return false end
    assert(not text:find("Aborting", 1, true), text)
    task.sleep(0.02)
  end
  error("mariadbd does not start: " .. read(server.log))
end

local function launch(server, options)
  local folder = server.folder
  if fs.exists(server.log) then fs.remove(server.log) end
  local argv = as_mysql { "mariadbd", "--no-defaults", "--datadir=" .. folder .. "/data",
    "--socket=" .. server.socket, "--bind-address=127.0.0.1", "--port=" .. server.port, "--skip-name-resolve",
    "--pid-file=" .. folder .. "/data/pid", "--log-error=" .. server.log, "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=64M",
    "--character-set-server=utf8mb4", "--tmpdir=" .. folder .. "/tmp" }
  if options.tls ~= false then
    table.move({ "--ssl-ca=" .. folder .. "/ca.pem", "--ssl-cert=" .. folder .. "/server.pem",
      "--ssl-key=" .. folder .. "/server.key" }, 1, 3, #argv + 1, argv)
  end
  server.child = process.spawn({ "/bin/sh", "-c", WATCHER, "sh", folder, folder .. "/keep", table.unpack(argv) },
    { reads = true })
  server.pid = tonumber(server.child:read():match("%d+"))
  server.started = process.start_time(server.pid)
  return ready(server)
end

local function wait_gone(server)
  for _ = 1, 1000 do
    if not process.alive(server.pid) then return end
    task.sleep(0.01)
  end
  error("mariadbd does not end")
end

--- Ends the server with SIGKILL; its folder stays.
local function end_now(server)
  if not server.child then return end
  sshd.write(server.folder .. "/keep", "")
  process.kill(server.pid, server.started)
  wait_gone(server)
  server.child:close()
  server.child = nil
end

local function begin(server, options)
  repeat
    local there = launch(server, options or {})
    if not there then
      end_now(server)
      server.port = sshd.free_port()
    end
  until there
  if fs.exists(server.folder .. "/keep") then fs.remove(server.folder .. "/keep") end
end

local function make()
  local folder = fs.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/neap-mariadb-")
  sshd.run { "chmod", "755", folder }
  local server = { folder = folder, host = "127.0.0.1", port = sshd.free_port(), socket = folder .. "/data/socket",
    user = "root", password = PASSWORD, ca = folder .. "/ca.pem", other_ca = folder .. "/other.pem",
    log = folder .. "/data/log.err" }
  make_certificates(folder)
  fs.mkdir(folder .. "/tmp") -- its own: a server that starts removes what it takes for its leftovers
  if process.user().uid == 0 then sshd.run { "sh", "-c", "chown mysql: '" .. folder .. "'/*" } end
  make_data(folder)
  return server
end

local made

--- The server, running. The first call makes it, in a few seconds.
--- @return { host: string, port: integer, socket: string, user: string, password: string, ca: string, other_ca: string,
---   log: string, sql: function, stop: function, kill: function, restart: function }
function mariadb.start()
  local server = made or make()
  if not server.child then begin(server) end
  if not made then set_passwords(server) end
  made = server

  --- What the standard client prints of these statements, columns parted by tabs.
  function server.sql(text)
    return client(server, text, PASSWORD)
  end

  --- Ends it as an administrator does.
  function server.stop()
    if not server.child then return end
    server.sql "shutdown"
    wait_gone(server)
    end_now(server)
  end

  function server.kill() end_now(server) end

  --- options.tls = false: without TLS from then on, until the next one.
  function server.restart(options)
    end_now(server)
    begin(server, options)
  end
  return server
end

return mariadb
