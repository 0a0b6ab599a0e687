local dns    = require "native.dns"
local server = require "tests.dns_server"
local task   = require "native.task"

describe("a question to a name server", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  local function ask(name, type, more)
    local options = { servers = { peer.address }, timeout = 5 }
    for key, value in pairs(more or {}) do options[key] = value end
    return dns.query(name, type, options)
  end

  local function values(name, type)
    local list = {}
    for i, record in ipairs(ask(name, type)) do list[i] = record.value end
    return list
  end

  it("brings records with their names, types and times to live", function()
    equal(ask("a.example.org", "A"), { { name = "a.example.org", type = "A", value = "10.0.0.1", ttl = 5 } })
    equal(ask("cname.example.org", "CNAME"),
      { { name = "cname.example.org", type = "CNAME", value = "proxy2.example.org", ttl = 60 } })
  end)

  it("knows each type", function()
    equal(values("aaaa.example.org", "AAAA"), { "::1" })
    equal(values("mx.example.org", "MX"), { "10 mail.example.org", "20 other.mx.example.org" })
    equal(values("ns.example.org", "NS"), { "ns1.example.org" })
    equal(values("soa.example.org", "SOA"), { "ns1.example.org root.example.org 4000000000 3600 600 86400 60" })
    equal(values("srv.example.org", "SRV"), { "1 2 5432 db.example.org" })
    equal(values("ptr.example.org", "PTR"), { "host.example.org" })
    equal(values("txt.example.org", "TXT"), { "v=abc def", "\xff" })
    equal(values("many.example.org", "A"), { "10.0.0.1", "10.0.0.2", "10.0.0.3" })
    matches(raises(ask, "a.example.org", "B"), "no type of record is named B")
  end)

  it("brings the alias and what it leads to", function()
    local records = ask("alias.example.org", "A")
    equal({ #records, records[1].type, records[2].name, records[2].value },
      { 2, "CNAME", "target.example.org", "10.0.0.9" })
  end)

  it("is asked again over TCP where the answer is too long", function()
    equal(#ask("big.example.org", "A"), 200)
  end)

  it("tells a name without records from one that is not there", function()
    equal(ask("none.example.org", "A"), {})
    equal(raises(ask, "nx.example.org", "A").kind, "missing")
  end)

  it("fails as the server does, and in time", function()
    equal(raises(ask, "fail.example.org", "A").kind, "remote")
    equal(raises(ask, "refused.example.org", "A").kind, "remote")
    equal(raises(ask, "silent.example.org", "A", { try = 0.1 }).kind, "timeout")
    local begun = task.now()
    equal(raises(ask, "silent.example.org", "A", { timeout = 0.3 }).kind, "timeout")
    truthy(task.now() - begun < 4)
    equal(raises(ask, "a.example.org", "A", { servers = { "127.0.0.1:1" } }).kind, "connect")
  end)

  it("asks the next server where one is not there", function()
    equal(#ask("a.example.org", "A", { servers = { "127.0.0.1:1", peer.address } }), 1)
  end)

  it("believes no answer that cannot be read", function()
    for _, name in ipairs { "loop", "short", "odd", "flood" } do
      equal(raises(ask, name .. ".example.org", name == "loop" and "CNAME" or "A").kind, "protocol")
    end
    equal(raises(ask, "text.example.org", "TXT").kind, "protocol")
    truthy(raises(ask, "garbage.example.org", "A", { try = 0.1 }).kind)
  end)

  it("is about the name as it is given", function()
    equal(raises(ask, "nx", "A").kind, "missing")
    equal(values("count", "TXT"), { "2" })
    equal(raises(ask, ("x"):rep(64) .. ".org", "A").kind, "missing")
    equal(type(raises(ask, "", "A")), "string")
    equal(type(raises(ask, "a", "A", { servers = {} })), "string")
    equal(type(raises(ask, "a", "A", { servers = { "ns.example.org" } })), "string")
  end)

  it("goes on beside others, and can be given up", function()
    local waiting = task.spawn(ask, "silent.example.org", "A")
    local tasks = {}
    for i = 1, 20 do tasks[i] = task.spawn(ask, "a.example.org", "A") end
    for i = 1, 20 do equal({ tasks[i]:wait() }, { true, ask("a.example.org", "A") }) end
    waiting:cancel()
    equal((waiting:wait()), false)
  end)
end)
