--- What targets do with the databases of a run: connections, each made at its first use, held by one task at a time, and
--- closed at the run's end. What breaks raises kind `lost` for the call in hand; the next call connects anew.
---
--- How long a statement may take is told to the server too, and what was given up is cancelled there before its connection
--- is closed: nothing runs on behind neap's back.
local dialect = require "neap.targets.sql.dialect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local named   = require "neap.targets.named"
local near    = require "neap.near"
local process = require "native.process"
local secret  = require "native.secret"
local task    = require "native.task"

local databases = {}

--- The methods of databases; neap.targets.sql fills it.
databases.methods = {}

local CONNECT_TIMEOUT, CANCEL_TIMEOUT = 15, 5      -- seconds
local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 3600      -- seconds
local SLACK = 2                                    -- seconds by which the server gives up before neap does

-- ---- which database ----

local new_database = named.class("database", databases.methods, { "name", "dialect" })

--- @class neap.database
--- @field name string
--- @field dialect "postgres"|"redshift"|"mysql"

--- A database as a procedure sees it, for an environment's entry. Opens nothing.
--- @param entry table
--- @return neap.database
function databases.object(entry)
  return new_database { name = entry.name, dialect = entry.dialect }
end

--- The name of a database given by name or as an object.
--- @param value string|table
--- @return string
function databases.name(value)
  local name = type(value) == "table" and value.name or value
  if type(name) ~= "string" then error("expected a database, got " .. type(value), 2) end
  return name
end

local function entry_of(run, name)
  local entry = (run.environment.databases or {})[name]
  if entry then return entry end
  fault.raise { kind = "missing", message = ("no database is named %s%s"):format(name,
    near.hint(name, run.environment.databases or {})) }
end

--- How a database's server speaks.
--- @param value string|table
--- @return neap.sql.dialect
function databases.dialect(value) return dialect.of(entry_of(hosts.run(), databases.name(value)).dialect) end

-- ---- settings ----

--- Modules that bring a library along, opened when the first database is reached.
local DRIVERS = {
  postgres = function() return require "native.pg" end,
  mysql = function() return require "native.mysql" end,
}

local SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt" -- libpq before 16 knows no word for it
local DEFAULT_PORTS = { postgres = 5432, mysql = 3306 }

--- A service of libpq's can say where it is only to libpq; a tunnel has to know.
local function check_place(entry)
  if not entry.via or entry.host then return end
  fault.raise { kind = "conflict", message = ("database %s: via needs the host of %s"):format(entry.name,
    entry.service and "service=" .. entry.service or "its socket"), hint = "give it as host, and port" }
end

local function password_of(run, entry)
  local password = entry.password
  if password == nil or secret.is(password) then return password end
  return run:secret(password)
end

local function path_of(run, path)
  if path == nil or path:sub(1, 1) == "/" then return path end
  if path:sub(1, 2) == "~/" then return process.user().home .. path:sub(2) end
  return (run.environment.root or ".") .. "/" .. path
end

--- The near end of a tunnel, or the place itself.
local function end_of(entry)
  if not entry.via then return nil, entry.port end
  check_place(entry)
  return "127.0.0.1", hosts.tunnel(entry.via, entry.host, entry.port or DEFAULT_PORTS[entry.engine]).port
end

--- An entry as its native module takes it. Through a tunnel the host stays the name that the certificate is for.
local SETTINGS = {}

function SETTINGS.postgres(run, entry)
  local address, port = end_of(entry)
  local verify = entry.tls == "verify"
  return { service = entry.service, host = entry.socket or entry.host, hostaddr = address, port = port,
    dbname = entry.database, user = entry.user, password = password_of(run, entry),
    sslmode = verify and "verify-full" or "disable",
    sslrootcert = verify and (path_of(run, entry.ca) or SYSTEM_AUTHORITIES) or nil }
end

function SETTINGS.mysql(run, entry)
  local address, port = end_of(entry)
  local verify = entry.tls == "verify"
  return { host = address or entry.host, port = port, socket = entry.socket, database = entry.database,
    user = entry.user, password = password_of(run, entry), ssl_ca = verify and path_of(run, entry.ca) or nil,
    ssl = verify and "require" or "off", ssl_verify = verify }
end

-- ---- one connection ----

--- @class neap.database.connection  what fn of databases.within gets
--- @field name string
--- @field dialect neap.sql.dialect
--- @field driver table  its native module
--- @field timeout? number  seconds for each statement; a task that has the connection may set it
local Connection = {}
Connection.__index = Connection

local LIMITS = {
  postgres = "select set_config('statement_timeout', '%d', false)",
  redshift = "set statement_timeout to %d",
  mysql = "set session max_statement_time = %.3f",
}

--- Tells the server how long the statements that follow may take: a little less than neap waits for them, so that it is
--- the server which says no, and it is known what became of it. MariaDB cannot be told so without leave to change: there a
--- query that takes too long is ended by neap.
local function limit(self, seconds, method)
  if self.dialect.name == "mysql" and method == "query" then return end
  local server = seconds - math.min(SLACK, seconds / 10)
  if self.limit == server then return end
  local number = self.dialect.name == "mysql" and server or math.ceil(server * 1000)
  if self.native:facts().in_transaction or self.dialect.name == "mysql" then method = "execute" end
  self.native[method](self.native, LIMITS[self.dialect.name]:format(number), {}, { timeout = seconds })
  self.limit = server
end

--- What the server has said beside its answers is shown as a command's output is.
local function pass_on_notices(self)
  local output = hosts.run().output
  for _, notice in ipairs(self.native:notices()) do
    local text = type(notice) == "table" and ("%s: %s"):format(notice.severity or "notice", notice.message) or notice
    if output then output(self.name, text .. "\n", "err") end
  end
end

--- Adds to an error what is known here: of which database it is, and what its code means.
local function raise_here(self, failure)
  if fault.is(failure) then
    failure.host = self.name
    local why = dialect.why(failure)
    if why and failure.hint ~= why then
      failure.output, failure.hint = failure.output or failure.hint, why
    end
  end
  error(failure, 0)
end

--- Calls a method of the native connection, which reads or may change; what it says beside is passed on.
local function call(self, method, reads, timeout, ...)
  timeout = timeout or self.timeout or (reads and self.read_timeout or CHANGE_TIMEOUT)
  local ok, result = pcall(function(...)
    limit(self, timeout, reads and "query" or "execute")
    return self.native[method](self.native, ...)
  end, ...)
  if not self.closed then pcall(pass_on_notices, self) end
  if not ok then raise_here(self, result) end
  return result
end

local function send(self, method, text, params, options)
  local reads = method == "query"
  local timeout = options and options.timeout or self.timeout or (reads and self.read_timeout or CHANGE_TIMEOUT)
  return call(self, method, reads, timeout, text, params or {},
    { timeout = timeout, max_rows = options and options.max_rows })
end

--- Rows of a query, which the server refuses to let change anything.
--- @param text string
--- @param params? any[]   as the native module takes them: json.null is NULL
--- @param options? { timeout?: number, max_rows?: integer }
--- @return { columns: string[], types: string[], rows: any[][], affected: integer?, tag: string? }
function Connection:query(text, params, options) return send(self, "query", text, params, options) end

--- Carries out one statement that may change something: needs the leave to.
--- @param text string
--- @param params? any[]
--- @param options? { timeout?: number, max_rows?: integer }
--- @return { columns: string[], types: string[], rows: any[][], affected: integer?, tag: string? }
function Connection:execute(text, params, options) return send(self, "execute", text, params, options) end

--- Rows one by one, positional, as they come from the server, each with the names of its columns.
--- @param text string
--- @param params? any[]
--- @return fun(): any[]?, string[]? iterator
function Connection:rows(text, params)
  limit(self, self.read_timeout, "query")
  -- MariaDB's rows come without names
  local columns = self.dialect.name == "mysql" and
    self.native:query(("select * from (%s\n) as neap_rows limit 0"):format(text), params or {}).columns
  local step, state = self.native:rows(text, params or {}, { timeout = self.read_timeout })
  return function()
    local row, description = step(state)
    return row, columns or description and description.columns
  end
end

--- `copy … from stdin` of PostgreSQL: needs the leave to change.
--- @param text string
--- @param next_piece fun(): string?
--- @return integer? rows
function Connection:copy_in(text, next_piece) return call(self, "copy_in", false, nil, text, next_piece) end

--- `copy … to stdout` of PostgreSQL.
--- @param text string
--- @param on_bytes fun(piece: string)
--- @return integer? rows
function Connection:copy_out(text, on_bytes) return call(self, "copy_out", true, nil, text, on_bytes) end

--- @return { server_version: any, backend: any, tls: any, in_transaction: boolean }
function Connection:facts() return self.native:facts() end

--- Ends what runs on it at the server, then the connection.
function Connection:cut()
  if self.closed then return end
  self.closed = true
  task.shield(function()
    pcall(task.deadline, CANCEL_TIMEOUT, self.native.cancel, self.native)
    pcall(self.native.close, self.native)
  end)
end

function Connection:close()
  if self.closed then return end
  self.closed = true
  pcall(self.native.close, self.native)
end

-- ---- the connections of a database ----

--- A database of a run: its idle connections by what they are for, and all that are open.
local Pool = {}
Pool.__index = Pool

function Pool:close()
  local open = self.open
  self.open, self.idle = {}, {}
  for connection in pairs(open) do connection:close() end
end

--- An entry, or the same server with another database to begin in.
local function entry_inside(entry, inside)
  return inside and setmetatable({ database = inside }, { __index = entry }) or entry
end

local function pool_of(value)
  local run, name = hosts.run(), databases.name(value)
  local inside = type(value) == "table" and rawget(value, "inside") or nil
  local apart = type(value) == "table" and rawget(value, "apart") or nil -- whose session is nobody else's
  local key = "database " .. name .. (inside and "/" .. inside or "") .. (apart and " for " .. apart or "")
  if not run.connections[key] then
    run.connections[key] = setmetatable({ name = name, entry = entry_inside(entry_of(run, name), inside), open = {},
      idle = {}, memory = {} }, Pool)
  end
  return run.connections[key], run
end

--- Closes what the run holds open to a database of the same server and does not use now: a server drops none that somebody
--- is connected to.
--- @param value string|table
--- @param inside string  the database
function databases.let_go(value, inside)
  local entry = pool_of(value).entry
  for _, pool in pairs(hosts.run().connections) do
    if getmetatable(pool) == Pool and pool.entry.database == inside and pool.entry.host == entry.host then
      for _, idle in pairs(pool.idle) do
        for i = #idle, 1, -1 do
          local connection = table.remove(idle, i)
          pool.open[connection] = nil
          connection:close()
        end
      end
    end
  end
end

--- Calls fn(connection) with a connection to another database of the same server, which is closed then.
--- @param value string|table
--- @param inside string  the other database
--- @param fn fun(connection: neap.database.connection): any
--- @return any
function databases.elsewhere(value, inside, fn)
  local other = { name = databases.name(value), inside = inside }
  local results = table.pack(pcall(databases.within, other, "read", fn))
  pool_of(other):close()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- Calls fn(connection) with a connection whose session is changed by what it carries out: it is closed then.
--- @param value { name: string, inside: string?, apart: string }  apart: for whom it is
--- @param fn fun(connection: neap.database.connection): any
--- @return any
function databases.apart(value, fn)
  local results = table.pack(pcall(databases.within, value, "change", fn))
  pool_of(value):close()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- What targets remember of a database as long as this process attends the run.
--- @param value string|table
--- @return table
function databases.memory(value) return pool_of(value).memory end

local IDENTITIES = {
  postgres = { "select 'system ' || system_identifier from pg_control_system()" },
  redshift = {},
  mysql = { "select concat('server ', @@server_uid)", "select concat('server ', @@server_uuid)",
    "select concat('server ', @@server_id, ' of ', @@hostname)" },
}

--- What only this server can say of itself; nil where it says nothing to this user.
local function identity_of(connection)
  for _, text in ipairs(IDENTITIES[connection.dialect.name]) do
    local ok, result = pcall(connection.query, connection, text)
    if ok and result.rows[1] and type(result.rows[1][1]) == "string" then return result.rows[1][1] end
    if not ok and not fault.is(result, "remote") and not fault.is(result, "denied") then error(result, 0) end
  end
end

local function meet(pool, connection)
  local identity = identity_of(connection)
  if identity then hosts.met("database " .. pool.name, identity) end
end

local function connect(pool, run)
  local native = DRIVERS[pool.entry.engine]().connect(SETTINGS[pool.entry.engine](run, pool.entry),
    { timeout = CONNECT_TIMEOUT })
  return setmetatable({ native = native, name = pool.name, driver = DRIVERS[pool.entry.engine](),
    dialect = dialect.of(pool.entry.dialect), read_timeout = pool.entry.read_timeout or READ_TIMEOUT }, Connection)
end

local function open(pool, run, purpose)
  local ok, connection = pcall(connect, pool, run)
  if not ok then raise_here(pool, connection) end
  connection.purpose = purpose
  pool.open[connection] = true
  local met, failure = pcall(meet, pool, connection)
  if met then return connection end
  pool.open[connection] = nil
  connection:cut()
  error(failure, 0)
end

local function take(value, purpose)
  local pool, run = pool_of(value)
  if run.fakes then run.fakes:no_connection("the database " .. pool.name) end
  local idle = pool.idle[purpose]
  local connection = idle and table.remove(idle)
  return connection or open(pool, run, purpose), pool
end

local function give_back(pool, connection)
  connection.timeout = nil
  if not pool.open[connection] then return connection:close() end -- the run is over
  pool.idle[connection.purpose] = pool.idle[connection.purpose] or {}
  table.insert(pool.idle[connection.purpose], connection)
end

local function discard(pool, connection)
  pool.open[connection] = nil
  connection:cut()
end

--- After these nobody knows what the connection is doing.
local BROKEN = { lost = true, timeout = true, cancelled = true, protocol = true, connect = true }

local function is_usable(connection, failure)
  if not fault.is(failure) or BROKEN[failure.kind] then return false end
  local ok, facts = pcall(connection.facts, connection)
  return ok and not facts.in_transaction
end

--- Calls fn(connection) with a connection that is the caller's alone meanwhile. When fn raises, what it left running at
--- the server is cancelled, and a transaction that it left open is gone with its connection.
--- @param value string|table  a database
--- @param purpose "read"|"change"
--- @param fn fun(connection: neap.database.connection, ...: any): any
--- @param ... any
--- @return any ...
function databases.within(value, purpose, fn, ...)
  local connection, pool = take(value, purpose)
  local results = table.pack(pcall(fn, connection, ...))
  if results[1] then
    give_back(pool, connection)
    return table.unpack(results, 2, results.n)
  end
  if is_usable(connection, results[2]) then give_back(pool, connection) else discard(pool, connection) end
  error(results[2], 0)
end

--- Rows one by one, of a connection that is held until the last, or until it is released.
--- @param value string|table
--- @param begin fun(connection: neap.database.connection): fun(): any[]?, string[]?
--- @return fun(): any[]?, string[]? iterator
--- @return fun() release
function databases.stream(value, begin)
  local connection, pool = take(value, "read")
  local ok, iterator = pcall(begin, connection)
  local over = false
  local function release()
    if not over then discard(pool, connection) end
    over = true
  end
  if not ok then
    release()
    raise_here(connection, iterator)
  end
  return function()
    if over then return nil end
    local went, row, columns = pcall(iterator)
    if went and row then return row, columns end
    if not went then
      release()
      raise_here(connection, row)
    end
    over = true
    give_back(pool, connection)
  end, release
end

return databases
