--- @meta native.sqlite

--- Database files. Errors are of the kind `journal`, with SQLite's extended code as their code: "SQLITE_FULL".
--- @class native.sqlite
local sqlite = {}

--- @class native.sqlite.database
local database = {}

--- @class native.sqlite.blob

--- @alias native.sqlite.value nil|boolean|number|string|native.sqlite.blob

--- Opens a database file, or ":memory:". A link in place of the file is refused.
--- @param path string
--- @param options? { mode?: "create"|"write"|"read", busy_timeout?: number, permissions?: string }
---   `create` is the default; seconds to wait for another's lock, 2 by default; permissions of a new file, "0600" by
---   default
--- @return native.sqlite.database
function sqlite.open(path, options) end

--- A value that a statement takes as a blob; a plain string is text.
--- @param bytes string
--- @return native.sqlite.blob
function sqlite.blob(bytes) end

--- Runs one statement; nil binds NULL. Rows that it gives are left out.
--- @param sql string  with ? for each value
--- @param ... native.sqlite.value
--- @return integer changes  rows that were inserted, updated or deleted
function database:exec(sql, ...) end

--- Runs several statements, up to the first that fails; a transaction it has begun then stays open.
--- @param sql string
function database:script(sql) end

--- All rows of one statement, each by column name. NULL is nil; blobs are strings.
--- @param sql string
--- @param ... native.sqlite.value
--- @return table<string, any>[]
function database:rows(sql, ...) end

--- Rows one by one, in a `for` loop. What is read is held until the loop is left.
--- @param sql string
--- @param ... native.sqlite.value
--- @return fun(): table<string, any>?
function database:each(sql, ...) end

--- May be called twice. An open transaction is rolled back.
function database:close() end

return sqlite
