local crypto = require "native.crypto"
local zstd   = require "native.zstd"

local function refused(bytes, max)
  local failure = raises(zstd.decompress, bytes, max or 1000)
  equal(failure.kind, "protocol")
  return failure.message
end

describe("zstd", function()
  it("gives back what it was given", function()
    for _, bytes in ipairs { "", "a", ("text "):rep(100000), crypto.random(65536), "\0\xFF\0" } do
      for _, level in ipairs { 1, 3, 19 } do
        equal(zstd.decompress(zstd.compress(bytes, level), #bytes), bytes)
      end
    end
  end)

  it("makes what repeats small, always the same way", function()
    local bytes = ("server { listen 80; }\n"):rep(1000)
    truthy(#zstd.compress(bytes) < 100)
    equal(zstd.compress(bytes), zstd.compress(bytes))
  end)

  it("unpacks no more than it may, and looks before it does", function()
    local bomb = zstd.compress(("\0"):rep(10000000))
    truthy(#bomb < 10000)
    matches(refused(bomb, 9999999), "unpacks to more than 9999999 bytes")
    equal(#zstd.decompress(bomb, 10000000), 10000000)
  end)

  it("trusts no size that is stated", function()
    -- frame header: magic, descriptor with an 8-byte size and one segment, 2^62 bytes
    local huge = "\x28\xB5\x2F\xFD\xE0" .. string.pack("<I8", 1 << 62)
    matches(refused(huge .. "\1\0\0", math.maxinteger - (1 << 62)), "more than")
    local small = zstd.compress(("x"):rep(300))
    local lies = small:sub(1, 5) .. string.pack("<I2", 700 - 256) .. small:sub(8)
    matches(refused(lies), "damaged")
  end)

  it("refuses what is cut, padded, doubled, changed or something else", function()
    local good = zstd.compress(crypto.random(100):rep(3))
    for length = 0, #good - 1 do refused(good:sub(1, length)) end
    matches(refused(good .. "x"), "goes on after its end")
    matches(refused(good .. good), "goes on after its end")
    matches(refused "plain text, not compressed", "not compressed with zstd")
    for position = 1, #good do
      local changed = good:sub(1, position - 1) .. string.char(good:byte(position) ~ 0x10) .. good:sub(position + 1)
      local ok, result = pcall(zstd.decompress, changed, 1000)
      truthy(ok and #result <= 1000 or result.kind == "protocol")
    end
  end)

  it("refuses a frame that hides its size", function()
    matches(refused("\x28\xB5\x2F\xFD\x00\x58\x09\x00\x00a"), "does not state its size")
  end)

  it("refuses levels and limits that are none", function()
    for _, level in ipairs { 0, 20, -1 } do matches(raises(zstd.compress, "x", level), "a level is 1 to 19") end
    matches(raises(zstd.decompress, "x", -1), "max_bytes is negative")
    matches(raises(zstd.decompress, "x"), "number expected")
    matches(raises(zstd.compress), "string expected")
  end)
end)
