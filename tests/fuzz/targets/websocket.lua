--- WebSockets: a server's bytes, however they are cut, give the same messages, or a refusal. In: how they are cut, the bytes;
--- "KEY" in these stands for the answer to the handshake's key.
local crypto = require "native.crypto"
local fault  = require "native.error"

local sent, received

local function exchange_of()
  return {
    connected = function() end, close = function() end,
    send = function(_, bytes) sent = bytes end,
    send_frame = function() end,
    receive = function() return received() end,
  }
end

crypto.random = function(count) return ("r"):rep(count) end
package.loaded["native.http"] = { open = exchange_of }
local websocket = require "neap.targets.websocket"

local function accepted()
  local digest = crypto.sha1(sent:match "Sec%-WebSocket%-Key: (%S+)" .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
  return crypto.base64((digest:gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end)))
end

local function refused(status, body) fault.raise { kind = "denied", message = status .. body } end

local function messages(bytes, size)
  local list = {}
  received = function() -- the key is known by then
    received = pieces((bytes:gsub("KEY", accepted)), size)
    return received()
  end
  local took, failure = attempt(function()
    local socket = websocket.open({ url = "https://h/p" }, {}, { "v4", "v5" }, refused)
    for _ = 1, 100 do
      local message, code, reason = socket:receive()
      list[#list + 1] = { message or "", code or 0, reason or "" }
      if not message then break end
    end
  end)
  list[#list + 1] = { took and "" or failure.message }
  return list
end

return {
  parsers = { "neap/targets/websocket.lua" },
  run = function(data)
    local size, bytes = data:byte() or 0, data:sub(2)
    equal(messages(bytes, size % 16 + 1), messages(bytes, #bytes + 1), "in pieces")
  end,
}
