--- Databases as procedures see them: what can be read of them, and what can be changed, each change with its witness in
--- the same transaction.
local copies      = require "neap.targets.sql.copy"
local databases   = require "neap.targets.database"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local grants      = require "neap.targets.sql.grant"
local marker      = require "neap.targets.sql.marker"
local row_sets    = require "neap.targets.sql.rows"
local schemas     = require "neap.targets.sql.schema"
local scripts     = require "neap.targets.sql.script"
local shell       = require "neap.targets.shell"
local transaction = require "neap.targets.sql.transaction"
local users       = require "neap.targets.sql.user"
local values      = require "neap.targets.sql.values"

local sql = {}

--- NULL, as a parameter. In results NULL is what is not there.
sql.null = values.null

--- Bytes, for a parameter of a binary type.
--- @param text string
--- @return table
function sql.bytes(text) return values.bytes(text) end

--- A list, for a parameter that is PostgreSQL's array.
--- @param list any[]
--- @return table
function sql.array(list) return values.array(list) end

--- Names, quoted as the database's server wants them and joined by dots: sql.ident(db, "reporting", "user").
--- @param db neap.database|string
--- @param ... string
--- @return string
function sql.ident(db, ...) return databases.dialect(db):path(...) end

sql.script = scripts.script
sql.schema, sql.database = schemas.schema, schemas.database
sql.role, sql.user = users.role, users.user
sql.grant, sql.revoke = grants.grant, grants.revoke
sql.rows, sql.backup = row_sets.rows, row_sets.backup
sql.copy_in, sql.copy_out, sql.unload = copies.copy_in, copies.copy_out, copies.unload

--- The parts of own kinds whose changes are SQL: prepare, take, release; transaction(name, call, fn) and
--- outside(name, call, text, params, result_of) for their run, put and undo.
sql.marker = { prepare = marker.prepare, take = marker.take, release = marker.release,
  transaction = marker.transaction, outside = marker.outside }

local database = databases.methods

--- @class (exact) neap.sql.read_options
--- @field timeout? number    seconds
--- @field max_rows? integer  more rows than that are an error; default 10,000

local READ_OPTIONS = { timeout = true, max_rows = true }
local MAX_ROWS = 10000

-- ---- reads ----

local query = effect.read("sql.query", function(target, text, params, options)
  return databases.within(target.database, "read", function(connection)
    local result = connection:query(text, values.for_server(connection, params),
      { timeout = options.timeout, max_rows = options.max_rows or MAX_ROWS })
    return { columns = result.columns, rows = values.rows(result) }
  end)
end)

local function ask(self, text, params, options, level)
  local one = transaction.statement(text, params, level + 1)
  return query({ database = self.name }, one.text, one.params, shell.check_options(options, READ_OPTIONS, level + 1))
end

--- Rows of a query, each a table by column name; what is NULL is not there. The server lets it change nothing.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @param options? neap.sql.read_options
--- @return table<string, any>[]
function database:query(text, params, options) return ask(self, text, params, options, 2).rows end

--- The only row of a query. Raises kind `missing` where there is none, `conflict` where there are more.
--- @param text string
--- @param params? any[]
--- @param options? neap.sql.read_options
--- @return table<string, any>
function database:one(text, params, options) return values.only(ask(self, text, params, options, 2)) end

--- The value in the first column of the only row; nil for NULL.
--- @param text string
--- @param params? any[]
--- @param options? neap.sql.read_options
--- @return any
function database:value(text, params, options) return values.value(ask(self, text, params, options, 2)) end

--- The first column of all rows. Raises kind `conflict` where it is NULL.
--- @param text string
--- @param params? any[]
--- @param options? neap.sql.read_options
--- @return any[]
function database:column(text, params, options) return values.column(ask(self, text, params, options, 2)) end

--- That a stream was read is written down; its rows are not, so an interrupted step that runs again reads anew.
local note_stream = effect.read("sql.rows", function() return true end)

local function each_of(rows)
  local i = 0
  return function()
    i = i + 1
    return rows[i]
  end
end

--- Rows one by one, however many there are: `for row in db:rows(…) do … end`.
--- @param text string
--- @param params? any[]
--- @return fun(): table<string, any>?
function database:rows(text, params)
  local one = transaction.statement(text, params, 2)
  local noted = note_stream({ database = self.name }, one.text, one.params)
  if type(noted) == "table" then return each_of(noted) end -- the rows that a trial answers with
  local next_row, release = databases.stream(self.name, function(connection)
    return connection:rows(one.text, values.for_server(connection, one.params))
  end)
  local closing = setmetatable({}, { __close = release })
  return function()
    local row, columns = next_row()
    return row and values.row(columns, row)
  end, nil, nil, closing
end

local explain = effect.read("sql.explain", function(target, text, params)
  return databases.within(target.database, "read", function(connection)
    local result = connection:query("explain " .. text, values.for_server(connection, params))
    local lines = {}
    for i, row in ipairs(result.rows) do
      local parts = {}
      for j = 1, #result.columns do parts[j] = tostring(row[j]) end
      lines[i] = table.concat(parts, "  ")
    end
    return table.concat(lines, "\n")
  end)
end)

--- How the server would go about a statement; nothing of it is carried out.
--- @param text string
--- @param params? any[]
--- @return string lines
function database:explain(text, params)
  local one = transaction.statement(text, params, 2)
  return explain({ database = self.name }, one.text, one.params)
end

--- Names, quoted as this database's server wants them and joined by dots.
--- @param ... string
--- @return string
function database:ident(...) return databases.dialect(self):path(...) end

-- ---- changes ----

--- @class (exact) neap.sql.execute_options
--- @field undo? any              the statement that takes it back: a text, { text, params }, or a list of these
--- @field keep? string           why a rollback leaves it
--- @field irreversible? string   why there is no way back behind it
--- @field timeout? number        seconds
--- @field affects? integer       how many rows it must change; else all is rolled back
--- @field count? any             a query that counts what it will change, for the plan: a text, or { text, params }
--- @field explain? boolean       the plan shows how the server would go about it
--- @field done? string           of a statement that commits by itself: a query whose value says whether it happened
--- @field transaction? boolean   false: it commits by itself, which neap knows of the usual ones

local EXECUTE_OPTIONS = { undo = true, keep = true, irreversible = true, timeout = true, affects = true, count = true,
  explain = true, done = true, transaction = true }

local function perform_options(options)
  return { undo = transaction.statements(options.undo, 4), keep = options.keep, irreversible = options.irreversible,
    timeout = options.timeout }
end

--- The query that counts the rows, given or made; nil where nobody can tell.
local function counting(self, one, count)
  if type(count) == "string" then return transaction.statement(count, nil, 4) end
  if count then return transaction.statement(count[1], count[2], 4) end
  local text, params = databases.dialect(self):counting(one.text, one.params)
  return text and { text = text, params = params }
end

--- MariaDB explains a change only to whom it lets make it.
local function explain_change(self, one)
  local ok, text = pcall(explain, { database = self.name }, one.text, one.params)
  if ok then return text end
  if fault.is(text, "denied") then return "explain: " .. text.message end
  error(text, 0)
end

--- What the plan shows beside the statement: how many rows it is about now, and how the server would do it.
local function planned(self, one, options)
  local found = {}
  local asked = counting(self, one, options.count)
  local ok, failure = pcall(function()
    if asked then found.count = values.value(query({ database = self.name }, asked.text, asked.params, {})) end
    if options.explain then found.explain = explain_change(self, one) end
  end)
  if ok then return found end
  if fault.is(failure, "unknown") then return { later = true } end
  if options.count or options.explain then error(failure, 0) end -- what neap made up may be refused, what was asked for not
  return {}
end

--- Carries out one statement, once, in a transaction with its witness; one that commits by itself (DDL of MariaDB, CREATE
--- DATABASE, VACUUM …) between two rows of it. Raises kind `conflict`, `denied` or `missing`, with the SQLSTATE as code,
--- where the server refuses it: then nothing of it stays.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @param options? neap.sql.execute_options
--- @return { affected: integer?, rows: table[]? }
function database:execute(text, params, options)
  options = shell.check_options(options, EXECUTE_OPTIONS, 2)
  local one = transaction.statement(text, params, 2)
  local dialect = databases.dialect(self)
  if dialect:controls(text) then error("a transaction is db:transaction(function(tx) … end)", 2) end
  local outside = options.transaction == false or not dialect:is_transactional(text)
  if options.affects and outside then error("affects: what commits by itself cannot be rolled back", 2) end
  if options.done and not outside then error("done: a statement within a transaction has its own witness", 2) end
  local data = { text = one.text, params = one.params, outside = outside or nil, affects = options.affects,
    done = options.done and transaction.check_text(options.done, 2) }
  local given = perform_options(options)
  if effect.planning() then data.planned = planned(self, one, options) end
  return effect.perform("sql.execute", { database = self.name }, data, given)
end

local TRANSACTION_OPTIONS = { undo = true, keep = true, irreversible = true, timeout = true }

--- Carries out all that fn changes by `tx:execute(text, params, { affects })` in one transaction with its witness: it
--- happens whole, once, or not at all. tx has query, one and value, too, and `tx:savepoint(fn)` for a part that may fail.
--- fn is called twice, the first time to learn what it means to do: it must be pure but for tx.
--- @param fn fun(tx: table): any
--- @param options? { undo?: any, keep?: string, irreversible?: string, timeout?: number }  undo as of execute
--- @return any  what fn returns, plain data
function database:transaction(fn, options)
  if type(fn) ~= "function" then error("a transaction takes a function", 2) end
  options = shell.check_options(options, TRANSACTION_OPTIONS, 2)
  local given = perform_options(options)
  local meant = transaction.rehearse(databases.dialect(self), fn, function(text, params)
    return query({ database = self.name }, text, params, {})
  end)
  return transaction.perform(self.name, meant, fn, given)
end

return sql
