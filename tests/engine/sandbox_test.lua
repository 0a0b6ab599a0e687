--- What a procedure cannot reach, alter or keep: a list of attempts that must all come to nothing.
local procedure = require "neap.engine.procedure"

local LIBRARY = "local lib = { list = { 3, 1, 2 } } function lib.globals() return load 'return os' end return lib"
local ENVIRONMENT = {
  name = "test/lab", databases = {}, values = { map = { inner = { a = 1 } }, list = { "y", "x" } },
  hosts = {
    old = { name = "old", ssh = "old" }, all = { { name = "p1", ssh = "p1" } }, ["local"] = { name = "local" },
  },
}

local function load_text(text)
  local files = { ["procedures/test/it.lua"] = text, ["procedures/test/lib.lua"] = LIBRARY }
  return procedure.load { files = files, path = "procedures/test/it.lua", arguments = {}, environment = ENVIRONMENT }
end

local function message(text) return tostring(raises(load_text, text)) end

--- What an expression or a chunk gives a procedure, as text.
local function got(text)
  return load_text(([[local got = (function() %s end)() step(tostring(got)) { run = function() end }]]):format(text))
    .steps[1].title
end

local ABSENT = {
  "os", "io", "package", "debug", "coroutine", "next", "collectgarbage", "dofile", "loadfile", "loadstring", "rawset",
  "print", "_G", "_ENV.os", "task", "fs", "sqlite", "session", "math.random", "math.randomseed", "string.dump",
  "(\"\").dump", "load(\"return os\")()", "load(\"return io\")()",
  "load(\"return debug\", \"x\", \"t\", { debug = 1 })()",
  "require(\"test.lib\").globals()()", "getmetatable(_ENV) or nil", "getmetatable(\"\") or nil",
  "getmetatable(string) or nil", "getmetatable(file) or nil", "getmetatable(env) or nil",
  "getmetatable(env.hosts.old) or nil", "getmetatable(select(2, pcall(fail, \"x\"))) or nil",
  "rawget(string, \"format\")", "rawget(effect, \"change\")", "rawget(_ENV, \"os\")",
  "(pcall(require, \"native.fs\")) or nil", "(pcall(require, \"neap.engine.effect\")) or nil",
  "(pcall(load, string.char(27) .. \"Lua\")) and load(string.char(27) .. \"Lua\")",
}

local REFUSED = {
  { "string.format = nil", "cannot be altered" }, { "table.insert = nil", "cannot be altered" },
  { "math.pi = 3", "cannot be altered" }, { "utf8.char = nil", "cannot be altered" },
  { "effect.change = nil", "cannot be altered" }, { "file.write = nil", "cannot be altered" },
  { "effect.undo()", "effect has no \"undo\"" }, { "effect.settle()", "effect has no \"settle\"" },
  { "effect.chnge()", "Did you mean 'change'" }, { "host.methods.read = nil", "host has no \"methods\"" },
  { "host.open()", "host has no \"open\"" }, { "setmetatable({}, { __gc = function() end })", "__gc is not allowed" },
  { "load(string.char(27) .. \"Lua\")()", "attempt to" }, { "load(function() end)", "load takes text" },
  { "setmetatable(string, {})", "protected metatable" }, { "setmetatable(env.hosts.old, {})", "protected metatable" },
  { "setmetatable(select(2, pcall(fail, \"x\")), {})", "protected metatable" },
  { "rawset(string, \"x\", 1)", "rawset" }, { "getmetatable(\"\").__index = {}", "index" },
  { "(\"\").format = 1", "attempt to index a string" }, { "env.hosts = {}", "cannot be altered" },
  { "env.hosts.old = nil", "cannot be altered" }, { "env.hosts.old.name = \"new\"", "a host is not altered" },
  { "env.hosts.all[1] = nil", "cannot be altered" }, { "env.map.inner.a = 2", "cannot be altered" },
  { "table.insert(env.list, \"z\")", "cannot be altered" }, { "table.sort(env.list)", "cannot be altered" },
  { "env.hosts.old.adress = 1", "a host is not altered" }, { "return env.hosts.old.adress", "Did you mean" },
  { "file.write(\"local\", \"/tmp/x\", \"x\")", "inside a step" },
  { "effect.change(\"file.content\", {}, print)", "inside a step" },
  { "require \"../neap/words\"", "not \"../neap/words\"" }, { "require \"native.fs\"", "no library native.fs" },
}

describe("the sandbox", function()
  for _, expression in ipairs(ABSENT) do
    it("has no " .. expression, function() equal(got("return " .. expression), "nil") end)
  end

  for _, refusal in ipairs(REFUSED) do
    it("refuses " .. refusal[1], function() matches(message(refusal[1]), refusal[2]) end)
  end

  it("goes over tables in sorted order, its own and those it may only read", function()
    load_text [[
      local function keys_of(map)
        local keys = {}
        for key in pairs(map) do keys[#keys + 1] = tostring(key) end
        return table.concat(keys, " ")
      end
      assert(keys_of { c = 1, a = 1, b = 1, [2] = 1, [1] = 1 } == "1 2 a b c")
      assert(keys_of(effect) == "action bracket change perform planning read resource")
      assert(keys_of(env.map) == "inner" and keys_of(env.list) == "1 2" and #env.list == 2)
      assert(table.concat(env.list, " ") == "y x" and select("#", table.unpack(env.list)) == 2)
      for _, inner in pairs(env.map) do assert(not pcall(function() inner.a = 2 end)) end]]
  end)

  it("gives the same table for a library that is required twice", function()
    load_text [[
      local lib = require "test.lib"
      lib.mark = "here"
      assert(require "test.lib" == lib and require("test.lib").mark == "here")]]
  end)

  it("shows no addresses", function()
    load_text [[
      assert(tostring({}) == "table" and tostring(print) == "nil" and tostring(pairs) == "function")
      assert(("%s"):format({}) == "table")]]
  end)

  it("lets metatables be set that are the procedure's own", function()
    load_text [[
      local meta = { __index = function(_, key) return key end }
      local map = setmetatable({}, meta)
      assert(map.x == "x" and getmetatable(map) == meta and setmetatable(map, nil).x == nil)]]
  end)

  it("ends a file that would not come to an end, whatever it catches", function()
    matches(message "while true do end", "it.lua:1: this file does not come to an end")
    matches(message "while true do pcall(function() while true do end end) end", "does not come to an end")
    equal(got "return 1", "1")
  end)

  it("ends a file that takes all memory", function()
    matches(message "local text = \"x\" while true do text = text .. text end", "not enough memory")
    matches(message "return (\"x\"):rep(1 << 30)", "not enough memory")
    equal(got "return 1", "1")
  end)

  it("leaves the task that loads a file as it was: others run while it computes", function()
    local task = require "native.task"
    load_text "x = 1"
    local ran = false
    local other = task.spawn(function() ran = true end)
    for _ = 1, 1000000000 do
      if ran then break end
    end
    truthy(ran)
    other:wait()
  end)
end)
