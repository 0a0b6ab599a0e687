--- @meta native.pg

--- PostgreSQL, and what speaks its protocol. One connection serves one call at a time; two at once raise a mistake.
---
--- Errors of a statement are `remote` with the SQLSTATE as their code, detail and hint as their hint; `denied`
--- (25006) where a read would write; `lost` where the session ended, or is not known to have done what it was told.
--- A call that is left before its end (a timeout, a cancel, a loop that is broken off, a result that is too large)
--- gives the connection up: the server is asked to end the statement, and the connection is closed.
--- @class native.pg
local pg = {}

--- @class native.pg.connection
local connection = {}

--- Any bytes, as a parameter.
--- @class native.pg.bytes

--- A list, as a parameter.
--- @class native.pg.array

--- NULL is json.null. Integers, floats and booleans are what they are in Lua; any other type is the text that the
--- server writes, of any precision; bytea is the bytes; an array is a list, marked as by json.array.
--- @alias native.pg.value nil|boolean|number|string|lightuserdata|native.pg.value[]

--- A list with `n`, or without holes: NULL is json.null.
--- @alias native.pg.parameter boolean|number|string|lightuserdata|native.secret.value|native.pg.bytes|native.pg.array
--- @alias native.pg.parameters native.pg.parameter[]

--- @class native.pg.result
--- @field columns string[]  names
--- @field types (string|integer)[]  names of types, or the numbers of those that are not known here
--- @field rows native.pg.value[][]  by position
--- @field affected? integer  rows that were inserted, updated, deleted or copied
--- @field tag? string  what the server calls what it has done: "INSERT 0 2"

--- @class native.pg.description
--- @field columns string[]
--- @field types (string|integer)[]

--- @class native.pg.facts
--- @field server_version integer  150004 is 15.4
--- @field backend integer  the server's process
--- @field user string
--- @field database string
--- @field host string
--- @field port integer
--- @field tls? string  "TLSv1.3"
--- @field in_transaction boolean
--- @field parameters table<string, string>  what the server reports of itself

--- @class native.pg.options
--- @field timeout? number  seconds; 60 where it reads, 3600 where it changes
--- @field max_rows? integer  100000 by default; more raises `protocol`
--- @field max_bytes? integer  of values, 256 MiB by default

--- Connects. Settings are libpq's keywords (host, hostaddr, port, dbname, user, password, service, passfile,
--- sslmode, sslrootcert, application_name, options, target_session_attrs, …); what they leave open is taken as
--- libpq does, from PG* of the environment, the service file and ~/.pgpass. Names are looked up beside the loop,
--- and each of their addresses is tried in turn. client_encoding is UTF8, keep-alives find a dead peer within a
--- minute. The timeout is that of all; an address that does not answer has its share of it, or connect_timeout
--- seconds where that is less. Raises `connect` (nothing was sent), `auth` (who we are is refused, or the server's
--- certificate is), `missing` (no such database), `timeout`.
--- @param settings table<string, string|integer|native.secret.value>
--- @param options? { timeout?: number }  seconds, 15 by default
--- @return native.pg.connection
function pg.connect(settings, options) end

--- A parameter of type bytea.
--- @param text string
--- @return native.pg.bytes
function pg.bytes(text) end

--- A parameter that is an array of numbers, booleans, texts, pg.bytes, json.null, or lists of these.
--- @param list table
--- @return native.pg.array
function pg.array(list) end

--- One statement that reads, between `begin read only` and `commit`. Where a transaction is open already, the
--- statement alone is sent, which needs leave to change: the transaction may write.
--- @param sql string  with $1, $2 … for the parameters
--- @param parameters? native.pg.parameters
--- @param options? native.pg.options
--- @return native.pg.result
function connection:query(sql, parameters, options) end

--- One statement that may change. A result that is too large raises when the statement is done.
--- @param sql string
--- @param parameters? native.pg.parameters
--- @param options? native.pg.options
--- @return native.pg.result
function connection:execute(sql, parameters, options) end

--- The same by the simple protocol, for the few statements that need it. The text must hold one statement: several
--- are carried out, and raise a mistake only then.
--- @param sql string
--- @param options? native.pg.options
--- @return native.pg.result
function connection:simple(sql, options) end

--- Statements sent as one request, each a text that holds one, without their rows: the server carries them out in turn and
--- stops at the first that it refuses, or carries out none where it cannot read one of them. Those that stand in no `begin`
--- and `commit` of the series are one transaction. Raises what ends the session.
--- @param texts string[]
--- @param options? { timeout?: number }  seconds for all; an hour
--- @return integer done    how many were carried out
--- @return table? failure  what the server refused; its place is that in its own text
--- @return integer? at     which of them that is
function connection:series(texts, options) end

--- Rows of one statement that reads, one by one in a `for` loop, however many there are. The connection is in use
--- until the last row was read; a loop that is left before gives it up.
--- @param sql string
--- @param parameters? native.pg.parameters
--- @param options? { timeout?: number }  seconds for each row, 60 by default
--- @return fun(): native.pg.value[]?, native.pg.description
function connection:rows(sql, parameters, options) end

--- `copy … to stdout`, which reads.
--- @param sql string
--- @param on_bytes fun(piece: string)  gets piece after piece, and may wait; what it raises gives the connection up
--- @param options? { timeout?: number }  seconds for each piece, 60 by default
--- @return integer? rows  nil: the server does not count them
function connection:copy_out(sql, on_bytes, options) end

--- `copy … from stdin`, which changes. What next_chunk raises ends the copy, of which nothing stays, and comes to
--- the caller.
--- @param sql string
--- @param next_chunk fun(): string?  gives piece after piece, of any size, then nil; may wait
--- @param options? { timeout?: number }  seconds for each piece, 3600 by default
--- @return integer? rows
function connection:copy_in(sql, next_chunk, options) end

--- Asks the server to end what runs on this connection, whoever waits for it: that call raises `remote`, 57014.
--- Does nothing where nothing runs. Raises `connect` where the server cannot be asked.
function connection:cancel() end

--- What is known without asking. host is the name that was given, tls the version of TLS or nil.
--- @return native.pg.facts
function connection:facts() end

--- What the server said beside its answers since the last call, "WARNING: …", at most 1000.
--- @return string[] texts
--- @return integer lost  how many more there were
function connection:notices() end

--- May be called twice. What runs is given up.
function connection:close() end

--- The form in which `create user` takes a password without its text: "md5" and 32 hexadecimal digits.
--- @param password string|native.secret.value
--- @param user string
--- @return string
function pg.password_digest(password, user) end

return pg
