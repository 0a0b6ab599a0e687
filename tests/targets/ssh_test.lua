local native      = require "native.ssh"
local crypto      = require "native.crypto"
local process     = require "native.process"
local task        = require "native.task"
local known_hosts = require "neap.targets.known_hosts"
local ssh         = require "neap.targets.ssh"
local sshd        = dofile("tests/sshd.lua")

local READS = { reads = true }
local folder, key, server, known

--- A server that lets `key` in and whose key stands in the file `known`; settings are options of sshd.start.
local function start(settings)
  settings = settings or {}
  settings.users = settings.users or { key }
  server = sshd.start(folder, settings)
  sshd.write(known, server.line((settings.host_keys or {})[1]))
  return server
end

local function overrides(more)
  local all = { port = server.port, user = "root", identity_file = key, known_hosts = known, identity_agent = "none" }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function open(more, options)
  options = options or {}
  options.overrides = overrides(more)
  return ssh.open("127.0.0.1", options)
end

local function says(session, text) return session:exec(text, READS):collect {}.out end

before_each(function()
  folder = scratch()
  key = sshd.key(folder, "id", "ed25519")
  known = folder .. "/known_hosts"
end)

after_each(function()
  if server then server.stop() end
  server = nil
end)

describe("logging in", function()
  for kind, settings in pairs { ed25519 = {}, ecdsa = { bits = 384 }, rsa = { bits = 2048 } } do
    it("works with a key of type " .. kind, function()
      local path = sshd.key(folder, "user", kind, settings)
      start { users = { path } }
      local session <close> = open { identity_file = path }
      equal(says(session, "id -un"), "root\n")
    end)
  end

  it("works with an RSA key in PEM format", function()
    local path = sshd.key(folder, "user", "rsa", { pem = true })
    start { users = { path } }
    local session <close> = open { identity_file = path }
    equal(says(session, "echo ok"), "ok\n")
  end)

  it("asks once for the passphrase of an encrypted key", function()
    local path, asked = sshd.key(folder, "user", "ed25519", { passphrase = "open sesame" }), {}
    start { users = { path } }
    local shared = {}
    local function ask(prompt, how)
      asked[#asked + 1] = { prompt, how.secret }
      return "open sesame"
    end
    for _ = 1, 2 do
      local session <close> = open({ identity_file = path }, { ask = ask, shared = shared })
      equal(says(session, "echo ok"), "ok\n")
    end
    equal(asked, { { "Passphrase of " .. path .. ": ", true } })
  end)

  it("does not ask for a key that the server would refuse", function()
    local path = sshd.key(folder, "user", "ed25519", { passphrase = "open sesame" })
    start {}
    local asked = false
    local function ask() asked = true end
    equal(raises(open, { identity_file = path }, { ask = ask }).kind, "auth")
    equal(asked, false)
  end)

  it("says that a passphrase is wrong", function()
    local path = sshd.key(folder, "user", "rsa", { passphrase = "open sesame", pem = true })
    start { users = { path } }
    local failure = raises(open, { identity_file = path }, { ask = function() return "wrong" end })
    equal(failure.kind, "auth")
    matches(failure.output, "the passphrase is wrong")
  end)

  it("tells which keys were tried and what the server takes", function()
    local other = sshd.key(folder, "other", "ed25519")
    start {}
    local failure = raises(open, { identity_file = other })
    equal({ failure.kind, failure.host }, { "auth", "127.0.0.1" })
    matches(failure.message, "^root@127%.0%.0%.1 accepts none of the 1 keys tried$")
    truthy(failure.output:find(sshd.fingerprint(other), 1, true))
    matches(failure.hint, "the server takes: publickey")
  end)

  it("tries all identity files", function()
    local other = sshd.key(folder, "other", "ecdsa")
    start {}
    local session <close> = open { identity_file = { other, key, folder .. "/missing" } }
    truthy(session:facts().key:find(sshd.fingerprint(key), 1, true))
  end)

  it("works with a certificate", function()
    local authority, path = sshd.key(folder, "ca", "ed25519"), sshd.key(folder, "user", "ed25519")
    sshd.run { "ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", "root", path .. ".pub" }
    start { users = { authority }, extra = "TrustedUserCAKeys " .. authority .. ".pub" }
    local session <close> = open { identity_file = path }
    equal(says(session, "echo ok"), "ok\n")
  end)
end)

describe("an agent", function()
  local agent, socket

  local function with(...)
    socket = folder .. "/agent"
    agent = process.spawn({ "ssh-agent", "-D", "-a", socket }, READS)
    for _ = 1, 200 do
      if pcall(native.agent, socket) then break end
      task.sleep(0.01)
    end
    for _, path in ipairs { ... } do
      sshd.run({ "ssh-add", "-q", path }, { env = { SSH_AUTH_SOCK = socket, PATH = process.environ("PATH") } })
    end
  end

  after_each(function() agent:close() end)

  for _, kind in ipairs { "ed25519", "ecdsa", "rsa" } do
    it("logs in with its key of type " .. kind, function()
      local path = sshd.key(folder, "user", kind)
      with(path)
      start { users = { path } }
      os.remove(path)
      local session <close> = open { identity_agent = socket, identity_file = path }
      equal(says(session, "echo ok"), "ok\n")
    end)
  end

  it("offers only configured keys, if there are any", function()
    local path, other = sshd.key(folder, "user", "ed25519"), sshd.key(folder, "other", "ed25519")
    with(path, other)
    start { users = { path } }
    equal(raises(open, { identity_agent = socket, identity_file = other }).kind, "auth")
  end)

  it("logs in with a certificate it holds", function()
    local authority, path = sshd.key(folder, "ca", "ed25519"), sshd.key(folder, "user", "rsa")
    sshd.run { "ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", "root", path .. ".pub" }
    with(path)
    start { extra = "TrustedUserCAKeys " .. authority .. ".pub" }
    local held <close> = native.agent(socket)
    local session <close> = native.connect { host = "127.0.0.1", port = server.port }
    session:auth_methods("root")
    local accepted = false
    for _, each in ipairs(held:keys()) do accepted = accepted or session:auth_agent("root", held, each.blob) end
    truthy(accepted)
  end)
end)

describe("a host's key", function()
  it("is refused when it is unknown, with fingerprint and what to do", function()
    start {}
    sshd.write(known, "")
    local failure = raises(open)
    equal(failure.kind, "denied")
    equal(failure.message, ("the key of [127.0.0.1]:%d is not known: ssh-ed25519 %s"):format(server.port,
      sshd.fingerprint(server.host_key())))
    matches(failure.hint, "neap host add 127%.0%.0%.1")
  end)

  it("is refused when it has changed, with both fingerprints and the place", function()
    start {}
    local other = sshd.key(folder, "other", "ed25519")
    sshd.write(known, ("# old\n[127.0.0.1]:%d %s\n"):format(server.port, sshd.public(other)))
    local failure = raises(open)
    equal(failure.kind, "denied")
    for _, part in ipairs { sshd.fingerprint(other), sshd.fingerprint(server.host_key()), known .. ":2" } do
      truthy(failure.message:find(part, 1, true))
    end
    matches(failure.hint, "delete")
  end)

  it("is refused when it is revoked, even if it is known too", function()
    start {}
    sshd.write(known, server.line() .. "@revoked * " .. sshd.public(server.host_key()) .. "\n")
    local failure = raises(open)
    equal(failure.kind, "denied")
    matches(failure.message, "is revoked")
  end)

  it("is found under a hashed name", function()
    start {}
    sshd.run { "ssh-keygen", "-q", "-H", "-f", known }
    truthy(not sshd.read(known):find("127.0.0.1", 1, true))
    local session <close> = open()
    equal(session:fingerprint(), sshd.fingerprint(server.host_key()))
  end)

  it("is found under the name without a port, if it is the same", function()
    start {}
    sshd.write(known, "127.0.0.1 " .. sshd.public(server.host_key()) .. "\n")
    local session <close> = open()
    equal(says(session, "echo ok"), "ok\n")
  end)

  it("is found under its alias", function()
    start {}
    sshd.write(known, "name-of-it " .. sshd.public(server.host_key()) .. "\n")
    local session <close> = open { host_key_alias = "name-of-it" }
    equal(says(session, "echo ok"), "ok\n")
  end)

  it("of RSA is enough", function()
    start { host_keys = { "rsa" } }
    local session <close> = open()
    matches(session:facts().host_key, "^ssh%-rsa SHA256:")
  end)

  it("is asked for in the type that is known", function()
    start { host_keys = { "rsa", "ecdsa", "ed25519" } }
    local session <close> = open()
    matches(session:facts().host_key, "^ssh%-rsa SHA256:")
  end)

  it("of another type than the known one has its own message", function()
    start {}
    local other = sshd.key(folder, "other", "ecdsa")
    sshd.write(known, ("[127.0.0.1]:%d %s\n"):format(server.port, sshd.public(other)))
    matches(raises(open).message, "shows a key of a type that is not known of it")
  end)

  it("vouched for by an authority is refused as unsupported", function()
    start {}
    sshd.write(known, "@cert-authority * " .. sshd.public(server.host_key()) .. "\n")
    matches(raises(open).message, "certificate authority .* which is not supported")
  end)

  it("must be the pinned one", function()
    start {}
    local session = open()
    local facts = session:facts()
    session:close()
    open({}, { pins = facts.host_key }):close()
    local failure = raises(open, {}, { pins = { host_key = "ssh-ed25519 SHA256:other" } })
    equal(failure.kind, "denied")
    matches(failure.message, "shows another host key than the one this run was made for")
  end)

  it("is fetched without trust, and trusted by adding it", function()
    start { host_keys = { "ed25519" } }
    sshd.write(known, "unended.example " .. sshd.public(key))
    local found = ssh.look("127.0.0.1", { overrides = overrides() })
    equal({ found.verdict, found.host_key }, { "unknown", "ssh-ed25519 " .. sshd.fingerprint(server.host_key()) })
    equal(raises(open).kind, "denied")
    ssh.trust(found)
    local session <close> = open()
    equal(says(session, "echo ok"), "ok\n")
    equal(ssh.look("127.0.0.1", { overrides = overrides() }).verdict, "trusted")
  end)

  it("is not added over a different one", function()
    start {}
    local other = sshd.key(folder, "other", "ed25519")
    sshd.write(known, ("[127.0.0.1]:%d %s\n"):format(server.port, sshd.public(other)))
    equal(raises(ssh.trust, ssh.look("127.0.0.1", { overrides = overrides() })).kind, "denied")
  end)
end)

describe("known_hosts", function()
  local function types(text, name)
    local found = {}
    for _, entry in ipairs(known_hosts.entries(text, name, "f")) do found[#found + 1] = entry.blob end
    return found
  end

  local function line(names, blob) return ("%s ssh-ed25519 %s comment\n"):format(names, crypto.base64(blob)) end

  it("names a host with its port", function()
    equal(known_hosts.name("Web.Example", 22), "web.example")
    equal(known_hosts.name("10.0.0.1", 2222), "[10.0.0.1]:2222")
  end)

  it("matches patterns, negations and lists", function()
    local text = line("a.example,10.0.0.1", "1") .. line("*.example,!b.example", "2") .. line("?.example", "3")
    equal(types(text, "a.example"), { "1", "2", "3" })
    equal(types(text, "b.example"), { "3" })
    equal(types(text, "10x0.0.1"), {})
  end)

  it("passes over comments, empty and broken lines", function()
    local text = "\n# a.example ssh-ed25519 AAAA\na.example\na.example ssh-ed25519 !!!\n"
    equal(types(text .. line("a.example", "1"), "a.example"), { "1" })
  end)

  it("writes a hashed line that ssh-keygen finds", function()
    local path = folder .. "/hashed"
    local text = sshd.read(key .. ".pub")
    local blob = crypto.unbase64(text:match("^%S+ (%S+)"))
    sshd.write(path, known_hosts.line("[web.example]:2222", { type = "ssh-ed25519", blob = blob }, true))
    matches(sshd.run { "ssh-keygen", "-F", "[web.example]:2222", "-f", path }, "found: line 1")
    equal(types(sshd.read(path), "[web.example]:2222"), { blob })
    equal(types(sshd.read(path), "web.example"), {})
  end)
end)

describe("settings", function()
  it("come from ssh -G", function()
    start {}
    local home = process.user().home
    truthy(home)
    local session <close> = ssh.open("root@127.0.0.1", { overrides = overrides { user = nil } })
    equal(session:facts().user, "root")
  end)

  it("refuse a name that would be an option", function()
    equal(raises(ssh.open, "-oProxyCommand=true").kind, "denied")
  end)

  it("take a proxy command", function()
    start {}
    local command = ("bash -c 'exec 3<>/dev/tcp/%%h/%d; cat <&3 & cat >&3'"):format(server.port)
    local session <close> = open({ proxy_command = command }, { allow_exec = { "bash" } })
    equal(says(session, "echo ok"), "ok\n")
  end)

  it("run no proxy command that is not allowed", function()
    start {}
    local failure = raises(open, { proxy_command = "/bin/touch " .. folder .. "/ran" }, { allow_exec = { "bash" } })
    equal(failure.kind, "denied")
    matches(failure.message, "runs /bin/touch, which is not allowed$")
  end)
end)

describe("jumping", function()
  it("goes over two hosts, and shares the way", function()
    start {}
    local first = server
    local second, third = sshd.start(folder, { users = { key } }), sshd.start(folder, { users = { key } })
    sshd.write(known, first.line() .. second.line() .. third.line())
    local jump = ("root@127.0.0.1:%d,ssh://root@127.0.0.1:%d"):format(first.port, second.port)
    local shared = {}
    local running = {}
    for i = 1, 2 do
      running[i] = task.spawn(function()
        local session <close> = open({ port = third.port, proxy_jump = jump }, { shared = shared })
        return says(session, "echo ok")
      end)
    end
    for i = 1, 2 do equal({ running[i]:wait() }, { true, "ok\n" }) end
    local count = select(2, sshd.read(first.log):gsub("Accepted publickey", ""))
    equal(count, 1)
    for _, each in ipairs { second, third } do each.stop() end
    for _, session in pairs(shared.jumps) do session:close() end
  end)

  it("checks the jump host's key too", function()
    start {}
    local second = sshd.start(folder, { users = { key } })
    sshd.write(known, second.line())
    local failure = raises(open, { port = second.port, proxy_jump = "root@127.0.0.1:" .. server.port })
    equal(failure.kind, "denied")
    matches(failure.message, "is not known")
    second.stop()
  end)
end)

describe("a session", function()
  it("ends a command by its process id", function()
    start {}
    local session <close> = open()
    local stream <close> = session:exec("sleep 1000", READS)
    session:kill(stream:pid())
    equal(stream:wait(), { signal = "TERM" })
  end)

  it("ends another user's command by sudo", function()
    start {}
    local session <close> = open()
    local stream <close> = session:exec("sleep 1000", READS)
    session:kill(stream:pid(), { become = "root" })
    equal(stream:wait(), { signal = "TERM" })
  end)

  it("is found dead, and opened anew", function()
    start {}
    local session = open()
    local settings = server
    local stream = session:exec("sleep 1000", READS)
    local lost = task.spawn(function() return pcall(stream.wait, stream) end)
    task.sleep(0.05)
    settings.cut()
    local _, ok, failure = lost:wait()
    equal({ ok, failure.kind, session.alive }, { false, "lost", false })
    equal(raises(session.exec, session, "true", READS).host, "127.0.0.1")
    stream:close()
    session:close()
    start {}
    local again <close> = open()
    equal(again.alive, true)
  end)

  it("says who refused the connection", function()
    start {}
    local failure = raises(open, { port = sshd.free_port() })
    equal({ failure.kind, failure.host }, { "connect", "127.0.0.1" })
    matches(failure.message, "^127%.0%.0%.1 port %d+: Connection refused$")
  end)

  it("says that nobody answered in time", function()
    start {}
    local failure = raises(open, { hostname = "10.255.255.1", port = 22 }, { timeout = 0.3 })
    equal(failure.kind, "connect")
  end)
end)
