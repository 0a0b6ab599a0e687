--- States of servers: schemas, databases, roles, privileges. A rollback leaves a dump as it was but for schema neap.
local process = require "native.process"
local world   = require "tests.targets.sql_world"

local function dump_postgres(server)
  local env = { PGPASSWORD = server.password }
  local function run(argv)
    for _, word in ipairs { "-h", server.folder, "-p", tostring(server.port), "-U", "postgres" } do
      argv[#argv + 1] = word
    end
    local result = process.run(argv, { reads = true, env = env, input = "" })
    assert(result.status == 0, result.err)
    return result.out:gsub("\\u?n?restrict [^\n]*", "")
  end
  return run { "pg_dump", "-N", "neap", "-d", "postgres" } .. run { "pg_dumpall", "-g" }
    .. server.sql "select datname, coalesce(datacl, acldefault('d', datdba)), datdba from pg_database order by 1"
end

local function dump_mysql(server)
  local result = process.run({ "mariadb-dump", "--no-defaults", "--skip-dump-date", "--socket=" .. server.socket,
    "--user=root", "--databases", "neap_test" }, { reads = true, env = { MYSQL_PWD = server.password }, input = "" })
  assert(result.status == 0, result.err)
  local users = {}
  local accounts = server.sql("select concat(quote(user), '@', quote(host)) from mysql.user " ..
    "where user in ('writer', 'newcomer') order by 1")
  for user in accounts:gmatch "[^\n]+" do
    users[#users + 1] = server.sql("show grants for " .. user) .. server.sql("show create user " .. user)
  end
  return result.out .. table.concat(users) .. server.sql "show databases":gsub("neap\n", "")
end

local DUMP = { postgres = dump_postgres, mysql = dump_mysql }

--- Fails with the lines that differ.
local function same_dump(now, before)
  if now == before then return end
  local lines = {}
  for _, hunk in ipairs(require("native.diff").lines(before, now, { context = 0 })) do
    for _, line in ipairs(hunk.lines) do lines[#lines + 1] = line[1] .. line[2] end
  end
  error("the dump differs:\n" .. table.concat(lines, "\n"), 2)
end

local SETUP = {
  postgres = [[drop schema if exists app cascade; drop schema if exists fresh; drop database if exists other;
    drop table if exists people; create schema app; create table app.a (n int); create table app.b (n int);
    do $$ begin
      if exists (select from pg_roles where rolname = 'writer') then
        execute 'drop owned by writer'; drop role writer; end if;
      if exists (select from pg_roles where rolname = 'newcomer') then drop role newcomer; end if;
    end $$;
    create role writer login password 'old one' connection limit 3;
    alter role writer set search_path = app, public; grant select on app.a to writer]],
  mysql = [[drop database if exists other; drop user if exists writer@'%'; drop user if exists newcomer@'127.0.0.1';
    drop table if exists a; create table a (n int); create user writer@'%' identified by 'old one';
    grant select on neap_test.a to writer@'%'; grant insert, update on neap_test.* to writer@'%']],
}

local STOP = [[ if not effect.planning() then error("stop") end ]]

local function exists(engine, role)
  local text = engine == "postgres" and "select count(*) from pg_roles where rolname = '%s'"
    or "select count(*) from mysql.user where user = '%s'"
  return world.sql(engine, text:format(role)) == "1\n"
end

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local folder

    before_each(function()
      folder = scratch()
      world.clean(engine)
      world.sql(engine, SETUP[engine])
    end)

    --- Carries a step out, checks, rolls it back: the dump is as before.
    local function there_and_back(text, check, more)
      local trial = world.trial(engine, folder, { text, STOP }, more)
      for name, reference in pairs(trial.secrets or {}) do trial.environment.secrets[name] = reference end
      local fs = require "native.fs"
      fs.write(folder .. "/new-password", "new '\\ one", { mode = "0600" })
      trial.environment.secrets = { writer = "file:" .. folder .. "/new-password" }
      local before = DUMP[engine](trial.server)
      local plan = trial:plan()
      same_dump(DUMP[engine](trial.server), before)
      trial:run "stopped"
      check(trial, plan.phases[1].steps[1].effects)
      trial:roll_back "rolled back"
      same_dump(DUMP[engine](trial.server), before)
      return trial
    end

    local function can_login(trial, user, password)
      local server = trial.server
      local argv = engine == "postgres"
        and { "psql", "-XAtq", "-h", "127.0.0.1", "-p", tostring(server.port), "-U", user, "-d", "postgres", "-c",
          "select 1" }
        or { "mariadb", "--no-defaults", "--ssl=0", "--host=127.0.0.1", "--port=" .. server.port, "--user=" .. user,
          "-e", "select 1" }
      return process.run(argv, { reads = true, env = { PGPASSWORD = password, MYSQL_PWD = password }, input = "" })
        .status == 0
    end

    local WRITER = engine == "postgres" and "writer" or "writer@%"

    if engine == "postgres" then
      it("makes a schema, and a rollback drops it", function()
        there_and_back([[sql.schema(db, "fresh", { owner = "writer" })]], function(_, effects)
          equal({ effects[1].sign, effects[1].after_text }, { "+", "owner writer" })
          equal(world.sql(engine, "select nspowner::regrole from pg_namespace where nspname = 'fresh'"), "writer\n")
        end)
      end)

      it("gives a schema another owner, and back", function()
        there_and_back([[sql.schema(db, "app", { owner = "writer" })]], function()
          equal(world.sql(engine, "select nspowner::regrole from pg_namespace where nspname = 'app'"), "writer\n")
        end)
      end)

      it("does not drop a schema in which something is", function()
        local trial = world.trial(engine, folder, { [[sql.schema(db, "app", { absent = true })]] })
        trial:run "failed"
        matches(trial:failure().message, "cannot drop schema app because other objects depend on it")
      end)

      it("changes attributes and settings of a role, and back", function()
        there_and_back([[sql.role(db, "writer", { createdb = true, connection_limit = 7,
          settings = { search_path = "public, \"odd, name\"", work_mem = "8MB" } })]], function()
          equal(world.sql(engine, "select rolcreatedb, rolconnlimit, rolcanlogin from pg_roles " ..
            "where rolname = 'writer'"), "t|7|t\n")
          equal(world.sql(engine, "select unnest(setconfig) from pg_db_role_setting where setrole = 'writer'::regrole"),
            'search_path=public, "odd, name"\nwork_mem=8MB\n')
        end)
      end)

      it("takes a role away, and puts it back with its attributes, settings and password", function()
        world.sql(engine, "revoke all on app.a from writer")
        local text = [[sql.role(db, "writer", { absent = true, password = env.secrets.writer })]]
        there_and_back(text, function() equal(exists(engine, "writer"), false) end)
      end)

      it("grants on all tables of a schema, and revokes what was not there before", function()
        there_and_back([[sql.grant(db, { "select", "insert" }, { tables_in = "app" }, "writer")
          sql.grant(db, "usage", { schema = "app" }, "writer")
          sql.grant(db, "create", { database = "postgres" }, "writer", { with_grant_option = true })
        ]], function(_, effects)
          equal(effects[1].before_text, "a: SELECT\n")
          equal(effects[1].after_text, "a: INSERT, SELECT\nb: INSERT, SELECT\n")
          equal(world.sql(engine, [[select has_table_privilege('writer', 'app.b', 'insert'),
            has_schema_privilege('writer', 'app', 'usage'),
            has_database_privilege('writer', 'postgres', 'create with grant option')]]), "t|t|t\n")
        end)
      end)
    end

    it("makes a user with a password, and a rollback drops it", function()
      local name = engine == "postgres" and "newcomer" or "newcomer@127.0.0.1"
      there_and_back(([[sql.user(db, %q, { password = env.secrets.writer })]]):format(name), function(trial, effects)
        truthy(exists(engine, "newcomer"))
        truthy(can_login(trial, "newcomer", "new '\\ one"))
        matches(effects[1].after_text, "password %(secret %x%x%x%x%)")
        for _, event in ipairs(trial.events) do
          equal(require("native.json").encode(require("neap.engine.data").plain(event)):find("new '", 1, true), nil)
        end
      end)
    end)

    it("gives a user another password, and its old one back", function()
      local trial = there_and_back(([[sql.user(db, %q, { password = env.secrets.writer })]]):format(WRITER),
        function(trial)
          truthy(can_login(trial, "writer", "new '\\ one"))
          equal(can_login(trial, "writer", "old one"), false)
        end)
      truthy(can_login(trial, "writer", "old one"))
    end)

    it("sets a password once, and again when somebody else has set another", function()
      local text = ([[sql.user(db, %q, { password = env.secrets.writer, keep = "a test" })]]):format(WRITER)
      local function signs()
        local trial = world.trial(engine, folder, { text })
        require("native.fs").write(folder .. "/new-password", "new '\\ one", { mode = "0600" })
        trial.environment.secrets = { writer = "file:" .. folder .. "/new-password" }
        trial.store.keys = require("native.secret").keyring(folder .. "/key")
        local sign = trial:plan().phases[1].steps[1].effects[1].sign
        trial:run "done"
        return sign
      end
      equal(signs(), "~")
      equal(signs(), "=")
      world.sql(engine, engine == "postgres" and "alter role writer password 'theirs'"
        or "alter user writer@'%' identified by 'theirs'")
      equal(signs(), "~")
      equal(signs(), "=")
    end)

    it("makes a database, and drops it while nothing is in it", function()
      there_and_back([[sql.database(db, "other")]], function(_, effects) equal(effects[1].sign, "+") end)
      local trial = world.trial(engine, folder, { [[sql.database(db, "other")]], STOP })
      trial:run "stopped"
      if engine == "postgres" then
        trial.server.sql("create table mine (n int)", "other")
      else
        world.sql(engine, "create table other.mine (n int)")
      end
      trial:roll_back "rollback incomplete"
      matches(trial.events[#trial.events].text or trial.events[#trial.events].failure
        and trial.events[#trial.events].failure.message or "", "")
      world.sql(engine, engine == "postgres" and "select 1" or "drop table other.mine")
      if engine == "postgres" then trial.server.sql("drop table mine", "other") end
      trial:roll_back "rolled back"
    end)

    it("grants on one table, and revokes what was not there before", function()
      local on = engine == "postgres" and '{ schema = "app", table = "a" }' or '{ database = "neap_test", table = "a" }'
      there_and_back(([[sql.grant(db, { "select", "update" }, %s, %q)]]):format(on, WRITER), function(_, effects)
        matches(effects[1].before_text, "a`?: SELECT\n")
        matches(effects[1].after_text, "a`?: SELECT, UPDATE\n")
      end)
    end)

    it("revokes, and grants again what was there", function()
      local on = engine == "postgres" and '{ schema = "app", table = "a" }' or '{ database = "neap_test", table = "a" }'
      there_and_back(([[sql.revoke(db, { "select", "delete" }, %s, %q)]]):format(on, WRITER), function(_, effects)
        equal(effects[1].sign, "-")
      end)
    end)

    if engine == "mysql" then
      it("grants all on a database and on the server, and leaves what was held", function()
        there_and_back([[sql.grant(db, "all", { database = "neap_test" }, "writer@%", { with_grant_option = true })
          sql.grant(db, { "process", "reload" }, { server = true }, "writer@%")]], function(_, effects)
          equal(effects[1].before_text, "`neap_test`.*: INSERT, UPDATE\n")
          equal(effects[1].after_text, "`neap_test`.*: ALL PRIVILEGES, GRANT OPTION\n")
          matches(world.sql(engine, "show grants for writer@'%'"), "PROCESS")
        end)
      end)

      it("revokes a part of all, and grants all again", function()
        world.sql(engine, "grant all on neap_test.* to writer@'%'")
        there_and_back([[sql.revoke(db, "delete", { database = "neap_test" }, "writer@%")]], function()
          local grants = world.sql(engine, "show grants for writer@'%'")
          equal(grants:find "DELETE," , nil)
          matches(grants, "SELECT, INSERT, UPDATE")
        end)
      end)
    end

    it("refuses a privilege that is no word", function()
      local trial = world.trial(engine, folder,
        { ([[sql.grant(db, "select; drop", { schema = "app", database = "x" }, %q)]]):format(WRITER) })
      trial:run "failed"
      matches(trial:failure().message, "is no name of a privilege")
    end)
  end)
end
