--- Values of environments that are read out of deployed configuration.
local environment = require "neap.environment"
local fs          = require "native.fs"
local stage       = require "tests.cli.stage"
local words       = require "neap.words"

local APPLICATION = "archive:\n  uri-root: s3://one   # c\n  number: 1.10\nmigrate.aws.redshift.role: \"arn:x\"\n"

local function loaded(values)
  local root = scratch()
  local folder = root .. "/procedures/rdw/environments"
  for _, path in ipairs { "/procedures", "/procedures/rdw", "/procedures/rdw/environments", "/RDW_Config" } do
    fs.mkdir(root .. path)
  end
  fs.write(root .. "/RDW_Config/application.yml", APPLICATION)
  fs.write(folder .. "/prod.yml", ("repositories:\n  config: { git: %s/RDW_Config }\n"):format(root)
    .. "  far: { git: /srv/far, on: web }\nhosts: { web: { ssh: web } }\nvalues:\n" .. values:gsub("ROOT", root))
  return environment.load(folder .. "/prod.yml")
end

local function resolved(values, arguments) return environment.resolve(loaded(values), arguments or {}) end

describe("a value that is read out of deployed configuration", function()
  it("is found in a repository by its name or folder, and at an absolute path", function()
    local env = resolved [[
  a: yaml:config/application.yml#archive.uri-root
  b: yaml:RDW_Config/application.yml#migrate.aws.redshift.role
  c: yaml:ROOT/RDW_Config/application.yml#archive.number
]]
    equal({ env.values, env.unread }, { { a = "s3://one", b = "arn:x", c = "1.10" } })
  end)

  it("takes part in other values, and takes arguments", function()
    local env = resolved("  c: yaml:ROOT/RDW_Config/$(file)#archive.number\n  d: x/$(c)\n  e: [{ f: $(c) }]\n",
      { file = "application.yml" })
    equal({ env.values, env.unread }, { { c = "1.10", d = "x/1.10", e = { { f = "1.10" } } } })
  end)

  it("is not looked for before a plan or run begins", function()
    local env = loaded "  a: yaml:config/none.yml#x\n"
    equal({ env.values.a, env.unread }, { "yaml:config/none.yml#x" })
  end)

  it("that is not there is missed by who asks for it, and by nobody else", function()
    local view = words.environment(resolved [[
  a: yaml:config/none.yml#x
  b: x
  c: [$(a)]
  d: yaml:far/application.yml#x
  e: yaml:config/application.yml#archive
  f: yaml:config/application.yml#archive.uri
]])
    equal({ view.b, view.other }, { "x" })
    for name, pattern in pairs { a = "none.yml is not there$", c = "none.yml is not there$", d = "neither absolute nor",
      e = "is a list or a map$", f = "application.yml has no archive.uri$" } do
      local failure = raises(function() return view[name] end)
      equal(failure.kind, "missing")
      matches(failure.message, ("^the value '%s': "):format(name))
      matches(failure.message, pattern)
    end
  end)

  it("is looked for by neap env check", function()
    local config = scratch()
    fs.write(config .. "/a.yml", "x: 1\n")
    local on = stage.new(scratch(), {
      ["procedures/shop/release.lua"] = "-- x\n",
      ["procedures/shop/environments/lab.yml"] = ("values:\n  a: yaml:%s/a.yml#x\n  b: { c: yaml:%s/a.yml#y }\n"
        .. "  d: yaml:%s/$(file)#x\n"):format(config, config, config),
    })
    local shown = on:screen "env check shop/lab"
    stage.leave()
    matches(shown:gsub("%s+", " "), "value b%.c: .*has no y")
    truthy(not shown:find("value a", 1, true) and not shown:find("value d", 1, true))
  end)
end)
