local eventually = require "tests.eventually"
local mysql      = require "native.mysql"
local process    = require "native.process"
local socket     = require "native.socket"
local ssh        = require "native.ssh"
local task       = require "native.task"
local mariadb    = require "tests.mariadb"
local sshd       = dofile("tests/sshd.lua")

local READS = { reads = true }

--- What comes before the next line end.
local function line(stream)
  local text = ""
  repeat text = text .. stream:read(1) until text:sub(-1) == "\n"
  return text:sub(1, -2)
end

--- A server of one connection, written in Python around that connection `c`. Returns its process and its port.
local function python_server(text)
  local around = "import socket, sys\ns = socket.create_server(('127.0.0.1', 0))\n"
    .. "print(s.getsockname()[1], flush=True)\nc = s.accept()[0]\n"
  local child = process.spawn({ "python3", "-c", around .. text }, READS)
  return child, tonumber(line(child))
end

local function read_all(stream)
  local pieces = {}
  for piece in function() return stream:read() end do pieces[#pieces + 1] = piece end
  return table.concat(pieces)
end

local server, session

before_each(function()
  local folder = scratch()
  local key = sshd.key(folder, "id", "ed25519")
  server = sshd.start(folder, { users = { key } })
  session = ssh.connect { host = "127.0.0.1", port = server.port }
  assert(session:auth_methods("root"))
  assert(session:auth_key("root", key))
end)

after_each(function()
  session:close()
  server.stop()
end)

local function settings(database, opened, more)
  local all = { host = "127.0.0.1", port = opened:port(), user = "root", password = database.password,
    defaults_file = false }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

describe("a tunnel", function()
  it("leads to a server that the host can reach", function()
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local c <close> = mysql.connect(settings(database, opened, { ssl_ca = database.ca }))
    equal(c:query("select ?", { 1 }).rows, { { 1 } })
    equal(c:facts().tls, "TLSv1.3")
    local d <close> = mysql.connect(settings(database, opened))
    equal(d:query "select 2".rows, { { 2 } })
    equal(opened:count(), 2)
    c:close()
    eventually(function() return opened:count() == 1 end)
    equal(d:query "select 3".rows, { { 3 } })
    equal(opened:failure(), nil)
  end)

  it("passes on that the client writes no more, and what the server says after that", function()
    local child, port = python_server [[
n = 0
while (b := c.recv(65536)): n += len(b)
c.sendall(b"%d bytes, " % n + b"y" * 3000000)
c.close()]]
    local opened <close> = session:tunnel("127.0.0.1", port)
    local client <close> = socket.connect_port(opened:port())
    client:write(("x"):rep(5000000))
    client:close_input()
    local answer = read_all(client)
    equal({ answer:sub(1, 15), #answer }, { "5000000 bytes, ", 3000015 })
    eventually(function() return opened:count() == 0 end)
    equal(opened:failure(), nil)
    child:close()
  end)

  it("passes on that the server writes no more, and what the client says after that", function()
    local child, port = python_server [[
c.sendall(b"hello")
c.shutdown(socket.SHUT_WR)
n = 0
while (b := c.recv(65536)): n += len(b)
print(n, flush=True)]]
    local opened <close> = session:tunnel("127.0.0.1", port)
    local client <close> = socket.connect_port(opened:port())
    equal(read_all(client), "hello")
    client:write(("x"):rep(5000000))
    client:close_input()
    equal(line(child), "5000000")
    eventually(function() return opened:count() == 0 end)
    child:close()
  end)

  it("holds back a server that is faster than its client", function()
    local child, port = python_server [[
c.setblocking(False)
n = 0
import time
try:
  while True: n += c.send(b"x" * 65536)
except BlockingIOError: pass
time.sleep(1)
try:
  while True: n += c.send(b"x" * 65536)
except BlockingIOError: print(n, flush=True)
time.sleep(20)]]
    local opened <close> = session:tunnel("127.0.0.1", port)
    local client <close> = socket.connect_port(opened:port())
    truthy(tonumber(line(child)) < 30000000)
    equal(#client:read(1), 1)
    child:close()
  end)

  it("carries much in flat memory", function()
    local function resident()
      return tonumber(sshd.read("/proc/self/status"):match("VmRSS:%s+(%d+)"))
    end
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local c <close> = mysql.connect(settings(database, opened, { ssl = "off", database = "mysql" }))
    local bytes, most, before, started = 0, 0, resident(), task.now()
    for row in c:rows "select repeat('x', 100000) from seq_1_to_1000" do
      bytes = bytes + #row[1]
      if bytes % 5000000 == 0 then most = math.max(most, resident() - before) end
    end
    equal(bytes, 100000000)
    local kept = process.executable():find("/san/", 1, true) and 400 or 0 -- the sanitizer keeps what was freed a while
    truthy(most < (64 + kept) * 1024) -- KiB, with what Lua has not collected yet
    if os.getenv "NEAP_TEST_VERBOSE" then
      print(("%.0f MB/s, %d KiB more"):format(bytes / 1e6 / (task.now() - started), most))
    end
  end)

  it("carries as much the other way", function()
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local c <close> = mysql.connect(settings(database, opened, { ssl = "off" }))
    local bytes = mysql.bytes(("\0\1"):rep(5000000))
    for _ = 1, 3 do
      equal(c:query("select length(?)", { bytes }).rows, { { 10000000 } })
    end
  end)

  it("lets no other process in", function()
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local text = "import socket\ns = socket.create_connection(('127.0.0.1', %d))\ns.settimeout(10)\n"
      .. "try: print(len(s.recv(100)))\nexcept ConnectionResetError: print('reset')"
    local result = process.run({ "python3", "-c", text:format(opened:port()) }, READS)
    equal({ result.out, result.err }, { "reset\n", "" })
    equal(opened:count(), 0)
    local c <close> = mysql.connect(settings(database, opened))
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("breaks with its session: what is connected is lost, and nobody comes in any more", function()
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local c <close> = mysql.connect(settings(database, opened))
    local waiting = task.spawn(c.query, c, "select sleep(30)")
    task.sleep(0.2)
    server.cut()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    equal(raises(mysql.connect, settings(database, opened)).kind, "connect")
    equal(raises(session.tunnel, session, "127.0.0.1", 3306).kind, "connect")
  end)

  it("is closed by its session, and closing it breaks what goes over it", function()
    local database = mariadb.start()
    local opened <close> = session:tunnel("127.0.0.1", database.port)
    local other = session:tunnel("127.0.0.1", database.port)
    local c <close> = mysql.connect(settings(database, opened))
    local d <close> = mysql.connect(settings(database, other))
    other:close()
    other:close()
    equal(raises(d.query, d, "select 1").kind, "lost")
    equal(c:query "select 1".rows, { { 1 } })
    session:close()
    equal(raises(c.query, c, "select 1").kind, "lost")
    equal(raises(mysql.connect, settings(database, opened)).kind, "connect")
  end)

  it("tells why the host could not connect", function()
    local opened <close> = session:tunnel("127.0.0.1", 1)
    equal(opened:failure(), nil)
    local failure = raises(mysql.connect,
      { host = "127.0.0.1", port = opened:port(), user = "x", defaults_file = false })
    equal(failure.kind, "connect")
    truthy(opened:failure())
    equal(opened:count(), 0)
  end)

  it("goes to a port of a host alone", function()
    matches(raises(session.tunnel, session, "", 1), "not the name of a host")
    matches(raises(session.tunnel, session, "a", 0), "not a port")
    matches(raises(session.tunnel, session, "a\0b", 1), "not the name of a host")
    matches(raises(session.tunnel, {}, "a", 1), "ssh.session expected")
    session:close()
    matches(raises(session.tunnel, session, "a", 1), "session is closed")
  end)

  it("does not outlive a program that forgot it", function()
    for _ = 1, 20 do session:tunnel("127.0.0.1", 1) end
    collectgarbage()
    collectgarbage()
    truthy(not sshd.run({ "ss", "-Htlnp", "sport > 0" }):find("pid=" .. process.pid() .. ",", 1, true))
  end)
end)
