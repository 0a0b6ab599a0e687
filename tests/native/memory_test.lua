local memory = require "native.memory"

describe("native.memory", function()
  it("refuses what would take more than the limit, and lets go of it", function()
    memory.limit(memory.used() + (1 << 20))
    local ok, failure = pcall(function() return ("x"):rep(4 << 20) end)
    memory.limit()
    equal({ ok, failure }, { false, "not enough memory" })
    equal(#("x"):rep(4 << 20), 4 << 20)
  end)

  it("counts what is given back", function()
    memory.limit(memory.used() + (4 << 20))
    local ok = pcall(function()
      for _ = 1, 50 do
        local text = ("x"):rep(1 << 20) -- each goes before the next but one is made
        assert(#text == 1 << 20)
      end
    end)
    memory.limit()
    truthy(ok)
  end)

  it("says how much there is, and refuses less than nothing", function()
    truthy(memory.used() > 0)
    raises(memory.limit, -1)
  end)
end)
