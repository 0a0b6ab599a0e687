local postgres = require "neap.targets.postgres"

local function standby(replay, receive, timeline)
  return { in_recovery = true, replay = replay, receive = receive, timeline = timeline or 1 }
end

describe("postgres.same_position", function()
  local same = postgres.same_position

  it("holds for two servers in recovery that replayed to the same place", function()
    truthy(same(standby "0/16FB948", standby "0/16FB948"))
    truthy(same(standby("A/16FB948", "A/16FB948"), standby "A/16FB948"))
  end)

  it("does not hold while one of them takes writes", function()
    equal(same({ in_recovery = false, write = "0/16FB948", timeline = 1 }, standby "0/16FB948"), false)
  end)

  it("does not hold where one is behind", function()
    equal(same(standby "0/16FB948", standby "0/16FB900"), false)
    equal(same(standby "1/16FB948", standby "0/16FB948"), false)
  end)

  it("does not hold while something received waits to be replayed", function()
    equal(same(standby("0/16FB948", "0/16FB9C0"), standby "0/16FB948"), false)
    equal(same(standby("0/FFFFFFFF", "1/0"), standby "0/FFFFFFFF"), false)
  end)

  it("passes over a receiver that only tells where its file begins", function()
    truthy(same(standby("1/16FB948", "1/1000000"), standby "1/16FB948"))
  end)

  it("does not hold across timelines, or before anything was replayed", function()
    equal(same(standby("0/16FB948", nil, 1), standby("0/16FB948", nil, 2)), false)
    equal(same(standby(nil), standby(nil)), false)
  end)
end)

describe("a cluster", function()
  it("is refused where its words could be more than a version and a name", function()
    for _, cluster in ipairs {
      { version = "15; rm", cluster = "main" }, { version = "15", cluster = "../main" },
      { version = "15", cluster = "-x" }, { cluster = "main" }, { version = "15", cluster = "a b" },
    } do
      matches(tostring(raises(postgres.in_recovery, "old", cluster)), "is no %a+ of ")
    end
  end)
end)
