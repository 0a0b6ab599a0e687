local fixture = require "tests.targets.fixture"
local hosts   = require "neap.targets.host"
local mariadb = require "tests.mariadb"
local mysql   = require "native.mysql"
local process = require "native.process"
local sshd    = dofile("tests/sshd.lua")

local server

after_each(function()
  if server then server.stop() end
  server = nil
end)

--- Calls fn(run) within a run with a host `far`, behind a real sshd.
local function within(fn)
  local entries
  server, entries = sshd.far(scratch())
  local run = fixture.run(entries)
  return fixture.within(run, changing, function() return fn(run) end)
end

local function connect(database, opened)
  return mysql.connect { host = "127.0.0.1", port = opened.port, user = "root", password = database.password,
    ssl_ca = database.ca, defaults_file = false }
end

describe("hosts.tunnel", function()
  it("leads to a database that the host reaches, by one port for the whole run", function()
    local database = mariadb.start()
    within(function()
      local opened = hosts.tunnel("far", "127.0.0.1", database.port)
      equal(hosts.tunnel({ name = "far" }, "127.0.0.1", database.port).port, opened.port)
      local c <close> = connect(database, opened)
      equal(c:query "select 1".rows, { { 1 } })
    end)
  end)

  it("closes with the run", function()
    local database = mariadb.start()
    local opened
    local c <close> = within(function()
      opened = hosts.tunnel("far", "127.0.0.1", database.port)
      return connect(database, opened)
    end)
    equal(raises(c.query, c, "select 1").kind, "lost")
    equal(raises(connect, database, opened).kind, "connect")
  end)

  it("is another one when it was closed", function()
    local database = mariadb.start()
    within(function()
      local opened = hosts.tunnel("far", "127.0.0.1", database.port)
      opened.close()
      opened.close()
      equal(raises(connect, database, opened).kind, "connect")
      local c <close> = connect(database, hosts.tunnel("far", "127.0.0.1", database.port))
      equal(c:query "select 1".rows, { { 1 } })
    end)
  end)

  it("is lost with its session, and made anew by the next call", function()
    local database = mariadb.start()
    within(function()
      local c <close> = connect(database, hosts.tunnel("far", "127.0.0.1", database.port))
      local text = "ss -Htnp state established sport = :%d | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | "
        .. "xargs kill -9"
      process.run { "sh", "-c", text:format(server.port) }
      equal(raises(c.query, c, "select 1").kind, "lost")
      local d <close> = connect(database, hosts.tunnel("far", "127.0.0.1", database.port))
      equal(d:query "select 1".rows, { { 1 } })
    end)
  end)

  it("says what the host said of an address it cannot reach", function()
    within(function()
      local opened = hosts.tunnel("far", "127.0.0.1", 1)
      equal(raises(mysql.connect, { host = "127.0.0.1", port = opened.port, user = "x", defaults_file = false }).kind,
        "connect")
      matches(opened.failure(), "%a+")
    end)
  end)

  it("is of no use on this machine itself", function()
    within(function() matches(raises(hosts.tunnel, "local", "127.0.0.1", 1), "local needs no tunnel") end)
  end)
end)
