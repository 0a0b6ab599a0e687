--- Rows as states, copies beside, COPY and what is written outside.
local fs     = require "native.fs"
local memory = require "native.memory"
local world  = require "tests.targets.sql_world"

local STOP = [[ if not effect.planning() then error("stop") end ]]

local SETUP = {
  postgres = [[drop table if exists items, kept; drop type if exists mood; create type mood as enum ('sad', 'happy');
    create table items (id int, part text, price numeric(10,2), at timestamptz, data bytea, tags text[], m mood,
      doubled int generated always as (id * 2) stored, primary key (id, part));
    insert into items values (1, 'a', 1.5, '2020-01-01 00:00Z', '\x00ff', '{x,"y z"}', 'sad'),
      (2, 'b', null, null, null, null, null)]],
  mysql = [[drop table if exists items, kept;
    create table items (id int, part varchar(20), price decimal(10,2), at datetime(3), data blob, tags varchar(40), m
      enum('sad', 'happy'), doubled int as (id * 2) stored, primary key (id, part));
    insert into items (id, part, price, at, data, tags, m) values (1, 'a', 1.5, '2020-01-01', x'00ff', 'x', 'sad'),
      (2, 'b', null, null, null, null, null)]],
}

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local folder

    before_each(function()
      folder = scratch()
      world.clean(engine)
      world.sql(engine, SETUP[engine])
    end)

    local function items()
      return world.sql(engine, engine == "postgres" and "select * from items order by id, part"
        or "select id, part, price, at, hex(data), tags, m, doubled from items order by id, part")
    end

    local function there_and_back(text, check)
      local trial = world.trial(engine, folder, { text, STOP })
      local before = items()
      local effects = trial:plan().phases[1].steps[1].effects
      equal(items(), before)
      trial:run "stopped"
      check(effects, trial)
      trial:roll_back "rolled back"
      equal(items(), before)
      return trial
    end

    local function value(text) return (world.sql(engine, text):gsub("\n$", "")) end

    it("are put by their key, and put back to the byte", function()
      local tags = engine == "postgres" and 'sql.array { "p", "q\\"r" }' or '"p,q"'
      there_and_back(([[
        sql.rows(db, "items", { key = { "id", "part" }, rows = {
          { id = 1, part = "a", price = 2, data = sql.bytes("\0\1\2"), m = "happy", tags = %s,
            at = "2021-02-03 04:05:06Z" },
          { id = 3, part = "c'\"", price = 0.1, data = sql.null, m = sql.null, tags = sql.null, at = sql.null },
        } })
      ]]):format(tags):gsub("06Z", engine == "mysql" and "06" or "06Z"), function(effects)
        equal({ #effects, effects[1].sign }, { 1, "~" })
        matches(effects[1].before_text, "id=1 .*m=sad .*price=1.50")
        equal(value "select price from items where id = 1", "2.00")
        equal(value "select doubled from items where id = 3", "6")
        equal(value "select count(*) from items", "3")
      end)
    end)

    it("are found as wanted the second time", function()
      local text = [[sql.rows(db, "items", { key = { "id", "part" },
        rows = { { id = 1, part = "a", price = 1.5, m = "sad" } } })]]
      local trial = world.trial(engine, folder, { text })
      equal(trial:plan().phases[1].steps[1].effects[1].sign, "=")
      trial:run "done"
      equal(world.sql(engine, "select count(*) from neap.effects"), "0\n")
    end)

    it("are taken away, and put back whole", function()
      there_and_back([[sql.rows(db, "items", { key = { "id", "part" }, remove = true,
        rows = { { id = 1, part = "a" }, { id = 9, part = "none" } } })]], function(effects)
        equal(effects[1].sign, "-")
        equal(value "select count(*) from items", "1")
      end)
    end)

    it("are changed and taken away by a condition", function()
      there_and_back([[sql.rows(db, "items", { key = { "id", "part" }, where = "id > $1", params = { 0 },
        set = { price = 7 } })]],
        function(effects)
          equal(effects[1].after_text, "id=1 part=a price=7.00\nid=2 part=b price=7.00\n")
          equal(value "select count(*) from items where price = 7", "2")
        end)
      there_and_back([[sql.rows(db, "items", { key = { "id", "part" }, where = "price is null", remove = true })]],
        function() equal(value "select min(id) from items", "1") end)
    end)

    it("are not put back over what somebody else changed since", function()
      local trial = world.trial(engine, folder,
        { [[sql.rows(db, "items", { key = { "id", "part" }, where = "id = 1", set = { price = 7 } })]], STOP })
      trial:run "stopped"
      world.sql(engine, "update items set price = 8 where id = 1")
      trial:roll_back "rollback incomplete"
      equal(value "select price from items where id = 1", "8.00")
      trial:abandon()
    end)

    it("are as many as are said at most", function()
      local trial = world.trial(engine, folder,
        { [[sql.rows(db, "items", { key = { "id", "part" }, where = "id > 0", set = { price = 7 }, most = 1 })]] })
      trial:run "failed"
      matches(trial:failure().message, "more than 1 rows of items")
      matches(trial:failure().hint, "backup")
    end)

    it("are kept in a table beside, and put back out of that", function()
      there_and_back([[sql.rows(db, "items", { key = { "id", "part" }, where = "id = $1", params = { 1 },
        set = { price = 7, tags = sql.null }, backup = "kept" })]], function(effects)
        equal(effects[1].after_text, "1 rows")
        equal(value "select price from kept", "1.50")
        equal(value "select count(*) from items where price = 7 and tags is null", "1")
      end)
      equal(value "select count(*) from information_schema.tables where table_name = 'kept'", "0")
      there_and_back([[sql.rows(db, "items", { key = { "id", "part" }, where = "id > $1", params = { 0 }, remove = true,
        backup = "kept" })]], function() equal(value "select count(*) from items", "0") end)
    end)

    it("say what is wrong with what is asked for", function()
      for text, message in pairs {
        ["key = 'id', rows = {}, where = 'x'"] = "either rows, or where",
        ["key = 'id', where = 'id = 1'"] = "either set or remove",
        ["rows = { { id = 1 } }"] = "which key",
        ["key = 'id', rows = { { id = 1, nme = 2 } }"] = "has no column \"nme\"",
        ["key = 'id', rows = { { id = 1, part = 'a' }, { id = 2 } }"] = "not all rows speak of part",
        ["key = 'id', rows = { { id = 1, part = 'a' }, { id = 1, part = 'b' } }"] = "stands twice",
      } do
        local trial = world.trial(engine, folder, { ("sql.rows(db, 'items', { %s })"):format(text) })
        trial:run "failed"
        matches(trial:failure().message, message)
      end
    end)

    if engine == "postgres" then
      it("are copied in from a text, a file and a function, each once", function()
        world.sql(engine, "drop table if exists copied; create table copied (n int, t text)")
        fs.write(folder .. "/in.csv", "3,c\n4,\"d,d\"\n", { mode = "0644" })
        local trial = world.trial(engine, folder, { ([[
          local statement = "copy copied from stdin (format csv)"
          local first = sql.copy_in(db, statement, { text = "1,a\n2,b\n",
            undo = "delete from copied where n in (1, 2)" })
          sql.copy_in(db, statement, { file = "%s/in.csv", undo = "delete from copied where n in (3, 4)" })
          local n = 5
          sql.copy_in(db, statement, { undo = "delete from copied where n > 4", from = function()
            return function()
              n = n + 1
              return n < 9 and n .. ",x\n" or nil
            end
          end })
          return first
        ]]):format(folder), STOP })
        trial:run "stopped"
        equal(world.result(trial), { affected = 2 })
        equal(world.sql(engine, "select string_agg(n || t, ' ' order by n) from copied"), "1a 2b 3c 4d,d 6x 7x 8x\n")
        trial:roll_back "rolled back"
        equal(world.sql(engine, "select count(*) from copied"), "0\n")
      end)

      it("are copied in whole or not at all", function()
        world.sql(engine, "drop table if exists copied; create table copied (n int)")
        local trial = world.trial(engine, folder,
          { [[sql.copy_in(db, "copy copied from stdin", { text = "1\n2\nx\n" })]] })
        trial:run "failed"
        matches(trial:failure().message, "was rolled back: invalid input syntax")
        equal(world.sql(engine, "select count(*) from copied"), "0\n")
        equal(world.sql(engine, "select state from neap.effects"), "closed\n")
      end)

      it("are copied in from a file of any size, and not at all from one that is another each time", function()
        world.sql(engine, "drop table if exists copied; create table copied (t text)")
        local mebibyte = (("x"):rep(1023) .. "\n"):rep(1024)
        for _ = 1, 70 do fs.append(folder .. "/large", mebibyte) end
        local trial = world.trial(engine, folder, { ([[
          local statement = "copy copied from stdin"
          sql.copy_in(db, statement, { file = "%s/large", keep = "a trial" })
          sql.copy_in(db, statement, { file = "/proc/sys/kernel/random/uuid", keep = "a trial" })
        ]]):format(folder) })
        trial:run "stopped"
        matches(trial:failure().message, "uuid on local is not as it was")
        equal(world.sql(engine, "select count(*), count(distinct t) from copied"), 70 * 1024 .. "|1\n")
      end)

      it("are copied out into a file, which a rollback takes away", function()
        local trial = world.trial(engine, folder, { ([[
          sql.copy_out(db, "copy (select id, part from items order by id) to stdout (format csv, header)",
            { file = "%s/out.csv", mode = "0600" })
        ]]):format(folder), STOP })
        trial:run "stopped"
        equal(fs.read(folder .. "/out.csv"), "id,part\n1,a\n2,b\n")
        trial:roll_back "rolled back"
        equal(fs.exists(folder .. "/out.csv"), false)
      end)

      local LARGE = [[sql.copy_out(db, "copy (select repeat('x', 1000000) from generate_series(1, %d)) to stdout",
        { file = "%s/large", mode = "0600" })]]

      local function spools() return fs.list "/var/tmp" end

      it("are copied out into a file of any size in memory that does not grow", function()
        local before, most, pieces = memory.used(), 0, 0
        local driver = require "native.pg"
        local connect = driver.connect
        function driver.connect(...)
          local native = connect(...)
          return setmetatable({ copy_out = function(_, text, write, ...)
            return native:copy_out(text, function(bytes)
              pieces = pieces + 1
              if pieces % 50 == 0 then
                collectgarbage()
                most = math.max(most, memory.used())
              end
              write(bytes)
            end, ...)
          end }, { __index = function(_, method)
            return function(_, ...) return native[method](native, ...) end
          end })
        end
        local trial, left = world.trial(engine, folder, { LARGE:format(100, folder), STOP }), spools()
        local ok, failure = pcall(trial.run, trial, "stopped")
        driver.connect = connect
        if not ok then error(failure, 0) end
        local found = fs.stat(folder .. "/large")
        equal({ found.size, found.mode, spools() }, { 100 * 1000001, "0600", left })
        truthy(pieces > 50)
        truthy(most - before < 16 * 1024 * 1024)
        trial:roll_back "rolled back"
        equal(fs.exists(folder .. "/large"), false)
      end)

      it("of which a file is large are not copied over another one", function()
        fs.write(folder .. "/large", "mine")
        local trial = world.trial(engine, folder, { LARGE:format(70, folder) })
        trial:run "failed"
        matches(trial:failure().message, "large on local is there already, and another")
        equal(fs.read(folder .. "/large"), "mine")
      end)
    end

    it("are written outside the database once, which the plan calls opaque", function()
      local path = ("/tmp/neap-unload-%s-%d"):format(engine, require("native.process").pid())
      local text = engine == "postgres" and "copy (select id from items order by id) to '%s'"
        or "select id from items order by id into outfile '%s'"
      local trial = world.trial(engine, folder,
        { ([[sql.unload(db, %q, nil, { keep = "a file" })]]):format(text:format(path)) })
      equal(trial:plan().phases[1].steps[1].effects[1].certainty, "opaque")
      equal(fs.exists(path), false)
      trial:run "done"
      equal(fs.read(path), "1\n2\n")
      fs.remove(path)
    end)
  end)
end
