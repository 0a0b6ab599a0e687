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
    local step_a = 'step "A" { run = function() end }'
    matches(message(step_a .. "\n" .. step_a), "it.lua:2: two steps are titled")
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

describe("the sandbox", function()
  local escapes = {
    { "os", "return os" }, { "io", "return io" }, { "package", "return package" }, { "debug", "return debug" },
    { "coroutine", "return coroutine" }, { "next", "return next" }, { "collectgarbage", "return collectgarbage" },
    { "dofile", "return dofile" }, { "loadfile", "return loadfile" }, { "rawset", "return rawset" },
    { "math.random", "return math.random" }, { "string.dump", "return string.dump" }, { "_G", "return _G" },
    { "method dump", "return (\"\").dump" }, { "loaded os", "return load(\"return os\")()" },
    { "loaded io", "return load(\"return io\")()" }, { "native", "return (pcall(require, \"native.fs\")) or nil" },
    { "effect.undo", "return effect.undo" }, { "effect.settle", "return effect.settle" }, { "task", "return task" },
    { "metatable of strings", "local m = getmetatable(\"\") return type(m) == \"table\" and m or nil" },
  }
  for _, escape in ipairs(escapes) do
    it("has no " .. escape[1], function()
      local text = [[local got = (function() %s end)() step(tostring(got)) { run = function() end }]]
      local found = load_text(text:format(escape[2]))
      equal(found.steps[1].title, "nil")
    end)
  end

  local refusals = {
    { "string.format = nil", "cannot be altered" }, { "table.insert = nil", "cannot be altered" },
    { "math.pi = 3", "cannot be altered" }, { "setmetatable({}, { __gc = function() end })", "__gc is not allowed" },
    { "load(string.char(27) .. \"Lua\")()", "attempt to" }, { "load(function() end)", "load takes text" },
    { "setmetatable(string, {})", "cannot change a protected metatable" }, { "rawset(string, \"x\", 1)", "rawset" },
    { "effect.change = nil", "cannot be altered" }, { "getmetatable(\"\").__index = {}", "index" },
  }
  for _, refusal in ipairs(refusals) do
    it("refuses " .. refusal[1], function() matches(message(refusal[1]), refusal[2]) end)
  end

  it("goes over tables in sorted order", function()
    load_text [[
      local keys = {}
      for key in pairs { c = 1, a = 1, b = 1, [2] = 1, [1] = 1 } do keys[#keys + 1] = tostring(key) end
      assert(table.concat(keys, " ") == "1 2 a b c")]]
  end)

  it("shows no addresses", function()
    load_text [[
      assert(tostring({}) == "table" and tostring(print) == "nil" and tostring(pairs) == "function")
      assert(("%s"):format({}) == "table")]]
  end)
end)
