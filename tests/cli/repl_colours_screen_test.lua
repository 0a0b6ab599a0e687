--- What is typed at `neap repl`, in its colours, at a real terminal of 80 columns: letter by letter and colour by colour.
local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local tmux   = require "tests.tmux"

local LONG = "file.read(env.hosts['local'], '/a/path/that/is/long') == 'what stood there before' or 12345"

describe("a line typed at neap repl", function()
  local root, pane

  local function start(variable, options)
    root = fs.realpath(scratch())
    fs.mkdir(root .. "/procedures/shop/environments", "0755")
    fs.write(root .. "/procedures/shop/environments/lab.yml", "values: { folder: here }\n", { mode = "0644" })
    pane = tmux.new { env = { NEAP_PATH = root, XDG_STATE_HOME = root .. "/state" } }
    if variable then pane:command("export " .. variable) end
    pane:neap("repl --env shop/lab" .. (options or ""))
    pane:expect "\nneap lab> "
  end

  after_each(function() pane:close() end)

  --- From the greeting on: the line above it is as long as the folders of the machine are.
  local function screen()
    local text = pane:screen(true)
    return (text:sub((text:find("neap  shop/lab  reads", 1, true))):gsub("[ \t]+\n", "\n"))
  end

  --- Colours come behind the letters: waits until they are there.
  local function expect(name) golden.becomes("repl-colours-" .. name, screen) end

  it("has colours while it is typed, and keeps them behind Enter", function()
    start()
    pane:type "for i = 1, 2 do print('né', i, file ~= nil) end -- twice"
    expect "typed"
    pane:keys "Enter"
    pane:expect_last "\nneap lab> "
    expect "entered"
  end)

  it("has them in each of the rows that it takes", function()
    start()
    pane:type(LONG)
    expect "wrapped"
    pane:keys("Home", "Right", "Right")
    pane:type "x = 'y', "
    expect "wrapped-inserted"
  end)

  it("has them where it goes on, and where Tab lists what is possible", function()
    start()
    pane:command "x = [[ local"
    pane:expect "> "
    pane:command "file 1 ]] .. 'a' .. 7"
    pane:expect_last "\nneap lab> "
    pane:type "x == 7 and file.re"
    pane:keys "Tab"
    pane:expect "read  "
    expect "goes-on"
  end)

  it("has them around letters put into its middle and taken out again", function()
    start()
    pane:type "print(12, 'end')"
    pane:keys "Left"
    pane:type " or 7 --"
    expect "inserted"
    pane:keys("BSpace", "BSpace", "C-a", "C-f")
    expect "taken-out"
  end)

  it("has them where Ctrl-R finds it, and behind the Enter that ends the search", function()
    start()
    pane:command "print('an earlier line', 99)"
    pane:expect_last "\nneap lab> "
    pane:keys "C-r"
    pane:type "earl"
    expect "search"
    pane:keys "Enter"
    pane:expect "\nan earlier line\n99"
    pane:expect_last "\nneap lab> "
    expect "search-entered"
  end)

  it("stays whole where Ctrl-C ends it, wherever the cursor is", function()
    start()
    pane:type(LONG)
    pane:keys "Home"
    pane:type "1 + "
    pane:expect "1 + file"
    pane:keys "C-c"
    pane:expect "12345^C"
    pane:expect_last "\nneap lab> "
  end)

  it("has them in another width of the terminal", function()
    start()
    pane:type(LONG)
    pane:expect "12345"
    pane:resize(60, 50)
    expect "narrow"
    pane:resize(80, 50)
    expect "wide-again"
  end)

  it("has them when it comes with others in one piece", function()
    start()
    pane:type "'one', 1\r-- two\r'three', file == 3\r"
    pane:expect "\nthree\nfalse"
    pane:expect_last "\nneap lab> "
    expect "pasted"
  end)

  it("goes without them where it has letters of no width, or is longer than the screen", function()
    start()
    pane:type "'e\u{301}' == 1"
    pane:keys "Enter"
    pane:expect "\nfalse"
    pane:expect_last "\nneap lab> "
    expect "no-width"
    pane:type(("12 "):rep(50 * 80 // 3 + 9))
    pane:type "end"
    pane:expect_last "end"
    pane:keys "C-c"
    pane:expect_last "\nneap lab> "
  end)

  it("shows what is no letter by its name, and never sends it", function()
    start()
    pane:type "'"
    pane:keys("C-v", "Escape")
    pane:type "[31mred' == 1"
    expect "escape"
  end)

  local function has_none(variable, options)
    start(variable, options)
    pane:command "print('some', 1)"
    pane:expect "\nsome\n1"
    pane:expect_last "\nneap lab> "
    equal((screen():find "\27"), nil)
  end

  it("has none where the environment wants none", function() has_none "NO_COLOR=1" end)

  it("has none where the terminal has none", function() has_none "TERM=dumb" end)

  it("has none where the command line wants none", function() has_none(nil, " --color=never") end)
end)
