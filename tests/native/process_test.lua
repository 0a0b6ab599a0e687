local eventually = require "tests.eventually"
local process    = require "native.process"
local task       = require "native.task"
local fault      = require "native.error"

local function parent_group(pid)
  local file <close> = io.open("/proc/" .. pid .. "/stat")
  return file:read("a"):match("%) %a (%d+) (%d+)")
end

local function descriptors()
  local count = 0
  for number = 0, 255 do
    local target = io.open("/proc/self/fdinfo/" .. number)
    if target then
      target:close()
      count = count + 1
    end
  end
  return count
end

local others = {} -- children that were there before: servers of other tests in this process

--- Those that neap has started since, which lead a group each; an orphan of others that falls to this process does not.
local function children()
  local file <close> = io.open("/proc/self/task/" .. process.pid() .. "/children")
  local list = {}
  for pid in file:read("a"):gmatch "%d+" do
    local ok, _, leader = pcall(parent_group, pid)
    if ok and leader == pid and not others[pid] then list[#list + 1] = pid end
  end
  return table.concat(list, " ")
end

before_each(function()
  others = {}
  for pid in children():gmatch "%d+" do others[pid] = true end
end)

local function sh(text, options)
  options = options or {}
  options.reads = true
  return process.run({ "/bin/sh", "-c", text }, options)
end

describe("process.run", function()
  it("returns output, error output and status", function()
    equal(sh("echo to out; echo to err >&2; exit 3"),
      { out = "to out\n", err = "to err\n", out_bytes = 7, err_bytes = 7, status = 3 })
  end)

  it("returns the signal that ended the program", function()
    local result = sh("kill -9 $$")
    equal({ result.status, result.signal }, { nil, "KILL" })
  end)

  it("looks programs up on PATH", function() equal(process.run({ "echo", "a b" }, { reads = true }).out, "a b\n") end)

  it("takes PATH from the environment it gives", function()
    local failure = raises(process.run, { "echo" }, { reads = true, env = { PATH = "/nowhere" } })
    equal(failure.kind, "missing")
  end)

  it("passes arguments as they are, without a shell", function()
    equal(process.run({ "printf", "%s|", "$HOME", "a b", "*", "" }, { reads = true }).out, "$HOME|a b|*||")
  end)

  it("writes the input while it reads, however large both are", function()
    local input = ("0123456789abcdef"):rep(500000)
    local result = process.run({ "cat" }, { reads = true, input = input, limit = #input })
    equal(result.out_bytes, #input)
    truthy(result.out == input) -- equal would print both
  end)

  it("gives an empty input where none is given", function() equal(process.run({ "cat" }, { reads = true }).out, "") end)

  it("does not mind a program that leaves its input unread", function()
    equal(sh("exit 4", { input = ("x"):rep(1000000) }).status, 4)
    equal(sh("exec <&-; sleep 0.1; exit 5", { input = ("x"):rep(1000000) }).status, 5)
  end)

  it("keeps the beginning and the end of a long output", function()
    local result = sh("echo begin; yes | head -c 5000000; echo end")
    equal(result.out_bytes, 5000010)
    local _, after, cut = result.out:find("\n%[(%d+) bytes left out%]\n")
    equal({ cut, result.out:sub(1, 8), result.out:sub(-6) }, { "3885898", "begin\ny\n", "y\nend\n" })
    equal(#result.out - after, 1024 * 1024)
  end)

  it("shows each piece as it comes", function()
    local pieces = {}
    local began, first = task.now(), nil
    sh("echo one; sleep 0.2; echo two >&2", { on_output = function(bytes, side)
      first = first or task.now() - began
      pieces[#pieces + 1] = side .. ":" .. bytes
    end })
    equal(pieces, { "out:one\n", "err:two\n" })
    truthy(first < 0.15)
  end)

  it("lets the callback wait", function()
    local seen = 0
    local result = sh("for i in 1 2 3 4; do echo $i; sleep 0.01; done", { on_output = function(bytes)
      task.sleep(0.05)
      seen = seen + #bytes
    end })
    equal({ seen, result.out }, { 8, "1\n2\n3\n4\n" })
  end)

  it("ends the program when the callback fails", function()
    local before = descriptors()
    local failure = raises(sh, "echo x; sleep 60", {
      on_output = function() fault.raise { kind = "remote", message = "no" } end,
    })
    equal(failure.message, "no")
    equal(descriptors(), before)
    eventually(function() return children() == "" end, 5)
  end)

  it("raises timeout with the last lines, and ends the group", function()
    local began = task.now()
    local failure = raises(sh, "echo working; sleep 61 & echo $!; wait", { timeout = 0.3 })
    truthy(task.now() - began < 10)
    equal(failure.kind, "timeout")
    matches(failure.output, "^working\n")
    local grandchild = math.tointeger(failure.output:match("(%d+)\n$"))
    eventually(function() return not process.alive(grandchild) and children() == "" end, 5)
  end)

  it("kills what does not end at TERM", function()
    local failure = raises(sh, "trap '' TERM; echo $$; while :; do sleep 0.05; done", { timeout = 0.2 })
    local pid = math.tointeger(failure.output:match("%d+"))
    task.sleep(1)
    truthy(process.alive(pid))
    eventually(function() return not process.alive(pid) and children() == "" end, 5)
  end)

  it("kills a member of the group that outlives its leader", function()
    local failure = raises(sh, "(trap '' TERM; while :; do sleep 0.05; done) & echo $!; wait", { timeout = 0.2 })
    local pid = math.tointeger(failure.output:match("%d+"))
    eventually(function() return not process.alive(pid) and children() == "" end, 5)
  end)

  it("ends a cancelled task's program", function()
    local running = task.spawn(sh, "sleep 62")
    task.sleep(0.1)
    truthy(children() ~= "")
    running:cancel()
    local ok, failure = running:wait()
    equal({ ok, failure.kind }, { false, "cancelled" })
    eventually(function() return children() == "" end, 5)
  end)

  it("does not wait for a program that was left behind with the pipe", function()
    local began = task.now()
    local result = sh("sleep 3 & echo done")
    equal({ result.out, result.status }, { "done\n", 0 })
    truthy(task.now() - began < 2.5)
  end)

  it("does not read for ever from a program that was left behind", function()
    local began = task.now()
    local result = sh("(timeout 3 yes) & exit 6")
    equal(result.status, 6)
    truthy(task.now() - began < 2.8)
  end)

  it("lets others run while there is always something to read", function()
    local ticks = 0
    local ticking = task.spawn(function()
      while true do
        task.sleep(0.01)
        ticks = ticks + 1
      end
    end)
    raises(sh, "exec yes", { timeout = 0.4 })
    ticking:cancel()
    ticking:wait()
    truthy(ticks > 10)
  end)

  it("says that a program is missing", function()
    local failure = raises(process.run, { "no-such-program" }, { reads = true })
    equal(failure.kind, "missing")
    matches(failure.message, "no%-such%-program")
    equal(raises(process.run, { "/no/such" }, { reads = true }).kind, "missing")
  end)

  it("says that a file is no program", function()
    equal(raises(process.run, { "/etc/passwd" }, { reads = true }).kind, "denied")
    equal(raises(process.run, { "/etc" }, { reads = true }).kind, "denied")
  end)

  it("starts in a folder", function()
    equal(process.run({ "pwd" }, { reads = true, cwd = "/usr" }).out, "/usr\n")
    local failure = raises(process.run, { "pwd" }, { reads = true, cwd = "/no/such" })
    equal(failure.kind, "missing")
    matches(failure.message, "/no/such")
  end)

  it("inherits the environment, with changes", function()
    local result = sh("echo $A; echo ${HOME-none}; echo ${PATH:+path}", { env = { A = "b c", HOME = false } })
    equal(result.out, "b c\nnone\npath\n")
  end)

  it("gives only the environment it is told to", function()
    local result = process.run({ "/usr/bin/env" }, { reads = true, clear_env = true, env = { A = "1" } })
    equal(result.out, "A=1\n")
  end)

  it("refuses wrong arguments", function()
    for _, arguments in ipairs {
      { {} }, { { "a\0b" } }, { { "echo", 1 } }, { { "echo" }, { reads = true, environment = {} } },
      { { "echo" }, { reads = true, env = { ["A=B"] = "1" } } }, { { "echo" }, { reads = true, env = { A = 1 } } },
      { { "echo" }, { reads = true, input = {} } }, { { "echo" }, { reads = true, limit = 0 } },
    } do
      local failure = raises(process.run, arguments[1], arguments[2] or { reads = true })
      equal(type(failure), "string")
    end
  end)

  it("needs leave to change, unless it reads", function()
    equal(raises(process.run, { "true" }).kind, "denied")
    equal(raises(process.spawn, { "true" }).kind, "denied")
    equal(changing(process.run, { "true" }).status, 0)
  end)

  it("gives a program nothing but its three descriptors and no odd signals", function()
    local result = process.run({ "ls", "/proc/self/fd" }, { reads = true })
    equal(result.out, "0\n1\n2\n3\n") -- 3 is ls's own
    matches(process.run({ "cat", "/proc/self/status" }, { reads = true }).out, "SigIgn:\t%x+[08]0000000\n")
  end)

  it("leaves neither descriptors nor zombies", function()
    sh("true")
    local before = descriptors()
    for _ = 1, 20 do sh("echo x") end
    pcall(process.run, { "no-such-program" }, { reads = true })
    pcall(process.run, { "/etc/passwd" }, { reads = true })
    equal({ descriptors(), children() }, { before, "" })
  end)

  it("runs many side by side", function()
    local began, running = task.now(), {}
    for i = 1, 30 do running[i] = task.spawn(sh, "sleep 0.3; echo " .. i) end
    for i = 1, 30 do
      local _, result = running[i]:wait()
      equal(result.out, i .. "\n")
    end
    truthy(task.now() - began < 3)
  end)
end)

describe("process", function()
  it("starts programs in a session of their own", function()
    local child <close> = process.spawn({ "sh", "-c", "echo $$; exec sleep 63" }, { reads = true })
    local pid = child:read():match("%d+")
    local parent, group = parent_group(pid)
    equal({ tonumber(parent), group }, { process.pid(), pid })
  end)

  it("knows itself and its machine", function()
    equal(process.environ("HOME"), os.getenv("HOME"))
    equal(process.environ("NO_SUCH_VARIABLE"), nil)
    equal(process.hostname(), (io.open("/proc/sys/kernel/hostname"):read("l")))
    matches(process.boot_id(), "^%x+%-%x+%-%x+%-%x+%-%x+$")
    local user = process.user()
    equal({ user.name .. "\n", user.uid .. "\n" }, { sh("id -un").out, sh("id -u").out })
    truthy(user.home)
  end)

  it("tells a process by its start time", function()
    local pid = process.pid()
    equal(math.type(process.start_time(pid)), "integer")
    equal(process.start_time(pid), process.start_time(pid))
    equal(process.start_time(2 ^ 30 | 0), nil)
    truthy(process.alive(pid))
    truthy(not process.alive(2 ^ 30 | 0))
    truthy(not process.alive(0))
  end)
end)
