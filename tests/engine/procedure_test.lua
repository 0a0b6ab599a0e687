local procedure = require "neap.engine.procedure"

local ENVIRONMENT = {
  name = "test/lab", hosts = {}, databases = {}, values = { folder = "/srv", count = "3", wrong = "x" },
}
local LIB = "return { twice = function(n) return 2 * n end }"

local function load_text(text, options)
  options = options or {}
  local files = { ["procedures/test/it.lua"] = text, ["procedures/test/lib.lua"] = options.lib or LIB }
  return procedure.load { files = files, path = "procedures/test/it.lua", arguments = options.arguments or {},
    environment = ENVIRONMENT, showing = options.showing }
end

local function message(text, options) return tostring(raises(load_text, text, options)) end

describe("a procedure", function()
  it("has numbered phases and steps with the line they stand on", function()
    local found = load_text [[
-- What it does.
phase "A"
step "One" { run = function() end }
phase "B"
manual "Two" {}]]
    local one, two = found.steps[1], found.steps[2]
    equal({ found.title, #found.phases, one.number, two.number }, { "What it does.", 2, "1.1", "2.1" })
    equal(one.where, "procedures/test/it.lua:3")
  end)

  it("refuses what it does not know, with the near name and the line", function()
    matches(message 'step "A" { at_atime = 1, run = function() end }', "it.lua:1: .*at_atime.*Did you mean 'at_a_time'")
    matches(message '\nstep "A" { run = "x" }', "it.lua:2: .*run is a string, expected a function")
    matches(message 'await "A" {}', "lacks check")
    matches(message 'step "A" { run = function() end }\nstep "A" { run = function() end }',
      "it.lua:2: two steps are titled \"A\": here, and at procedures/test/it.lua:1")
    matches(message 'step "A" { retry = { time = 3 }, run = function() end }',
      "retry has no key named \"time\".*'times'")
    matches(message 'step "A" { retry = { times = 0 }, run = function() end }', "it.lua:1: .*how many times")
    matches(message 'step "A" { retry = { times = 1, every = "soon" }, run = function() end }', "no duration")
    matches(message 'step "A" { on = {}, at_a_time = "0%", run = function() end }', "expected a number or a share")
    matches(message 'step "A" { max_failures = 1, run = function() end }', "lacks on")
    matches(message 'step "A" { timeout = "soon", run = function() end }', "no duration")
    matches(message 'step "A/B" { run = function() end }', "slash")
    matches(message 'step "A" { run = function() end', "it.lua:1: .* expected")
  end)

  it("reaches libraries of its repository, and nothing else", function()
    load_text 'local lib = require "test.lib" assert(lib.twice(2) == 4)'
    matches(message 'require "os"', "no library os")
    matches(message 'require "test.nothing"', "procedures/test/nothing.lua")
    matches(message 'require "../../etc/passwd"', "not \"../../etc/passwd\"")
    matches(message('require "test.lib"', { lib = 'return require "test.lib"' }), "circle")
  end)

  it("takes typed parameters", function()
    local text = [[
      local arg = parameters {
        release = { "number", type = "integer" },
        name = { "a name", match = "^v", default = "v1" },
      }
      assert(arg.release == 88 and arg.name == "v1")]]
    equal(load_text(text, { arguments = { release = "88" } }).arguments, { release = 88, name = "v1" })
    matches(message(text), "parameter release is needed")
    matches(message(text, { arguments = { release = "x" } }), "\"x\" is no integer")
    matches(message(text, { arguments = { release = "1", name = "w" } }), "does not match")
    matches(message(text, { arguments = { relase = "1" } }), "Did you mean 'release'")
    equal(#load_text("parameters { a = \"integer\", b = \"text\" }", { showing = true }).parameters, 2)
  end)

  it("says what it needs of the environment", function()
    load_text 'local env = needs { folder = "text", count = "integer" } assert(env.count == 3 and env.folder == "/srv")'
    matches(message 'needs { wrong = "integer" }', "value wrong: \"x\" is no integer")
    matches(message 'needs { absent = "text" }', "value absent is needed")
  end)

  it("keeps no state in globals after loading", function()
    local found = load_text 'step "A" { run = function() leaked = 1 end }'
    matches(raises(found.steps[1].run), "global \"leaked\" cannot be set")
  end)
end)
