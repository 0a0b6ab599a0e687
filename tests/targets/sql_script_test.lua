local world = require "tests.targets.sql_world"

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local function trial_of(script, options, more)
      world.clean(engine)
      local step = ('sql.script(db, "load.sql"%s)'):format(options and ", " .. options or "")
      local trial = world.trial(engine, scratch(), { step }, more)
      trial.files["procedures/test/load.sql"] = script
      return trial
    end

    local function sql(text) return world.sql(engine, text) end

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
      local trial = trial_of "create table loaded (n int);\ninsert into loaded values (1);\ninsert into lloaded values (2);\ninsert into loaded values (3)"
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
      local trial = trial_of("insert into loaded values (1);\ninsert into loaded values (2);\ninsert into llloaded values (3)",
        "{ transaction = true }")
      local outcome = trial:run "failed"
      matches(outcome.failure.message, "load%.sql:3: ")
      equal(sql "select count(*) from loaded", "0\n")
    end)
  end)
end
