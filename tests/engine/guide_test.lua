local crypto    = require "native.crypto"
local guide     = require "neap.engine.guide"
local procedure = require "neap.engine.procedure"

local TEXT = table.concat({
  "# Upgrade", "", "Stop the site.", "```sh", "systemctl stop site", "", "rm /tmp/x", "```", "", "Start it.",
}, "\n") .. "\n"

local function load_text(text, more)
  local files = { ["procedures/a/b.lua"] = text:gsub("SHA", crypto.sha256(TEXT)) }
  for path, other in pairs(more or {}) do files[path] = other:gsub("SHA", crypto.sha256(TEXT)) end
  return procedure.load { files = files, path = "procedures/a/b.lua", arguments = {}, showing = true }
end

local function compare(text, more)
  local loaded = load_text(text, more)
  return guide.coverage(loaded, guide.of(loaded, TEXT, "up.md"), TEXT)
end

local HEAD = 'guide "Up" { sha256 = "SHA" }\n'

describe("a guide", function()
  it("has gaps where neither a step nor a remark names its lines, in whole stretches", function()
    local found = compare(HEAD .. 'manual "Start" { from = "L10" }')
    equal({ found.same, found.lines, found.missing }, { true, 7, 5 })
    equal(found.gaps, { { first = 1, last = 7, text = { "# Upgrade", "", "Stop the site.", "```sh",
      "systemctl stop site", "", "rm /tmp/x" } } })
  end)

  it("is covered by several ranges; blank lines and the fences beside them need none", function()
    local found = compare(HEAD .. 'manual "Stop" { from = "L1-L3, L5-7" }\nremark "said" { from = "L10" }')
    equal({ found.missing, found.gaps, found.overlaps, found.beyond }, { 0, {}, {}, {} })
  end)

  it("shows lines that are named twice, lines that it does not have, and steps that name none", function()
    local found = compare(HEAD .. [[
manual "One" { from = "L1-L5" }
manual "Two" { from = "L3, L7-L12" }
manual "Three" {}]])
    equal(found.overlaps, { { first = 3, last = 3, by = { "One", "Two" } } })
    equal(found.beyond, { { by = "Two", where = "procedures/a/b.lua:3", first = 7, last = 12 } })
    equal(found.unnamed, { { by = "Three", where = "procedures/a/b.lua:4" } })
  end)

  it("is read as far as the procedure is about it, and what is left to others is said", function()
    local found = compare('guide "Up" { sha256 = "SHA", from = "L3-L8" }\nmanual "Stop" { from = "L3-L7" }')
    equal({ found.lines, found.missing }, { 5, 0 })
    equal(found.outside, { { first = 1, last = 1 }, { first = 10, last = 10 } })
  end)

  it("is told from another text of the same name", function()
    local loaded = load_text('guide "Up" { file = "up.md", sha256 = "' .. ("0"):rep(64) .. '" }')
    equal(guide.coverage(loaded, guide.of(loaded, TEXT, "x/up.md"), TEXT).same, false)
  end)

  it("may be shared with procedures that are included, whose own lines count where it is theirs", function()
    local other = 'guide "Other" { sha256 = "' .. ("1"):rep(64) .. '" }\n'
    local parts = {
      ["procedures/a/stop.lua"] = 'guide "Up" { sha256 = "SHA", from = "L1-L8" }\nmanual "Stop" { from = "L1-L8" }',
      ["procedures/a/other.lua"] = other .. 'manual "Else" { from = "L10" }',
    }
    local found = compare(HEAD .. 'include "a/stop"\ninclude "a/other"\nremark "not yet" { from = "L9" }', parts)
    equal(found.gaps, { { first = 10, last = 10, text = { "Start it." } } })
  end)

  it("and its lines are refused in another form, at the author's line", function()
    for from, mistake in pairs { ["12"] = "lines are named like", ["L9-L3"] = "lines are named like", ["L0"] = "L0" } do
      matches(raises(load_text, HEAD .. ('manual "x" { from = "%s" }'):format(from)), "b.lua:2:.*" .. mistake)
    end
    matches(raises(load_text, '\nguide "Up" { sha256 = "abc" }'), "b.lua:2: guide \"Up\" lacks sha256")
    matches(raises(load_text, 'guide "Up" { sha = "abc" }'), "no part named \"sha\"")
  end)
end)
