--- neap dies before or after each call to a server and each commit of the journal, in turn; then it is resumed, or rolled
--- back.
local mortal = require "tests.targets.mortal"
local world  = require "tests.targets.sql_world"

local DRIVERS = { postgres = "native.pg", mysql = "native.mysql" }

local STEPS = {
  [[
    db:execute("update counter set n = n + $1", { 1 }, { undo = "update counter set n = n - 1" })
  ]], [[
    db:transaction(function(tx)
      tx:execute("insert into lines values ($1)", { "first" })
      local count = tx:value "select count(*) from lines"
      tx:execute("insert into lines values ($1)", { "there are " .. count })
    end, { undo = { { "delete from lines where line = $1", { "first" } },
      "delete from lines where line like 'there %'" } })
  ]], [[
    db:execute(OUTSIDE, nil, { undo = UNDO, transaction = false,
      done = "select count(*) from information_schema.tables where table_name = 'outside'" })
  ]], [[
    sql.grant(db, "update", PLACE, WRITER)
  ]],
}

local SETUP = {
  postgres = [[drop table if exists counter, lines, outside; create table counter (n int);
    insert into counter values (0); create table lines (line varchar(40));
    do $$ begin if not exists (select from pg_roles where rolname = 'clerk') then create role clerk; end if; end $$]],
  mysql = [[drop table if exists counter, `lines`, outside; create table counter (n int);
    insert into counter values (0); create table `lines` (line varchar(40)); create or replace user clerk@'%']],
}

local WORDS = {
  postgres = { OUTSIDE = '"create table outside (n int)"', UNDO = '"drop table outside"',
    PLACE = '{ schema = "public", table = "counter" }', WRITER = '"clerk"' },
  mysql = { OUTSIDE = '"create table outside (n int)"', UNDO = '"drop table outside"',
    PLACE = '{ database = "neap_test", table = "counter" }', WRITER = '"clerk@%"' },
}

local STATE = {
  postgres = [[select n from counter; select line from lines order by line;
    select count(*) from information_schema.tables where table_name = 'outside';
    select has_table_privilege('clerk', 'counter', 'update')::int]],
  mysql = [[select n from counter; select line from `lines` order by line;
    select count(*) from information_schema.tables where table_name = 'outside';
    select count(*) from information_schema.table_privileges where grantee like '%clerk%'
      and privilege_type = 'UPDATE']],
}

local FIRST, LAST = "0\n0\n0\n", "1\nfirst\nthere are 1\n1\n1\n"

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local folder, driver, connect, crash

    before_each(function()
      folder, driver = scratch(), require(DRIVERS[engine])
      crash, connect = mortal.new(), driver.connect
      driver.connect = crash:connecting(connect)
    end)

    after_each(function() driver.connect = connect end)

    local function new_trial()
      world.clean(engine)
      world.sql(engine, SETUP[engine])
      local steps = {}
      for i, text in ipairs(STEPS) do
        text = text:gsub("[A-Z]+", WORDS[engine])
        steps[i] = engine == "mysql" and text:gsub("(%f[%w]%a%a%a%a) lines", "%1 `lines`") or text
      end
      return crash:write_for(world.trial(engine, folder, steps))
    end

    local function state() return world.sql(engine, STATE[engine]) end

    local function effects_once()
      -- each effect has its row, and no name was taken twice
      equal(world.sql(engine, "select count(*) - count(distinct id) from neap.effects"), "0\n")
    end

    --- Crashes at every `stride`th point of a run from `first` on; calls fn(trial, at) for each that left the run open.
    local function each_crash(first, stride, least, fn)
      local count = 0
      for at = first, 1000, stride do
        local trial = new_trial()
        crash:live(at)
        pcall(trial.start, trial)
        if not crash.dead then break end
        crash:live()
        if select(2, trial.kept:lease()) then
          fn(trial, at)
          effects_once()
        else
          truthy(state() == FIRST or state() == LAST)
        end
        count = count + 1
      end
      truthy(count >= least)
    end

    it("is resumed to the state of an undisturbed run, whatever the moment at which neap died", function()
      local trial = new_trial()
      trial:run "done"
      equal(state(), LAST)
      each_crash(1, 9, 10, function(one, at)
        local outcome = one:resume()
        equal({ at, outcome.status, state() }, { at, "done", LAST })
      end)
    end)

    it("is rolled back to the state before, whatever the moment at which neap died", function()
      each_crash(4, 9, 10, function(one, at)
        local outcome = one:roll_back()
        equal({ at, outcome.status, state() }, { at, "rolled back", FIRST })
      end)
    end)

    it("is resumed or rolled back also when it dies once more on the way", function()
      each_crash(30, 23, 3, function(one, at)
        crash:live(9 + at % 11)
        pcall(one.resume, one)
        crash:live()
        if not select(2, one.kept:lease()) then return equal(state(), LAST) end
        crash:live(7 + at % 13)
        pcall(one.roll_back, one)
        crash:live()
        if not select(2, one.kept:lease()) then return end
        local outcome = one:roll_back()
        equal({ at, outcome.status, state() }, { at, "rolled back", FIRST })
      end)
    end)
  end)
end
