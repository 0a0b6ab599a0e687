--- Statements of native.pg; there are pg_connect_test.lua, pg_value_test.lua and pg_copy_test.lua beside it.
local eventually = require "tests.eventually"
local fault      = require "native.error"
local memory     = require "native.memory"
local pg         = require "native.pg"
local postgres   = require "tests.postgres"
local task       = require "native.task"

local server

local function connect(settings)
  local all = { host = server.socket, port = server.port, user = "postgres", dbname = "postgres" }
  for key, value in pairs(settings or {}) do all[key] = value end
  return pg.connect(all)
end

local function execute(connection, ...) return changing(connection.execute, connection, ...) end

-- The one value of a query.
local function value(connection, ...) return connection:query(...).rows[1][1] end

-- What the server says is running, beside whoever asks.
local function running(text)
  return server.sql(("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() " ..
    "and query like '%%%s%%'"):format(text))
end

before_each(function() server = postgres.start() end)

describe("pg results", function()
  it("have columns, rows by position, what was done and to how many", function()
    local connection <close> = connect()
    equal(connection:query "select 1 as a, 2 as a where false",
      { columns = { "a", "a" }, types = { "int4", "int4" }, rows = {}, tag = "SELECT 0" })
    equal(execute(connection, "create temporary table t (a int, b text)"),
      { columns = {}, types = {}, rows = {}, tag = "CREATE TABLE" })
    equal(execute(connection, "insert into t values (1, 'x'), (2, 'y') returning b, a"),
      { columns = { "b", "a" }, types = { "text", "int4" }, rows = { { "x", 1 }, { "y", 2 } }, tag = "INSERT 0 2",
        affected = 2 })
    equal(execute(connection, "update t set a = 0 where a > $1", { 1 }).affected, 1)
    equal(execute(connection, "delete from t where false").affected, 0)
    equal(execute(connection, "create temporary table u as select * from t").affected, 2)
    equal(execute(connection, "").tag, nil)
  end)

  it("are refused where they are larger than is wanted, and the connection with them", function()
    local connection <close> = connect()
    equal(#connection:query("select generate_series(1, 10)", {}, { max_rows = 10 }).rows, 10)
    local long = "select generate_series(1, 100000000)"
    local failure = raises(connection.query, connection, long, {}, { max_rows = 1000 })
    equal(failure.kind, "protocol")
    matches(failure.message, "more than 1000 rows; rows%(%) takes them")
    eventually(function() return running "generate_series" == "0\n" end)
    matches(raises(connection.query, connection, "select 1"), "connection is closed")
    local other <close> = connect()
    local wide = "select repeat('x', 1000) from generate_series(1, 100)"
    failure = raises(other.query, other, wide, {}, { max_bytes = 5000 })
    matches(failure.message, "more than 5000 bytes")
  end)

  it("of a change that are too large say that it was carried out", function()
    local connection <close> = connect()
    execute(connection, "create temporary table t (a int)")
    local many = "insert into t select generate_series(1, 50) returning a"
    local failure = raises(execute, connection, many, {}, { max_rows = 5 })
    equal(failure.kind, "protocol")
    matches(failure.message, "was carried out, but its result has more than 5 rows")
    equal(value(connection, "select count(*) from t"), 50)
  end)
end)

describe("pg statements", function()
  it("that read cannot write", function()
    local connection <close> = connect()
    server.sql "create table if not exists kept (a int)"
    for _, text in ipairs { "insert into kept values (1)", "create table other (a int)", "drop table kept",
      "with x as (delete from kept returning 1) select * from x", "select nextval('s')" } do
      if text:find "nextval" then server.sql "create sequence if not exists s" end
      local failure = raises(connection.query, connection, text)
      equal({ failure.kind, failure.code }, { "denied", "25006" })
    end
    equal(raises(connection.query, connection, "commit; drop table kept").code, "42601")
    equal(raises(connection.query, connection, "select 1; select 2").code, "42601")
    equal(connection:facts().in_transaction, false)
    equal(value(connection, "select count(*) from kept"), 0)
    server.sql "drop table kept; drop sequence s"
  end)

  it("that change need leave", function()
    local connection <close> = connect()
    for _, method in ipairs { "execute", "simple", "series", "copy_in" } do
      local failure = raises(connection[method], connection, "select 1", function() end)
      equal(failure.kind, "denied")
      matches(failure.message, "^pg." .. method .. " changes its target")
    end
    equal(value(connection, "select 1"), 1)
  end)

  it("that read need leave inside a transaction, for that may write", function()
    local connection <close> = connect()
    execute(connection, "begin")
    equal(connection:facts().in_transaction, true)
    for _, method in ipairs { "query", "rows", "copy_out" } do
      equal(raises(connection[method], connection, "select 1", method == "copy_out" and print or nil).kind, "denied")
    end
    execute(connection, "create table gone (a int)")
    equal(changing(value, connection, "select count(*) from gone"), 0)
    equal(changing(raises, connection.query, connection, "select 1/0").code, "22012")
    equal(changing(raises, connection.query, connection, "select 1").code, "25P02")
    execute(connection, "rollback")
    equal(connection:facts().in_transaction, false)
    equal(raises(connection.query, connection, "select * from gone").code, "42P01")
  end)

  it("are one a call", function()
    local connection <close> = connect()
    equal(raises(execute, connection, "create table a (a int); create table b (a int)").code, "42601")
    equal(raises(connection.query, connection, "select * from a").code, "42P01")
    equal(changing(connection.simple, connection, "create temporary table a (a int)").tag, "CREATE TABLE")
    equal(changing(connection.simple, connection, "insert into a values (1) returning a").rows, { { 1 } })
    matches(raises(changing, connection.simple, connection, "select 1; select 2"), "2 statements, and all were carried")
    equal(value(connection, "select 1"), 1)
  end)

  it("are many in a series, carried out up to the one that is refused", function()
    local connection <close> = connect()
    local function series(...) return changing(connection.series, connection, ...) end
    equal(series { "create temporary table a (n int unique) -- a;b", "select n from generate_series(1, 1000) n",
      "begin", "insert into a values (1)", "commit" }, 5)
    local done, failure, at = series { "begin", "insert into a values (2) /* é */", "commit", "begin",
      "insert into a\n  values (1)", "commit", "insert into a values (3)" }
    equal({ done, at, failure.kind, failure.code }, { 4, 5, "remote", "23505" })
    equal(failure.hint, "Key (n)=(1) already exists.")
    equal(connection:facts().in_transaction, true)
    execute(connection, "rollback")
    equal(value(connection, "select string_agg(n::text, ' ') from a"), "1 2")
    done, failure, at = series { "insert into a values (4)", "insert into a values (length('é')),\n (m)", "select 1" }
    equal({ done, at }, { 1, 2 })
    equal(failure.message, 'column "m" does not exist (line 2, column 3)')
    equal(value(connection, "select max(n) from a"), 2)
    equal(connection:facts().in_transaction, false)
  end)

  it("are not begun in a series of which one cannot be read, which is named", function()
    local connection <close> = connect()
    execute(connection, "create temporary table a (n int)")
    local done, failure, at = changing(connection.series, connection,
      { "insert into a values (1)", "insert into a values (2)", "select 'open" })
    equal({ done, at, failure.code }, { 0, 3, "42601" })
    done, failure, at = changing(connection.series, connection,
      { "insert into a values (1)", "insert into é\n valeus (2)", "select 1" })
    equal({ done, at, failure.message }, { 0, 2, 'syntax error at or near "valeus" (line 2, column 2)' })
    equal(value(connection, "select count(*) from a"), 0)
  end)

  it("in a series take no copy, no NUL, no number, and end with their session", function()
    local connection <close> = connect()
    matches(raises(changing, connection.series, connection, { "select 1", "a\0b" }), "holds a NUL")
    matches(raises(changing, connection.series, connection, { "select 1", 7 }), "holds what is no text")
    matches(raises(changing, connection.series, connection, {}), "holds no text")
    equal(raises(changing, connection.series, connection, { "select pg_sleep(60)" }, { timeout = 0.1 }).kind, "timeout")
    local other <close> = connect()
    matches(raises(changing, other.series, other, { "select 1", "copy (select 1) to stdout" }), "copies rows")
    local last <close> = connect()
    equal(raises(changing, last.series, last, { "select 1", "select pg_terminate_backend(pg_backend_pid())",
      "select 2" }).kind, "lost")
  end)

  it("that copy are refused where rows are not taken", function()
    local connection <close> = connect()
    matches(raises(connection.query, connection, "copy (select 1) to stdout"), "use copy_in or copy_out")
    local other <close> = connect()
    execute(other, "create temporary table x (a int)")
    matches(raises(execute, other, "copy x from stdin"), "use copy_in or copy_out")
  end)

  it("that fail say why, where, and what the server knows", function()
    local connection <close> = connect()
    local failure = raises(connection.query, connection, "select 'é',\n  wrong\nfrom x")
    equal({ failure.kind, failure.code, failure.host }, { "remote", "42P01", server.socket })
    equal(failure.message, 'relation "x" does not exist (line 3, column 6)')
    failure = raises(connection.query, connection, "select 'é', lenth('a')")
    equal(failure.message, "function lenth(unknown) does not exist (line 1, column 13)")
    matches(failure.hint, "You might need to add explicit type casts")
    execute(connection, "create temporary table t (a int primary key, b int check (b > 0))")
    execute(connection, "insert into t values (1, 1)")
    failure = raises(execute, connection, "insert into t values (1, 1)")
    equal({ failure.kind, failure.code, failure.hint }, { "remote", "23505", "Key (a)=(1) already exists." })
    equal(raises(execute, connection, "insert into t values (2, 0)").code, "23514")
    local refusing = "do $$ begin raise exception 'no' using errcode = 'ZZ001', hint = 'try'; end $$"
    failure = raises(execute, connection, refusing)
    equal({ failure.kind, failure.code, failure.message, failure.hint }, { "remote", "ZZ001", "no", "try" })
    matches(failure.output, "PL/pgSQL function inline_code_block line 1 at RAISE")
    equal(value(connection, "select count(*) from t"), 1)
  end)

  it("that lose to others say so by their code", function()
    server.sql "create table if not exists fought (id int primary key, n int); insert into fought values (1, 0), (2, 0)"
    local one <close> = connect()
    local two <close> = connect()
    execute(one, "begin isolation level serializable")
    execute(two, "begin isolation level serializable")
    for _, connection in ipairs { one, two } do changing(value, connection, "select sum(n) from fought") end
    execute(one, "update fought set n = 1 where id = 1")
    execute(two, "update fought set n = 1 where id = 2")
    execute(one, "commit")
    local failure = raises(execute, two, "commit")
    equal({ failure.kind, failure.code }, { "remote", "40001" })
    execute(one, "begin")
    execute(one, "update fought set n = 5 where id = 1")
    execute(two, "set lock_timeout = '50ms'")
    failure = raises(execute, two, "update fought set n = 6 where id = 1")
    equal({ failure.kind, failure.code }, { "remote", "55P03" })
    execute(two, "set lock_timeout = 0")
    execute(two, "begin")
    execute(two, "update fought set n = 7 where id = 2")
    execute(one, "set deadlock_timeout = '100ms'")
    execute(two, "set deadlock_timeout = '100ms'")
    local other = task.spawn(function() return changing(one.execute, one, "update fought set n = 8 where id = 2") end)
    task.sleep(0.02)
    local ok, mine = pcall(execute, two, "update fought set n = 9 where id = 1")
    execute(two, "rollback")
    local good, others = other:wait()
    execute(one, "rollback")
    truthy(ok ~= good)
    equal((ok and others or mine).code, "40P01")
    server.sql "drop table fought"
  end)

  it("are given up when their time is over, and nothing goes on", function()
    local connection <close> = connect()
    local failure = raises(connection.query, connection, "select pg_sleep(30)", {}, { timeout = 0.1 })
    equal(failure.kind, "timeout")
    eventually(function() return running "pg_sleep" == "0\n" end)
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
    connection:cancel()
    local other <close> = connect()
    failure = raises(execute, other, "create table late as select 1 from pg_sleep(30)", {}, { timeout = 0.1 })
    equal(failure.kind, "timeout")
    eventually(function() return running "pg_sleep" == "0\n" end)
    equal(server.sql "select count(*) from pg_class where relname = 'late'", "0\n")
  end)

  it("that read are ended by the server, too", function()
    local connection <close> = connect()
    equal(value(connection, "show statement_timeout", {}, { timeout = 2 }), "7s")
    equal(value(connection, "show transaction_read_only"), "on")
    equal(changing(connection.simple, connection, "show statement_timeout").rows, { { "0" } })
  end)

  it("are given up when their task is cancelled", function()
    local connection <close> = connect()
    local waiting = task.spawn(function() connection:query "select pg_sleep(31)" end)
    eventually(function() return running "pg_sleep" == "1\n" end)
    waiting:cancel()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "cancelled" })
    eventually(function() return running "pg_sleep" == "0\n" end)
  end)

  it("are ended by cancel from another task, and the connection stays", function()
    local connection <close> = connect()
    local waiting = task.spawn(function() return connection:query "select pg_sleep(32)" end)
    eventually(function() return running "pg_sleep" == "1\n" end)
    connection:cancel()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind, failure.code }, { false, "remote", "57014" })
    equal(value(connection, "select 1"), 1)
    connection:cancel()
    equal(value(connection, "select 2"), 2)
  end)

  it("let others run, on as many connections as there are", function()
    local tasks, started = {}, task.now()
    for i = 1, 20 do
      tasks[i] = task.spawn(function()
        local connection <close> = connect()
        local rows = connection:query("select $1::int, pg_sleep(0.3)", { i }).rows
        return rows[1][1]
      end)
    end
    for i, one in ipairs(tasks) do equal({ one:wait() }, { true, i }) end
    truthy(task.now() - started < 3)
  end)

  it("of two tasks on one connection are a mistake", function()
    local connection <close> = connect()
    local waiting = task.spawn(function() return value(connection, "select 'mine' from pg_sleep(0.2)") end)
    task.sleep(0.05)
    matches(raises(connection.query, connection, "select 1", {}, { max_rows = 0 }), "serves one call at a time")
    matches(raises(execute, connection, "select 1"), "serves one call at a time")
    equal({ waiting:wait() }, { true, "mine" })
    equal(value(connection, "select 1"), 1)
  end)
end)

describe("pg rows", function()
  it("come one by one, with what describes them", function()
    local connection <close> = connect()
    local seen = {}
    for row, of in connection:rows("select n, $1 || n as t from generate_series(1, 3) n", { "x" }) do
      seen[#seen + 1] = row
      equal(of, { columns = { "n", "t" }, types = { "int4", "text" } })
    end
    equal(seen, { { 1, "x1" }, { 2, "x2" }, { 3, "x3" } })
    for _ in connection:rows "select 1 where false" do error "a row" end
    equal(connection:facts().in_transaction, false)
    equal(value(connection, "select 1"), 1)
  end)

  it("take as much memory as one of them", function()
    local connection <close> = connect()
    local count, most, before = 0, 0, memory.used()
    for row in connection:rows "select n, repeat('x', 1000) from generate_series(1, 60000) n" do
      count = count + 1
      if row[1] % 1000 == 0 then
        collectgarbage()
        most = math.max(most, memory.used() - before)
      end
    end
    equal(count, 60000)
    truthy(most < 1 << 20 or error(most))
  end)

  it("raise what goes wrong among them, and the connection stays", function()
    local connection <close> = connect()
    local count = 0
    local failure = raises(function()
      for _ in connection:rows "select 1 / (4 - n) from generate_series(1, 9) n" do count = count + 1 end
    end)
    equal({ failure.code, count }, { "22012", 3 })
    equal(raises(function() for _ in connection:rows "create table x (a int)" do error "a row" end end).code, "25006")
    equal(value(connection, "select 1"), 1)
  end)

  it("that are left before the last give the connection up", function()
    local connection <close> = connect()
    for row in connection:rows "select generate_series(1, 100000000), repeat('x', 100)" do
      if row[1] == 10 then break end
    end
    eventually(function() return running "generate_series" == "0\n" end)
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
  end)

  it("keep the connection to themselves until they are over", function()
    local connection <close> = connect()
    for _ in connection:rows "select generate_series(1, 3)" do
      matches(raises(connection.query, connection, "select 1"), "serves one call at a time")
    end
    equal(value(connection, "select 1"), 1)
  end)

  it("that are slow to come are waited for no longer than was said", function()
    local connection <close> = connect()
    local failure = raises(function()
      for _ in connection:rows("select pg_sleep(33)", {}, { timeout = 0.1 }) do error "a row" end
    end)
    equal(failure.kind, "timeout")
    eventually(function() return running "pg_sleep" == "0\n" end)
  end)

  it("may be forgotten", function()
    local following, reading = connect():rows "select generate_series(1, 1000)"
    equal((following(reading)), { 1 })
    following, reading = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end)
end)

describe("a pg connection", function()
  it("tells what it is", function()
    local connection <close> = connect { application_name = "neap of a test" }
    local facts = connection:facts()
    equal({ facts.user, facts.database, facts.tls }, { "postgres", "postgres" })
    equal({ facts.host, facts.port }, { server.socket, server.port })
    equal(facts.backend, value(connection, "select pg_backend_pid()"))
    equal(facts.server_version, math.tointeger(tonumber(value(connection, "show server_version_num"))))
    equal(facts.parameters.application_name, "neap of a test")
    equal(value(connection, "show client_encoding"), "UTF8")
  end)

  it("writes dates in one form, whatever the server's own is", function()
    local connection <close> = connect { options = "-c datestyle=german,dmy" }
    equal(value(connection, "select date '1999-12-31'"), "1999-12-31")
  end)

  it("keeps what the server says beside its answers, and no more than enough", function()
    local connection <close> = connect()
    execute(connection, "do $$ begin raise notice 'one'; raise warning 'two'; end $$")
    equal({ connection:notices() }, { { "NOTICE: one", "WARNING: two" }, 0 })
    equal({ connection:notices() }, { {}, 0 })
    execute(connection, "do $$ begin for i in 1..1500 loop raise notice '%', repeat('x', 20000); end loop; end $$")
    local texts, lost = connection:notices()
    equal({ #texts, lost }, { 1000, 500 })
    truthy(#texts[1] < 10000)
  end)

  it("is lost when its session is ended, during a statement or between two", function()
    local connection <close> = connect()
    local waiting = task.spawn(function() return connection:query "select pg_sleep(34)" end)
    eventually(function() return running "pg_sleep" == "1\n" end)
    server.sql(("select pg_terminate_backend(%d)"):format(connection:facts().backend))
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind, failure.code }, { false, "lost", "57P01" })
    matches(raises(connection.query, connection, "select 1"), "the connection is closed")
    local idle <close> = connect()
    server.sql(("select pg_terminate_backend(%d)"):format(idle:facts().backend))
    task.sleep(0.1)
    equal(raises(idle.query, idle, "select 1").kind, "lost")
  end)

  it("is lost when the server dies, and made anew when it is there again", function()
    local connection <close> = connect { host = "127.0.0.1", password = server.password }
    local waiting = task.spawn(function() return connection:query "select pg_sleep(35)" end)
    eventually(function() return running "pg_sleep" == "1\n" end)
    server.kill()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind, failure.host }, { false, "lost", "127.0.0.1" })
    failure = raises(connect)
    equal(failure.kind, "connect")
    server.begin()
    local again <close> = connect()
    equal(value(again, "select 1"), 1)
    server.restart()
    equal(raises(again.query, again, "select 1").kind, "lost")
    local after <close> = connect()
    equal(value(after, "select 1"), 1)
  end)

  it("that is closed under a call says so there", function()
    local connection = connect()
    local waiting = task.spawn(function() return connection:query "select pg_sleep(36)" end)
    eventually(function() return running "pg_sleep" == "1\n" end)
    connection:close()
    local ok, failure = waiting:wait()
    equal({ ok, fault.is(failure, "lost") }, { false, true })
    eventually(function() return running "pg_sleep" == "0\n" end)
  end)

  it("closes twice, and refuses all after it", function()
    local connection = connect()
    connection:close()
    connection:close()
    for _, method in ipairs { "query", "rows", "copy_out", "facts", "notices" } do
      matches(raises(connection[method], connection, "select 1", print), "the connection is closed")
    end
    connection:cancel()
    matches(raises(connection.query, io.stdout, "select 1"), "pg.connection expected")
  end)
end)
