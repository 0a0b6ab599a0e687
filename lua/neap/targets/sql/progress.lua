--- How far a script has come, in the row of its witness: moved on in the transaction of each statement, so that the row
--- says what has happened, and a call whose row was closed meanwhile changes nothing any more.
---
--- A state is { script, index, line, begun?, gets? }: `index` is the last statement that is done, `begun` the one that
--- cannot share a transaction and was begun after it, `gets` what \gset has read.
local databases = require "neap.targets.database"
local dialect   = require "neap.targets.sql.dialect"
local fault     = require "native.error"
local json      = require "native.json"
local marker    = require "neap.targets.sql.marker"
local task      = require "native.task"

local progress = {}

local TAKE_TIMEOUT = 20 -- seconds to wait for a statement that still runs before that is said

local MOVE = {
  postgres = "update neap.effects set result = $1 where id = $2 and state = 'open'",
  mysql = "update neap.effects set result = ? where id = ? and state = 'open'",
}
MOVE.redshift = MOVE.postgres

local function act(connection, sql, params) return connection:execute(connection.dialect:placed(sql), params) end

local function ask(connection, sql, params) return connection:query(connection.dialect:placed(sql), params).rows end

local function encoded(state)
  if not state.gets and not state.begun then
    return ('{"script":"%s","index":%d,"line":%d}'):format(state.script, state.index, state.line)
  end
  return json.encode(state)
end

local function decoded(text)
  local ok, state = pcall(json.decode, text)
  return ok and type(state) == "table" and math.type(state.index) == "integer" and state or nil
end

local function too_late(connection)
  fault.raise { kind = "conflict", code = "closed", host = connection.name,
    message = ("the script comes too late to %s: what was to become of it was settled meanwhile")
      :format(connection.name) }
end

--- Writes the state down, as a part of the transaction that is open. Raises kind `conflict`, code "closed", where the
--- row is not this call's any more.
--- @param connection neap.database.connection
--- @param id string
--- @param state table
function progress.move(connection, id, state)
  local result = connection:execute(MOVE[connection.dialect.name], { encoded(state), id })
  if result.affected ~= 1 then too_late(connection) end
end

--- Moves a state on in a session of its own: planned once. What is not open any more is no number, which is an error.
local PREPARE = [[prepare neap_move (text) as update neap.effects set result = case when state = 'open' then $1
  else ('neap closed ' || state)::int::text end where id = %s]]

--- In MariaDB what is not open is out of every number's range, whatever the session takes for an error.
local MARK = {
  postgres = "execute neap_move(%s)",
  mysql = "update neap.effects set result = if(state = 'open', %s, exp(710 + length(state))) where id = %s",
}

--- Has a session ready for what `marks` makes.
--- @param connection neap.database.connection
--- @param id string
function progress.prepare(connection, id)
  if connection.dialect.name ~= "postgres" then return end
  connection:execute(PREPARE:format(connection.dialect:literal(id)))
end

--- What makes the statements that write a state down, to be sent among others. Carried out by a call whose row is closed they
--- are errors.
--- @param connection neap.database.connection
--- @param id string
--- @param script string
--- @return fun(index: integer, line: integer, gets: table?): string
function progress.marks(connection, id, script)
  local sql = connection.dialect
  local mark, own = MARK[sql.name], sql:literal(id)
  return function(index, line, gets)
    local state = encoded { script = script, index = index, line = line, gets = gets }
    return mark:format(sql:literal(state), own)
  end
end

--- What the row of a call says. Raises what `move` raises where it is not open.
--- @param connection neap.database.connection
--- @param id string
--- @return table state
function progress.written(connection, id)
  local row = connection:execute(connection.dialect:placed "select state, result from neap.effects where id = ?",
    { id }).rows[1]
  if not row or row[1] ~= "open" then too_late(connection) end
  return decoded(row[2])
end

--- Whether a statement was refused because the script has discarded what was made ready for `marks`.
--- @param failure any
--- @return boolean
function progress.is_unprepared(failure)
  return fault.is(failure, "remote") and failure.code == "26000" and failure.message:find("neap_move", 1, true) ~= nil
end

--- A statement that cannot share a transaction has ended; also after the row was closed, for whoever asks then.
function progress.ended(connection, id, state)
  act(connection, "update neap.effects set result = ? where id = ?", { encoded(state), id })
  local row = ask(connection, "select state from neap.effects where id = ?", { id })[1]
  if row[1] ~= "open" then too_late(connection) end
end

--- The rows of earlier parts that somebody had to decide about, or of an undo that is begun again: the furthest of
--- them, which counts for the part that begins now.
local function inherited(connection, script, states)
  local furthest
  local rows = ask(connection, ("select id, result from neap.effects where run = ? and state in (%s) and result like ?")
    :format(states), { task.context().run.uid, ('%%"script":"%s"%%'):format(script) })
  for _, row in ipairs(rows) do
    local state = row[2] ~= json.null and decoded(row[2])
    if state and (not furthest or state.index > furthest.index) then furthest = state end
    act(connection, "update neap.effects set state = 'passed' where id = ?", { row[1] })
  end
  return furthest
end

--- Takes the row of a call and says how far earlier ones have come: in this database, by any of those states.
--- @param connection neap.database.connection
--- @param call { witness: string }
--- @param script string  by which a script's rows are known
--- @param undoing boolean
--- @return table? state
function progress.begin(connection, call, script, undoing)
  local furthest = inherited(connection, script, undoing and "'closed', 'open', 'failed'" or "'closed'")
  marker.begin(connection, call)
  return furthest
end

--- The script has ended, or stopped at a statement that was refused.
function progress.finish(connection, id, state, name)
  local updated = act(connection, "update neap.effects set state = ?, result = ? where id = ?",
    { name or "done", encoded(state), id })
  if updated.affected ~= 1 then too_late(connection) end
end

-- ---- settling ----

local function closed(connection, id)
  connection.timeout = TAKE_TIMEOUT
  marker.make_table(connection)
  if marker.close_row(connection, id) then return nil end
  act(connection, "update neap.effects set state = 'closed' where id = ? and state = 'open'", { id })
  local row = ask(connection, "select result, session from neap.effects where id = ?", { id })[1]
  local state = row and row[1] ~= json.null and decoded(row[1]) or { index = 0, line = 0 }
  state.session = row and row[2] ~= json.null and row[2] or nil
  if state.begun and state.session then state.still = marker.session_state(connection, state.session) end
  return state
end

--- The furthest state among the databases that a script goes to; those that are not there yet hold none.
local function furthest_of(target, id, names)
  local furthest
  for i = 0, #names do
    local place = { name = target.database, inside = names[i], apart = "settling" }
    local ok, state = pcall(databases.apart, place, function(connection) return closed(connection, id) end)
    if not ok and not (i > 0 and fault.is(state) and state.kind == "missing") then error(state, 0) end
    if ok and state and (not furthest or state.index >= furthest.index) then furthest = state end
  end
  return furthest
end

local function where_begun(begun)
  return ("statement %d, line %d of %s, was begun, and nothing says how it ended: %s"):format(begun.index, begun.line,
    begun.file, begun.text)
end

--- Shuts a call out and says how far it has come: a kind's `take` for the parts of a script.
--- @param target { database: string }
--- @param id string
--- @param intent table
--- @return "done"|"void"|"running"|"unknown"|"partial" verdict
--- @return any detail  done: { upto, line, gets, said }
function progress.take(target, id, intent)
  local given = intent.undoes and intent.undo or intent.data
  if given.transaction then return marker.take(target, id, intent) end
  local ok, state = pcall(furthest_of, target, id, given.databases or {})
  if not ok then
    if fault.is(state) and dialect.is_waiting(state) then return "running", "a statement of it still runs" end
    error(state, 0)
  end
  if not state then return "void" end
  if state.begun and state.begun.index > state.index then
    if state.still == "running" then return "running", where_begun(state.begun) end
    return "unknown", where_begun(state.begun)
  end
  if intent.undoes then
    if state.index >= given.statements then return "done" end
    local how_far = ("%d of %d statements are done"):format(state.index, given.statements)
    return state.index > 0 and "partial" or "void", how_far
  end
  if state.index < (given.from or 1) then return "void" end
  return "done", { upto = state.index, line = state.line, gets = state.gets,
    said = ("%d of %d statements are done, up to line %d"):format(state.index, given.statements, state.line) }
end

return progress
