local json     = require "native.json"
local pg       = require "native.pg"
local postgres = require "tests.postgres"
local process  = require "native.process"
local secret   = require "native.secret"
local socket   = require "native.socket"
local sshd     = require "tests.sshd"
local task     = require "native.task"

local server

before_each(function() server = postgres.start() end)

local function settings(other)
  local all = { host = "127.0.0.1", port = server.port, user = "postgres", dbname = "postgres" }
  all.password = server.password
  for key, value in pairs(other or {}) do all[key] = value or nil end
  return all
end

local function connect(other, options) return pg.connect(settings(other), options) end

local function failure_of(other, options) return raises(connect, other, options) end

-- What the connection is, after which it is closed.
local function facts(other, options)
  local connection <close> = connect(other, options)
  equal(connection:query "select 1".rows, { { 1 } })
  return connection:facts()
end

describe("pg.connect", function()
  it("logs in by password over TLS, and without on the socket", function()
    matches(facts().tls, "^TLSv1%.%d$")
    equal(facts({ sslmode = "disable" }).tls, nil)
    equal(facts({ host = server.socket, password = false }).tls, nil)
    equal(facts({ port = tostring(server.port) }).port, server.port)
  end)

  it("takes a secret for the password", function()
    local keys = secret.keyring()
    equal(facts({ password = secret.literal(server.password, keys) }).user, "postgres")
    local failure = failure_of { password = secret.literal("another password", keys) }
    equal({ failure.kind, failure.code }, { "auth", "28P01" })
    equal(failure_of({ password = secret.literal("", keys), passfile = "/nonexistent" }).kind, "auth")
    local closed = secret.reference("vault:x", secret.fingerprint(secret.literal("another password", keys)), keys)
    equal(failure_of({ password = closed }).kind, "missing")
  end)

  it("tells a login that is refused from a server that is not there", function()
    local failure = failure_of { password = "wrong" }
    equal({ failure.kind, failure.code, failure.host }, { "auth", "28P01", "127.0.0.1" })
    equal(failure.message, ('connection to server at "127.0.0.1", port %d failed: ' ..
      'FATAL: password authentication failed for user "postgres"'):format(server.port))
    failure = failure_of { password = false, passfile = "/nonexistent" }
    equal(failure.kind, "auth")
    matches(failure.message, "no password supplied")
    failure = failure_of { user = "nobody there" }
    equal({ failure.kind, failure.code }, { "auth", "28P01" })
    failure = failure_of { dbname = "nowhere" }
    equal({ failure.kind, failure.code }, { "missing", "3D000" })
    matches(failure.message, 'FATAL: database "nowhere" does not exist$')
    failure = failure_of { port = sshd.free_port() }
    equal({ failure.kind, failure.code }, { "connect" })
    matches(failure.message, "Connection refused")
    failure = failure_of { host = scratch() }
    equal(failure.kind, "connect")
    matches(failure.message, "No such file or directory")
  end)

  it("says which name cannot be resolved", function()
    local failure = failure_of { host = "no-such-host.invalid" }
    equal({ failure.kind, failure.host }, { "connect", "no-such-host.invalid" })
    matches(failure.message, "^no%-such%-host.invalid: the name cannot be resolved: ")
  end)

  it("tries each host, and each address of a name", function()
    local closed = sshd.free_port()
    equal(facts({ host = "127.0.0.1,127.0.0.1", port = ("%d,%d"):format(closed, server.port) }).port, server.port)
    equal(facts({ host = "no-such-host.invalid,localhost" }).host, "localhost")
    equal(facts({ host = ("%s,%s"):format(scratch(), server.socket) }).host, server.socket)
    equal(facts({ host = "name.of.no.importance", hostaddr = "127.0.0.1" }).host, "name.of.no.importance")
    local failure = failure_of { host = "localhost,127.0.0.1,localhost", port = closed }
    equal({ failure.kind, failure.host }, { "connect", "localhost" })
    matches(failure.message, '^localhost: connection to server at "127.0.0.1", port %d+ failed: Connection refused')
    matches(failure_of({ target_session_attrs = "standby" }).message, "server is not in hot standby mode")
  end)

  it("goes on from an address that is silent to the next", function()
    -- a socket whose queue is full answers nobody
    local program = [[
import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
full = []
for i in range(4):
    c = socket.socket(); c.setblocking(False); c.connect_ex(s.getsockname()); full.append(c)
print(s.getsockname()[1], flush=True)
sys.stdin.read()]]
    local silent <close> = process.spawn({ "python3", "-c", program }, { reads = true })
    local port = math.tointeger(tonumber(silent:read()))
    local started = task.now()
    local ports = ("%d,%d"):format(port, server.port)
    local made <close> = connect({ host = "127.0.0.1,127.0.0.1", port = ports }, { timeout = 2 })
    equal(made:facts().port, server.port)
    truthy(task.now() - started > 0.9)
    local failure = failure_of({ port = port, connect_timeout = 1 }, { timeout = 30 })
    equal(failure.kind, "connect")
    matches(failure.message, "timed out")
  end)

  it("waits no longer than was said, and closes what it began", function()
    local folder = scratch()
    local silent <close> = socket.listen(folder .. "/.s.PGSQL.5432")
    local started = task.now()
    local failure = failure_of({ host = folder, port = 5432 }, { timeout = 0.1 })
    equal(failure.kind, "timeout")
    truthy(task.now() - started < 5)
    local peer <close> = silent:accept()
    truthy(#peer:read() > 8) -- what it wanted to begin with
    equal(peer:read(), nil)
    local waiting = task.spawn(function() connect({ host = folder, port = 5432 }) end)
    task.sleep(0.05)
    waiting:cancel()
    equal(select(2, waiting:wait()).kind, "cancelled")
  end)

  it("says that a server that ends in the middle was not reached", function()
    local folder = scratch()
    local dying <close> = socket.listen(folder .. "/.s.PGSQL.5432")
    local waiting = task.spawn(function() return connect({ host = folder, port = 5432 }) end)
    dying:accept():close()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "connect" })
  end)

  it("stands what is no PostgreSQL", function()
    local folder = scratch()
    local odd <close> = socket.listen(folder .. "/.s.PGSQL.5432")
    for _, answer in ipairs {
      "HTTP/1.1 400 Bad Request\r\n\r\n", ("\255"):rep(100), "E\255\255\255\255", "R\0\0\0\12\0\0\0\99junk",
    } do
      local waiting = task.spawn(function() return connect({ host = folder, port = 5432 }, { timeout = 2 }) end)
      local peer = odd:accept()
      peer:read()
      peer:write(answer)
      peer:close()
      local ok, failure = waiting:wait()
      equal(ok, false)
      truthy(failure.kind == "connect" or failure.kind == "auth" or error(failure.kind))
    end
  end)

  it("refuses settings that it cannot take, before anything is sent", function()
    local function refused(other, pattern) matches(failure_of(other), pattern) end
    refused({ hots = "x" }, "no setting is named 'hots'")
    refused({ client_encoding = "LATIN1" }, "no setting is named 'client_encoding'")
    refused({ port = 1.5 }, "the setting port is a text, an integer or a secret")
    refused({ user = {} }, "the setting user is a text, an integer or a secret, not a table")
    refused({ user = "a\0b" }, "the setting user has a NUL")
    matches(raises(pg.connect, { "x" }), "settings are named")
    matches(raises(pg.connect), "table expected")
    matches(raises(connect, {}, { timeuot = 1 }), "no option is named 'timeuot'")
    local failure = failure_of { sslmode = "sometimes" }
    equal(failure.kind, "connect")
    matches(failure.message, 'invalid sslmode value: "sometimes"')
    equal(failure_of({ dbname = "host=/tmp dbname=postgres" }).kind, "missing") -- is no list of settings, either
  end)

  it("has keep-alives, so that a peer that is gone is found out", function()
    local connection <close> = connect()
    local port = server.port
    local seen = sshd.run { "ss", "-Htno", "state", "established", ("dport = :%d"):format(port) }
    matches(seen, "timer:%(keepalive,1[0-5]sec")
    equal(connection:query "select 1".rows, { { 1 } })
  end)

  it("may be called by many at once", function()
    local tasks = {}
    for i = 1, 20 do tasks[i] = task.spawn(function() return facts({ host = "localhost" }).backend end) end
    local backends = {}
    for _, one in ipairs(tasks) do backends[select(2, one:wait())] = true end
    local count = 0
    for _ in pairs(backends) do count = count + 1 end
    equal(count, 20)
  end)
end)

describe("pg.connect with TLS", function()
  it("holds the certificate against the name that was given", function()
    local good = { host = "localhost", sslmode = "verify-full", sslrootcert = server.ca }
    equal(facts(good).host, "localhost")
    good.hostaddr = "127.0.0.1"
    matches(facts(good).tls, "^TLS")
    local failure = failure_of { sslmode = "verify-full", sslrootcert = server.ca }
    equal(failure.kind, "auth")
    matches(failure.message, 'server certificate for "localhost" .*does not match host name "127.0.0.1"')
    matches(facts({ sslmode = "verify-ca", sslrootcert = server.ca }).tls, "^TLS")
  end)

  it("refuses a certificate that another authority has signed", function()
    local failure = failure_of { host = "localhost", sslmode = "verify-full", sslrootcert = server.other_ca }
    equal(failure.kind, "auth")
    matches(failure.message, "certificate verify failed")
    failure = failure_of { host = "localhost", sslmode = "verify-full", sslrootcert = scratch() .. "/none" }
    matches(failure.message, "root certificate file .* does not exist")
    equal(failure.kind, "auth")
  end)
end)

describe("pg.connect as libpq's own files and variables have it", function()
  -- Runs in another neap, with that environment: what pg.connect(settings) then is.
  local function elsewhere(given, env)
    local path = scratch() .. "/elsewhere.lua"
    sshd.write(path, ([[it("connects", function()
      local json = require "native.json"
      local ok, made = pcall(require("native.pg").connect, json.decode %q)
      print(json.encode(ok and made:facts() or { kind = made.kind, message = made.message }))
    end)]]):format(json.encode(given)))
    local result = process.run({ process.executable(), "test", path }, { env = env, reads = true })
    return json.decode(result.out:match "[^\n]+")
  end

  local function private(name, text)
    local path = scratch() .. "/" .. name
    sshd.write(path, text)
    sshd.run { "chmod", "600", path }
    return path
  end

  local function pgpass(host, password)
    return private("pgpass", ("%s:%d:*:postgres:%s\n"):format(host, server.port, (password:gsub("[\\:]", "\\%0"))))
  end

  it("takes the password from the password file, by the name that was given", function()
    equal(facts({ password = false, passfile = pgpass("127.0.0.1", server.password) }).user, "postgres")
    local by_name = pgpass("localhost", server.password)
    equal(facts({ host = "localhost", password = false, passfile = by_name }).user, "postgres")
    equal(failure_of({ password = false, passfile = by_name }).kind, "auth")
    local wrong = pgpass("127.0.0.1", "wrong")
    local failure = failure_of { password = false, passfile = wrong }
    equal(failure.kind, "auth")
    matches(failure.message, "password retrieved from file")
    local env = { PGPASSFILE = pgpass("127.0.0.1", server.password) }
    equal(elsewhere(settings { password = false }, env).user, "postgres")
  end)

  it("takes variables of the environment for what is not set", function()
    local env = { PGHOST = "localhost", PGPORT = tostring(server.port), PGUSER = "postgres", PGDATABASE = "template1",
      PGPASSWORD = server.password, PGAPPNAME = "elsewhere", PGSSLMODE = "verify-full", PGSSLROOTCERT = server.ca }
    local made = elsewhere({}, env)
    equal({ made.host, made.port, made.database, made.parameters.application_name },
      { "localhost", server.port, "template1", "elsewhere" })
    matches(made.tls, "^TLS")
    equal(elsewhere({ host = "127.0.0.1", dbname = "postgres" }, env).kind, "auth") -- no certificate is for that
    env.PGHOST = "no-such-host.invalid"
    matches(elsewhere({}, env).message, "^no%-such%-host.invalid: the name cannot be resolved")
    env.PGHOSTADDR = "127.0.0.1"
    equal(elsewhere({ sslmode = "require" }, env).host, "no-such-host.invalid")
  end)

  it("takes a service from the service file, its host too", function()
    local services = "[mine]\nhost=localhost\nport=%d\nuser=postgres\ndbname=template1\n"
    local file = private("services", services:format(server.port))
    local env = { PGSERVICEFILE = file, PGPASSWORD = server.password }
    local made = elsewhere({ service = "mine" }, env)
    equal({ made.host, made.database }, { "localhost", "template1" })
    equal(elsewhere({ service = "mine", dbname = "postgres" }, env).database, "postgres")
    local failure = elsewhere({ service = "yours" }, env)
    equal(failure.kind, "connect")
    matches(failure.message, 'definition of service "yours" not found')
    env.PGSERVICE = "mine"
    equal(elsewhere({}, env).database, "template1")
  end)
end)
