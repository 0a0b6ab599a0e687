local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local hosts   = require "neap.targets.host"
local process = require "native.process"
local sshd    = dofile("tests/sshd.lua")
local task    = require "native.task"
local witness = require "neap.targets.witness"

local ROOT = process.user().uid == 0
local server

after_each(function()
  if server then server.stop() end
  server = nil
end)

--- An environment's hosts with one behind a real sshd, called `far`.
local function far(more)
  local entries
  server, entries = sshd.far(scratch(), more)
  return entries
end

--- Ends the connections of the server, which goes on listening.
local function cut()
  local text = "ss -Htnp state established sport = :%d | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | xargs kill -9"
  process.run { "sh", "-c", text:format(server.port) }
end

local function within(entries, fn)
  local run = fixture.run(entries)
  return fixture.within(run, changing, function() return fn(run) end)
end

describe("a host", function()
  it("reads by an argument list and by a text", function()
    within(nil, function()
      local here = hosts.of "local"
      equal(here:read { "echo", "it's", "$HOME" }, "it's $HOME\n")
      equal(here:read_shell "echo a | tr a b", "b\n")
      equal(here:read({ "cat" }, { input = "in" }), "in")
      equal(here:read({ "sh", "-c", "pwd; echo $A; exit 4" }, { cwd = "/usr", env = { A = "x y" }, ok = { 4 } }),
        "/usr\nx y\n")
    end)
  end)

  it("names command, host, exit status and last lines of what fails", function()
    within(nil, function()
      local failure = raises(hosts.of("local").read, hosts.of "local", { "sh", "-c", "echo no such >&2; exit 3" })
      equal({ failure.kind, failure.host, failure.code, failure.output }, { "remote", "local", 3, "no such" })
      matches(failure.message, "failed on local %(exit status 3%)$")
    end)
  end)

  it("is known by name, entry and object, and nothing else", function()
    within({ far = { name = "far", ssh = "far.example", address = "10.0.0.1" }, both = { { name = "far" } } },
      function()
      equal(hosts.of("far").address, "10.0.0.1")
      equal(hosts.of(hosts.of "far").name, "far")
      equal(hosts.of { name = "far" } == hosts.of "far", true)
      equal(raises(hosts.of, "near").kind, "missing")
      matches(raises(hosts.of, "both").message, "group of hosts")
    end)
  end)

  it("refuses options that it does not know", function()
    within(nil, function()
      matches(raises(hosts.of("local").read, hosts.of "local", { "id" }, { becom = "root" }), "becom.*become")
    end)
  end)

  it("acts as another user where it is told to, or where its entry says so", function()
    if not ROOT then skip "needs root" end
    within({ ["local"] = { name = "local", become = "games" } }, function()
      local here = hosts.of "local"
      equal(here:read { "id", "-un" }, "games\n")
      equal(here:read({ "id", "-un" }, { become = false }), "root\n")
      equal(here:read_shell("id -un; pwd", { become = "daemon", cwd = "/usr" }), "daemon\n/usr\n")
    end)
  end)
end)

describe("a host behind ssh", function()
  it("reads and runs over one session", function()
    within(far(), function()
      local host = hosts.of "far"
      equal(host:read { "echo", "it's" }, "it's\n")
      equal(witness.run("far", { witness = "a", place = witness.prepare "far" }, { "cat" }, { input = "a\0b" }).out,
        "a\0b")
      equal(hosts.files("far"):read("/etc/hostname") ~= "", true)
      local _, count = sshd.read(server.log):gsub("Accepted publickey", "")
      equal(count, 1)
    end)
  end)

  it("is connected anew after the connection broke", function()
    within(far(), function()
      local host = hosts.of "far"
      equal(host:read { "echo", "one" }, "one\n")
      equal(hosts.files("far"):lstat("/etc").type, "directory")
      local failure = raises(host.read, host, { "sh", "-c", "kill -9 $PPID; sleep 5" })
      equal({ failure.kind, failure.host }, { "lost", "far" })
      equal(host:read { "echo", "two" }, "two\n")
      equal(hosts.files("far"):lstat("/etc").type, "directory")
    end)
  end)

  it("follows a command on whose connection broke, and shows each byte once", function()
    within(far(), function()
      local path, seen = scratch() .. "/log", {}
      local result = witness.run("far", { witness = "a", place = witness.prepare "far" },
        "echo started >>" .. path .. "; for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done", {
          on_output = function(bytes)
            seen[#seen + 1] = bytes
            if #seen == 2 then cut() end
          end,
        })
      equal(result.out, "1\n2\n3\n4\n5\n6\n7\n8\n")
      equal(table.concat(seen), result.out)
      equal(fs.read(path), "started\n")
      local _, count = sshd.read(server.log):gsub("Accepted publickey", "")
      equal(count, 2)
    end)
  end)

  it("says which sudo rule is missing", function()
    if not ROOT then skip "needs root" end
    within({ ["local"] = { name = "local" } }, function()
      -- nobody may become root here: neap itself becomes nobody first
      local result = { out = "", err = "sudo: a password is required\n", status = 1 }
      local failure = raises(hosts.check, "local", { "nginx", "-t" }, result, { become = "root" })
      equal(failure.kind, "denied")
      matches(failure.message, "root on local may not run this as root: nginx %-t")
      matches(failure.hint, "NOPASSWD: nginx")
      equal(failure.output, "sudo: a password is required")
    end)
  end)

  it("that nobody answers is a definite failure", function()
    within({ far = { name = "far", ssh = "127.0.0.1", port = sshd.free_port() } }, function()
      equal(raises(hosts.of("far").read, hosts.of "far", { "id" }).kind, "connect")
      equal(raises(witness.prepare, "far").kind, "connect")
    end)
  end)

  it("makes one session for many tasks", function()
    within(far(), function()
      local reading = {}
      for i = 1, 5 do reading[i] = task.spawn(function() return hosts.of("far"):read { "echo", tostring(i) } end) end
      for i = 1, 5 do equal(select(2, reading[i]:wait()), i .. "\n") end
      local _, count = sshd.read(server.log):gsub("Accepted publickey", "")
      equal(count, 1)
    end)
  end)
end)

describe("who a host is", function()
  it("is held to from the plan on", function()
    local entries = far()
    local trial = fixture.trial({ 'host.of "far":read { "true" }' }, "", entries)
    local model = trial:plan()
    matches(model.pins.far, "^ssh%-ed25519 SHA256:")
    model.pins.far = "ssh-ed25519 SHA256:other"
    local outcome = trial:start { plan = model }
    equal({ outcome.exit, outcome.failure.code }, { 8, "identity" })
    matches(outcome.failure.message, "shows another host key than the one this run was made for")
  end)

  it("may be vouched for by its fingerprint where known_hosts does not know it", function()
    local entries = far()
    sshd.write(entries.far.overrides.known_hosts, "")
    local text = 'host.trust("far", "%s") host.of "far":read { "true" }'
    local right = sshd.fingerprint(server.host_key())
    equal(fixture.trial({ text:format(right) }, "", entries):start().status, "done")
    local wrong = "SHA256:" .. ("A"):rep(43)
    local outcome = fixture.trial({ text:format(wrong) }, "", entries):start()
    equal(outcome.status, "failed")
    matches(outcome.failure.message, "is not known")
    matches(tostring(fixture.trial({ 'host.trust("far", "x")' }, "", entries):start().failure), "takes a fingerprint")
  end)
end)
