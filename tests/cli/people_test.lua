local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local stage  = require "tests.cli.stage"

local SWITCH = [[
-- Switches the shop to a new release.
phase "Prepare"
step "Write the motd" { run = function() shop.write("web1", "/etc/motd", "welcome to 88\n") end }

phase "Switch"
step "Tell the shop's people" {
  run = function() shop.mail("people@shop", "release 88", { keep = "a mail harms nobody" }) end,
}
step "Point the proxies at the new server" {
  run = function() shop.point "88" end,
  hint = "Does the proxy resolve the new name? /etc/hosts is managed by hand on web2.",
}
manual "Move the cable" { text = "Move the cable of web2 to port 7.", evidence = "the ticket's number", timeout = "1h" }
]]

local FILES = {
  ["procedures/shop/switch.lua"] = SWITCH,
  ["procedures/shop/shelves.lua"] = [[
-- Fills the shelves.
phase "Fill"
step "Fill the shelves" { run = function() for i = 1, 4 do shop.write("db1", "/srv/shelf" .. i, "full") end end }
]],
  ["procedures/hall/greet.lua"] = [[
-- Greets with a release.
local arg = parameters { release = "the release's number", file = { "where it is said", default = "/etc/motd" } }
step "Say it" { run = function() shop.write("web1", arg.file, "welcome to " .. arg.release .. "\n") end }
step "Say it on the second host" {
  run = function() shop.write("web2", "/etc/" .. arg.release .. ".conf", "release " .. arg.release .. "\n") end,
}
]],
  ["procedures/hall/environments/lab.yml"] = "hosts:\n  web1: { ssh: web1.example.org }\n",
  ["procedures/shop/environments/night.yml"] = "policy: { window: { from: '22:00', to: '01:30', zone: UTC } }\n",
  ["procedures/shop/environments/lab.yml"] = "hosts:\n  web1: { ssh: web1.example.org }\n",
  ["procedures/shop/environments/prod.yml"] = "policy: { guard: production }\n",
}

local CONF = "upstream shop {\n    server v87.example.org;\n}\n"

describe("neap, before a person,", function()
  local on

  before_each(function()
    on = stage.new(scratch(), FILES)
    on.values = { ["/etc/motd"] = "welcome\n", ["/etc/web1.conf"] = CONF, ["/etc/web2.conf"] = CONF }
    on.failing["/etc/web2.conf"] = true
  end)

  after_each(stage.leave)

  it("shows a failure, what is changed, and what can be done; looks, and goes on without the step", function()
    on.answers = { "x", "d", "l", "k", "", "k", "web2 is out of service", "done", "CHG-8812" }
    golden("failure-skipped", on:screen "run shop/switch --env lab")
    golden("failure-log", on:screen "log 1")
  end)

  it("takes the run back to a step", function()
    on.answers = { "b", "9.9", "b", "2.1" }
    golden("failure-back", on:screen "run shop/switch --env lab")
  end)

  it("hands it over, and shows the next one where it stands", function()
    on.answers = { "o", "bob", "the proxy is his" }
    golden("failure-handed-over", on:screen "run shop/switch --env lab")
    on.answers = { "h", "moved the name by hand", "q" }
    golden("failure-taken-up", on:screen "resume 1")
  end)

  it("takes other arguments at a failure, typed one by one or in an editor", function()
    on.failing["/etc/web2.conf"] = true
    on.answers = { "e", "a", "", "", "e", "a", "/etc/issue", "", "said elsewhere", "q" }
    golden("failure-edit", on:screen "run hall/greet --env lab -p release=web2")
    equal(on.values["/etc/issue"], nil)
    on.set.EDITOR = "sed -i s/^release=web2/release=web3/"
    on.answers = { "e", "a", "it is called web3" }
    golden("failure-editor", on:screen "resume 1")
    golden("failure-edit-log", on:screen "log 1")
    equal(on.values["/etc/web3.conf"], "release web3\n")
  end)

  it("takes an argument along with a resume, for a reason", function()
    on.failing["/etc/web2.conf"] = true
    on:neap "run hall/greet --env lab -p release=web2"
    equal(on:neap "resume 1 -p release=web3", 2)
    matches(on.told, "needs %-%-reason")
    equal(on:neap "resume 1 -p relaese=web3 --reason typo", 5)
    matches(on.output, "no parameter is named \"relaese\".*release")
    equal(on:neap "resume 1 -p release=web3 --reason typo", 0)
    equal(on.values["/etc/web3.conf"], "release web3\n")
  end)

  it("takes up the code as it is now, and shows what is otherwise of steps that are over", function()
    local file = on.root .. "/procedures/hall/greet.lua"
    on.failing["/etc/web2.conf"] = true
    on.set.EDITOR = "sed -i s/web2/web9/"
    on.answers = { "e", "c", "web2 is gone", "q" }
    on:neap "run hall/greet --env lab -p release=web2"
    matches(on.told, "code changed by alice@jump1: procedures/hall/greet.lua %(web2 is gone%)")
    fs.write(file, (fs.read(file):gsub('"welcome to "', '"hello to "')), { mode = "0644" })
    on.answers = { "leave" }
    golden("resume-code", on:screen "resume 1 --code current --reason nicer")
    on.failing = {}
    equal(on:neap "resume 1 --code current --reason nicer --yes", 0)
    equal(on.values["/etc/motd"], "welcome to web2\n")
  end)

  it("runs lines of Lua at a failure", function()
    on.answers = { "s", "?", ":y", "?json.read", "env.name", "{ a = 1, b = 'upper\\nlower' }",
      "{ { host = 'web1', up = true }, { host = 'web2' } }", ":x",
      "{ { host = 'web1', up = true }, { host = 'web2' } }", ":x", "{ deep = { er = 1 } }", "nothing.there",
      "shop.edit('web1', '/etc/motd', function(text)", "return text .. 'back soon\\n'", "end)", "n",
      "shop.write('web1', '/etc/issue', 'closed')", "y", "shop.mail('people@shop', 'soon')", "yes", ":q", "q" }
    golden("failure-shell", on:screen "run shop/switch --env lab")
    on:neap "log 1"
    matches(on.output, "repl/1 by alice@jump1: env.name\n")
    matches(on.output, "! repl/6  FAILED 0.0s attempt to index a nil value")
    matches(on.output, "repl/8 by alice@jump1: shop.write%('web1', '/etc/issue', 'closed'%)\n"
      .. "%S+ +%+ web1 /etc/issue  shop.file  done")
    on.answers = { "s", "shop.write('web1', '/etc/issue', 'open')", "y" }
    equal(on:neap "resume 1", 8)
  end)

  it("is answered without a terminal", function()
    on:neap "run shop/switch --env lab"
    local screens = {}
    for i, line in ipairs {
      "resume 1 --answer lab", "resume 1 --answer skip", "resume 1 --answer by-hand",
      "resume 1 --answer skip --reason gone", "resume 1 --answer done --reason CHG-8812", "resume 1 --answer done",
    } do
      screens[i] = on:screen(line)
    end
    golden("answers", table.concat(screens, "\n"))
  end)

  it("says in a plan how long it took before", function()
    equal(on:neap "run shop/shelves --env lab", 0)
    on.values = {}
    golden("plan-typical", on:screen "plan shop/shelves --env lab")
  end)

  it("runs outside the policy's window for a reason alone", function()
    local screens = {}
    for i, line in ipairs {
      "run shop/shelves --env night", "run shop/shelves --env night --outside-window",
      "run shop/shelves --env night --outside-window --reason CHG-8812",
    } do
      screens[i] = on:screen(line)
    end
    golden("window", table.concat(screens, "\n"))
    on.failing["/etc/web2.conf"] = true
    on:neap "run shop/switch --env night --outside-window --reason CHG-8812"
    golden("window-resume", on:screen "resume 2")
  end)

  it("asks for a guarded environment's name before a resume and a rollback too", function()
    on:neap "run shop/switch --env prod --yes"
    equal(on:neap "resume 1", 8)
    matches(on.told, "resume asks for its name")
    on.answers = { "lab" }
    equal(on:neap "rollback 1", 8)
    on.answers = { "prod" }
    equal(on:neap "rollback 1", 0)
    equal(on.values["/etc/web1.conf"], CONF)
  end)

  it("runs a plan that somebody has approved, where the environment asks for it", function()
    local key, allowed = on:signer "bob"
    local policy = "policy: { approvals: { need: 1, allowed_signers: %s, not_runner: false } }\n"
    local file = on.root .. "/procedures/shop/environments/books.yml"
    fs.write(file, policy:format(allowed), { mode = "0644" })
    on.failing = {}
    equal(on:neap "run shop/switch --env books", 8)
    matches(on.told, "shop/books asks for an approval of a plan")
    on:neap "plan shop/switch --env books"
    local id = on.output:match "neap approve (%x+) %-%-env shop/books"
    equal(on:neap("run shop/switch --env books --plan " .. id), 8)
    matches(on.told, "and it has 0")
    equal(on:neap(("approve %s --env books --key %s/none"):format(id, on.root)), 1)
    matches(on.told, "ssh%-keygen did not sign")
    equal(on:neap(("approve %s --env books --key %s"):format(id, key)), 0)
    matches(on.told, "web1 /etc/motd")
    matches(on.output, "Plan " .. id .. " is approved by .* until %d+%-%d+%-%d+T")
    on.answers = { "done", "CHG-8812" }
    equal(on:neap("run shop/switch --env books --plan " .. id), 0)
    on:neap "log 1 --env books"
    matches(on.output, "approved by bob@example.org %(SHA256:")
  end)
end)
