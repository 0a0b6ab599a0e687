--- kill -9 within lines typed at `neap repl`, at each commit of the journal and before and after each call: a real
--- process, real files and commands of this machine, which are asked what was done. Needs the build with fail points.
local fs         = require "native.fs"
local golden     = require "tests.cli.golden"
local repository = require "tests.kills.repository"
local task       = require "native.task"
local tmux       = require "tests.tmux"

local LINES = {
  ":write a hotfix", "lib = require 'demo.lib'", "here = env.hosts['local']",
  "lib.set(here, env.folder .. '/a', 'new')", "lib.line(here, env.folder .. '/count', 'one')", ":undo",
  "lib.set(here, env.folder .. '/x', 'made')",
}

--- What the targets hold behind each of the lines.
local AFTER = {
  { a = "old" }, { a = "new" }, { a = "new", count = "one\n" }, { a = "new", count = "one\nnot one\n" },
  { a = "new", count = "one\nnot one\n", x = "made" },
}

local FAILS = [[
step "Fail" { run = function()
  file.write("local", env.folder .. "/x", "1")
  fail "it does"
end }
]]

local function session(world, fault, lines)
  local words = { "repl", "--env", "demo/lab", "--yes" }
  for _, line in ipairs(lines or LINES) do
    words[#words + 1] = "-e"
    words[#words + 1] = line
  end
  return world:neap(fault, table.unpack(words))
end

--- Kills a session at each point, in two rows side by side; then calls check(world, fault).
local function each_kill(check)
  local first = repository.new(scratch())
  local passed = first:points(function() equal(session(first, nil).status, 0) end)
  equal(first:world(), AFTER[#AFTER])
  local list = repository.faults(passed)
  truthy(#list > 30)
  local killed = repository.kill_each(scratch(), list, session, check)
  truthy(killed >= #list - 4)
end

--- Takes the run up, where there is one that is open. Returns whether.
local function take_up(world, verb)
  local result = world:neap(nil, verb, "1", "--env", "demo/lab", "--yes", "--foreground")
  if result.status == 0 then return true end
  local text = result.out .. result.err
  if text:find "no run" or text:find "closed" then return false end
  error(("%s: exit %s\n%s"):format(verb, tostring(result.status), text), 0)
end

local function is_behind_a_line(world)
  local ok, problem
  for _, state in ipairs(AFTER) do
    ok, problem = pcall(equal, world:world(), state)
    if ok then return end
  end
  error(problem, 0)
end

describe("lines in which neap is killed", function()
  it("have happened or not after a resume, each once, and the environment is free", function()
    each_kill(function(world)
      take_up(world, "resume")
      is_behind_a_line(world)
      equal(world:witnesses_left(), 0)
      equal(session(world, nil, { ":write", "1" }).status, 0)
    end)
  end)

  it("are taken back whole by a rollback", function()
    each_kill(function(world)
      if not take_up(world, "rollback") then return end
      local now = world:world()
      equal({ now.a, now.x }, { "old" })
      truthy(now.count == nil or now.count == "one\nnot one\n")
      equal(world:witnesses_left(), 0)
    end)
  end)

  it("are taken up by the next session, which settles the one in hand and undoes them", function()
    local world = repository.new(scratch())
    local result = session(world, "call:6:after=kill", { LINES[1], LINES[2], LINES[3], LINES[4], LINES[5] })
    equal(result.signal, "KILL")
    result = session(world, nil, { ":write", ":undo 9" })
    equal(result.status, 0)
    matches(result.err, "run 1, repl, .* is open.*taken up")
    local now = world:world()
    equal(now.a, "old")
    truthy(now.count == nil or now.count == "one\nnot one\n")
    equal(world:witnesses_left(), 0)
  end)
end)

--- A screen without what differs from one time and machine to another.
local function masked(screen, folder)
  local text = screen:gsub("%$ [^\n]*build/fault/neap", "$ neap"):gsub(folder:gsub("%p", "%%%0"), "/runbooks")
  text = text:gsub("; echo [%a ]+ with %$%?", ""):gsub("%d%d%d%d%-%d%d%-%d%d %d%d:%d%d[%d:]*", "DATE")
  text = text:gsub("%d%d:%d%d:%d%d", "HH:MM:SS"):gsub("%d+%.%ds", "N.Ns"):gsub("%S+@%S+", "WHO")
  return (text:gsub(" +NO UNDO\n", "  NO UNDO\n"):gsub("[ \t]+\n", "\n"))
end

describe("a session at a terminal", function()
  local world, pane

  before_each(function()
    world = repository.new(scratch())
    local env = world:environment()
    env.TERM, env.PS1 = "screen", "$ "
    pane = tmux.new { env = env, columns = 160 } -- so wide that no line is broken, however long the folder's name
  end)

  after_each(function() pane:close() end)

  local function start(fault)
    local variable = fault and "NEAP_FAULT=" .. fault .. " " or ""
    pane:command(("%s%s repl --env demo/lab; echo neap ended with $?"):format(variable, fs.realpath(repository.NEAP)))
    pane:expect "neap lab> "
  end

  local function write()
    pane:command ":write"
    pane:expect "Why, for the journal: "
    pane:keys "Enter"
    pane:expect "neap lab!> "
  end

  it("dies in the middle of a change, which the next one asks the target about", function()
    start "call:2:after=kill"
    write()
    pane:command "env.hosts['local']:run({ 'sh', '-c', 'echo one >>' .. env.folder .. '/count' })"
    pane:expect "apply on lab? [y/N/all] "
    pane:command "y"
    pane:expect "neap ended with 137"
    pane:command(("%s resume 1 --env demo/lab; echo settled with $?"):format(fs.realpath(repository.NEAP)))
    pane:expect "settled with 0"
    equal(world:world(), { a = "old", count = "one\n" })
    pane:expect_last "\n$ "
    golden("repl-screen-crash", masked(pane:screen(), world.folder))
  end)

  it("ends a question by Ctrl-C, and changes nothing", function()
    start()
    pane:command ":write"
    pane:expect "Why, for the journal: "
    pane:keys "C-c"
    pane:expect "! cancelled"
    pane:expect "neap lab> "
    write()
    pane:command "file.write(env.hosts['local'], env.folder .. '/x', 'made')"
    pane:expect "apply on lab? [y/N/all] "
    pane:keys "C-c"
    pane:expect "! cancelled"
    pane:expect "neap lab!> "
    pane:keys "C-d"
    pane:expect "nothing stays changed"
    pane:expect "neap ended with 0"
    equal(world:world(), { a = "old" })
  end)

  it("ends a call by Ctrl-C, and goes on; a line that is typed is dropped by it", function()
    start()
    pane:command "env.hosts['local']:read_shell 'touch ~/started; sleep 50'"
    pane:expect_file(world.folder .. "/home/started")
    pane:keys "C-c"
    pane:expect "! cancelled"
    pane:type "1 + "
    pane:expect "1 + "
    pane:keys "C-c"
    pane:expect "^C"
    pane:command "2 + 2"
    pane:expect "\n4\n"
    pane:keys "C-d"
    pane:expect "neap ended with 0"
  end)

  it("settles a change that Ctrl-C cuts short, and does not end its run", function()
    start()
    write()
    pane:command "env.hosts['local']:shell('touch ~/started; sleep 3; echo late >>' .. env.folder .. '/count')"
    pane:expect "apply on lab? [y/N/all] "
    pane:command "y"
    pane:expect_file(world.folder .. "/home/started")
    pane:keys "C-c"
    pane:expect "! "
    pane:expect "neap lab!> "
    pane:command ":read"
    pane:expect "run 1 is closed"
    local settled = world:world().count
    task.sleep(3.5)
    equal(world:world().count, settled)
  end)

  it("stops on its way back after the effect in hand, at Ctrl-C, and a resume goes that way to its end", function()
    start()
    write()
    for _, name in ipairs { "x", "y" } do
      pane:command(("env.hosts['local']:run({ 'touch', env.folder .. '/%s' }, { undo = { 'sh', '-c', 'touch ~/started; "
        .. "sleep 2; rm ' .. env.folder .. '/%s' } })"):format(name, name))
      pane:expect "apply on lab? [y/N/all] "
      pane:command "y"
      pane:expect "command.run  done"
      pane:expect "neap lab!> "
    end
    pane:command ":undo 2"
    pane:expect_file(world.folder .. "/home/started")
    pane:keys "C-c"
    pane:expect "stopping after the effect in hand"
    pane:expect "run 1 stays open: 1 change stays so far"
    pane:expect "neap lab> "
    equal(world:world(), { a = "old", x = "" })
    pane:keys "C-d"
    pane:expect "neap ended with 5"
    equal(world:neap(nil, "resume", "1", "--env", "demo/lab", "--yes", "--foreground").status, 0)
    equal(world:world(), { a = "old" })
  end)

  it("at a failure edits lines, completes them and finds them again", function()
    fs.write(world.folder .. "/procedures/demo/fails.lua", FAILS, { mode = "0644" })
    pane:command(("%s run demo/fails --env lab --yes; echo neap ended with $?"):format(fs.realpath(repository.NEAP)))
    pane:expect "1 lab 1.1> "
    pane:command "s"
    pane:expect "neap lab 1/1.1> "
    pane:type "env.fol"
    pane:keys "Tab"
    pane:expect "env.folder"
    pane:keys "Enter"
    pane:expect("\n" .. world.data)
    pane:expect "neap lab 1/1.1> "
    pane:keys("Up", "Enter")
    pane:expect("\n" .. world.data)
    pane:expect "neap lab 1/1.1> "
    pane:command ":q"
    pane:expect "1 lab 1.1> "
    pane:command "b"
    pane:expect "everything): "
    pane:command "all"
    pane:expect "neap ended with 4"
    equal(world:world(), { a = "old" })
  end)

  it("leaves its run open where the terminal is lost", function()
    start()
    write()
    pane:command "file.write(env.hosts['local'], env.folder .. '/x', 'made')"
    pane:expect "apply on lab? [y/N/all] "
    pane:command "y"
    pane:expect "file.content  done"
    pane:expect "neap lab!> "
    pane:kill()
    local result
    for _ = 1, 100 do
      result = world:neap(nil, "rollback", "1", "--env", "demo/lab", "--yes", "--foreground")
      if result.status == 0 then break end
      task.sleep(0.1)
    end
    equal({ result.status, world:world() }, { 0, { a = "old" } })
  end)
end)
