local crypto  = require "native.crypto"
local fs      = require "native.fs"
local json    = require "native.json"
local process = require "native.process"
local secret  = require "native.secret"

local VALUE = "canary/s3cret+\"quoted\" 'tick' €"

local function hex_of(text) return (text:gsub(".", function(byte) return ("%%%02X"):format(byte:byte()) end)) end

describe("a secret", function()
  local keys, value

  before_each(function()
    keys = secret.keyring()
    value = secret.literal(VALUE, keys, "test:value")
  end)

  it("shows four digits of its fingerprint", function()
    local mark = secret.fingerprint(value):sub(1, 4)
    equal(tostring(value), ("(secret %s)"):format(mark))
    equal(("%s"):format(value), tostring(value))
    equal(#secret.fingerprint(value), 64)
  end)

  it("has another fingerprint by another key", function()
    local other = secret.literal(VALUE, secret.keyring())
    truthy(secret.fingerprint(other) ~= secret.fingerprint(value))
    truthy(other ~= value)
    truthy(secret.literal(VALUE, keys) == value)
  end)

  it("is not looked into, measured, ordered or altered", function()
    for _, act in ipairs {
      function() return #value end, function() return value.x end, function() value.x = 1 end,
      function() return value < value end, function() return value:sub(1) end, function() return value() end,
      function() return pairs(value) end,
    } do matches(raises(act), "a secret is not looked into") end
    matches(raises(function() return value .. {} end), "concatenate a table value with a secret")
    equal(getmetatable(value).__concat, nil)
  end)

  it("stays one when it is joined, and shows what is not secret in it", function()
    local line = "key = " .. value .. "\nnumber = " .. 3 .. "\n"
    truthy(secret.is(line))
    equal(secret.text(line), ("key = %s\nnumber = 3\n"):format(tostring(value)))
    equal(secret.size(line), #VALUE + 18)
    truthy(secret.same(line, "key = " .. VALUE .. "\nnumber = 3\n"))
    truthy(not secret.same(line, "key = x"))
    truthy(not secret.same(line, value))
    equal(secret.source(value), "test:value")
    equal(secret.source(line), nil)
  end)

  it("is a reference in JSON", function()
    equal(json.decode(json.encode { value }),
      { { ["$secret"] = "test:value", fingerprint = secret.fingerprint(value) } })
    equal(json.decode(json.encode { "a" .. value })[1]["$secret"], true)
  end)

  it("is given to a program by its input and environment, and not as an argument", function()
    local function run(argv, options)
      options.reads = true
      return process.run(argv, options)
    end
    equal(run({ "sha256sum" }, { input = value }).out:sub(1, 64), crypto.sha256(VALUE))
    local out = run({ "sh", "-c", 'printf %s "$X" | sha256sum' }, { env = { X = value } }).out
    equal(out:sub(1, 64), crypto.sha256(VALUE))
    local stream <close> = process.spawn({ "sha256sum" }, { reads = true })
    stream:write("a" .. value)
    stream:close_input()
    equal(stream:read():sub(1, 64), crypto.sha256("a" .. VALUE))
    matches(raises(run, { "echo", value }, {}), "an argument would show a secret .* hand it over as `input`")
  end)

  it("is encoded as a secret", function()
    local encoded = secret.base64(value)
    truthy(secret.is(encoded))
    truthy(secret.same(encoded, crypto.base64(VALUE)))
    equal(secret.text(encoded .. "."), tostring(value) .. ".")
    equal(secret.base64 "abc", "YWJj")
  end)

  it("survives collection while others come and go", function()
    for i = 1, 3000 do
      local one = secret.literal("short-lived " .. i % 7, keys) .. "!"
      truthy(secret.is(one))
    end
    collectgarbage()
    truthy(secret.same(value, VALUE))
  end)
end)

describe("where a secret comes from", function()
  local keys, folder

  before_each(function() keys, folder = secret.keyring(), scratch() end)

  local function file(text, mode)
    fs.write(folder .. "/value", text, { mode = mode or "0600" })
    return folder .. "/value"
  end

  it("may be a file that is its owner's alone, without the last line end", function()
    truthy(secret.same(secret.file(file "of-a-file\n", keys), "of-a-file"))
    truthy(secret.same(secret.file(file "secret on two\nlines of a file\r\n", keys), "secret on two\nlines of a file"))
    local failure = raises(secret.file, file("of-a-file", "0640"), keys)
    equal(failure.kind, "denied")
    matches(failure.message, "others than its owner may read .* chmod 0600")
    equal(raises(secret.file, folder .. "/none", keys).kind, "missing")
    equal(raises(secret.file, folder, keys).kind, "denied")
    equal(raises(secret.file, file(("x"):rep(1024 * 1024 + 1)), keys).kind, "denied")
  end)

  it("may be a variable", function()
    truthy(secret.same(secret.variable("HOME", keys), os.getenv "HOME"))
    local failure = raises(secret.variable, "NEAP_NOT_THERE", keys)
    equal({ failure.kind, failure.message }, { "missing", "the environment has no variable NEAP_NOT_THERE" })
  end)

  it("may be a program's output", function()
    local function collect(text)
      local stream <close> = process.spawn({ "sh", "-c", text }, { reads = true })
      return secret.collect(stream, keys, "cmd:test")
    end
    local value, said, status = collect "printf 'of-a-command\\n'; echo warned >&2"
    truthy(secret.same(value, "of-a-command"))
    equal({ said, status, secret.source(value) }, { "warned\n", 0, "cmd:test" })
    equal(select(3, collect "exit 3"), 3)
    equal(select(3, collect "kill -9 $$"), -1)
    truthy(secret.same(collect "head -c 200000 /dev/zero | tr '\\0' Q", ("Q"):rep(200000)))
    equal(raises(collect, "head -c 2000000 /dev/zero").kind, "protocol")
  end)
end)

describe("redaction", function()
  local keys, mark

  before_each(function()
    keys = secret.keyring()
    mark = tostring(secret.literal(VALUE, keys))
    mark = secret.redact(VALUE) -- whoever opened it first named it
  end)

  local function encodings()
    local shell = VALUE:gsub("'", "'\\''")
    local list = {
      plain = VALUE, hex = crypto.hex(VALUE), HEX = crypto.hex(VALUE):upper(), shell = shell,
      json = json.encode(VALUE):sub(2, -2), url = VALUE:gsub("[^%w._~-]", hex_of),
      form = VALUE:gsub("[^%w._* -]", hex_of):gsub(" ", "+"),
    }
    return list
  end

  it("finds a secret plain, hexadecimal, in a URL, in JSON, in a shell's quotes", function()
    for name, text in pairs(encodings()) do
      equal({ name, secret.redact("<" .. text .. ">") }, { name, "<" .. mark .. ">" })
      truthy(secret.holds(text))
    end
    equal(secret.redact "nothing", "nothing")
    equal(secret.holds "nothing", nil)
  end)

  it("finds it in base64, wherever it begins", function()
    for _, before in ipairs { "", "a", "ab", "abc", "abcd" } do
      local text = crypto.base64(before .. VALUE .. "after")
      local shown = secret.redact(text)
      truthy(shown:find(mark, 1, true))
      truthy(#shown < #text * 0.6)
      local named = text:gsub("%+", "-"):gsub("/", "_")
      truthy(secret.redact(named):find(mark, 1, true))
    end
  end)

  it("finds one in pieces, and holds back no more than could be one", function()
    local text = "before " .. VALUE .. " between " .. crypto.hex(VALUE) .. " after"
    for size = 1, #text do
      local redactor, shown = secret.redactor(), {}
      for at = 1, #text, size do shown[#shown + 1] = redactor:add(text:sub(at, at + size - 1)) end
      shown[#shown + 1] = redactor:finish()
      equal(table.concat(shown), ("before %s between %s after"):format(mark, mark))
    end
    local redactor = secret.redactor()
    equal(redactor:add "all of it\n", "all of it\n")
    equal(redactor:add(VALUE:sub(1, 7)), "")
    equal(redactor:add " no~", VALUE:sub(1, 7) .. " no~")
    equal(redactor:finish(), "")
  end)

  it("finds the lines of one that has several", function()
    local line = "b64line/" .. ("k"):rep(40)
    secret.literal("-----BEGIN KEY-----\n" .. line .. "\n-----END KEY-----", keys)
    truthy(secret.holds(line))
    equal(secret.holds "-----BEGIN KEY-----", nil)
  end)

  it("looks for nothing shorter than six bytes", function()
    local short = secret.literal("abcde", keys)
    truthy(secret.is_short(short))
    equal(secret.holds "abcde", nil)
    equal(secret.text("x" .. short), "x" .. tostring(short))
  end)

  it("knows its own marks", function()
    truthy(secret.marked("key = " .. mark))
    equal(secret.marked "key = (secret xxxx)", false)
    equal(secret.marked "key = (secret ", false)
  end)

  it("reaches what is printed and what errors say", function()
    equal(require "native.terminal".clean("<" .. VALUE .. ">"), "<" .. mark .. ">")
    local failure = require "native.error".new { kind = "remote", message = "no " .. VALUE, output = VALUE,
      hint = VALUE }
    equal({ failure.message, failure.output, failure.hint }, { "no " .. mark, mark, mark })
    local stream <close> = process.spawn({ "sh", "-c", "cat; sleep 60" }, { reads = true })
    local failed = raises(stream.collect, stream, { input = VALUE, timeout = 0.3 })
    equal({ failed.kind, failed.output }, { "timeout", mark })
  end)
end)

describe("a key", function()
  local folder

  before_each(function() folder = scratch() end)

  it("is made when it is needed, for its owner alone", function()
    local path = folder .. "/key"
    local keys = secret.keyring(path)
    equal(fs.exists(path), false)
    local value = secret.literal(VALUE, keys)
    local found = fs.stat(path)
    equal({ found.size, found.mode }, { 32, "0600" })
    equal(fs.list(folder), { "key" })
    equal(secret.fingerprint(secret.literal(VALUE, secret.keyring(path))), secret.fingerprint(value))
  end)

  it("is refused where everybody may read it, or where it is none", function()
    local path = folder .. "/key"
    local function use() return secret.literal(VALUE, secret.keyring(path)) end
    fs.write(path, ("k"):rep(32), { mode = "0644" })
    local failure = raises(use)
    equal(failure.kind, "denied")
    matches(failure.message, "open to everybody")
    fs.write(path, "short", { mode = "0600" })
    matches(raises(use).message, "has 5 bytes instead of 32")
    path = folder .. "/nowhere/key"
    equal(raises(use).kind, "missing")
  end)

  it("seals a secret, which only it opens again", function()
    local path = folder .. "/key"
    local keys = secret.keyring(path)
    local line = "key = " .. secret.literal(VALUE, keys) .. "\n"
    local bytes = secret.seal(line, keys)
    equal(bytes:find(VALUE, 1, true), nil)
    truthy(secret.seal(line, keys) ~= bytes)
    local again = secret.sealed(bytes, secret.fingerprint(line), secret.keyring(path))
    truthy(again == line)
    truthy(secret.is_open(again))
    equal(secret.text(again), secret.text(line))
    truthy(secret.same(again .. "x", "key = " .. VALUE .. "\nx"))
    local other = secret.sealed(bytes, secret.fingerprint(line), secret.keyring())
    equal(tostring(other), tostring(line))
    equal(raises(secret.text, other).kind, "journal")
    for at = 1, #bytes do
      local damaged = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1) .. bytes:sub(at + 1)
      equal(raises(secret.text, secret.sealed(damaged, secret.fingerprint(line), keys)).kind, "journal")
    end
  end)

  it("seals a text that holds one, which is a text again", function()
    local keys = secret.keyring()
    local value = "sealed-within-a-text"
    secret.literal(value, keys)
    local bytes = secret.seal("a " .. value .. " b", keys)
    equal(bytes:find(value, 1, true), nil)
    equal(secret.unseal(bytes, keys), "a " .. value .. " b")
    equal(raises(secret.unseal, bytes, secret.keyring()).kind, "journal")
  end)
end)

describe("a reference", function()
  it("equals what it refers to, and is filled by it alone", function()
    local keys = secret.keyring()
    local value = secret.literal(VALUE, keys, "cmd:pass show x")
    local closed = secret.reference("cmd:pass show x", secret.fingerprint(value), keys)
    truthy(closed == value)
    truthy(not secret.is_open(closed))
    local failure = raises(function() return closed .. "x" end)
    equal(failure.kind, "missing")
    matches(failure.message, "only its source is known here: cmd:pass show x")
    equal(raises(secret.fill, closed, secret.literal("an0ther-s3cret", keys)).kind, "conflict")
    secret.fill(closed, value)
    truthy(secret.same(closed .. "x", VALUE .. "x"))
  end)
end)

describe("an earlier text", function()
  local keys, value

  before_each(function()
    keys = secret.keyring()
    value = secret.literal("the-new-password", keys)
  end)

  local function shown(earlier, later)
    return (secret.text(secret.like(earlier, later)):gsub("secret %x+", "secret"))
  end

  it("shows no value where the later one has a secret", function()
    local later = "user = me\npassword = " .. value .. " # changed\nport = 1\n"
    equal(shown("user = you\npassword = old1 # changed\nport = 2\n", later),
      "user = you\npassword = (secret) # changed\nport = 2\n")
    equal(shown("  password = old one\n", later), "  password = (secret)\n")
    equal(shown("nothing = here\n", later), "nothing = here\n")
    equal(shown("password = the-new-password", later), "password = (secret)")
  end)

  it("has its old value looked for from now on", function()
    secret.like("password = the-old-password\n", "password = " .. value .. "\n")
    truthy(secret.holds "the-old-password")
  end)

  it("is secret as a whole where nothing says which part is", function()
    equal(shown("an old token\n", value .. "\n"), "(secret)")
    equal(shown("first\nan old token\n", "first\n" .. value .. "\n"), "(secret)")
    equal(shown("", value), "")
    local key = secret.literal("-----BEGIN\nbase64\n-----END", keys)
    equal(shown("key: -----BEGIN\nold\n-----END\nx: 1\n", "key: " .. key .. "\nx: 1\n"), "(secret)")
  end)
end)

describe("a value inside a secret", function()
  local keys

  before_each(function() keys = secret.keyring() end)

  local function pick(text, path)
    return secret.pick(secret.literal(text, keys, "test:document"), path, "test:value")
  end

  local function is(text, path, expected)
    local value = pick(text, path)
    if not secret.same(value, expected) then error(("%s of %q is another"):format(path, text), 2) end
    return value
  end

  it("is picked out of JSON by names and numbers", function()
    local text = '{ "a": {"b": ["x", {"c": "found"}, -1.5e3, true, null]}, "n": 12, "é\\"": "q-canary", "b": "other" }'
    equal(secret.source(is(text, "a.b.2.c", "found")), "test:value")
    is(text, "a.b.1", "x")
    is(text, "a.b.3", "-1.5e3")
    is(text, "a.b.4", "true")
    is(text, "n", "12")
    is(text, 'é"', "q-canary")
    is('["x", "y"]', "2", "y")
    is(' {"a":""}', "a", "")
  end)

  it("has the escapes of JSON read", function()
    is([[{"k\u0065y": "\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t\u0000."}]], "key", "é😀\"\\/\b\f\n\r\t\0.")
  end)

  it("is picked out of YAML, of every style", function()
    local text = [[
# kept
a:
  plain: plain-canary kept # said
  'single': 'it''s'
  double: "a\tb"
  block: |
    block-canary
    second
  folded: >-
    folded-canary
    line
  list: [x, y]
  none: ~
  number: 007
  text: 'null'
]]
    is(text, "a.plain", "plain-canary kept")
    is(text, "a.single", "it's")
    is(text, "a.double", "a\tb")
    is(text, "a.block", "block-canary\nsecond\n")
    is(text, "a.folded", "folded-canary line")
    is(text, "a.list.2", "y")
    is(text, "a.number", "007")
    is(text, "a.text", "null")
    equal(raises(pick, text, "a.none").kind, "missing")
  end)

  it("is looked for like any other from then on", function()
    local value = is('{"a": "picked-canary"}', "a", "picked-canary")
    equal(secret.redact "x picked-canary", "x " .. tostring(value))
    equal(tostring(value), ("(secret %s)"):format(secret.fingerprint(value):sub(1, 4)))
  end)

  it("that is not there is missing, and one that is no value is refused", function()
    for _, text in ipairs { '{"a": {"b": 1, "l": []}, "n": null}', "a: { b: 1, l: [] }\nn: ~\n" } do
      for _, path in ipairs { "b", "a.c", "a.b.c", "a.l.1", "n", "a.0" } do
        local failure = raises(pick, text, path)
        equal({ path, failure.kind, failure.message }, { path, "missing", ("there is no %s in it"):format(path) })
      end
      for _, path in ipairs { "a", "a.l" } do matches(raises(pick, text, path).message, "is a list or a map") end
    end
  end)

  it("that stands there twice is refused", function()
    matches(raises(pick, '{"a": "one", "b": 2, "a": "two"}', "a").message, "a stands there twice")
    matches(raises(pick, "a: one\na: two\n", "a").message, "a stands there twice")
  end)

  it("is not picked out of what is damaged, and no message shows what stands there", function()
    local good = '{"a": ["hunter2", {"b": "hunter2\\u0041"}], "c": -1, "d": true}'
    is(good, "a.2.b", "hunter2A")
    for length = 1, #good - 1 do
      local failure = raises(pick, good:sub(1, length), "a.2.b")
      equal(failure.kind, "protocol")
      equal(failure.message:find "hunter", nil)
    end
    for _, text in ipairs {
      '{"a": "b"} x', '{"a": "b",}', '{"a" "b"}', '{a: "b", "c": }', '{"a": "\\x"}', '{"a": "\\ud800"}',
      '{"a": "\\ud800\\u0041"}', '{"a": "\\udc00"}', '{"a": "\1"}', '{"a": +1}', '{"a": -}', '{"a": tru}',
      '["a" "b"]', "a: [hunter2\n", "a: 'hunter2\n",
      "a: hunter2\n b: c: d\n", "", "a: hunter2\n---\na: b\n", "? [a]\n: hunter2\n", "a: \"hunter2\\q\"\n", "\tb: c",
      ("["):rep(600), ("- "):rep(300) .. "a",
    } do
      local failure = raises(pick, text, "a")
      truthy(failure.kind == "protocol")
      equal(failure.message:find "hunter", nil)
    end
  end)

  it("is not followed through an alias", function()
    is("x: &anchor hunter2\na: plain\ny: *anchor\n", "a", "plain")
    is("x: &anchor hunter2\n", "x", "hunter2")
    matches(raises(pick, "x: &anchor { a: b }\ny: *anchor\n", "y.a").message, "an alias stands where")
  end)

  it("asks for a path, and for a secret", function()
    matches(raises(pick, "{}", ""), "names nothing")
    matches(raises(secret.pick, "a: b", "a"), "secret expected")
  end)
end)
