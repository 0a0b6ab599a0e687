--- Tests of procedures, as their authors write them: by `neap test` in a repository of procedures.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local NEAP = fs.realpath "build/neap"

local function test(words) return console.shell(("cd tests/repositories/site && %s test %s"):format(NEAP, words)) end

local function one(text)
  local path = scratch() .. "/one_test.lua"
  fs.write(path, text)
  return test(path)
end

describe("neap test", function()
  it("runs the tests beside the procedures: forward, back, crashes and refusals in memory", function()
    local output, status = test ""
    equal(status, 0)
    matches(output, "14 passed, 0 failed")
  end)

  it("finds an action that nobody can be asked about, and says how to see it again", function()
    local output, status = one [[it("careless", function()
      trial("site/careless", { env = "lab" }):crash_everywhere()
    end)]]
    equal(status, 9)
    matches(output, "it is not known whether web happened: this kind of effect leaves nothing to ask for")
    local at = output:match "replay: trial:crash%((%d+)%)"
    matches(one(([[it("careless", function() trial("site/careless", { env = "lab" }):crash(%s) end)]]):format(at)),
      "it is not known")
  end)

  it("finds what a rollback leaves behind", function()
    local output = one [[it("careless", function() trial("site/careless", { env = "lab" }):fail_everywhere() end)]]
    matches(output, "1 passed, 0 failed") -- it is taken back: its undo is there
    output = one [[it("leaves", function() trial("site/leaves", { env = "lab" }):fail_everywhere() end)]]
    matches(output, "after the refused run of web true and a rollback these are otherwise: file.content web /etc/motd")
  end)

  it("has persons say what shows their work, and give up where its check does not hold", function()
    local output = one [[
      local function outcome_of(carrier)
        return trial("site/cable", { env = "night", given = function(self)
          self:answer("host.read", "carrier", carrier)
        end }):run()
      end
      it("is done", function()
        local asked = 0
        equal(outcome_of(function()
          asked = asked + 1
          return asked > 2 and "1" or "0"
        end).status, "done")
      end)
      it("is not", function() equal(outcome_of("0").status, "stopped") end)]]
    matches(output, "2 passed, 0 failed")
  end)

  it("says which answer a read or a command lacks", function()
    local output = one [[it("silent", function()
      local switch = trial("site/switch", { env = "lab", arguments = { old = "a", new = "b" }, given = function(self)
        self:file("proxy1", "/etc/nginx/nginx.conf", "a")
        self:file("proxy2", "/etc/nginx/nginx.conf", "a")
      end })
      error(switch:run().failure.message, 0)
    end)]]
    matches(output, "the trial has no answer to host.read of .*curl")
  end)

  it("makes schemas in memory, and reaches no real server for anything else", function()
    local root = scratch()
    console.shell(("cd %s && %s new shop/data --repo ."):format(root, NEAP))
    local text = fs.read(root .. "/procedures/shop/environments/lab.yml")
    local entry = "databases: { main: { postgres: db.invalid, database: shop }, old: { mysql: db.invalid } }\n"
    fs.write(root .. "/procedures/shop/environments/lab.yml", text .. entry)
    fs.write(root .. "/procedures/shop/data.lua", [[
      step "Have a schema" { run = function() sql.schema(env.databases.main, "books") end }
      step "Have a database" { run = function() sql.database(env.databases.old, "books") end }
      step "Look" { when = function() return env.look == "yes" end,
        run = function()
          local count = 0
          for row in env.databases.main:rows "select id from books" do count = count + row.id end
          return count
        end }]])
    fs.write(root .. "/procedures/shop/data_test.lua", [[
      local function tried(look, rows)
        return trial("shop/data", { env = "lab", values = { look = look }, given = function(self)
          if rows then self:answer("sql.rows", "from books", rows) end
        end })
      end
      it("has them", function()
        local data = tried "no"
        equal(data:run().status, "done")
        equal(data:get("sql.schema", { database = "main", name = "books" }), { owner = "neap" })
        equal(data:get("sql.database", { database = "old", name = "books" }).charset, "utf8mb4")
        data:crash_everywhere()
        data:fail_everywhere()
      end)
      it("looks at rows", function()
        equal(tried("yes", { { id = 2 }, { id = 3 } }):run().status, "done")
        matches(tried "yes":run().failure.message, "no answer to sql.rows")
        matches(tried("yes", true):run().failure.message, "no connection to the database main")
      end)]])
    local output, status = console.shell(("cd %s && %s test"):format(root, NEAP))
    equal({ output:match "%d+ passed, %d+ failed", status }, { "2 passed, 0 failed", 0 })
  end)

  it("prints as TAP and as JUnit, too", function()
    local path = scratch() .. "/one_test.lua"
    fs.write(path, [[it("is well", function() end) it("is <not>", function() error("no\nindeed", 0) end)
      it("waits", function() skip "for rain" end)]])
    local tap = test("--format=tap " .. path)
    matches(tap, "^TAP version 13\nok 1 %- .-is well\nnot ok 2 %- ")
    matches(tap, "ok 3 %- .- # SKIP for rain\n1%.%.3\n$")
    local junit, status = test("--format=junit " .. path)
    equal(status, 9)
    local xml = require "native.xml".parse(junit)
    matches(junit, 'tests="3" failures="1" skipped="1"')
    truthy(xml)
    matches(test("--format=xml " .. path), "no form 'xml'")
  end)

  it("refuses an option that is none, with the near name", function()
    matches(one [[it("wrong", function() trial("site/switch", { enf = "lab" }) end)]], "no option named \"enf\".-'env'")
  end)
end)
