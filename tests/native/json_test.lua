local json  = require "native.json"
local fault = require "native.error"

local function round(value) return json.decode(json.encode(value)) end

describe("json.encode", function()
  it("writes one line with sorted keys", function()
    equal(json.encode { b = { 1, 2 }, a = true, ab = "x", B = false }, '{"B":false,"a":true,"ab":"x","b":[1,2]}')
  end)

  it("writes the same text whatever order the keys came in", function()
    local up, down = {}, {}
    for i = 1, 200 do up["key" .. i] = i end
    for i = 200, 1, -1 do down["key" .. i] = i end
    equal(json.encode(up), json.encode(down))
  end)

  it("tells integers from floats", function()
    equal(json.encode { 1, 1.0, -0.0, 0.5, 1e300 }, "[1,1.0,-0.0,0.5,1.0000000000000001e+300]")
    equal(json.encode(9007199254740993), "9007199254740993")
    equal(json.encode(math.mininteger), "-9223372036854775808")
  end)

  it("keeps every float", function()
    for _, number in ipairs { 0.1, 1 / 3, 2^53, 5e-324, 1.7976931348623157e308, -2.5e-10 } do
      local back = round(number)
      equal(back, number)
      equal(math.type(back), "float")
    end
  end)

  it("escapes quotes, backslashes and control bytes, and leaves other text as it is", function()
    equal(json.encode('a"b\\c\n\t\0\27\127é€😀'), [["a\"b\\c\n\t\u0000\u001b]] .. '\127é€😀"')
  end)

  it("writes empty tables as objects unless they are marked as lists", function()
    equal(json.encode { {}, json.array {}, { json.null } }, "[{},[],[null]]")
  end)

  it("writes text longer than its first buffer", function()
    local long = ("x"):rep(100000) .. "\n" .. ("é"):rep(5000)
    equal(round { [long:sub(1, 2000)] = long }, { [long:sub(1, 2000)] = long })
  end)

  it("writes an entry a line when it is to be read by people", function()
    equal(json.encode_pretty { b = { 1, {} }, a = json.array {}, c = {} },
      '{\n  "a": [],\n  "b": [\n    1,\n    {}\n  ],\n  "c": {}\n}')
  end)

  it("ignores a metatable that hides nothing, and refuses one that does", function()
    equal(json.encode(fault.new { kind = "remote", where = "", message = "no" }),
      '{"kind":"remote","message":"no","where":""}')
    matches(raises(json.encode, setmetatable({}, { __index = { a = 1 } })), "behind a metatable")
    matches(raises(json.encode, setmetatable({}, { __pairs = next })), "behind a metatable")
  end)

  it("names the place of what it cannot write", function()
    matches(raises(json.encode, { a = { { b = 0 / 0 } } }), "value%.a%[1%]%.b has no JSON form: NaN")
    matches(raises(json.encode, { a = print }), "value%.a has no JSON form: function")
    matches(raises(json.encode, nil), "value has no JSON form: nil")
    matches(raises(json.encode), "value expected")
  end)

  it("refuses what would come back as something else", function()
    matches(raises(json.encode, math.huge), "infinite")
    matches(raises(json.encode, { 1, a = 2 }), "a list with named entries")
    matches(raises(json.encode, { [1] = 1, [3] = 3 }), "a list with holes")
    matches(raises(json.encode, { [2] = 1 }), "a list with holes")
    matches(raises(json.encode, { [0] = 1, 2 }), "a list with holes")
    matches(raises(json.encode, json.array { a = 1 }), "a list with named entries")
    matches(raises(json.encode, { [1.5] = 1 }), "a key that is not a string")
    matches(raises(json.encode, { [true] = 1 }), "a key that is not a string")
    matches(raises(json.encode, { ["a\0"] = 1 }), "NUL in a key")
    matches(raises(json.encode, io.stdout), "userdata")
  end)

  it("refuses text that is not UTF-8, in values and in keys", function()
    for _, bytes in ipairs {
      "\x80", "\xC0\xAF", "\xC2", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x8F\xBF\xBF", "\xFF",
      "a\xE2\x82",
    } do
      matches(raises(json.encode, { bytes }), "value%[1%].*not UTF%-8")
      matches(raises(json.encode, { [bytes] = 1 }), "not UTF%-8")
    end
    equal(json.encode "\u{10FFFF}\u{D7FF}\u{E000}\u{800}", '"\u{10FFFF}\u{D7FF}\u{E000}\u{800}"')
  end)

  it("stops at cycles and at 512 levels", function()
    local cycle = {}
    cycle.again = { cycle }
    matches(raises(json.encode, cycle), "nested deeper than 512 levels, or inside itself")
    local deep = {}
    for _ = 2, 512 do deep = { deep } end
    equal(#json.encode(deep), 1024)
    matches(raises(json.encode, { deep }), "nested deeper")
  end)

  it("leaves nothing behind after many failures", function()
    local big = {}
    for i = 1, 5000 do big["key" .. i] = i end
    big.last = print
    for _ = 1, 50 do raises(json.encode, big) end
  end)
end)

describe("json.decode", function()
  it("reads every kind of value", function()
    equal(json.decode ' {"a": [1, -2.5e3, "x", true, false, null], "b": {}} ',
      { a = { 1, -2500.0, "x", true, false, json.null }, b = {} })
    equal(json.decode '"only text"', "only text")
    equal(json.decode "null", json.null)
  end)

  it("keeps 64-bit integers and the difference between 1 and 1.0", function()
    equal(json.decode "9007199254740993", 9007199254740993)
    equal(json.decode "-9223372036854775808", math.mininteger)
    equal(math.type(json.decode "1"), "integer")
    equal(math.type(json.decode "1.0"), "float")
    equal(json.encode(json.decode "[1.0,1]"), "[1.0,1]")
  end)

  it("gives lists back as lists, also when they are or become empty", function()
    equal(json.encode(json.decode '{"a":[],"b":{}}'), '{"a":[],"b":{}}')
    local object = json.decode '{"finalizers":["one"]}'
    object.finalizers[1] = nil
    equal(json.encode(object), '{"finalizers":[]}')
  end)

  it("reads escapes, NUL and surrogate pairs", function()
    equal(json.decode [["\u0000\u00e9\ud83d\ude00\/"]], "\0é😀/")
  end)

  it("names line and column of what it cannot read", function()
    local failure = raises(json.decode, '{\n  "a": 1,\n  "b": x\n}')
    equal(failure.kind, "protocol")
    matches(failure.message, "^3:8: .*invalid token near 'x'")
  end)

  it("refuses what is not exactly one value", function()
    for text, message in pairs {
      [""] = "end of file", ["  "] = "end of file", ["1 2"] = "end of file expected", ["[1,]"] = "unexpected token",
      ["{'a':1}"] = "expected", ["[1"] = "expected", ["nul"] = "invalid token", ["NaN"] = "invalid token",
      ["01"] = "invalid token",
      ["[1] // no"] = "expected", ['{"a":1,"a":2}'] = "duplicate", ["\xEF\xBB\xBF1"] = "invalid token",
      ["1\0"] = "a NUL byte",
      ['{"a":\n1}\0{'] = "a NUL byte",
      ['"\n"'] = "unexpected newline", ['"\1"'] = "control character", ['"\\u0000'] = "premature",
      ['{"\\u0000":1}'] = "NUL byte",
    } do
      local failure = raises(json.decode, text)
      equal(failure.kind, "protocol")
      matches(failure.message, "^%-?%d+:%d+: .*" .. message)
    end
  end)

  it("refuses numbers that do not fit", function()
    matches(raises(json.decode, "9223372036854775808").message, "too big integer")
    matches(raises(json.decode, "1e999").message, "overflow")
  end)

  it("refuses bytes that are not UTF-8 and lone surrogates", function()
    for _, text in ipairs { '"\xFF"', '"\xED\xA0\x80"', '"\\ud800"', '"\\udc00x"', "\xFF" } do
      equal(raises(json.decode, text).kind, "protocol")
    end
  end)

  it("stops at 512 levels, however deep the text is", function()
    local levels = function(count) return ("["):rep(count) .. ("]"):rep(count) end
    equal(json.encode(json.decode(levels(512))), levels(512))
    for _, count in ipairs { 514, 2000, 100000 } do equal(raises(json.decode, levels(count)).kind, "protocol") end
    equal(raises(json.decode, ('{"a":'):rep(100000)).kind, "protocol")
  end)
end)

describe("json.array", function()
  it("gives back the same table", function()
    local list = {}
    truthy(json.array(list) == list and json.array(list) == list)
  end)

  it("refuses a table with a metatable of its own", function()
    matches(raises(json.array, setmetatable({}, {})), "metatable of its own")
    matches(raises(json.array, "text"), "table expected")
  end)

  it("keeps its metatable out of reach, for all lists share it", function()
    equal(getmetatable(json.array {}), "json.array")
    raises(setmetatable, json.decode "[]", {})
  end)
end)
