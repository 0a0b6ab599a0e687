--- WebSockets, beside a server that does what a good one does, and what a bad one may.
local fault     = require "native.error"
local process   = require "native.process"
local secret    = require "native.secret"
local task      = require "native.task"
local websocket = require "neap.targets.websocket"

describe("a websocket", function()
  local server, url

  before_each(function()
    server = process.spawn({ "python3", "tests/websocket_server.py" }, { reads = true })
    url = ("http://127.0.0.1:%d"):format(tonumber(server:read()))
  end)
  after_each(function() server:close() end)

  local function open(path, headers)
    return websocket.open({ url = url .. path, proxy = "", reads = true }, headers or {}, { "v2.test", "v1.test" },
      function(status, body) fault.raise { kind = "denied", code = status, message = body } end)
  end

  it("carries messages of every length there and back", function()
    local socket <close> = open "/echo"
    equal(socket.protocol, "v2.test")
    for _, length in ipairs { 0, 1, 125, 126, 127, 65535, 65536, 300000 } do
      local text = ("\0\255abc"):rep(length // 5 + 1):sub(1, length)
      socket:send("", text)
      equal(socket:receive(), text)
    end
  end)

  it("carries secrets, and pieces of them", function()
    local socket <close> = open "/echo"
    local word = secret.literal("larkspur-and-basalt-77", secret.keyring())
    socket:send("<", word)
    equal(socket:receive(), "<larkspur-and-basalt-77")
    socket:send("", word, { first = 10, last = 12 })
    equal(socket:receive(), "and")
    matches(raises(socket.send, socket, "", "abc", { first = 2, last = 4 }), "are not there")
  end)

  it("puts messages together, and answers who asks whether it is there", function()
    local socket <close> = open "/pieces"
    equal(socket:receive(), "one message")
    equal(socket:receive(), '[10, "still there?"]')
  end)

  it("sends and receives at the same time", function()
    local socket <close> = open "/echo"
    local text = ("x"):rep(100000)
    local sending = task.spawn(function()
      for _ = 1, 40 do socket:send("", text) end
    end)
    for _ = 1, 40 do equal(#socket:receive(), #text) end
    sending:wait()
  end)

  it("ends with what the other side says of that", function()
    local socket <close> = open "/bye"
    equal({ socket:receive() }, { nil, 1011, "enough" })
    local cut <close> = open "/cut"
    equal(cut:receive(), "whole")
    equal({ cut:receive() }, {})
  end)

  it("is refused with the server's words", function()
    local failure = raises(open, "/refuse")
    equal({ failure.kind, failure.code, failure.message }, { "denied", 403, "not so" })
  end)

  it("believes nobody who does not know the protocol", function()
    for _, path in ipairs { "/accept", "/protocol", "/endless" } do
      equal({ path, raises(open, path).kind }, { path, "protocol" })
    end
    for _, path in ipairs { "/huge", "/negative", "/masked", "/reserved" } do
      local socket <close> = open(path)
      equal({ path, raises(socket.receive, socket).kind }, { path, "protocol" })
    end
  end)

  it("waits no longer than it is told", function()
    local socket <close> = open "/echo"
    equal(raises(socket.receive, socket, { timeout = 0.05 }).kind, "timeout")
  end)
end)
