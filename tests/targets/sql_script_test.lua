local eventually = require "tests.eventually"
local mortal     = require "tests.targets.mortal"
local world      = require "tests.targets.sql_world"

local DRIVERS = { postgres = "native.pg", mysql = "native.mysql" }

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local driver, connect, crash

    before_each(function()
      driver, crash = require(DRIVERS[engine]), mortal.new()
      connect = driver.connect
      driver.connect = crash:connecting(connect)
    end)

    after_each(function() driver.connect = connect end)

    local function trial_of(script, options, entry)
      return world.script(engine, scratch(), script, { options = options, entry = entry })
    end

    local function sql(text) return world.sql(engine, text) end

    local function holder_settings()
      local _, server = world.entry(engine, scratch())
      return { host = server.host, port = server.port, user = server.user, password = server.password,
        [engine == "postgres" and "dbname" or "database"] = engine == "postgres" and "postgres" or "neap_test",
        [engine == "postgres" and "sslmode" or "ssl"] = engine == "postgres" and "disable" or "off" }
    end

    it("carries out a script, each statement for itself", function()
      sql "drop table if exists loaded"
      trial_of [[create table loaded (n int, t varchar(20));
        insert into loaded values (1, 'a;b'), (2, 'it''s');
        -- a comment;
        update loaded set n = n + 1; select count(*) from loaded]]:run "done"
      equal(sql "select sum(n) from loaded", "5\n")
    end)

    it("stops at a statement that is refused, and goes on with it when the step is attempted again", function()
      sql "drop table if exists loaded"
      local trial = trial_of("create table loaded (n int);\ninsert into loaded values (1);\n"
        .. "insert into lloaded values (2);\ninsert into loaded values (3)")
      local outcome = trial:run "stopped"
      matches(outcome.failure.message, "load%.sql:3: ")
      equal(outcome.failure.output, "insert into lloaded values (2)")
      equal(sql "select sum(n) from loaded", "1\n")
      sql "create table lloaded (n int)"
      trial:resume "done"
      equal(sql "select sum(n) from loaded", "4\n")
      equal(sql "select sum(n) from lloaded", "2\n")
      sql "drop table lloaded"
    end)

    it("leaves nothing of a script that is one transaction", function()
      sql "drop table if exists loaded; create table loaded (n int)"
      local trial = trial_of("insert into loaded values (1);\ninsert into loaded values (2);\n"
        .. "insert into llloaded values (3)", "{ transaction = true }")
      local outcome = trial:run "failed"
      matches(outcome.failure.message, "load%.sql:3: ")
      equal(sql "select count(*) from loaded", "0\n")
    end)

    local function numbers(count)
      local lines = {}
      for i = 1, count do
        local line = ("insert into loaded values (%d);"):format(i)
        if i % 10 == 5 then line = "begin;\n" .. line .. "\ninsert into loaded values (0);\ncommit;" end
        if i % 10 == 9 then line = "begin;\ninsert into loaded values (-1000);\nrollback;\n" .. line end
        if i % 7 == 3 then line = "set @loaded = 1;\n" .. line end
        lines[i] = line
      end
      local text = table.concat(lines, "\n")
      return engine == "postgres" and text:gsub("set @loaded = 1", "set application_name = 'loaded'") or text
    end

    local COUNTS = "select count(*), count(distinct n), sum(n) from loaded"

    it("is exact about a script's statements, whatever the moment at which neap died", function()
      local script, crashes = numbers(10), 0
      for at = 3, 1000, 5 do
        sql "drop table if exists loaded; create table loaded (n int)"
        local trial = crash:write_for(trial_of(script))
        crash:live(at)
        pcall(trial.start, trial)
        if not crash.dead then break end
        crashes = crashes + 1
        crash:live()
        if select(2, trial.kept:lease()) then
          local outcome = trial:resume()
          equal({ at, outcome.status, (sql(COUNTS):gsub("\t", "|")) }, { at, "done", "11|11|55\n" })
        end
      end
      truthy(crashes > 8)
    end)

    it("takes back by its undo what a script had done when neap died", function()
      local undo = '{ undo = "delete from loaded where n > 0; delete from loaded; insert into loaded values (7);" }'
      local halves = 0
      for at = 30, 1000, 13 do
        sql "drop table if exists loaded; create table loaded (n int)"
        local trial = crash:write_for(trial_of(numbers(20), undo))
        crash:live(at)
        pcall(trial.start, trial)
        if not crash.dead then break end
        crash:live()
        local had = sql(COUNTS):match "^%d+"
        if had ~= "0" and had ~= "22" then halves = halves + 1 end
        crash:live(at // 4)
        pcall(trial.roll_back, trial)
        crash:live()
        if select(2, trial.kept:lease()) then equal({ at, trial:roll_back().status }, { at, "rolled back" }) end
        equal({ at, (sql(COUNTS):gsub("\t", "|"):gsub("NULL", "")) }, { at, had == "0" and "0|0|\n" or "1|1|7\n" })
      end
      truthy(halves > 1)
    end)

    it("refuses what would be done elsewhere before anything is done", function()
      sql "drop table if exists loaded"
      local bad = engine == "postgres" and "\\! rm -rf /" or "system rm -rf /;"
      local outcome = trial_of("create table loaded (n int);\n\n" .. bad):run "failed"
      equal(outcome.failure.kind, "protocol")
      matches(outcome.failure.message, "load%.sql:3: .* runs a command of the shell")
      equal(sql "select count(*) from information_schema.tables where table_name = 'loaded'", "0\n")
    end)

    it("goes on by itself when its connection is killed", function()
      sql "drop table if exists loaded; create table loaded (n int)"
      local die = engine == "postgres" and "select pg_terminate_backend(pg_backend_pid()) where "
        .. "not exists (select from neap.effects where state = 'passed' or state = 'closed');\n"
        or "delimiter //\nbegin not atomic if not exists (select * from neap.effects where state = 'closed') then "
        .. "kill connection_id(); end if; end//\ndelimiter ;\n"
      local trial = trial_of("insert into loaded values (1);\n" .. die .. "insert into loaded values (2);")
      local outcome = trial:start()
      if engine == "postgres" then equal(outcome.status, "done") end
      if engine == "mysql" then
        equal(outcome.status, "stopped")
        trial:resume "stopped" -- it killed its own session: nobody can say what of it was done
        matches(trial.question.text, "statement 2, line 3 of procedures/test/load%.sql, was begun")
        return trial:abandon()
      end
      equal(sql "select sum(n) from loaded", "3\n")
    end)

    it("asks about a statement that cannot share a transaction and was begun when neap died", function()
      sql "drop table if exists loaded, other; create table loaded (n int)"
      local outside = engine == "postgres" and "create index concurrently on loaded (n);"
        or "create table other (n int);"
      local asked = 0
      for at = 30, 90, 3 do
        sql "drop table if exists loaded, other; create table loaded (n int)"
        local trial = crash:write_for(trial_of("insert into loaded values (1);\n" .. outside
          .. "\ninsert into loaded values (2);"))
        crash:live(at)
        pcall(trial.start, trial)
        if not crash.dead then break end
        crash:live()
        if select(2, trial.kept:lease()) then
          local outcome = trial:resume()
          if outcome.status ~= "done" then
            asked = asked + 1
            matches(trial.question.text, "statement 2, line 2 of procedures/test/load%.sql, was begun")
            local is_there = sql(engine == "postgres" and "select count(*) from pg_indexes where tablename = 'loaded'"
              or "select count(*) from information_schema.tables where table_name = 'other'") == "1\n"
            function trial.ask() return { choice = is_there and "applied" or "not applied" } end
            equal(require("neap.engine.run").resume { run = 1, state = trial.store, ask = trial.ask }.status, "done")
          end
          equal(sql "select sum(n) from loaded", "3\n")
        end
      end
      truthy(asked >= 1)
    end)

    it("says which statement of a deadlock was refused, and goes on with it", function()
      sql "drop table if exists loaded; create table loaded (n int primary key, m int)"
      sql "insert into loaded values (1, 0), (2, 0)"
      local trial = trial_of("update loaded set m = m + 1 where n = 2;\n" .. (engine == "postgres"
        and "set lock_timeout = '300ms';\n" or "set innodb_lock_wait_timeout = 1;\n")
        .. "update loaded set m = m + 1 where n = 1;")
      local holder = connect(holder_settings())
      changing(function()
        holder:execute(engine == "postgres" and "begin" or "start transaction")
        holder:execute "update loaded set m = 10 where n = 1"
      end)
      local outcome = trial:run "stopped"
      holder:close()
      matches(outcome.failure.message, "load%.sql:3: ")
      matches(outcome.failure.hint, "holds a lock")
      trial:resume "done"
      equal(sql "select sum(m) from loaded", "2\n")
    end)

    it("puts a new session in the state of the old one, or says what is lost", function()
      sql "drop table if exists loaded; create table loaded (n int, t varchar(20))"
      local set = engine == "postgres" and "set application_name = 'first';" or "set @name = 'first';"
      local read = engine == "postgres" and "current_setting('application_name')" or "@name"
      local trial = trial_of(set .. "\ncreate temporary table mine (n int);\ninsert into missing_one values (1);\n"
        .. "insert into loaded values (1, " .. read .. ");\ninsert into mine values (1);")
      trial:run "stopped"
      sql "create table missing_one (n int)"
      local outcome = trial:resume "stopped"
      matches(outcome.failure.message, "load%.sql:5: .*temporary table mine of line 2")
      equal(sql "select t from loaded", "first\n")
      sql "drop table missing_one"
      trial:abandon()
    end)

    it("does not lose a transaction that a script leaves open without saying so", function()
      sql "drop table if exists loaded; create table loaded (n int)"
      local outcome = trial_of("insert into loaded values (1);\nbegin;\ninsert into loaded values (2);"):run "stopped"
      matches(outcome.failure.message, "begins at line 2 is not ended")
      equal(sql "select sum(n) from loaded", "1\n")
    end)

    it("plans a script by its first statements and the files it includes", function()
      local include = engine == "postgres" and "\\i more/b.sql" or "source more/b.sql"
      local trial = trial_of("select 1;\n" .. include .. "\nselect 3;")
      trial.files["procedures/test/more/b.sql"] = "select 2;\nselect 22;"
      local plan = trial:plan()
      local line = plan.phases[1].steps[1].effects[1]
      matches(line.says, "4 statements, each commits for itself")
      matches(line.says, "procedures/test/more/b.sql  sha256 %x+")
      matches(line.says, "    1  select 2")
      trial:run "done"
    end)

    it("takes statements without end in memory that does not grow", function()
      local memory = require "native.memory"
      sql "drop table if exists loaded; create table loaded (n int)"
      local path, lines = scratch() .. "/many.sql", {}
      for i = 1, 3000 do lines[i] = ("insert into loaded values (%d) /* %s */;"):format(i, ("x"):rep(2000)) end
      local file = io.open(path, "w")
      file:write(table.concat(lines, "\n"))
      file:close()
      lines = nil -- luacheck: ignore
      collectgarbage()
      local before, most, calls = memory.used(), 0, 0
      local trial = world.trial(engine, scratch(), { ('sql.script(db, %q, { transaction = true })'):format(path) })
      local counting = connect
      driver.connect = function(...)
        local native = counting(...)
        return setmetatable({}, { __index = function(_, method)
          return function(_, ...)
            calls = calls + 1
            if calls % 100 == 0 then -- what is garbage by then depends on what other tests have left
              collectgarbage()
              most = math.max(most, memory.used())
            end
            return native[method](native, ...)
          end
        end })
      end
      trial:run "done"
      equal(sql "select count(*), sum(n) from loaded":gsub("\t", "|"), "3000|4501500\n")
      truthy(most - before < 16 * 1024 * 1024)
    end)
  end)
end

local PSQL = [[
\set ON_ERROR_STOP on
\timing on
\set name 'it''s'
\set schema public
\if :{?wanted}
  \echo wanted is :wanted
\else
  insert into loaded values (-1, 'not wanted');
\endif
insert into :"schema".loaded values (:wanted, :'name');
select max(n) as most, 'x' || count(*) as many from loaded \gset got_
\if :got_most
  insert into loaded values (2, :'got_many');
\endif
copy loaded (n, t) from stdin;
3	a;b
4	\N
\.
\copy loaded from 'data/more.csv' with (format csv)
\ir parts/inner.sql
create function it() returns int language sql begin atomic select case when true then 7 else 8 end; end;
do $$ begin insert into loaded select it(), 'do;'; end $$;
create index concurrently on loaded (n);
vacuum loaded;
discard all;
insert into loaded values (8, E'\\;''') \g
\c other_base
create table there (n int);
insert into there values (9);
\c postgres
insert into loaded values (10, 'back')
]]

describe("what psql carries out", function()
  local function trial_of(script, options, files)
    return world.script("postgres", scratch(), script, { options = options, files = files })
  end

  local function sql(text, database) return require("tests.postgres").start().sql(text, database) end

  local FILES = { ["data/more.csv"] = "5,five\n",
    ["parts/inner.sql"] = "insert into loaded values (6, 'inner');\n\\ir ../parts/deep.sql\n",
    ["parts/deep.sql"] = "update loaded set t = 'deep' where n = 6;" }

  before_each(function()
    sql "drop table if exists loaded; drop function if exists it; create table loaded (n int, t text)"
    sql "drop database if exists other_base"
    sql "create database other_base"
  end)

  it("is carried out by neap", function()
    local trial = trial_of(PSQL, "{ variables = { wanted = 1 } }", FILES)
    trial:run "done"
    equal(sql "select n, t from loaded order by n",
      "1|it's\n2|x1\n3|a;b\n4|\n5|five\n6|deep\n7|do;\n8|\\;'\n10|back\n")
    equal(sql("select n from there", "other_base"), "9\n")
    matches(trial:all "output"[1].text, "wanted is 1")
  end)

  it("is carried out to the same end by psql", function()
    local folder = scratch()
    local fs = require "native.fs"
    for path, text in pairs(FILES) do
      fs.mkdir(folder .. "/" .. path:match "^[^/]*")
      fs.write(folder .. "/" .. path, text)
    end
    fs.write(folder .. "/load.sql", PSQL)
    local server = require("tests.postgres").start()
    require("tests.sshd").run({ "psql", "-X", "-q", "-h", server.folder, "-p", tostring(server.port), "-U", "postgres",
      "-v", "wanted=1", "-f", "load.sql" }, { cwd = folder, timeout = 60 })
    equal(sql "select n, t from loaded order by n",
      "1|it's\n2|x1\n3|a;b\n4|\n5|five\n6|deep\n7|do;\n8|\\;'\n10|back\n")
    equal(sql("select n from there", "other_base"), "9\n")
  end)

  it("is taken up where a statement was refused, with what was read and in the right database", function()
    local script = "select 5 as five \\gset\n\\c other_base\ncreate table there (n int);\n"
      .. "insert into mising values (1);\ninsert into there values (:five);\n\\c postgres\n"
      .. "insert into loaded values (:five);"
    local trial = trial_of(script)
    trial:run "stopped"
    sql("create table mising (n int)", "other_base")
    trial:resume "done"
    equal(sql("select n from there", "other_base") .. sql "select n from loaded", "5\n5\n")
  end)

  it("stays in its repository and knows every file beforehand", function()
    for _, line in ipairs { "\\i ../../../etc/passwd", "\\i /etc/passwd", "\\i none.sql", "\\i :file", "\\c :base",
      "\\copy loaded from '/etc/passwd'", "\\c other_base someone", "\\i load.sql" } do
      local outcome = trial_of("insert into loaded values (1);\n" .. line):run "failed"
      truthy(outcome.failure.kind == "protocol" or outcome.failure.kind == "missing")
    end
    equal(sql "select count(*) from loaded", "0\n")
  end)

  it("refuses a variable's value that would end the statement", function()
    local outcome = trial_of("\\set v '1); drop table loaded; select (1'\ninsert into loaded values (:v);"):run()
    matches(outcome.failure.message, "load%.sql:2: .*:v is no part of one statement")
    equal(sql "select count(*) from loaded", "0\n")
  end)

  it("is refused where it cannot be one transaction", function()
    for _, statement in ipairs { "begin", "vacuum", "\\c other_base", "create index concurrently on loaded (n)" } do
      equal(trial_of(statement, "{ transaction = true }"):run("failed").failure.kind, "protocol")
    end
  end)

  local SLOW = "insert into loaded values (1);\nselect pg_sleep(5);\ninsert into loaded values (2);"

  --- Runs a script whose second statement waits, and kills the server meanwhile.
  local function killed(server, options)
    local trial = trial_of(SLOW, options)
    local task = require "native.task"
    local killing = task.spawn(function()
      local sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(5)%' "
        .. "and pid <> pg_backend_pid()"
      eventually(function() return sql(sleeping) ~= "0\n" end)
      server.kill()
    end)
    local outcome = trial:start()
    equal({ killing:wait() }, { true })
    equal(outcome.status, "stopped")
    return trial
  end

  it("goes on after a server that was killed is there again", function()
    local server = require("tests.postgres").start()
    local trial = killed(server)
    server.begin()
    trial:resume "done"
    equal(sql "select sum(n), count(*) from loaded", "3|2\n")
  end)

  for options, name in pairs { ["{}"] = "", ["{ transaction = true }"] = " of one transaction" } do
    it("goes on with a script" .. name .. " at the standby that took its server's place", function()
      local server = require("tests.postgres").start()
      server.make_standby()
      local trial = killed(server, options)
      server.take_over()
      trial:resume "done"
      equal(sql "select pg_is_in_recovery(), sum(n), count(*) from loaded", "f|3|2\n")
    end)
  end
end)

describe("what the mysql client carries out", function()
  local function sql(text) return world.sql("mysql", text) end

  local function trial_of(script, files) return world.script("mysql", scratch(), script, { files = files }) end

  it("is carried out by neap", function()
    sql "drop table if exists loaded; drop procedure if exists fill; create database if not exists other_base"
    sql "drop table if exists other_base.there"
    local script = [[
      create table loaded (n int, t varchar(20));
      /*!40101 SET @old = @@sql_mode, sql_mode = 'ANSI' */;
      delimiter //
      create procedure fill(m int) begin declare i int default 0;
        while i < m do insert into loaded values (i, 'f;'); set i = i + 1; end while; end//
      call fill(3)//
      delimiter ;
      lock tables loaded write;
      insert into loaded values (10, 'a\'b'), (11, 'quoted' /* ; */);
      unlock tables;
      source parts/inner.sql
      start transaction; insert into loaded values (12, 'x'); rollback;
      use other_base
      create table there (n int) engine = InnoDB;
      insert into there values (9)\G
      use neap_test;
      insert into loaded values (13, NULL)]]
    local inner = "# nothing;\ninsert into loaded select n + 100, '-- ' from loaded where n = 10;"
    trial_of(script, { ["parts/inner.sql"] = inner }):run "done"
    equal(sql "select group_concat(n order by n), count(t) from loaded", "0,1,2,10,11,13,110\t6\n")
    equal(sql "select n from other_base.there", "9\n")
  end)

  it("takes a dump back in", function()
    sql [[drop database if exists other_base; create database other_base; use other_base;
      create table one (n int primary key, t text); insert into one values (1, 'a;b'), (2, '\\x''"');
      create view two as select n from one;
      create trigger three before insert on one for each row set new.t = upper(new.t)]]
    local server = require("tests.mariadb").start()
    local dump = require("tests.sshd").run({ "mariadb-dump", "--no-defaults", "--socket=" .. server.socket,
      "--user=root", "--ssl=0", "--routines", "--databases", "other_base" }, { env = { MYSQL_PWD = server.password } })
    sql "drop database other_base"
    trial_of(dump):run "done"
    equal(sql "select group_concat(n, t order by n) from other_base.one", "1a;b,2\\\\x'\"\n")
    sql "insert into other_base.one values (3, 'low')"
    equal(sql "select t from other_base.one natural join other_base.two where n = 3", "LOW\n")
  end)
end)
