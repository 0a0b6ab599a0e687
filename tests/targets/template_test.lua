local fixture  = require "tests.targets.fixture"
local fs       = require "native.fs"
local json     = require "native.json"
local process  = require "native.process"
local secret   = require "native.secret"
local template = require "neap.targets.template"
local yaml     = require "native.yaml"

local HARD = "it's \"$(x)\" \\ `id` $HOME;\n'' -- /* \\' é"

describe("template.render", function()
  it("puts each value in, and nothing else changes", function()
    local values = { x = 1, m = { n = true }, l = { "a", "b" }, ["d.e"] = "whole" }
    equal(template.render("a $(x) $$(x) $y $ $$ ${z} $(m.n) $(l.2) $(d.e)$(x)", values, "text"),
      "a 1 $(x) $y $ $$ ${z} true b whole1")
    equal(template.render("", {}, "sh"), "")
  end)

  it("is strict about names, and says line and near name", function()
    local failure = raises(template.render, "a\nb $$(c)\n$(tennant)\n", { tenant = 1 }, "text")
    equal({ failure.kind, failure.message },
      { "missing", "line 3 of the template: $(tennant) is not given. Did you mean 'tenant'?" })
    matches(raises(template.render, "\n$(a.b)", { a = { c = 1 } }, "text").message, "line 2 .*%$%(a%.b%) is not given")
    matches(raises(template.render, "$(a.b)", { a = "x" }, "text").message, "%$%(a%.b%) is not given")
    matches(raises(template.render, "\n$(cat file)", {}, "sh"), "line 2 .* write %$%$%(")
    matches(raises(template.render, "$(a", {}, "sh"), "line 1 .* begins no %$%(name%)")
    matches(raises(template.render, "", {}, "sqk"), "Did you mean 'sql'")
  end)

  it("makes words for a shell that reach a program byte for byte", function()
    local values = { hard = HARD, list = { "a b", "", "*" }, n = 5 }
    local text = template.render("printf '<%s>' $(hard) $(list) $(n)", values, "sh")
    equal(changing(process.run, { "sh", "-c", text }).out, "<" .. HARD .. "><a b><><*><5>")
    matches(raises(template.render, "$(x)", { x = { a = 1 } }, "sh"),
      "line 1 of the template: %$%(x%): a table has no form in sh")
  end)

  it("makes literals for SQL", function()
    equal(template.render("select $(a), $(b), $(c), $(d) where x in ($(l))", { a = "it's \\", b = 1.5, c = false,
      d = json.null, l = { 1, "x'y" } }, "sql"), "select 'it''s \\', 1.5, false, null where x in (1, 'x''y')")
    equal(template.render("$(a)", { a = "it's \\" }, "mysql"), "'it''s \\\\'")
    equal(raises(template.render, "$(a)", { a = "x\0y" }, "sql").kind, "protocol")
  end)

  it("makes scalars, lists and maps for JSON and YAML", function()
    local values = { a = HARD, b = { 1, "yes", { c = json.null } }, d = json.array {} }
    local data = { x = HARD, y = values.b, z = {} }
    equal(json.decode(template.render('{"x": $(a), "y": $(b), "z": $(d)}', values, "json")), data)
    equal((yaml.parse(template.render("x: $(a)\ny: $(b)\nz: $(d)\n", values, "yaml"))), data)
  end)

  it("of a secret is a secret, quoted all the same", function()
    local hidden = secret.literal(HARD, secret.keyring())
    for _, quote in ipairs { "sh", "sql", "json", "yaml", "text" } do
      local made = template.render("x: $(s)\n", { s = hidden }, quote)
      truthy(secret.is(made))
      truthy(not tostring(made):find("HOME", 1, true))
      local plain = template.render("x: $(s)\n", { s = HARD }, quote == "yaml" and "json" or quote)
      equal(secret.reveal(made), plain)
    end
    equal((yaml.parse(secret.reveal(template.render("x: $(s)\n", { s = hidden }, "yaml")))), { x = HARD })
    matches(raises(template.render, "$(l)", { l = { hidden } }, "json"), "would be readable")
    local binary = secret.literal("ab\255cdef", secret.keyring())
    equal(raises(template.render, "$(s)", { s = binary }, "json").kind, "protocol")
  end)
end)

describe("template.write", function()
  it("writes a file, and a rollback takes it away", function()
    local path = scratch()
    local trial = fixture.trial({ [[template.write("local", "PATH/a", "X=$(x)\n", { x = "a b" },
      { quote = "sh", mode = "0600" })]], 'fail("back")' }, path)
    trial:run "stopped"
    equal({ fs.read(path .. "/a"), fs.stat(path .. "/a").mode }, { "X='a b'\n", "0600" })
    trial:roll_back "rolled back"
    equal(fs.list(path), {})
  end)
end)
