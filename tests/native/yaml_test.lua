local json = require "native.json"
local yaml = require "native.yaml"

local function refused(text, options)
  local failure = raises(yaml.parse, text, options)
  equal(failure.kind, "protocol")
  return failure.message
end

local function value_of(text, options) return (yaml.parse(text, options)) end

describe("yaml.parse", function()
  it("reads an environment", function()
    local value, lines = yaml.parse([[
# production
policy: { guard: production, window: { days: [tue, wed], from: "02:00" } }

hosts:
  old: { ssh: v1.example.org, become: root }
  proxies:
    - { name: proxy1, ssh: p1 }
    - name: proxy2   # the other
      ssh: p2
note: |
  two
  lines
]], { name = "prod.yml" })
    equal(value, {
      policy = { guard = "production", window = { days = { "tue", "wed" }, from = "02:00" } },
      hosts = {
        old = { ssh = "v1.example.org", become = "root" },
        proxies = { { name = "proxy1", ssh = "p1" }, { name = "proxy2", ssh = "p2" } },
      },
      note = "two\nlines\n",
    })
    equal({ lines["policy.window.days.2"], lines["hosts.old.ssh"], lines["hosts.proxies"], lines["hosts.proxies.1"],
      lines["hosts.proxies.2.ssh"], lines.note, lines["hosts.none"] }, { 2, 5, 6, 7, 9, 10, nil })
  end)

  it("reads scalars by YAML 1.2", function()
    local value = value_of [[
- 12
- -3
- +4
- 0x1F
- 0o17
- 1.5
- 1e3
- .5
- 5.
- -1.5E-3
- true
- False
- null
- ~
-
- Null
]]
    local null = json.null
    equal(value, { 12, -3, 4, 31, 15, 1.5, 1000.0, 0.5, 5.0, -0.0015, true, false, null, null, null, null })
    equal({ math.type(value[1]), math.type(value[7]) }, { "integer", "float" })
    equal(value_of "[.inf, -.inf]", { math.huge, -math.huge })
    local nan = value_of ".nan"
    truthy(nan ~= nan)
  end)

  it("leaves text as text", function()
    for _, text in ipairs {
      "yes", "no", "on", "off", "y", "N", "9.3.1", "1_000", "2019-11-01", "12:30:45", "0644", "012345678901", "-007",
      "00.5", "0x", "0o8", "1e", "e5", ".", "+", "..5", "1.5.", "tRue", "nuLL", "0b11", "1e5x", "v1",
      "a b", "é", "=", "-.x",
    } do
      equal(value_of(text), text)
    end
    equal(value_of [=[["1", 'true', "null", "~", "", !!str 5, !!str null]]=],
      { "1", "true", "null", "~", "", "5", "null" })
  end)

  it("leaves all but null as text when it is told to", function()
    equal(value_of("[1, 1.0, true, 0x1F, .inf, null, ~, '', on, 9.3]", { typed = false }),
      { "1", "1.0", "true", "0x1F", ".inf", json.null, json.null, "", "on", "9.3" })
    equal(value_of("99999999999999999999", { typed = false }), "99999999999999999999")
  end)

  it("takes keys as they are written", function()
    equal(value_of "{8080: a, true: b, null: c, 1.0: d, 'x y': e, \"\": f}",
      { ["8080"] = "a", ["true"] = "b", null = "c", ["1.0"] = "d", ["x y"] = "e", [""] = "f" })
    equal(value_of "? a\n: 1\n? b\n", { a = 1, b = json.null })
  end)

  it("keeps lists lists, empty ones too", function()
    equal(json.encode(value_of "{a: [], b: {}, c: [[]]}"), '{"a":[],"b":{},"c":[[]]}')
  end)

  it("reads an empty text as null", function()
    for _, text in ipairs { "", "\n", "# remark\n", "---\n", "--- # x\n...\n", "\xEF\xBB\xBF" } do
      equal(value_of(text), json.null)
    end
  end)

  it("reads folded, quoted and CRLF text", function()
    equal(value_of 'a: >-\n  one\n  two\nb: "x\\ty\\u00e9\\0"\nc: plain\n  goes on\n',
      { a = "one two", b = "x\tyé\0", c = "plain goes on" })
    equal(value_of "a: 1\r\nb:\r\n- x\r\n", { a = 1, b = { "x" } })
    equal(value_of "\xEF\xBB\xBFa: 1", { a = 1 })
  end)

  it("tells lists and dotted keys by their path", function()
    local _, lines = yaml.parse "- a\n- b:\n    c.d: 1\n- [x,\n  y]\n"
    equal(lines, { ["1"] = 1, ["2"] = 2, ["2.b"] = 2, ["2.b.c.d"] = 3, ["3"] = 4, ["3.1"] = 4, ["3.2"] = 5 })
  end)
end)

describe("yaml aliases", function()
  it("are copies", function()
    local value, lines = yaml.parse "a: &x {list: [1, 2]}\nb: *x\nc: [*x, &y text, *y, &f false, *f]\n"
    equal(value, { a = { list = { 1, 2 } }, b = { list = { 1, 2 } },
      c = { { list = { 1, 2 } }, "text", "text", false, false } })
    truthy(value.a ~= value.b and value.a.list ~= value.b.list)
    equal({ lines.b, lines["b.list"] }, { 2, nil })
    equal(json.encode(value_of "[&e [], *e]"), "[[],[]]")
    equal(value_of "{&k a: 1, b: *k}", { a = 1, b = "a" })
    equal(value_of "[&x 1, &x 2, *x]", { 1, 2, 2 })
  end)

  it("need their anchor before them", function()
    matches(refused("a: *none", { name = "x.yml" }), "^x%.yml:1:4: no anchor &none before it$")
    matches(refused "&a [1, *a]", "1:8: &a holds itself")
    matches(refused "&a {x: {y: *a}}", "&a holds itself")
  end)

  it("do not unpack to more than a hundred times the text", function()
    local bomb = { "a: &a [" .. ("lol,"):rep(9) .. "lol]" }
    for i = 98, 106 do
      local name, inner = string.char(i), "*" .. string.char(i - 1)
      bomb[#bomb + 1] = ("%s: &%s [%s%s]"):format(name, name, (inner .. ","):rep(9), inner)
    end
    matches(refused(table.concat(bomb, "\n")), "%d+:%d+: aliases unpack to more than 100 times the text")
    local wide = "a: &a " .. ("x"):rep(100000) .. "\nb: [" .. ("*a,"):rep(200) .. "]"
    matches(refused(wide), "aliases unpack to more than 100 times")
    local fair = "a: &a " .. ("x"):rep(1000) .. "\nb: [" .. ("*a,"):rep(50) .. "]"
    equal(#value_of(fair).b, 50)
  end)
end)

describe("yaml errors", function()
  it("name the file, line and column", function()
    matches(refused("a: 1\nb: [1, 2\nc: 3\n", { name = "prod.yml" }), "^prod%.yml:3:2: .*")
    matches(refused "a: 1\n  b: 2\n", "^yaml:2:4: mapping values are not allowed in this context")
    matches(refused "a: 'x\n",
      "^yaml:2:1: found unexpected end of stream while scanning a quoted scalar that starts in line 1")
  end)

  it("refuse a key that stands twice", function()
    matches(refused "a: 1\nb: 2\n'a': 3\n", "^yaml:3:1: 'a' is there already, in line 1$")
    matches(refused "x: {a: null, a: 1}", "^yaml:1:14: 'a' is there already, in line 1$")
    equal(value_of "{a: {x: 1}, b: {x: 2}}", { a = { x = 1 }, b = { x = 2 } })
  end)

  it("refuse tabs that indent", function()
    matches(refused "a:\n\tb: 1\n", "^yaml:2:1: .*cannot start any token")
    matches(refused "a:\n  b: 1\n\tc: 2\n", "^yaml:3:%d+: ")
    matches(refused "a:\n- b\n\t- c\n", "^yaml:3:%d+: ")
    equal(value_of 'a: "x\ty"\nb: |\n  x\n  \ty\nc: 1\t# remark\n', { a = "x\ty", b = "x\n\ty\n", c = 1 })
  end)

  it("refuse merge keys, tags and keys that are no text", function()
    matches(refused "a: &a {x: 1}\nb:\n  <<: *a\n", "^yaml:3:3: merge keys are not known")
    equal(value_of "{'<<': 1}", { ["<<"] = 1 })
    matches(refused "a: !secret x", "^yaml:1:4: the tag !secret is not known")
    matches(refused "a: !!binary aGk=", "the tag tag:yaml.org,2002:binary is not known")
    matches(refused "a: !!python/object:os.system {}", "is not known")
    matches(refused "? [a]\n: 1\n", "a key that is not plain text")
    matches(refused "? {a: 1}\n: 1\n", "a key that is not plain text")
    matches(refused "a: &x b\n*x : 1\n", "a key that is not plain text")
    matches(refused "?\n: 1\n", "a key is missing")
    equal(value_of "{a: !!map {}, b: !!seq [x]}", { a = {}, b = { "x" } })
  end)

  it("refuse a second document", function()
    matches(refused "a: 1\n---\nb: 2\n", "^yaml:2:1: a second document")
    equal(value_of "%YAML 1.2\n---\na: 1\n...\n", { a = 1 })
  end)

  it("refuse integers that do not fit", function()
    equal(value_of "[9223372036854775807, -9223372036854775808]", { math.maxinteger, math.mininteger })
    matches(refused "a: 9223372036854775808", "^yaml:1:4: an integer of more than 64 bits; quote it")
    matches(refused "0xFFFFFFFFFFFFFFFFF", "more than 64 bits")
  end)

  it("refuse bytes that are no text, and say where", function()
    matches(refused "a: 1\nb: é\xFF\n", "^yaml:2:5: invalid leading UTF%-8 octet")
    matches(refused "a: 1\nb: x\27[0m\n", "^yaml:2:5: control characters are not allowed")
    refused "a: \0"
    refused "a: \xED\xA0\x80"
    refused "\xFF\xFEa\0:\0 \0b\0"
  end)

  it("refuse what is too deep", function()
    equal(json.encode(value_of(("["):rep(256) .. ("]"):rep(256))), ("["):rep(256) .. ("]"):rep(256))
    matches(refused(("["):rep(257) .. ("]"):rep(257)), "^yaml:1:257: nested deeper than 256 levels")
    matches(refused(("["):rep(100000)), "nested deeper")
    matches(refused(("{a: "):rep(100000)), "nested deeper")
    local block = {}
    for i = 0, 300 do block[#block + 1] = (" "):rep(i) .. "a:" end
    matches(refused(table.concat(block, "\n")), "nested deeper")
    refused(("- "):rep(100000))
  end)

  it("refuse what is too much", function()
    matches(refused("[" .. ("1,"):rep(1000000) .. "]"), "more than a million values")
  end)

  it("refuse options that are none", function()
    matches(raises(yaml.parse, "a", { file = "x" }), "no option is named 'file'")
    matches(raises(yaml.parse), "string expected")
  end)

  it("come quickly for any cut of a text", function()
    local text = "a: &x {b: [1, 'two', \"three\\n\"], c: !!str 4}\nd: |\n  text\ne: *x\n? f\n: - g\n  - >-\n   h\n"
    for length = 0, #text do
      local ok, failure = pcall(yaml.parse, text:sub(1, length))
      truthy(ok or failure.kind == "protocol")
    end
  end)
end)
