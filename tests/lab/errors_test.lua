--- What neap says when a host, a right or a disk is not as it must be: what happened, where, in which state all is, what to
--- do next; and that nothing is half done then, by the target's own bytes.
local fs      = require "native.fs"
local process = require "native.process"
local world   = require "tests.lab.world"

local COUNTER, FILE, KNOWN = "/home/ops/counter", "/srv/file", os.getenv "HOME" .. "/.ssh/known_hosts"

-- A line on one host, then a file of root's on another, and a command as root.
local STEPS = [[
-- A line, a file, a command as root.
local arg = parameters { size = { "bytes of the file", type = "number", default = 4 } }
local old, proxy = env.hosts.old, env.hosts.proxy1
local function line(host, become)
  host:run({ "sh", "-c", 'echo line >>"$1"', "sh", "/home/ops/counter" }, { become = become, keep = "a line" })
end
phase "One"
step "Line" { run = function() line(old) end }
step "File" { run = function() file.write(proxy, "/srv/file", ("n"):rep(arg.size), { become = "root" }) end }
step "Root" { run = function() line(proxy, "root") end }
]]

-- The command alone.
local ROOT = [[
-- A line, a command as root.
local function line(host, become)
  host:run({ "sh", "-c", 'echo line >>"$1"', "sh", "/home/ops/counter" }, { become = become, keep = "a line" })
end
phase "One"
step "Line" { run = function() line(env.hosts.old) end }
step "Root" { run = function() line(env.hosts.proxy1, "root") end }
]]

-- A line before a gate and one behind it.
local GATED = [[
-- A line, a gate, a line.
local arg = parameters { gate = "a file of this machine" }
local function line(host)
  host:run({ "sh", "-c", 'echo line >>"$1"', "sh", "/home/ops/counter" }, { keep = "a line" })
end
phase "One"
step "Line" { run = function() line(env.hosts.old) end }
await "The gate is open" { every = "1s", check = function()
  return env.hosts["local"]:read { "sh", "-c", 'if test -e "$1"; then echo open; fi', "sh", arg.gate } ~= ""
end }
step "Behind" { run = function() line(env.hosts.proxy1) end }
]]

local RUN = "run trial/steps --env lab"

local function new() return world.new(scratch(), { steps = STEPS, root = ROOT, gated = GATED }) end

local function shell(text)
  local result = process.run({ "sh", "-c", text }, { reads = true, timeout = 60 })
  if result.status ~= 0 then error(result.err, 2) end
  return result.out
end

--- The proxy as it was before, but for what the tests did to it.
local function reset()
  world.lab("reset", "proxy1")
  world.on("old", "rm -f " .. COUNTER)
  world.on("proxy1", ("umask 027; printf old >%s"):format(FILE))
end

local function bytes() return world.file("proxy1", FILE) end

local function count() return { old = #world.lines("old", COUNTER), proxy1 = #world.lines("proxy1", COUNTER) } end

--- Names in the folder of the file: a temporary one that was left would be among them.
local function names() return world.on("proxy1", "ls -A /srv") end

--- The four parts of a run that stopped at its second step.
local function check_stopped(text, what, where)
  matches(text, "FAILED  1.[23] ")
  matches(text, what)
  matches(text, "where +procedures/trial/%w+.lua:%d+, host " .. where)
  matches(text, "WHAT IS CHANGED NOW\n  old sh %-c 'echo line[^\n]+ Line +keep")
  matches(text, "WHAT NEXT\n  neap resume 1 %-%-env trial/lab")
  truthy(not text:find "IN DOUBT")
end

local function check_finished(self, words)
  self:expect(0, words or "resume 1")
  equal(count(), { old = 1, proxy1 = 1 })
end

describe("a host's key", function()
  local known

  before_each(function()
    reset()
    known = fs.read(KNOWN)
  end)
  after_each(function() fs.write(KNOWN, known, { mode = "0600" }) end)

  local function fingerprint()
    return world.on("proxy1", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"):match "SHA256:%S+"
  end

  it("that is not the known one stops the run before the host is touched", function()
    local self, before, first = new(), bytes(), fingerprint()
    world.lab("rekey", "proxy1")
    local text = self:expect(5, RUN)
    check_stopped(text, "the key of proxy1 is not the known one: it shows ssh%-ed25519 SHA256:", "proxy1")
    truthy(text:find(fingerprint(), 1, true) and text:find(first, 1, true))
    matches(text, "%.ssh/known_hosts:%d+")
    matches(text, "hint +somebody may stand between")
    matches(text, "neap host add proxy1")
    equal({ bytes(), count() }, { before, { old = 1, proxy1 = 0 } })
    matches(self:expect(1, "host add proxy1 --fingerprint " .. fingerprint()), "is not added: its key is changed")
    fs.write(KNOWN, (known:gsub("proxy1,[^\n]+\n", "")), { mode = "0600" })
    self:expect(0, "host add proxy1 --fingerprint " .. fingerprint())
    check_finished(self)
  end)

  it("that is not known is shown, with what makes it known", function()
    local self, before = new(), bytes()
    fs.write(KNOWN, (known:gsub("proxy1,[^\n]+\n", "")), { mode = "0600" })
    local text = self:expect(5, RUN)
    check_stopped(text, "the key of proxy1 is not known: ssh%-ed25519 SHA256:", "proxy1")
    truthy(text:find(fingerprint(), 1, true))
    matches(text, "hint +compare the fingerprint with the host's own, then run: neap host add proxy1")
    equal(bytes(), before)
    self:expect(1, "host add proxy1 --fingerprint SHA256:2kq8YlKmlMdPp0JqvKQ0bEnbK1Q3YB3vUfgNrTq0nHk")
    self:expect(0, "host add proxy1 --fingerprint " .. fingerprint())
    check_finished(self)
  end)
end)

describe("a right that is missing", function()
  before_each(reset)

  it("to log in: the keys that were tried are named", function()
    local self, before = new(), bytes()
    world.on("proxy1", "mv /home/ops/.ssh/authorized_keys /home/ops/.ssh/away")
    local text = self:expect(5, RUN)
    check_stopped(text, "ops@proxy1 accepts none of the 1 keys tried", "proxy1")
    matches(text, "| ssh%-ed25519 SHA256:%S+ %(%S+/%.ssh/id_ed25519%): ")
    matches(text, "hint +the server takes: publickey")
    equal(bytes(), before)
    world.on("proxy1", "mv /home/ops/.ssh/away /home/ops/.ssh/authorized_keys")
    check_finished(self)
  end)

  it("to act as root on files: the line that sudoers lacks is named, and the file is as it was", function()
    local self, before = new(), bytes()
    world.on("proxy1", "echo 'ops ALL=(ALL:ALL) NOPASSWD: /bin/true' >/etc/sudoers.d/ops")
    local text = self:expect(5, RUN)
    check_stopped(text, "ops on proxy1 may not reach files as root", "proxy1")
    matches(text, "| sudo: ")
    matches(text, "sudoers on proxy1 lacks: ops ALL=%(root%) NOPASSWD: /usr/lib/openssh/sftp%-server")
    equal({ bytes(), names() }, { before, "file" })
    world.on("proxy1", "echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops")
    check_finished(self)
  end)

  it("to run one program as root: that program is named, and it has not run", function()
    local self = new()
    world.on("proxy1", "echo 'ops ALL=(ALL:ALL) NOPASSWD: /bin/true' >/etc/sudoers.d/ops")
    local text = self:expect(5, "run trial/root --env lab")
    check_stopped(text, "ops on proxy1 may not run this as root: sh %-c", "proxy1")
    matches(text, "sudoers on proxy1 lacks: ops ALL=%(root%) NOPASSWD: sh")
    equal(count(), { old = 1, proxy1 = 0 })
    world.on("proxy1", "echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops")
    check_finished(self)
  end)
end)

describe("a full disk on a host", function()
  before_each(reset)
  after_each(function() world.lab("unfill", "proxy1") end)

  it("leaves the file as it was, and nothing beside it", function()
    local self, before = new(), bytes()
    world.lab("fill", "proxy1", "131072")
    local text = self:expect(5, RUN .. " -p size=1000000")
    check_stopped(text, "/srv/file on proxy1 was not written: it needs 1000000 bytes, and 124 KiB are free", "proxy1")
    equal({ bytes(), names() }, { before, "file" })
    world.lab("unfill", "proxy1")
    check_finished(self)
    matches(bytes(), "\n640 root:root$")
  end)

  it("stops a command before it begins, and it runs once when there is room again", function()
    local self = new()
    world.lab("fill", "proxy1")
    local text = self:expect(5, "run trial/root --env lab")
    check_stopped(text, "the command could not begin on proxy1\n +| [^\n]*\n? *|? ?no room in /home/ops/", "proxy1")
    equal(count(), { old = 1, proxy1 = 0 })
    world.lab("unfill", "proxy1")
    check_finished(self)
  end)
end)

describe("the journal", function()
  local MOUNT = "/srv/journal"

  before_each(function()
    reset()
    fs.mkdir(MOUNT, "0755")
  end)
  after_each(function() shell(("umount -l %s; rmdir %s"):format(MOUNT, MOUNT)) end)

  local function mounted(size)
    shell(("mount -t tmpfs -o mode=755,size=%s journal %s"):format(size, MOUNT))
    local self = new()
    self.state = MOUNT
    return self
  end

  it("on a disk that is nearly full: nothing is begun", function()
    local self, before = mounted "12m", bytes()
    local text = self:expect(1, RUN)
    matches(text, "less than 16 MiB are free in " .. MOUNT)
    matches(text, "[Nn]othing was changed")
    matches(text, "make room there first")
    equal({ bytes(), count() }, { before, { old = 0, proxy1 = 0 } })
    shell("mount -o remount,size=64m " .. MOUNT)
    check_finished(self, RUN)
  end)

  it("on a disk that becomes full on the way: the run pauses with nothing in doubt, and resume finishes", function()
    local self = mounted "64m"
    local gate = self.folder .. "/gate"
    local running = self:start { "run", "trial/gated", "--env", "lab", "-p", "gate=" .. gate }
    world.wait_for("old", COUNTER, "line")
    -- less than what is used is refused, and the journal may still have grown since it was asked
    shell(([[for i in $(seq 20); do
      mount -o remount,size=$(df --block-size=1 --output=used %s | tail -n 1 | tr -d ' ') %s && exit 0
    done; exit 1]]):format(MOUNT, MOUNT))
    fs.write(gate, "", { mode = "0600" })
    local text = world.check(running:wait(), 5).text
    matches(text, "journal")
    matches(text, "full")
    matches(text, "WHAT IS CHANGED NOW\n  old sh %-c 'echo line[^\n]+ Line +keep")
    matches(text, "neap resume 1 %-%-env trial/lab")
    truthy(not text:find "IN DOUBT")
    equal(count(), { old = 1, proxy1 = 0 })
    matches(self:expect(5, "resume 1"), "less than 16 MiB are free in " .. MOUNT)
    shell("mount -o remount,size=64m " .. MOUNT)
    check_finished(self)
    self:expect(0, "log 1 --verify")
  end)

  it("on a disk that cannot be written: nothing is begun", function()
    local self, before = mounted "64m", bytes()
    self:expect(0, RUN)
    reset()
    shell("mount -o remount,ro " .. MOUNT)
    local text = self:expect(1, RUN)
    matches(text, "journal")
    matches(text, "[Rr]ead%-only")
    matches(text, "[Nn]othing was changed")
    equal({ bytes(), count() }, { before, { old = 0, proxy1 = 0 } })
  end)

  it("in a folder that everybody may write to: nothing is begun", function()
    local self = new()
    self:expect(0, RUN)
    reset()
    local before, folder = bytes(), self.state .. "/neap/trial/lab"
    shell("chmod 777 " .. folder)
    local text = self:expect(1, RUN)
    matches(text, "everybody may write to " .. folder:gsub("%-", "%%-") .. " %(mode 0777%)")
    matches(text, "chmod o%-w " .. folder:gsub("%-", "%%-"))
    equal({ bytes(), count() }, { before, { old = 0, proxy1 = 0 } })
    shell("chmod 700 " .. folder)
    check_finished(self, RUN)
  end)
end)
