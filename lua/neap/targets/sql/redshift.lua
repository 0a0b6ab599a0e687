--- Users of Redshift, whose catalog keeps less of them than PostgreSQL's: that they are there, and their settings.
local databases = require "neap.targets.database"
local effect    = require "neap.engine.effect"
local marker    = require "neap.targets.sql.marker"
local schema    = require "neap.targets.sql.schema"
local secret    = require "native.secret"

local redshift = {}

local function settings_of(list)
  local settings = {}
  for text in (list or ""):gmatch "[^\n]+" do
    local name, value = text:match "^([^=]+)=(.*)$"
    if name then settings[name] = value end
  end
  return settings
end

--- Nobody can read a password back, so who is there keeps the one that he has.
local function get(target)
  local config = schema.row(target.database,
    "select coalesce(array_to_string(useconfig, chr(10)), '') from pg_user where usename = $1", { target.role })
  return config and { settings = settings_of(config) }
end

local function set_settings(connection, user, before, after)
  local sql = connection.dialect
  for name in pairs(before) do
    if after[name] == nil then connection:execute(("alter user %s reset %s"):format(user, sql:ident(name))) end
  end
  for name, value in pairs(after) do
    if before[name] ~= value then
      connection:execute(("alter user %s set %s to %s"):format(user, sql:ident(name), value))
    end
  end
end

effect.resource "sql.redshift_user" {
  prepare = marker.prepare, take = marker.take_state, release = marker.release, get = get,
  put = function(target, state, call)
    marker.put(target.database, call, function(connection)
      local user = connection.dialect:ident(target.role)
      if not state then return connection:execute("drop user " .. user) end
      if not call.before then
        -- a digest, as psql sends it: the password itself would stand in the server's log
        local digest = require("native.pg").password_digest(target.password, target.role)
        connection:execute(("create user %s password '%s'"):format(user, digest))
      end
      set_settings(connection, user, call.before and call.before.settings or {}, state.settings)
    end)
  end,
  show = function(target) return ("%s user %s"):format(target.database, target.role) end,
}

local OPTIONS = { password = true, settings = true, absent = true }

--- Makes sure that a user of Redshift is there, with these settings; a new one gets that password.
--- @param db neap.database|string
--- @param name string
--- @param options table  of sql.user: password, settings, absent; keep, irreversible, timeout
--- @param level integer
function redshift.user(db, name, options, level)
  local change
  options, change = schema.options(options, OPTIONS, level + 1)
  if not options.absent and not secret.is(options.password) then
    error("a new user of Redshift has a password, a secret of the environment: env.secrets.NAME", level + 1)
  end
  for setting, value in pairs(options.settings or {}) do
    if not setting:find "^[%a_]+$" or not tostring(value):find "^[%w_$\", ]+$" then
      error(("%s = %s is no setting of a user"):format(setting, tostring(value)), level + 1)
    end
  end
  local target = { database = databases.name(db), role = name, password = options.password }
  effect.change("sql.redshift_user", target, function()
    return not options.absent and { settings = options.settings or {} } or nil
  end, change)
end

return redshift
