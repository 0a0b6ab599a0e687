local store = require "neap.fakes.store"
local world = require "tests.targets.sql_world"

local DRIVERS = { postgres = "native.pg", mysql = "native.mysql" }

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local driver, connect, crash

    --- Dies at the crash.at-th point: nothing that comes later reaches anybody.
    local function point()
      crash.points = crash.points + 1
      if crash.points == crash.at then crash.dead = true end
      if crash.dead then error("crash", 0) end
    end

    local QUIET = { cancel = true, facts = true, notices = true }

    local function mortal(native)
      return setmetatable({ native = native }, { __index = function(_, method)
        return function(_, ...)
          if method == "close" then return native:close() end
          if QUIET[method] then return native[method](native, ...) end
          local ok, failure = pcall(point)
          local results = ok and table.pack(native[method](native, ...))
          if ok then ok, failure = pcall(point) end
          if ok then return table.unpack(results, 1, results.n) end
          native:close()
          error(failure, 0)
        end
      end })
    end

    before_each(function()
      driver, crash = require(DRIVERS[engine]), { points = 0 }
      connect = driver.connect
      driver.connect = function(...)
        if crash.dead then error("crash", 0) end
        return mortal(connect(...))
      end
    end)

    after_each(function() driver.connect = connect end)

    local function live_again(at) crash.dead, crash.at, crash.points = false, at, 0 end

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

    local function journaled(trial)
      local kept = store.new()
      trial.store = setmetatable({ insert = function(place, batch)
        point()
        store.insert(place, batch)
        point()
      end }, { __index = kept, __newindex = kept })
      trial.kept = kept
      return trial
    end

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
      for at = 3, 1000, 13 do
        sql "drop table if exists loaded; create table loaded (n int)"
        local trial = journaled(trial_of(script))
        live_again(at)
        pcall(trial.start, trial)
        if not crash.dead then break end
        crashes = crashes + 1
        live_again(nil)
        if select(2, trial.kept:lease()) then
          local outcome = trial:resume()
          equal({ at, outcome.status, (sql(COUNTS):gsub("\t", "|")) }, { at, "done", "11|11|55\n" })
        end
      end
      truthy(crashes > 8)
    end)

    it("takes back by its undo what a script had done when neap died", function()
      local undo = '{ undo = "delete from loaded where n > 0; delete from loaded; insert into loaded values (7);" }'
      for at = 60, 140, 37 do
        sql "drop table if exists loaded; create table loaded (n int)"
        local trial = journaled(trial_of(numbers(20), undo))
        live_again(at)
        pcall(trial.start, trial)
        truthy(crash.dead)
        live_again(at // 4)
        pcall(trial.roll_back, trial)
        live_again(nil)
        if select(2, trial.kept:lease()) then equal({ at, trial:roll_back().status }, { at, "rolled back" }) end
        equal(sql(COUNTS):gsub("\t", "|"), "1|1|7\n")
      end
    end)
  end)
end
