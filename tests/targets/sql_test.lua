local world = require "tests.targets.sql_world"

local ENGINES = { "postgres" }

for _, engine in ipairs(ENGINES) do
  describe(engine, function()
    local server, folder

    before_each(function()
      folder = scratch()
      server = select(2, world.entry(engine, folder))
      server.sql "drop table if exists people; create table people (id int primary key, name varchar(200)); insert into people values (1, 'one'), (2, 'two')"
    end)

    local function trial(...) return world.trial(engine, folder, { ... }) end

    it("reads", function()
      local t = trial [[
        local rows = db:query("select id, name from people order by id")
        return { rows = rows, one = db:one("select name from people where id = $1", { 2 }),
          value = db:value("select name from people where id = $1", { 1 }), column = db:column "select id from people order by id" }
      ]]
      t:run "done"
      local result
      for _, event in ipairs(t:all "end") do result = event.result or result end
      equal(result, { rows = { { id = 1, name = "one" }, { id = 2, name = "two" } }, one = { name = "two" }, value = "one",
        column = { 1, 2 } })
    end)

    it("changes", function()
      local t = trial [[
        db:execute("update people set name = $1 where id = $2", { "x", 1 }, { undo = { "update people set name = $1 where id = $2", { "one", 1 } } })
        db:transaction(function(tx)
          tx:execute("insert into people values (3, 'three')")
          local n = tx:value "select count(*) from people"
          tx:execute("insert into people values ($1, 'n')", { 100 + n })
        end, { undo = { "delete from people where id >= 3" } })
      ]]
      local plan = t:plan()
      for _, e in ipairs(plan.phases[1].steps[1].effects) do print(e.show, e.says) end
      print(plan.phases[1].steps[1].ended)
      t:run "done"
      print(server.sql "select * from people; select * from neap.effects")
      t.store = require("neap.fakes.store").new()
      
    end)
  end)
end
