local eventually = require "tests.eventually"
local ssh        = require "native.ssh"
local process    = require "native.process"
local task       = require "native.task"
local sshd       = dofile("tests/sshd.lua")

local READS = { reads = true }

--- A server, a key that may log in, and a session.
local function lab(options)
  options = options or {}
  local folder = scratch()
  local key = sshd.key(folder, "id", "ed25519")
  options.users = { key }
  local server = sshd.start(folder, options)
  return server, key, folder
end

local function login(server, key, options)
  options = options or {}
  options.host, options.port = "127.0.0.1", server.port
  local session = ssh.connect(options)
  assert(session:auth_methods("root"))
  assert(session:auth_key("root", key))
  return session
end

local function gone(pid)
  return eventually(function() return not process.alive(pid) end)
end

describe("ssh.connect", function()
  it("says who refused", function()
    local port = sshd.free_port()
    local failure = raises(ssh.connect, { host = "127.0.0.1", port = port })
    equal({ failure.kind, failure.message }, { "connect", ("127.0.0.1 port %d: Connection refused"):format(port) })
  end)

  it("says which name is unknown", function()
    local failure = raises(ssh.connect, { host = "no.such.host.invalid", port = 22 })
    equal(failure.kind, "connect")
    matches(failure.message, "^no%.such%.host%.invalid port 22: the name cannot be resolved: ")
  end)

  it("gives up on a server that says nothing", function()
    local silent = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
      .. "print(s.getsockname()[1], flush=True); time.sleep(60)"
    local listener = process.spawn({ "python3", "-c", silent }, READS)
    local port = tonumber(listener:read())
    equal(raises(ssh.connect, { host = "127.0.0.1", port = port, timeout = 0.2 }).kind, "timeout")
    listener:close()
  end)

  it("takes no server that only knows algorithms we do not", function()
    local server = lab { extra = "KexAlgorithms sntrup761x25519-sha512@openssh.com" }
    local failure = raises(ssh.connect, { host = "127.0.0.1", port = server.port })
    equal(failure.kind, "connect")
    matches(failure.message, "no common algorithm")
    server.stop()
  end)

  it("reaches a server with encrypt-then-MAC only, by its cipher and MAC", function()
    local server, key = lab { extra = "MACs hmac-sha2-512-etm@openssh.com\nCiphers aes256-ctr" }
    local session <close> = login(server, key)
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
    equal({ session:facts().cipher, session:facts().mac }, { "aes256-ctr", "hmac-sha2-512-etm@openssh.com" })
    server.stop()
  end)

  it("reaches a server with chacha20 only", function()
    local server, key = lab { extra = "Ciphers chacha20-poly1305@openssh.com" }
    local session <close> = login(server, key)
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
    server.stop()
  end)

  it("shows the host's key", function()
    local server, _, folder = lab { host_keys = { "rsa" } }
    local session <close> = ssh.connect { host = "127.0.0.1", port = server.port }
    local key = session:host_key()
    equal(key.type, "ssh-rsa")
    equal(require("neap.targets.known_hosts").fingerprint(key.blob), sshd.fingerprint(server.host_key("rsa")))
    truthy(folder)
    server.stop()
  end)

  it("goes through a program", function()
    local server, key = lab()
    local relay = "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; cat <&3 & cat >&3'"
    local session <close> = login(server, key, { command = relay:format(server.port) })
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
    server.stop()
  end)

  it("tells what that program said", function()
    local failure = raises(ssh.connect, { host = "example", command = "echo no way there >&2; exit 1" })
    equal({ failure.kind, failure.message }, { "connect", "example port 22: no way there" })
  end)

  it("goes through two hosts", function()
    local first, key = lab()
    local second, key2 = lab()
    local third, key3 = lab()
    local a <close> = login(first, key)
    local b <close> = login(second, key2, { through = a })
    local c <close> = login(third, key3, { through = b })
    local result = c:exec("head -c 3000000 /dev/zero; echo done >&2; exit 4", READS):collect {}
    equal({ result.out_bytes, result.err, result.status }, { 3000000, "done\n", 4 })
    equal(c:exec("wc -c", READS):collect { input = ("x"):rep(1000000) }.out, "1000000\n")
    for _, server in ipairs { first, second, third } do server.stop() end
  end)

  it("says what a jump host says of the next", function()
    local server, key = lab()
    local jump <close> = login(server, key)
    local failure = raises(ssh.connect, { host = "127.0.0.1", port = sshd.free_port(), through = jump })
    equal(failure.kind, "connect")
    matches(failure.message, "open failure")
    equal(jump:exec("echo ok", READS):collect {}.out, "ok\n")
    server.stop()
  end)

  it("refuses unknown options", function()
    matches(raises(ssh.connect, { hots = "x" }), "no option is named 'hots'")
  end)
end)

describe("a session", function()
  local server, key, session

  before_each(function()
    server, key = lab()
    session = login(server, key)
  end)

  after_each(function()
    session:close()
    server.stop()
  end)

  it("runs a command: output, error output, status", function()
    equal(session:exec("echo to out; echo to err >&2; exit 3", READS):collect {},
      { out = "to out\n", err = "to err\n", out_bytes = 7, err_bytes = 7, status = 3 })
  end)

  it("tells the signal that ended a command", function()
    equal(session:exec("kill -9 $$", READS):collect {}.signal, "KILL")
  end)

  it("carries 10 MB each way", function()
    local big = ("0123456789abcdef"):rep(655360)
    local result = session:exec("cat", READS):collect { input = big, limit = 2 * #big }
    truthy(result.out == big)
  end)

  it("carries 10 MB of error output", function()
    equal(session:exec("head -c 10000000 /dev/zero >&2", READS):collect {}.err_bytes, 10000000)
  end)

  it("streams output as it comes", function()
    local stream <close> = session:exec("echo one; read x; echo $x", READS)
    equal(stream:read(), "one\n")
    stream:write("two\n")
    equal(stream:read(), "two\n")
    equal(stream:read(), nil)
    equal(stream:wait(), { status = 0 })
  end)

  it("does not hang on a command that reads no input", function()
    equal(session:exec("exit 7", READS):collect { input = ("x"):rep(10000000) }.status, 7)
  end)

  it("keeps what was not read when the command has ended", function()
    local stream <close> = session:exec("echo kept; echo too >&2; exit 2", READS)
    equal(stream:wait(), { status = 2 })
    task.sleep(0.05)
    equal({ stream:read(), stream:read(), stream:read_error() }, { "kept\n", nil, "too\n" })
  end)

  it("runs many commands side by side, more than the server allows at a time", function()
    local tasks, seen = {}, {}
    for i = 1, 40 do
      tasks[i] = task.spawn(function() seen[i] = session:exec("echo " .. i, READS):collect {}.out end)
    end
    for i = 1, 40 do truthy(tasks[i]:wait()) end
    for i = 1, 40 do equal(seen[i], i .. "\n") end
  end)

  it("finds out that the server allows fewer", function()
    local strict, strict_key = lab { extra = "MaxSessions 2" }
    local narrow <close> = login(strict, strict_key)
    local tasks = {}
    for i = 1, 8 do
      tasks[i] = task.spawn(function() return narrow:exec("sleep 0.05; echo " .. i, READS):collect {}.out end)
    end
    for i = 1, 8 do equal({ tasks[i]:wait() }, { true, i .. "\n" }) end
    strict.stop()
  end)

  it("keeps a slow reader from holding up others", function()
    local slow <close> = session:exec("head -c 20000000 /dev/zero", READS)
    equal(#slow:read(10), 10)
    equal(session:exec("echo quick", READS):collect { timeout = 5 }.out, "quick\n")
  end)

  it("opens a subsystem", function()
    local stream <close> = session:subsystem("sftp")
    stream:write("\0\0\0\5\1\0\0\0\3")
    matches(stream:read(), "^....\2\0\0\0\3")
  end)

  it("says that a subsystem is not there", function()
    equal(raises(session.subsystem, session, "nonsense").kind, "denied")
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
  end)

  it("gives a command a terminal", function()
    equal(session:exec("test -t 0 && echo terminal", { reads = true, pty = true }):collect {}.out, "terminal\r\n")
  end)

  it("refuses a command outside an effect unless it only reads", function()
    equal(raises(session.exec, session, "true").kind, "denied")
    changing(function() equal(session:exec("true"):collect {}.status, 0) end)
  end)

  it("tells the process id of a command", function()
    local stream <close> = session:exec("cat /proc/$$/comm; read x", READS)
    local pid = stream:pid()
    truthy(process.alive(pid))
    equal(stream:read(), "sh\n")
  end)

  it("passes any text through the shells unharmed", function()
    local text = [[printf '%s|' "it's" $'a\nb' "\$x" 'q"q' ; # done]]
    equal(session:exec(text:gsub("%$'a\\nb'", "'a\nb'"), READS):collect {}.out, "it's|a\nb|$x|q\"q|")
  end)

  it("ends a command and its children when its stream is closed, for root too", function()
    local stream = session:exec("sleep 1234 & echo $!; wait", READS)
    local pid, child = stream:pid(), tonumber(stream:read())
    stream:close()
    truthy(gone(pid))
    truthy(gone(child))
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
  end)

  it("kills what ignores TERM", function()
    local stream = session:exec("trap '' TERM; echo ready; while :; do sleep 0.1; done", READS)
    local pid = stream:pid()
    equal(stream:read(), "ready\n")
    stream:close()
    truthy(gone(pid))
  end)

  it("ends a command that is over its time", function()
    local pid
    local failure = raises(function()
      local stream <close> = session:exec("echo begun; sleep 1000", READS)
      pid = stream:pid()
      stream:collect { timeout = 0.3 }
    end)
    equal({ failure.kind, failure.output }, { "timeout", "begun\n" })
    truthy(gone(pid))
  end)

  it("ends a command whose task is cancelled", function()
    local pid
    local running = task.spawn(function()
      local stream <close> = session:exec("sleep 1000", READS)
      pid = stream:pid()
      stream:wait()
    end)
    eventually(function() return pid end)
    running:cancel()
    running:wait()
    truthy(gone(pid))
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
  end)

  it("is unharmed by tasks that are cancelled at any moment", function()
    local tasks = {}
    for i = 1, 30 do
      tasks[i] = task.spawn(function()
        local stream <close> = session:exec("cat; echo " .. i, READS)
        stream:collect { input = ("x"):rep(100000) }
      end)
      if i % 3 == 0 then task.sleep(0.001 * (i % 7)) end
      if i % 2 == 0 then tasks[i]:cancel() end
    end
    for i = 1, 30 do
      local ok, failure = tasks[i]:wait()
      truthy(ok or failure.kind == "cancelled")
    end
    equal(session:exec("echo ok", READS):collect {}.out, "ok\n")
  end)

  it("starts no command whose task was cancelled before", function()
    local folder = scratch()
    local first = {}
    for i = 1, 9 do first[i] = session:exec("sleep 0.3", READS) end
    local late = task.spawn(function() session:exec("touch " .. folder .. "/late", READS) end)
    task.sleep(0.05)
    late:cancel()
    late:wait()
    for _, stream in ipairs(first) do stream:wait() end
    equal(session:exec("ls " .. folder, READS):collect {}.out, "")
  end)

  it("loses its streams when the server is gone", function()
    local stream <close> = session:exec("echo begun; sleep 1000", READS)
    equal(stream:read(), "begun\n")
    local cutting = task.spawn(function()
      task.sleep(0.1)
      server.cut()
    end)
    local failure = raises(stream.wait, stream)
    cutting:wait()
    equal(failure.kind, "lost")
    matches(failure.message, "connection")
    equal(session:alive(), false)
    equal(raises(session.exec, session, "true", READS).kind, "connect")
  end)

  it("loses its streams when it is closed, and ends their commands", function()
    local stream = session:exec("sleep 1000", READS)
    local pid = stream:pid()
    session:close()
    local failure = raises(stream.wait, stream)
    equal({ failure.kind, failure.message }, { "lost", "the session was closed" })
    stream:close()
    truthy(gone(pid))
  end)

  it("stays usable through new key exchanges in the middle of data", function()
    local fresh, fresh_key = lab { extra = "RekeyLimit 256K" }
    local often <close> = login(fresh, fresh_key)
    local big = ("0123456789abcdef"):rep(200000)
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = task.spawn(function()
        return often:exec("cat", READS):collect { input = big, limit = 2 * #big }.out == big
      end)
    end
    for i = 1, 3 do equal({ tasks[i]:wait() }, { true, true }) end
    equal(often:exec("echo ok", READS):collect {}.out, "ok\n")
    fresh.stop()
  end)
end)

describe("keepalive", function()
  it("finds a server that no longer answers", function()
    local server, key = lab()
    local session <close> = login(server, key, { keepalive = 2, keepalive_count = 1 })
    local stream <close> = session:exec("echo $PPID; sleep 1000", READS)
    local pid = stream:pid()
    local peer = tonumber(stream:read())
    sshd.run { "kill", "-STOP", tostring(peer) }
    local failure = raises(stream.wait, stream)
    sshd.run { "sh", "-c", ("kill -KILL %d %d"):format(peer, pid) }
    equal(failure.kind, "lost")
    matches(failure.message, "no answer from the server")
    server.stop()
  end)
end)

describe("ssh.agent", function()
  it("says that nobody listens", function()
    local failure = raises(ssh.agent, scratch() .. "/none")
    equal(failure.kind, "missing")
  end)
end)
