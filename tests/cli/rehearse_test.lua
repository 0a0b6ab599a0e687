local golden = require "tests.cli.golden"
local json   = require "native.json"
local stage  = require "tests.cli.stage"
local task   = require "native.task"

local RELEASE = [[
-- Switches the shop to a new release.
local arg = parameters { release = { "number of the new release", match = "^%d+$" } }

phase "Switch"

step "Tell the shop's people" {
  run = function() shop.mail("people@shop", "release " .. arg.release, { keep = "a mail harms nobody" }) end,
}
step "Point the proxies at the new server" { run = function() shop.point(arg.release) end }
step "Open the books" {
  irreversible = "the new books cannot be read by the old release",
  run = function() shop.write("db1", "/srv/books", "new") end,
}
step "Write the motd" { run = function() shop.write("web1", "/etc/motd", "welcome to " .. arg.release) end }
]]

local FILES = {
  ["procedures/shop/release.lua"] = RELEASE,
  ["procedures/shop/environments/lab.yml"] = "policy: { point_of_no_return: pass }\n",
  ["procedures/shop/environments/test.yml"] = "values: { a: b }\n",
  ["procedures/shop/environments/prod.yml"] =
    "policy: { guard: production, rehearsed: { within: 30d, in: [lab, test] }, point_of_no_return: pass }\n",
}

describe("neap rehearse", function()
  local on

  before_each(function()
    on = stage.new(scratch(), FILES)
    on.values = { ["/etc/web1.conf"] = "server v87;\n", ["/etc/web2.conf"] = "server v87;\n", ["/srv/books"] = "old" }
  end)

  after_each(stage.leave)

  it("says what it has shown of each effect's way back", function()
    golden("rehearse", on:screen "rehearse shop/release --env lab -p release=88")
    equal(on.values["/etc/web1.conf"], "server v88;\n")
    equal(#on.mails, 1)
    golden("rehearse-runs", on:screen "runs")
  end)

  it("turns back at a point of no return that nobody lets it cross, and asks who is there", function()
    golden("rehearse-uncrossed", on:screen "rehearse shop/release --env test -p release=88")
    equal(on.values["/etc/web1.conf"], "server v87;\n")
    on.answers = { "no" }
    golden("rehearse-asked", on:screen "rehearse shop/release --env test -p release=88")
  end)

  it("shows what did not come back, and ends with 9", function()
    stage.leave()
    on = stage.new(scratch(), { ["procedures/shop/environments/lab.yml"] = "values: {}\n",
      ["procedures/shop/bad.lua"] = [[
-- Has an own undo that forgets something.
step "Write both" {
  run  = function() shop.write("web1", "/a", "new") shop.write("web1", "/b", "new") end,
  undo = function() shop.write("web1", "/a", "old") end,
}
]] })
    on.values = { ["/a"] = "old", ["/b"] = "old" }
    golden("rehearse-failed", on:screen "rehearse shop/bad --env lab")
  end)

  it("is wanted by a policy: a run is refused without it, and goes with it", function()
    golden("rehearsed-refused", on:screen "run shop/release --env prod -p release=88 --yes"
      .. on:screen "show shop/release --env prod")
    equal(on:neap "rehearse shop/release --env lab -p release=88", 0)
    on.values = { ["/etc/web1.conf"] = "server v87;\n", ["/etc/web2.conf"] = "server v87;\n", ["/srv/books"] = "old" }
    golden("rehearsed-plan", on:screen "plan shop/release --env prod -p release=88 -s")
    equal(on:neap "run shop/release --env prod -p release=88 --yes", 0)
    matches(on.told, "rehearsed in shop/lab, run 1")
    task.sleep(40 * 86400)
    equal(on:neap "run shop/release --env prod -p release=89 --yes", 8)
    matches(on.told, "older than the policy allows")
  end)

  it("is refused where an environment is guarded", function()
    golden("rehearse-guarded", on:screen "rehearse shop/release --env prod -p release=88")
  end)

  it("has its verdict in JSON", function()
    equal(on:neap "rehearse shop/release --env lab -p release=88 --json", 0)
    local last
    for line in on.output:gmatch "[^\n]+" do last = json.decode(line) end
    equal({ last.type, last.rehearsal }, { "outcome", "passed" })
    equal({ last.proof.counts.proven, last.proof.counts.irreversible }, { 2, 1 })
  end)

  it("is checked: a policy that names no environment", function()
    stage.leave()
    on = stage.new(scratch(), { ["procedures/shop/release.lua"] = RELEASE,
      ["procedures/shop/environments/lab.yml"] = "policy:\n  rehearsed: { within: 3x }\n",
      ["procedures/shop/environments/prod.yml"] = "policy:\n  rehearsed: { within: 3d, in: [tets] }\n",
      ["procedures/shop/environments/test.yml"] = "values: {}\n" })
    golden("rehearsed-check", on:screen "check")
  end)
end)
