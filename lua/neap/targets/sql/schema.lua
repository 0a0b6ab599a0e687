--- Schemas and databases as states: who owns them, and that they are there. What is not empty is not dropped.
local databases = require "neap.targets.database"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local hosts     = require "neap.targets.connection"
local json      = require "native.json"
local marker    = require "neap.targets.sql.marker"
local shell     = require "neap.targets.shell"

local schema = {}

local CHANGE_OPTIONS = { keep = true, irreversible = true, timeout = true }

--- The options of a state's word, parted into its own and those of the change.
--- @param options table?
--- @param own table<string, any>
--- @param level integer  as error counts
--- @return table options
--- @return table change  keep, irreversible, timeout
function schema.options(options, own, level)
  local known = { keep = true, irreversible = true, timeout = true }
  for key in pairs(own) do known[key] = true end
  options = shell.check_options(options, known, level + 1)
  local change = {}
  for key in pairs(CHANGE_OPTIONS) do change[key] = options[key] end
  return options, change
end

--- The first row of a query on a database, by position; NULL is nil.
--- @param name string
--- @param text string
--- @param params any[]
--- @return any ...
function schema.row(name, text, params)
  local fakes = hosts.run().fakes
  if fakes then return fakes:read("sql.server", name, text, params) end
  local row = databases.within(name, "read", function(connection) return connection:query(text, params).rows[1] end)
  if not row then return nil end
  for i, value in ipairs(row) do
    if value == json.null then row[i] = nil end
  end
  return table.unpack(row, 1, #row)
end

local function show(target) return ("%s %s"):format(target.database, target.name) end

local function text(state)
  local parts = {}
  for key, value in pairs(state) do parts[#parts + 1] = ("%s %s"):format(key, tostring(value)) end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, ", ") or "there"
end

-- ---- sql.schema ----

local function schema_statement(sql, target, before, after)
  local name = sql:ident(target.name)
  if not after then return "drop schema " .. name end -- refused by the server unless it is empty
  local owner = after.owner and sql:ident(after.owner)
  if before then return ("alter schema %s owner to %s"):format(name, owner) end
  return ("create schema %s%s"):format(name, owner and " authorization " .. owner or "")
end

--- A schema of PostgreSQL: { owner }.
effect.resource "sql.schema" {
  prepare = marker.prepare, take = marker.take_state, release = marker.release, show = show, text = text,
  get = function(target)
    local owner = schema.row(target.database,
      "select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = $1", { target.name })
    return owner and { owner = owner }
  end,
  put = function(target, state, call)
    marker.put(target.database, call, function(connection)
      connection:execute(schema_statement(connection.dialect, target, call.before, state))
    end)
  end,
}

local function user_of(name) return schema.row(name, "select current_user::text", {}) end

--- Makes sure that a schema is there, with that owner; a new one's is who neap logs in as. `absent = true`: that it is not
--- there, which the server refuses while something is in it. MariaDB's schemas are databases.
--- @param db neap.database|string
--- @param name string
--- @param options? { owner?: string, absent?: boolean, keep?: string, irreversible?: string, timeout?: number }
--- @return { owner: string }?
function schema.schema(db, name, options)
  local change
  options, change = schema.options(options, { owner = true, absent = true }, 2)
  local target = { database = databases.name(db), name = name }
  local sql = databases.dialect(db)
  if sql.name == "mysql" then error("MariaDB's schemas are databases: sql.database makes one", 2) end
  sql:ident(name)
  return effect.change("sql.schema", target, function(before)
    if options.absent then return nil end
    return { owner = options.owner or before and before.owner or user_of(target.database) }
  end, change)
end

-- ---- sql.database ----

local GET_DATABASE = {
  postgres = "select pg_get_userbyid(datdba)::text from pg_database where datname = $1",
  mysql = "select default_character_set_name, default_collation_name from information_schema.schemata " ..
    "where schema_name = ?",
}
GET_DATABASE.redshift = GET_DATABASE.postgres

local function get_database(target)
  local dialect = databases.dialect(target.database).name
  local first, second = schema.row(target.database, GET_DATABASE[dialect], { target.name })
  if not first then return nil end
  if dialect == "mysql" then return { charset = first, collation = second } end
  return { owner = first }
end

local COUNT_OBJECTS = {
  postgres = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace " ..
    "where n.nspname not like 'pg\\_%' and n.nspname not in ('information_schema', 'neap')",
  mysql = "select (select count(*) from information_schema.tables where table_schema = ?) + " ..
    "(select count(*) from information_schema.routines where routine_schema = ?)",
}
COUNT_OBJECTS.redshift = COUNT_OBJECTS.postgres

local function count_objects(target)
  local dialect = databases.dialect(target.database).name
  local text_of = COUNT_OBJECTS[dialect]
  if dialect == "mysql" then return schema.row(target.database, text_of, { target.name, target.name }) end
  return databases.elsewhere(target.database, target.name, function(connection)
    return connection:query(text_of).rows[1][1]
  end)
end

local function refuse_full(target)
  local count = math.tointeger(tonumber(count_objects(target)))
  if count == 0 then return end
  fault.raise { kind = "conflict", host = target.database,
    message = ("the database %s is not dropped: %d tables and other things are in it"):format(target.name, count),
    hint = "empty it first, or keep it" }
end

local function database_statement(sql, target, before, after)
  local name = sql:ident(target.name)
  if not after then return "drop database " .. name end
  if sql.name ~= "mysql" then
    local owner = sql:ident(after.owner)
    if before then return ("alter database %s owner to %s"):format(name, owner) end
    return ("create database %s owner %s"):format(name, owner)
  end
  return ("%s database %s character set %s collate %s"):format(before and "alter" or "create", name,
    sql:literal(after.charset), sql:literal(after.collation))
end

--- A database of a server: { owner }, in MariaDB { charset, collation }.
effect.resource "sql.database" {
  prepare = marker.prepare, take = marker.take_state, release = marker.release, show = show, text = text,
  get = get_database,
  put = function(target, state, call)
    if not state then
      refuse_full(target)
      databases.let_go(target.database, target.name)
    end
    local statement = database_statement(databases.dialect(target.database), target, call.before, state)
    marker.outside(target.database, call, statement, function() return {} end, function() return {} end)
  end,
}

local DATABASE_KEYS = {
  postgres = { owner = true }, redshift = { owner = true }, mysql = { charset = true, collation = true },
}

--- What a new database of MariaDB gets where nothing is said, or only one of the two.
local function charset_of(name, options, before)
  local charset = options.charset or before and not options.collation and before.charset
    or schema.row(name, "select @@character_set_server", {})
  local collation = options.collation or before and before.charset == charset and before.collation
    or schema.row(name, "select collation_name from information_schema.collations where character_set_name = ? " ..
      "and is_default = 'Yes'", { charset })
  if options.collation and not options.charset then charset = options.collation:match "^[^_]+" end
  return { charset = charset, collation = collation }
end

--- Makes sure that a database is there, with that owner (PostgreSQL), or character set and collation (MariaDB). A rollback
--- drops one that it made only while nothing is in it.
--- @param db neap.database|string  of the same server
--- @param name string
--- @param options? table  owner; charset, collation; keep, irreversible, timeout
--- @return table
function schema.database(db, name, options)
  local change
  local sql = databases.dialect(db)
  options, change = schema.options(options, DATABASE_KEYS[sql.name], 2)
  local target = { database = databases.name(db), name = name }
  sql:ident(name)
  return effect.change("sql.database", target, function(before)
    if sql.name == "mysql" then return charset_of(target.database, options, before) end
    return { owner = options.owner or before and before.owner or user_of(target.database) }
  end, change)
end

return schema
