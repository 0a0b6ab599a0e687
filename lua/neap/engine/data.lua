--- Plain data: what a target, a state or a result may be. Copy, compare, and a form that JSON can carry.
local crypto = require "native.crypto"
local json   = require "native.json"

local data = {}

local INLINE = 4096 -- longer strings go to the content store
local REFERENCE = "$blob"

--- The value itself, or what an object of neap's (a host, say) gives for the journal: its metatable's __plain(object).
local function plain_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__plain and meta.__plain(value) or value
end

--- A deep copy without metatables; functions in it are left out. Raises for anything else that is not plain data.
--- @param value any
--- @return any
function data.plain(value)
  if type(value) ~= "table" then
    if type(value) == "function" then return nil end
    if type(value) == "userdata" and value ~= json.null then
      error("a target or result must be plain data, not a userdata", 2)
    end
    return value
  end
  local copy = {}
  for key, item in pairs(plain_of(value)) do copy[key] = data.plain(item) end
  return copy
end

--- Whether two pieces of plain data are the same.
--- @return boolean
function data.same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, value in pairs(a) do
    if not data.same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function fits_inline(text)
  return #text <= INLINE and utf8.len(text) and not text:find("\0", 1, true)
end

--- The value with long and binary strings replaced by references; keep(bytes) stores one and returns its digest.
--- @param value any  plain data
--- @param keep fun(bytes: string): string
--- @return any
function data.pack(value, keep)
  if type(value) == "string" then return fits_inline(value) and value or { [REFERENCE] = keep(value) } end
  if type(value) ~= "table" then return value end
  local packed = {}
  for key, item in pairs(value) do packed[key] = data.pack(item, keep) end
  if value[REFERENCE] ~= nil then error("a key named " .. REFERENCE .. " cannot be journaled", 0) end
  return packed
end

--- The inverse of pack; fetch(digest) returns the bytes. JSON's null reads as nil.
--- @param value any
--- @param fetch fun(digest: string): string
--- @return any
function data.unpack(value, fetch)
  if value == json.null then return nil end
  if type(value) ~= "table" then return value end
  if value[REFERENCE] then return fetch(value[REFERENCE]) end
  local unpacked = {}
  for key, item in pairs(value) do unpacked[key] = data.unpack(item, fetch) end
  return unpacked
end

--- A digest of plain data: equal data, equal digest. Functions in it do not count.
--- @param ... any
--- @return string hex
function data.digest(...)
  local parts = {}
  for i = 1, select("#", ...) do parts["p" .. i] = data.plain((select(i, ...))) end
  return crypto.sha256(json.encode(data.pack(parts, crypto.sha256)))
end

return data
