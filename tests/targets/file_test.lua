local crypto  = require "native.crypto"
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local process = require "native.process"

local ROOT = process.user().uid == 0

--- A script outside neap's doing; its output.
local function sh(text, ...)
  return changing(process.run, { "sh", "-c", text, "sh", ... }).out
end

--- All there is to know of what lies in a folder, but for times.
local function picture(path)
  return sh('cd "$1" && find . -printf "%p %y %m %u %g %n\n" | sort && find . -type f -exec sha256sum {} + | sort -k2',
    path)
end

--- Runs steps over a folder made by a script, then rolls back: all must be as before. Returns the folder's picture between.
local function there_and_back(setup, steps, check)
  local path = scratch()
  sh("cd \"$1\" && " .. setup, path)
  local before = picture(path)
  steps[#steps + 1] = 'fail("back")'
  local trial = fixture.trial(steps, path)
  trial:run "stopped"
  local between = picture(path)
  if check then check(path, trial) end
  trial:roll_back "rolled back"
  equal(picture(path), before)
  return between
end

--- A run that stops with its first change refused: the failure. The folder must be as before.
local function refused(setup, step)
  local path = scratch()
  sh("cd \"$1\" && " .. setup, path)
  local before = picture(path)
  local trial = fixture.trial({ step }, path)
  trial:run()
  equal(picture(path), before)
  return trial:failure() or trial.events[#trial.events], path
end

local LOCAL = 'env.hosts["local"], '

for _, become in ipairs { "none", "root" } do
  local as = become == "root" and ', become = "root"' or ""

  describe("files as " .. become, function()
    before_each(function()
      if become == "root" and not ROOT then skip "needs root" end
    end)

    it("are written, with the rights asked for", function()
      there_and_back("true", { ('file.write(%s"PATH/a", "one\\0\\255", { mode = "0640"%s })'):format(LOCAL, as) },
        function(path)
        equal(fs.read(path .. "/a"), "one\0\255")
        equal(fs.stat(path .. "/a").mode, "0640")
        equal(fs.list(path), { "a" })
      end)
    end)

    it("keep their rights when rewritten", function()
      there_and_back("echo old >a; chmod 0604 a", { ('file.write(%s"PATH/a", "new"%s)'):format(LOCAL,
        become == "root" and ', { become = "root" }' or "") }, function(path)
        equal(fs.read(path .. "/a"), "new")
        equal(fs.stat(path .. "/a").mode, "0604")
      end)
    end)

    it("are edited by a function", function()
      there_and_back("echo port 80 >a", {
        ('file.edit(%s"PATH/a", function(text) return (text:gsub("80", "81")) end, { mode = "0600"%s })')
        :format(LOCAL, as) }, function(path) equal(fs.read(path .. "/a"), "port 81\n") end)
    end)

    it("get a line at the end, once, and lose it everywhere", function()
      there_and_back("printf 'a\\nb' >a; printf 'x\\nb\\nx\\nx' >b; printf 'x\\ny\\n' >c", {
        ('file.line(%s"PATH/a", "c", { mode = "0644"%s })'):format(LOCAL, as),
        ('file.line(%s"PATH/a", "c") file.line(%s"PATH/a", "a")'):format(LOCAL, LOCAL),
        ('file.absent_line(%s"PATH/b", "x") file.absent_line(%s"PATH/c", "x")'):format(LOCAL, LOCAL),
        ('file.absent_line(%s"PATH/c", "z")'):format(LOCAL),
      }, function(path)
        equal(fs.read(path .. "/a"), "a\nb\nc\n")
        equal(fs.read(path .. "/b"), "b\n")
        equal(fs.read(path .. "/c"), "y\n")
      end)
    end)

    it("are removed, and come back as they were", function()
      there_and_back("echo old >a; chmod 4750 a", { ('file.remove(%s"PATH/a", { timeout = 60%s })'):format(LOCAL, as) },
        function(path) equal(fs.exists(path .. "/a"), false) end)
    end)

    it("are moved, whole directories too", function()
      there_and_back("echo x >a; mkdir -p d/e; echo y >d/e/f", {
        ('file.move(%s"PATH/a", "PATH/b", { timeout = 60%s })'):format(LOCAL, as),
        ('file.move(%s"PATH/d", "PATH/g", { timeout = 60%s })'):format(LOCAL, as),
      }, function(path)
        equal(fs.list(path), { "b", "g" })
        equal(fs.read(path .. "/g/e/f"), "y\n")
      end)
    end)

    it("get another mode", function()
      there_and_back("echo x >a; chmod 2755 a; mkdir d", {
        ('file.mode(%s"PATH/a", { mode = "0600"%s })'):format(LOCAL, as),
        ('file.mode(%s"PATH/d", { mode = "1770"%s })'):format(LOCAL, as),
      }, function(path)
        equal(fs.stat(path .. "/a").mode, "0600")
        equal(fs.stat(path .. "/d").mode, "1770")
      end)
    end)

    it("lie in directories that are made", function()
      there_and_back("mkdir -m 0711 e", {
        ('file.directory(%s"PATH/d", { mode = "0750"%s }) file.write(%s"PATH/d/f", "x")'):format(LOCAL, as, LOCAL),
        ('file.directory(%s"PATH/e", { mode = "0700"%s })'):format(LOCAL, as),
      }, function(path)
        equal(fs.stat(path .. "/d").mode, "0750")
        equal(fs.stat(path .. "/e").mode, "0700")
      end)
    end)

    it("are copied as a tree", function()
      there_and_back("mkdir -p logs/d/e; echo one >logs/a; echo two >'logs/d/b c'; echo three >'logs/d/ü'; " ..
        "chmod 0600 logs/a; mkdir empty", {
        ('file.copy_tree(%s"PATH/logs", %s"PATH/copy", { timeout = 60%s })'):format(LOCAL, LOCAL, as),
        ('file.copy_tree(%s"PATH/empty", %s"PATH/copied", { timeout = 60%s })'):format(LOCAL, LOCAL, as),
      }, function(path)
        equal(sh("cd $1; diff -r logs copy && diff -r empty copied && stat -c %a copy/a", path), "600\n")
        equal(fs.list(path), { "copied", "copy", "empty", "logs" })
      end)
    end)
  end)
end

describe("a change of a file", function()
  it("gives it to whom it is told, and back to whom it was", function()
    if not ROOT then skip "needs root" end
    there_and_back("echo x >a; chown games:mail a; chmod 4711 a; echo y >b; chown 12345:54321 b; echo z >c", {
      'file.write(env.hosts["local"], "PATH/a", "new", { owner = "daemon", group = "12345", mode = "0700" })',
      'file.edit(env.hosts["local"], "PATH/b", function() return "new" end)',
      'file.mode(env.hosts["local"], "PATH/c", { owner = "games" })',
    }, function(path)
      equal(sh("cd $1; stat -c '%u %g %a' a b c", path), "1 12345 700\n12345 54321 644\n5 0 644\n")
    end)
  end)

  it("takes names as they are", function()
    for _, name in ipairs { "-rf", "a b", "it's", "$(id)", "`id`", "*", "ü\255", "new\nline", ("n"):rep(240) } do
      local path = scratch()
      local quoted = ("%q"):format(path .. "/" .. name):gsub("\\\n", "\\n")
      local trial = fixture.trial({
        ('file.write(env.hosts["local"], %s, "x")'):format(quoted),
        ('file.mode(env.hosts["local"], %s, { mode = "0600" })'):format(quoted),
        ('file.move(env.hosts["local"], %s, "PATH/moved")'):format(quoted),
        ('file.move(env.hosts["local"], "PATH/moved", %s)'):format(quoted),
        ('if file.sha256(env.hosts["local"], %s) ~= %q then fail("other content") end'):format(quoted,
          crypto.sha256("x")),
        ('file.remove(env.hosts["local"], %s) fail("back")'):format(quoted),
      }, path)
      trial:run "stopped"
      equal(trial:failure().message, "back")
      equal(fs.list(path), {})
      trial:roll_back "rolled back"
      equal(fs.list(path), {})
    end
  end)

  it("does nothing where all is as wanted", function()
    local path = scratch()
    sh("cd $1; echo x >a; mkdir d; chmod 755 d", path)
    local trial = fixture.trial({ [[
      local here = env.hosts["local"]
      file.write(here, "PATH/a", "x\n") file.line(here, "PATH/a", "x") file.mode(here, "PATH/a", {})
      file.remove(here, "PATH/b") file.directory(here, "PATH/d")]] }, path)
    trial:run "done"
    equal(#trial:all "intent", 0)
  end)

  it("is refused for a link", function()
    local failure = refused("echo x >a; ln -s a l", 'file.write(env.hosts["local"], "PATH/l", "y")')
    equal(failure.kind, "conflict")
    matches(failure.message, "/l on local is a link, not a file")
    equal(refused("echo x >a; ln -s a l", 'file.mode(env.hosts["local"], "PATH/l", { mode = "0600" })').kind,
      "conflict")
    equal(refused("echo x >a; ln -s a l", 'file.remove(env.hosts["local"], "PATH/l")').kind, "conflict")
  end)

  it("is refused for a directory where a file is wanted, and the other way", function()
    matches(refused("mkdir d", 'file.write(env.hosts["local"], "PATH/d", "y")').message, "is a directory, not a file")
    matches(refused("echo >f", 'file.directory(env.hosts["local"], "PATH/f")').message, "is a file, not a directory")
  end)

  it("is refused for a file with hard links", function()
    local failure = refused("echo x >a; ln a b", 'file.write(env.hosts["local"], "PATH/a", "y")')
    equal(failure.kind, "conflict")
    matches(failure.message, "one of 2 hard links")
  end)

  it("is refused, by the plan already, for a file with hard links", function()
    local path = scratch()
    sh("cd $1; echo x >a; ln a b", path)
    local ok, plan = pcall(function()
      return fixture.trial({ 'file.write(env.hosts["local"], "PATH/a", "y")' }, path):plan()
    end)
    local json = require "native.json"
    matches(ok and json.encode(require("neap.engine.data").plain(plan)) or tostring(plan), "hard links")
  end)

  it("keeps lists of rights and attributes", function()
    local path = scratch()
    local ok = sh("cd $1; echo x >a; setfacl -m u:games:r a 2>/dev/null && getfacl -c a | grep -q games && echo yes",
      path) == "yes\n"
    if not ok then skip "no lists of rights here" end
    local before = sh("cd $1; getfacl a", path)
    local trial = fixture.trial({ 'file.write(env.hosts["local"], "PATH/a", "new\\n") fail("back")' }, path)
    trial:run "stopped"
    equal(fs.read(path .. "/a"), "new\n")
    equal(sh("cd $1; getfacl a", path), before)
    trial:roll_back "rolled back"
    equal(fs.read(path .. "/a"), "x\n")
    equal(sh("cd $1; getfacl a", path), before)
    equal(fs.list(path), { "a" })
  end)

  it("is refused as another user where anybody may write", function()
    if not ROOT then skip "needs root" end
    local failure = refused("mkdir d; chmod 1777 d; echo x >d/a",
      'file.write(env.hosts["local"], "PATH/d/a", "y", { become = "root" })')
    equal(failure.kind, "denied")
    matches(failure.message, "anybody may write")
  end)

  it("that finds no room says so, and leaves all as it was", function()
    if not ROOT then skip "needs root" end
    local path = scratch()
    if sh("mount -t tmpfs -o size=64k none $1 && echo yes", path) ~= "yes\n" then skip "no tmpfs" end
    sh("echo old >$1/a", path)
    local trial = fixture.trial({ 'file.write(env.hosts["local"], "PATH/a", ("x"):rep(100000))' }, path)
    trial:run()
    local list, content = fs.list(path), fs.read(path .. "/a")
    sh("umount $1", path)
    equal(list, { "a" })
    equal(content, "old\n")
    matches(trial:failure().message, "needs 100000 bytes, and %d+ KiB are free")
  end)

  it("is not undone over what somebody else did since", function()
    local path = scratch()
    local trial = fixture.trial({ 'file.write(env.hosts["local"], "PATH/a", "mine") fail("back")' }, path)
    trial:run "stopped"
    sh("echo theirs >$1/a", path)
    trial:roll_back()
    equal(fs.read(path .. "/a"), "theirs\n")
    trial:abandon()
  end)
end)

describe("file.move", function()
  it("never replaces anything", function()
    local failure = refused("echo x >a; echo y >b", 'file.move(env.hosts["local"], "PATH/a", "PATH/b")')
    equal(failure.kind, "conflict")
    matches(failure.message, "something is there already")
  end)

  it("says what is missing", function()
    equal(refused("true", 'file.move(env.hosts["local"], "PATH/a", "PATH/b")').kind, "missing")
  end)
end)

describe("file.copy_tree", function()
  it("is not taken back once somebody worked in the copy", function()
    local path = scratch()
    sh("cd $1; mkdir logs; echo x >logs/a", path)
    local trial = fixture.trial({
      'file.copy_tree(env.hosts["local"], "PATH/logs", env.hosts["local"], "PATH/copy") fail("back")',
    }, path)
    trial:run "stopped"
    sh("echo mine >$1/copy/b", path)
    trial:roll_back()
    equal(fs.list(path .. "/copy"), { "a", "b" })
    trial:abandon()
  end)

  it("replaces nothing, and refuses links", function()
    local copy = 'file.copy_tree(env.hosts["local"], "PATH/logs", env.hosts["local"], "PATH/copy")'
    equal(refused("mkdir logs copy; echo x >logs/a", copy).kind, "conflict")
    equal(refused("mkdir logs; ln -s /etc/passwd logs/a", copy).kind, "conflict")
    equal(refused("true", copy).kind, "missing")
  end)
end)

describe("what is read of files", function()
  it("is type, size, rights and content", function()
    local path = scratch()
    sh("cd $1; printf abc >a; chmod 640 a; mkdir -m 711 d; ln -s a l", path)
    local trial = fixture.trial({ [[
      local here = env.hosts["local"]
      local a, d, l = file.stat(here, "PATH/a"), file.stat(here, "PATH/d"), file.stat(here, "PATH/l")
      assert(a.type == "file" and a.size == 3 and a.mode == "0640" and a.owner and a.group and a.mtime)
      assert(d.type == "directory" and d.mode == "0711" and l.type == "link")
      assert(file.stat(here, "PATH/none") == nil and not file.exists(here, "PATH/none") and file.exists(here, "PATH/a"))
      assert(file.read(here, "PATH/a") == "abc")
      assert(file.sha256(here, "PATH/a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
      local list = file.list(here, "PATH")
      assert(#list == 3 and list[1].name == "a" and list[2].name == "d" and list[3].type == "link")
      local ok, failure = pcall(file.read, here, "PATH/none")
      assert(not ok and failure.kind == "missing")]] }, path)
    trial:run "done"
  end)
end)

describe("an option", function()
  it("that is none is a mistake, and names what was meant", function()
    local failure = refused("true", 'file.write(env.hosts["local"], "PATH/a", "x", { mod = "0600" })')
    matches(tostring(failure.message), "no option is named \"mod\".*mode")
    matches(tostring(refused("true", 'file.write(env.hosts["local"], "PATH/a", "x", { mode = 600 })').message), "mode")
    matches(tostring(refused("true", 'file.write(env.hosts["local"], "relative", "x")').message), "no absolute path")
  end)
end)
