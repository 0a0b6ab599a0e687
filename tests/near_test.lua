local near = require "neap.near"

describe("near", function()
  it("counts insertions, deletions, replacements and swaps as one edit each", function()
    equal(near.distance("", "abc"), 3)
    equal(near.distance("relase", "release"), 1)
    equal(near.distance("releasee", "release"), 1)
    equal(near.distance("relaese", "release"), 1)
    equal(near.distance("kitten", "sitting"), 3)
  end)

  it("finds the nearest name within two edits", function()
    equal(near.find("encode/relase", { "encode/release", "encode/rollback" }), "encode/release")
    equal(near.find("prodution", { "staging", "production" }), "production")
  end)

  it("finds nothing when every name is far", function()
    equal(near.find("mitx", { "encode", "boss" }), nil)
    equal(near.find("x", { "y", "z" }), nil)
  end)

  it("takes the first of the alphabet among equals", function()
    equal(near.find("host3", { "host2", "host1" }), "host1")
  end)

  it("asks in a sentence, or says nothing", function()
    equal(near.question("proxys", { "proxies", "old" }), " Did you mean 'proxies'?")
    equal(near.question("database", { "old" }), "")
  end)
end)
