--- The question what now, and each answer to it, in a terminal.
local shop = require "tests.cli.scenes.shop"

local EDITOR = "sed -i s/^port=.*/port=8089/"
local NOW = "1 prod 2.1> "

--- Plays a scene from the question on. answer({ prompt, line }, …) types lines, each behind its prompt.
local function at_the_question(play, options)
  shop.at_each_size({ EDITOR = EDITOR }, function(on, pane, size)
    local function answer(...)
      for _, one in ipairs { ... } do
        pane:expect_last(one[1])
        pane:command(one[2])
      end
    end
    on:fail(pane, options)
    play(on, pane, size, answer)
  end)
end

describe("at a failure in a terminal", function()
  it("a person sees what failed, what is changed, and what can be done", function()
    at_the_question(function(on, pane, size)
      on:shows(pane, size, "failure", { in_sight = true, picture = "failure",
        title = "The question what now at a failure" })
    end)
  end)

  it("a key that is none shows the keys again", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "x" })
      pane:expect "l  full output"
      pane:expect_last(NOW)
      on:shows(pane, size, "failure-unknown-key")
    end)
  end)

  it("r attempts the step again", function()
    at_the_question(function(on, pane, size, answer)
      on:mend()
      answer({ NOW, "r" })
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-retry")
    end)
  end)

  it("r asks again where it fails again", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "r" })
      on:wait_for_question(pane)
      on:shows(pane, size, "failure-retry-failed")
    end)
  end)

  it("e takes other arguments from an editor", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "e" }, { "(a, c): ", "a" })
      pane:expect "Changed, because: "
      on:shows(pane, size, "failure-edit")
      answer({ "because: ", "the proxies listen on 8089" })
      on:wait_for_question(pane)
      on:shows(pane, size, "failure-edited")
    end)
  end)

  it("h takes the step for done where its check finds it so, and asks again where not", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "h" })
      on:wait_for_question(pane)
      on:shows(pane, size, "failure-by-hand-not-yet")
      on:write("reloaded", "")
      answer({ NOW, "h" })
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-by-hand")
    end)
  end)

  it("k goes on without the step, with a reason", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "k" }, { "because: ", "the second proxy is out of service until Monday" })
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-skip")
    end)
  end)

  it("b takes everything back", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "b" })
      pane:expect "all: everything): "
      on:shows(pane, size, "failure-back-asked")
      answer({ "everything): ", "all" })
      pane:expect "ROLLED BACK"
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-back")
    end)
  end)

  it("b takes the run back to a step", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "b" }, { "everything): ", "2.1" })
      pane:expect "neap log"
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-back-to-step")
    end)
  end)

  it("s reads lines of Lua, shows a change before it is made, and comes back to the question", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "s" }, { "1/2.1> ", "here, site = env.hosts['local'], env.folder" },
        { "1/2.1> ", "here:read { 'cat', site .. '/proxy.conf' }" })
      pane:expect "server v88"
      answer({ "1/2.1> ", "file.write(here, site .. '/resolves', 'yes\\n')" })
      pane:expect "apply on prod? [y/N/all] "
      on:shows(pane, size, "failure-lines-asked")
      answer({ "[y/N/all] ", "y" }, { "1/2.1> ", ":q" })
      on:wait_for_question(pane)
      on:shows(pane, size, "failure-lines")
      answer({ NOW, "r" })
      pane:expect "\nDONE in "
      on:wait_for_end(pane)
    end)
  end)

  it("Ctrl-C at the lines' prompt counts once", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "s" })
      pane:expect_last "1/2.1> "
      pane:keys "C-c"
      pane:expect "PAUSED"
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-lines-interrupted")
    end)
  end)

  it("o hands the run over, and the next one sees who should know what", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "o" }, { "To whom: ", "bob" }, { "know: ", "the second proxy is his; he has the key of the rack" })
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-hand-over")
      local other = on:terminal(size)
      other:command "neap resume 1 --yes"
      on:wait_for_question(other)
      on:shows(other, size, "failure-taken-up")
    end)
  end)

  it("q leaves it stopped", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "q" })
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-quit")
    end)
  end)

  it("d and l show what was changed, and what came back", function()
    at_the_question(function(on, pane, size, answer)
      answer({ NOW, "d" })
      pane:expect "(--all)"
      answer({ NOW, "l" })
      pane:expect_last(NOW)
      on:shows(pane, size, "failure-looks")
    end)
  end)

  it("Ctrl-C leaves the question open", function()
    at_the_question(function(on, pane, size)
      pane:keys "C-c"
      pane:expect "--answer retry"
      on:wait_for_end(pane)
      on:shows(pane, size, "failure-interrupted")
    end)
  end)

  it("what failed is in sight with the keys, however much is changed", function()
    at_the_question(function(on, pane, size)
      on:shows(pane, size, "failure-after-much", { in_sight = true })
    end, " -p copies=60")
  end)
end)
