--- `neap repl` before a person whose terminal is a list of answers: what they read is in golden files.
local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local stage  = require "tests.cli.stage"

local FILES = {
  ["procedures/shop/lib.lua"] = [[
local lib = {}
--- A greeting.
--- @param whom string  who is greeted
--- @return string
function lib.greet(whom) return "hello " .. whom end
return lib
]],
  ["procedures/shop/open.lua"] = [[
-- Opens the shop.
local arg = parameters { release = { "its number", default = "88" } }
phase "Prepare"
step "Find the door" { run = function() return { door = "front" } end }
step "Write the motd" { run = function() shop.write("web1", "/etc/motd", "welcome to " .. arg.release .. "\n") end }
step "Tell people" { run = function() shop.mail("people@shop", "open", { keep = "a mail harms nobody" }) end }
]],
  ["procedures/shop/stuck.lua"] = [[
-- Stops half way.
step "Write the issue" { run = function() shop.write("web1", "/etc/issue", "open") end }
step "Write the motd" { run = function() shop.write("web1", "/etc/motd", "welcome") end }
]],
  ["procedures/shop/environments/base.yml"] =
    "hosts:\n  web1: { ssh: web1.example.org }\nvalues: { port: 80, names: [a, b] }\n",
  ["procedures/shop/environments/lab.yml"] = "extends: base.yml\nsecrets: { token: env:SHOP_TOKEN }\n",
  ["procedures/shop/environments/prod.yml"] = "extends: base.yml\npolicy: { guard: production }\n",
  ["procedures/shop/environments/signed.yml"] =
    "extends: base.yml\npolicy: { approvals: { need: 1, allowed_signers: /etc/neap/allowed_signers } }\n",
}

describe("neap repl", function()
  local on

  before_each(function()
    on = stage.new(scratch(), FILES)
    on.values = { ["/etc/motd"] = "welcome\n", ["/etc/issue"] = "closed" }
  end)

  after_each(stage.leave)

  local function sit(answers, line)
    on.answers = answers
    return on:screen(line or "repl --env shop/lab", true)
  end

  it("reads at once, and shows rows as tables, what is nested as trees, secrets as marks", function()
    golden("repl-reading", sit { "1 + 1, nil, 'x'", "env.port", "env.names", "env.hosts.web1.name",
      "{ { host = 'web1', up = true }, { host = 'web2', up = 'un\\27[31mknown' } }", ":x",
      "{ { host = 'web1', up = true }, { host = 'web2' } }", ":x",
      "{ deep = { er = 1, list = { 'a', 'b' } }, rows = { { a = 1, b = 2 }, { a = 3 } }, text = 'two\\nlines' }",
      ":json",
      "{ deep = { er = 1 } }", ":json", "y = (function()", "return 7", "end)()", "y", "1 +",
      "1", "end", "x = (", "",
      "nothing.there", "fiel.read()",
      "x = = 1", ":nothing", ":jsn", "print(1, { a = 2 })", ":time", "lib = require 'shop.lib'", "help(lib.greet)" })
  end)

  it("refuses each change until :write, and shows what it would have been", function()
    golden("repl-refused", sit { "shop.write('web1', '/etc/motd', 'hello\\n')", ":undo", ":read",
      ":plan shop.write('web1', '/etc/motd', 'hello\\n') shop.mail('people@shop', 'hello')" })
    equal({ on.values["/etc/motd"], #on.mails }, { "welcome\n", 0 })
  end)

  it("changes in a run of its own: shown, asked about, journaled, taken back", function()
    golden("repl-writing", sit { ":write", "CHG-8812 hotfix", "shop.write('web1', '/etc/motd', 'hello\\n')", "n",
      "shop.write('web1', '/etc/motd', 'hello\\n')", "y", "shop.write('web1', '/etc/issue', 'open')", "yes", ":undo",
      "for i = 1, 3 do shop.write('web1', '/srv/' .. i, 'full') end", "y", "all", ":undo 2", ":undo",
      "shop.mail('people@shop', 'soon')", "y", ":undo", ":write", ":read", ":read" })
    golden("repl-log", on:screen "log 1")
    equal(on.values, { ["/etc/motd"] = "welcome\n", ["/etc/issue"] = "closed" })
  end)

  it("takes the name of a guarded environment before a change, and says where one is in words", function()
    golden("repl-guarded", sit({ ":write", "lab", ":write", "prod", "", "shop.write('web1', '/etc/issue', 'open')",
      "y" }, "repl --env shop/prod"))
    equal(on.values["/etc/issue"], "open")
  end)

  it("reads alone where the environment asks for approvals", function()
    local screen = sit({ ":write", "" }, "repl --env shop/signed")
    matches(screen, "asks for approvals, and lines have none")
  end)

  it("says that another run has the environment, and leaves it alone", function()
    on.failing["/etc/motd"] = true
    on:neap "run shop/stuck --env lab"
    on.failing = {}
    matches(sit { ":write", "" }, "leased by run 1, shop/stuck, of alice@jump1.*neap resume 1 %-%-env shop/lab")
  end)

  it("a failure of a line ends neither the sitting nor its run", function()
    on.failing["/etc/motd"] = true
    golden("repl-failure", sit { ":write", "", "shop.write('web1', '/etc/motd', 'hello\\n')", "y", "1 + 1",
      "shop.write('web1', '/etc/issue', 'open')", "y" })
    equal(on.values["/etc/issue"], "open")
  end)

  it("plans the procedure and its steps, and carries steps out one by one", function()
    golden("repl-steps", sit({ "arg.release", ":step 1.2", ":step 9.9", ":write", "", ":step 1.1", ":step 1.2", "y",
      ":step 1.2", ":undo", ":step 1.3", "y", ":plan" }, "repl shop/open --env lab -p release=89"))
    equal({ on.values["/etc/motd"], #on.mails }, { "welcome\n", 1 })
  end)

  it("saves what was changed as a procedure that check passes and a run carries out", function()
    local screen = sit { ":save typed", ":write", "", "lib = require 'shop.lib'", "-- Say hello",
      "text = lib.greet 'you'",
      "shop.write('web1', '/etc/motd', text)", "y", "shop.write('web1', '/etc/issue', 'open')", "y", ":undo",
      "old = shop.write('web1', '/srv/1', 'full') -- Fill the shelf", "y", "shop.write('web1', '/srv/2', old .. '!')",
      "y", "lib.greet 'nobody'", ":save typed", ":save typed", ":save ../x" }
    matches(screen, "no line has changed anything that stays.*2 steps %(left out: 1 undone, 0 failed%).*is there alr")
    golden("repl-saved", fs.read(on.root .. "/procedures/shop/typed.lua"))
    equal(on:neap "check shop/typed", 0)
    on.values = {}
    equal(on:neap "run shop/typed --env lab", 0)
    equal(on.values, { ["/etc/motd"] = "hello you", ["/srv/1"] = "full", ["/srv/2"] = "full!" })
  end)

  it("takes changed files in between two lines, and says so; not in a run", function()
    local path = on.root .. "/procedures/shop/lib.lua"
    local greet = "require 'shop.lib'.greet 'a'"
    local function rewriting(text, line)
      return function()
        fs.write(path, text, { mode = "0644" })
        return line
      end
    end
    on.answers = { greet, rewriting("return { greet = function() return 'changed' end }", "1"), greet,
      rewriting("return {", "1"), greet, rewriting("return { greet = function() return 'good' end }", "1"), greet,
      ":write", "", rewriting("return { greet = function() return 'later' end }", "1"), greet }
    local screen = on:screen("repl --env shop/lab", true)
    matches(screen, "hello a.*reloaded: procedures/shop/lib.lua.*changed\n.*not loaded: shop.lib.*good\n")
    matches(screen, "changed since :write, and not taken in: procedures/shop/lib.lua.*\ngood\n")
  end)

  it("ends with the first error of a script, and says what stays", function()
    local function status(line) return on:neap(line) end
    equal(status "repl --env shop/lab -e 1+1", 0)
    equal(on.output, "2\n")
    equal(status "repl --env shop/lab -e nothing.there -e 2", 1)
    equal(on.output, "")
    equal(status "repl --env shop/lab -e (", 1)
    equal(status "repl --env shop/lab -e shop.write('web1','/etc/issue','open')", 1)
    equal(status "repl --env shop/lab -e :write -e shop.write('web1','/etc/issue','open')", 8)
    equal(on.values["/etc/issue"], "closed")
    matches(on.told, "nobody can be asked.*run 1 is closed: nothing stays changed")
    equal(status "repl --env shop/lab --yes -e :write -e shop.write('web1','/etc/issue','open')", 0)
    equal(on.values["/etc/issue"], "open")
    equal(status "repl --env shop/lab --yes -e :write -e shop.write('web1','/etc/issue','shut') -e fail('x')", 5)
    matches(on.told, "run 3 stays open: 1 change stays so far.*neap rollback 3 %-%-env shop/lab")
    equal(status "rollback 3", 0)
    equal(on.values["/etc/issue"], "open")
    on.failing["/etc/motd"], on.values["/etc/issue"] = true, "closed"
    equal(status "run shop/stuck --env lab", 5)
    equal(status "repl --env shop/lab -e :write", 7)
    equal(status "repl --env shop/prod -e :write", 8)
    equal(status "repl --env shop/lab -e :nothing", 1)
    equal(status "repl", 2)
  end)

  it("takes up the run of a sitting that was cut short", function()
    on:neap "repl --env shop/lab --yes -e :write -e shop.write('web1','/etc/issue','shut') -e fail('x')"
    golden("repl-taken-up", sit { ":write", "n", ":write", "y", ":undo", ":q" })
    equal(on.values["/etc/issue"], "closed")
  end)
end)
