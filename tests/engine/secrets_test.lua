local crypto  = require "native.crypto"
local data    = require "neap.engine.data"
local fs      = require "native.fs"
local json    = require "native.json"
local secret  = require "native.secret"
local secrets = require "neap.secrets"
local world   = require "tests.engine.world"

local VALUE = "engine-secret-5f21"

describe("a secret in plain data", function()
  local keys, value, blobs

  before_each(function()
    keys, blobs = secret.keyring(), {}
    value = secret.literal(VALUE, keys, "cmd:pass show x")
  end)

  local function keep(bytes)
    local digest = crypto.sha256(bytes)
    blobs[digest] = bytes
    return digest
  end

  local function fetch(digest) return blobs[digest] end

  local function through(state)
    local line = json.encode(data.pack(state, keep, keys))
    for _, bytes in pairs(blobs) do line = line .. bytes end
    equal(line:find(VALUE, 1, true), nil)
    return data.unpack(json.decode(json.encode(data.pack(state, keep, keys))), fetch, keys)
  end

  it("is copied as what it is, and compared by what it stands for", function()
    local state = data.plain { content = "a" .. value }
    truthy(secret.is(state.content))
    truthy(data.same(state, { content = "a" .. VALUE }))
    truthy(data.same({ content = "a" .. VALUE }, state))
    truthy(not data.same(state, { content = "b" }))
    truthy(not data.same(state, { content = 1 }))
    truthy(not data.same(state, {}))
    equal(data.digest(state), data.digest { content = "a" .. value })
    truthy(data.digest(state) ~= data.digest { content = "b" .. value })
  end)

  it("is journaled as where it comes from", function()
    equal(data.pack({ input = value }, keep, keys),
      { input = { ["$secret"] = "cmd:pass show x", fingerprint = secret.fingerprint(value) } })
    local back = through({ input = value }).input
    truthy(back == value)
    truthy(not secret.is_open(back))
  end)

  it("is sealed where it was joined with others, or typed", function()
    local back = through { content = "key = " .. value .. "\n", typed = secret.literal(VALUE, keys, "ask:It") }
    truthy(secret.same(back.content, "key = " .. VALUE .. "\n"))
    truthy(secret.same(back.typed .. "", VALUE))
    equal(secret.text(back.content), ("key = %s\n"):format(tostring(value)))
  end)

  it("is sealed within a text, which comes back as a text", function()
    equal(through { out = "x " .. VALUE .. " y", list = { VALUE } }, { out = "x " .. VALUE .. " y", list = { VALUE } })
  end)

  it("stays sealed for who reads without the key", function()
    local packed = json.decode(json.encode(data.pack({ a = "k " .. value, b = "t " .. VALUE, c = value }, keep, keys)))
    local shown = data.unpack(packed, fetch)
    matches(shown.a, "^%(secret %x%x%x%x%)$")
    equal({ shown.b, shown.c }, { "(sealed: it holds a secret)", tostring(value) })
  end)

  it("is shown as its mark, in texts too", function()
    equal(data.shown { a = "k " .. value, b = { "t " .. VALUE }, c = 1 },
      { a = "k " .. tostring(value), b = { "t " .. secret.redact(VALUE) }, c = 1 })
  end)

  it("makes what stood there before a secret", function()
    local before = { content = "user = me\npassword = former\n", mode = "0600" }
    local after = { content = "user = me\npassword = " .. value .. "\n", mode = "0600" }
    local concealed = data.conceal(before, after)
    truthy(data.same(concealed, before))
    equal(concealed.mode, "0600")
    matches(secret.text(concealed.content), "^user = me\npassword = %(secret %x+%)\n$")
    equal(data.conceal(nil, after), nil)
    equal(data.conceal(before, nil), before)
  end)
end)

describe("a reference", function()
  local from

  before_each(function()
    from = { keys = secret.keyring(), policy = { allow_exec = { "printf" } }, root = scratch() }
  end)

  it("has a form", function()
    for reference, message in pairs {
      ["hunter2"] = "stands there itself", ["evn:X"] = "no secrets of evn:.*env", ["env:1x"] = "names no variable",
      ["file:"] = "names no file", ["cmd:"] = "names no program", ["ask:"] = "says nothing",
      ["k8s:a/b"] = "is no CLUSTER/NAMESPACE/NAME#KEY",
      ["vault:a/b"] = "behind # stands which value", ["vault:a#b"] = "is no path",
      ["ssm:a b"] = "no name of a parameter", ["aws-sm:"] = "is no name",
      ["cmd:sops -d x#a..b"] = "parted by dots",
      ["file:x#"] = "parted by dots", ["file:#a"] = "names no file", ["cmd:#a.b"] = "names no program",
      ["cmd:a 'b"] = "a quote is not closed",
    } do
      local failure = raises(secrets.parse, reference)
      equal(failure.kind, "protocol")
      matches(failure.message, message)
    end
    equal({ secrets.parse "cmd:pass show a:b" }, { "cmd", "pass show a:b" })
    equal({ secrets.parse "file:/a#b/c#d.e" }, { "file", "/a#b/c", "d.e" })
    equal({ secrets.parse "file:/a#b/c" }, { "file", "/a#b/c" })
    equal({ secrets.parse "cmd:print 'a#b'" }, { "cmd", "print 'a#b'" })
    equal({ secrets.parse "ask:Ticket #7" }, { "ask", "Ticket #7" })
  end)

  it("to a file begins at the repository", function()
    fs.write(from.root .. "/kept", VALUE .. "\n", { mode = "0600" })
    local value = secrets.resolve("file:kept", from)
    truthy(secret.same(value, VALUE))
    equal(secret.source(value), "file:kept")
  end)

  it("picks inside what a file holds or a program prints", function()
    fs.write(from.root .. "/kept", ('{"db": {"password": "%s"}, "empty": ""}\n'):format(VALUE), { mode = "0600" })
    local value = secrets.resolve("file:kept#db.password", from)
    truthy(secret.same(value, VALUE))
    equal(secret.source(value), "file:kept#db.password")
    truthy(secret.same(secrets.resolve("cmd:printf 'token: %s' abcdefgh#token", from), "abcdefgh"))
    local failure = raises(secrets.resolve, "file:kept#db.user", from)
    equal({ failure.kind, failure.message }, { "missing", "file:kept#db.user: there is no db.user in it" })
    equal(raises(secrets.resolve, "file:kept#empty", from).kind, "auth")
  end)

  it("to a program is resolved only where the environment allows it", function()
    truthy(secret.same(secrets.resolve("cmd:printf '%s %s' \"a b\" c", from), "a b c"))
    local failure = raises(secrets.resolve, "cmd:cat x", from)
    equal(failure.kind, "denied")
    matches(failure.hint, "policy.allow_exec")
    equal(raises(secrets.resolve, "cmd:printf", from).kind, "auth")
  end)

  it("to a person is asked, and fails where nobody is there", function()
    from.prompt = function(text, options) return text == "It" and options.secret and VALUE or nil end
    truthy(secret.same(secrets.resolve("ask:It", from), VALUE))
    equal(raises(secrets.resolve, "ask:Other", from).kind, "auth")
  end)
end)

describe("env.secrets", function()
  local function new(steps)
    local w = world.new(steps, { a = "old" })
    w.asked = 0
    w.given = {
      environment = { name = "test/lab", group = "test", hosts = {}, values = {}, policy = {},
        secrets = { token = "ask:Token" } },
      prompt = function()
        w.asked = w.asked + 1
        return VALUE
      end,
    }
    return w
  end

  it("gives a secret inside a step, resolved once", function()
    local w = new [[step "One" { run = function()
      world.set("a", "x" .. env.secrets.token)
      world.set("b", "y" .. env.secrets.token)
    end }]]
    equal(w:start(w.given).status, "done")
    truthy(secret.same(w.values.a, "x" .. VALUE))
    equal(w.asked, 1)
  end)

  it("is not had at file level, nor by a name that is not there", function()
    local w = new [[local token = env.secrets.token]]
    matches(tostring(raises(w.start, w, w.given)), "env.secrets.token is had inside a step")
    w = new [[step "One" { run = function() return env.secrets.tokne end }]]
    matches(tostring(w:start(w.given).failure), "no secret \"tokne\".*token")
  end)

  it("leaves no value in the journal, and is put back by a rollback", function()
    local w = new [[
      step "One" { run = function() world.set("a", "x" .. env.secrets.token) end }
      step "Fail" { run = function() fail("no") end }]]
    local anchored = {}
    function w.given.anchors(text) anchored[#anchored + 1] = text end
    w:start(w.given)
    truthy(#anchored >= 1)
    equal(table.concat(anchored, "\n"):find(VALUE, 1, true), nil)
    for entry in w.store:records(1) do equal(entry.line:find(VALUE, 1, true), nil) end
    for _, bytes in pairs(w.store.blobs) do equal(bytes:find(VALUE, 1, true), nil) end
    equal(w:rollback().status, "rolled back")
    truthy(data.same(w.values.a, "old"))
  end)

  it("is refused where its mark would be written", function()
    local w = new [[step "One" { run = function() world.set("a", "text with " .. tostring(env.secrets.token)) end }]]
    matches(tostring(w:start(w.given).failure), "replaced by its mark")
    equal(w.values.a, "old")
  end)
end)
