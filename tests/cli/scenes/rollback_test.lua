--- A rollback in a terminal: what it will do, how it goes, and what somebody else changed meanwhile.
local shop = require "tests.cli.scenes.shop"

--- A terminal of somebody who takes back a run that was left at its failure.
local function after_failure(on, pane, size)
  on:fail(pane)
  pane:command "q"
  on:wait_for_end(pane)
  return on:terminal(size)
end

describe("a rollback in a terminal", function()
  it("says first what it takes back and what it keeps", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane = after_failure(on, pane, size)
      pane:command "neap rollback 1"
      pane:expect "name to start: "
      on:shows(pane, size, "rollback-asked")
      pane:command "prod"
      pane:expect "ROLLED BACK"
      on:wait_for_end(pane)
      on:shows(pane, size, "rollback", { picture = "rollback", title = "A rollback" })
    end)
  end)

  it("asks where somebody else has changed what it would put back", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane = after_failure(on, pane, size)
      on:write("proxy.conf", "upstream shop {\n    server v86.shop.example.org:8088;\n}\n")
      pane:command "neap rollback 1 --yes"
      pane:expect "keep / overwrite / stop? "
      on:shows(pane, size, "rollback-conflict")
      pane:command "keep"
      pane:expect "ROLLBACK INCOMPLETE"
      on:wait_for_end(pane)
      on:shows(pane, size, "rollback-kept")
    end)
  end)
end)
