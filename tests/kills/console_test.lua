--- The console at a failure, at a real terminal, over a worker's socket: lines of Lua, other arguments, other code.
local fs         = require "native.fs"
local process    = require "native.process"
local repository = require "tests.kills.repository"
local task       = require "native.task"

local PROCEDURE = [[
-- Fails until somebody has made a file.
local lib = require "demo.lib"
local arg = parameters { word = { "what is said", default = "one" } }
local here, folder = env.hosts["local"], env.folder
step "Count" { run = function() lib.line(here, folder .. "/count", "begin") end }
step "Look" { run = function()
  lib.set(here, folder .. "/said", arg.word)
  here:read { "test", "-e", folder .. "/ready-" .. arg.word }
end }
step "End" { run = function() lib.line(here, folder .. "/count", "end " .. arg.word) end }
]]

local function new_world()
  local world = repository.new(scratch())
  fs.write(world.folder .. "/procedures/demo/it.lua", PROCEDURE, { mode = "0644" })
  return world
end

local PATIENCE = 20 -- seconds

--- A terminal with neap in it.
local Terminal = {}
Terminal.__index = Terminal

local function terminal(world, line, variables)
  local env = world:environment()
  env.TERM, env.COLUMNS, env.CI = "dumb", "80", "true"
  for name, value in pairs(variables or {}) do env[name] = value end
  local self = setmetatable({ shown = "", at = 1 }, Terminal)
  self.stream = process.spawn({ "script", "-qec", repository.NEAP .. " " .. line, "/dev/null" },
    { env = env, clear_env = true, reads = true })
  return self
end

--- Waits until the pattern is shown, behind what was waited for before.
function Terminal:expect(pattern)
  local until_then = task.now() + PATIENCE
  while true do
    local from, to = self.shown:find(pattern, self.at)
    if from then
      local text = self.shown:sub(self.at, to)
      self.at = to + 1
      return text
    end
    if task.now() > until_then then error(("no %q in %s"):format(pattern, self.shown:sub(self.at)), 2) end
    local ok, piece = pcall(task.deadline, PATIENCE, self.stream.read, self.stream)
    if not ok or not piece then error(("ended before %q: %s"):format(pattern, self.shown:sub(self.at)), 2) end
    self.shown = self.shown .. piece
  end
end

function Terminal:type(text)
  self.stream:write(text .. "\n")
end

function Terminal:rest()
  task.deadline(PATIENCE, function()
    for piece in function() return self.stream:read() end do self.shown = self.shown .. piece end
  end)
  self.stream:close()
  return self.shown:sub(self.at)
end

--- At the failure of the second step, asked what to do.
local function at_failure(world, command, environment)
  local self = terminal(world, command, environment)
  self:expect "1 lab 1%.2> "
  return self
end

--- There, typing lines.
local function typing(world, command)
  local self = at_failure(world, command)
  self:type "s"
  self:expect "neap lab 1/1%.2> "
  return self
end

function Terminal:leave_lines()
  self:type ":q"
  self:expect "1 lab 1%.2> "
end

function Terminal:quit()
  self:type "q"
  self:rest()
end

describe("the console at a failure, over a worker's socket,", function()
  it("runs lines, also after it was left and the run taken up again, and rolls them back", function()
    local world = new_world()
    local first = typing(world, "run demo/it --env lab --yes")
    first:type "env.hosts['local']:read { 'echo', 'it is', 'read' }"
    first:expect "\nit is read"
    first:expect "neap lab 1/1%.2> "
    first:type "file.write(env.hosts['local'], env.folder .. '/ready-one', 'yes')"
    first:expect "apply on lab%? %[y/N/all%] "
    equal(fs.exists(world.data .. "/ready-one"), false)
    first:type "n"
    matches(first:expect "neap lab 1/1%.2> ", "! not applied")
    equal(fs.exists(world.data .. "/ready-one"), false)
    first:leave_lines()
    first:quit()
    local second = typing(world, "resume 1 --env lab")
    second:type "file.write(env.hosts['local'], env.folder .. '/ready-one', 'yes')"
    second:expect "apply on lab%? %[y/N/all%] "
    second:type "y"
    second:expect "neap lab 1/1%.2> "
    equal(fs.read(world.data .. "/ready-one"), "yes")
    second:leave_lines()
    second:type "r"
    matches(second:rest(), "DONE")
    equal(fs.read(world.data .. "/count"), "begin\nend one\n")
  end)

  it("loses nothing when the terminal goes while a line is asked about", function()
    local world = new_world()
    local first = typing(world, "run demo/it --env lab --yes")
    first:type "file.write(env.hosts['local'], env.folder .. '/ready-one', 'yes')"
    first:expect "apply on lab%? %[y/N/all%] "
    first.stream:close()
    local second
    for _ = 1, 100 do -- until the worker has let go
      second = terminal(world, "resume 1 --env lab")
      local ok = pcall(second.expect, second, "1 lab 1%.2> ")
      if ok then break end
      second:rest()
      task.sleep(0.1)
    end
    equal(fs.exists(world.data .. "/ready-one"), false)
    second:type "b"
    second:expect "everything%): "
    second:type "all"
    matches(second:rest(), "ROLLED BACK")
    equal(fs.read(world.data .. "/count"), "begin\nnot begin\n")
  end)

  it("ends with Ctrl-C the line alone", function()
    local world = new_world()
    local first = typing(world, "run demo/it --env lab --yes")
    first:type "env.hosts['local']:read { 'sleep', '30' }"
    task.sleep(0.7)
    first.stream:write "\3"
    first:expect "ending the line"
    first:expect "neap lab 1/1%.2> "
    first:type "1 + 1"
    first:expect "\n2"
    first:leave_lines()
    first:quit()
  end)

  it("takes other arguments from an editor, and other code", function()
    local world = new_world()
    fs.write(world.data .. "/ready-two", "", { mode = "0644" })
    local first = at_failure(world, "run demo/it --env lab --yes", { EDITOR = "sed -i s/^word=one/word=three/" })
    first:type "e"
    first:expect "%(a, c%): "
    first:type "a"
    first:expect "because: "
    first:type "it was meant"
    first:expect "word: one %-> three"
    first:expect "1 lab 1%.2> "
    first:quit()
    local second = terminal(world, "resume 1 --env lab", { EDITOR = "sed -i s/ready-/no-matter-/" })
    matches(second:expect "1 lab 1%.2> ", "arguments changed by .*word: one %-> three %(it was meant%)")
    second:type "e"
    second:expect "%(a, c%): "
    second:type "c"
    second:expect "because: "
    second:type "it need not be there"
    second:expect "code changed by"
    second:expect "1 lab 1%.2> "
    second:quit()
    local third = world:neap(nil, "resume", "1", "--env", "lab", "-p", "word=two", "--reason", "typo", "--no-input")
    equal(third.status, 5)
    matches(world:neap(nil, "log", "1", "--env", "lab").out, "arguments changed by .*word: three %-> two %(typo%)")
    fs.write(world.data .. "/no-matter-two", "", { mode = "0644" })
    equal(world:neap(nil, "resume", "1", "--env", "lab", "--no-input").status, 0)
    equal(fs.read(world.data .. "/count"), "begin\nend two\n")
  end)
end)
