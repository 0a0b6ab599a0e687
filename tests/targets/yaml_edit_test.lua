local json      = require "native.json"
local yaml_edit = require "neap.targets.yaml.edit"

--- The text after edits.
local function edited(text, edit)
  local document = yaml_edit.parse(text, "f.yml")
  edit(document)
  return document:text()
end

local function refused(text, edit)
  local failure = raises(edited, text, edit)
  truthy(type(failure) == "table" and failure.kind or error(failure, 2))
  return failure.kind .. ": " .. failure.message
end

local MANIFEST = [[
# the site
kind: Deployment
metadata:
  name: web   # as in DNS
  labels: {app: web, tier: "front"}
spec:
  replicas:   3  # three

  # what runs
  containers:
    # the program
    - name: app    # first
      image: "registry/app:1"
    - name: proxy
      image: 'envoy'
  script: |  # run once
    one
      two

  empty:
]]

local function manifest(changes)
  local text = MANIFEST
  for from, to in pairs(changes) do
    local at, last = text:find(from, 1, true)
    text = text:sub(1, at - 1) .. to .. text:sub(last + 1)
  end
  return text
end

describe("yaml set", function()
  it("changes a value and nothing beside it: spacing, quotes and comments stay", function()
    equal(edited(MANIFEST, function(d)
      d:set("spec.replicas", 5)
      d:set("spec.containers[name=app].image", "registry/app:2")
      d:set("spec.containers[2].image", "it's")
      d:set("metadata.labels.tier", "back")
      d:set("metadata.labels.app", "yes")
    end), manifest { ["3  # three"] = "5  # three", ["app:1"] = "app:2", ["'envoy'"] = "'it''s'",
      ['"front"'] = '"back"', ["app: web,"] = "app: 'yes'," })
  end)

  it("changes no byte where the value is that already", function()
    local text = "a: 0x10\nb: 'x'\nc: {d: [1, ~]}\ne: &x y\nf: *x\n"
    equal(edited(text, function(d)
      d:set("a", 16)
      d:set("b", "x")
      d:set("c", { d = json.array { 1, json.null } })
      d:set("f", "y")
    end), text)
  end)

  it("makes what is not there, in the indentation of the file", function()
    equal(edited("a:\n    b: 1\n", function(d) d:set("a.c.d", { e = { 1 } }) end),
      "a:\n    b: 1\n    c:\n        d:\n            e:\n                - 1\n")
    equal(edited("a:\n- b:\n    c: 1\n", function(d) d:set("x.z", { 1 }) end),
      "a:\n- b:\n    c: 1\nx:\n  z:\n  - 1\n")
    equal(edited("", function(d) d:set("a.b", 1) end), "a:\n  b: 1\n")
    equal(edited("# only\n", function(d) d:set("a", 1) end), "# only\na: 1\n")
    equal(edited("a:  # none\nb: {}  # empty\nc: []\nd: {e: {}}\n", function(d)
      d:set("a.x", 1)
      d:set("b.x", 1)
      d:append("c", 1)
      d:set("d.e.x", 1)
    end), "a:  # none\n  x: 1\nb:  # empty\n  x: 1\nc:\n  - 1\nd: {e: {x: 1}}\n")
  end)

  it("writes texts so that they stay texts", function()
    equal(edited("a: b\n", function(d)
      for i, text in ipairs { "no", "12", "1_0", "0o7", "1e3", "12:30", "2020-1-1", "~", "", "x: y", "x #y", "*z",
        "a\nb\n", " a\nb", "a\tb", "1.27.3", "http://x:80/", "\27" } do
        d:set(("k%02d"):format(i), text)
      end
    end), [[
a: b
k01: 'no'
k02: '12'
k03: '1_0'
k04: '0o7'
k05: '1e3'
k06: '12:30'
k07: '2020-1-1'
k08: '~'
k09: ''
k10: 'x: y'
k11: 'x #y'
k12: '*z'
k13: |
  a
  b
k14: " a\nb"
k15: 'a	b'
k16: 1.27.3
k17: http://x:80/
k18: "\e"
]])
  end)

  it("replaces blocks by values and values by blocks, the comment in the line kept", function()
    equal(edited(MANIFEST, function(d)
      d:set("spec.script", "three\nfour\n")
      d:set("spec.containers", "none")
      d:set("metadata.name", { first = "a", second = { 1, 2 } })
    end), [[
# the site
kind: Deployment
metadata:
  name:   # as in DNS
    first: a
    second:
      - 1
      - 2
  labels: {app: web, tier: "front"}
spec:
  replicas:   3  # three

  # what runs
  containers: none
  script: |  # run once
    three
    four

  empty:
]])
  end)

  it("refuses to make a map of what holds something else", function()
    equal(refused(MANIFEST, function(d) d:set("kind.x", 1) end), "conflict: f.yml:2: kind holds no map")
    equal(refused(MANIFEST, function(d) d:set("spec.containers.x", 1) end),
      "conflict: f.yml:10: spec.containers holds no map")
    equal(refused(MANIFEST, function(d) d:set("spec.containers[name=aap].x", 1) end),
      "missing: f.yml:12: spec.containers[name=aap].x is not there")
  end)
end)

describe("yaml remove", function()
  it("takes the comments above along, and leaves blank lines and others", function()
    equal(edited("a: 1\n\n# far\n\n# near\n# nearer\nb: 2  # in line\n# after\nc: 3\n", function(d) d:remove "b" end),
      "a: 1\n\n# far\n\n# after\nc: 3\n")
    equal(edited(MANIFEST, function(d) d:remove "spec.containers[1]" end), manifest {
      ["    # the program\n    - name: app    # first\n      image: \"registry/app:1\"\n"] = "" })
  end)

  it("leaves {} or [] of what was the last", function()
    equal(edited("a:  # c\n  b: 1\nd:\n- 1\ne: {f: 1}\ng:\n- h: 1\n", function(d)
      for _, path in ipairs { "a.b", "d[1]", "e.f", "g[1].h" } do d:remove(path) end
    end), "a: {}  # c\nd: []\ne: {}\ng:\n- {}\n")
    equal(edited("# c\n\na: 1\n", function(d) d:remove "a" end), "# c\n\n{}\n")
  end)

  it("moves what follows up behind a dash", function()
    equal(edited(MANIFEST, function(d) d:remove "spec.containers[1].name" end), manifest {
      ["- name: app    # first\n      image"] = "- image" })
    equal(edited("- a: 1\n  # of b\n  b: 2\n", function(d) d:remove "[1].a" end), "-\n  # of b\n  b: 2\n")
  end)

  it("takes the comma of an entry in braces or brackets along", function()
    equal(edited("a: {b: 1, c: 2, d: 3}\ne: [1, 2, 3]\nf: [ 1 ]\n", function(d)
      d:remove "a.b"
      d:remove "e[2]"
      d:remove "f[1]"
    end), "a: {c: 2, d: 3}\ne: [1, 3]\nf: []\n")
    equal(edited("a: {b: 1, c: 2}\n", function(d) d:remove "a.c" end), "a: {b: 1}\n")
  end)

  it("says what is not there, and what was probably meant", function()
    equal(refused(MANIFEST, function(d) d:remove "spec.replica" end),
      "missing: f.yml:7: spec.replica is not there. Did you mean 'replicas'?")
  end)
end)

describe("yaml rename, move and copy", function()
  it("keep place, quotes and comments", function()
    equal(edited("# c\n'a':  1 # d\nb: 2\n", function(d) d:rename("a", "x y") end), "# c\n'x y':  1 # d\nb: 2\n")
    equal(refused("a: 1\nb: 2\n", function(d) d:rename("a", "b") end), "conflict: f.yml:2: 'b' is there already")
  end)

  it("take comments and ways of writing along, to another indentation", function()
    equal(edited("a:\n  # why\n  b:  # c\n    - 'x'\n    # y\n    - |\n      text\n  z: 1\nd:\n    e:\n        f: 1\n",
      function(d) d:move("a.b", "d.e.g") end),
      "a:\n  z: 1\nd:\n    e:\n        f: 1\n        # why\n        g:  # c\n          - 'x'\n          # y\n" ..
      "          - |\n            text\n")
    equal(edited("a: {b: 'x'}\nc: 1 # d\n", function(d)
      d:copy("a.b", "e")
      d:move("c", "f.g")
    end), "a: {b: 'x'}\ne: 'x'\nf:\n  g: 1 # d\n")
  end)

  it("keep the place within one map", function()
    equal(edited("a: 1\nb: 2\nc: 3\n", function(d) d:move("b", "x") end), "a: 1\nx: 2\nc: 3\n")
  end)

  it("refuse what is there, and what would hold itself", function()
    equal(refused("a: {b: 1}\nc: 1\n", function(d) d:move("c", "a.b") end), "conflict: f.yml:1: a.b is there already")
    equal(refused("a:\n  b: {}\n", function(d) d:move("a", "a.b.c") end),
      "conflict: f.yml:1: nothing is moved into itself")
  end)
end)

describe("yaml insert and append", function()
  it("put items at an index or beside another", function()
    equal(edited("a:\n  # one\n  - 1\n\n  - n: x\nb: [1, 2]\n", function(d)
      d:insert("a", 1, 0)
      d:insert("a", { before = "[n=x]" }, { m = 1, k = 2 })
      d:append("a", "end")
      d:insert("b", { after = 1 }, "x")
    end), "a:\n  - 0\n  # one\n  - 1\n\n  - k: 2\n    m: 1\n  - n: x\n  - end\nb: [1, x, 2]\n")
    equal(refused("a: [1]\n", function(d) d:insert("a", 3, 1) end),
      "missing: f.yml:1: 1 items are there, and none can be number 3")
  end)

  it("put keys beside another", function()
    equal(edited("a: 1\n\n# c\nb: 2\n", function(d)
      d:insert("x", { before = "b" }, 1)
      d:insert("z", { after = "a" }, 2)
    end), "a: 1\nz: 2\n\nx: 1\n# c\nb: 2\n")
  end)

  it("make a list where none is", function()
    equal(edited("a:\n", function(d)
      d:append("a", 1)
      d:append("b.c", { d = 1 })
    end), "a:\n  - 1\nb:\n  c:\n    - d: 1\n")
  end)
end)

describe("yaml paths", function()
  local SPRING = [[
spring.datasource:
  url: jdbc:x  # the writer
  hikari.max: 5
spring.jpa.show-sql: true
spring:
  flyway:
    enabled: false
other: 1
]]

  it("find keys that are written whole or in part", function()
    local d = yaml_edit.parse(SPRING)
    equal({ d:get "spring.datasource.url", d:get "spring.datasource.hikari.max", d:get "spring.jpa.show-sql",
      d:get "spring.flyway", d:has "spring.x", d:get "spring.flyway.off" }, { "jdbc:x", 5, true, { enabled = false },
      false })
  end)

  it("edit them as they are written", function()
    equal(edited(SPRING, function(d)
      d:set("spring.datasource.url", "jdbc:y")
      d:set("spring.datasource.user", "me")
      d:set("spring.datasource.hikari.min", 1)
      d:set("spring.jpa.open-in-view", false)
      d:set("spring.flyway.url", "u")
      d:rename("spring.jpa.show-sql", "show")
      d:remove "spring.flyway.enabled"
      d:move("other", "spring.datasource.other")
    end), [[
spring.datasource:
  url: jdbc:y  # the writer
  hikari.max: 5
  hikari.min: 1
  user: me
  other: 1
spring.jpa.show: true
spring.jpa.open-in-view: false
spring:
  flyway:
    url: u
]])
  end)

  it("refuse what is there twice or only in part", function()
    equal(refused("a.b: 1\na:\n  b: 2\n", function(d) d:set("a.b", 3) end),
      "conflict: f.yml:1: a.b is there twice, in line 3 too")
    equal(refused("a.b.c: 1\n", function(d) d:remove "a.b" end),
      "conflict: f.yml:1: a.b is part of the key a.b.c: name that")
    equal(refused("- n: x\n- n: x\n", function(d) d:set("[n=x].y", 3) end),
      "conflict: f.yml:2: [n=x] is there twice, in line 1 too")
  end)

  it("take keys with dots in quotes, and say where they are none", function()
    equal(edited("a:\n  app.io/name: x\n", function(d) d:set('a["app.io/name"]', "z") end), "a:\n  app.io/name: z\n")
    for _, path in ipairs { "", "a.", ".a", "a[", "a[x]", "a[1", "a..b", 'a["x]', "a[b=]" } do
      truthy(type(raises(edited, "a: 1\n", function(d) d:get(path) end)) == "string")
    end
  end)
end)

describe("yaml files", function()
  it("keep CRLF, byte order marks, and a last line without an end", function()
    equal(edited("\xEF\xBB\xBFa: 1\r\nb: |\r\n  x\r\nc: 2", function(d)
      d:set("a", "p\nq\n")
      d:set("d.e", 3)
    end), "\xEF\xBB\xBFa: |\r\n  p\r\n  q\r\nb: |\r\n  x\r\nc: 2\r\nd:\r\n  e: 3")
    equal(edited("\xEF\xBB\xBFé: 1\nb: é\n", function(d) d:remove "é" end), "\xEF\xBB\xBFb: é\n")
  end)

  it("may hold several documents, which are chosen by number, kind or name, in a List too", function()
    local text = "kind: A\nmetadata: {name: x}\n--- # second\n" ..
      "kind: List\nitems:\n- kind: A\n  metadata: {name: y}\n...\n"
    equal(edited(text, function(d)
      equal(d:count(), 2)
      d:select { kind = "A", name = "y" }:set("spec.m", 1)
      d:document(1):remove "metadata"
    end), "kind: A\n--- # second\nkind: List\nitems:\n- kind: A\n  metadata: {name: y}\n  spec:\n    m: 1\n...\n")
    equal(refused(text, function(d) d:set("kind", "B") end),
      "conflict: f.yml:4: 2 documents are there: say which, by document(n) or select{kind=}")
    equal(refused(text, function(d) d:select { kind = "A" } end), "conflict: f.yml:6: a second document of kind A")
    equal(refused(text, function(d) d:select { kind = "B" } end), "missing: f.yml has no document of kind B")
  end)

  it("lend each other parts with their comments", function()
    local other = yaml_edit.parse(("x:\n    # why\n    y:  # c\n        - 1\n        # z\n        -   {a: 'b'}\n")
      :gsub("\n", "\r\n"))
    local part = other:subtree "x.y"
    equal(edited("a:\n  b: 1\n  y: 2\n", function(d)
      d:put("a.c", part)
      d:put("a.y", part)
      d:append("l", other:subtree "x.y[2]")
    end), "a:\n  b: 1\n  # why\n  y:  # c\n      - 1\n      # z\n      -   {a: 'b'}\n  # why\n  c:  # c\n      - 1\n" ..
      "      # z\n      -   {a: 'b'}\nl:\n  # z\n  -   {a: 'b'}\n")
  end)

  it("are refused where a reader would see other lines", function()
    equal(refused("a: 1\rb: 2\n", function() end), "conflict: f.yml:1: a line end that is neither LF nor CRLF")
    equal(refused("a: \xE2\x80\xA8b\n", function() end), "conflict: f.yml:1: a line end that is neither LF nor CRLF")
  end)
end)

describe("yaml anchors", function()
  local TEXT = "a: &x\n  b: 1\n  c: &y [1]\nd: *x\ne: &z 2\nf: *y\n"

  it("are not edited where an alias repeats them", function()
    equal(refused(TEXT, function(d) d:set("a.b", 2) end),
      "conflict: f.yml:2: it is in &x, which line 4 repeats: both would change")
    equal(refused(TEXT, function(d) d:set("d.b", 2) end),
      "conflict: f.yml:4: d.b goes through the alias *x: name what it stands for")
    equal(refused(TEXT, function(d) d:remove "a" end),
      "conflict: f.yml:1: an alias in line 4 refers to an anchor in line 1: both stay where they are")
    truthy(refused(TEXT, function(d) d:copy("a", "g") end):find "is not copied")
    truthy(refused(TEXT, function(d) d:move("f", "h.f") end):find "both stay where they are")
  end)

  it("are read through, and stay where nothing repeats them", function()
    equal(yaml_edit.parse(TEXT):get "d.c[1]", 1)
    equal(edited(TEXT, function(d)
      d:set("e", 3)
      d:set("d", 4)
    end), "a: &x\n  b: 1\n  c: &y [1]\nd: 4\ne: &z 3\nf: *y\n")
  end)

  it("make what comes by a merge key unknown", function()
    local text = "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n"
    equal(yaml_edit.parse(text):get "c.d", 2)
    truthy(refused(text, function(d) d:get "c.b" end):find "f.yml:3: what c.b is depends on this merge key")
  end)
end)

describe("yaml that cannot be edited exactly", function()
  it("is refused with its line", function()
    for text, path in pairs {
      ["x: 1\n? a\n: 1\n"] = "a", ["x: 1\n? [a]\n: 1\n"] = "x", ["a: [b: 1]\n"] = "a[1].b",
      ["a: [1, # c\n  2]\n"] = "a[2]",
    } do
      matches(refused(text, function(d) d:remove(path) end), "^conflict: f.yml:%d: ")
    end
  end)

  it("leaves no text behind that is changed in part", function()
    local text = "a: &x {b: 1}\nc: *x\n"
    truthy(refused(text, function(d) pcall(d.move, d, "c", "n.c") end):find "both stay where they are")
    equal(edited(text, function(d) pcall(d.remove, d, "none") end), text)
  end)

  it("is found out when the new text is read again", function()
    local message = refused("a: 1\n    # deep\nb: 2\n", function(d) d:set("a", "x\ny\n") end)
    equal(message, 'verify: f.yml: what was asked for cannot be written exactly: line 1 would be "a: |"')
  end)
end)
