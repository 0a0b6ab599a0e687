local crypto  = require "native.crypto"
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local server  = require "tests.http_server"
local sshd    = require "tests.sshd"

-- What /bytes/N of the server gives.
local function content(count)
  local block = {}
  for i = 0, 255 do block[i + 1] = string.char(i) end
  return (table.concat(block):rep(count // 256 + 1)):sub(1, count)
end

local SUM = crypto.sha256(content(300000))

local function resident()
  local file <close> = io.open "/proc/self/statm"
  return tonumber(file:read("a"):match "^%d+ (%d+)") * 4096
end

describe("http.download", function()
  local peer, folder

  before_each(function()
    peer, folder = server.start(), scratch()
  end)
  after_each(function() peer:close() end)

  local function staged()
    local list = {}
    for _, entry in ipairs(fs.list "/var/tmp") do
      local name = type(entry) == "table" and entry.name or entry
      if name:find "^neap%-download%-" then list[#list + 1] = name end
    end
    return #list
  end

  local function trial(path, sum, ...)
    local text = ('http.download("%s%s", "local", "PATH/file", { sha256 = "%s", mode = "0640" %s })')
    return fixture.trial({ text:format(peer.url, path, sum, (...) or ""), select(2, ...) }, folder)
  end

  it("brings a file, and a rollback takes it away", function()
    local before = staged()
    local self = trial("/bytes/300000", SUM, "", 'fail "enough"')
    self:run "stopped"
    equal({ crypto.sha256(fs.read(folder .. "/file")), fs.stat(folder .. "/file").mode }, { SUM, "0640" })
    self:roll_back "rolled back"
    equal({ fs.list(folder), staged() }, { {}, before })
  end)

  it("brings nothing while it is planned, nor where it is there already", function()
    local plan = trial("/thing/none", SUM):plan()
    matches(plan.phases[1].steps[1].effects[1].show, "^local .*/file, from http://localhost:")
    sshd.write(folder .. "/file", content(300000))
    sshd.run { "chmod", "640", folder .. "/file" }
    trial("/thing/none", SUM):run "done"
  end)

  it("leaves another file that is there, and nothing of one that is not what was expected", function()
    local failure = trial("/bytes/1000", SUM):run "failed".failure
    equal({ failure.kind, failure.message:match "not what was expected" }, { "conflict", "not what was expected" })
    equal(trial("/half", SUM):run "failed".failure.kind, "lost")
    equal(trial("/status/404", SUM):run "failed".failure.kind, "missing")
    equal(trial("/bytes/300000", SUM, ", max_bytes = 1000"):run "failed".failure.kind, "protocol")
    equal(fs.list(folder), {})
    sshd.write(folder .. "/file", "another")
    failure = trial("/bytes/300000", SUM):run "failed".failure
    equal({ failure.kind, fs.read(folder .. "/file") }, { "conflict", "another" })
  end)

  it("follows where it is sent", function()
    local sum = crypto.sha256(content(300000))
    trial("/moved/300000", sum):run "done"
    equal(fs.stat(folder .. "/file").size, 300000)
  end)

  it("takes much in little memory", function()
    if fs.readlink "/proc/self/exe":find "/san/" then skip "a sanitizer keeps what was freed" end
    local big = 100000000
    local hasher = crypto.hasher()
    for _ = 1, big // 256000 do hasher:update(content(256000)) end
    hasher:update(content(big % 256000))
    collectgarbage()
    local before = resident()
    trial("/bytes/" .. big, hasher:hex()):run "done"
    truthy(resident() - before < 32 << 20)
    equal(fs.stat(folder .. "/file").size, big)
  end)

  it("wants to know what it will be", function()
    local function why(text)
      return tostring(fixture.trial({ "http.download(" .. text .. ")" }, folder):run "failed".failure)
    end
    matches(why '"http://localhost/", "local", "PATH/file", {}', "sha256 says what the file holds")
    local sum = ("a"):rep(64)
    matches(why(('"http://localhost/", "local", "file", { sha256 = "%s" }'):format(sum)), "no absolute path")
    matches(why(('"http://localhost/", "local", "/x", { sha256 = "%s", mode = "x" }'):format(sum)), "mode:")
    matches(why(('"http://localhost/", "local", "/x", { sha256 = "%s", mod = 1 }'):format(sum)), "no option")
  end)
end)
