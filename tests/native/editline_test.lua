--- Lines edited at a real terminal: a pane of tmux, in which a test that edits lines runs.
local fs   = require "native.fs"
local tmux = require "tests.tmux"

local EDITS = [[
local editline, task = require "native.editline", require "native.task"
local function say(text) require "native.terminal".write(1, text .. "\n") end
describe("x", function()
  it("y", function()
    local editor <close> = editline.open()
    %s
  end)
end)
]]

describe("editline", function()
  local pane

  after_each(function() pane:close() end)

  local function edit(body)
    local script = scratch() .. "/edit_test.lua"
    fs.write(script, EDITS:format(body), { mode = "0600" })
    pane = tmux.new()
    pane:neap("test " .. script)
  end

  it("reads lines as they are edited, by the keys of a shell", function()
    edit [[
      for i = 1, 3 do
        local event, line = editor:read("> ")
        say(("[%s %s]"):format(event, (line or ""):gsub("\n", "")))
      end]]
    pane:expect "> "
    pane:type "wörld"
    pane:keys("Home")
    pane:type "hello "
    pane:keys("End", "Enter")
    pane:expect "[line hello wörld]"
    pane:type "one two"
    pane:keys("C-w", "C-a")
    pane:type "0"
    pane:keys("DC", "Enter")
    pane:expect "[line 0ne ]"
    pane:keys "C-d"
    pane:expect "[end ]"
  end)

  it("finds earlier lines again, by arrows and by searching", function()
    edit [[
      editor:remember "first line"
      editor:remember "second line"
      for i = 1, 2 do say("[" .. select(2, editor:read("> ")):gsub("\n", "") .. "]") end]]
    pane:expect "> "
    pane:keys("Up", "Up", "Enter")
    pane:expect "[first line]"
    pane:keys "C-r"
    pane:type "sec"
    pane:expect "second line"
    pane:keys("Escape", "Enter")
    pane:expect "[second line]"
  end)

  it("lets the loop go on meanwhile, and prints above the line", function()
    edit [[
      task.spawn(function()
        for i = 1, 3 do
          task.sleep(0.05)
          editor:print("tick " .. i .. "\n")
        end
      end)
      say("[" .. select(2, editor:read("> ")):gsub("\n", "") .. "]")]]
    pane:expect "> "
    pane:type "abc"
    pane:expect "tick 3"
    pane:expect "> abc"
    pane:type "def"
    pane:keys "Enter"
    pane:expect "[abcdef]"
    pane:expect "\ntick 1\ntick 2\ntick 3\n> abcdef\n[abcdef]"
  end)

  it("asks what Tab completes, puts it there and lists what else is possible", function()
    edit [[
      local event, left, right = editor:read("> ")
      while event == "complete" do
        say("[" .. left .. "|" .. right .. "]")
        event, left, right = editor:complete("lete", left == "comp" and "complete  compete\n" or nil)
      end
      say("[" .. left:gsub("\n", "") .. "]")]]
    pane:expect "> "
    pane:type "comp x"
    pane:keys("Left", "Left", "Tab")
    pane:expect "complete  compete"
    pane:expect "> complete x"
    pane:keys "Enter"
    pane:expect "[complete x]"
  end)

  it("is stopped from outside, and by a call that is given up, and reads on", function()
    edit [[
      task.spawn(function() task.sleep(0.05) editor:stop() end)
      say("[" .. editor:read("1> ") .. "]")
      local ok, failure = pcall(task.deadline, 0.05, editor.read, editor, "2> ")
      say("[" .. tostring(failure.kind) .. "]")
      say("[" .. select(2, editor:read("3> ")):gsub("\n", "") .. "]")]]
    pane:expect "[stopped]"
    pane:expect "[timeout]"
    pane:expect "3> "
    pane:type "on"
    pane:keys "Enter"
    pane:expect "[on]"
  end)

  it("gives the terminal back as it was", function()
    edit [[editor:read("> ")]]
    pane:expect "> "
    pane:keys "Enter"
    pane:expect "neap ended with 0"
    pane:command "stty -a | grep -o -- '[-]*icanon'"
    pane:expect "\nicanon"
  end)
end)
