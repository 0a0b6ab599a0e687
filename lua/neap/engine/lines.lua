--- Messages between a worker and its clients: one JSON object a line. Long and binary texts come beside what a person is
--- to read; of other records they are left out, and who wants them has the journal.
local crypto = require "native.crypto"
local data   = require "neap.engine.data"
local fault  = require "native.error"
local json   = require "native.json"
local secret = require "native.secret"

local lines = {}

local LONGEST = 16 << 20 -- bytes of one line

local LARGEST = 8 << 20 -- bytes of such texts in one message

local READ = { question = true, outcome = true, output = true }

local function is_read(message) return READ[message.type] or message.failure ~= nil end

--- @param message table  plain data
--- @return string line  with its end
function lines.encode(message)
  local texts, total = {}, 0
  local packed = data.pack(message, function(bytes)
    local digest = crypto.sha256(bytes)
    if is_read(message) and not texts[digest] and total + #bytes <= LARGEST then
      texts[digest], total = crypto.base64(secret.redact(bytes)), total + #bytes
    end
    return digest
  end)
  packed.texts = next(texts) and texts
  return json.encode(packed) .. "\n"
end

--- The message with the texts that came beside it in their places; what was left out stays a reference.
local function decode(line)
  local message = json.decode(line)
  local texts = message.texts
  if not texts then return message end
  message.texts = nil
  return data.unpack(message, function(digest)
    return texts[digest] and crypto.unbase64(texts[digest]) or data.reference(digest)
  end)
end

--- The messages that come over a stream, one a call; nil at its end.
--- @param stream stream
--- @return fun(): table?
function lines.reader(stream)
  local rest = ""
  local function more()
    local ok, bytes = pcall(stream.read, stream)
    if ok then return bytes end
    if fault.is(bytes, "timeout") then return "" end -- nobody has said anything for an hour
    if fault.is(bytes, "lost") then return nil end
    error(bytes, 0)
  end
  return function()
    while true do
      local line, behind = rest:match "^([^\n]*)\n()"
      if line then
        rest = rest:sub(behind)
        return decode(line)
      end
      local bytes = more()
      if not bytes then return nil end
      rest = rest .. bytes
      if #rest > LONGEST then
        fault.raise { kind = "protocol", message = "a line without an end came over the socket" }
      end
    end
  end
end

return lines
