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

describe("yaml.nodes", function()
  --- Each node as its kind, style and text.
  local function shown(text)
    local tree, list, id = yaml.nodes(text), {}, 1
    while true do
      local ok, kind, style, first, content, last, line, column = pcall(tree.node, tree, id)
      if not ok then return list end
      list[id] = ("%s %s %d:%d %s|%s"):format(kind, style, line, column, text:sub(first, content - 1),
        text:sub(content, last))
      id = id + 1
    end
  end

  it("says where each node stands", function()
    equal(shown "a: &x !!str 'é'  # c\nlist:\n- - 1\n-\nb: {c: [d], e: }\n", {
      "map block 1:0 |a: &x !!str 'é'  # c\nlist:\n- - 1\n-\nb: {c: [d], e: }", "scalar plain 1:0 |a",
      "scalar single 1:3 &x !!str |'é'", "scalar plain 2:0 |list", "list block 3:0 |- - 1\n-", "list block 3:2 |- 1",
      "scalar plain 3:4 |1", "scalar plain 4:1 |", "scalar plain 5:0 |b", "map flow 5:3 |{c: [d], e: }",
      "scalar plain 5:4 |c", "list flow 5:7 |[d]", "scalar plain 5:8 |d", "scalar plain 5:12 |e",
      "scalar plain 5:15 |",
    })
  end)

  it("counts bytes behind a byte order mark and letters of several bytes", function()
    equal(shown "\xEF\xBB\xBFé: ü\nñ: \"日本\"\n", {
      "map block 1:0 |é: ü\nñ: \"日本\"", "scalar plain 1:0 |é", "scalar plain 1:3 |ü", "scalar plain 2:0 |ñ",
      "scalar double 2:3 |\"日本\"" })
  end)

  it("ends a block scalar before blank lines, unless it keeps them", function()
    local text = "a: |\n  x\n \n\nb: |+\r\n  y\r\n\r\nc: >- # c\n  z\n"
    local list = shown(text)
    equal({ list[3], list[5], list[7] }, { "scalar literal 1:3 ||\n  x", "scalar literal 5:3 ||+\r\n  y\r\n",
      "scalar folded 8:3 |>- # c\n  z" })
  end)

  it("knows documents, aliases and what is the same", function()
    local tree = yaml.nodes "a: &x [1]\nb: *x\nc: *x\n---\na: &x [1]\n"
    equal(tree:documents(), { { root = 1, first = 1 }, { root = 9, first = 23 } })
    equal(tree:aliases(), { 6, 3, 8, 3 })
    equal(tree:children(1), { 2, 3, 5, 6, 7, 8 })
    equal({ tree:same(3, tree, 11) }, { true })
    equal({ tree:same(1, tree, 9) }, { false, 5 })
    equal({ tree:value(1), tree:text(6) }, { { a = { 1 }, b = { 1 }, c = { 1 } }, "x" })
    equal(yaml.nodes "":documents(), { { first = 1 } })
    equal({ yaml.nodes "a:\n   b: 1\nc:\n- 1\n":indent() }, { 3, true })
    matches(raises(tree.node, tree, 0), "no node of this tree")
    matches(raises(tree.node, tree, 99), "no node of this tree")
  end)

  it("refuses what parse refuses, tags and merge keys only when asked for values", function()
    for _, text in ipairs { "a: 1\na: 2\n", "a: *x\n", "a: [", ("["):rep(257) .. ("]"):rep(257), "a: \xFF",
      "a: &x 1\n---\nb: *x\n" } do
      equal(raises(yaml.nodes, text, { name = "n" }).kind, "protocol")
    end
    local many = {}
    for i = 1, 100 do many[i] = ("k%d: 1"):format(i) end
    many[101] = "k50: 2"
    matches(raises(yaml.nodes, table.concat(many, "\n")).message, "^yaml:101:1: 'k50' is there already, in line 50$")
    local tree = yaml.nodes("a: !t x\nb:\n  <<: {}\nc: &r [*r]\n")
    for _, id in ipairs { 3, 5, 9 } do equal(raises(tree.value, tree, id).kind, "protocol") end
    local bomb = { "a: &a [" .. ("lol,"):rep(9) .. "lol]" }
    for i = 98, 106 do
      local name, inner = string.char(i), "*" .. string.char(i - 1)
      bomb[#bomb + 1] = ("%s: &%s [%s%s]"):format(name, name, (inner .. ","):rep(9), inner)
    end
    matches(raises(tree.value, yaml.nodes(table.concat(bomb, "\n")), 1).message, "more than 100 times the text")
  end)
end)

describe("yaml.emit", function()
  it("writes what reads as the same", function()
    local hard = { "", " ", "a", "yes", "No", "~", "null", "1", "-1", "1.0", ".5", "1e3", "0x1F", "0b1", "1_000",
      "12:30:45", "2001-12-14t21:59:43.10-05:00", ".inf", "-.INF", ".nan", "=", "<<", "- a", "-", "-a", "? a", "?", ":",
      ":a", "a:", "a: b", "a :b", "a #b", "#a", "a#b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "{a", "a}", "[a",
      "a,b", "'a", "\"a", "a'b", "---", "--- a", "...", "a\nb", "a\n", "\n", "\na", "a\n\n", " a\nb", "a \nb ", "a\n  ",
      "\ta", "a\tb", "é", "日本", "\u{2028}", "\u{85}", "\u{FEFF}", "\r", "a\r\nb", "\27", "\127", "\\",
      "http://x:80/y?z", "C:\\x", "x: y\nz", "😀" }
    local value = { list = hard, nested = { { a = { { b = json.array {} } } }, { hard, { c = {} } } },
      numbers = { 1, 1.0, -0.5, 1e300, 1e16, 0.1, math.mininteger, math.huge, -math.huge },
      flags = { true, false, json.null } }
    for _, text in ipairs(hard) do value["key " .. text] = text end
    for _, text in ipairs(hard) do value.keys = value.keys or {} value.keys[text] = 1 end
    for _, options in ipairs { {}, { flow = true }, { flush = true, indent = 4 }, { quote = "'" }, { quote = '"' } } do
      local back = value_of(yaml.emit(value, options))
      equal(back, value)
      equal(math.type(back.numbers[2]), "float")
    end
  end)

  it("sorts keys, those that are named first", function()
    equal(yaml.emit({ b = 1, a = { z = 1, kind = 2 }, kind = 3 }, { order = { "kind" } }),
      "kind: 3\na:\n  kind: 2\n  z: 1\nb: 1\n")
  end)

  it("writes blocks or braces, lists indented or not", function()
    local value = { a = { 1, { b = 2, c = { 3 } } }, d = {} }
    equal(yaml.emit(value), "a:\n  - 1\n  - b: 2\n    c:\n      - 3\nd: {}\n")
    equal(yaml.emit(value, { flush = true }), "a:\n- 1\n- b: 2\n  c:\n  - 3\nd: {}\n")
    equal(yaml.emit(value, { flow = true }), "{a: [1, {b: 2, c: [3]}], d: {}}\n")
    equal({ yaml.emit "a\nb\n", yaml.emit { { { 1 } } }, yaml.emit(5) }, { "|\n  a\n  b\n", "- - - 1\n", "5\n" })
  end)

  it("refuses what has no form", function()
    for _, value in ipairs { print, { [1.5] = 1 }, { 1, 2, [4] = 4 }, "\xFF", { a = { b = "\xC0\x80" } },
      setmetatable({}, { __index = {} }), { [("k"):rep(501)] = 1 } } do
      matches(raises(yaml.emit, value), "has no YAML form")
    end
    local loop = {}
    loop[1] = loop
    matches(raises(yaml.emit, loop), "deeper than 256 levels")
    matches(raises(yaml.emit, 1, { indent = 0 }), "indent is 1 to 16")
    matches(raises(yaml.emit, 1, { quote = "x" }), "quote is")
  end)
end)
