--- Connections of a run to its databases: whom they trust, how many there are, what is left of them.
local databases = require "neap.targets.database"
local fs        = require "native.fs"
local process   = require "native.process"
local sshd      = dofile("tests/sshd.lua")
local task      = require "native.task"
local world     = require "tests.targets.sql_world"

local SESSIONS = {
  postgres = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
  mysql = "select count(*) from information_schema.processlist where command <> 'Daemon' and id <> connection_id()",
}
local SELF = { postgres = "select pg_backend_pid()", mysql = "select connection_id()" }

for _, engine in ipairs { "postgres", "mysql" } do
  describe("a database on " .. engine, function()
    local folder

    before_each(function() folder = scratch() end)

    local function within(more, fn)
      local run, server = world.run(engine, folder, more)
      return world.within(run, changing, fn, run, server)
    end

    local function session(purpose)
      return databases.within("main", purpose or "read", function(connection)
        return connection:query(SELF[engine]).rows[1][1]
      end)
    end

    --- Sessions end a moment after they are let go.
    local function sessions(wanted)
      local now
      for _ = 1, 100 do
        now = math.tointeger(tonumber((world.sql(engine, SESSIONS[engine]))))
        if now == wanted then break end
        task.sleep(0.05)
      end
      return now
    end

    it("is reached by one connection for reads and one for changes, which end with the run", function()
      within({}, function()
        local first = session()
        equal(session(), first)
        truthy(session "change" ~= first)
        equal(session(), first)
        equal(sessions(2), 2)
      end)
      equal(sessions(0), 0)
    end)

    it("is reached by as many connections as there are tasks that want one", function()
      within({}, function()
        local function held()
          return databases.within("main", "read", function(connection)
            task.sleep(0.2)
            return connection:query(SELF[engine]).rows[1][1]
          end)
        end
        local one, two = task.spawn(held), task.spawn(held)
        local _, first = one:wait()
        local _, second = two:wait()
        truthy(first ~= second)
      end)
      equal(sessions(0), 0)
    end)

    it("lets no certificate pass that another authority has signed, or that is for another name", function()
      local _, server = world.entry(engine, folder)
      within({ ca = server.other_ca }, function()
        local failure = raises(session)
        truthy(failure.kind == "auth" or failure.kind == "connect")
        equal(failure.host, "main")
      end)
      within({ host = engine == "postgres" and "127.0.0.1" or "localhost" }, function()
        truthy(({ auth = true, connect = true })[raises(session).kind])
      end)
    end)

    it("is not told a wrong password in any message", function()
      within({}, function(run)
        fs.write(folder .. "/wrong", "wrong-password-of-mine", { mode = "0600" })
        run.environment.databases.main.password = "file:" .. folder .. "/wrong"
        local failure = raises(session)
        equal(failure.kind, "auth")
        equal((failure.message .. (failure.hint or "")):find("wrong-password", 1, true), nil)
      end)
    end)

    it("is who it was at the first contact, or refused", function()
      local met = {}
      within({}, function(run)
        function run.meet(_, name, identity) met[name] = identity end
        session()
      end)
      matches(met["database main"], engine == "postgres" and "^system %d+$" or "^server ")
      within({}, function(run)
        function run.meet()
          require("native.error").raise { kind = "denied", message = "another", code = "identity" }
        end
        equal(raises(session).code, "identity")
        equal(sessions(0), 0)
      end)
    end)

    it("is reached anew after its connection broke", function()
      within({}, function(_, server)
        local first = session()
        server.sql((engine == "postgres" and "select pg_terminate_backend(%d)" or "kill %d"):format(first))
        task.sleep(0.2)
        equal(raises(session).kind, "lost")
        truthy(session() ~= first)
      end)
    end)

    it("is known by name within a step alone", function()
      equal(raises(databases.within, "main", "read", function() end).kind, "conflict")
      within({}, function()
        local failure = raises(databases.within, "mian", "read", function() end)
        equal(failure.kind, "missing")
        matches(failure.message, "no database is named mian. Did you mean 'main'")
      end)
    end)

    it("is ended at the server when a read takes longer than it may", function()
      within({ read_timeout = 1 }, function()
        local began = task.now()
        local sleep = engine == "postgres" and "select pg_sleep(20)" or "select sleep(20)"
        local failure = raises(databases.within, "main", "read", function(connection) connection:query(sleep) end)
        truthy(failure.kind == "timeout" or failure.code == "57014" or failure.code == "70100")
        truthy(task.now() - began < 8)
      end)
      equal(sessions(0), 0)
    end)
  end)
end

describe("a database behind a host", function()
  local server

  after_each(function()
    if server then server.stop() end
    server = nil
  end)

  --- A run with the database of that entry, reached by way of a host `far`.
  local function within(engine, more, fn)
    local folder = scratch()
    local hosts
    server, hosts = sshd.far(folder)
    local run = world.run(engine, folder, more)
    run.environment.hosts.far = hosts.far
    return world.within(run, changing, fn, run)
  end

  local function facts()
    return databases.within("main", "read", function(connection) return connection:facts() end)
  end

  it("is reached through a tunnel, with its certificate's name checked", function()
    within("postgres", { via = "far" }, function() truthy(facts().tls) end)
    -- the far host knows the server by that name as well, and its certificate does not
    within("postgres", { via = "far", host = "127.0.0.1" }, function()
      truthy(({ auth = true, connect = true })[raises(facts).kind])
    end)
  end)

  it("is reached through a tunnel without TLS where the environment says so", function()
    within("mysql", { via = "far", tls = "off" }, function() equal(facts().tls, nil) end)
  end)

  it("says which database it is where the host cannot reach it", function()
    within("postgres", { via = "far", port = 1 }, function()
      local failure = raises(facts)
      truthy(({ connect = true, lost = true })[failure.kind])
      equal(failure.host, "main")
    end)
  end)
end)
