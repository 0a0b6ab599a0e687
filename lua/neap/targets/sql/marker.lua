--- The witness of what is changed by SQL: a row of `neap.effects`, taken once, by the change in its own transaction or by
--- whoever settles it. The unique index has the second one wait for the first; where there is none (Redshift) a lock on
--- the table does.
---
--- A row is `open` from its first act, and `done` with the result at its last; `closed` shuts a late call out. One that is
--- seen open is of a statement that cannot share a transaction: then the session that began it is looked for.
local clock     = require "native.clock"
local databases = require "neap.targets.database"
local dialect   = require "neap.targets.sql.dialect"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local json      = require "native.json"
local task      = require "native.task"

local marker = {}

local KEPT = 30 * 24 * 3600  -- seconds that rows stay after the close of their run
local RESULT_LIMIT = 60000   -- bytes of a result; Redshift's longest text is 65535
local TAKE_TIMEOUT = 20      -- seconds to wait for a living transaction before it is said to run

local CREATE = {
  postgres = [[create table neap.effects (id varchar(80) primary key, run varchar(40) not null,
    state varchar(8) not null, result text, session varchar(120), made bigint not null, closed bigint)]],
  redshift = [[create table neap.effects (id varchar(80) not null, run varchar(40) not null,
    state varchar(8) not null, result varchar(65535), session varchar(120), made bigint not null, closed bigint)]],
  mysql = [[create table if not exists neap.effects (id varchar(80) character set ascii primary key,
    run varchar(40) character set ascii not null, state varchar(8) character set ascii not null, result longtext
    character set utf8mb4, session varchar(120) character set ascii, made bigint not null, closed bigint)
    engine=InnoDB]],
}
local SCHEMA = { postgres = "create schema neap", redshift = "create schema neap",
  mysql = "create database if not exists neap" }
local EXISTS = "select (select count(*) from information_schema.schemata where schema_name = 'neap') as has_schema, " ..
  "(select count(*) from information_schema.tables where table_schema = 'neap' and table_name = 'effects') " ..
  "as has_table, (select count(*) from information_schema.table_constraints where table_schema = 'neap' " ..
  "and table_name = 'effects' and constraint_type = 'PRIMARY KEY') as has_key"

local function ask(connection, text, params) return connection:query(connection.dialect:placed(text), params).rows end

local function act(connection, text, params, options)
  return connection:execute(connection.dialect:placed(text), params, options)
end

-- ---- the table ----

local function is_there_already(failure)
  return fault.is(failure) and (failure.code == "42P06" or failure.code == "42P07" or failure.code == "23505"
    or failure.code == "42S01")
end

local function create(connection, text)
  local ok, failure = pcall(act, connection, text)
  if ok or is_there_already(failure) then return end
  if fault.is(failure) and (failure.kind == "remote" or failure.kind == "denied") then
    fault.raise { kind = "denied", host = connection.name, code = failure.code, output = failure.message,
      message = ("%s does not let neap make its table neap.effects"):format(connection.name),
      hint = "have it made by somebody who may: " .. text:gsub("%s+", " ") }
  end
  error(failure, 0)
end

local function make_table(connection)
  local there = ask(connection, EXISTS)[1]
  if tonumber(there[1]) == 0 then create(connection, SCHEMA[connection.dialect.name]) end
  if tonumber(there[2]) == 0 then return create(connection, CREATE[connection.dialect.name]) end
  if tonumber(there[3]) > 0 or not connection.dialect.unique then return end
  fault.raise { kind = "conflict", host = connection.name,
    message = ("neap.effects of %s has no primary key, so nothing could be told from it"):format(connection.name),
    hint = "drop it if no run is open there: it is made anew" }
end

local function remove_old(connection)
  act(connection, "delete from neap.effects where closed < ?", { math.floor(clock.now()) - KEPT })
end

local function run_id() return task.context().run.uid end

--- Makes the place of the witnesses, once in a run and database; removes those of runs that were closed long ago. To be a
--- kind's `prepare`; its target has `database`.
--- @param target { database: string }
--- @return { database: string, run: string } place
function marker.prepare(target)
  local memory = databases.memory(target.database)
  if not memory.has_markers then
    databases.within(target.database, "change", function(connection)
      make_table(connection)
      remove_old(connection)
    end)
    memory.has_markers = true
  end
  return { database = target.database, run = run_id() }
end

--- From now on the rows of the run grow old. To be a kind's `release`.
--- @param target { database: string }
--- @param place { database: string, run: string }
function marker.release(target, place)
  databases.within(target.database, "change", act, "update neap.effects set closed = ? where run = ?",
    { math.floor(clock.now()), place.run })
end

-- ---- taking a row ----

--- Inserts the row; false where there is one already, for which it waits until it is certain. Within a transaction, or
--- without a unique index, it is to be called behind `lock`.
local function insert(connection, id, run, state, session)
  local params = { id, run, state, session or json.null, math.floor(clock.now()) }
  if not connection.dialect.unique then
    act(connection, "lock table neap.effects")
    if #act(connection, "select state from neap.effects where id = ?", { id }).rows > 0 then return false end
  end
  local ok, failure = pcall(act, connection,
    "insert into neap.effects (id, run, state, session, made) values (?, ?, ?, ?, ?)", params)
  if ok then return true end
  if fault.is(failure) and dialect.is_duplicate(failure) then return false end
  error(failure, 0)
end

local function too_late(connection)
  fault.raise { kind = "conflict", code = "closed", host = connection.name,
    message = ("this change of %s comes too late: what was to become of it was settled meanwhile")
      :format(connection.name) }
end

local function encoded(result)
  if result == nil then return json.null end
  local ok, text = pcall(json.encode, result)
  if not ok then
    fault.raise { kind = "conflict", message = "what it returned is no text that can be kept: " .. tostring(text) }
  end
  if #text <= RESULT_LIMIT then return text end
  fault.raise { kind = "conflict",
    message = ("the statement returned %d bytes; %d can be kept"):format(#text, RESULT_LIMIT),
    hint = "change without returning, and read what is there by a query" }
end

local function finish(connection, id, result)
  local updated = act(connection, "update neap.effects set state = 'done', result = ? where id = ? and state = 'open'",
    { encoded(result), id })
  if updated.affected == 1 then return end
  fault.raise { kind = "conflict", host = connection.name,
    message = ("the row of this change is not in neap.effects of %s any more"):format(connection.name) }
end

--- What failed in a transaction that the server has rolled back, in the engine's words: nothing of it stays.
local function rolled_back(connection, failure)
  if not fault.is(failure, "remote") then return failure end
  return fault.new { kind = dialect.kind_of(failure.code), code = failure.code, host = failure.host,
    where = failure.where, output = failure.output, hint = failure.hint,
    message = ("%s was rolled back: %s"):format(connection.name, failure.message) }
end

--- Ends the transaction after a failure; where that cannot be heard, only the row says what became of it.
local function roll_back(connection, failure)
  local ok, why = pcall(task.shield, act, connection, "rollback")
  connection.limit = nil -- what the server was told within the transaction is undone, too
  if ok then error(rolled_back(connection, failure), 0) end
  error(fault.is(failure, "remote") and why or failure, 0)
end

local CUT = { lost = true, timeout = true, cancelled = true }

local function check_in_transaction(connection)
  if connection:facts().in_transaction then return end
  fault.raise { kind = "lost", host = connection.name,
    message = ("a statement has ended the transaction on %s"):format(connection.name) }
end

local function within_transaction(connection, id, fn)
  if not insert(connection, id, run_id(), "open") then too_late(connection) end
  local result = fn(connection)
  check_in_transaction(connection)
  finish(connection, id, result)
  return result
end

local BEGIN = { postgres = "begin", redshift = "begin", mysql = "start transaction" }

--- Carries fn(connection) out in one transaction with the row of this call, which it begins with: all of it happens, once,
--- or nothing. What fn returns is plain data, of at most 60,000 bytes as JSON; it stays with the row. Raises kind
--- `conflict` (or `denied`, `missing`) with the SQLSTATE as code where the server refused something: then all is rolled
--- back.
--- @param name string  the database
--- @param call { witness: string }
--- @param fn fun(connection: neap.database.connection): any
--- @return any result
function marker.transaction(name, call, fn)
  return databases.within(name, "change", function(connection)
    connection.timeout = call.timeout
    act(connection, BEGIN[connection.dialect.name])
    local ok, result = pcall(within_transaction, connection, call.witness, fn)
    if not ok and fault.is(result) and CUT[result.kind] then error(result, 0) end
    if not ok then roll_back(connection, result) end
    local committed, failure = pcall(act, connection, "commit")
    if not committed then error(rolled_back(connection, failure), 0) end
    return result
  end)
end

-- ---- statements that cannot share a transaction ----

local SESSION = {
  postgres = "select pg_backend_pid() || ' ' || extract(epoch from backend_start) " ..
    "from pg_stat_get_activity(pg_backend_pid())",
  redshift = "select pg_backend_pid()::varchar",
  mysql = "select connection_id()",
}

--- Tells the server's list of sessions whose statement this is.
local function named(connection, id, text)
  if connection.dialect.name == "mysql" then return ("/* neap %s */ %s"):format(id, text) end
  act(connection, "set application_name to " .. connection.dialect:literal("neap " .. id))
  return text
end

local function begin_outside(connection, call)
  connection.timeout = call.timeout
  local session = tostring(ask(connection, SESSION[connection.dialect.name])[1][1])
  if connection.dialect.unique then
    if not insert(connection, call.witness, run_id(), "open", session) then too_late(connection) end
    return
  end
  act(connection, "begin") -- the lock that stands in for the index lasts as long as a transaction
  local ok, inserted = pcall(insert, connection, call.witness, run_id(), "open", session)
  act(connection, ok and inserted and "commit" or "rollback")
  if not ok then error(inserted, 0) end
  if not inserted then too_late(connection) end
end

--- What a server refused stays to be seen: it may have done a part of it.
local function carry_out_outside(connection, id, fn)
  local ok, result = pcall(fn, connection)
  if ok then
    finish(connection, id, result)
    return result
  end
  if not fault.is(result) or not CUT[result.kind] then
    act(connection, "update neap.effects set state = 'failed' where id = ?", { id })
  end
  error(result, 0)
end

--- Carries one statement out that commits by itself: the row before it, and what came of it after.
--- @param name string  the database
--- @param call { witness: string, timeout: number }
--- @param text string
--- @param params fun(connection: neap.database.connection): any[]  as the native module takes them
--- @param result_of fun(result: table): any
--- @return any result
function marker.outside(name, call, text, params, result_of)
  return databases.within(name, "change", function(connection)
    begin_outside(connection, call)
    local given = named(connection, call.witness, text)
    return carry_out_outside(connection, call.witness, function()
      return result_of(connection:execute(given, params(connection)))
    end)
  end)
end

--- Carries out what puts a state, to be a part of a kind's `put`: in one transaction with its row where the server can;
--- MariaDB, whose DDL commits by itself, between two acts on the row, so that what was cut short is compared.
--- @param name string  the database
--- @param call { witness: string, timeout: number }
--- @param fn fun(connection: neap.database.connection): any
function marker.put(name, call, fn)
  if databases.dialect(name).transactional_ddl then return marker.transaction(name, call, fn) end
  databases.within(name, "change", function(connection)
    begin_outside(connection, call)
    carry_out_outside(connection, call.witness, fn)
  end)
end

local RUNNING = {
  postgres = "select pid, state from pg_stat_activity where pid::text || ' ' || extract(epoch from backend_start) = ?",
  redshift = "select process, 'active' from stv_sessions where process::varchar = ?",
  mysql = "select id, case when info is null then 'idle' else 'active' end from information_schema.processlist " ..
    "where id = ?",
}

--- The session that began a statement is alive: what it does is waited for; one that does nothing cannot begin any more
--- once it is ended.
local function session_state(connection, session)
  local ok, rows = pcall(ask, connection, RUNNING[connection.dialect.name], { session })
  if not ok then return "unknown" end
  if not rows[1] then return "gone" end
  if rows[1][2] == "active" then return "running" end
  local pid = math.tointeger(tonumber(rows[1][1]))
  local ending = connection.dialect.name == "mysql" and "kill %d" or "select pg_terminate_backend(%d)"
  pcall(act, connection, ending:format(pid))
  return "gone"
end

--- What a query says of a statement or, where that was to take it back, of its undo.
local function probed(connection, intent)
  local probe = type(intent.data) == "table" and intent.data.done
  if not probe then return "unknown", "its statement was begun, and nothing says how it ended" end
  local found = connection:query(probe).rows[1]
  local value = found and found[1]
  local there = value and value ~= json.null and value ~= 0 and value ~= "0" and value ~= "f"
  if intent.undoes then there = not there end
  return there and "done" or "void"
end

local function verdict_of_open(connection, row, intent)
  if row[3] == json.null then return "partial", "a statement of it ended the transaction that it was in" end
  local state = session_state(connection, row[3])
  if state == "running" then return "running", "the statement still runs" end
  return probed(connection, intent)
end

local function verdict_of(connection, id, intent)
  local row = ask(connection, "select state, result, session from neap.effects where id = ?", { id })[1]
  if not row then
    fault.raise { kind = "conflict", host = connection.name,
      message = ("neap.effects of %s has lost a row"):format(connection.name) }
  end
  if row[1] == "done" then return "done", row[2] ~= json.null and json.decode(row[2]) or nil end
  if row[1] == "closed" then return "void" end
  if row[1] == "failed" then return "partial", "the server refused it" end
  return verdict_of_open(connection, row, intent)
end

local function close_row(connection, id)
  if connection.dialect.unique then return insert(connection, id, run_id(), "closed") end
  act(connection, "begin")
  local ok, made = pcall(insert, connection, id, run_id(), "closed")
  act(connection, ok and "commit" or "rollback")
  if not ok then error(made, 0) end
  return made
end

--- Takes the row of a call, so that it cannot happen any more if it has not happened; then says what became of it. To be a
--- kind's `take`. A living transaction is waited for.
--- @param target { database: string }
--- @param id string
--- @param intent table  its data may have `done`: a query whose first value says whether it happened
--- @return "done"|"void"|"running"|"partial"|"unknown" verdict
--- @return any detail
function marker.take(target, id, intent)
  return databases.within(target.database, "change", function(connection)
    connection.timeout = TAKE_TIMEOUT
    local ok, made = pcall(close_row, connection, id)
    if ok and made then return "void" end
    if ok then return verdict_of(connection, id, intent) end
    if fault.is(made) and dialect.is_waiting(made) then return "running", "a transaction of it is still open" end
    error(made, 0)
  end)
end

--- The same for a state that marker.put puts: where the row cannot tell, nil, and the state is compared.
--- @param target { database: string }
--- @param id string
--- @param intent table
--- @return "done"|"void"|"running"|nil verdict
--- @return any detail
function marker.take_state(target, id, intent)
  local verdict, detail = marker.take(target, id, intent)
  if verdict == "done" or verdict == "void" or verdict == "running" then return verdict, detail end
end

-- ---- for what keeps more in its row than whether it happened ----

--- Makes the table where there is none.
marker.make_table = make_table

--- Inserts the row of a call, open, with the session that carries it out; raises `conflict` where it comes too late.
marker.begin = begin_outside

--- Takes the row of a call; false where there is one already.
marker.close_row = close_row

--- "running", "gone" or "unknown": what became of the session that began something.
marker.session_state = session_state

--- The rows of the effects of a run, for tests and people.
--- @param name string
--- @param run string
--- @return table[]
marker.rows = effect.read("sql.marker_rows", function(name, run)
  return databases.within(name, "read", function(connection)
    return ask(connection, "select id, state, result from neap.effects where run = ? order by made, id", { run })
  end)
end)

return marker
