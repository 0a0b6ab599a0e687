local kinds = require "neap.engine.kinds"

describe("a kind that says nothing of its targets", function()
  it("has them named by their host, and by their parts in the order of the parts' names", function()
    local target = { size = 3, host = "web1", name = "b", database = "d", path = "/a", rows = {}, owner = "me" }
    equal(kinds.show({}, target), "web1 d b me /a 3")
  end)
end)
