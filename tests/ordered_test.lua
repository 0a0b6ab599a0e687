local ordered = require "neap.ordered"

describe("ordered", function()
  it("gives numbers by their value and then texts by theirs", function()
    equal(ordered.keys { [10] = true, b = true, [9] = true, [2.5] = true, ["10"] = true, a = true },
      { 2.5, 9, 10, "10", "a", "b" })
  end)

  it("gives the keys of a view as of what it shows", function()
    local view = setmetatable({}, { __pairs = function() return pairs { b = 1, a = 2 } end })
    equal(ordered.keys(view), { "a", "b" })
  end)

  it("gives none of what is not there", function()
    equal(ordered.keys(nil), {})
  end)
end)
