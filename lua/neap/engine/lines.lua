--- Messages between a worker and its clients: one JSON object a line. Long and binary strings are left out; who wants
--- them has the journal.
local crypto = require "native.crypto"
local data   = require "neap.engine.data"
local fault  = require "native.error"
local json   = require "native.json"

local lines = {}

local LONGEST = 16 << 20 -- bytes of one line

--- @param message table  plain data
--- @return string line  with its end
function lines.encode(message) return json.encode(data.pack(message, crypto.sha256)) .. "\n" end

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
        return json.decode(line)
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
