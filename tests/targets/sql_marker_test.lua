--- The row that says whether a change by SQL happened: taken once, waited for, and shut.
local databases = require "neap.targets.database"
local marker    = require "neap.targets.sql.marker"
local task      = require "native.task"
local world     = require "tests.targets.sql_world"

local TABLE = "drop table if exists counter; create table counter (n int primary key); insert into counter values (0)"

local CASES = {
  { "postgres", "postgres", {} }, { "redshift", "postgres", { dialect = "redshift" } }, { "mysql", "mysql", {} },
}

for _, case in ipairs(CASES) do
  local name, engine, more = table.unpack(case)
  describe(name, function()
    local folder

    before_each(function()
      folder = scratch()
      local schema = engine == "postgres" and "drop schema if exists neap cascade" or "drop database if exists neap"
      world.sql(engine, schema)
      world.sql(engine, TABLE)
    end)

    local function within(fn)
      local run, server = world.run(engine, folder, more)
      return world.within(run, changing, function()
        marker.prepare { database = "main" }
        return fn(function(witness) return { witness = witness, timeout = 60 } end, run, server)
      end)
    end

    local function add(connection) connection:execute "update counter set n = n + 1" end

    local function count() return (world.sql(engine, "select sum(n) from counter"):gsub("\n", "")) end

    local function take(witness, intent) return marker.take({ database = "main" }, witness, intent or {}) end

    --- fn(call) in a task, held in its transaction before `release` is called.
    local function held(witness, call, fn)
      local at, go = false, false
      local running = task.spawn(pcall, marker.transaction, "main", call(witness), function(connection)
        fn(connection)
        at = true
        while not go do task.sleep(0.02) end
        return { done = "by it" }
      end)
      task.deadline(20, function()
        while not at do task.sleep(0.02) end
      end)
      return running, function() go = true end
    end

    it("is done with its result, or closed for ever", function()
      within(function(call)
        equal(marker.transaction("main", call "a", function(connection)
          add(connection)
          return { n = 1 }
        end), { n = 1 })
        local verdict, detail = take "a"
        equal({ verdict, detail }, { "done", { n = 1 } })
        equal(take "b", "void")
        equal(take "b", "void")
        local failure = raises(marker.transaction, "main", call "b", add)
        equal({ failure.kind, failure.code }, { "conflict", "closed" })
        matches(failure.message, "comes too late")
        equal(count(), "1")
      end)
    end)

    it("lets nothing happen twice under one name", function()
      within(function(call)
        marker.transaction("main", call "a", add)
        equal(raises(marker.transaction, "main", call "a", add).code, "closed")
        equal(count(), "1")
      end)
    end)

    it("waits for a transaction that is alive, and says what it became", function()
      within(function(call)
        local running, release = held("a", call, add)
        local taking = task.spawn(take, "a")
        task.sleep(0.3)
        equal(taking:done(), false)
        release()
        local _, verdict, detail = taking:wait()
        equal({ verdict, detail }, { "done", { done = "by it" } })
        local _, ok = running:wait()
        equal({ ok, count() }, { true, "1" })
      end)
    end)

    it("closes after a transaction whose session was killed, of which nothing stays", function()
      within(function(call, _, server)
        local running, release = held("a", call, add)
        local taking = task.spawn(take, "a")
        task.sleep(0.2)
        if engine == "postgres" then
          server.sql "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'"
        else
          local living = "select trx_mysql_thread_id from information_schema.innodb_trx where trx_rows_modified > 1"
          for id in server.sql(living):gmatch "%d+" do server.sql("kill " .. id) end
        end
        release()
        local _, verdict = taking:wait()
        equal(verdict, "void")
        local _, ok, failure = running:wait()
        equal({ ok, failure.kind }, { false, "lost" })
        equal(count(), "0")
        equal(raises(marker.transaction, "main", call "a", add).code, "closed")
      end)
    end)

    it("stays shut to a transaction that began before it was closed and comes late", function()
      within(function(call)
        -- it stood still between its beginning and its first act
        local failure = raises(databases.within, "main", "change", function(connection)
          connection:execute(engine == "postgres" and "begin" or "start transaction")
          connection:query "select 1"
          equal(take "a", "void")
          marker.transaction("main", call "a", add)
        end)
        equal(failure.code, "closed")
        equal(count(), "0")
      end)
    end)

    it("is made once in a run, and forgotten a month after the run's close", function()
      within(function(call, run)
        marker.transaction("main", call "a", add)
        marker.release({ database = "main" }, { database = "main", run = run.uid })
        equal(#marker.rows("main", run.uid), 1)
        local month = 30 * 24 * 3600
        world.sql(engine, ("update neap.effects set closed = closed - %d"):format(month + 60))
      end)
      within(function() equal(world.sql(engine, "select count(*) from neap.effects"), "0\n") end)
    end)

    it("is run again after its server refused a part of it, and nothing of that stays", function()
      within(function(call)
        local failure = raises(marker.transaction, "main", call "a", function(connection)
          add(connection)
          connection:execute "insert into counter values (1)"
        end)
        equal(failure.kind, "conflict")
        matches(failure.message, "^main was rolled back: ")
        equal({ take "a", count() }, { "void", "0" })
        marker.transaction("main", call "b", add)
        equal(count(), "1")
      end)
    end)

    it("ends at the server what takes too long, so that nothing runs on", function()
      within(function(call)
        local sleep = engine == "postgres" and "select pg_sleep(30)" or "select sleep(30)"
        local began = task.now()
        local failure = raises(marker.transaction, "main", { witness = "a", timeout = 1 }, function(connection)
          add(connection)
          connection:execute(sleep)
        end)
        truthy(task.now() - began < 10)
        truthy(failure.kind == "conflict" or failure.kind == "timeout")
        equal({ take "a", count() }, { "void", "0" })
        local running = engine == "postgres"
          and "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' " ..
            "and pid <> pg_backend_pid()"
          or "select count(*) from information_schema.processlist where info like 'select sleep(30)'"
        equal(world.sql(engine, running), "0\n")
        marker.transaction("main", call "b", add)
      end)
    end)

    it("ends at the server what is cancelled, and goes on with another connection", function()
      within(function(call)
        local sleep = engine == "postgres" and "select pg_sleep(31)" or "select sleep(31)"
        local running = task.spawn(marker.transaction, "main", call "a", function(connection)
          add(connection)
          connection:execute(sleep)
        end)
        task.sleep(0.7)
        running:cancel()
        local ok, failure = running:wait()
        equal({ ok, failure.kind }, { false, "cancelled" })
        equal(take "a", "void")
        local alive = engine == "postgres"
          and "select count(*) from pg_stat_activity where query like '%pg_sleep(31)%' and pid <> pg_backend_pid()"
          or "select count(*) from information_schema.processlist where info like 'select sleep(31)'"
        equal(world.sql(engine, alive), "0\n")
        marker.transaction("main", call "b", add)
        equal(count(), "1")
      end)
    end)

    if name == "redshift" then return end -- where one transaction of neap's waits for the other as a whole

    it("names a lock that somebody else holds", function()
      within(function(call)
        local running, release = held("a", call, add)
        local failure = raises(marker.transaction, "main", call "b", function(connection)
          connection:execute(engine == "postgres" and "set local lock_timeout = '200ms'"
            or "set session innodb_lock_wait_timeout = 1")
          add(connection)
        end)
        release()
        running:wait()
        equal(failure.kind, "conflict")
        equal(failure.hint, "somebody else holds a lock that it waited for")
        equal(count(), "1")
      end)
    end)

    it("names a deadlock, of whose loser nothing stays", function()
      world.sql(engine, "insert into counter values (100)")
      within(function(call)
        local function crosswise(first, second)
          return function(connection)
            connection:execute("update counter set n = n + 1 where n = " .. first)
            task.sleep(0.5)
            connection:execute("update counter set n = n + 1 where n = " .. second)
          end
        end
        local one = task.spawn(pcall, marker.transaction, "main", call "a", crosswise(0, 100))
        local two = task.spawn(pcall, marker.transaction, "main", call "b", crosswise(100, 0))
        local _, first, first_failure = one:wait()
        local _, second, second_failure = two:wait()
        equal({ first ~= second }, { true })
        local failure = first and second_failure or first_failure
        matches(failure.hint, "^a deadlock")
        equal(failure.kind, "conflict")
        equal({ take(first and "a" or "b"), take(first and "b" or "a") }, { "done", "void" })
      end)
    end)
  end)
end

describe("a statement that commits by itself", function()
  for _, engine in ipairs { "postgres", "mysql" } do
    local sleep = engine == "postgres" and "select pg_sleep(0.8)" or "select sleep(0.8)"

    before_each(function()
      world.sql(engine, engine == "postgres" and "drop schema if exists neap cascade" or "drop database if exists neap")
    end)

    local function within(fn)
      local run, server = world.run(engine, scratch())
      return world.within(run, changing, function()
        marker.prepare { database = "main" }
        return fn(server)
      end)
    end

    local function outside(id, text)
      return marker.outside("main", { witness = id, timeout = 60 }, text, function() return {} end,
        function() return { ok = true } end)
    end

    local function take(id, intent) return marker.take({ database = "main" }, id, intent or {}) end

    it("is seen to run on " .. engine .. ", then to be done", function()
      within(function()
        local id = "outside-" .. engine .. math.random(1 << 30)
        local running = task.spawn(pcall, outside, id, sleep)
        task.sleep(0.3)
        equal((take(id)), "running")
        local _, ok = running:wait()
        truthy(ok)
        local verdict, detail = take(id)
        equal({ verdict, detail }, { "done", { ok = true } })
      end)
    end)

    if engine == "postgres" then
      it("finds no witness in a table that has lost its key", function()
        within(function() end)
        world.sql(engine, "alter table neap.effects drop constraint effects_pkey")
        matches(raises(within, function() end).message, "has no primary key")
      end)
    end

    it("that was refused by " .. engine .. " may have done a part, and is asked about by its query", function()
      within(function()
        local id = "outside-" .. engine .. math.random(1 << 30)
        equal(raises(outside, id, "select no_such_column").kind, "remote")
        equal((take(id)), "partial")
        -- one that was begun, and whose session is gone
        world.sql(engine, ("update neap.effects set state = 'open', session = '0' where id = '%s'"):format(id))
        equal((take(id)), "unknown")
        equal((take(id, { data = { done = "select 1" } })), "done")
        equal((take(id, { data = { done = "select 0" } })), "void")
        equal((take(id, { data = { done = "select 0" }, undoes = 3 })), "done")
      end)
    end)
  end
end)
