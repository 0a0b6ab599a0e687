--- Users and roles as states: attributes, settings, and whose password it is.
---
--- A server does not give a password back, so neap keeps beside its witnesses which one it has set: a keyed fingerprint, and
--- a digest of what the server keeps of it, where that may be read; then another's change is noticed, and what was there
--- before can be put back. The password itself goes to the server as a parameter and stands in no statement.
local crypto    = require "native.crypto"
local databases = require "neap.targets.database"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local json      = require "native.json"
local marker    = require "neap.targets.sql.marker"
local redshift  = require "neap.targets.sql.redshift"
local schema    = require "neap.targets.sql.schema"
local secret    = require "native.secret"
local task      = require "native.task"

local user = {}

--- Attributes of PostgreSQL's roles: the column, the word, the word for not.
local ATTRIBUTES = {
  login = { "rolcanlogin", "login", "nologin" }, superuser = { "rolsuper", "superuser", "nosuperuser" },
  createdb = { "rolcreatedb", "createdb", "nocreatedb" },
  createrole = { "rolcreaterole", "createrole", "nocreaterole" },
  inherit = { "rolinherit", "inherit", "noinherit" },
  replication = { "rolreplication", "replication", "noreplication" },
}
local ATTRIBUTE_NAMES = { "login", "superuser", "createdb", "createrole", "inherit", "replication" }
local DEFAULTS = { login = false, superuser = false, createdb = false, createrole = false, inherit = true,
  replication = false }

-- ---- whose password ----

local PASSWORDS = "create table if not exists neap.passwords (role varchar(190) primary key, " ..
  "fingerprint varchar(64) not null, digest varchar(64))"

local function prepare(target)
  local place = marker.prepare(target)
  local memory = databases.memory(target.database)
  if not memory.has_passwords then
    databases.within(target.database, "change", function(connection)
      local ok, failure = pcall(connection.execute, connection, PASSWORDS)
      if not ok and not (fault.is(failure) and failure.code == "23505") then error(failure, 0) end
    end)
    memory.has_passwords = true
  end
  return place
end

local VERIFIER = {
  postgres = "select rolpassword from pg_authid where rolname = $1",
  mysql = "select json_value(priv, '$.authentication_string') from mysql.global_priv where user = ? and host = ?",
}

local NONE = "none"

local function parts_of(name)
  local login, host = name:match "^(.*)@([^@]*)$"
  return login or name, host or "%"
end

--- What the server keeps of the password; nil where it may not be read, NONE where there is none.
local function verifier_of(connection, target)
  local params = { target.role }
  if connection.dialect.name == "mysql" then params = { parts_of(target.role) } end
  local ok, result = pcall(connection.query, connection, VERIFIER[connection.dialect.name], params)
  if not ok and not (fault.is(result) and result.kind ~= "lost") then error(result, 0) end
  if not ok or not result.rows[1] then return nil end
  local value = result.rows[1][1]
  return type(value) == "string" and value ~= "" and value or NONE
end

local function known_password(connection, target)
  local schemas = connection:query("select count(*) from information_schema.tables where table_schema = 'neap' " ..
    "and table_name = 'passwords'").rows[1][1]
  if tonumber(schemas) == 0 then return nil end
  local row = connection:query("select fingerprint, digest from neap.passwords where role = " ..
    connection.dialect:parameter(1), { target.role }).rows[1]
  return row and row[1], row and row[2] ~= json.null and row[2] or nil
end

--- Adds to a state which password it is: the fingerprint of the one neap has set, as long as nobody has set another;
--- beside one that is not the wanted one what the server keeps of it, to be put back.
local function add_password(connection, target, state)
  if not target.password then return end
  local verifier = verifier_of(connection, target)
  local fingerprint, digest = known_password(connection, target)
  if fingerprint and digest and (not verifier or crypto.sha256(verifier) ~= digest) then fingerprint = nil end
  state.password = verifier == NONE and NONE or fingerprint
  if fingerprint == secret.fingerprint(target.password) or not verifier or verifier == NONE then return end
  state.verifier = secret.literal(verifier, task.context().run.keys)
end

-- What is set as a password: within a session's variable, for the statement takes no parameters.

local SET_PASSWORD = {
  postgres = "do $neap$ begin execute format('alter role %%I password %%L', %s::text, " ..
    "current_setting('neap.password')); end $neap$",
  mysql = "execute immediate concat('alter user %s identified %s ', quote(@neap_password))",
}

local function set_postgres(connection, target, value)
  if value == NONE then
    return connection:execute(("alter role %s password null"):format(connection.dialect:ident(target.role)))
  end
  connection:execute("select set_config('neap.password', $1, true)", { value })
  connection:execute(SET_PASSWORD.postgres:format(connection.dialect:literal(target.role)))
  connection:execute "select set_config('neap.password', '', true)"
end

local function account(sql, role)
  local login, host = parts_of(role)
  return ("%s@%s"):format(sql:literal(login), sql:literal(host))
end

local function set_mysql(connection, target, value, is_verifier)
  if value == NONE then value, is_verifier = "", false end
  local quoted = account(connection.dialect, target.role):gsub("'", "''")
  connection:execute("set @neap_password = ?", { value })
  connection:execute(SET_PASSWORD.mysql:format(quoted, is_verifier and "by password" or "by"))
  connection:execute "set @neap_password = null"
end

local function note_password(connection, target, fingerprint)
  local sql = connection.dialect
  connection:execute("delete from neap.passwords where role = " .. sql:parameter(1), { target.role })
  if not fingerprint then return end
  local verifier = verifier_of(connection, target)
  connection:execute(("insert into neap.passwords (role, fingerprint, digest) values (%s, %s, %s)"):format(
    sql:parameter(1), sql:parameter(2), sql:parameter(3)),
    { target.role, fingerprint, verifier and crypto.sha256(verifier) or json.null })
end

local function refuse_unknown(target)
  fault.raise { kind = "denied", host = target.database,
    message = ("the earlier password of %s is not known: it cannot be put back"):format(target.role) }
end

local function put_password(connection, target, state, before)
  if not target.password or (before and state.password == before.password and not state.verifier) then return end
  local set = connection.dialect.name == "mysql" and set_mysql or set_postgres
  if state.password == secret.fingerprint(target.password) then
    set(connection, target, target.password, false)
  elseif state.password == NONE then
    set(connection, target, NONE, false)
  elseif state.verifier then
    set(connection, target, state.verifier, true)
  else
    refuse_unknown(target)
  end
  note_password(connection, target, state.password ~= NONE and state.password or nil)
end

-- ---- PostgreSQL ----

local GET_ROLE = [[select rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolreplication, rolconnlimit,
  rolvaliduntil::text from pg_roles where rolname = $1]]
local GET_SETTINGS = [[select unnest(s.setconfig) from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
  where r.rolname = $1 and s.setdatabase = 0]]

local function get_postgres(connection, target)
  local row = connection:query(GET_ROLE, { target.role }).rows[1]
  if not row then return nil end
  local state = { attributes = {}, settings = {} }
  for i, name in ipairs(ATTRIBUTE_NAMES) do state.attributes[name] = row[i] end
  if row[7] ~= -1 then state.attributes.connection_limit = row[7] end
  if row[8] ~= json.null and row[8] ~= "infinity" then state.attributes.valid_until = row[8] end
  for _, line in ipairs(connection:query(GET_SETTINGS, { target.role }).rows) do
    local name, value = line[1]:match "^([^=]+)=(.*)$"
    state.settings[name] = value
  end
  add_password(connection, target, state)
  return state
end

local function attribute_words(sql, attributes, before)
  local words = {}
  for _, name in ipairs(ATTRIBUTE_NAMES) do
    words[#words + 1] = ATTRIBUTES[name][attributes[name] and 2 or 3]
  end
  words[#words + 1] = ("connection limit %d"):format(attributes.connection_limit or -1)
  if attributes.valid_until ~= (before and before.valid_until) then
    words[#words + 1] = "valid until " .. sql:literal(attributes.valid_until or "infinity")
  end
  return table.concat(words, " ")
end

--- The names of a search path, as the server writes it: some in quotes, which may hold a comma.
local function names_of(path)
  local names, at = {}, 1
  while at <= #path do
    local quoted, after = path:match('^%s*"(.-)"%s*()', at)
    while quoted and path:sub(after, after) == '"' do -- a doubled quote is a part of the name
      local more, further = path:match('^"(.-)"%s*()', after)
      if not more then break end
      quoted, after = quoted .. '"' .. more, further
    end
    local bare
    if not quoted then bare, after = path:match("^%s*([^,]-)%s*()%f[,\0]", at) end
    names[#names + 1] = quoted or bare
    at = after + 1
  end
  return names
end

--- search_path is set as names, not as one text.
local function setting_value(sql, name, value)
  if name ~= "search_path" then return sql:literal(value) end
  local quoted = {}
  for i, one in ipairs(names_of(value)) do quoted[i] = sql:literal(one) end
  return table.concat(quoted, ", ")
end

local function put_settings(connection, role, before, after)
  local sql = connection.dialect
  for name in pairs(before) do
    if after[name] == nil then connection:execute(("alter role %s reset %s"):format(role, sql:ident(name))) end
  end
  for name, value in pairs(after) do
    if before[name] ~= value then
      connection:execute(("alter role %s set %s to %s"):format(role, sql:ident(name), setting_value(sql, name, value)))
    end
  end
end

local function put_postgres(connection, target, state, before)
  local sql, role = connection.dialect, connection.dialect:ident(target.role)
  if not state then
    connection:execute("drop role " .. role)
    return note_password(connection, target, nil)
  end
  if not before then connection:execute("create role " .. role) end
  connection:execute(("alter role %s with %s"):format(role, attribute_words(sql, state.attributes,
    before and before.attributes)))
  put_settings(connection, role, before and before.settings or {}, state.settings)
  put_password(connection, target, state, before)
end

-- ---- MariaDB ----

local GET_USER = "select coalesce(json_value(priv, '$.account_locked'), '0'), coalesce(json_value(priv, " ..
  "'$.ssl_type'), '0') from mysql.global_priv where user = ? and host = ?"

local function get_mysql(connection, target)
  local row = connection:query(GET_USER, { parts_of(target.role) }).rows[1]
  if not row then return nil end
  local locked = row[1] == "1" or row[1] == "true"
  local state = { attributes = { locked = locked, tls = row[2] ~= "0" }, settings = {} }
  add_password(connection, target, state)
  return state
end

local function put_mysql(connection, target, state, before)
  local name = account(connection.dialect, target.role)
  if not state then
    connection:execute("drop user " .. name)
    return note_password(connection, target, nil)
  end
  if not before then connection:execute("create user " .. name .. " account lock") end
  put_password(connection, target, state, before)
  connection:execute(("alter user %s require %s account %s"):format(name, state.attributes.tls and "ssl" or "none",
    state.attributes.locked and "lock" or "unlock")) -- last: one without its password stays locked
end

-- ---- both ----

local function is_mysql(target) return databases.dialect(target.database).name == "mysql" end

local function text_of(state)
  local lines = {}
  for _, part in ipairs { "attributes", "settings" } do
    for name, value in pairs(state[part]) do lines[#lines + 1] = ("%s = %s\n"):format(name, tostring(value)) end
  end
  table.sort(lines)
  if state.password and state.password ~= NONE then
    lines[#lines + 1] = ("password (secret %s)\n"):format(state.password:sub(1, 4))
  end
  if state.verifier then lines[#lines + 1] = "another password\n" end
  return table.concat(lines)
end

--- Target { database, role, password: a secret }; state { attributes, settings, password: a fingerprint, verifier: a
--- secret }, nil where there is no such role.
effect.resource "sql.role" {
  prepare = prepare, take = marker.take_state, release = marker.release, text = text_of,
  show = function(target) return ("%s %s"):format(target.database, target.role) end,
  get = function(target)
    return databases.within(target.database, "read", is_mysql(target) and get_mysql or get_postgres, target)
  end,
  put = function(target, state, call)
    marker.put(target.database, call, function(connection)
      (is_mysql(target) and put_mysql or put_postgres)(connection, target, state, call.before)
    end)
  end,
}

local OPTIONS = {
  postgres = { password = true, settings = true, absent = true, connection_limit = true, valid_until = true },
  mysql = { password = true, absent = true, locked = true, tls = true },
}
for name in pairs(ATTRIBUTES) do OPTIONS.postgres[name] = true end

local function refuse_lost_password(target, before, change)
  if not target.password or not before or before.verifier or before.password then return end
  if change.keep or change.irreversible then return end
  fault.raise { kind = "conflict", host = target.database,
    message = ("%s is there with a password that neap cannot read, so a rollback could not put it back")
      :format(target.role), hint = "say keep or irreversible, or use a login that may read pg_authid" }
end

local function wanted_postgres(target, options, before)
  local state = { attributes = {}, settings = {} }
  for name, value in pairs(before and before.attributes or DEFAULTS) do state.attributes[name] = value end
  for name, value in pairs(before and before.settings or {}) do state.settings[name] = value end
  for name in pairs(ATTRIBUTES) do
    if options[name] ~= nil then state.attributes[name] = options[name] end
  end
  for _, name in ipairs { "connection_limit", "valid_until" } do
    if options[name] ~= nil then state.attributes[name] = options[name] end
  end
  for name, value in pairs(options.settings or {}) do
    if value == false then state.settings[name] = nil else state.settings[name] = tostring(value) end
  end
  return state
end

local function wanted_mysql(_, options, before)
  local state = { attributes = { locked = false, tls = false }, settings = {} }
  for name, value in pairs(before and before.attributes or {}) do state.attributes[name] = value end
  for _, name in ipairs { "locked", "tls" } do
    if options[name] ~= nil then state.attributes[name] = options[name] end
  end
  return state
end

local function change_role(db, role, options, login, level)
  local change
  local sql = databases.dialect(db)
  if sql.name == "redshift" then return redshift.user(db, role, options, level + 1) end
  options, change = schema.options(options, OPTIONS[sql.name], level + 1)
  if options.password ~= nil and not secret.is(options.password) then
    error("a password is a secret of the environment: env.secrets.NAME", level + 1)
  end
  if type(role) ~= "string" or role == "" then error("a role has a name", level + 1) end
  local target = { database = databases.name(db), role = role, password = options.password }
  local wanted = sql.name == "mysql" and wanted_mysql or wanted_postgres
  effect.change("sql.role", target, function(before)
    if options.absent then return nil end
    local state = wanted(target, options, before)
    if sql.name ~= "mysql" and options.login == nil and login ~= nil and not before then
      state.attributes.login = login
    end
    if target.password then
      refuse_lost_password(target, before, change)
      state.password = secret.fingerprint(target.password)
    end
    return state
  end, change)
end

--- Makes sure that a role of PostgreSQL is there and is so; what is not said stays as it is. `settings` are those of all its
--- sessions, as { search_path = "app, public" }; false takes one away. `absent = true`: that it is not there.
--- @param db neap.database|string
--- @param name string
--- @param options? table  login superuser createdb createrole inherit replication connection_limit valid_until settings
---   password (a secret) absent; keep irreversible timeout
function user.role(db, name, options) change_role(db, name, options, nil, 2) end

--- The same for who logs in; in MariaDB "user@host" with password, locked and tls; in Redshift password and settings.
--- @param db neap.database|string
--- @param name string
--- @param options? table  as of role
function user.user(db, name, options) change_role(db, name, options, true, 2) end

return user
