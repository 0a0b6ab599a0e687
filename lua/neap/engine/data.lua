--- Plain data: what a target, a state or a result may be. Copy, compare, and a form that JSON can carry.
local crypto = require "native.crypto"
local fault  = require "native.error"
local json   = require "native.json"
local secret = require "native.secret"

local data = {}

local INLINE = 4096    -- longer strings go to the content store
local FINGERPRINT = 64 -- digits
local REFERENCE = "$blob"
local SECRET, SEALED, SEALED_TEXT = "$secret", "$sealed", "$sealed_text"
local OWN_KEYS = { REFERENCE, SECRET, SEALED, SEALED_TEXT }

--- The value itself, or what an object of neap's (a host, say) gives for the journal: its metatable's __plain(object).
local function plain_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__plain and meta.__plain(value) or value
end

--- What is no table, as plain data: a function is none.
local function plain_scalar(value)
  local kind = type(value)
  if kind == "function" then return nil end
  if kind == "userdata" and value ~= json.null and not secret.is(value) then
    error("a target or result must be plain data, not a userdata", 0)
  end
  return value
end

--- A deep copy without metatables; functions in it are left out, secrets stay what they are. Raises for anything else that
--- is not plain data.
--- @param value any
--- @return any
function data.plain(value)
  if type(value) ~= "table" then return plain_scalar(value) end
  local inner, copy = plain_of(value), {}
  if type(inner) ~= "table" then return inner end -- what is known later stands as its text
  for key, item in pairs(inner) do copy[key] = data.plain(item) end
  return copy
end

--- Whether two pieces of plain data are the same; a secret and a text are, if the text is what the secret stands for.
--- @return boolean
function data.same(a, b)
  if secret.is(a) or secret.is(b) then
    local comparable = (secret.is(a) or type(a) == "string") and (secret.is(b) or type(b) == "string")
    return comparable and secret.same(a, b)
  end
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
  if #text > INLINE then return false end
  return not text:find "[\0\x80-\xFF]" or utf8.len(text) and not text:find("\0", 1, true)
end

--- How a secret stands in the journal: where it comes from; sealed, if it was put together from others or typed by a
--- person, who may not be there another time; never its bytes.
local function pack_secret(value, keep, keyring)
  local fingerprint, source = secret.fingerprint(value), secret.source(value)
  if not keyring then return { [SECRET] = fingerprint } end
  if source and not source:find "^ask:" then return { [SECRET] = source, fingerprint = fingerprint } end
  return { [SEALED] = keep(secret.seal(value, keyring)), fingerprint = fingerprint }
end

--- What stands for a text that is kept elsewhere.
--- @param digest string
--- @return table
function data.reference(digest) return { [REFERENCE] = digest } end

local function pack_text(text, keep, sealing)
  if sealing and secret.holds(text) then return { [SEALED_TEXT] = keep(secret.seal(text, sealing)) } end
  return fits_inline(text) and text or data.reference(keep(text))
end

local function check_keys(value)
  for _, key in ipairs(OWN_KEYS) do
    if value[key] ~= nil then error("a key named " .. key .. " cannot be journaled", 0) end
  end
end

--- sealing: the keyring, where there is a secret that a text could hold.
local function pack(value, keep, keyring, sealing)
  local kind = type(value)
  if kind == "string" then return pack_text(value, keep, sealing) end
  if kind ~= "table" then
    if secret.is(value) then return pack_secret(value, keep, keyring) end
    return plain_scalar(value)
  end
  local inner, packed = plain_of(value), {}
  if type(inner) ~= "table" then return pack(inner, keep, keyring, sealing) end
  check_keys(inner)
  for key, item in pairs(inner) do
    if sealing and type(key) == "string" then key = secret.redact(key) end
    packed[key] = pack(item, keep, keyring, sealing)
  end
  return packed
end

--- The value as plain data (see data.plain) with long and binary strings replaced by references; keep(bytes) stores one and
--- returns its digest. With a keyring texts that hold a secret are sealed; without one secrets are known by their
--- fingerprints alone.
--- @param value any
--- @param keep fun(bytes: string): string
--- @param keyring? native.secret.keyring
--- @return any
function data.pack(value, keep, keyring) return pack(value, keep, keyring, secret.any() and keyring or nil) end

--- A field of a reference, which is a text wherever the journal is whole, and of its length.
local function text_in(value, name, length)
  local text = value[name]
  if type(text) == "string" and #text == (length or #text) then return text end
  return fault.raise { kind = "journal", message = ("the journal holds a %s that is none"):format(name) }
end

local function unpack_secret(value, fetch, keyring)
  if value[SECRET] ~= nil then
    return secret.reference(text_in(value, SECRET), text_in(value, "fingerprint", FINGERPRINT), keyring)
  end
  local bytes = fetch(text_in(value, value[SEALED] and SEALED or SEALED_TEXT))
  if value[SEALED] then return secret.sealed(bytes, text_in(value, "fingerprint", FINGERPRINT), keyring) end
  return secret.unseal(bytes, keyring)
end

--- The inverse of pack; fetch(digest) returns the bytes. JSON's null reads as nil. Secrets are opened when they are needed.
--- Without a keyring what is sealed stays as it is.
--- @param value any
--- @param fetch fun(digest: string): string
--- @param keyring? native.secret.keyring
--- @return any
function data.unpack(value, fetch, keyring)
  if value == json.null then return nil end
  if type(value) ~= "table" then return value end
  if value[REFERENCE] then return fetch(text_in(value, REFERENCE)) end
  if value[SECRET] ~= nil or value[SEALED] or value[SEALED_TEXT] then
    if keyring then return unpack_secret(value, fetch, keyring) end
    if not value.fingerprint then return "(sealed: it holds a secret)" end
    return ("(secret %s)"):format(text_in(value, "fingerprint"):sub(1, 4))
  end
  local unpacked = {}
  for key, item in pairs(value) do unpacked[key] = data.unpack(item, fetch, keyring) end
  return unpacked
end

--- One that cannot be opened, here or by this key, shows at least which it is.
local function shown_secret(value)
  local ok, text = pcall(secret.text, value)
  return ok and text or tostring(value)
end

--- A copy for people: secrets, and what texts hold of them, replaced by their marks.
--- @param value any
--- @return any
function data.shown(value)
  if not secret.any() then return value end
  if type(value) == "string" then return secret.redact(value) end
  if secret.is(value) then return shown_secret(value) end
  if type(value) ~= "table" then return value end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__plain then return value end
  local copy = setmetatable({}, type(meta) == "table" and meta or nil)
  for key, item in pairs(value) do rawset(copy, key, data.shown(item)) end
  return copy
end

local SAID_OF_FAILURE = { "kind", "message", "where", "host", "code", "output", "hint" }

--- A failure as the journal keeps it, and as it goes to a run's clients.
--- @param failure any
--- @return table
function data.failure(failure)
  if not fault.is(failure) then return { kind = "mistake", message = secret.redact(tostring(failure)) } end
  local plain = {}
  for _, key in ipairs(SAID_OF_FAILURE) do
    plain[key] = type(failure[key]) ~= "table" and failure[key] or nil
  end
  return plain
end

--- An earlier state in the light of a later one: where that has a secret, what stood there before is one, too.
--- @param before any
--- @param after any
--- @return any
function data.conceal(before, after)
  if secret.is(after) and type(before) == "string" then return secret.like(before, after) end
  if type(before) ~= "table" or type(after) ~= "table" then return before end
  local concealed = {}
  for key, item in pairs(before) do concealed[key] = data.conceal(item, after[key]) end
  return concealed
end

--- Calls visit for each secret in plain data.
--- @param value any
--- @param visit fun(value: native.secret.value)
function data.each_secret(value, visit)
  if type(value) ~= "table" then
    if secret.is(value) then visit(value) end
    return
  end
  for _, item in pairs(value) do
    local kind = type(item)
    if kind == "table" or kind == "userdata" then data.each_secret(item, visit) end
  end
end

--- A digest of plain data: equal data, equal digest. Functions in it do not count.
--- @param ... any
--- @return string hex
function data.digest(...)
  local parts = {}
  for i = 1, select("#", ...) do parts["p" .. i] = (select(i, ...)) end
  return crypto.sha256(json.encode(data.pack(parts, crypto.sha256)))
end

return data
