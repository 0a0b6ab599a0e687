--- What is said of the words of procedures: all of it, and the same for editors.
local console   = require "tests.lab.console"
local fs        = require "native.fs"
local procedure = require "neap.engine.procedure"
local reference = require "neap.reference"
local words     = require "neap.words"

local function each_entry(see)
  for _, name in ipairs(reference.names()) do
    for _, entry in ipairs(reference.word(name).entries) do see(entry) end
  end
end

local function keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list)
  return list
end

--- Names of types in a comment's tags.
local function types_in(text)
  local found = {}
  for line in text:gmatch "[^\n]+" do
    local kind = line:match "^%-%-%- @param [%w_.]+%??%s+(.*)$" or line:match "^%-%-%- @return (.*)$"
      or line:match "^%-%-%- @field [%w_]+%??%s+(.*)$"
    kind = kind and (kind:match "^(.-)  " or kind)
    for name in (kind or ""):gmatch "%f[%w_][%a_][%w_]*%.[%w_.]+" do found[name] = true end
  end
  return found
end

describe("the reference", function()
  it("knows every word, and says something of each of its functions", function()
    local silent = {}
    for _, name in ipairs(words.names()) do truthy(reference.word(name)) end
    each_entry(function(entry)
      if not entry.text:find "%a" then silent[#silent + 1] = entry.name end
    end)
    equal(silent, {})
  end)

  it("describes each parameter of what authors call", function()
    local found = {}
    each_entry(function(entry)
      local line = reference.lines(entry.file)[entry.line]
      local _, _, parameters = reference.declared(line)
      for parameter in (parameters or ""):gmatch "[%w_]+" do
        local described = parameter == "self"
        for _, one in ipairs(entry.parameters) do described = described or one.name == parameter end
        if not described then found[#found + 1] = entry.name .. " " .. parameter end
      end
    end)
    equal(found, {})
  end)

  it("has the parts that a step, a wait or a remark may have", function()
    for kind, parts in pairs(procedure.parts()) do
      local declared = {}
      for _, field in ipairs(reference.fields("neap.parts." .. kind)) do declared[field.name] = true end
      equal({ kind, keys(declared) }, { kind, keys(parts) })
    end
  end)

  it("finds a function, a method and a word, and the nearest name of what is none", function()
    equal(reference.call(reference.find "sql.script"), "sql.script(db, file [, options])")
    equal(reference.find "host:run".parameters[1].name, "argv")
    equal(reference.find "nginx".name, "nginx")
    equal({ reference.find "nginx.edti" }, { nil, " Did you mean 'nginx.edit'?" })
    equal({ reference.find "ngnix" }, { nil, " Did you mean 'nginx'?" })
  end)

  it("tells the declared reads", function()
    equal({ reference.find "host:read".reads, reference.find "host:run".reads }, { true, false })
  end)

  it("shows what options a function takes", function()
    matches(console.shell "build/neap doc sql.script", "transaction +boolean: all in one transaction")
  end)
end)

describe("the types for editors", function()
  local folder

  before_each(function()
    folder = scratch()
    console.shell("build/neap types " .. folder)
  end)

  it("are Lua, and have every function of every word", function()
    local text = fs.read(folder .. "/words.lua")
    truthy(load(text, "=words", "t", {}))
    truthy(load(fs.read(folder .. "/procedure.lua"), "=procedure", "t", {}))
    each_entry(function(entry)
      local plain = not entry.name:find(":", 1, true) and not reference.word(entry.name:match "^[%w_]+").declaration
      if plain then truthy(text:find("\nfunction " .. entry.name .. "(", 1, true) or error("no " .. entry.name)) end
    end)
  end)

  it("name no type that is not there", function()
    local text = fs.read(folder .. "/words.lua") .. "\n" .. fs.read(folder .. "/procedure.lua")
    local there, missing = {}, {}
    for name in text:gsub("%(exact%) ", ""):gmatch "@class ([%w_.]+)" do there[name] = true end
    for name in pairs(types_in(text)) do
      if not there[name] and not name:find "^native%." then missing[#missing + 1] = name end
    end
    table.sort(missing)
    equal(missing, {})
  end)
end)
