--- The channels of a command in a container, beside a server that speaks them.
local client    = require "neap.targets.k8s.client"
local exec      = require "neap.targets.k8s.exec"
local fixture   = require "tests.targets.fixture"
local process   = require "native.process"
local websocket = require "neap.targets.websocket"

describe("a command in a container", function()
  local server, socket, asked, known

  before_each(function()
    server = process.spawn({ "python3", "tests/websocket_server.py" }, { reads = true })
    socket, known = client.socket, nil
    local url = ("http://127.0.0.1:%d"):format(tonumber(server:read()))
    client.socket = function(_, path, query, protocols, reads)
      asked = path .. query
      return websocket.open({ url = url .. path .. query, proxy = "", reads = reads }, {}, known or protocols, error)
    end
  end)
  after_each(function()
    client.socket = socket
    server:close()
  end)

  local function run(pod, command, options)
    local place = { cluster = "lab", namespace = "rdw", pod = pod, container = "main" }
    return fixture.within(fixture.run(), changing, exec.run, place, command, options or {})
  end

  it("reads its input to the end, and says something on both sides", function()
    local heard = {}
    local input = ("line of input\n"):rep(10000)
    local result = run("good", { "cat", "a b&c" }, { input = input, on_output = function(bytes, side)
      heard[side] = (heard[side] or "") .. bytes
    end })
    equal({ #result.out, result.out:sub(1, 14), result.err, result.status },
      { #input, "line of input\n", "to the errors", 0 })
    equal({ heard.out, heard.err }, { input, "to the errors" })
    equal(asked, "/api/v1/namespaces/rdw/pods/good/exec?stdout=true&stderr=true&stdin=true&container=main"
      .. "&command=cat&command=a%20b%26c")
  end)

  it("ends with the exit status that the server tells", function()
    local failure = raises(run, "seven", "exit 7", { input = "" })
    equal({ failure.kind, failure.code, failure.output }, { "remote", 7, "to the errors" })
    equal(run("seven", "exit 7", { input = "", ok = { 7 } }).status, 7)
  end)

  it("is in doubt where the server tells none", function()
    local failure = raises(run, "odd", { "nothing" }, { input = "" })
    equal(failure.kind, "lost")
    matches(failure.message, "lab pod/odd main: no such file")
    equal(raises(run, "none", { "true" }, { input = "" }).kind, "lost")
    equal(raises(run, "other", { "true" }).kind, "lost") -- the connection ends
  end)

  it("has no input on a server that cannot say where that ends", function()
    known = { "v4.channel.k8s.io" }
    local failure = raises(run, "good", { "cat" }, { input = "x" })
    equal(failure.kind, "denied")
    matches(failure.message, "where a command's input ends")
  end)

  it("changes nothing without leave", function()
    local place = { cluster = "lab", namespace = "rdw", pod = "good" }
    equal(raises(exec.run, place, { "true" }, {}).kind, "denied")
  end)
end)
