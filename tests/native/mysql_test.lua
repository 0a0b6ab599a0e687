local json    = require "native.json"
local mysql   = require "native.mysql"
local task    = require "native.task"
local mariadb = require "tests.mariadb"

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

local function eventually(holds)
  for _ = 1, 300 do
    if holds() then return true end
    task.sleep(0.02)
  end
  return false
end

--- How many statements that match run on the server.
local function running(pattern)
  return tonumber(server.sql("select count(*) from information_schema.processlist where info like '" .. pattern
    .. "' and info not like '%processlist%'"))
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
    equal(text.rows, { { 1, -128, 255, -32768, -8388608, -2147483648, math.mininteger, "18446744073709551615", 2026, 0.1,
      1e300, "-12345.6789", "2026-02-28", "-12:30:00.250", "2026-02-28 23:59:59.123456", "2026-02-28 23:59:59", "\2\1",
      "ab", "é😀", "text", "\0\xFF\0", "'", "b", "x,y", 1 } })
    equal(prepared.rows, text.rows)
    equal(prepared.types, text.types)
    equal(text.types, { "int", "tinyint", "tinyint unsigned", "smallint", "mediumint", "int", "bigint", "bigint unsigned",
      "year", "float", "double", "decimal", "date", "time", "datetime", "timestamp", "bit", "char", "varchar", "text", "blob",
      "varbinary", "enum", "set", "tinyint" })
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
