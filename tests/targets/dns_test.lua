local dns     = require "neap.targets.dns"
local fixture = require "tests.targets.fixture"
local server  = require "tests.dns_server"

describe("dns.query", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  local function ask(name, type) return dns.query(name .. ".example.org", type, { servers = { peer.address } }) end

  it("brings the records of that type alone", function()
    equal(ask("alias", "A"), { { type = "A", value = "10.0.0.9", ttl = 300 } })
    equal(ask("alias", "AAAA"), {})
    equal(ask("cname", "CNAME")[1].value, "proxy2.example.org")
  end)

  it("says what was asked of whom when it fails", function()
    local failure = raises(ask, "nx", "A")
    equal({ failure.kind, failure.message },
      { "missing", ("A nx.example.org at %s: there is no such name"):format(peer.address) })
    equal(raises(ask, "fail", "A").kind, "remote")
    matches(raises(ask, "a", "X"), "no type of record is named \"X\"")
    matches(raises(dns.query, "a", "A", { server = {} }), "no option is named \"server\".*servers")
  end)

  it("is a read: a step records it, and an await asks until it is so", function()
    local text = [[
      local found = dns.query("count.example.org", "TXT", { servers = { "PATH" } })[1].value
      if found ~= "1" then fail("asked " .. found .. " times") end]]
    local self = fixture.trial({ text }, peer.address)
    self.files["procedures/test/it.lua"] = self.files["procedures/test/it.lua"] .. ([[

await "It is there" {
  check = function() return dns.query("count.example.org", "TXT", { servers = { "%s" } })[1].value == "3" end,
  every = "1s", timeout = "30s",
}]]):format(peer.address)
    self:run "done"
    equal(self:all "saw"[1].result, { { type = "TXT", value = "1", ttl = 300 } })
  end)
end)
