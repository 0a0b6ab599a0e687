local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local json    = require "neap.targets.json"

describe("json", function()
  it("is read and written", function()
    local value = json.parse '{"b": [1, 1.0, null, {}], "a": "x"}'
    equal(json.encode(value), '{"a":"x","b":[1,1.0,null,{}]}')
    equal(json.encode(value, { indent = 4 }),
      '{\n    "a": "x",\n    "b": [\n        1,\n        1.0,\n        null,\n        {}\n    ]\n}')
    equal(json.encode({ l = json.array {}, t = "  \n  x" }, { indent = 1 }), '{\n "l": [],\n "t": "  \\n  x"\n}')
    matches(raises(json.parse, "{", "f.json").message, "^f.json:1:1: ")
    matches(raises(json.encode, {}, { indnt = 1 }), "Did you mean 'indent'")
  end)

  it("is edited in files: written anew, or left as it is where the data stays", function()
    local path = scratch()
    fs.write(path .. "/a", '{"b":  1,\n   "a": [2]}\n')
    fs.write(path .. "/b", '{"b":  1}')
    local trial = fixture.trial({ [[
      json.edit("local", "PATH/a", function(value) value.b = value.b + 1 return value end)
      json.edit("local", "PATH/b", function(value) value.b = 1 return value end)]], 'fail("back")' }, path)
    trial:run "stopped"
    equal({ fs.read(path .. "/a"), fs.read(path .. "/b") },
      { '{\n   "a": [\n      2\n   ],\n   "b": 2\n}\n', '{"b":  1}' })
    trial:roll_back "rolled back"
    equal(fs.read(path .. "/a"), '{"b":  1,\n   "a": [2]}\n')
  end)
end)
