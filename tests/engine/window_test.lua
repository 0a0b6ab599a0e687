local clock  = require "native.clock"
local window = require "neap.engine.window"
local world  = require "tests.engine.world"

local function at(text) return clock.parse(text .. ":00.000Z") end

--- Until when the window is open then, in UTC; nil: it is closed.
local function ends(policy, text)
  local found = window.ends(window.of(policy), at(text))
  return found and clock.utc(found):sub(1, 16)
end

describe("a window", function()
  local NIGHT = { window = { days = { "tue", "Wednesday" }, from = "02:00", to = "06:00", zone = "UTC" } }

  it("is open on its days, from its first minute to before its last", function()
    equal(ends(NIGHT, "2026-11-24T02:00"), "2026-11-24T06:00")
    equal(ends(NIGHT, "2026-11-25T05:59"), "2026-11-25T06:00")
    equal({ ends(NIGHT, "2026-11-24T01:59"), ends(NIGHT, "2026-11-24T06:00"), ends(NIGHT, "2026-11-26T03:00") }, {})
  end)

  it("may go over midnight, and belongs to the day on which it began", function()
    local policy = { window = { days = { "fri" }, from = "22:00", to = "04:00", zone = "UTC" } }
    equal(ends(policy, "2026-11-27T23:00"), "2026-11-28T04:00")
    equal(ends(policy, "2026-11-28T03:00"), "2026-11-28T04:00")
    equal({ ends(policy, "2026-11-27T03:00"), ends(policy, "2026-11-28T22:30") }, {})
  end)

  it("goes by the clock on the wall of its zone, in summer and winter", function()
    local policy = { window = { from = "02:00", to = "06:00", zone = "America/Los_Angeles" } }
    equal(ends(policy, "2026-11-24T10:30"), "2026-11-24T14:00")
    equal(ends(policy, "2026-07-24T09:30"), "2026-07-24T13:00")
    equal(ends(policy, "2026-07-24T13:30"), nil)
  end)

  it("is closed in a freeze", function()
    local freeze = { from = "2026-12-20", to = "2027-01-03", why = "holidays" }
    local policy = { freeze = { freeze }, window = { zone = "UTC" } }
    equal(ends(policy, "2026-12-19T23:59"), "2026-12-20T00:00")
    equal({ ends(policy, "2026-12-20T00:00"), ends(policy, "2027-01-03T23:59") }, {})
    equal(ends(policy, "2027-01-04T00:00"), "2027-01-05T00:00")
    matches(select(2, window.ends(window.of(policy), at "2026-12-24T00:00")), "frozen .*: holidays")
  end)

  it("is none where the policy has none, and is refused where it is malformed", function()
    equal(window.of {}, nil)
    for _, wrong in ipairs {
      { window = "always" }, { window = { days = { "someday" } } }, { window = { from = "2" } },
      { window = { zone = "Middle/Earth" } }, { window = { zone = "../../etc/passwd" } },
      { freeze = "file:freeze.ics" },
      { freeze = { { from = "tomorrow", to = "2026-12-20" } } },
    } do
      equal(raises(window.of, wrong).code, "usage")
    end
  end)
end)

describe("a run with a window", function()
  local THREE = [[
step "One" { run = function() world.set("a", 1) end }
step "Two" { run = function() world.set("b", 1) end }
step "Three" { run = function() world.set("c", 1) end }]]

  local w

  --- A world in which each step takes twenty minutes, at a time of day.
  local function new(time, procedure)
    clock.virtual(true)
    local day = clock.now() // 86400 * 86400
    clock.advance(day + 86400 + time * 3600 - clock.now())
    w = world.new(procedure or THREE, { a = 0, b = 0, c = 0 },
      { policy = { window = { from = "02:00", to = "04:00", zone = "UTC" } } })
    w.takes = 1200
    return w
  end

  after_each(function() clock.virtual(false) end)

  local function texts(type)
    local list = {}
    for _, event in ipairs(w.events) do
      if event.type == type then list[#list + 1] = event end
    end
    return list
  end

  it("does not begin outside it, and does with a reason, which is kept", function()
    new(5)
    local failure = raises(w.start, w)
    equal({ failure.code, w.log }, { "window", {} })
    equal(select(2, w.store:lease()), nil)
    equal(w:start({ outside_window = "CHG-1" }).status, "done")
    matches(texts "note"[1].text, "outside the window: CHG%-1")
  end)

  it("says before each step how long the way back is, and when to turn back at the latest", function()
    new(2).takes = 600
    equal(w:start().status, "done")
    local last = texts "outlook"[3]
    equal({ last.undo, last.turn_back_by - clock.now() // 86400 * 86400 }, { 1200, 4 * 3600 - 2400 })
  end)

  it("pauses when it is time to turn back, and goes on with a reason", function()
    new(2.9)
    local outcome = w:start()
    equal({ outcome.status, outcome.exit }, { "stopped", 8 })
    equal({ outcome.step.title, outcome.question.kind }, { "Three", "window" })
    equal(w:resume().exit, 8)
    w.answers = { { choice = "go on", reason = "nearly there" } }
    equal(w:resume().status, "done")
  end)

  it("goes on after the window's end by the answer that a resume brings along", function()
    new(2.9)
    w:start()
    clock.advance(7200)
    local outcome = w:resume()
    equal({ outcome.exit, outcome.failure.code }, { 8, "window" })
    equal(w:resume({ run = 1, answer = { choice = "go on", reason = "CHG-1" } }).status, "done")
  end)

  it("may always be rolled back", function()
    new(2.9)
    w:start()
    clock.advance(7200)
    equal(w:rollback().status, "rolled back")
  end)

  it("does not pause behind a point of no return, from where there is no way back", function()
    new(2.9, THREE:gsub("\"One\" {", "%0 irreversible = \"no way back\", "))
    w.answers = { "pass" }
    equal(w:start().status, "done")
  end)
end)

describe("durations", function()
  local PROCEDURE = [[
step "Fast" { run = function() world.set("a", world.read "a" + 1) end }
step "Slow" { run = function() world.set("b", world.read "b" + 1) end }]]

  after_each(function() clock.virtual(false) end)

  it("are the median of the last five times", function()
    clock.virtual(true)
    local w = world.new(PROCEDURE, { a = 0, b = 0 })
    for _, seconds in ipairs { 1000, 10, 50, 20, 40, 30 } do
      w.takes = function(target) return target == "b" and seconds or 0 end
      equal(w:start().status, "done")
    end
    local learned = require "neap.engine.estimate".learned(w.store, "test/it")
    equal(learned, { runs = 5, steps = { Slow = 30 } })
    w.takes = 0
    w:start()
    local outlook
    for _, event in ipairs(w.events) do outlook = event.type == "outlook" and event or outlook end
    equal(outlook.left, 30)
  end)

  it("are not learned from what was interrupted", function()
    clock.virtual(true)
    local w = world.new([[manual "Wait" {}]])
    w:start()
    clock.advance(3600)
    w.answers = { "done" }
    equal(w:resume().status, "done")
    equal(require "neap.engine.estimate".learned(w.store, "test/it").steps, {})
  end)
end)
