--- The project's own procedures, as files: each can be shown before anybody has named an environment.
local procedure  = require "neap.engine.procedure"
local repository = require "neap.repository"

describe("procedures", function()
  for _, found in ipairs(repository.procedures()) do
    it("are shown without an environment: " .. found.name, function()
      local files, path = repository.snapshot(repository.procedure(found.name))
      local shown = procedure.load { files = files, path = path, arguments = {}, showing = true }
      truthy(#shown.steps > 0)
    end)
  end

  it("see groups that are empty and values that stand for themselves, where there is no environment", function()
    local files = { ["procedures/a/b.lua"] = [[
      needs { pg = "map" }
      step("Ask " .. env.page) { on = env.hosts.proxies, at_a_time = 1, run = function() end }]] }
    local shown = procedure.load { files = files, path = "procedures/a/b.lua", arguments = {}, showing = true }
    equal({ shown.steps[1].title, #shown.steps[1].on }, { "Ask <page>", 0 })
  end)
end)
