--- A run in a terminal: the block while servers are switched side by side, its end, and all the ways to leave it.
local fs   = require "native.fs"
local shop = require "tests.cli.scenes.shop"

--- All servers are switched but one, which is still under way.
local function wait_for_one(on, pane)
  on:release(pane)
  on:go_on(pane, "web02", "web04", "web05", "web06")
  pane:expect "10 of 12 done, 1 failed, 1 under way"
end

describe("a run in a terminal", function()
  it("shows where it is, what is slow and what failed, in a block below the lines, and asks at its end", function()
    shop.at_each_size(nil, function(on, pane, size)
      on:release(pane)
      on:shows(pane, size, "fan-out", { in_sight = true, picture = "run",
        title = "A run while servers are switched" })
      on:go_on(pane, "web01", "web02", "web04", "web05", "web06")
      pane:expect_last "done / stop? "
      on:shows(pane, size, "manual")
      pane:command "done"
      pane:expect "anything else pauses: "
      on:shows(pane, size, "point-of-no-return")
      pane:command "prod"
      on:wait_for_end(pane)
      on:shows(pane, size, "done")
    end)
  end)

  it("goes on in a terminal that is made wider and narrower", function()
    shop.at_each_size(nil, function(on, pane, size)
      wait_for_one(on, pane)
      for _, other in ipairs { { columns = 120, rows = 40 }, { columns = 72, rows = 30 } } do
        pane:resize(other.columns, other.rows)
        pane:expect("\n" .. ("─"):rep(other.columns) .. "\nshop/release")
        on:shows(pane, other, ("resized-from-%d"):format(size.columns), { in_sight = true })
      end
    end)
  end)

  it("pauses behind the effect in hand at Ctrl-C, and ends the call in hand at the second", function()
    shop.at_each_size(nil, function(on, pane, size)
      wait_for_one(on, pane)
      pane:keys "C-c"
      pane:expect "\ninterrupted by the operator: pausing after the effect in hand"
      on:shows(pane, size, "interrupted-once", { in_sight = true })
      pane:keys "C-c"
      on:wait_for_end(pane)
      on:shows(pane, size, "interrupted-twice")
    end)
  end)

  it("pauses at Ctrl-C when the effect in hand has ended", function()
    shop.at_each_size(nil, function(on, pane, size)
      wait_for_one(on, pane)
      pane:keys "C-c"
      pane:expect "pausing after the effect in hand"
      on:go_on(pane, "web01")
      on:wait_for_end(pane)
      on:shows(pane, size, "paused")
    end)
  end)

  it("goes on when it is left, and is joined from two terminals, of which one answers", function()
    shop.at_each_size(nil, function(on, pane, size)
      wait_for_one(on, pane)
      pane:kill()
      local first, second = on:terminal(size), on:terminal(size)
      for _, one in ipairs { first, second } do
        one:command "neap resume 1"
        one:expect "10 of 12 done, 1 failed, 1 under way"
      end
      on:shows(first, size, "joined", { in_sight = true })
      on:go_on(first, "web01")
      first:expect_last "done / stop? "
      second:expect_last "done / stop? "
      first:command "done"
      second:expect "anything else pauses: "
      on:shows(second, size, "answered-elsewhere")
      second:command "prod"
      on:wait_for_end(first)
      on:wait_for_end(second)
      on:shows(first, size, "answered-elsewhere-done")
    end)
  end)

  it("is taken up after its worker was killed: the target is asked what became of what was in hand", function()
    shop.at_each_size(nil, function(on, pane, size)
      wait_for_one(on, pane)
      equal(on:neap("stop", "1", "--kill").status, 0)
      on:wait_for_end(pane)
      on:shows(pane, size, "worker-killed")
      fs.remove(on.site .. "/slow/web01")
      on:wait_for_commands()
      pane:command "neap resume 1 --yes"
      pane:expect_last "done / stop? "
      on:shows(pane, size, "resumed")
    end)
  end)

  it("is left at the third Ctrl-C while the call in hand does not end", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane:command "neap run shop/deaf --env prod --yes"
      pane:expect_file(on.site .. "/deaf")
      pane:expect "local deaf  command.run"
      for _, said in ipairs { "\ninterrupted by the operator", "\ncancelling the call in hand", "LEFT" } do
        pane:keys "C-c"
        pane:expect(said)
      end
      on:wait_for_end(pane)
      on:shows(pane, size, "left")
      fs.remove(on.site .. "/deaf")
    end)
  end)
end)
