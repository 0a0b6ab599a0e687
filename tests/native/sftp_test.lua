local process = require "native.process"
local sftp    = require "native.sftp"
local ssh     = require "native.ssh"
local task    = require "native.task"
local sshd    = dofile("tests/sshd.lua")

local SERVER = "/usr/lib/openssh/sftp-server"

local function open(argv) return sftp.open(process.spawn(argv or { SERVER }, { reads = true })) end

-- Files and the process id of their server.
local function open_known()
  local stream = process.spawn({ "sh", "-c", "echo $$ >&2; exec " .. SERVER }, { reads = true })
  local pid = stream:read_error():match("%d+")
  return sftp.open(stream), pid
end

local function sh(text) return process.run({ "sh", "-c", text }, { reads = true }).out end

local function put(path, bytes)
  local file <close> = io.open(path, "wb")
  file:write(bytes)
end

local function get(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

local function write(files, path, bytes, options)
  options = options or {}
  options.temporary = options.temporary or ".temporary"
  return changing(files.write, files, path, bytes, options)
end

local MIXED = {}
for i = 1, 40000 do MIXED[i] = ("%d\0\xff"):format(i * 7919) end
MIXED = table.concat(MIXED)

describe("files", function()
  it("tell what is there", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/a", "12345")
    sh(("chmod 640 %s/a; touch -d @1700000000 %s/a; ln -s a %s/l"):format(folder, folder, folder))
    equal(files:stat(folder .. "/a"),
      { type = "file", size = 5, mode = "0640", uid = process.user().uid, gid = 0, mtime = 1700000000 })
    equal(files:stat(folder .. "/l").type, "file")
    equal(files:lstat(folder .. "/l").type, "link")
    equal(files:stat(folder).type, "directory")
    equal(files:stat("/dev/null").type, "other")
    equal({ files:stat(folder .. "/none") }, {})
    equal(files:readlink(folder .. "/l"), "a")
    equal(files:realpath(folder .. "/l"), files:realpath(folder) .. "/a")
  end)

  it("are read as they are", function()
    local files <close> = open()
    local path = scratch() .. "/a"
    for _, size in ipairs { 0, 1, 32767, 32768, 32769, 65536, #MIXED } do
      put(path, MIXED:sub(1, size))
      truthy(files:read(path) == MIXED:sub(1, size))
    end
  end)

  it("are read when they tell no size", function()
    local files <close> = open()
    equal(files:read("/proc/sys/kernel/random/boot_id"), process.boot_id() .. "\n")
  end)

  it("are read up to a limit", function()
    local files <close> = open()
    local path = scratch() .. "/a"
    put(path, MIXED)
    truthy(files:read(path, { max = #MIXED }) == MIXED)
    equal(raises(files.read, files, path, { max = #MIXED - 1 }).kind, "remote")
  end)

  it("raise missing, denied or conflict", function()
    local files <close> = open { "sudo", "-n", "-u", "nobody", SERVER }
    local failure = raises(files.read, files, "/no/such")
    equal({ failure.kind, failure.code, failure.message }, { "missing", 2, "read /no/such: no such file" })
    equal(raises(files.read, files, "/etc/shadow").kind, "denied")
    equal(raises(files.read, files, "/etc").kind, "conflict")
    equal(raises(files.read, files, "/dev/zero").kind, "conflict")
    equal(raises(write, files, "/etc/x", "").kind, "denied")
    equal(raises(changing, files.mkdir, files, "/etc/x").kind, "denied")
  end)

  it("are changed with leave only", function()
    local files <close> = open()
    for _, call in ipairs {
      { "write", "/x", "", { temporary = "t" } }, { "upload", "/x", "/x", { temporary = "t" } }, { "mkdir", "/x" },
      { "remove", "/x" }, { "rmdir", "/x" }, { "rename", "/x", "/y" }, { "setstat", "/x", { mode = "0600" } },
      { "symlink", "/x", "/y" }, { "upload_tree", "/x", "/y" },
    } do
      equal(raises(files[call[1]], files, table.unpack(call, 2)).kind, "denied")
    end
  end)

  it("are made, moved and removed", function()
    local files <close> = open()
    local folder = scratch()
    changing(function()
      files:mkdir(folder .. "/d", "0700")
      equal(files:stat(folder .. "/d").mode, "0700")
      equal(raises(files.mkdir, files, folder .. "/d").kind, "remote")
      files:symlink(folder .. "/l", "target")
      equal(files:readlink(folder .. "/l"), "target")
      put(folder .. "/a", "a")
      put(folder .. "/b", "b")
      files:rename(folder .. "/a", folder .. "/b")
      equal({ files:stat(folder .. "/a"), files:read(folder .. "/b") }, { nil, "a" })
      files:setstat(folder .. "/b", { mode = "4755", uid = 1, gid = 2 })
      local now = files:stat(folder .. "/b")
      equal({ now.mode, now.uid, now.gid }, { "4755", 1, 2 })
      files:remove(folder .. "/b")
      files:remove(folder .. "/l")
      equal(raises(files.remove, files, folder .. "/b").kind, "missing")
      files:rmdir(folder .. "/d")
    end)
    equal(sh("ls -A " .. folder), "")
  end)

  it("refuse wrong arguments", function()
    local files <close> = open()
    for _, call in ipairs {
      { "stat", "" }, { "stat", "a\0b" }, { "stat", ("x"):rep(5000) }, { "stat" }, { "read", "/x", { maximum = 1 } },
      { "write", "/x", "" }, { "write", "/x", "", { temporary = "a/b" } }, { "write", "/x", "", { temporary = ".." } },
      { "write", "/x", "", { temporary = "t", mode = 420 } }, { "write", "/x", "", { temporary = "t", mode = "rw" } },
      { "setstat", "/x", {} }, { "setstat", "/x", { uid = 1 } }, { "setstat", "/x", { uid = -1, gid = -1 } },
    } do
      equal(type(raises(changing, files[call[1]], files, table.unpack(call, 2))), "string")
    end
  end)

  it("are used by several tasks side by side", function()
    local files <close> = open()
    local folder = scratch()
    local running = {}
    for i = 1, 20 do
      running[i] = task.spawn(function()
        local path, bytes = folder .. "/" .. i, MIXED:sub(i * 1000)
        write(files, path, bytes, { temporary = ".t" .. i })
        for _ = 1, 5 do equal(files:stat(path).size, #bytes) end
        truthy(files:read(path) == bytes)
      end)
    end
    for i = 1, 20 do
      local ok, failure = running[i]:wait()
      equal(failure, nil)
      truthy(ok)
    end
  end)

  it("stay usable when a task is cancelled", function()
    local files <close>, pid = open_known()
    local folder = scratch()
    put(folder .. "/big", ("x"):rep(20000000))
    local descriptors = sh("ls /proc/" .. pid .. "/fd")
    for i = 1, 20 do
      local reading = task.spawn(function() files:read(folder .. "/big") end)
      local writing = task.spawn(function() write(files, folder .. "/new", ("y"):rep(20000000)) end)
      for _ = 1, i do task.yield() end
      reading:cancel()
      writing:cancel()
      reading:wait()
      writing:wait()
      equal(files:stat(folder).type, "directory")
    end
    files:stat(folder) -- answered after what is taken back once the questions of the cancelled are answered
    equal(sh("ls -A " .. folder), "big\n")
    equal(sh("ls /proc/" .. pid .. "/fd"), descriptors)
  end)

  it("raise lost when the server dies", function()
    local files <close>, pid = open_known()
    sh("kill -STOP " .. pid)
    local waiting = task.spawn(files.stat, files, "/etc")
    task.yield()
    sh("kill -KILL " .. pid)
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    equal(raises(files.stat, files, "/etc").kind, "lost")
  end)

  it("raise timeout when the server does not answer, and work when it does again", function()
    local files <close>, pid = open_known()
    sh("kill -STOP " .. pid)
    equal(raises(files.read, files, "/etc/hostname", { timeout = 0.1 }).kind, "timeout")
    sh("kill -CONT " .. pid)
    equal(files:stat("/etc").type, "directory")
  end)

  it("raise lost after close", function()
    local files = open()
    local waiting = task.spawn(files.read, files, "/proc/self/pagemap")
    task.yield()
    files:close()
    files:close()
    local ok, failure = waiting:wait()
    equal({ ok, failure.kind }, { false, "lost" })
    equal(raises(files.stat, files, "/").kind, "lost")
  end)
end)

describe("files over ssh", function()
  it("are read and written, also by several tasks and through sudo", function()
    local folder = scratch()
    local key = sshd.key(folder, "id", "ed25519")
    local server = sshd.start(folder, { users = { key } })
    local session <close> = ssh.connect { host = "127.0.0.1", port = server.port }
    session:auth_methods("root")
    session:auth_key("root", key)
    local files <close> = sftp.open(session:exec("sudo -n " .. SERVER, { reads = true }))
    local running = {}
    for i = 1, 4 do
      running[i] = task.spawn(function()
        write(files, folder .. "/" .. i, MIXED:rep(i), { temporary = ".t" .. i })
        truthy(files:read(folder .. "/" .. i) == MIXED:rep(i))
      end)
    end
    for i = 1, 4 do equal({ running[i]:wait() }, { true }) end
    local failure = raises(sftp.open, session:exec("echo 'sudo: a password is required' >&2; exit 1", { reads = true }))
    equal(failure.kind, "denied")
    matches(failure.output, "sudo: a password is required\n$") -- the login's shell may have said something before
    equal(raises(sftp.open, session:exec("/no/such/sftp-server", { reads = true })).kind, "missing")
    server.stop()
  end)
end)

describe("files:write", function()
  it("replaces a file in one act and keeps its mode and owner", function()
    local files <close> = open()
    local path = scratch() .. "/a"
    put(path, "old")
    sh(("chown 1:2 %s; chmod 640 %s; ln %s %s.old"):format(path, path, path, path))
    write(files, path, MIXED)
    truthy(get(path) == MIXED)
    equal(get(path .. ".old"), "old")
    local now = files:stat(path)
    equal({ now.mode, now.uid, now.gid }, { "0640", 1, 2 })
  end)

  it("makes a new file with the mode and owner it is told", function()
    local files <close> = open()
    local path = scratch() .. "/a"
    write(files, path, "")
    equal(files:stat(path).mode, "0644")
    write(files, path, "text", { mode = "4750", uid = 3, gid = 4, fsync = false })
    local now = files:stat(path)
    equal({ now.mode, now.uid, now.gid, now.size }, { "4750", 3, 4, 4 })
  end)

  it("refuses a link unless it may follow it", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/a", "old")
    sh(("mkdir %s/d; ln -s ../a %s/d/l; ln -s nowhere %s/d/broken"):format(folder, folder, folder))
    local failure = raises(write, files, folder .. "/d/l", "new")
    equal({ failure.kind, get(folder .. "/a") }, { "denied", "old" })
    write(files, folder .. "/d/l", "new", { follow = true })
    equal({ get(folder .. "/a"), files:readlink(folder .. "/d/l") }, { "new", "../a" })
    equal(raises(write, files, folder .. "/d/broken", "new").kind, "denied")
    equal(raises(write, files, folder .. "/d", "new").kind, "denied")
    equal(sh(("ls -A %s %s/d"):format(folder, folder)):find("temporary"), nil)
  end)

  it("raises conflict when the temporary file is there, and leaves it", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/.temporary", "another's")
    equal(raises(write, files, folder .. "/a", "new").kind, "conflict")
    equal(sh("ls -A " .. folder), ".temporary\n")
    equal(get(folder .. "/.temporary"), "another's")
  end)

  it("leaves nothing behind when the disk is full", function()
    local folder = scratch()
    sh("mount -t tmpfs -o size=1m none " .. folder)
    local _ <close> = setmetatable({}, { __close = function() sh("umount -l " .. folder) end })
    local files <close> = open()
    write(files, folder .. "/a", "small")
    local failure = raises(write, files, folder .. "/a", ("x"):rep(3000000))
    equal({ failure.kind, failure.code }, { "remote", 4 })
    matches(failure.message, "full")
    equal({ sh("ls -A " .. folder), get(folder .. "/a") }, { "a\n", "small" })
  end)

  it("leaves nothing behind when the owner cannot be set", function()
    local folder = scratch()
    sh("chmod 777 " .. folder)
    local files <close> = open { "sudo", "-n", "-u", "nobody", SERVER }
    equal(raises(write, files, folder .. "/a", "x", { uid = 0, gid = 0 }).kind, "denied")
    equal(sh("ls -A " .. folder), "")
    write(files, folder .. "/a", "x")
  end)

  it("writes as root through sudo", function()
    local files <close> = open { "sudo", "-n", "-u", "root", "--", SERVER }
    local path = scratch() .. "/a"
    write(files, path, "x", { mode = "0600" })
    equal(files:stat(path).uid, 0)
  end)
end)

describe("a transfer", function()
  it("goes up and down as it is", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/a", MIXED:rep(40))
    sh(("chmod 4750 %s/a"):format(folder))
    local steps = 0
    changing(files.upload, files, folder .. "/a", folder .. "/b", {
      temporary = ".t", mode = "4711", on_progress = function(done, size)
        truthy(done <= size)
        steps = steps + 1
        task.sleep(0.01)
      end,
    })
    equal(files:stat(folder .. "/b").mode, "4711")
    equal(files:download(folder .. "/b", folder .. "/c"), #MIXED * 40)
    equal(files:stat(folder .. "/c").mode, "0711")
    equal(sh(("cd %s; cmp a b; cmp a c; ls -A"):format(folder)), "a\nb\nc\n")
    truthy(steps > 0)
  end)

  it("does not follow a local link", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/a", "new")
    put(folder .. "/victim", "old")
    sh(("ln -s victim %s/l"):format(folder))
    files:download(folder .. "/a", folder .. "/l")
    equal({ get(folder .. "/victim"), get(folder .. "/l") }, { "old", "new" })
  end)

  it("leaves no local file behind when it fails", function()
    local files <close> = open()
    local folder = scratch()
    equal(raises(files.download, files, "/no/such", folder .. "/a").kind, "missing")
    equal(raises(files.download, files, "/etc/hostname", folder .. "/no/such").kind, "missing")
    equal(raises(changing, files.upload, files, folder .. "/none", folder .. "/b", { temporary = "t" }).kind, "missing")
    equal(sh("ls -A " .. folder), "")
  end)
end)

describe("files:list", function()
  it("gives all names in order, and what they are", function()
    local files <close> = open()
    local folder = scratch()
    sh(("cd %s; mkdir d; ln -s d l; touch .hidden; seq -f n%%04g 1 999 | xargs touch"):format(folder))
    local list = files:list(folder)
    equal(#list, 1002)
    equal({ list[1].name, list[2].name, list[3].name, list[4].name }, { ".hidden", "d", "l", "n0001" })
    equal({ list[1].type, list[2].type, list[3].type }, { "file", "directory", "link" })
    equal({ list[1002].name, list[1002].size, list[1002].mode }, { "n0999", 0, "0644" })
    equal(files:list(folder .. "/d"), {})
  end)

  it("refuses names with control characters", function()
    local files <close> = open()
    local folder = scratch()
    put(folder .. "/a\27[2J", "")
    equal(raises(files.list, files, folder).kind, "protocol")
  end)

  it("raises missing, denied or remote", function()
    local files <close> = open { "sudo", "-n", "-u", "nobody", SERVER }
    equal(raises(files.list, files, "/no/such").kind, "missing")
    equal(raises(files.list, files, "/root").kind, "denied")
    equal(raises(files.list, files, "/etc/passwd").code, 2)
  end)
end)

describe("a tree", function()
  local TREE = [[
    mkdir -p a/b/c a/empty; for i in $(seq 40); do seq $i 2000 >a/$i; done; echo x >a/b/c/x; : >a/b/nothing
    head -c 3000000 /dev/urandom >a/b/big; chmod 4750 a/b/c/x; chmod 700 a/b/c]]

  local function both(folder)
    return sh(("cd %s; diff -r a b && cd b && find . -printf '%%y %%m %%p\\n' | sort -k3"):format(folder))
  end

  it("goes down with its modes, without setuid bits", function()
    local files <close> = open()
    local folder = scratch()
    sh("cd " .. folder .. "; " .. TREE)
    local result = files:download_tree(folder .. "/a", folder .. "/b")
    equal({ result.files, result.skipped }, { 43, 0 })
    truthy(result.bytes > 3000000)
    local tree = both(folder)
    matches(tree, "\nd 700 ./b/c\nf 750 ./b/c/x\n")
    matches(tree, "\nd 755 ./empty\n")
  end)

  it("goes up with its modes, without setuid bits, also where some is there", function()
    local files <close> = open()
    local folder = scratch()
    sh("cd " .. folder .. "; " .. TREE .. "; mkdir -p b/b; echo old >b/1; mkdir b/other; rmdir b/other")
    local result = changing(files.upload_tree, files, folder .. "/a", folder .. "/b", { temporary = "w-1" })
    equal({ result.files, result.skipped }, { 43, 0 })
    local tree = both(folder)
    matches(tree, "\nd 700 ./b/c\nf 750 ./b/c/x\n")
    equal(tree:find("w%-1"), nil)
  end)

  it("refuses links, or leaves them out", function()
    local files <close> = open()
    local folder = scratch()
    sh(("cd %s; mkdir a; echo 1 >a/f; ln -s /etc/passwd a/l; mkfifo a/p"):format(folder))
    equal(raises(files.download_tree, files, folder .. "/a", folder .. "/b").kind, "denied")
    equal(raises(changing, files.upload_tree, files, folder .. "/a", folder .. "/c").kind, "denied")
    equal(sh("ls " .. folder), "a\n")
    local copied = { files = 1, bytes = 2, skipped = 2 }
    equal(files:download_tree(folder .. "/a", folder .. "/b", { links = "skip" }), copied)
    equal(changing(files.upload_tree, files, folder .. "/a", folder .. "/c", { links = "skip" }), copied)
    equal(sh(("cd %s; ls -A b c"):format(folder)), "b:\nf\n\nc:\nf\n")
  end)

  it("follows no link that is in its way", function()
    local files <close> = open()
    local folder = scratch()
    sh(("cd %s; mkdir -p a/d b c victim; echo new >a/d/f; echo new >a/g; echo old >victim/f"):format(folder))
    sh(("cd %s; for x in b c; do ln -s ../victim $x/d; ln -s ../victim/f $x/g; done; ln -s b link"):format(folder))
    equal(raises(files.download_tree, files, folder .. "/a", folder .. "/b").kind, "denied")
    equal(raises(changing, files.upload_tree, files, folder .. "/a", folder .. "/c").kind, "denied")
    equal(raises(files.download_tree, files, folder .. "/a", folder .. "/link").kind, "missing")
    equal(raises(changing, files.upload_tree, files, folder .. "/a", folder .. "/link").kind, "denied")
    equal(sh(("cat %s/victim/*; ls %s/victim"):format(folder, folder)), "old\nf\n")
    sh(("rm %s/b/d"):format(folder))
    files:download_tree(folder .. "/a", folder .. "/b")
    equal({ get(folder .. "/b/g"), get(folder .. "/victim/f") }, { "new\n", "old\n" })
  end)

  it("refuses names that differ in case alone", function()
    local files <close> = open()
    local folder = scratch()
    sh(("cd %s; mkdir a; echo 1 >a/Readme; echo 2 >a/readme"):format(folder))
    equal(raises(files.download_tree, files, folder .. "/a", folder .. "/b").kind, "conflict")
    equal(sh("ls " .. folder), "a\n")
  end)

  it("leaves no descriptor and no temporary file when it is cancelled", function()
    local files <close>, pid = open_known()
    local folder = scratch()
    sh("cd " .. folder .. "; " .. TREE)
    local theirs = sh("ls /proc/" .. pid .. "/fd")
    for i = 1, 12 do
      local down = task.spawn(files.download_tree, files, folder .. "/a", folder .. "/b")
      local up = task.spawn(changing, files.upload_tree, files, folder .. "/a", folder .. "/c")
      task.sleep(0.002 * i)
      down:cancel()
      up:cancel()
      down:wait()
      up:wait()
      files:stat(folder)
    end
    files:stat(folder) -- as above
    equal(sh("find " .. folder .. " -name '.neap*'"), "")
    equal(sh("ls -l /proc/$PPID/fd | grep " .. folder), "")
    equal(sh("ls /proc/" .. pid .. "/fd"), theirs)
  end)
end)

local function u32(n) return (">I4"):pack(n) end

local function text(s) return (">s4"):pack(s) end

local function packet(body) return text(body) end

local GREETING = packet("\2" .. u32(3))

-- A program that answers each thing that is written to it with the next of these, whatever it was, and then reads on.
local function fake(...)
  local folder, argv = scratch(), { "sh", "-c", [[
    for answer; do dd bs=65536 count=1 of=/dev/null 2>/dev/null; cat "$answer"; done
    exec cat >/dev/null]], "sh" }
  for i, answer in ipairs { ... } do
    put(folder .. "/" .. i, answer)
    argv[#argv + 1] = folder .. "/" .. i
  end
  return argv
end

describe("a wrong server", function()
  it("is told with what it says", function()
    local failure = raises(open, { "sh", "-c", "echo 'Welcome to proxy1'; cat >/dev/null" })
    equal({ failure.kind, failure.output }, { "protocol", "Welcome to proxy1\n" })
    failure = raises(open, { "sh", "-c", "echo hi" })
    equal({ failure.kind, failure.output }, { "protocol", "hi\n" })
    failure = raises(open, { "sh", "-c", "echo 'sudo: a password is required' >&2; exit 1" })
    equal({ failure.kind, failure.output }, { "denied", "sudo: a password is required\n" })
    failure = raises(open, { "sh", "-c", "exec /no/such/sftp-server" })
    equal(failure.kind, "missing")
    matches(failure.output, "/no/such/sftp%-server")
    equal(raises(open, { "true" }).kind, "protocol")
  end)

  it("of another version is refused", function()
    equal(raises(open, fake(packet("\2" .. u32(6)))).kind, "protocol")
  end)

  it("can list extensions that are cut", function()
    local files <close> = open(fake(packet("\2" .. u32(3) .. text("posix-rename@openssh.com") .. u32(1000))))
    truthy(files)
  end)

  for name, bytes in pairs {
    ["a packet that is too long"] = u32(300000) .. ("x"):rep(300000),
    ["a packet of no length"] = u32(0) .. ("x"):rep(100),
    ["a packet without an id"] = packet("\101"),
    ["an answer to another question"] = packet("\101" .. u32(99) .. u32(0)),
    ["an answer twice"] = packet("\101" .. u32(0) .. u32(0)) .. packet("\101" .. u32(0) .. u32(0)),
  } do
    it("that sends " .. name .. " is left", function()
      local files <close> = open(fake(GREETING, bytes))
      raises(files.stat, files, "/x")
      equal(raises(files.stat, files, "/x").kind, "protocol")
    end)
  end

  it("that ends in the middle of a packet is lost", function()
    local path = scratch() .. "/answers"
    put(path, GREETING .. u32(100) .. "\101")
    local files <close> = open { "cat", path }
    equal(raises(files.stat, files, "/x").kind, "lost")
  end)

  for name, answer in pairs {
    ["cut attributes"] = "\105" .. u32(0) .. u32(15) .. u32(1),
    ["endless attributes"] = "\105" .. u32(0) .. u32(0x80000000) .. u32(0xffffffff),
    ["success instead of attributes"] = "\101" .. u32(0) .. u32(0),
    ["a handle instead of attributes"] = "\102" .. u32(0) .. text("h"),
    ["a status without a code"] = "\101" .. u32(0),
    ["nothing"] = "\105" .. u32(0),
  } do
    it("that sends " .. name .. " is not believed", function()
      local files <close> = open(fake(GREETING, packet(answer)))
      equal(raises(files.stat, files, "/x").kind, "protocol")
    end)
  end

  local attributes = "\105" .. u32(0) .. u32(5) .. (">I8"):pack(10) .. u32(0x81a4)
  local handle = "\102" .. u32(1) .. text("h")
  for name, answers in pairs {
    ["a handle that is too long"] = { attributes, "\102" .. u32(1) .. text(("h"):rep(257)) },
    ["an empty handle"] = { attributes, "\102" .. u32(1) .. text("") },
    ["more bytes than it was asked for"] = { attributes, handle, "\103" .. u32(2) .. text("12345678901") },
    ["no bytes"] = { attributes, handle, "\103" .. u32(2) .. text("") },
    ["bytes that are cut"] = { attributes, handle, "\103" .. u32(2) .. u32(10) .. "12345" },
    ["success instead of bytes"] = { attributes, handle, "\101" .. u32(2) .. u32(0) },
  } do
    it("that sends " .. name .. " is not believed", function()
      local packets = {}
      for i, answer in ipairs(answers) do packets[i] = packet(answer) end
      local files <close> = open(fake(GREETING, table.unpack(packets)))
      equal(raises(files.read, files, "/x", { timeout = 5 }).kind, "protocol")
    end)
  end

  it("may send a file in small pieces, and more of it than it said", function()
    local files <close> = open(fake(GREETING, packet(attributes), packet(handle),
      packet("\103" .. u32(2) .. text("12345")) .. packet("\103" .. u32(3) .. text("ab")),
      packet("\103" .. u32(4) .. text("67890")) .. packet("\101" .. u32(5) .. u32(1))))
    equal(files:read("/x"), "1234567890ab")
  end)

  local function name(text_, mode) return text(text_) .. text("") .. u32(4) .. u32(mode or 0x81a4) end

  local function page(id, ...) return packet("\104" .. u32(id) .. u32(select("#", ...)) .. table.concat { ... }) end

  local opened = packet("\102" .. u32(0) .. text("h"))
  local ended = packet("\101" .. u32(2) .. u32(1)) .. packet("\101" .. u32(3) .. u32(1)) ..
    packet("\101" .. u32(4) .. u32(1))
  for what, answer in pairs {
    ["a name with a slash"] = page(1, name "a/b"),
    ["a name that climbs"] = page(1, name "../../etc/passwd"),
    ["a name with a NUL"] = page(1, name "a\0b"),
    ["an empty name"] = page(1, name ""),
    ["a name twice"] = page(1, name "a", name "b", name "a"),
    ["fewer names than it says"] = packet("\104" .. u32(1) .. u32(1000) .. name "a"),
    ["no name at all"] = page(1),
    ["bytes instead of names"] = packet("\103" .. u32(1) .. text("x")),
  } do
    it("that lists " .. what .. " is not believed", function()
      local files <close> = open(fake(GREETING, opened, answer .. ended))
      equal(raises(files.list, files, "/x", { timeout = 5 }).kind, "protocol")
    end)
  end

  it("may list itself and its parent", function()
    local files <close> = open(fake(GREETING, opened, page(1, name("."), name("b"), name(".."), name("a")) .. ended))
    local list = files:list("/x", { timeout = 5 })
    equal({ #list, list[1].name, list[2].name }, { 2, "a", "b" })
  end)

  it("that lists for ever is left at a million names", function()
    local names, folder = {}, scratch()
    for i = 1, 5000 do names[i] = name(("%04d"):format(i)) end
    names = table.concat(names)
    put(folder .. "/greeting", GREETING)
    put(folder .. "/opened", opened)
    put(folder .. "/head", u32(#names + 9) .. "\104\0\0")
    put(folder .. "/names", u32(5000) .. names)
    local files <close> = open { "sh", "-c", [[
      cd "$1"
      head -c 9 >/dev/null; cat greeting
      head -c 15 >/dev/null; cat opened
      for id in $(seq 300); do
        head -c 14 >/dev/null; cat head
        printf "\\$(printf %o $((id / 256)))\\$(printf %o $((id % 256)))"; cat names
      done]], "sh", folder }
    equal(raises(files.list, files, "/x", { timeout = 20 }).kind, "remote")
  end)
end)
