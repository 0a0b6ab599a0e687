local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local sandbox = require "neap.engine.sandbox"
local secret  = require "native.secret"
local yaml    = require "neap.targets.yaml"

describe("yaml.edit", function()
  it("changes a file, shows it in a plan, and a rollback restores every byte", function()
    local path = scratch()
    local before = "# head\nspring.datasource.url: x  # old\r\n"
    fs.write(path .. "/a.yml", before)
    local step = [[yaml.edit("local", "PATH/a.yml", function(doc)
      doc:set("spring.datasource.url", "y")
      doc:set("spring.datasource.user", "me")
    end)]]
    local trial = fixture.trial({ step, 'fail("back")' }, path)
    fixture.trial({ step }, path):plan()
    equal(fs.read(path .. "/a.yml"), before)
    trial:run "stopped"
    equal(fs.read(path .. "/a.yml"), "# head\nspring.datasource.url: 'y'  # old\r\nspring.datasource.user: me\n")
    trial:roll_back "rolled back"
    equal(fs.read(path .. "/a.yml"), before)
  end)

  it("writes nothing where an edit is refused", function()
    local path = scratch()
    fs.write(path .. "/a.yml", "a: &x {b: 1}\nc: *x\n")
    local trial = fixture.trial({ [[yaml.edit("local", "PATH/a.yml", function(doc)
      doc:set("d", 1)
      doc:set("a.b", 2)
    end)]] }, path)
    trial:run()
    equal(fs.read(path .. "/a.yml"), "a: &x {b: 1}\nc: *x\n")
    equal({ trial:failure().kind, (trial:failure().message:gsub("^.*/", "")) },
      { "conflict", "a.yml:1: it is in &x, which line 2 repeats: both would change" })
  end)
end)

describe("yaml documents with secrets", function()
  local hidden

  before_each(function() hidden = secret.literal("pa\"ss'word\n", secret.keyring()) end)

  it("are secrets, with each quoted in its place", function()
    local document = yaml.document "a: 'x'  # c\nb: {c: \"y\"}\n"
    document:set("a", hidden)
    document:set("b.c", hidden)
    document:set("d", { e = { hidden, "z" } })
    local text = document:text()
    truthy(secret.is(text))
    equal(secret.reveal(text), [[
a: "pa\"ss'word\n"  # c
b: {c: "pa\"ss'word\n"}
d:
  e:
    - "pa\"ss'word\n"
    - z
]])
  end)

  it("stay as they are where the secret is there already", function()
    local document = yaml.document "a: 'x'\n"
    document:set("a", secret.literal("x", secret.keyring()))
    equal(document:text(), "a: 'x'\n")
  end)

  it("lend nothing, and are not emitted", function()
    local document = yaml.document "a: 1\n"
    document:set("b", hidden)
    matches(raises(document.subtree, document, "a"), "before a secret is put into")
    matches(raises(yaml.emit, { a = hidden }), "would be readable")
  end)
end)

describe("yaml of plain data", function()
  it("is parsed and emitted, that of a frozen environment too", function()
    local value = { a = { 1, { b = "on" } }, c = {} }
    equal(yaml.parse(yaml.emit(value)), value)
    equal(yaml.emit(sandbox.frozen(value)), yaml.emit(value))
    local document = yaml.document ""
    document:set("x", sandbox.frozen(value))
    equal(yaml.parse(document:text()), { x = value })
    matches(raises(yaml.parse, "a: [", "f.yml").message, "^f.yml:")
    matches(raises(yaml.emit, 1, { flw = true }), "Did you mean 'flow'")
  end)

  it("is read of a file", function()
    local path = scratch()
    fs.write(path .. "/a.yml", "a: 1\n")
    equal(fixture.within(fixture.run(), changing, yaml.read, "local", path .. "/a.yml"), { a = 1 })
  end)
end)
