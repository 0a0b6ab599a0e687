--- @meta native.mysql

--- MariaDB and MySQL. Errors of the server are of the kind `remote`, with the SQLSTATE as their code and the server's number
--- at the end of the message: "Deadlock found … (1213)", code "40001". Others: `connect` (nothing was sent), `auth`, `lost`
--- (broke, and what was sent may have happened), `timeout`, and `denied` for what writes where only reading is allowed.
--- @class native.mysql
local mysql = {}

--- One statement at a time: a second task that uses it meanwhile makes a mistake.
--- @class native.mysql.connection
local connection = {}

--- Bytes that a statement takes as a blob.
--- @class native.mysql.bytes

--- NULL is json.null; a secret is opened in C only.
--- @alias native.mysql.value boolean|number|string|native.mysql.bytes|secret|lightuserdata

--- @class native.mysql.settings
--- @field host? string  "localhost" without a port is the socket, as for every client
--- @field port? integer  3306
--- @field socket? string
--- @field database? string
--- @field user? string
--- @field password? string|secret
--- @field ssl? "off"|"prefer"|"require"  prefer: where the server has it, its certificate not looked at; require where one
---   of the files below is named
--- @field ssl_ca? string  without it the machine's own
--- @field ssl_cert? string
--- @field ssl_key? string
--- @field ssl_verify? boolean  the server's certificate and name; true where TLS is required
--- @field defaults_file? string|false  ~/.my.cnf where it is there; its groups [client] and [neap] say what is said nowhere
---   else. ~/.mylogin.cnf is not read

--- @class native.mysql.options
--- @field timeout? number  seconds; 60 for what reads, an hour for what changes
--- @field max_rows? integer  100000
--- @field max_bytes? integer  256 MiB

--- Values are positional. Integers and floats come as such, also from a tinyint(1); an unsigned bigint that Lua's integers
--- do not reach, decimals, dates and times as text; NULL as json.null. A float has the six digits the server shows of it.
--- @class native.mysql.result
--- @field columns string[]
--- @field types string[]  "int", "bigint unsigned", "varchar", "blob" …
--- @field rows any[][]
--- @field affected integer  rows that were inserted, changed or deleted
--- @field insert_id? integer

--- Connects. The password may also come from the defaults file or from MYSQL_PWD. Raises `connect`, `auth`, `timeout`.
--- @param settings native.mysql.settings
--- @param options? { timeout: number }  seconds; 15
--- @return native.mysql.connection
function mysql.connect(settings, options) end

--- @param bytes string
--- @return native.mysql.bytes
function mysql.bytes(bytes) end

--- One statement that only reads (select, show, describe, explain, with, table, values), in a transaction of its own that
--- cannot write. Inside a transaction that execute has begun it needs the leave to change. Raises `denied` for what could
--- do more, `protocol` for more than max_rows or max_bytes.
--- @param sql string  with ? for each value
--- @param params? native.mysql.value[]
--- @param options? native.mysql.options
--- @return native.mysql.result
function connection:query(sql, params, options) end

--- One statement of any kind. Changes its target.
--- @param sql string
--- @param params? native.mysql.value[]
--- @param options? native.mysql.options
--- @return native.mysql.result
function connection:execute(sql, params, options) end

--- Statements sent as one request, each a text that holds one and no `;`, without their rows and warnings: the server carries
--- them out in turn and stops at the first that it refuses. Raises what ends the session.
--- @param texts string[]
--- @param options? { timeout?: number }  seconds for all; an hour
--- @return integer done    how many were carried out
--- @return table? failure  what the server refused
--- @return integer? at     which of them that is
function connection:series(texts, options) end

--- As query, for a `for` loop, row by row. Left early, what has come of the rest is thrown away, the statement is ended at
--- the server if there is more, and the connection can be used again; the timeout is that of each row.
--- @param sql string
--- @param params? native.mysql.value[]
--- @param options? native.mysql.options
--- @return fun(): any[]?, { columns: string[], types: string[] }
function connection:rows(sql, params, options) end

--- Ends the statement that another task runs on it, by a second connection; that task gets `remote` with the code 70100.
--- Whether it had its effect is not known. Does nothing where none runs.
function connection:cancel() end

--- @return { server_version: string, backend: integer, user: string, database?: string, host?: string, port?: integer,
---   socket?: string, tls?: string, in_transaction: boolean, backslashes: boolean }  backslashes: escape in its texts
function connection:facts() end

--- The server's warnings since the last call, at most 1000: "Warning: Data truncated for column 'a' at row 1 (1265)".
--- @return string[] texts
--- @return integer lost  how many more there were
function connection:notices() end

--- What runs on it is ended at the server. May be called twice.
function connection:close() end

return mysql
