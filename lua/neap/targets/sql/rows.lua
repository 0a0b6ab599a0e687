--- Rows of a table as a state, known by their key: put, changed or taken away in one transaction, with what was there
--- before kept in the journal up to a size; beyond that in a table beside it.
---
--- Values are compared as the texts that the server writes of them, so that what is read is what was put.
local databases   = require "neap.targets.database"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local json        = require "native.json"
local marker      = require "neap.targets.sql.marker"
local ordered     = require "neap.ordered"
local schema      = require "neap.targets.sql.schema"
local secret      = require "native.secret"
local transaction = require "neap.targets.sql.transaction"
local values      = require "neap.targets.sql.values"

local rows = {}

local MOST_ROWS, MOST_BYTES = 10000, 8 * 1024 * 1024
local BESIDE = "say backup = \"a_new_table\": what is there is kept in that, by a condition alone"
local AT_ONCE = 200 -- rows a statement asks for or takes

-- ---- the table ----

local COLUMNS = {
  postgres = [[select a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_attribute a
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by a.attnum]],
  mysql = "select column_name, column_type from information_schema.columns where table_schema = ? " ..
    "and table_name = ? and is_generated = 'NEVER' order by ordinal_position",
}

--- A table's name in the parts it is given in: "people", "app.people", or { "app", "odd.name" }.
local function name_parts(name, level)
  if type(name) == "table" then return name end
  if type(name) ~= "string" then error("a table has a name", level + 1) end
  local first, second = name:match "^([^.]+)%.([^.]+)$"
  return first and { first, second } or { name }
end

local function quoted(sql, parts) return sql:path(table.unpack(parts)) end

--- The columns of a table and their types, in order.
local function columns_of(connection, parts)
  local sql = connection.dialect
  local params = { quoted(sql, parts) }
  if sql.name == "mysql" then
    local own = connection:query("select database()").rows[1][1]
    params = { parts[2] and parts[1] or own, parts[2] or parts[1] }
  end
  local list, types = {}, {}
  for i, row in ipairs(connection:query(COLUMNS[sql.name], params).rows) do
    list[i], types[row[1]] = row[1], row[2]
  end
  if #list == 0 then
    fault.raise { kind = "missing", host = connection.name,
      message = ("there is no table %s"):format(table.concat(parts, ".")) }
  end
  return list, types
end

--- A column as the text that stands for its value.
local function as_text(sql, column, column_type)
  local name = sql:ident(column)
  if sql.name ~= "mysql" then return name .. "::text" end
  local kind = column_type:lower()
  if kind:find "blob" or kind:find "binary" or kind:find "^bit" then return "hex(" .. name .. ")" end
  return "cast(" .. name .. " as char)"
end

--- The placeholder for that text, of the column's type.
local function of_text(sql, n, column_type)
  if sql.name ~= "mysql" then return ("%s::text::%s"):format(sql:parameter(n), column_type) end
  local kind = column_type:lower()
  return (kind:find "blob" or kind:find "binary" or kind:find "^bit") and "unhex(?)" or "?"
end

-- ---- keys and states ----

--- Rows are known by the texts of their key, in JSON: ["1","a"].
local function key_of(row, key)
  local parts = {}
  for i, column in ipairs(key) do parts[i] = row[column] or error("a key is not NULL", 0) end
  return json.encode(json.array(parts))
end

--- "(a, b) in (($1, $2), …)" for some keys, and their values.
local function among(sql, target, keys)
  local names, tuples, params = {}, {}, {}
  for i, column in ipairs(target.key) do names[i] = sql:ident(column) end
  for i, text in ipairs(keys) do
    local places = {}
    for j, value in ipairs(json.decode(text)) do
      params[#params + 1] = value
      places[j] = of_text(sql, #params, target.types[target.key[j]])
    end
    tuples[i] = "(" .. table.concat(places, ", ") .. ")"
  end
  return ("(%s) in (%s)"):format(table.concat(names, ", "), table.concat(tuples, ", ")), params
end

local function chunks(list)
  local at = 1
  return function()
    if at > #list then return nil end
    local part = table.move(list, at, math.min(at + AT_ONCE - 1, #list), 1, {})
    at = at + AT_ONCE
    return part
  end
end

--- The rows of a target that are there: key -> column -> text; what is NULL is not there. `ask(text, params)` gives rows.
local function read_rows(sql, target, keys, ask, locked)
  local selected = {}
  for i, column in ipairs(target.columns) do selected[i] = as_text(sql, column, target.types[column]) end
  local state = {}
  for part in chunks(keys) do
    local condition, params = among(sql, target, part)
    local text = ("select %s from %s where %s%s"):format(table.concat(selected, ", "), quoted(sql, target.parts),
      condition, locked and " for update" or "")
    for _, row in ipairs(ask(text, params)) do
      local named = values.row(target.columns, row)
      state[key_of(named, target.key)] = named
    end
  end
  return state
end

-- ---- putting ----

local function delete(connection, target, keys)
  for part in chunks(keys) do
    local condition, params = among(connection.dialect, target, part)
    connection:execute(("delete from %s where %s"):format(quoted(connection.dialect, target.parts), condition), params)
  end
end

local function value_of(row, column) return row[column] == nil and json.null or row[column] end

local function insert(connection, target, row)
  local sql, names, places, params = connection.dialect, {}, {}, {}
  for i, column in ipairs(target.columns) do
    names[i], params[i] = sql:ident(column), value_of(row, column)
    places[i] = of_text(sql, i, target.types[column])
  end
  local overriding = sql.name ~= "mysql" and " overriding system value" or ""
  connection:execute(("insert into %s (%s)%s values (%s)"):format(quoted(sql, target.parts), table.concat(names, ", "),
    overriding, table.concat(places, ", ")), params)
end

local function update(connection, target, before, row)
  local sql, sets, params = connection.dialect, {}, {}
  for _, column in ipairs(target.columns) do
    if before[column] ~= row[column] then
      params[#params + 1] = value_of(row, column)
      sets[#sets + 1] = ("%s = %s"):format(sql:ident(column), of_text(sql, #params, target.types[column]))
    end
  end
  local tests = {}
  for _, column in ipairs(target.key) do
    params[#params + 1] = row[column]
    tests[#tests + 1] = ("%s = %s"):format(sql:ident(column), of_text(sql, #params, target.types[column]))
  end
  connection:execute(("update %s set %s where %s"):format(quoted(sql, target.parts), table.concat(sets, ", "),
    table.concat(tests, " and ")), params)
end

--- What is there is locked and must be what was seen: nobody's change in between is lost.
local function check_unchanged(connection, target, seen)
  local now = read_rows(connection.dialect, target, target.keys,
    function(text, params) return connection:execute(text, params).rows end, true)
  for _, key in ipairs(target.keys) do
    if not effect.same(now[key], seen[key]) then
      fault.raise { kind = "conflict", host = connection.name,
        message = ("the row %s of %s was changed by somebody else meanwhile"):format(key,
          table.concat(target.parts, ".")) }
    end
  end
end

local function put(target, state, call)
  state = state or {}
  local before = call.before or {}
  marker.transaction(target.database, call, function(connection)
    check_unchanged(connection, target, before)
    local gone = {}
    for _, key in ipairs(ordered.keys(before)) do
      if not state[key] then gone[#gone + 1] = key end
    end
    delete(connection, target, gone)
    for _, key in ipairs(ordered.keys(state)) do
      if not before[key] then
        insert(connection, target, state[key])
      elseif not effect.same(before[key], state[key]) then
        update(connection, target, before[key], state[key])
      end
    end
  end)
end

local function text_of(state)
  local lines = {}
  for i, key in ipairs(ordered.keys(state)) do
    local parts, row = {}, state[key]
    for j, column in ipairs(ordered.keys(row)) do parts[j] = ("%s=%s"):format(column, row[column]) end
    lines[i] = table.concat(parts, " ") .. "\n"
  end
  return table.concat(lines)
end

local function get(target)
  local state = databases.within(target.database, "read", function(connection)
    return read_rows(connection.dialect, target, target.keys,
      function(text, params) return connection:query(text, params).rows end)
  end)
  return next(state) and state or nil
end

--- Target { database, parts: of the table's name, key, keys: JSON of each row's, columns, types }; state: key -> column ->
--- text, nil where none of the rows is there.
effect.resource "sql.rows" {
  prepare = marker.prepare, take = marker.take, release = marker.release, text = text_of, get = get, put = put,
  timeout = 3600,
  show = function(target)
    return ("%s %s, %d row%s"):format(target.database, table.concat(target.parts, "."), #target.keys,
      #target.keys == 1 and "" or "s")
  end,
}

-- ---- a table beside ----

--- Target { database, parts, of, condition, params }; state { rows }, nil where there is no such table.
effect.resource "sql.backup" {
  prepare = marker.prepare, take = marker.take_state, release = marker.release, timeout = 3600,
  show = function(target) return ("%s %s, a copy out of %s"):format(target.database, table.concat(target.parts, "."),
    table.concat(target.of, ".")) end,
  text = function(state) return ("%d rows"):format(state.rows) end,
  get = function(target)
    return databases.within(target.database, "read", function(connection)
      local ok, result = pcall(connection.query, connection, "select count(*) from " ..
        quoted(connection.dialect, target.parts))
      if ok then return { rows = result.rows[1][1] } end
      if fault.is(result) and (result.code == "42P01" or result.code == "42S02") then return nil end
      error(result, 0)
    end)
  end,
  put = function(target, state, call)
    marker.put(target.database, call, function(connection)
      local sql = connection.dialect
      local name = quoted(sql, target.parts)
      if not state then return connection:execute("drop table " .. name) and nil end
      connection:execute(("create table %s as select * from %s%s"):format(name, quoted(sql, target.of),
        target.condition and " where " .. target.condition or ""), values.for_server(connection, target.params))
    end)
  end,
}

local count = effect.read("sql.count", function(target, text, params)
  return databases.within(target.database, "read", function(connection)
    return connection:query(text, values.for_server(connection, params)).rows[1][1]
  end)
end)

local BACKUP_OPTIONS = { where = true, params = true }

local function backup_of(db, parts, name, one, options)
  local sql = databases.dialect(db)
  local target = { database = databases.name(db), parts = name_parts(name, 3), of = parts,
    condition = one and one.text, params = one and one.params or {} }
  effect.change("sql.backup", target, function(before)
    if before then return before end
    return { rows = count({ database = target.database }, ("select count(*) from %s%s"):format(quoted(sql, parts),
      one and " where " .. one.text or ""), target.params) }
  end, options)
  return target
end

--- Copies a table, or those rows of it, into a new one beside it; one that is there is left as it is. A rollback drops it.
--- @param db neap.database|string
--- @param table_name string|string[]  "people", "app.people", or its parts
--- @param name string|string[]       the new table
--- @param options? { where?: string, params?: any[], keep?: string, irreversible?: string, timeout?: number }
function rows.backup(db, table_name, name, options)
  local change
  options, change = schema.options(options, BACKUP_OPTIONS, 2)
  local one = options.where and transaction.statement(options.where, options.params, 2)
  backup_of(db, name_parts(table_name, 2), name, one, change)
end

-- ---- the word ----

local OPTIONS = { key = true, rows = true, where = true, params = true, set = true, remove = true, most = true,
  backup = true }

--- What the table is like and, for a condition, which rows it is about: recorded, so that a step that runs again after an
--- interruption does not take what it changed itself for something else.
local look = effect.read("sql.rows_of", function(target, condition, params, most)
  return databases.within(target.database, "read", function(connection)
    local columns, types = columns_of(connection, target.parts)
    if not condition then return { columns = columns, types = types } end
    local sql, selected = connection.dialect, {}
    for i, column in ipairs(target.key) do selected[i] = as_text(sql, column, types[column] or "") end
    local found = connection:query(("select %s from %s where %s limit %d"):format(table.concat(selected, ", "),
      quoted(sql, target.parts), condition, most + 1), values.for_server(connection, params), { max_rows = most + 1 })
    local keys = {}
    for i, row in ipairs(found.rows) do keys[i] = key_of(values.row(target.key, row), target.key) end
    table.sort(keys)
    return { columns = columns, types = types, keys = keys }
  end)
end)

--- An expression for the text that a column of this type gives back for a parameter.
local function canonical_text(sql, n, column_type, packed)
  if sql.name ~= "mysql" then return ("(%s::%s)::text"):format(sql:parameter(n), column_type) end
  local kind = column_type:lower()
  if type(packed) == "table" and packed.is == "null" then return "?" end
  if kind:find "blob" or kind:find "binary" then return "hex(?)" end
  local digits, scale = kind:match "^decimal%((%d+),(%d+)%)"
  if digits then return ("cast(cast(? as decimal(%s,%s)) as char)"):format(digits, scale) end
  local fraction = kind:match "^%a+%((%d)%)"
  if kind:find "^datetime" or kind:find "^timestamp" then
    return ("cast(cast(? as datetime(%s)) as char)"):format(fraction or "0")
  end
  if kind:find "^date" then return "cast(cast(? as date) as char)" end
  if kind:find "^time" then return ("cast(cast(? as time(%s)) as char)"):format(fraction or "0") end
  if kind:find "int" then
    return ("cast(cast(? as %s) as char)"):format(kind:find "unsigned" and "unsigned" or "signed")
  end
  if kind:find "^double" or kind:find "^float" or kind:find "^bit" then
    error(("a %s cannot be compared: change it by db:execute with its undo"):format(column_type), 0)
  end
  return "cast(? as char)"
end

--- The texts by which a server knows the values that were given, so that they can be compared.
local function canonical(target, given)
  return databases.within(target.database, "read", function(connection)
    local list = {}
    for i, row in ipairs(given) do
      local selected, names, params = {}, {}, {}
      for _, column in ipairs(ordered.keys(row)) do
        local column_type = target.types[column]
        if not column_type then
          error(("%s has no column %q"):format(table.concat(target.parts, "."), column), 0)
        end
        if secret.is(row[column]) then error("a secret is no part of a state: it is put by db:execute", 0) end
        local packed = values.pack({ row[column] }, 1)
        names[#names + 1] = column
        params[#params + 1] = values.for_server(connection, packed)[1]
        selected[#selected + 1] = canonical_text(connection.dialect, #params, column_type, packed[1])
      end
      local found = connection:query("select " .. table.concat(selected, ", "), params).rows[1]
      list[i] = values.row(names, found)
    end
    return list
  end)
end

local function check_size(target, before)
  local bytes = 0
  for _, row in pairs(before or {}) do
    for _, value in pairs(row) do bytes = bytes + #value end
  end
  if bytes <= MOST_BYTES then return end
  fault.raise { kind = "conflict", host = target.database,
    message = ("what is there of %s takes %d bytes; %d are kept in the journal"):format(
      table.concat(target.parts, "."), bytes, MOST_BYTES), hint = BESIDE }
end

local function too_many(target, most)
  fault.raise { kind = "conflict", host = target.database,
    message = ("more than %d rows of %s"):format(most, table.concat(target.parts, ".")),
    hint = BESIDE }
end

--- The state with these rows put into it, columns that are not said left as they are.
local function with_rows(target, before, given)
  local state = {}
  for key, row in pairs(before or {}) do state[key] = row end
  for _, row in ipairs(given) do
    local key = key_of(row, target.key)
    local merged = {}
    for column, value in pairs(state[key] or {}) do merged[column] = value end
    for column in pairs(target.said) do merged[column] = row[column] end
    state[key] = merged
  end
  return state
end

local function list_of(key, level)
  if type(key) == "string" then return { key } end
  if type(key) == "table" and #key > 0 then return key end
  error("which key? key = \"id\", or key = { \"a\", \"b\" }", level + 1)
end

local function check_use(options, level)
  local by_condition = options.where ~= nil
  if by_condition == (options.rows ~= nil) then error("either rows, or where with its params", level + 1) end
  if by_condition and not options.remove == not options.set then
    error("where takes either set or remove", level + 1)
  end
  if options.backup and not by_condition then error("backup goes with where", level + 1) end
  if not by_condition and options.set then error("set goes with where; rows say their own values", level + 1) end
end

--- The columns that these rows speak of; each speaks of the same.
local function said_by(list, level)
  local said = {}
  for column in pairs(list[1] or {}) do said[column] = true end
  for _, row in ipairs(list) do
    for column in pairs(row) do
      if not said[column] then error(("not all rows speak of %s"):format(tostring(column)), level + 1) end
    end
    for column in pairs(said) do
      if row[column] == nil then error(("not all rows speak of %s: NULL is sql.null"):format(column), level + 1) end
    end
  end
  return said
end

--- Those columns of a table that a state has to hold: all for rows that may go or come, else the key and what is set.
local function columns_needed(target, all, options)
  if options.rows or options.remove then return all end
  local list = {}
  for _, column in ipairs(all) do
    local wanted = options.set[column] ~= nil
    for _, name in ipairs(target.key) do wanted = wanted or name == column end
    if wanted then list[#list + 1] = column end
  end
  return list
end

local function complete(target, found, options)
  target.types = {}
  target.columns = columns_needed(target, found.columns, options)
  for _, column in ipairs(target.columns) do target.types[column] = found.types[column] end
  for _, column in ipairs(target.key) do
    if not found.types[column] then error(("the table has no column %q"):format(column), 0) end
  end
end

--- The rows as they are to be, by what is said of them; nil where they are to go.
local function given_rows(target, found, options)
  if options.rows then return canonical(target, options.rows) end
  if options.remove then return {} end
  local set = canonical(target, { options.set })[1]
  local list = {}
  for i, text in ipairs(found.keys) do
    local row = {}
    for column, value in pairs(set) do row[column] = value end
    for j, value in ipairs(json.decode(text)) do row[target.key[j]] = value end
    list[i] = row
  end
  return list
end

local function keys_of(target, given)
  local keys, seen = {}, {}
  for i, row in ipairs(given) do
    keys[i] = key_of(row, target.key)
    if seen[keys[i]] then error(("the key %s stands twice"):format(keys[i]), 0) end
    seen[keys[i]] = true
  end
  table.sort(keys)
  return keys
end

-- ---- with a table beside ----

--- "a = b.a, …" or "t.a = b.a and …" for the columns.
local function pairwise(sql, columns, left, joint)
  local list = {}
  for i, column in ipairs(columns) do
    list[i] = ("%s%s = neap_kept.%s"):format(left, sql:ident(column), sql:ident(column))
  end
  return table.concat(list, joint)
end

--- The statement that puts rows back out of the table beside.
local function restoring(sql, target, found, beside, options)
  local name, kept = quoted(sql, target.parts), quoted(sql, name_parts(beside, 1))
  if options.remove then
    local names = {}
    for i, column in ipairs(found.columns) do names[i] = sql:ident(column) end
    local list = table.concat(names, ", ")
    local overriding = sql.name ~= "mysql" and " overriding system value" or ""
    return ("insert into %s (%s)%s select %s from %s"):format(name, list, overriding, list, kept)
  end
  local columns = ordered.keys(options.set)
  if sql.name == "mysql" then
    return ("update %s as neap_now join %s as neap_kept on %s set %s"):format(name, kept,
      pairwise(sql, target.key, "neap_now.", " and "), pairwise(sql, columns, "neap_now.", ", "))
  end
  return ("update %s as neap_now set %s from %s as neap_kept where %s"):format(name, pairwise(sql, columns, "", ", "),
    kept, pairwise(sql, target.key, "neap_now.", " and "))
end

--- The statement that changes rows by a condition. The values of the condition come first where they have numbers.
local function changing(sql, target, one, options)
  local name = quoted(sql, target.parts)
  if options.remove then return { text = ("delete from %s where %s"):format(name, one.text), params = one.params } end
  local numbered = sql.name ~= "mysql"
  local params, sets = numbered and { table.unpack(one.params) } or {}, {}
  for i, column in ipairs(ordered.keys(options.set)) do
    params[#params + 1] = values.pack({ options.set[column] }, 1)[1]
    sets[i] = ("%s = %s"):format(sql:ident(column), sql:parameter(#params))
  end
  if not numbered then table.move(one.params, 1, #one.params, #params + 1, params) end
  return { text = ("update %s set %s where %s"):format(name, table.concat(sets, ", "), one.text), params = params }
end

local function change_beside(db, target, one, options, change)
  local sql = databases.dialect(db)
  local found = look(target, nil, {}, 0)
  backup_of(db, target.parts, options.backup, one, change)
  local statement = changing(sql, target, one, options)
  local undo = { { text = restoring(sql, target, found, options.backup, options), params = {} } }
  effect.perform("sql.execute", { database = target.database }, statement,
    { undo = undo, keep = change.keep, irreversible = change.irreversible, timeout = change.timeout })
end

--- Makes rows of a table be so, known by their key, in one transaction; a rollback puts back what was there, row by row,
--- and stops where somebody else has changed one since.
---   rows = { { id = 1, name = "x" }, … }: these are there; columns not said stay as they are, and are NULL in new rows
---   rows = …, remove = true: those with these keys are not there
---   where = "state = $1", params = { "old" }, with set = { state = "new" } or remove = true
--- @param db neap.database|string
--- @param table_name string|string[]  "people", "app.people", or its parts
---
--- With where, `backup = "a_new_table"` keeps what was there in a table beside, whatever its size, instead of the journal.
--- @param options table  key, rows, where, params, set, remove, backup, most (rows; default 10,000); keep, irreversible,
---   timeout
function rows.rows(db, table_name, options)
  local change
  options, change = schema.options(options, OPTIONS, 2)
  check_use(options, 2)
  local most = options.most or MOST_ROWS
  local target = { database = databases.name(db), parts = name_parts(table_name, 2), key = list_of(options.key, 2) }
  local one = options.where and transaction.statement(options.where, options.params, 2)
  if options.backup then return change_beside(db, target, one, options, change) end
  local found = look(target, one and one.text, one and one.params or {}, most)
  complete(target, found, options)
  target.said = options.rows and said_by(options.rows, 2) or options.set and said_by({ options.set }, 2) or {}
  for _, column in ipairs(target.key) do target.said[column] = true end
  local given = given_rows(target, found, options)
  target.keys = found.keys or keys_of(target, given)
  if #target.keys > most then too_many(target, most) end
  if #target.keys == 0 then return end
  local said = target
  target = { database = said.database, parts = said.parts, key = said.key, keys = said.keys, columns = said.columns,
    types = said.types }
  effect.change("sql.rows", target, function(before)
    check_size(target, before)
    if options.remove then return nil end
    return with_rows(said, before, given)
  end, change)
end

return rows
