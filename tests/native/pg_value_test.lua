--- Values of native.pg, both ways.
local json     = require "native.json"
local pg       = require "native.pg"
local postgres = require "tests.postgres"
local secret   = require "native.secret"

local null = json.null

local server

local function connect()
  return pg.connect { host = server.socket, port = server.port, user = "postgres", dbname = "postgres" }
end

local function execute(connection, ...) return changing(connection.execute, connection, ...) end

-- The one value of a query.
local function value(connection, ...) return connection:query(...).rows[1][1] end

before_each(function() server = postgres.start() end)

describe("pg values", function()
  it("come as what they are, each type by its name", function()
    local connection <close> = connect()
    for _, case in ipairs {
      { "int2", "-32768", -32768 }, { "int4", "2147483647", 2147483647 }, { "oid", "4294967295", 4294967295 },
      { "int8", "-9223372036854775808", math.mininteger }, { "float4", "1.5", 1.5 }, { "float8", "2", 2.0 },
      { "float8", "0.1", 0.1 }, { "float8", "5e-324", 5e-324 },
      { "float8", "1.7976931348623157e308", 1.7976931348623157e308 },
      { "float8", "Infinity", math.huge }, { "float8", "-Infinity", -math.huge }, { "bool", "t", true },
      { "bool", "f", false }, { "numeric", "12345678901234567890.10", "12345678901234567890.10" },
      { "numeric", "NaN", "NaN" }, { "text", "é\n\"\\'", "é\n\"\\'" }, { "text", "", "" }, { "varchar", "x ", "x " },
      { "date", "1999-12-31", "1999-12-31" },
      { "timestamp", "2026-01-02 03:04:05.000006", "2026-01-02 03:04:05.000006" },
      { "timestamptz", "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+00" }, { "time", "03:04:05.5", "03:04:05.5" },
      { "interval", "1 mon 2 days", "1 mon 2 days" }, { "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" }, { "json", '{"a": 1}', '{"a": 1}' }, { "jsonb", '{"a": 1}', '{"a": 1}' },
      { "bytea", "\\x00ff5c27", "\0\xFF\\'" }, { "bytea", "", "" }, { "inet", "10.0.0.1/8", "10.0.0.1/8" },
    } do
      local result = connection:query(("select $1::%s as x"):format(case[1]), { case[2] })
      equal({ result.types[1], result.rows[1][1] }, { case[1], case[3] })
      equal(math.type(result.rows[1][1]), math.type(case[3]))
    end
    truthy(value(connection, "select 'NaN'::float8") ~= value(connection, "select 'NaN'::float8"))
  end)

  it("go as what they are in Lua, and come back the same", function()
    local connection <close> = connect()
    for _, case in ipairs {
      { "int8", math.maxinteger }, { "int8", math.mininteger }, { "int2", 7 }, { "float8", 0.1 }, { "float8", 1e300 },
      { "float8", math.huge }, { "float8", -math.huge }, { "float4", 2.5 }, { "bool", true }, { "bool", false },
      { "text", "it's \"quoted\" \\ é € 𝄞 $1 %s\n\t" }, { "text", "" }, { "text", null }, { "int4", null },
    } do
      equal(value(connection, ("select $1::%s"):format(case[1]), { case[2] }), case[2])
    end
    equal(value(connection, "select pg_typeof($1)::text", { pg.bytes "x" }), "bytea")
    local every = {}
    for byte = 0, 255 do every[#every + 1] = string.char(byte) end
    equal(value(connection, "select $1", { pg.bytes(table.concat(every)) }), table.concat(every))
    execute(connection, "set bytea_output = 'escape'")
    equal(value(connection, "select $1", { pg.bytes(table.concat(every)) }), table.concat(every))
    local nan = value(connection, "select $1::float8", { 0 / 0 })
    truthy(nan ~= nan)
  end)

  it("may be NULL, in any place", function()
    local connection <close> = connect()
    equal(connection:query("select $1::text, $2::int, $3::text", { null, 1, null, n = 3 }).rows, { { null, 1, null } })
    local failure = raises(connection.query, connection, "select $1, $2", { n = 2, "a" })
    matches(failure, "parameter 2 is nil; NULL is json.null")
    equal(value(connection, "select $1::text is null", { null }), true)
  end)

  it("may be arrays, nested and with NULL, of each type", function()
    local connection <close> = connect()
    for _, case in ipairs {
      { "int4[]", { 1, -2, null } }, { "int8[]", {} }, { "float8[]", { 1.5, math.huge } },
      { "bool[]", { true, false, null } },
      { "text[]", { "NULL", "", "a,b", 'q"', "{}", "\\", " ", "é\n", null } }, { "int4[]", { { 1, 2 }, { 3, 4 } } },
      { "text[]", { { { "a" } }, { { "}" } } } }, { "numeric[]", { "1.10", "2" } }, { "date[]", { "1999-12-31" } },
    } do
      local result = connection:query(("select $1::%s"):format(case[1]), { pg.array(case[2]) })
      equal({ result.types[1], result.rows[1][1] }, { case[1], case[2] })
    end
    equal(value(connection, "select $1::bytea[]", { pg.array { pg.bytes "\0\"\\", null } }), { "\0\"\\", null })
    equal(value(connection, "select '[0:1]={7,8}'::int[]"), { 7, 8 })
    equal(json.encode(value(connection, "select '{}'::text[]")), "[]")
    equal(value(connection, "select 5 = any($1::int[])", { pg.array { 1, 5 } }), true)
  end)

  it("of types that are not known here are text, with the number of their type", function()
    local connection <close> = connect()
    execute(connection, "create type pg_temp.colour as enum ('red', 'blue')")
    local result = connection:query "select 'blue'::pg_temp.colour, row(1, 'a')"
    equal(result.rows, { { "blue", "(1,a)" } })
    equal(math.type(result.types[1]), "integer")
  end)

  it("are refused in words where they have no form", function()
    local connection <close> = connect()
    local function refused(parameter, pattern)
      matches(raises(connection.query, connection, "select $1::text", { parameter }), pattern)
    end
    refused("a\0b", "parameter 1 has a NUL, which no text of PostgreSQL can hold; pg.bytes")
    refused({}, "parameter 1 is a table; a statement takes")
    refused(print, "parameter 1 is a function")
    refused(pg.array { print }, "a list holds numbers, .* not a function")
    refused(pg.array { "a\0" }, "a text in the list has a NUL")
    local deep = {}
    for _ = 1, 30 do deep = { deep } end
    refused(pg.array(deep), "nested too deep")
    local endless = {}
    endless[1] = endless
    refused(pg.array(endless), "nested too deep")
    matches(raises(connection.query, connection, "select 1\0"), "holds a NUL")
    matches(raises(connection.query, connection, "select 1", { n = 1 << 20 }), "0 to 65535 parameters")
    matches(raises(connection.query, connection, "select 1", {}, { limit = 1 }), "no option is named 'limit'")
    equal(value(connection, "select 1"), 1)
  end)

  it("that are hostile stay values", function()
    local connection <close> = connect()
    execute(connection, "create temporary table held (body text)")
    local hostile = {
      "'; drop table held; --", "\\'; drop table held; --", "$1", "$$; drop table held; $$", "%s%n", "\"", "\\", "'",
      "\1\127\u{202E}", ("long "):rep(1 << 18),
    }
    for _, body in ipairs(hostile) do
      equal(execute(connection, "insert into held values ($1)", { body }).affected, 1)
      equal(value(connection, "select count(*) from held where body = $1", { body }), 1)
    end
    equal(value(connection, "select count(*) from held"), #hostile)
    equal(raises(connection.query, connection, "select $1::text", { "\xFF" }).code, "22021")
  end)

  it("may be secrets, which no error tells", function()
    local connection <close> = connect()
    local keys = secret.keyring()
    local password = secret.literal("hunter2 'or'", keys)
    execute(connection, "create temporary table logins (name text primary key)")
    equal(execute(connection, "insert into logins values ($1)", { password }).affected, 1)
    equal(value(connection, "select length(name) from logins"), 12)
    equal(value(connection, "select name from logins") == "hunter2 'or'", true)
    local failure = raises(execute, connection, "insert into logins values ($1)", { password })
    equal(failure.code, "23505")
    matches(failure.hint, "Key %(name%)=%(%(secret %x+%)%) already exists")
    truthy(not json.encode(failure):find("hunter2", 1, true))
    failure = raises(connection.query, connection, "select $1::text[]", { pg.array { password } })
    matches(failure, "cannot hold a secret")
    execute(connection, "create function pg_temp.tell(text) returns int language plpgsql as " ..
      "$$ begin raise notice 'is %', $1; return 1; end $$")
    equal(execute(connection, "select pg_temp.tell($1)", { password }).rows, { { 1 } })
    matches(connection:notices()[1], "^NOTICE: is %(secret %x+%)$")
    equal(value(connection, "select $1 = ''", { secret.literal("", keys) }), true)
    local closed = secret.reference("vault:x", secret.fingerprint(password), keys)
    equal(raises(connection.query, connection, "select $1::text", { closed }).kind, "missing")
  end)
end)
