--- Lines edited at a real terminal: a pane of tmux, in which a test that edits lines runs.
local fs   = require "native.fs"
local tmux = require "tests.tmux"

local EDITS = [[
local editline, task = require "native.editline", require "native.task"
local function say(text) require "native.terminal".write(1, text .. "\n") end
local function painted(line)
  local shown, rest = line:match "^([^\n]*)(.*)$"
  return shown:gsub("%d+", "\1\27[31m\1%0\1\27[0m\1") .. rest
end
local function read(editor, prompt, paint)
  local event, left, right = editor:read(prompt)
  while event == "complete" or event == "changed" do
    if event == "complete" then
      editor:print "above\n"
      event, left, right = editor:complete("9", "91  92\n")
    else
      event, left, right = editor:paint(left, (paint or painted)(left))
    end
  end
  say("[" .. event .. " " .. (left or ""):gsub("\n", "") .. "]")
end
describe("x", function()
  it("y", function()
    local editor <close> = editline.open(COLOURS)
    BODY
  end)
end)
]]

local pane, recorded

after_each(function() pane:close() end)

--- A test that edits lines runs in a pane, which is recorded.
local function edit(body, colours)
  local folder = scratch()
  local script = folder .. "/edit_test.lua"
  recorded = folder .. "/written"
  local parts = { BODY = body, COLOURS = tostring(colours) }
  fs.write(script, (EDITS:gsub("%u%u%u%u+", parts)), { mode = "0600" })
  pane = tmux.new()
  pane:record(recorded)
  pane:neap("test " .. script)
end

describe("editline", function()
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

local SAVE, RESTORE = "\0277", "\0278"

describe("editline with colours", function()
  local function edit_painted(body, colours)
    edit(body, colours ~= false)
    pane:expect "> "
  end

  local function expect_written(text) return pane:expect_in(recorded, text) end

  it("writes the line over itself, and brings the cursor back", function()
    edit_painted 'read(editor, "\1\27[1m\1>\1\27[0m\1 ")'
    pane:type "a 12"
    expect_written(SAVE .. "\r\27[1m>\27[0m a \27[31m12\27[0m" .. RESTORE)
    pane:keys("Left", "Left", "Left")
    pane:type "3"
    expect_written(SAVE .. "\r\27[1m>\27[0m a\27[31m3\27[0m \27[31m12\27[0m" .. RESTORE)
    pane:keys "Enter"
    pane:expect "[line a3 12]"
  end)

  it("goes up to the row where the line begins, from where the cursor is and from below what Enter left", function()
    local long = ("x"):rep(90)
    edit_painted 'read(editor, "> ")'
    pane:type(long .. 7)
    expect_written(SAVE .. "\r\27[1A> " .. long .. "\27[31m7\27[0m" .. RESTORE)
    pane:keys "Home"
    expect_written(SAVE .. "\r> " .. long .. "\27[31m7\27[0m" .. RESTORE)
    pane:keys "Enter"
    pane:expect("[line " .. long .. "7]")
    expect_written(SAVE .. "\r\27[2A> " .. long .. "\27[31m7\27[0m" .. RESTORE)
  end)

  it("shows control characters and tabs as libedit does", function()
    edit_painted 'read(editor, "> ")'
    pane:keys("C-v", "Escape", "C-v", "Tab")
    pane:type "1"
    expect_written(SAVE .. "\r> ^[    \27[31m1\27[0m" .. RESTORE)
    pane:keys "Enter"
    pane:expect "[line "
  end)

  it("writes nothing where the answer is another line", function()
    edit_painted [[
      read(editor, "> ", function(line) return "1" .. line end)
      read(editor, "> ", function(line) return "\1" .. line end)
      read(editor, "> ", function(line) return nil end)]]
    for i = 1, 3 do
      pane:command("a " .. i)
      pane:expect(("[line a %d]"):format(i))
    end
    equal(expect_written("[line a 3]"):find(SAVE, 1, true), nil)
  end)

  it("writes nothing over a line with characters of no width, or with a mark", function()
    edit_painted 'read(editor, "> ") read(editor, "> ")'
    pane:command "\u{301}e 1"
    pane:expect "\n[line "
    pane:keys("C-v", "C-a")
    pane:command " 1"
    pane:expect "\n[line "
    equal(expect_written("1 passed"):find(SAVE, 1, true), nil)
  end)

  it("keeps them where lines are printed above it, and in what a list is shown below of", function()
    edit_painted 'read(editor, "> ")'
    pane:type "12"
    expect_written(SAVE .. "\r> \27[31m12\27[0m" .. RESTORE)
    pane:keys "Tab"
    expect_written "\r\27[Jabove\r\n> 12\r\27[J> \27[31m12\27[0m\r\n91  92\r\n> 129"
    expect_written(SAVE .. "\r> \27[31m129\27[0m" .. RESTORE)
    pane:expect "above\n> 12\n91  92\n> 129"
    pane:keys "Enter"
    pane:expect "[line 129]"
  end)

  it("writes nothing more without colours", function()
    edit_painted('read(editor, "> ")', false)
    pane:type "a 12"
    pane:keys("Left", "Enter")
    pane:expect "[line a 12]"
    matches(expect_written "[line a 12]", "\n> a 12\b\r\n%[line")
  end)

  it("asks for the colours of each line that a pause leaves, and of the one that is entered", function()
    edit_painted [[
      read(editor, "> ", function(line) say("<" .. line:gsub("\n", "$") .. ">") end)
      local ok, problem = pcall(editor.paint, editor, "a", "a")
      say(problem:match "nothing was asked")]]
    pane:type "a"
    pane:expect "<a>"
    pane:type "b"
    pane:expect "<ab>"
    pane:keys "Enter"
    pane:expect "<ab$>"
    pane:expect "[line ab]"
    pane:expect "nothing was asked"
  end)
end)
