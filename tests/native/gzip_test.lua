local gzip    = require "native.gzip"
local process = require "native.process"

local function packed(text)
  return process.run({ "gzip", "-c" }, { input = text, reads = true, limit = 1 << 24 }).out
end

describe("gzip.unpack", function()
  it("gives what gzip has packed, several steps long", function()
    for _, text in ipairs { "", "a", ("0123456789"):rep(100000) } do equal(gzip.unpack(packed(text), 1 << 24), text) end
  end)

  it("refuses what is damaged, cut short, no gzip at all, or too large", function()
    local good = packed(("abc"):rep(1000))
    for _, bytes in ipairs { "", "plain", good:sub(1, -9), good:sub(1, 20) .. "x" .. good:sub(22) } do
      equal(raises(gzip.unpack, bytes, 1 << 20).kind, "protocol")
    end
    equal(raises(gzip.unpack, good, 2999).kind, "protocol")
  end)
end)
