local world = require "tests.targets.sql_world"

local PEOPLE = "drop table if exists people; create table people (id int primary key, name varchar(200) unique, " ..
  "note text); insert into people values (1, 'one', null), (2, 'two', 'b')"

for _, engine in ipairs { "postgres", "mysql" } do
  describe(engine, function()
    local folder

    before_each(function()
      folder = scratch()
      world.clean(engine)
      world.sql(engine, PEOPLE)
    end)

    local function trial(...) return world.trial(engine, folder, { ... }) end

    local function people() return world.sql(engine, "select id, name from people order by id") end

    local function lines(...)
      local list = {}
      for i, row in ipairs { ... } do list[i] = table.concat(row, engine == "postgres" and "|" or "\t") .. "\n" end
      return table.concat(list)
    end

    local BEFORE = lines({ 1, "one" }, { 2, "two" })

    local function step_of(plan) return plan.phases[1].steps[1] end

    -- ---- reads ----

    it("gives rows by column name, without what is NULL", function()
      local t = trial [[
        local names = {}
        for row in db:rows("select id, name from people where id < $1 order by id", { 9 }) do
          names[row.id] = row.name
        end
        return { rows = db:query("select id, note from people order by id"), names = names,
          one = db:one("select name from people where id = $1", { 2 }),
          value = db:value("select name from people where id = $1", { 1 }),
          none = db:value("select note from people where id = $1", { 1 }) == nil,
          column = db:column("select id from people order by id") }
      ]]
      t:run "done"
      equal(world.result(t), { rows = { { id = 1 }, { id = 2, note = "b" } }, names = { "one", "two" },
        one = { name = "two" }, value = "one", none = true, column = { 1, 2 } })
    end)

    it("says no where one row is expected and there is none, or are more", function()
      local t = trial [[db:one("select * from people where id = 7")]]
      t:run "failed"
      equal(t:failure().kind, "missing")
      t = trial [[db:value("select id from people")]]
      t:run "failed"
      matches(t:failure().message, "gave 2 rows, where one row is expected")
      t = trial [[db:column("select note from people order by id")]]
      t:run "failed"
      matches(t:failure().message, "note is NULL in row 1")
    end)

    it("refuses a read that would change something", function()
      local t = trial [[db:query("delete from people")]]
      t:run "failed"
      equal(t:failure().kind, "denied")
      equal(people(), BEFORE)
    end)

    it("leaves a stream that is broken off, and goes on", function()
      local t = trial [[
        for row in db:rows("select id, name from people order by id") do
          if row.id == 1 then break end
        end
        return { db:value("select count(*) from people") }
      ]]
      t:run "done"
      equal(world.result(t), { 2 })
    end)

    -- ---- values and names ----

    it("takes any text as a value, whatever stands in it", function()
      local hostile = { "'; drop table people; --", "\\'; x", "$ ? %s", "\u{202e}\u{1f600}", "a\nb", '"`', "" }
      local t = trial([[
        for i, text in ipairs { ]] .. table.concat((function()
          local quoted = {}
          for i, text in ipairs(hostile) do quoted[i] = ("%q"):format(text):gsub("\\\n", "\\n") end
          return quoted
        end)(), ", ") .. [[ } do
          db:execute("insert into people values ($1, $2, $3)", { 10 + i, text, sql.null }, { keep = "a test" })
        end
        return db:column("select name from people where id > 10 and note is null order by id")
      ]])
      t:run "done"
      equal(world.result(t), hostile)
    end)

    it("takes bytes, and gives them back", function()
      world.sql(engine, "drop table if exists blobs; create table blobs (id int, content " ..
        (engine == "postgres" and "bytea" or "blob") .. ")")
      local t = trial [[
        db:execute("insert into blobs values (1, $1)", { sql.bytes("\0\1\255'\\") }, { keep = "a test" })
        return { same = db:value("select content from blobs") == "\0\1\255'\\" }
      ]]
      t:run "done"
      equal(world.result(t), { same = true })
    end)

    it("quotes names as its server does, and refuses those that are none", function()
      local name = 'a "b" `c` d'
      world.sql(engine, ("drop table if exists %s"):format(engine == "postgres" and '"a ""b"" `c` d"'
        or '`a "b" ``c`` d`'))
      local t = trial(([[
        local name = db:ident(%q)
        db:execute("create table " .. name .. " (n int)", nil, { undo = "drop table " .. name })
        db:execute("insert into " .. sql.ident(db, %q) .. " values ($1)", { 5 }, { keep = "a test" })
        return { db:value("select n from " .. name) }
      ]]):format(name, name))
      t:run "done"
      equal(world.result(t), { 5 })
      t = trial [[db:ident(("x"):rep(65))]]
      t:run "failed"
      matches(t:failure().message, "longer than a name can be")
    end)

    it("takes no secret within a statement, and no list with gaps", function()
      local t = trial [[db:execute("select $1", { [2] = 1 })]]
      t:run "failed"
      matches(t:failure().message, "NULL is sql.null")
      t = trial [[db:execute("select 1", {}, { undoo = "x" })]]
      t:run "failed"
      matches(t:failure().message, "no option is named \"undoo\". Did you mean 'undo'")
      t = trial [[db:execute("commit")]]
      t:run "failed"
      matches(t:failure().message, "a transaction is db:transaction")
    end)

    it("names the near method and option", function()
      local t = trial [[db:qery("select 1")]]
      t:run "failed"
      matches(t:failure().message, "a database has no \"qery\". Did you mean 'query'")
    end)

    -- ---- changes ----

    it("changes once, and a rollback takes it back by its undo", function()
      local t = trial([[
        return db:execute("update people set name = $1 where id = $2", { "x", 1 },
          { undo = { "update people set name = $1 where id = $2", { "one", 1 } } })
      ]], [[ error("stop") ]])
      t:run "stopped"
      equal(world.result(t), { affected = 1 })
      equal(people(), lines({ 1, "x" }, { 2, "two" }))
      t:roll_back "rolled back"
      equal(people(), BEFORE)
      equal(world.sql(engine, "select count(*), min(state), max(state) from neap.effects"), lines { 2, "done", "done" })
    end)

    it("carries a transaction out whole, with what it reads itself", function()
      local t = trial [[
        return { db:transaction(function(tx)
          tx:execute("insert into people values (3, 'three', null)")
          local count = tx:value "select count(*) from people"
          tx:execute("insert into people values ($1, $2, null)", { 100 + count, "counted" })
          return count
        end, { undo = { "delete from people where id = 3", "delete from people where id > 100" } }) }
      ]]
      t:run "done"
      equal(world.result(t), { 3 })
      equal(people(), lines({ 1, "one" }, { 2, "two" }, { 3, "three" }, { 103, "counted" }))
    end)

    it("carries nothing of a transaction out when a part of it is refused", function()
      local t = trial [[
        db:transaction(function(tx)
          tx:execute("delete from people where id = 2")
          tx:execute("insert into people values (1, 'again', null)")
        end)
      ]]
      t:run "failed"
      local failure = t:failure()
      equal({ failure.kind, failure.host }, { "conflict", "main" })
      equal(failure.code, engine == "postgres" and "23505" or "23000")
      matches(failure.message, "main was rolled back: .*[Dd]uplicate")
      equal(people(), BEFORE)
      equal(world.sql(engine, "select state from neap.effects"), "closed\n")
    end)

    it("rolls back what changed more or fewer rows than it must", function()
      local t = trial [[db:execute("update people set note = 'x'", nil, { affects = 1, keep = "a test" })]]
      t:run "failed"
      matches(t:failure().message, "changed 2 rows, expected were 1")
      equal(world.sql(engine, "select count(*) from people where note = 'x'"), "0\n")
    end)

    it("goes on behind a savepoint when its part fails and that is caught", function()
      local t = trial [[
        db:transaction(function(tx)
          tx:execute("insert into people values (3, 'three', null)")
          pcall(tx.savepoint, tx, function()
            tx:execute("insert into people values (4, 'four', null)")
            tx:execute("insert into people values (1, 'again', null)")
          end)
          tx:execute("insert into people values (5, 'five', null)")
        end, { keep = "a test" })
      ]]
      t:run "done"
      equal(people(), lines({ 1, "one" }, { 2, "two" }, { 3, "three" }, { 5, "five" }))
    end)

    it("refuses a transaction that does not do what it meant to", function()
      local t = trial [[
        local calls = 0
        db:transaction(function(tx)
          calls = calls + 1
          tx:execute("insert into people values ($1, 'n', null)", { 10 + calls })
        end, { keep = "a test" })
      ]]
      t:run "failed"
      equal({ t:failure().kind, t:failure().code }, { "conflict", "meant" })
      equal(people(), BEFORE)
    end)

    it("carries out what commits by itself between two acts on its row", function()
      local statement = engine == "postgres" and "create index concurrently people_note on people (note)"
        or "create index people_note on people (note(10))"
      local undo = engine == "postgres" and "drop index concurrently people_note" or "drop index people_note on people"
      local t = trial(([[db:execute(%q, nil, { undo = %q })]]):format(statement, undo), [[ error("stop") ]])
      t:run "stopped"
      equal(world.sql(engine, "select state, session is not null from neap.effects"):gsub("[t1]\n", "yes\n"),
        lines { "done", "yes" })
      t:roll_back "rolled back"
      equal(world.sql(engine, "select count(*) from neap.effects where state = 'done'"), "2\n")
    end)

    it("shows the server's notices as output", function()
      local text = engine == "postgres" and "do $do$ begin raise warning 'mind the gap'; end $do$"
        or "drop table if exists not_there"
      local t = trial(([[db:execute(%q, nil, { keep = "a test" })]]):format(text))
      t:run "done"
      local said = {}
      for _, event in ipairs(t:all "output") do said[#said + 1] = event.text end
      matches(table.concat(said), engine == "postgres" and "WARNING: mind the gap" or "not_there")
    end)

    -- ---- plans ----

    it("is planned without a change, with the statement and how many rows it is about", function()
      local t = trial [[
        db:execute("update people set note = $1 where name = $2", { "x", "two" }, { keep = "a test", explain = true })
        db:execute("delete from people where id > 0", nil, { keep = "a test" })
        db:transaction(function(tx)
          tx:execute("insert into people values (3, 'three', null)")
          if tx:value "select count(*) from people" > 2 then tx:execute("delete from people") end
        end)
      ]]
      local effects = step_of(t:plan()).effects
      matches(effects[1].says, "^sql, 1 rows now\nupdate people set note = ")
      local explained = engine == "postgres" and "Update on people" or "explain: Cannot"
      matches(effects[1].says, "= 'x'\n.*= 'two'\n" .. explained)
      matches(effects[2].says, "^sql, how many rows is known later\ndelete from people")
      matches(effects[3].says, "^one transaction, 1 statements and more\ninsert into people values %(3")
      equal(effects[3].undo, "NO UNDO")
      equal(people(), BEFORE)
      equal(world.sql(engine, "select count(*) from neap.effects"), "0\n")
    end)

    it("is planned with the count that is asked for", function()
      local t = trial [[
        db:execute("update people set note = upper(name)", nil,
          { keep = "a test", count = "select count(*) from people" })
      ]]
      matches(step_of(t:plan()).effects[1].says, "^sql, 2 rows now")
    end)

    it("cannot be read any more once it is to be changed", function()
      local t = trial [[
        db:execute("delete from people where id = 1", nil, { keep = "a test" })
        db:query("select * from people")
      ]]
      local step = step_of(t:plan())
      equal(#step.effects, 1)
      matches(step.ended, "known after")
    end)
  end)
end
