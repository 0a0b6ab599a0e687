--- The words that targets are written with. A target is { run = function(data), parsers = { path… } }: `run` asserts what
--- must hold of every input, and `parsers` are the files under lua/ whose lines are to be reached.
local data  = require "neap.engine.data"
local fault = require "native.error"
local json  = require "native.json"

local function shown(value)
  local ok, text = pcall(json.encode, value)
  if ok then return text end
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local texts = {}
  for key, item in pairs(value) do texts[#texts + 1] = ("%s = %s"):format(shown(key), shown(item)) end
  table.sort(texts)
  return "{ " .. table.concat(texts, ", ") .. " }"
end

--- Calls fn. A refusal, which is an error object, is an answer; a mistake goes on.
--- @return boolean took
--- @return any result  or the refusal
function _G.attempt(fn, ...)
  local results = table.pack(xpcall(fn, function(failure)
    if fault.is(failure) then return failure end
    return debug.traceback(tostring(failure), 2)
  end, ...))
  if not results[1] and not fault.is(results[2]) then error(results[2], 0) end
  return table.unpack(results, 1, results.n)
end

--- Calls fn, which may refuse nothing here, and returns what it does.
function _G.must(fn, ...)
  local results = table.pack(attempt(fn, ...))
  if not results[1] then error("refused: " .. tostring(results[2]), 2) end
  return table.unpack(results, 2, results.n)
end

--- Fails unless the two are the same plain data.
function _G.equal(got, wanted, what)
  if data.same(got, wanted) or shown(got) == shown(wanted) then return end -- the second for what is no number
  error(("%s: expected %s\n     got %s"):format(what or "not the same", shown(wanted), shown(got)), 2)
end

function _G.truthy(value, what)
  if not value then error(what or "expected something true", 2) end
end

--- An input as so many parts, which NUL bytes part; those that it lacks are "".
--- @return string …
function _G.parts(text, count)
  local list = {}
  for i = 1, count - 1 do
    local part, rest = text:match "^([^\0]*)\0(.*)$"
    list[i], text = part or text, rest or ""
  end
  list[count] = text
  return table.unpack(list)
end

--- A text as it comes in: a function that gives a piece of that size at each call, nil at the end.
--- @return fun(): string?
function _G.pieces(text, size)
  local at = 1
  return function()
    local piece = text:sub(at, at + size - 1)
    at = at + size
    return piece ~= "" and piece or nil
  end
end

--- Numbers that an input's bytes choose: dice(n) is one of 1 to n; 1 once they are used up.
function _G.dice(text)
  local at = 0
  return function(sides)
    at = at + 1
    return (text:byte(at) or 0) % sides + 1
  end
end

--- Makes redaction forget all secrets: each input has its own.
function _G.forget_secrets()
  local patterns = debug.getregistry()["secret.patterns"]
  debug.getmetatable(patterns).__gc(patterns)
end

--- A folder in memory; run.sh removes what is in FUZZ_SCRATCH.
function _G.scratch()
  return require "native.fs".mkdtemp((os.getenv "FUZZ_SCRATCH" or "/tmp") .. "/neap-fuzz-")
end

return function(target)
  return function(input) attempt(target.run, input) end
end
