--- What `neap check` advises on, and how an author says that it is meant so.
local advice    = require "neap.cli.advice"
local procedure = require "neap.engine.procedure"

local PATH = "procedures/shop/it.lua"

--- "line rule" of each warning.
local function advised(text, library)
  local files = { [PATH] = text, ["procedures/shop/lib.lua"] = library }
  local loaded = procedure.load { files = files, path = PATH, arguments = {}, showing = true }
  local list = {}
  for i, warning in ipairs(advice.on(loaded, files)) do
    list[i] = warning.where:gsub("^procedures/shop/", "") .. " " .. warning.rule
  end
  table.sort(list)
  return list
end

describe("neap check", function()
  it("names actions without a probe, opaque resources and declared reads, where they stand", function()
    equal(advised [[
effect.action "shop.a" { run = pairs }
effect.action "shop.b" { run = pairs, done = pairs }
effect.resource "shop.c" {
  get = pairs, put = pairs,
}
effect.resource "shop.d" { get = pairs, put = pairs, late = false }
local read = effect.read("shop.e", function() end)]], {
      "it.lua:1 no-probe", "it.lua:3 opaque", "it.lua:7 declared-read",
    })
  end)

  it("names shell texts and waits without a time", function()
    equal(advised [[
step "A" { run = function() env.hosts.a:shell("x | y") end }
step "B" { run = function() return env.hosts.a:read_shell "x" end }
await "C" { check = function() return true end }
await "D" { check = function() return true end, timeout = "5m" }]], {
      "it.lua:1 shell-text", "it.lua:2 shell-text", "it.lua:3 no-timeout",
    })
  end)

  it("looks into libraries that are loaded", function()
    equal(advised("require 'shop.lib'", "\neffect.read('x', function() end)"), { "lib.lua:2 declared-read" })
    equal(advised("", "\neffect.read('x', function() end)"), {})
  end)

  it("is silenced on a line or right above it, with a reason", function()
    equal(advised [[
-- neap: allow(no-timeout) the vendor says no more than soon
await "A" { check = function() return true end }
await "B" { check = function() return true end } -- neap: allow(no-timeout) the same
await "C" { check = function() return true end } -- neap: allow(no-timeout)
await "D" { check = function() return true end } -- neap: allow(no-timeuot) soon]], {
      "it.lua:4 allow", "it.lua:4 no-timeout", "it.lua:5 allow", "it.lua:5 no-timeout",
    })
  end)
end)
