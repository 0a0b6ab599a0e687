local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local stage  = require "tests.cli.stage"

local RELEASE = [[
-- Switches the shop to a new release.
local arg = parameters { release = { "number of the new release", match = "^%d+$" } }

phase "Prepare"

step "Write the motd" { run = function() shop.write("web1", "/etc/motd", "welcome\n") end }

phase "Switch"

step "Tell the shop's people" {
  run = function() shop.mail("people@shop", "release " .. arg.release, { keep = "a mail harms nobody" }) end,
}
step "Point the proxies at the new server" {
  run = function() shop.point(arg.release) end,
  hint = "Does the proxy resolve the new name?",
}
step "Open the books" {
  irreversible = "the new books cannot be read by the old release",
  run = function() shop.write("db1", "/srv/books", "new") end,
}
manual "Look whether the shop sells" {}
]]

local FILES = {
  ["procedures/shop/release.lua"] = RELEASE,
  ["procedures/shop/zone.lua"] = [[
-- Needs much.
needs { zone = "text", racks = { "how many racks", type = "integer" } }
]],
  ["procedures/shop/broken.lua"] = "-- Has a mistake.\nstep 'x' { rnu = function() end }\n",
  ["procedures/shop/environments/base.yml"] = "values: { zone: example.org }\n",
  ["procedures/shop/environments/lab.yml"] = "extends: base.yml\nhosts:\n  web1: { ssh: web1.$(zone) }\n",
  ["procedures/shop/environments/prod.yml"] =
    "extends: base.yml\npolicy: { guard: production, on_failure: rollback }\n",
}

local CONF = "upstream shop {\n    server v87.example.org;\n}\n"

describe("neap", function()
  local on

  before_each(function()
    on = stage.new(scratch(), FILES)
    on.values = { ["/etc/motd"] = "welcome\n", ["/etc/web1.conf"] = CONF, ["/etc/web2.conf"] = CONF,
                  ["/srv/books"] = "old" }
  end)

  after_each(stage.leave)

  it("lists, shows and checks", function()
    golden("list", on:screen "list")
    golden("show", on:screen "show shop/release")
    golden("show-steps", on:screen "show shop/release --steps")
    golden("check", on:screen "check")
    golden("env-list", on:screen "env list")
    golden("env-show", on:screen "env show shop/lab")
    golden("env-explain", on:screen "env show shop/lab --explain hosts.web1.ssh")
  end)

  it("says which host was meant, where a step would run for nobody", function()
    fs.write(on.root .. "/procedures/shop/other.lua",
      'step "Write it" { on = env.hosts.wbe1, run = function(web) file.write(web, "/x", "y") end }\n')
    equal(on:neap "check shop/other", 9)
    matches(on.output, "other.lua:1: error: env.hosts of shop/lab has no \"wbe1\". Did you mean 'web1'%?")
  end)

  it("plans, and changes nothing", function()
    golden("plan", on:screen "plan shop/release --env lab -p release=88")
    golden("plan-summary", on:screen "plan shop/release --env lab -p release=88 -s")
    golden("plan-markdown", on:screen "plan shop/release --env lab -p release=88 --markdown")
    equal(on.values["/etc/web1.conf"], CONF)
    equal(on:neap "plan shop/release --env lab -p release=88 --exit-code", 3)
  end)

  it("runs to a point of no return, asks, and goes on", function()
    golden("run-paused", on:screen "run shop/release --env lab -p release=88")
    golden("runs", on:screen "runs")
    on.answers = { "lab", "done" }
    golden("resume", on:screen "resume 1")
    equal(on.values["/srv/books"], "new")
    golden("log", on:screen "log 1")
    golden("log-patch", on:screen "log 1 -p --step 2.2")
    golden("log-verify", on:screen "log 1 --verify" .. "\n" .. on:screen "log --verify" .. "\n" .. on:screen "log")
  end)

  it("stops at a failure, and rolls back", function()
    on.failing["/etc/web2.conf"] = true
    golden("run-failed", on:screen "run shop/release --env lab -p release=88")
    golden("leased", on:screen "run shop/release --env lab -p release=88")
    golden("rollback", on:screen "rollback 1")
    equal(on.values["/etc/web1.conf"], CONF)
    golden("runs-rolled-back", on:screen "runs --env lab")
  end)

  it("rolls back by itself where the environment says so", function()
    on.failing["/etc/web2.conf"] = true
    golden("run-rolled-back", on:screen "run shop/release --env prod -p release=88 --yes")
  end)

  it("stops a rollback at what somebody else changed, and keeps that when told to", function()
    on.failing["/etc/web2.conf"] = true
    on:neap "run shop/release --env lab -p release=88"
    on.values["/etc/web1.conf"] = "by hand\n"
    golden("rollback-conflict", on:screen "rollback 1")
    on.answers = { "k" }
    golden("rollback-asked", on:screen "rollback 1")
    equal(on.values["/etc/web1.conf"], "by hand\n")
  end)

  it("does not roll back behind a point of no return", function()
    on.answers = { "lab" }
    on:neap "run shop/release --env lab -p release=88" -- stops at the last step, which nobody answers
    golden("rollback-refused", on:screen "rollback 1")
    equal(on.values["/srv/books"], "new")
  end)

  it("gives a run up", function()
    on:neap "run shop/release --env lab -p release=88"
    golden("abandon", on:screen "abandon 1 --reason by-hand")
    equal(on:neap "run shop/release --env lab -p release=88", 8)
  end)

  it("fails before any change", function()
    on.failing["/etc/web1.conf"] = true
    on.values["/etc/motd"] = "other\n"
    on.failing["/etc/motd"] = true
    golden("run-nothing-changed", on:screen "run shop/release --env lab -p release=88")
  end)

  it("asks for a guarded environment's name", function()
    golden("guarded", on:screen "run shop/release --env prod -p release=88")
    on.answers = { "lab" }
    equal(on:neap "run shop/release --env prod -p release=88", 8)
  end)

  it("says what is wrong with a command, and what to type", function()
    local lines = {
      "", "rnu", "plan", "plan shop/relase --env lab", "plan shop/release", "plan shop/release --env lba",
      "plan shop/release --env lab", "plan shop/release --env lab -p relase=88",
      "plan shop/release --env lab -p release=x", "plan shop/release --env lab -p release",
      "plan shop/release --env lab --sumary", "env shw", "env show shop/lab --explain hosts.web1.shs",
      "resume 7", "resume seven", "rollback 1 --on-conflict kepe", "abandon 1", "log shop/lab/3", "list shpo",
    }
    local screens = {}
    for i, line in ipairs(lines) do screens[i] = on:screen(line) end
    golden("wrong-use", table.concat(screens, "\n"))
  end)

  it("shows foreign bytes, and sends none of them to the terminal", function()
    local evil = "\27[31m\27]0;x\7\u{202e}\155"
    local there = stage.new(scratch(), {
      ["procedures/shop/evil.lua"] = ([[
-- Does %s things.
phase "One%s"
step "Write%s" { run = function() shop.write("web1%s", "/etc/motd", "after%s\n") end, hint = "hint%s" }
step "Fail" { run = function() shop.write("web1", "/etc/broken", "x") end }
]]):gsub("%%s", (evil:gsub("\27", "\\27"):gsub("\7", "\\7"):gsub("\155", "\\155"))),
      ["procedures/shop/environments/lab.yml"] = "values: { a: 1 }\n",
    })
    there.values, there.failing = { ["/etc/motd"] = evil }, { ["/etc/broken"] = true }
    for _, line in ipairs { "list", "show shop/evil", "show shop/evil --steps", "check", "plan shop/evil --env lab",
                            "run shop/evil --env lab", "runs", "log 1 --all -p", "resume 1", "rollback 1",
                            "plan shop/" .. evil, "log 1 --step " .. evil } do
      truthy(there:neap(line) ~= 70)
      local text = there.output .. there.told
      equal(text:gsub("[\n\t]", ""):match "%c", nil)
      truthy(utf8.len(text))
      equal(text:find("\u{202e}", 1, true), nil)
    end
  end)

  it("answers in JSON", function()
    local json = require "native.json"
    for _, line in ipairs { "list", "show shop/release", "check", "env list", "env show shop/lab", "env check",
                            "plan shop/release --env lab -p release=88", "runs" } do
      on:neap(line .. " --json")
      truthy(json.decode(on.output))
      equal(on.told, "")
    end
    on:neap "run shop/release --env lab -p release=88 --json"
    local types = {}
    for line in on.output:gmatch "[^\n]+" do types[#types + 1] = json.decode(line).type end
    equal({ types[1], types[2], types[#types] }, { "run", "own", "outcome" })
    equal(on.told, "")
  end)

  it("helps, examples first", function()
    golden("help", on:screen "--help")
    golden("help-plan", on:screen "plan --help")
  end)
end)
