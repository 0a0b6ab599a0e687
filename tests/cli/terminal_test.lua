--- Questions at a real terminal, asked by a run that another process owns.
local fs      = require "native.fs"
local process = require "native.process"
local task    = require "native.task"

local PROCEDURE = [[
-- Writes where it may, and then where it may not.
local here, folder = env.hosts["local"], env.folder
step "First" { run = function() here:run({ "touch", folder .. "/first" }, { undo = { "rm", folder .. "/first" } }) end }
step "Second" {
  run = function()
    here:run({ "touch", folder .. "/gate/second" }, { undo = { "rm", "-f", folder .. "/gate/second" } })
  end,
  hint = "make the gate",
}
manual "Look at it" { evidence = "what you see", timeout = "2s" }
]]

local SLOW = [[
step "Take a while" { run = function() env.hosts["local"]:run({ "sleep", "1" }, { keep = "harmless" }) end }
manual "Look at it" {}
]]

local LOUD = [[
step "Say much" { run = function()
  file.write("local", env.folder .. "/conf", ("# a line that fills the file\n"):rep(200) .. "listen 80\n")
  local text = "{ head -c 6000 /dev/zero | tr '\\0' z; printf ' gr\\366\\337er\\n'; } >&2; exit 3"
  env.hosts["local"]:run({ "sh", "-c", text }, { undo = { "true" } })
end }
]]

--- neap on a terminal of its own: what it prints is waited for, what a person types is written.
local terminal = {}
terminal.__index = terminal

local function new_terminal(root, line)
  local environment = { HOME = root, XDG_STATE_HOME = root .. "/state", NEAP_PATH = root, TERM = "dumb",
    COLUMNS = "100", PATH = process.environ "PATH", LC_ALL = "C.UTF-8", NEAP_LUA = os.getenv "NEAP_LUA" }
  local command = ("%s %s; echo neap ended with $?"):format(process.executable(), line)
  local child = process.spawn({ "script", "-qec", command, "/dev/null" },
    { env = environment, clear_env = true, reads = true })
  return setmetatable({ child = child, seen = "", from = 1 }, terminal)
end

function terminal:expect(text)
  task.deadline(20, function()
    while not self.seen:find(text, self.from, true) do
      local bytes = self.child:read()
      if not bytes then error(("the terminal closed before %q:\n%s"):format(text, self.seen), 0) end
      self.seen = self.seen .. bytes
    end
  end)
  self.from = select(2, self.seen:find(text, self.from, true)) + 1
end

function terminal:type(line) self.child:write(line .. "\r") end

function terminal:close()
  self:expect "neap ended with "
  local status = self.seen:match("(%d+)", self.from)
  self.child:close()
  return tonumber(status)
end

describe("at a terminal", function()
  local root

  before_each(function()
    root = fs.realpath(scratch())
    fs.mkdir(root .. "/procedures/demo/environments", "0755")
    fs.mkdir(root .. "/data", "0755")
    fs.write(root .. "/procedures/demo/it.lua", PROCEDURE, { mode = "0644" })
    fs.write(root .. "/procedures/demo/loud.lua", LOUD, { mode = "0644" })
    fs.write(root .. "/procedures/demo/slow.lua", SLOW, { mode = "0644" })
    local values = ("values: { folder: %s/data }\n"):format(root)
    fs.write(root .. "/procedures/demo/environments/lab.yml", values, { mode = "0644" })
  end)

  local function at_failure(line)
    local on = new_terminal(root, line)
    on:expect "FAILED  1.2 Second"
    on:expect "1 lab 1.2> "
    return on
  end

  local function look_at_it(on)
    on:expect "done / stop? "
    on:type "done"
    on:expect "What shows it (what you see): "
    on:type "a cable"
  end

  for _, how in ipairs { "", " --foreground" } do
    it("a failure is looked at, mended, and attempted again; evidence is typed" .. how, function()
      local on = at_failure("run demo/it --env lab" .. how)
      on:type "l"
      on:expect "No such file or directory"
      on:expect "1 lab 1.2> "
      fs.mkdir(root .. "/data/gate", "0755")
      on:type "r"
      look_at_it(on)
      equal(on:close(), 0)
    end)

    it("a rollback to the beginning is one key" .. how, function()
      local on = at_failure("run demo/it --env lab" .. how)
      on:type "b"
      on:expect "Back to which step"
      on:type "all"
      on:expect "ROLLED BACK"
      equal({ on:close(), fs.exists(root .. "/data/first") }, { 4, false })
    end)
  end

  it("a question is left open by a terminal that is lost, and asked again at the next", function()
    at_failure("run demo/it --env lab").child:close()
    task.sleep(0.5)
    local on = at_failure "resume 1 --env lab"
    on:type "q"
    equal(on:close(), 5)
  end)

  it("a question that somebody answers at another terminal is withdrawn", function()
    local first = at_failure "run demo/it --env lab"
    local second = at_failure "resume 1 --env lab"
    fs.mkdir(root .. "/data/gate", "0755")
    second:type "r"
    first:expect "answered by"
    first:expect "Look at it"
    look_at_it(first)
    equal({ first:close(), second:close() }, { 0, 0 })
  end)

  it("a failure and a conflict show what a target says and holds, of any length, in any letters", function()
    local on = new_terminal(root, "run demo/loud --env lab")
    on:expect "zzz…"
    on:expect "1 lab 1.1> "
    on:type "l"
    on:expect "zzz gr\\xf6\\xdfer"
    fs.write(root .. "/data/conf", (fs.read(root .. "/data/conf"):gsub("listen 80", "listen 443")))
    on:type "b"
    on:expect "Back to which step"
    on:type "Say muhc"
    on:expect "no step is called \"Say muhc\". Did you mean 'Say much'?"
    on:expect "1 lab 1.1> "
    on:type "b"
    on:expect "Back to which step"
    on:type "all"
    on:expect "what is there now:"
    on:expect "-listen 80"
    on:expect "+listen 443"
    on:expect "keep / overwrite / stop? "
    on:type "keep"
    equal(on:close(), 6)
  end)

  it("what was typed before a question could be seen is no answer to it", function()
    fs.mkdir(root .. "/data/gate", "0755")
    local on = new_terminal(root, "run demo/slow --env lab")
    on:expect "> 1.1 Take a while"
    on:type "done"
    on:expect "done / stop? "
    on:type "stop"
    equal(on:close(), 5)
  end)

  it("a manual step fails when its time is over", function()
    fs.mkdir(root .. "/data/gate", "0755")
    local on = new_terminal(root, "run demo/it --env lab")
    on:expect "done / stop? "
    on:expect "FAILED  1.3 Look at it"
    on:expect "nobody said within 2.0s that it is done"
    on:expect "1 lab 1.3> "
    on:type "q"
    equal(on:close(), 5)
  end)
end)
