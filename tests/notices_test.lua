--- Where a run is told of, as an environment says it.
local environment = require "neap.environment"
local stage       = require "tests.cli.stage"

local function staged(notify)
  return stage.new(scratch(), { ["procedures/shop/release.lua"] = "-- x\n",
    ["procedures/shop/environments/lab.yml"] = "notify:\n" .. notify })
end

describe("who is told of a run", function()
  after_each(stage.leave)

  it("is looked for by neap env check", function()
    local on = staged '  - { webhook: file:/nowhere/to/be/found, form: slack }\n  - { mail: ["ann@example.org"] }\n'
    local shown = on:screen "env check shop/lab"
    matches(shown:gsub("%s+", " "), "notify 1.*/nowhere/to/be/found")
    truthy(not shown:find("notify 2", 1, true))
  end)

  it("may depend on an argument of the run, and is refused with its line where it is wrong", function()
    local on = staged "  - { webhook: $(hook) }\n"
    local path = on.root .. "/procedures/shop/environments/lab.yml"
    equal(environment.load(path).notify, { { webhook = "$(hook)" } })
    equal(environment.resolve(environment.load(path), { hook = "env:HOOK" }).notify, { { webhook = "env:HOOK" } })
    local failure = raises(environment.resolve, environment.load(path), { hook = "https://hooks.example.org/x" })
    matches(failure.message, "notify 1 webhook: there are no secrets of https:")
  end)
end)
