local crypto = require "native.crypto"
local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local json   = require "native.json"
local stage  = require "tests.cli.stage"

local GUIDE = "# Upgrade\n\nStop the \27[31msite.\n\n- Take a backup\n- Look at it\n\nStart the site.\n"

local PROCEDURE = [[
-- Upgrades the shop.
guide "How the shop is upgraded" { file = "shop.md", sha256 = "%s", from = "L1-L6, L8" }
manual "Stop the site" { from = "L1-L3" }
manual "Look at it" { from = "L6" }
manual "Take a backup" { from = "L5-L6" }
]] .. "%s"

describe("neap coverage", function()
  local on

  local function with(rest, sha256)
    on = stage.new(scratch(), {
      ["procedures/shop/up.lua"] = PROCEDURE:format(sha256 or crypto.sha256(GUIDE), rest),
      ["guides/shop.md"] = GUIDE,
    })
  end

  after_each(stage.leave)

  it("shows what of the guide has no step, and ends with 9", function()
    with 'manual "Go" { from = "L88" }\nmanual "Celebrate" {}\n'
    golden("coverage-missing", on:screen(("coverage shop/up --guide %s/guides/shop.md"):format(on.root)))
  end)

  it("is content when nothing is missing, and finds the guide in NEAP_GUIDES", function()
    with 'manual "Start the site" { from = "L8" }\n'
    on.set.NEAP_GUIDES = on.root .. "/guides"
    golden("coverage", on:screen "coverage shop/up")
    equal(on:neap "coverage shop/up --json", 0)
    local found = json.decode(on.output)
    equal({ found.good, found.lines, found.missing, found.procedure }, { true, 5, 0, "shop/up" })
  end)

  it("says loudly that it is another text, and what to do", function()
    with('manual "Start the site" { from = "L8" }\n', ("0"):rep(64))
    on.set.NEAP_GUIDES = on.root .. "/guides"
    golden("coverage-other", on:screen "coverage shop/up")
  end)

  it("says what it wants", function()
    with ""
    on.set.NEAP_GUIDES = ""
    fs.write(on.root .. "/procedures/shop/plain.lua", "-- Has no guide.\nmanual 'x' {}\n", { mode = "0644" })
    golden("coverage-wrong", on:screen "coverage shop/up" .. on:screen "coverage shop/up --guide /nowhere/x.md"
      .. on:screen "coverage shop/plain --guide x.md")
  end)
end)
