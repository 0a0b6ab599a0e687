--- The manual names tests for what it promises: each of them is there, and each promise has one or says that it has none.
local fs = require "native.fs"

local FOLDER = "lua/neap/manual/"

--- The cases that a chapter names: { file, case, promise }, and the promises in order.
local function read(name)
  local cases, promises = {}, {}
  for line in (fs.read(FOLDER .. name) .. "\n"):gmatch "([^\n]*)\n" do
    local heading = line:match "^## (.*)"
    if heading then promises[#promises + 1] = { title = heading, tests = 0 } end
    local promise = promises[#promises]
    if promise and line:find("No test holds this yet", 1, true) then promise.none = true end
    local file, case = line:match "^%- `(tests/[%w_/.]+)`: (.+)$"
    if file then
      cases[#cases + 1] = { file = file, case = case }
      promise.tests = promise.tests + 1
    elseif line:find "^%- `tests/" then
      error(name .. " names a test in another form: " .. line)
    end
  end
  return cases, promises
end

local function is_there(one)
  return fs.exists(one.file) and fs.read(one.file):find(('it("%s"'):format(one.case), 1, true) ~= nil
end

describe("the manual", function()
  for _, name in ipairs { "promises.md", "breaking.md" } do
    it("names tests that are there in " .. name, function()
      local missing = {}
      for _, one in ipairs((read(name))) do
        if not is_there(one) then missing[#missing + 1] = one.file .. ": " .. one.case end
      end
      equal(missing, {})
    end)
  end

  it("has for each promise a test, or says that there is none yet", function()
    local _, promises = read "promises.md"
    equal(#promises, 12)
    for _, promise in ipairs(promises) do
      if (promise.tests > 0) == (promise.none == true) then error("not so for: " .. promise.title) end
    end
  end)
end)
