--- `neap repl` at a real terminal, 80 columns wide: screens as a person sees them. Times, durations and folders of the
--- machine are replaced; all else is compared letter by letter.
local fs     = require "native.fs"
local golden = require "tests.cli.golden"
local screen = require "tests.screen"
local tmux   = require "tests.tmux"

local FILES = {
  ["procedures/shop/environments/prod.yml"] = "values: { folder: FOLDER }\npolicy: { guard: production }\n",
  ["procedures/shop/lib.lua"] = [[
local lib = {}
--- Says hello.
function lib.hello(whom) return "hello " .. whom end
return lib
]],
  ["data/motd"] = "welcome\n",
}

describe("a screen of neap repl", function()
  local root, pane

  before_each(function()
    root = fs.realpath(scratch())
    for path, text in pairs(FILES) do
      fs.mkdir(root .. "/" .. path:match "^(.*)/", "0755")
      fs.write(root .. "/" .. path, (text:gsub("FOLDER", root .. "/data")), { mode = "0644" })
    end
    pane = tmux.new { env = { NEAP_PATH = root, XDG_STATE_HOME = root .. "/state" } }
    pane:neap "repl --env shop/prod"
    pane:expect "\nneap prod> "
  end)

  after_each(function() pane:close() end)

  local function shown(colours)
    local text = pane:screen(colours):gsub("[^\n]*\n", "$ neap repl --env shop/prod\n", 1)
    return (screen.settled(text, { [root] = "/runbooks" }):gsub(" +undo\n", "  undo\n"))
  end

  local function begin()
    pane:command ":write"
    pane:expect "name to start: "
    pane:command "prod"
    pane:expect "Why, for the journal: "
    pane:command "CHG-8812"
    pane:expect "neap prod!> "
  end

  local function ask(line)
    pane:command(line)
    pane:expect "apply on prod? [y/N/all] "
  end

  it("shows a change as a plan would, asks, makes it and takes it back", function()
    pane:command "here, motd = env.hosts['local'], env.folder .. '/motd'"
    pane:expect "\nneap prod> "
    pane:command "file.write(here, motd, 'back at four\\n')"
    pane:expect "until :write"
    pane:expect "\nneap prod> "
    begin()
    ask "file.write(here, motd, 'back at four\\n')"
    pane:command "n"
    pane:expect "! not applied"
    pane:expect "\nneap prod!> "
    ask "file.write(here, motd, 'back at four\\n')"
    pane:command "y"
    pane:expect "file.content  done"
    pane:expect "\nneap prod!> "
    pane:command ":undo"
    pane:expect "taken back"
    pane:expect "\nneap prod!> "
    pane:keys "C-d"
    pane:expect "neap ended with 0"
    pane:expect_last "\n$ "
    golden("repl-screen-change", shown())
    equal(fs.read(root .. "/data/motd"), "welcome\n")
  end)

  it("shows what a target said against it", function()
    pane:command "env.hosts['local']:read { 'cat', '/nowhere/at/all' }"
    pane:expect "No such file"
    pane:expect_last "\nneap prod> "
    pane:command "file.list(env.hosts['local'], '/nowhere')"
    pane:expect "no such file"
    pane:expect_last "\nneap prod> "
    golden("repl-screen-error", shown())
  end)

  it("ends a call by Ctrl-C, and the line that is typed, not the session", function()
    pane:command "env.hosts['local']:read_shell 'touch ~/started; sleep 60'"
    pane:expect_file(pane.folder .. "/started")
    pane:keys "C-c"
    pane:expect "! cancelled"
    pane:expect_last "\nneap prod> "
    pane:type "half a li"
    pane:expect "half a li"
    pane:keys "C-c"
    pane:expect "^C"
    pane:expect_last "\nneap prod> "
    pane:command "'still here'"
    pane:expect "\nstill here"
    pane:expect_last "\nneap prod> "
    golden("repl-screen-interrupt", shown())
  end)

  it("completes names and lists what is possible", function()
    pane:type "fi"
    pane:keys "Tab"
    pane:expect "neap prod> file"
    pane:type ".re"
    pane:keys "Tab"
    pane:expect "read  "
    pane:keys "C-u"
    pane:type "file.read(env.hosts['local'], '"
    pane:type(root .. "/da")
    pane:keys "Tab"
    pane:expect "/data/"
    pane:keys "Tab"
    pane:expect "/data/motd"
    pane:type "')"
    pane:keys "Enter"
    pane:expect "\nwelcome"
    pane:expect_last "\nneap prod> "
    golden("repl-screen-tab", shown())
  end)

  it("warns in words, and then in colour, before a guarded environment is changed", function()
    begin()
    pane:expect_last "\nneap prod!> "
    golden("repl-screen-colours", shown(true))
  end)

  it("goes without the line editor where that is wanted", function()
    pane:keys "C-d"
    pane:expect "neap ended with 0\n"
    pane:neap "repl --env shop/prod --plain"
    pane:expect "\nneap prod> "
    pane:command "1 + 1"
    pane:expect "\n2\n"
    pane:type "half a li"
    pane:expect "half a li"
    pane:keys "C-c"
    pane:expect "half a li^C"
    pane:expect "\nneap prod> "
    pane:command "'still here'"
    pane:expect "\nstill here"
    pane:keys "C-d"
    pane:expect "neap ended with 0\n"
  end)

  it("finds earlier lines again in the next session, but none that holds a secret", function()
    pane:command "'first line'"
    pane:expect "\nfirst line"
    pane:command "x = { password = 'an-unusual-word-8842' }"
    pane:command " 'with a space before'"
    pane:expect "\nwith a space"
    pane:keys "C-d"
    pane:expect "neap ended with 0"
    local file = root .. "/state/neap/typed-lines"
    equal({ fs.read(file), fs.stat(file).mode }, { "'first line'\n", "0600" })
    pane:neap "repl --env shop/prod"
    pane:expect_last "\nneap prod> "
    pane:keys("Up", "Enter")
    pane:expect "\nfirst line"
  end)
end)
