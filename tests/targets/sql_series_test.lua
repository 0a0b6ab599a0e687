--- Scripts whose statements are sent many at once.
local eventually = require "tests.eventually"
local task       = require "native.task"
local world      = require "tests.targets.sql_world"

local COUNT, AT = 300, 250 -- statements, and which of them is special: in the middle of a request of many
local DRIVERS = { postgres = "native.pg", mysql = "native.mysql" }

local RUNNING = {
  postgres = "select pid from pg_stat_activity where wait_event = 'PgSleep'",
  mysql = "select id from information_schema.processlist where info like 'insert%sleep(20)%'",
}

local SESSION = {
  postgres = "select pid from pg_stat_activity where pid = %s",
  mysql = "select id from information_schema.processlist where id = %s",
}

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local function sql(text) return world.sql(engine, text) end

    --- Statements, of which the one at AT is another, each on its line.
    local function script(special, before, behind)
      local lines = {}
      for i = 1, COUNT do lines[i] = ("insert into loaded values (%d);"):format(i) end
      lines[AT] = special
      return (before or "") .. table.concat(lines, "\n") .. (behind or "")
    end

    local function trial_of(text, options)
      sql "drop table if exists loaded; create table loaded (n int primary key)"
      return world.script(engine, scratch(), text, { options = options })
    end

    local function count() return tonumber(sql "select count(*) from loaded") end

    --- Requests to the server while fn runs.
    local function requests_of(fn)
      local driver, requests = require(DRIVERS[engine]), 0
      local connect = driver.connect
      function driver.connect(...)
        local native = connect(...)
        return setmetatable({}, { __index = function(_, method)
          return function(_, ...)
            if method == "series" or method == "execute" or method == "simple" then requests = requests + 1 end
            return native[method](native, ...)
          end
        end })
      end
      local ok, failure = pcall(fn)
      driver.connect = connect
      if not ok then error(failure, 0) end
      return requests
    end

    it("gets many statements in a request, one after another", function()
      local trial = trial_of(script(("insert into loaded values (%d);"):format(AT)))
      truthy(requests_of(function() trial:run "done" end) < 60)
      equal(count(), COUNT)
    end)

    it("is told the very statement of many that was refused, with its place in it", function()
      local trial = trial_of(script("insert into loaded values\n  (-1, 7);"))
      local outcome = trial:run "stopped"
      matches(outcome.failure.message, ("load%%.sql:%d: "):format(AT))
      if engine == "postgres" then matches(outcome.failure.message, "line 2, column 8") end
      matches(outcome.failure.hint, "249 of 300 statements are done")
      equal(count(), AT - 1)
      trial:abandon()
    end)

    it("is told of one that it cannot read, and has carried out what stands before", function()
      local trial = trial_of(script("insert into loaded valeus (1);"))
      local outcome = trial:run "stopped"
      matches(outcome.failure.message, ("load%%.sql:%d: "):format(AT))
      equal({ outcome.failure.code, count() }, { engine == "postgres" and "42601" or "42000", AT - 1 })
      trial:abandon()
    end)

    it("is told of a key that is there twice, and goes on when it is not", function()
      local trial = trial_of(script(("insert into loaded values (%d);"):format(1)))
      local outcome = trial:run "stopped"
      matches(outcome.failure.message, ("load%%.sql:%d: "):format(AT))
      equal(count(), AT - 1)
      sql "delete from loaded where n = 1"
      trial:resume "done"
      equal(count(), COUNT - 1)
    end)

    it("gets many in a request also when it has lost what its session had, up to one that needs that", function()
      local trial = trial_of(script(("insert into loaded values (%d);"):format(AT),
        "create temporary table own (n int);\ninsert into loaded values (-1);\n", "\ninsert into own values (1);\n"))
      sql "insert into loaded values (-1)"
      trial:run "stopped"
      sql "delete from loaded"
      local outcome
      truthy(requests_of(function() outcome = trial:resume "stopped" end) < 60)
      matches(outcome.failure.message, "it needs the temporary table own of line 1")
      equal(count(), COUNT + 1)
      trial:abandon()
    end)

    it("loses all of a transaction in which one is refused", function()
      for options, parts in pairs { ["{}"] = { "begin;\n", "\ncommit;" }, ["{ transaction = true }"] = {} } do
        local trial = trial_of(script("insert into loaded valeus (1);", table.unpack(parts)), options)
        local outcome = trial:start()
        matches(outcome.failure.message, ("load%%.sql:%d: "):format(AT + (parts[1] and 1 or 0)))
        equal(count(), 0)
        if parts[1] then trial:abandon() end
        trial = trial_of(script("insert into loaded values (2);", table.unpack(parts)), options)
        matches(trial:start().failure.message, ("load%%.sql:%d: "):format(AT + (parts[1] and 1 or 0)))
        equal(count(), 0)
        if parts[1] then trial:abandon() end
      end
    end)

    local function slow()
      return ("insert into loaded select %d from (select %s(20)) as slow;"):format(AT,
        engine == "postgres" and "pg_sleep" or "sleep")
    end

    --- A trial within which the slow statement runs; its task, and the session's number.
    local function started()
      local trial = trial_of(script(slow()))
      local running = task.spawn(trial.start, trial)
      return trial, running, eventually(function() return sql(RUNNING[engine]):match "%d+" end)
    end

    it("is given up in the middle of a request when it is cancelled, and taken up where that was", function()
      local trial, running, session = started()
      running:cancel()
      running:wait()
      eventually(function() return sql(SESSION[engine]:format(session)) == "" end) -- nothing comes from it any more
      equal({ sql(RUNNING[engine]), count() }, { "", AT - 1 })
      sql(("insert into loaded values (%d)"):format(AT)) -- refused is soon enough
      equal(trial:resume().status, "stopped")
      equal(count(), AT)
      trial:abandon()
    end)
  end)
end
