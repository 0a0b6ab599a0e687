--- A plan as an operator sees it in a terminal: whole, page by page, in short.
local shop = require "tests.cli.scenes.shop"

describe("a plan in a terminal", function()
  it("is printed whole where no pager is wanted", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane:command "neap plan shop/release --env prod -p release=88 --no-pager"
      on:wait_for_end(pane)
      on:shows(pane, size, "plan")
    end)
  end)

  it("goes through a pager where it is longer than the terminal", function()
    shop.at_each_size({ PAGER = "less -FRX" }, function(on, pane, size)
      pane:command "neap plan shop/proxies --env prod -p release=88"
      pane:expect(size.rows < 30 and "\n:" or "with --plan")
      on:shows(pane, size, "plan-pager", { in_sight = true })
      if size.rows >= 30 then return end
      pane:keys "Space"
      pane:expect "(END)"
      pane:keys "q"
      on:wait_for_end(pane)
      on:shows(pane, size, "plan-pager-end", { picture = "plan", title = "The plan of a procedure" })
    end)
  end)

  it("fits one screen in short", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane:command "neap plan shop/release --env prod -p release=88 -s"
      on:wait_for_end(pane)
      on:shows(pane, size, "plan-short")
    end)
  end)
end)
