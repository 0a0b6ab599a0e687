--- Servers of the tests' own as databases of an environment, and procedures that are run on them.
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"

local world = {}

--- What a test says of each kind of server.
local SERVERS = {
  postgres = function() return require("tests.postgres").start() end,
  mysql = function() return require("tests.mariadb").start() end,
}

local function write_password(server, folder)
  local path = folder .. "/password"
  fs.write(path, server.password, { mode = "0600" })
  return "file:" .. path
end

--- The entry of a database on a server, as an environment's.
--- @param engine "postgres"|"mysql"
--- @param folder string  for the password's file
--- @param more? table  other keys
function world.entry(engine, folder, more)
  local server = SERVERS[engine]()
  local entry = { name = "main", engine = engine, dialect = engine, port = server.port,
    host = engine == "postgres" and "localhost" or server.host, user = server.user, ca = server.ca, tls = "verify",
    password = write_password(server, folder), database = engine == "postgres" and "postgres" or "neap_test" }
  for key, value in pairs(more or {}) do entry[key] = value end
  return entry, server
end

--- What psql or the mariadb client prints of these statements, columns parted by | or tabs.
function world.sql(engine, text)
  local server = SERVERS[engine]()
  if engine == "postgres" then return server.sql(text) end
  return server.sql("use neap_test; " .. text)
end

--- A text with $1, $2 … as this engine writes its placeholders; they have to stand in order.
function world.placed(engine, text) return engine == "mysql" and text:gsub("%$%d", "?") or text end

--- Forgets what earlier tests have left beside their tables.
function world.clean(engine)
  local there = world.sql(engine, "select count(*) from information_schema.tables where table_schema = 'neap' " ..
    "and table_name = 'effects'")
  if there:find "1" then world.sql(engine, "delete from neap.effects") end
end

--- A procedure with a step for each text, of which `db` is the database.
--- @param engine "postgres"|"mysql"
--- @param folder string
--- @param steps string[]
--- @param more? table  keys of the database's entry
function world.trial(engine, folder, steps, more)
  local entry, server = world.entry(engine, folder, more)
  local texts = {}
  for i, text in ipairs(steps) do texts[i] = "local db = env.databases.main " .. world.placed(engine, text) end
  local trial = fixture.trial(texts, folder)
  trial.environment.databases = { main = entry }
  trial.server = server
  return trial
end

--- A procedure that carries out a script, load.sql.
--- @param engine "postgres"|"mysql"
--- @param folder string
--- @param text string
--- @param given? { options?: string, files?: table<string, string>, entry?: table }  options: of sql.script, in Lua;
---   files: others, beside the script; entry: keys of the database's entry
function world.script(engine, folder, text, given)
  given = given or {}
  world.clean(engine)
  local step = ('sql.script(db, "load.sql", %s)'):format(given.options or "nil")
  local trial = world.trial(engine, folder, { step }, given.entry)
  trial.files["procedures/test/load.sql"] = text
  for path, other in pairs(given.files or {}) do trial.files["procedures/test/" .. path] = other end
  return trial
end

--- The result of a step of a run.
function world.result(trial, title)
  local result
  for _, event in ipairs(trial:all "end") do
    if event.path == (title or "Step 1") and not event.kind then result = event.result or result end
  end
  return result
end

--- A run without an engine behind it, with the database `main`.
function world.run(engine, folder, more)
  local run = fixture.run()
  local entry, server = world.entry(engine, folder, more)
  run.environment.databases = { main = entry }
  function run.secret(_, reference)
    local secret = require "native.secret"
    return secret.file(reference:match "^file:(.*)$", secret.keyring(), reference)
  end
  return run, server
end

world.within = fixture.within

return world
