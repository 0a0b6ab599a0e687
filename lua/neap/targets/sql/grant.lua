--- Privileges as a state: which of those that are asked for somebody holds directly, as the catalog says; so a rollback
--- revokes exactly what was not there before.
local databases = require "neap.targets.database"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local marker    = require "neap.targets.sql.marker"
local ordered   = require "neap.ordered"
local schema    = require "neap.targets.sql.schema"

local grant = {}

--- All that PostgreSQL has for each kind of thing.
local ALL = {
  table = { "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER" },
  schema = { "USAGE", "CREATE" },
  database = { "CONNECT", "CREATE", "TEMPORARY" },
}

-- ---- PostgreSQL ----

local HELD = {
  table = [[select c.relname::text, a.privilege_type, a.is_grantable from pg_class c
    join pg_namespace n on n.oid = c.relnamespace,
    lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
    where n.nspname = $2 and c.relname = any($3)
      and a.grantee = coalesce((select oid from pg_roles where rolname = $1), 0)]],
  schema = [[select n.nspname::text, a.privilege_type, a.is_grantable from pg_namespace n,
    lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname = $2 and a.grantee = coalesce((select oid from pg_roles where rolname = $1), 0)]],
  database = [[select d.datname::text, a.privilege_type, a.is_grantable from pg_database d,
    lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    where d.datname = $2 and a.grantee = coalesce((select oid from pg_roles where rolname = $1), 0)]],
}

local function is_public(name) return name:lower() == "public" end

local function rows_held(target, connection)
  if not is_public(target.to) then
    local found = connection:query("select count(*) from pg_roles where rolname = $1", { target.to }).rows[1][1]
    if found == 0 then
      fault.raise { kind = "missing", host = target.database, message = ("there is no role %s"):format(target.to) }
    end
  end
  local params = { is_public(target.to) and "" or target.to, target.name }
  if target.on == "table" then
    params[2], params[3] = target.schema, connection.driver.array(target.tables)
  end
  return connection:query(HELD[target.on], params).rows
end

--- A privilege that may be handed on has a name of its own in a state.
local function named(privilege, grantable) return grantable and privilege .. " WITH GRANT OPTION" or privilege end

local function get_postgres(target)
  local state, asked = {}, {}
  for _, privilege in ipairs(target.privileges) do asked[privilege] = true end
  local rows = databases.within(target.database, "read", function(connection) return rows_held(target, connection) end)
  for _, row in ipairs(rows) do
    local thing, privilege, grantable = row[1], row[2], row[3]
    if asked[privilege] then
      state[thing] = state[thing] or {}
      state[thing][named(privilege, grantable)] = true
    end
  end
  return next(state) and state or nil
end

local function thing_of(sql, target, thing)
  if target.on == "table" then return "table " .. sql:path(target.schema, thing) end
  return target.on .. " " .. sql:ident(thing)
end

local function grantee_of(sql, target) return is_public(target.to) and "public" or sql:ident(target.to) end

--- The statements that lead from one state to another.
local function lines_postgres(sql, target, before, after)
  local lines, things = {}, {}
  for thing in pairs(before) do things[thing] = true end
  for thing in pairs(after) do things[thing] = true end
  for thing in pairs(things) do
    local had, has = before[thing] or {}, after[thing] or {}
    local on, to = thing_of(sql, target, thing), grantee_of(sql, target)
    for privilege in pairs(had) do
      local plain = privilege:gsub(" WITH GRANT OPTION$", "")
      if not has[privilege] then
        local option = has[plain] and "grant option for " or ""
        lines[#lines + 1] = ("revoke %s%s on %s from %s"):format(option, plain, on, to)
      end
    end
    for privilege in pairs(has) do
      local plain, option = privilege:gsub(" WITH GRANT OPTION$", "")
      if not had[privilege] and not (option == 0 and had[plain .. " WITH GRANT OPTION"]) then
        lines[#lines + 1] = ("grant %s on %s to %s%s"):format(plain, on, to, option > 0 and " with grant option" or "")
      end
    end
  end
  table.sort(lines, function(a, b) return a > b end) -- in a fixed order, and revokes first
  return lines
end

-- ---- MariaDB ----

local function account(sql, name)
  local user, host = name:match "^(.*)@([^@]*)$"
  return ("%s@%s"):format(sql:literal(user or name), sql:literal(host or "%"))
end

--- The place of a GRANT as SHOW GRANTS writes it.
local function place(sql, target)
  if target.on == "server" then return "*.*" end
  if target.on == "database" then return sql:ident(target.name) .. ".*" end
  return sql:path(target.schema, target.tables[1])
end

--- Privileges of a line of SHOW GRANTS; those of single columns keep their list.
local function privileges_of(text)
  local list = {}
  for item in (text .. ","):gmatch "%s*([^,(]+%b()),", "%s*([^,(]+)," do list[#list + 1] = item end
  if #list == 0 or text:find "^[^(]*$" then
    list = {}
    for item in (text .. ","):gmatch "%s*([^,]+)," do list[#list + 1] = item end
  end
  return list
end

local function get_mysql(target)
  return databases.within(target.database, "read", function(connection)
    local sql = connection.dialect
    local rows = connection:query("show grants for " .. account(sql, target.to)).rows
    local state, wanted, asked = {}, place(sql, target), {}
    for _, privilege in ipairs(target.privileges) do asked[privilege] = true end
    for _, row in ipairs(rows) do
      local privileges, on, rest = row[1]:match "^GRANT (.-) ON (.-) TO (.*)$"
      if on == wanted then
        for _, privilege in ipairs(privileges_of(privileges)) do
          local held = asked["ALL PRIVILEGES"] or asked[privilege] or privilege == "ALL PRIVILEGES"
          if held and privilege ~= "USAGE" then state[privilege] = true end
        end
        if rest:find "WITH GRANT OPTION" and target.grantable then state["GRANT OPTION"] = true end
      end
    end
    return next(state) and { [wanted] = state } or nil
  end)
end

--- What is revoked for a privilege that is held: of all of them those that are asked about, else itself.
local function revoked(target, privilege)
  if privilege ~= "ALL PRIVILEGES" then return { privilege } end
  return target.privileges
end

local function lines_mysql(sql, target, before, after)
  local lines, on, to = {}, place(sql, target), account(sql, target.to)
  local had, has = before[on] or {}, after[on] or {}
  for privilege in pairs(had) do
    for _, one in ipairs(has[privilege] and {} or revoked(target, privilege)) do
      lines[#lines + 1] = ("revoke %s on %s from %s"):format(one, on, to)
    end
  end
  for privilege in pairs(has) do
    if privilege == "GRANT OPTION" and not had[privilege] then
      lines[#lines + 1] = ("grant USAGE on %s to %s with grant option"):format(on, to)
    elseif not had[privilege] then
      lines[#lines + 1] = ("grant %s on %s to %s"):format(privilege, on, to)
    end
  end
  table.sort(lines, function(a, b) return a > b end)
  return lines
end

-- ---- both ----

local function is_mysql(target) return databases.dialect(target.database).name == "mysql" end

local function text_of(state)
  local lines = {}
  for thing, privileges in pairs(state) do
    lines[#lines + 1] = ("%s: %s\n"):format(thing, table.concat(ordered.keys(privileges), ", "))
  end
  table.sort(lines)
  return table.concat(lines)
end

--- Target { database, on: "table"|"schema"|"database"|"server", name, schema, tables, privileges, to, grantable }; state:
--- thing -> privilege -> true, of those privileges alone; nil where none of them is held.
effect.resource "sql.grant" {
  prepare = marker.prepare, take = marker.take_state, release = marker.release, text = text_of,
  show = function(target)
    return ("%s %s for %s"):format(target.database, target.name or #target.tables == 1 and target.tables[1]
      or ("%d tables of %s"):format(#target.tables, target.schema), target.to)
  end,
  get = function(target) return (is_mysql(target) and get_mysql or get_postgres)(target) end,
  put = function(target, state, call)
    local lines = is_mysql(target) and lines_mysql or lines_postgres
    marker.put(target.database, call, function(connection)
      for _, line in ipairs(lines(connection.dialect, target, call.before or {}, state or {})) do
        connection:execute(line)
      end
    end)
  end,
}

--- Names of privileges stand in statements as they are: words, no more.
local function checked(privileges, level)
  if type(privileges) == "string" then privileges = { privileges } end
  if type(privileges) ~= "table" or #privileges == 0 then error("which privileges?", level + 1) end
  local list = {}
  for i, privilege in ipairs(privileges) do
    if type(privilege) ~= "string" or not privilege:find "^%a[%a%d ]*$" then
      error(("%q is no name of a privilege"):format(tostring(privilege)), level + 1)
    end
    list[i] = privilege:upper()
    if list[i] == "ALL" then list[i] = "ALL PRIVILEGES" end
  end
  table.sort(list)
  return list
end

local read_tables = effect.read("sql.tables", function(target)
  return databases.within(target.database, "read", function(connection)
    local rows = connection:query("select table_name from information_schema.tables where table_schema = " ..
      connection.dialect:parameter(1) .. " and table_type <> 'LOCAL TEMPORARY' order by table_name",
      { target.schema }).rows
    local names = {}
    for i, row in ipairs(rows) do names[i] = row[1] end
    return names
  end)
end)

local PLACES = { table = true, schema = true, database = true, tables_in = true, server = true }

local function check_place(on, level)
  if type(on) ~= "table" or not next(on) then
    error('on what? { schema = "s", table = "t" }, { tables_in = "s" }, { schema = "s" }, { database = "d" }'
      .. " or { server = true }", level + 1)
  end
  for key in pairs(on) do
    if not PLACES[key] then error(("%q is no place for privileges"):format(tostring(key)), level + 1) end
  end
end

--- What is granted on, as plain data of a target.
local function target_of(db, on, mysql, level)
  check_place(on, level + 1)
  local target = { database = databases.name(db) }
  if on.table then
    target.on, target.schema, target.tables = "table", on.schema or on.database, { on.table }
    if not target.schema then error("a table stands in a schema: { schema = …, table = … }", level + 1) end
  elseif on.tables_in then
    if mysql then error("MariaDB has privileges for all tables of a database: { database = … }", level + 1) end
    target.on, target.schema = "table", on.tables_in
    target.tables = read_tables({ database = target.database, schema = on.tables_in })
  elseif on.server then
    if not mysql then error("PostgreSQL has no privileges on a server; a role has attributes", level + 1) end
    target.on, target.name = "server", "*.*"
  elseif mysql or on.database then
    target.on, target.name = "database", on.database or on.schema
  else
    target.on, target.name = "schema", on.schema
  end
  return target
end

local function complete(target, mysql)
  if mysql or target.privileges[1] ~= "ALL PRIVILEGES" then return end
  target.privileges = ALL[target.on]
end

local function wanted(target, before, mysql)
  local after = {}
  for thing, privileges in pairs(before or {}) do
    after[thing] = {}
    for privilege in pairs(privileges) do after[thing][privilege] = true end
  end
  local things = target.on == "table" and target.tables or { target.name }
  if mysql then things = { place(databases.dialect(target.database), target) } end
  for _, thing in ipairs(things) do
    after[thing] = after[thing] or {}
    local has = after[thing]
    for _, privilege in ipairs(target.privileges) do
      local more = not mysql and target.grantable
      if more then
        has[privilege] = nil
        has[named(privilege, true)] = true
      elseif not has[named(privilege, true)] and not has["ALL PRIVILEGES"] then
        has[privilege] = true
      end
    end
    if mysql and has["ALL PRIVILEGES"] then
      after[thing] = { ["ALL PRIVILEGES"] = true, ["GRANT OPTION"] = has["GRANT OPTION"] }
    end
    if mysql and target.grantable then after[thing]["GRANT OPTION"] = true end
  end
  return after
end

local GRANT_OPTIONS = { with_grant_option = true }

local function prepared(db, privileges, on, to, options, level)
  local change
  options, change = schema.options(options, GRANT_OPTIONS, level + 1)
  local sql = databases.dialect(db)
  if sql.name == "redshift" then
    error("the catalog of Redshift does not say who was granted what: db:execute with its undo", level + 1)
  end
  if type(to) ~= "string" or to == "" then error("to whom?", level + 1) end
  local mysql = sql.name == "mysql"
  local target = target_of(db, on, mysql, level + 1)
  target.privileges, target.to = checked(privileges, level + 1), to
  target.grantable = options.with_grant_option or nil
  complete(target, mysql)
  return target, change, mysql
end

--- Makes sure that somebody holds these privileges directly. A rollback revokes those that were not held before.
--- @param db neap.database|string
--- @param privileges string|string[]  "ALL" for all there are
--- @param on { schema?: string, table?: string, tables_in?: string, database?: string, server?: boolean }
--- @param to string  a role, or "public"; in MariaDB "user@host"
--- @param options? { with_grant_option?: boolean, keep?: string, irreversible?: string, timeout?: number }
function grant.grant(db, privileges, on, to, options)
  local target, change, mysql = prepared(db, privileges, on, to, options, 2)
  if target.tables and #target.tables == 0 then return end
  effect.change("sql.grant", target, function(before) return wanted(target, before, mysql) end, change)
end

--- Makes sure that somebody does not hold these privileges directly. A rollback grants those that were held before.
--- @param db neap.database|string
--- @param privileges string|string[]
--- @param on table  as of grant
--- @param from string
--- @param options? { keep?: string, irreversible?: string, timeout?: number }
function grant.revoke(db, privileges, on, from, options)
  local target, change = prepared(db, privileges, on, from, options, 2)
  if target.tables and #target.tables == 0 then return end
  if is_mysql(target) then target.grantable = true end -- what may be handed on goes, too
  effect.change("sql.grant", target, function() return nil end, change)
end

return grant
