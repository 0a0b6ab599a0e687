local eventually = require "tests.eventually"
local json       = require "native.json"
local mysql      = require "native.mysql"
local task       = require "native.task"
local mariadb    = require "tests.mariadb"

local null = json.null

local server

local function settings(more)
  local all = { host = server.host, port = server.port, user = server.user, password = server.password,
    database = "neap_test", defaults_file = false }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

local function connect(more) return mysql.connect(settings(more)) end

local function execute(connection, ...) return changing(connection.execute, connection, ...) end

--- A table of that definition, with no row in it.
local function fresh(connection, definition)
  execute(connection, "drop table if exists t")
  execute(connection, "create table t (" .. definition .. ")")
end

--- How many statements that match run on the server.
local function running(pattern)
  return tonumber(server.sql("select count(*) from information_schema.processlist where info like '"
    .. pattern:gsub("'", "''") .. "' and info not like '%processlist%'"))
end

local function connections()
  return tonumber(server.sql "select count(*) - 1 from information_schema.processlist where user = 'root'")
end

before_each(function() server = mariadb.start() end)

describe("mysql values", function()
  it("come back as they are, from text and from a prepared statement", function()
    local c <close> = connect()
    fresh(c, "k int, ti tinyint, tu tinyint unsigned, si smallint, mi mediumint, i int, bi bigint, bu bigint unsigned, "
      .. "y year, f float, d double, n decimal(20,4), da date, ti2 time(3), dt datetime(6), ts timestamp, b bit(10), "
      .. "c char(5), v varchar(20), t text, bl blob, vb varbinary(9), e enum('a','b'), s set('x','y'), tr bool")
    execute(c, [[insert into t values (1, -128, 255, -32768, -8388608, -2147483648, -9223372036854775808,
      18446744073709551615, 2026, 0.1, 1e300, -12345.6789, '2026-02-28', '-12:30:00.250', '2026-02-28 23:59:59.123456',
      '2026-02-28 23:59:59', b'1000000001', 'ab', 'é😀', 'text', x'00ff00', x'27', 'b', 'x,y', true)]])
    local text = c:query "select * from t"
    local prepared = c:query("select * from t where k = ?", { 1 })
    equal(text.rows, { { 1, -128, 255, -32768, -8388608, -2147483648, math.mininteger, "18446744073709551615", 2026,
      0.1, 1e300, "-12345.6789",
      "2026-02-28", "-12:30:00.250", "2026-02-28 23:59:59.123456", "2026-02-28 23:59:59", "\2\1",
      "ab", "é😀", "text", "\0\xFF\0", "'", "b", "x,y", 1 } })
    equal(prepared.rows, text.rows)
    equal(prepared.types, text.types)
    equal(text.types, { "int", "tinyint", "tinyint unsigned", "smallint", "mediumint", "int", "bigint",
      "bigint unsigned", "year", "float", "double", "decimal", "date", "time", "datetime", "timestamp", "bit", "char",
      "varchar", "text", "blob", "varbinary", "enum", "set", "tinyint" })
    equal({ math.type(text.rows[1][1]), math.type(text.rows[1][11]) }, { "integer", "float" })
    equal(text.columns[3], "tu")
  end)

  it("are floats where the column is one, also without a fraction", function()
    local c <close> = connect()
    for _, params in ipairs { false, { 1 } } do
      local row = c:query("select cast(2 as double) as a" .. (params and ", ?" or ""), params or nil).rows[1]
      equal(math.type(row[1]), "float")
    end
  end)

  it("keep the widest integers", function()
    local c <close> = connect()
    local list = { math.maxinteger, math.mininteger, 0, -1 }
    equal(c:query("select ?, ?, ?, ?", list).rows, { list })
    equal(c:query "select 9223372036854775807, cast(9223372036854775808 as unsigned), cast(5 as unsigned)".rows,
      { { math.maxinteger, "9223372036854775808", 5 } })
  end)

  it("know NULL, and the empty text as another thing", function()
    local c <close> = connect()
    equal(c:query("select null, '', 0").rows, { { null, "", 0 } })
    equal(c:query("select ?, ?, cast(null as int)", { null, "" }).rows, { { null, "", null } })
  end)

  it("may be large", function()
    local c <close> = connect()
    fresh(c, "a longblob, b longtext")
    local bytes, text = ("\0\xFF'"):rep(2000000), ("é\\"):rep(1000000)
    execute(c, "insert into t values (?, ?)", { mysql.bytes(bytes), text })
    truthy(c:query "select * from t".rows[1][1] == bytes)
    truthy(c:query("select b from t where 1 = ?", { 1 }).rows[1][1] == text)
  end)

  it("are only what a table can hold", function()
    local c <close> = connect()
    matches(raises(c.query, c, "select ?", { {} }), "parameter 1 is a table; a statement takes booleans, numbers")
    matches(raises(c.query, c, "select ?, ?", { 1, 0 / 0 }), "parameter 2 is no number that a table can hold")
    matches(raises(c.query, c, "select ?, ?, ?", { 1, nil, 3 }), "parameter 2 is nil; NULL is json.null")
    matches(raises(c.query, c, "select ?, ?", { 1 }), "the statement takes 2 values, got 1")
    matches(raises(c.query, c, "select 1", { 1 }), "the statement takes 0 values, got 1")
    equal(c:query "select 1".rows, { { 1 } })
  end)
end)

describe("mysql statements", function()
  it("take hostile values as values", function()
    local c <close> = connect()
    fresh(c, "id int, v text")
    local hostile = { "'; drop table t; -- ", "\\", "\\'", "\"", "`", "%s?", "/*", "a\nb\0c", "é' or '1'='1",
      "\27[31m" }
    for i, value in ipairs(hostile) do execute(c, "insert into t values (?, ?)", { i, value }) end
    for i, value in ipairs(hostile) do
      equal(c:query("select id from t where v = ?", { value }).rows, { { i } })
      equal(c:query("select v from t where id = ?", { i }).rows, { { value } })
    end
  end)

  it("are one a call: a second in the text is refused by the server", function()
    local c <close> = connect()
    fresh(c, "a int")
    local failure = raises(execute, c, "insert into t values (1); insert into t values (2)")
    equal({ failure.kind, failure.code }, { "remote", "42000" })
    matches(failure.message, "%(1064%)$")
    equal(raises(execute, c, "insert into t values (?); drop table t", { 1 }).code, "42000")
    equal(raises(c.query, c, "select 1; select 2").code, "42000")
    equal(c:query "select count(*) from t".rows, { { 0 } })
  end)

  it("say what they changed, and the number of a new row", function()
    local c <close> = connect()
    fresh(c, "id int primary key auto_increment, a int")
    equal(execute(c, "insert into t (a) values (1), (2), (3)").affected, 3)
    local result = execute(c, "insert into t (a) values (?)", { 4 })
    equal({ result.affected, result.insert_id, result.rows, result.columns }, { 1, 4, {}, {} })
    equal(execute(c, "update t set a = 9 where id > ?", { 2 }).affected, 2)
    equal(execute(c, "delete from t").affected, 4)
    equal(execute(c, "create or replace view tv as select 1").affected, 0)
    execute(c, "drop view tv")
  end)

  it("are many in a series, carried out up to the one that is refused", function()
    local c <close> = connect()
    fresh(c, "n int unique")
    local function series(...) return changing(c.series, c, ...) end
    equal(series { "insert into t values (1) -- a", "select * from t", "start transaction", "insert into t values (2)",
      "commit" }, 5)
    local done, failure, at = series { "insert into t values (3)", "insert into t values (1)",
      "insert into t values (4)" }
    equal({ done, at, failure.kind, failure.code }, { 1, 2, "remote", "23000" })
    matches(failure.message, "Duplicate entry")
    done, failure, at = series { "insert into t values (5)", "insret into t values (6)", "insert into t values (7)" }
    equal({ done, at, failure.code }, { 1, 2, "42000" })
    equal(c:query("select n from t order by n").rows, { { 1 }, { 2 }, { 3 }, { 5 } })
    equal(raises(execute, c, "select 1; select 2").code, "42000")
  end)

  it("that are a series of one cost a request, and are one", function()
    local c <close> = connect()
    fresh(c, "n int unique")
    local function requests() return tonumber(c:query("show session status like 'Questions'").rows[1][2]) end
    local function cost(fn)
      local before = requests()
      fn()
      return requests() - before
    end
    local alone = cost(function() execute(c, "insert into t values (1)") end)
    equal(cost(function() equal(changing(c.series, c, { "insert into t values (2) -- a" }), 1) end), alone)
    local done, failure, at = changing(c.series, c, { "insert into t values (2)" })
    equal({ done, at, failure.code }, { 0, 1, "23000" })
    failure = select(2, changing(c.series, c, { "insert into t values (3); insert into t values (4)" }))
    equal(failure.code, "42000")
    equal(c:query("select count(*) from t").rows, { { 2 } })
  end)

  it("in a series count their warnings, take no number, and end with their session", function()
    local c <close> = connect()
    fresh(c, "n tinyint")
    execute(c, "set sql_mode = ''")
    equal(changing(c.series, c, { "insert into t values (1000)", "insert into t values (1), (2000)" }), 2)
    equal({ select(2, c:notices()) }, { 2 })
    matches(raises(changing, c.series, c, { "select 1", 7 }), "holds what is no text")
    equal(raises(c.series, c, { "select 1" }).kind, "denied")
    equal(raises(changing, c.series, c, { "do 0", "select sleep(60)" }, { timeout = 0.1 }).kind, "timeout")
    local other <close> = connect()
    equal(raises(changing, other.series, other, { "do 0", "kill connection_id()", "do 1" }).kind, "lost")
  end)

  it("that are cancelled in the middle of a series leave what follows undone", function()
    local c <close> = connect()
    fresh(c, "n int")
    local done, failure, at
    local waiting = task.spawn(function()
      done, failure, at = changing(c.series, c, { "insert into t values (1)",
        "insert into t select 2 from (select sleep(30)) s", "insert into t values (3)" })
    end)
    eventually(function() return running "insert into t select 2%" == 1 end)
    c:cancel()
    waiting:wait()
    equal({ done, at, failure.code }, { 1, 2, "70100" })
    equal(c:query("select n from t").rows, { { 1 } })
  end)

  it("may have several results: the first rows count", function()
    local c <close> = connect()
    fresh(c, "a int")
    execute(c, "create or replace procedure p(n int) begin insert into t values (n); select n as a; select 2, 3; "
      .. "insert into t values (n), (n); end")
    local plain = execute(c, "call p(5)")
    equal({ plain.columns, plain.rows }, { { "a" }, { { 5 } } })
    local prepared = execute(c, "call p(?)", { 6 })
    equal({ prepared.columns, prepared.rows }, { { "a" }, { { 6 } } })
    equal(c:query("select count(*) from t").rows, { { 6 } })
    execute(c, "create or replace procedure p() begin select 1; select * from nothing_there; end")
    equal(raises(execute, c, "call p()").code, "42S02")
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("give the server's number and SQLSTATE with its words, and the connection goes on", function()
    local c <close> = connect()
    fresh(c, "a int primary key")
    for _, params in ipairs { {}, { 1 } } do
      local value = params[1] and "?" or "1"
      local failure = raises(execute, c, "insert into nothing_there values (" .. value .. ")", params)
      equal({ failure.kind, failure.code }, { "remote", "42S02" })
      matches(failure.message, "neap_test.nothing_there' doesn't exist %(1146%)$")
    end
    execute(c, "insert into t values (1)")
    equal(raises(execute, c, "insert into t values (?)", { 1 }).code, "23000")
    equal(raises(c.query, c, "select * from nothing_there").code, "42S02")
    equal(c:facts().in_transaction, false)
    equal(c:query("select a from t where a = ?", { 1 }).rows, { { 1 } })
  end)

  it("know how much they may give", function()
    local c <close> = connect()
    local failure = raises(c.query, c, "select seq from seq_1_to_1000000", nil, { max_rows = 10 })
    equal(failure.kind, "protocol")
    equal(failure.message:match("the result.*"), "the result has more than 10 rows; connection:rows() reads any number")
    equal(#c:query("select seq from seq_1_to_10", nil, { max_rows = 10 }).rows, 10)
    equal(raises(c.query, c, "select repeat('a', 1000) from seq_1_to_1000000 where 1 = ?", { 1 },
      { max_bytes = 100000 }).message:match("more than %d+ bytes"), "more than 100000 bytes")
    matches(raises(c.query, c, "select seq from seq_1_to_100001").message, "more than 100000 rows")
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("refuse options they do not know", function()
    local c <close> = connect()
    matches(raises(c.query, c, "select 1", nil, { rows = 1 }), "no option is named 'rows'")
    matches(raises(c.query, c, "select 1", nil, { max_rows = 0 }), "max_rows is a positive integer")
    matches(raises(c.query, c, 7), "string expected")
    matches(raises(c.query, c, "select 1", "x"), "table expected")
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("keep what the server warned of until it is asked for", function()
    local c <close> = connect()
    fresh(c, "a tinyint, b varchar(3)")
    execute(c, "set sql_mode = ''")
    execute(c, "insert into t values (1000, 'long text')")
    execute(c, "insert into t values (?, ?)", { 1, "too long" })
    c:query "select cast('x1' as int)"
    equal(c:notices(), {
      "Warning: Out of range value for column 'a' at row 1 (1264)",
      "Warning: Data truncated for column 'b' at row 1 (1265)",
      "Warning: Data truncated for column 'b' at row 1 (1265)",
      "Warning: Truncated incorrect INTEGER value: 'x1' (1292)",
    })
    for _ = 1, 30 do execute(c, "insert into t select 1000, 'abcdef' from seq_1_to_50") end
    local kept, lost = c:notices()
    equal({ #kept, lost }, { 1000, 30 * 100 - 1000 })
    equal({ c:notices() }, { {}, 0 })
  end)
end)

describe("mysql reading", function()
  it("refuses what may change something, before it is sent", function()
    local c <close> = connect()
    for _, sql in ipairs { "insert into t values (1)", "  /* x */ delete from t", "-- select\ndrop table t",
      "# a\nset @a = 1", "", "(", "'select'",
      "call p()", "do sleep(0)", "commit", "kill 1", "select 1 into outfile '/tmp/neap-not-there'",
      "select '\\' into ' into dumpfile '/tmp/neap-not-there'", "/*!50000 drop table t */", "select /*M! 1 */ 1",
      "(select 1) into outfile '/tmp/neap-not-there'", "select 1 in/**/to /*x*/ into/**/outfile '/tmp/x'" } do
      local failure = raises(c.query, c, sql)
      equal({ sql, failure.kind, failure.code }, { sql, "denied", "25006" })
      equal(raises(c.rows, c, sql).kind, "denied")
    end
  end)

  it("takes every way of reading", function()
    local c <close> = connect()
    fresh(c, "a int")
    for _, sql in ipairs { "SELECT 1", "(select 1) union (select 2)", "-- why\nshow tables", "/* a */ # b\n desc t",
      "explain select * from t", "with x as (select 1) select * from x", "values (1), (2)",
      "--\tx\nselect 'into outfile'", "select 1 -- into outfile", "describe t", "select a as `into outfile` from t" } do
      truthy(c:query(sql))
    end
  end)

  it("cannot write by a function either: the server refuses, and the connection goes on", function()
    local c <close> = connect()
    fresh(c, "a int")
    execute(c, "create or replace function f() returns int begin insert into t values (1); return 1; end")
    for _, params in ipairs { {}, { 1 } } do
      local failure = raises(c.query, c, "select f()" .. (params[1] and ", ?" or ""), params)
      equal({ failure.kind, failure.code }, { "denied", "25006" })
      matches(failure.message, "%(1792%)$")
    end
    equal(c:query("select count(*) from t").rows, { { 0 } })
    equal(c:facts().in_transaction, false)
  end)

  it("within a transaction that may write needs the leave, for it is part of a change", function()
    local c <close> = connect()
    fresh(c, "a int")
    execute(c, "start transaction")
    execute(c, "insert into t values (7)")
    equal(c:facts().in_transaction, true)
    equal(raises(c.query, c, "select * from t").kind, "denied")
    equal(changing(c.query, c, "select * from t").rows, { { 7 } })
    execute(c, "rollback")
    equal(c:query("select * from t").rows, {})
    execute(c, "start transaction read only")
    equal(c:query("select * from t").rows, {})
    equal(c:facts().in_transaction, true)
  end)

  it("sees what others commit, each time anew", function()
    local c <close> = connect()
    local other <close> = connect()
    fresh(other, "a int")
    equal(c:query "select count(*) from t".rows, { { 0 } })
    execute(other, "insert into t values (1)")
    equal(c:query "select count(*) from t".rows, { { 1 } })
  end)
end)

describe("mysql changing", function()
  it("needs the leave that only an effect has", function()
    local c <close> = connect()
    local failure = raises(c.execute, c, "create table t2 (a int)")
    equal(failure.kind, "denied")
    matches(failure.message, "mysql.execute changes its target")
  end)

  it("tells a deadlock and a wait for a lock that took too long", function()
    local one <close> = connect()
    local two <close> = connect()
    fresh(one, "id int primary key, a int")
    execute(one, "insert into t values (1, 0), (2, 0)")
    execute(one, "set innodb_lock_wait_timeout = 1")
    execute(two, "start transaction")
    execute(two, "update t set a = 1 where id = 2")
    local failure = raises(execute, one, "update t set a = 1 where id = 2")
    equal({ failure.kind, failure.code, failure.message:match("%(%d+%)$") }, { "remote", "HY000", "(1205)" })
    execute(one, "start transaction")
    execute(one, "update t set a = 1 where id = 1")
    local other = task.spawn(changing, two.execute, two, "update t set a = 1 where id = 1")
    eventually(function() return running "update t set a = 1 where id = 1" == 1 end)
    local ok, first = pcall(execute, one, "update t set a = 1 where id = 2")
    local other_ok, second = other:wait()
    truthy(ok ~= other_ok)
    failure = ok and second or first
    equal({ failure.kind, failure.code, failure.message:match("%(%d+%)$") }, { "remote", "40001", "(1213)" })
  end)
end)

describe("mysql rows", function()
  it("come one by one, in flat memory", function()
    local memory = require "native.memory"
    local c <close> = connect()
    for _, params in ipairs { {}, { 200 } } do
      local count, sum, most = 0, 0, 0
      collectgarbage()
      local before = memory.used()
      local length = params[1] and "?" or "200"
      for row in c:rows("select seq, repeat('x', " .. length .. ") from seq_1_to_400000", params) do
        count, sum = count + 1, sum + row[1]
        if count % 20000 == 0 then
          collectgarbage()
          most = math.max(most, memory.used() - before)
        end
      end
      equal({ count, sum }, { 400000, 400000 * 400001 // 2 })
      truthy(most < 2000000)
    end
    equal(c:facts().in_transaction, false)
  end)

  it("raise where the statement is wrong, and where it goes wrong on the way", function()
    local c <close> = connect()
    equal(raises(c.rows, c, "select nothing").code, "42S22")
    local read = 0
    local failure = raises(function()
      for _ in c:rows "select if(seq < 50000, seq, (select 1 union select 2)) from seq_1_to_60000" do
        read = read + 1
      end
    end)
    equal({ failure.code, failure.message:match("%(%d+%)$") }, { "21000", "(1242)" })
    truthy(read > 10000)
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("can be left early: the statement ends, and the connection goes on", function()
    local c <close> = connect()
    for _, params in ipairs { {}, { 1 } } do
      for row in c:rows("select seq, repeat('x', 1000) from seq_1_to_10000000" .. (params[1] and " where 1 = ?" or ""),
        params) do
        if row[1] == 5 then break end
      end
      equal(c:query "select 1".rows, { { 1 } })
      for _ in c:rows "select seq from seq_1_to_100" do break end
      equal(c:query("select ?", { 2 }).rows, { { 2 } })
    end
    for _ in c:rows "select seq, repeat('x', 100000), sleep(if(seq > 1, 30, 0)) from seq_1_to_3" do break end
    equal(running "%sleep%", 0)
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("that nobody reads any more hold the connection until they are collected", function()
    local c <close> = connect()
    do
      local next_row, state = c:rows "select seq from seq_1_to_1000000"
      equal(next_row(state), { 1 })
    end
    matches(raises(c.query, c, "select 1"), "the connection is busy with another statement")
    collectgarbage()
    collectgarbage()
    equal(raises(c.query, c, "select 1").kind, "lost")
  end)

  it("come with what their columns are", function()
    local c <close> = connect()
    for row, description in c:rows("select 7 as a, ? as b", { "x" }) do
      equal({ row, description.columns, description.types[1] }, { { 7, "x" }, { "a", "b" }, "int" })
    end
  end)

  it("of nothing are none", function()
    local c <close> = connect()
    for _ in c:rows "select 1 from dual where false" do error "a row" end
    equal(c:query "select 1".rows, { { 1 } })
  end)
end)

describe("mysql statements that are ended", function()
  it("by cancel raise for the task that waits, and the connection goes on", function()
    local c <close> = connect()
    for _, sql in ipairs { "select sleep(60)", "select benchmark(2000000000, md5('x'))" } do
      for _, params in ipairs { {}, { 1 } } do
        local waiting = task.spawn(c.query, c, sql .. (params[1] and ", ?" or ""), params)
        eventually(function() return running(sql .. "%") == 1 end)
        c:cancel()
        local ok, failure = waiting:wait()
        equal({ ok, failure.kind, failure.code }, { false, "remote", "70100" })
        equal(running(sql .. "%"), 0)
        equal(c:query("select ?", { 1 }).rows, { { 1 } })
      end
    end
    equal(c:facts().in_transaction, false)
  end)

  it("by cancel have no success, whatever the server says", function()
    local c <close> = connect()
    fresh(c, "a int")
    local waiting = task.spawn(changing, c.execute, c, "do sleep(60)")
    eventually(function() return running "do sleep%" == 1 end)
    c:cancel()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind, failure.code }, { false, "remote", "70100" })
  end)

  it("are not there to cancel where none runs", function()
    local c <close> = connect()
    c:cancel()
    equal(c:query "select 1".rows, { { 1 } })
  end)

  it("by a timeout or a cancelled task run no more, and their connection is gone", function()
    for _, how in ipairs { "timeout", "cancel" } do
      for _, params in ipairs { {}, { 1 } } do
        local c <close> = connect()
        local sql = "select sleep(50), 'by " .. how .. "'"
        local waiting = task.spawn(c.query, c, sql .. (params[1] and ", ?" or ""), params,
          { timeout = how == "timeout" and 0.2 or 60 })
        if how == "cancel" then
          eventually(function() return running(sql .. "%") == 1 end)
          waiting:cancel()
        end
        local ok, failure = waiting:wait()
        equal({ ok, failure.kind }, { false, how == "timeout" and "timeout" or "cancelled" })
        eventually(function() return running "select sleep(50)%" == 0 end)
        failure = raises(c.query, c, "select 1")
        equal(failure.kind, "lost")
        matches(failure.message, "left before its end")
      end
    end
    eventually(function() return connections() == 0 end)
  end)

  it("while the server takes what they send leave nothing behind", function()
    local c <close> = connect()
    fresh(c, "a longblob")
    equal(raises(execute, c, "insert into t values (?)", { mysql.bytes(("x"):rep(60000000)) }, { timeout = 0.01 }).kind,
      "timeout")
    eventually(function() return connections() == 0 end)
    local d <close> = connect()
    equal(d:query "select count(*) from t".rows, { { 0 } })
  end)

  it("by closing the connection run no more", function()
    local c = connect()
    local waiting = task.spawn(c.query, c, "select sleep(40)")
    eventually(function() return running "select sleep(40)%" == 1 end)
    c:close()
    c:close()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    matches(raises(c.query, c, "select 1"), "connection is closed")
    eventually(function() return running "select sleep(40)%" == 0 end)
  end)

  it("by closing it in the middle of their rows run no more", function()
    local c = connect()
    local failure = raises(function()
      for row in c:rows "select seq, repeat('x', 1000) from seq_1_to_10000000" do
        if row[1] == 10 then c:close() end
      end
    end)
    equal(failure.kind, "lost")
    eventually(function() return running "select seq, repeat%" == 0 end)
  end)

  it("by somebody else are no cancel of ours", function()
    local c <close> = connect()
    local waiting = task.spawn(c.query, c, "select sleep(40)")
    eventually(function() return running "select sleep(40)%" == 1 end)
    server.sql("kill query " .. c:facts().backend)
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind, failure.code }, { false, "remote", "70100" })
    equal(c:query "select 1".rows, { { 1 } })
  end)
end)

describe("mysql connections", function()
  it("take one statement at a time", function()
    local c <close> = connect()
    local waiting = task.spawn(c.query, c, "select sleep(0.3)")
    task.sleep(0.05)
    matches(raises(c.query, c, "select 1"), "the connection is busy with another statement")
    matches(raises(execute, c, "do 1"), "the connection is busy with another statement")
    equal({ waiting:wait() },
      { true, { columns = { "sleep(0.3)" }, types = { "int" }, rows = { { 0 } }, affected = 0 } })
  end)

  it("that are killed are lost, in a statement and between two", function()
    local c <close> = connect()
    local waiting = task.spawn(c.query, c, "select sleep(30)")
    eventually(function() return running "select sleep(30)%" == 1 end)
    server.sql("kill " .. c:facts().backend)
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    equal(raises(c.query, c, "select 1").kind, "lost")
    local d <close> = connect()
    server.sql("kill " .. d:facts().backend)
    task.sleep(0.05)
    equal(raises(d.query, d, "select ?", { 1 }).kind, "lost")
  end)

  it("are lost when the server dies, and new ones are made when it is there again", function()
    local c <close> = connect()
    local waiting = task.spawn(c.query, c, "select sleep(30)")
    eventually(function() return running "select sleep(30)%" == 1 end)
    server.kill()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    failure = raises(connect)
    equal(failure.kind, "connect")
    server.restart()
    local d <close> = connect()
    equal(d:query "select 1".rows, { { 1 } })
    local e <close> = connect()
    server.stop()
    equal(raises(e.query, e, "select 1").kind, "lost")
    server.restart()
  end)

  it("go by the socket, and say what they are", function()
    local c <close> = mysql.connect { socket = server.socket, user = "root", password = server.password,
      defaults_file = false }
    local facts = c:facts()
    equal({ facts.socket, facts.port, facts.tls, facts.user, facts.in_transaction },
      { server.socket, nil, "TLSv1.3", "root", false })
    matches(facts.server_version, "^10%.")
    equal(c:query "select connection_id()".rows, { { facts.backend } })
    local d <close> = connect { ssl = "off" }
    facts = d:facts()
    equal({ facts.tls, facts.host, facts.port, facts.database }, { nil, "127.0.0.1", server.port, "neap_test" })
    equal(d:query "select @@character_set_client".rows, { { "utf8mb4" } })
    equal(d:query("select ?", { 1 }).rows, { { 1 } })
  end)

  it("that cannot be made say why", function()
    local cases = {
      { "auth", "1045", { password = "wrong" } }, { "auth", "1045", { user = "nobody" } },
      { "missing", "1049", { database = "no_such" } }, { "connect", "2005", { host = "no.such.host.invalid" } },
      { "connect", "2002", { port = 1 } }, { "connect", "2002", { socket = "/no/such/socket" } },
    }
    for _, case in ipairs(cases) do
      local ok, failure = pcall(connect, case[3])
      equal({ ok, json.encode(case[3]) }, { false, json.encode(case[3]) })
      equal({ failure.kind, failure.message:match("%((%d+)%)$") }, { case[1], case[2] })
    end
  end)

  it("are made of what is meant", function()
    matches(raises(connect, { dsn = "x" }), "no option is named 'dsn'")
    matches(raises(connect, { port = 70000 }), "port is a number from 1 to 65535")
    matches(raises(connect, { password = 7 }), "password is a text or a secret")
    matches(raises(connect, { ssl = "maybe" }), "invalid option 'maybe'")
    matches(raises(connect, { ssl_verify = "no" }), "ssl_verify is true or false")
    matches(raises(connect, { host = "a\0b" }), "host holds a NUL")
    matches(raises(mysql.connect, settings(), { wait = 1 }), "no option is named 'wait'")
  end)

  it("are given up in time where nobody answers", function()
    local process = require "native.process"
    local silent = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
      .. "print(s.getsockname()[1], flush=True); time.sleep(60)"
    local listener = process.spawn({ "python3", "-c", silent }, { reads = true })
    local port = tonumber(listener:read())
    local started = task.now()
    equal(raises(mysql.connect, settings { port = port }, { timeout = 0.2 }).kind, "timeout")
    truthy(task.now() - started < 5)
    local connecting = task.spawn(connect, { port = port })
    task.sleep(0.05)
    connecting:cancel()
    equal(select(2, connecting:wait()).kind, "cancelled")
    listener:close()
  end)

  it("give no server the password as it is, unless its certificate was looked at", function()
    local process = require "native.process"
    local hostile = [[
import socket, struct
s = socket.create_server(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)
c = s.accept()[0]
def send(n, body): c.sendall(struct.pack('<I', len(body))[:3] + bytes([n]) + body)
caps = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
send(0, b'\x0a5.5.5-10.11.0-MariaDB\0' + struct.pack('<I', 7) + b'saltsalt\0' + struct.pack('<H', caps & 0xffff)
  + b'\x2d\x02\0' + struct.pack('<H', caps >> 16) + b'\x15' + bytes(10) + b'saltsaltsalt\0mysql_native_password\0')
got = c.recv(65536)
send(got[3] + 1, b'\xfemysql_clear_password\0')
got += c.recv(65536)
print('asked', b'open sesame' in got, flush=True)]]
    local server_process = process.spawn({ "python3", "-c", hostile }, { reads = true })
    local port = tonumber(server_process:read():match "%d+")
    local failure = raises(connect, { port = port, password = "open sesame" })
    equal(failure.kind, "auth")
    matches(failure.hint, "wants the password itself")
    matches(server_process:collect().out, "asked False")
    server_process:close()
  end)

  it("open secrets for the password, and as values", function()
    local secret = require "native.secret"
    local keys = secret.keyring()
    local c <close> = connect { password = secret.literal(server.password, keys) }
    fresh(c, "v text")
    execute(c, "insert into t values (?)", { secret.literal("one two three", keys) })
    equal(c:query("select length(v), md5(v) from t").rows, c:query("select 13, md5('one two three')").rows)
    local failure = raises(c.query, c, "select cast('x' as nothing), ?", { secret.literal("one two three", keys) })
    truthy(not tostring(failure):find("one two", 1, true))
  end)
end)

describe("mysql TLS", function()
  it("is required where a CA is named, and looks at the certificate and its name", function()
    local c <close> = connect { ssl_ca = server.ca }
    equal(c:facts().tls, "TLSv1.3")
    local elsewhere = { ssl_ca = server.ca, host = "localhost" } -- a name that the certificate does not have
    for _, wrong in ipairs { { ssl_ca = server.other_ca }, { ssl = "require" }, elsewhere } do
      local failure = raises(connect, wrong)
      equal({ failure.kind, failure.message:match("%((%d+)%)$") }, { "auth", "2026" })
    end
    local d <close> = connect { ssl = "require", ssl_verify = false }
    equal(d:facts().tls, "TLSv1.3")
  end)

  it("is no condition unless it is required, and where it is, its lack ends it", function()
    server.restart { tls = false }
    local c <close> = connect()
    equal(c:facts().tls, nil)
    for _, wanted in ipairs { { ssl = "require" }, { ssl = "require", ssl_verify = false }, { ssl_ca = server.ca } } do
      local failure = raises(connect, wanted)
      equal({ failure.kind, failure.message:match("%((%d+)%)$") }, { "connect", "2026" })
    end
    server.restart()
  end)
end)

describe("mysql defaults files", function()
  local function write(path, text, mode)
    require("native.fs").write(path, text, { mode = mode or "0600" })
  end

  it("say what the settings leave open", function()
    local path = scratch() .. "/my.cnf"
    local text = "[client]\nhost=127.0.0.1\nport=%d\nuser=nobody\n[neap]\nuser=root\npassword=\"%s\"\n"
      .. "database=neap_test\n"
    write(path, text:format(server.port, server.password:gsub("[\\\"]", "\\%0")))
    local c <close> = mysql.connect { defaults_file = path }
    equal(c:query "select current_user(), database()".rows, { { "root@127.0.0.1", "neap_test" } })
    equal(raises(mysql.connect, { defaults_file = path, user = "nobody" }).kind, "auth")
  end)

  it("allow nothing that is forbidden here", function()
    local folder = scratch()
    write(folder .. "/data", "1\n2\n")
    write(folder .. "/my.cnf",
      "[neap]\nlocal-infile=1\nmulti-statements=1\nreconnect=1\ndefault-character-set=latin1\n")
    local c <close> = connect { defaults_file = folder .. "/my.cnf" }
    fresh(c, "a varchar(9)")
    equal(raises(execute, c, "insert into t values (1); insert into t values (2)").code, "42000")
    local failure = raises(execute, c, ("load data local infile '%s/data' into table t"):format(folder))
    equal(failure.kind, "denied")
    equal(c:query "select @@character_set_client, (select count(*) from t)".rows, { { "utf8mb4", 0 } })
  end)

  it("cannot weaken TLS", function()
    local path = scratch() .. "/my.cnf"
    write(path, "[neap]\nssl-verify-server-cert=0\n")
    local failure = raises(connect, { defaults_file = path, ssl_ca = server.ca })
    matches(failure.message, "the defaults file lets the server's certificate go unseen")
  end)

  it("that others may write are refused, and one that is named must be there", function()
    local path = scratch() .. "/my.cnf"
    equal(raises(connect, { defaults_file = path }).kind, "missing")
    write(path, "[neap]\n", "0666")
    equal(raises(connect, { defaults_file = path }).kind, "denied")
  end)
end)

describe("mysql beside other tasks", function()
  it("queries wait side by side, over connections of their own", function()
    local tasks = {}
    for i = 1, 8 do
      tasks[i] = task.spawn(function()
        local c <close> = connect()
        return c:query("select sleep(20), ?", { i })
      end)
    end
    eventually(function() return running "select sleep(20)%" == 8 end)
    for _, querying in ipairs(tasks) do
      querying:cancel()
      querying:wait()
    end
    eventually(function() return running "select sleep(20)%" == 0 end)
  end)

  it("connecting blocks nobody, also where a name is long in being found", function()
    local process = require "native.process"
    if process.user().uid ~= 0 then skip "needs root: a name server of its own" end
    local folder = scratch()
    local silent = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
      .. "s.bind(('127.9.9.9', 53)); print(flush=True); time.sleep(100)"
    local dns = process.spawn({ "python3", "-c", silent }, { reads = true })
    dns:read()
    require("native.fs").write(folder .. "/resolv.conf", "nameserver 127.9.9.9\noptions timeout:1 attempts:1\n")
    require("native.fs").write(folder .. "/slow_test.lua", [[
      local mysql, task = require "native.mysql", require "native.task"
      it("waits", function()
        local started, longest, before = task.now(), 0, task.now()
        local connecting = task.spawn(mysql.connect, { host = "slow.neap.invalid", defaults_file = false },
          { timeout = 2 })
        while not connecting:done() do
          task.sleep(0.005)
          longest, before = math.max(longest, task.now() - before), task.now()
        end
        print(("took %.2f, blocked %.2f, %s"):format(task.now() - started, longest, select(2, connecting:wait()).kind))
      end)]])
    local script = "mount --bind $1/resolv.conf $(readlink -f /etc/resolv.conf) && exec $2 test $1/slow_test.lua"
    local result = process.run({ "unshare", "-m", "sh", "-c", script, "sh", folder, process.executable() },
      { reads = true })
    local took, blocked, kind = result.out:match "took ([%d.]+), blocked ([%d.]+), (%a+)"
    equal(result.err, "")
    truthy(kind == "timeout" or kind == "connect")
    truthy(tonumber(took) >= 1 and tonumber(blocked) < tonumber(took) / 2)
    dns:close()
  end)
end)
