--- Servers that are not PostgreSQL, or mean no good: a few lines of Lua that speak the protocol.
local pg       = require "native.pg"
local postgres = require "tests.postgres"
local process  = require "native.process"
local socket   = require "native.socket"
local task     = require "native.task"

local function message(kind, body) return kind .. string.pack(">I4", #body + 4) .. body end

local HELLO = message("R", string.pack(">I4", 0))
local READY = message("Z", "I")

local function parameter(name, value) return message("S", name .. "\0" .. value .. "\0") end

local function done(tag) return message("C", tag .. "\0") end

local function describe_rows(...)
  local parts = { string.pack(">I2", select("#", ...)) }
  for _, type in ipairs { ... } do parts[#parts + 1] = "x\0" .. string.pack(">I4I2I4I2I4I2", 0, 0, type, 0, 0, 0) end
  return message("T", table.concat(parts))
end

local function row(...)
  local parts = { string.pack(">I2", select("#", ...)) }
  for _, value in ipairs { ... } do parts[#parts + 1] = string.pack(">s4", value) end
  return message("D", table.concat(parts))
end

-- The next connection that wants to begin. Others ask to stop what an earlier one was to do.
local function accept(listening)
  local peer = listening:accept()
  if peer:read():sub(5, 8) ~= string.pack(">I4", 80877102) then return peer end
  peer:close()
  return accept(listening)
end

-- Serves one connection: begins it with those parameters, and answers what is said to it, one after the other, by
-- these. The task returns what it was told. The connection is closed when the answers are used up.
local function serve(listening, parameters, answers)
  return task.spawn(function()
    local said = {}
    local peer <close> = accept(listening)
    peer:write(HELLO .. parameters .. READY)
    for _, answer in ipairs(answers) do
      said[#said + 1] = peer:read()
      peer:write(answer)
    end
    peer:read()
    return said
  end)
end

local MODERN = parameter("server_version", "15.1") .. parameter("DateStyle", "ISO, MDY")
local BEGUN  = done "BEGIN" .. message("Z", "T")
local SET    = done "BEGIN" .. done "SET" .. message("Z", "T")
local OVER   = done "COMMIT" .. READY

local folder, listening

before_each(function()
  folder = scratch()
  listening = socket.listen(folder .. "/.s.PGSQL.5432")
end)

after_each(function() listening:close() end)

local function connect() return pg.connect { host = folder, port = 5432, user = "x", password = "x", dbname = "x" } end

-- What a query raises, or gives, where this is the answer to its statement.
local function answered(answer, ...)
  local server = serve(listening, MODERN, { SET, answer .. message("Z", "T"), ... })
  local connection <close> = connect()
  local ok, result = pcall(connection.query, connection, "select 1")
  connection:close()
  server:wait()
  return ok, result
end

describe("pg with a server that is no good", function()
  it("takes no value that is not what its type says", function()
    for type, values in pairs {
      [23] = { "", "1x", "x", "1.5", "99999999999999999999999", ("9"):rep(100000) }, [701] = { "", "1,5", "one" },
      [17] = { "\\xf", "\\xzz", "\\x0", "\\9", "\\" },
      [1007] = { "", "{", "{1", "{1,", "{1,}", "{1}x", "{{1}", "1", "{x}", "[0:1]", "[0:1]=", ("{"):rep(100) },
      [1009] = { '{"', '{"a', '{"a\\', '{"a"b}', "{,}}" },
    } do
      for _, value in ipairs(values) do
        local ok, failure = answered(describe_rows(type) .. row(value) .. done "SELECT 1", OVER)
        equal({ value, ok, failure.kind }, { value, false, "protocol" })
        truthy(#failure.message < 200)
      end
    end
  end)

  it("raises what is no message of the protocol", function()
    for _, answer in ipairs { "junk and no message", "D\255\255\255\255", message("D", "\0\1"), row "1", "T\0\0\0\4",
      describe_rows(23) .. row("1", "2"), describe_rows(23) .. message("D", "\0\1\127\255\255\255") } do
      local ok, failure = answered(answer)
      equal(ok, false)
      truthy(failure.kind == "lost" or failure.kind == "remote" or error(failure.kind))
    end
  end)

  it("is lost when it ends anywhere", function()
    local whole = SET .. describe_rows(23) .. row "1" .. done "SELECT 1" .. message("Z", "T")
    for _, length in ipairs { 1, #SET - 1, #SET, #SET + 3, #whole - 20, #whole - 1 } do
      local server = task.spawn(function()
        local peer <close> = accept(listening)
        peer:write(HELLO .. MODERN .. READY)
        peer:read()
        peer:write(whole:sub(1, math.min(length, #SET)))
        if length > #SET then
          peer:read()
          peer:write(whole:sub(#SET + 1, length))
        end
      end)
      local connection <close> = connect()
      equal(raises(connection.query, connection, "select 1").kind, "lost")
      server:wait()
    end
  end)

  it("tells a server that ends the session from one that refuses a statement", function()
    local function failed(fields) return message("E", fields .. "\0") end
    local function kind_of(severity, code)
      local answer = failed(("S%s\0V%s\0C%s\0Mno\0"):format(severity, severity, code))
      local _, failure = answered(answer, done "ROLLBACK" .. READY)
      return failure.kind
    end
    equal(kind_of("ERROR", "22012"), "remote")
    equal(kind_of("ERROR", "40001"), "remote")
    equal(kind_of("FATAL", "22012"), "lost")
    equal(kind_of("ERROR", "57P01"), "lost")
    equal(kind_of("ERROR", "08006"), "lost")
    local _, failure = answered(failed "SFEHLER\0C22012\0M" .. ("x"):rep(10), done "ROLLBACK" .. READY)
    equal(failure.kind, "lost")
  end)

  it("stands one that says more than it was asked", function()
    local aside = message("N", "SNOTICE\0Mhear\0\0") .. message("A", "\0\0\0\1c\0p\0")
    local ok, result = answered(aside .. describe_rows(23) .. row "7" .. done "SELECT 1", OVER)
    equal({ ok, result.rows }, { true, { { 7 } } })
    ok, result = answered(describe_rows(23, 25) .. row("1", "a") .. done "SELECT 1", OVER)
    equal({ ok, result.columns, result.rows }, { true, { "x", "x" }, { { 1, "a" } } })
  end)
end)

describe("pg with an old server", function()
  it("has it write dates in one form and all digits", function()
    local old = parameter("server_version", "8.0.2") .. parameter("DateStyle", "German")
    local server = serve(listening, old, { done "SET" .. done "SET" .. READY, SET, describe_rows(23) .. row "1" ..
      done "SELECT" .. message("Z", "T"), OVER })
    local connection <close> = connect()
    equal(connection:facts().server_version, 80002)
    local result = connection:query "select 1"
    equal({ result.rows, result.tag, result.affected }, { { { 1 } }, "SELECT" })
    connection:close()
    local _, said = server:wait()
    equal(said[1], message("Q", "set datestyle = 'ISO'; set extra_float_digits = 2\0"))
    equal(said[2], message("Q", "begin read only; set local statement_timeout = 65000\0"))
    equal(said[4], message("Q", "commit\0"))
  end)
end)

describe("pg over TLS", function()
  it("reads what lies in records that are longer than PostgreSQL's own", function()
    local server = postgres.start()
    -- a row that is cut, and then a record that libpq takes only a part of at once
    local program = [[
import socket, ssl, struct, sys, time
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[1], sys.argv[2])
def message(kind, body): return kind + struct.pack(">I", len(body) + 4) + body
listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen(1)
print(listening.getsockname()[1], flush=True)
peer, _ = listening.accept(); peer.recv(8); peer.sendall(b"S")
peer = context.wrap_socket(peer, server_side=True); peer.recv(4096)
text = lambda *parts: b"".join(part.encode() + b"\0" for part in parts)
peer.sendall(message(b"R", struct.pack(">I", 0)) + message(b"S", text("server_version", "15.1")) +
  message(b"S", text("DateStyle", "ISO")) + message(b"Z", b"I"))
row = lambda size: message(b"D", struct.pack(">HI", 1, size) + b"x" * size)
while True:
    asked = peer.recv(65536)
    if not asked: break
    if asked[:1] != b"P":
        peer.sendall(message(b"C", b"BEGIN\0") + message(b"Z", b"T" if b"begin" in asked else b"I"))
        continue
    answer = message(b"T", struct.pack(">H", 1) + text("x") + struct.pack(">IHIHIH", 0, 0, 25, 0, 0, 0))
    answer += row(12000) + b"".join(row(400) for i in range(25)) + message(b"C", b"SELECT 26\0") + message(b"Z", b"T")
    peer.sendall(answer[:7000]); time.sleep(0.1); peer.sendall(answer[7000:])]]
    local argv = { "python3", "-c", program, server.folder .. "/server.crt", server.folder .. "/server.key" }
    local other <close> = process.spawn(argv, { reads = true })
    local port = math.tointeger(tonumber(other:read()))
    local settings = { host = "127.0.0.1", port = port, user = "x", dbname = "x", sslmode = "require" }
    local connection <close> = pg.connect(settings)
    equal(#connection:query("select 1", {}, { timeout = 5 }).rows, 26)
  end)
end)
