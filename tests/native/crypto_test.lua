local crypto  = require "native.crypto"
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

local empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
local abc   = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

describe("digests", function()
  it("are SHA-256", function()
    equal(crypto.sha256 "", empty)
    equal(crypto.sha256 "abc", abc)
    equal(crypto.sha256(("a"):rep(1000000)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    truthy(crypto.sha256 "a\0b" ~= crypto.sha256 "a")
  end)

  it("come in pieces as well, and may be read on the way", function()
    local hasher = crypto.hasher()
    equal(hasher:hex(), empty)
    equal(hasher:update("a"):update("bc"):hex(), abc)
    equal(hasher:hex(), abc)
    equal(hasher:update("d"):hex(), crypto.sha256 "abcd")
  end)

  it("refuse a hasher that is freed", function()
    local hasher = crypto.hasher()
    hasher:__gc()
    hasher:__gc()
    matches(raises(hasher.hex, hasher), "hasher is closed")
  end)

  it("refuse what is not text", function()
    matches(raises(crypto.sha256), "string expected")
    matches(raises(crypto.sha256, {}), "string expected")
    matches(raises(crypto.hasher().update, io.stdout, "x"), "crypto.hasher expected")
  end)
end)

describe("keyed digests", function()
  it("are those of RFC 4231 and RFC 2202", function()
    equal(crypto.hmac_sha256(("\x0b"):rep(20), "Hi There"),
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    equal(crypto.hmac_sha256(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    equal(crypto.hex(crypto.hmac_sha1("Jefe", "what do ya want for nothing?")),
      "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
  end)

  it("take an empty key and empty text", function()
    equal(crypto.hmac_sha256("", ""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
  end)
end)

describe("random bytes", function()
  it("have the length asked for and differ", function()
    equal(#crypto.random(32), 32)
    equal(crypto.random(0), "")
    equal(#crypto.random(65536), 65536)
    truthy(crypto.random(16) ~= crypto.random(16))
  end)

  it("are bounded", function()
    for _, count in ipairs { -1, 65537, math.maxinteger, math.mininteger } do
      matches(raises(crypto.random, count), "0 to 65536 bytes")
    end
  end)
end)

describe("base64", function()
  it("is that of RFC 4648", function()
    local text = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" }
    for i = 0, 6 do
      equal(crypto.base64(("foobar"):sub(1, i)), text[i + 1])
      equal(crypto.unbase64(text[i + 1]), ("foobar"):sub(1, i))
    end
  end)

  it("gives every byte back at every length", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local all = table.concat(bytes)
    for length = 0, 256 do equal(crypto.unbase64(crypto.base64(all:sub(1, length))), all:sub(1, length)) end
    local long = crypto.random(65536):rep(20)
    equal(crypto.unbase64(crypto.base64(long)), long)
  end)

  it("refuses all that it would not write itself", function()
    for _, text in ipairs {
      "Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v\n", " Zm9v", "Zm9v ", "Zm9v\nZm9v", "Zm9v====", "Zm=v",
      "Zh==", "Zm9=", "Zg==Zg==", "-_-_", "Zm9\0", "\xFF\xFF\xFF\xFF", "----", "Zm9v----",
    } do
      local failure = raises(crypto.unbase64, text)
      equal(failure.kind, "protocol")
      equal(failure.message, "not base64")
    end
  end)
end)

describe("a hasher of files", function()
  local path, bytes

  before_each(function()
    path, bytes = scratch() .. "/file", crypto.random(65536):rep(20) .. "end"
    fs.write(path, bytes)
  end)

  it("takes pieces of a file among other bytes", function()
    local hasher = crypto.hasher()
    equal(hasher:update_file(path, 0, #bytes):hex(), crypto.sha256(bytes))
    equal(hasher:update("x"):update_file(path, 65530, 300001):hex(),
      crypto.sha256(bytes .. "x" .. bytes:sub(65531, 65530 + 300001)))
    equal(crypto.hasher():update_file(path, 7, 0):hex(), crypto.sha256 "")
  end)

  it("lets others go on, and each other", function()
    local turns, ended, digests = 0, false, {}
    local ticking = task.spawn(function()
      while not ended do
        turns = turns + 1
        task.sleep(0)
      end
    end)
    local workers = {}
    for i = 1, 8 do
      workers[i] = task.spawn(function() digests[i] = crypto.hasher():update_file(path, i, #bytes - i):hex() end)
    end
    for _, one in ipairs(workers) do one:wait() end
    ended = true
    ticking:wait()
    truthy(turns > 1)
    for i, digest in ipairs(digests) do equal(digest, crypto.sha256(bytes:sub(i + 1))) end
  end)

  it("says what is not there, is no file, or too short, and leaves the digest as it was", function()
    local hasher = crypto.hasher():update "a"
    equal(raises(hasher.update_file, hasher, path .. "x", 0, 1).kind, "missing")
    equal(raises(hasher.update_file, hasher, "/dev", 0, 1).kind, "denied")
    local failure = raises(hasher.update_file, hasher, path, 10, #bytes)
    equal(failure.kind, "conflict")
    matches(failure.message, "has 1310723 bytes, fewer")
    equal(hasher:hex(), crypto.sha256 "a")
  end)

  it("may be left in the middle", function()
    process.run({ "truncate", "-s", "4G", path }, { reads = true })
    local one = task.spawn(function() crypto.hasher():update_file(path, 0, 4 << 30) end)
    task.sleep(0.01)
    one:cancel()
    equal(select(2, one:wait()).kind, "cancelled")
    equal(raises(function() crypto.hasher():update_file(path, 0, 4 << 30, { timeout = 0.01 }) end).kind, "timeout")
  end)
end)

describe("hex and equal", function()
  it("write two digits a byte", function()
    equal(crypto.hex "\0\x0f\xf0\xff", "000ff0ff")
    equal(crypto.hex "", "")
  end)

  it("compare whole texts", function()
    equal(crypto.equal("a\0b", "a\0b"), true)
    equal(crypto.equal("a\0b", "a\0c"), false)
    equal(crypto.equal("a", "ab"), false)
    equal(crypto.equal("", ""), true)
    matches(raises(crypto.equal, "a", nil), "string expected")
  end)
end)
