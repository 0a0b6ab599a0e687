--- Procedures against the guides they were written from, which lie in the folder NEAP_GUIDES and are nobody's but their
--- owners'. Where it is not set these tests are left out, and said to be.
local coverage   = require "neap.cli.coverage"
local procedure  = require "neap.engine.procedure"
local repository = require "neap.repository"

local function loaded(found)
  local files, path = repository.snapshot(found)
  return procedure.load { files = files, path = path, arguments = {}, showing = true }
end

for _, found in ipairs(repository.procedures()) do
  describe(found.name, function()
    it("has a step or a remark for each line of the guide that it names", function()
      if not os.getenv "NEAP_GUIDES" then skip "NEAP_GUIDES does not name the folder of the guides" end
      local model = coverage.model(loaded(found))
      equal({ model.same, model.gaps, model.beyond }, { true, {}, {} })
      truthy(model.lines > 0)
    end)
  end)
end
