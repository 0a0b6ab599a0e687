--- Lines of Lua on a living environment, in a terminal.
local shop = require "tests.cli.scenes.shop"

local LINES = {
  { "here, site = env.hosts['local'], env.folder" },
  { "here:read { 'cat', site .. '/proxy.conf' }", "server v87" },
  { "{ { host = 'web1', is = 'v88' }, { host = 'web2', is = 'v87' } }", "2 rows" },
  { "file.write(here, site .. '/notice', 'Closed until four.\\n')", "until :write" },
}

describe("the REPL in a terminal", function()
  it("reads, shows rows as a table, and refuses a change", function()
    shop.at_each_size(nil, function(on, pane, size)
      pane:command "neap repl --env shop/prod"
      pane:expect "\nneap prod> "
      for _, one in ipairs(LINES) do
        pane:command(one[1])
        if one[2] then pane:expect(one[2]) end
        pane:expect_last "\nneap prod> "
      end
      on:shows(pane, size, "repl", { picture = "repl", title = "Lines typed on a living environment" })
      pane:keys "C-d"
      on:wait_for_end(pane)
    end)
  end)
end)
