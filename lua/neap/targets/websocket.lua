--- A client of WebSockets (RFC 6455) over a connection that libcurl has made: the handshake, messages there and back.
local crypto = require "native.crypto"
local fault  = require "native.error"
local native = require "native.http"

local websocket = {}

local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" -- of the standard
local CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
local HEAD_MAX = 64 << 10    -- bytes of a reply's head
local BODY_MAX = 64 << 10    -- of a refusal's body
local MESSAGE_MAX = 16 << 20

local Socket = {}
Socket.__index = Socket

-- ---- bytes ----

--- Has at least so many bytes ready. False where the connection has ended before.
function Socket:fill(count, options)
  if #self.rest >= count then return true end
  local parts, size = { self.rest }, #self.rest
  while size < count do
    local bytes = self.exchange:receive(options)
    if not bytes then
      self.rest = table.concat(parts)
      return false
    end
    parts[#parts + 1], size = bytes, size + #bytes
  end
  self.rest = table.concat(parts)
  return true
end

function Socket:take(count)
  local bytes = self.rest:sub(1, count)
  self.rest = self.rest:sub(count + 1)
  return bytes
end

-- ---- the handshake ----

local function bytes_of(digest)
  return (digest:gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end))
end

local function wrong(message) return fault.raise { kind = "protocol", message = "the WebSocket " .. message } end

local function request_text(url, headers, protocols, key)
  local host, path = url:match "^https?://([^/]+)(.*)$"
  local text = ("GET %s HTTP/1.1\r\nHost: %s\r\n"):format(path == "" and "/" or path, host)
    .. "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    .. ("Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n"):format(key, table.concat(protocols, ", "))
  for name, value in pairs(headers) do text = text .. name .. ": " .. value .. "\r\n" end
  return text .. "\r\n"
end

--- Reads the head of the reply: its status, and its headers by their names in lower case.
function Socket:read_head(options)
  local ending
  repeat
    ending = self.rest:find("\r\n\r\n", 1, true)
    if #self.rest > HEAD_MAX then wrong "handshake is answered with a head without an end" end
    if not ending and not self:fill(#self.rest + 1, options) then
      fault.raise { kind = "lost", message = "the connection ended before the handshake was answered" }
    end
  until ending
  local head = self:take(ending + 3)
  local headers = {}
  for name, value in head:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do headers[name:lower()] = value end
  return tonumber(head:match "^HTTP/1%.%d (%d%d%d)"), headers
end

function Socket:read_body(headers, options)
  local length = math.min(tonumber(headers["content-length"]) or 0, BODY_MAX)
  self:fill(length, options)
  return self:take(length)
end

local function check_accepted(headers, key, protocols)
  local expected = crypto.base64(bytes_of(crypto.sha1(key .. GUID)))
  if (headers.upgrade or ""):lower() ~= "websocket" or headers["sec-websocket-accept"] ~= expected then
    wrong "handshake is answered by somebody who knows none"
  end
  for _, one in ipairs(protocols) do
    if headers["sec-websocket-protocol"] == one then return one end
  end
  return wrong(("speaks %s, which was not asked for"):format(headers["sec-websocket-protocol"] or "no protocol"))
end

--- @class neap.websocket
--- @field protocol? string  the one that the server has chosen

--- Opens a WebSocket. Whoever answers with another status than 101 has refused: then `refused(status, body, headers)` is
--- called, which raises.
--- @param options native.http.options  url, and how to connect
--- @param headers table<string, string|native.secret.value>
--- @param protocols string[]  the best first
--- @param refused fun(status: integer, body: string, headers: table<string, string>)
--- @return neap.websocket
function websocket.open(options, headers, protocols, refused)
  local given = { raw = true }
  for name, value in pairs(options) do given[name] = value end
  local self = setmetatable({ exchange = native.open(given), rest = "" }, Socket)
  local ok, failure = pcall(function()
    local key = crypto.base64(crypto.random(16))
    self.exchange:connected()
    self.exchange:send(request_text(options.url, headers, protocols, key))
    local status, found = self:read_head()
    if not status then wrong "handshake is not answered in HTTP" end
    if status ~= 101 then refused(status, self:read_body(found), found) end
    self.protocol = check_accepted(found, key, protocols)
  end)
  if ok then return self end
  self:close()
  error(failure, 0)
end

-- ---- messages ----

--- Frames of several tasks must not mix: a pong that falls due meanwhile is sent behind the frame.
function Socket:send_frame(opcode, begin, bytes, options)
  self.sending = true
  local ok, failure = pcall(self.exchange.send_frame, self.exchange, opcode, begin, bytes, options)
  self.sending = false
  if not ok then error(failure, 0) end
  local due = self.pong
  self.pong = nil
  if due then self:send_frame(PONG, "", due) end
end

--- Sends one message of begin .. bytes; one task at a time may send.
--- @param begin string
--- @param bytes string|native.secret.value
--- @param options? { timeout?: number }
function Socket:send(begin, bytes, options) self:send_frame(BINARY, begin, bytes, options) end

--- Length of a frame's payload, of the seven bits that begin it.
function Socket:read_length(short, options)
  if short < 126 then return short end
  local width = short == 126 and 2 or 8
  if not self:fill(width, options) then return nil end
  return (string.unpack(short == 126 and ">I2" or ">i8", self:take(width)))
end

--- One frame; nil where the connection has ended.
function Socket:read_frame(options)
  if not self:fill(2, options) then return nil end
  local first, second = self:take(2):byte(1, 2)
  if first & 0x70 ~= 0 or second & 0x80 ~= 0 then wrong "server sends frames that nobody agreed on" end
  local length = self:read_length(second, options)
  if length and (length < 0 or length > MESSAGE_MAX) then wrong "server sends a frame of more than 16 MiB" end
  if not length or not self:fill(length, options) then return nil end
  return first & 0x0f, first & 0x80 ~= 0, self:take(length)
end

function Socket:answer(payload)
  if self.sending then
    self.pong = payload
  else
    self:send_frame(PONG, "", payload)
  end
end

--- The next message, whatever its kind. nil where the server has closed the socket, with its code and words, or the
--- connection has ended, without.
--- @param options? { timeout?: number }
--- @return string? message
--- @return integer? code
--- @return string? reason
function Socket:receive(options)
  local parts, size = {}, 0
  while true do
    local opcode, is_last, payload = self:read_frame(options)
    if not opcode then return nil end
    if opcode == CLOSE then return nil, #payload >= 2 and string.unpack(">I2", payload) or 1005, payload:sub(3) end
    if opcode == PING then
      self:answer(payload)
    elseif opcode == CONTINUED or opcode == TEXT or opcode == BINARY then
      parts[#parts + 1], size = payload, size + #payload
      if size > MESSAGE_MAX then wrong "server sends a message of more than 16 MiB" end
      if is_last then return table.concat(parts) end
    end
  end
end

function Socket:close() self.exchange:close() end

Socket.__close = Socket.close

return websocket
