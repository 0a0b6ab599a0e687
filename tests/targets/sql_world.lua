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
  local entry = { name = "main", engine = engine, dialect = engine, host = "localhost", port = server.port,
    user = server.user, password = write_password(server, folder), ca = server.ca, tls = "verify",
    database = engine == "postgres" and "postgres" or "test" }
  for key, value in pairs(more or {}) do entry[key] = value end
  return entry, server
end

--- A procedure with a step for each text, of which `db` is the database.
--- @param engine "postgres"|"mysql"
--- @param folder string
--- @param steps string[]
--- @param more? table  keys of the database's entry
function world.trial(engine, folder, steps, more)
  local entry, server = world.entry(engine, folder, more)
  local texts = {}
  for i, text in ipairs(steps) do texts[i] = "local db = env.databases.main " .. text end
  local trial = fixture.trial(texts, folder)
  trial.environment.databases = { main = entry }
  trial.server = server
  return trial
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
