local embedded = require "native.embedded"

describe("the texts in the program", function()
  it("are neap's Lua, its types and its manual", function()
    local there = {}
    for _, path in ipairs(embedded.paths()) do there[path] = true end
    for _, path in ipairs { "neap/words.lua", "types/native/fs.lua", "neap/manual/sql.md", "argparse.lua" } do
      truthy(there[path])
      truthy(#embedded.text(path) > 100)
    end
  end)

  it("are nil for a path that is not there, and end at neap", function()
    equal(embedded.text "neap/nothing.lua", nil)
    matches(raises(embedded.text, "../Makefile"), "leads out of neap")
  end)

  it("are no module where they only tell of one", function()
    matches(raises(require, "types.native.fs"), "no types/native/fs in neap")
  end)
end)
