--- The ways that requests take: by a proxy, from a host.
local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local http    = require "neap.targets.http"
local process = require "native.process"
local server  = require "tests.http_server"
local sshd    = require "tests.sshd"

describe("a proxy of the environment", function()
  local made, peer, here, proxy, folder

  before_each(function()
    folder = scratch()
    made = server.certificate(folder, "DNS:api.example.org,DNS:localhost")
    peer, here = server.start { tls = made }, server.start()
    proxy = process.spawn({ "python3", "tests/proxy_server.py", tostring(peer.port), folder .. "/log" },
      { reads = true, input = false })
  end)
  after_each(function()
    proxy:close()
    peer:close()
    here:close()
  end)

  local CHILD = [[
local fixture = require "tests.targets.fixture"
local http    = require "neap.targets.http"
it("asks", function()
  local ok, reply = pcall(fixture.within, fixture.run(), function(fn, ...) return fn(...) end, http.get, %q,
    { ca = %q, timeout = 5, redirects = 0 })
  local out = io.open(%q, "w")
  out:write(ok and tostring(reply.status) or reply.kind or tostring(reply))
  out:close()
end)]]

  -- What comes of a request of a process that has these variables.
  local function ask(url, variables)
    local path = folder .. "/child_test.lua"
    sshd.write(path, CHILD:format(url, made.ca, folder .. "/said"))
    process.run({ process.executable(), "test", path }, { reads = true, env = variables })
    return sshd.read(folder .. "/said"), fs.exists(folder .. "/log") and sshd.read(folder .. "/log") or ""
  end

  it("is used for what is far, by CONNECT, and not for whom NO_PROXY names", function()
    local address = "http://127.0.0.1:" .. proxy:read():match "%d+"
    local said, log = ask("https://api.example.org:8443/echo", { HTTPS_PROXY = address })
    equal({ said, log }, { "200", "CONNECT api.example.org:8443 HTTP/1.1\n" })
    said, log = ask("https://api.example.org:8443/echo", { HTTPS_PROXY = address, NO_PROXY = "api.example.org" })
    truthy(said == "connect" or said == "timeout")
    equal(log, "CONNECT api.example.org:8443 HTTP/1.1\n")
  end)

  it("is not used for this machine, nor for a cloud's metadata", function()
    local address = "http://127.0.0.1:" .. proxy:read():match "%d+"
    local variables = { HTTPS_PROXY = address, http_proxy = address, ALL_PROXY = address, https_proxy = address }
    equal({ ask(here.url .. "/echo", variables) }, { "200", "" })
    equal({ ask(peer.url .. "/echo", variables) }, { "200", "" })
    local said, log = ask("http://169.254.169.254/latest/", variables)
    equal({ said ~= "200", log }, { true, "" })
  end)
end)

describe("a request that a host makes", function()
  local far, peer

  after_each(function()
    if far then far.stop() end
    if peer then peer:close() end
    far, peer = nil, nil
  end)

  local function hosts()
    local entries
    far, entries = sshd.far(scratch())
    return entries
  end

  it("is made by way of it", function()
    peer = server.start()
    local run = fixture.run(hosts())
    fixture.within(run, function(fn, ...) return fn(...) end, function()
      local echo = http.json(("http://127.0.0.1:%d/echo?a=b"):format(peer.port), { via = "far" })
      equal(echo.path, "/echo?a=b")
      equal(http.get(("http://localhost:%d/count"):format(peer.port), { via = "far" }).status, 200)
      truthy(run.connections["host far"].made.session)
      local failure = raises(http.get, "http://localhost:1/", { via = "far", timeout = 3 })
      truthy(failure.kind == "connect" or failure.kind == "lost" or failure.kind == "timeout")
    end)
  end)

  it("verifies the certificate of the name in the URL", function()
    local made = server.certificate(scratch(), "DNS:localhost")
    peer = server.start { tls = made }
    local run = fixture.run(hosts())
    fixture.within(run, function(fn, ...) return fn(...) end, function()
      equal(http.get(peer.url .. "/echo", { via = "far", ca = made.ca }).status, 200)
      local failure = raises(http.get, "https://127.0.0.1:" .. peer.port, { via = "far", ca = made.ca, timeout = 3 })
      equal(failure.kind, "auth")
    end)
  end)

  it("changes something from there, once", function()
    peer = server.start()
    local text = 'http.put("http://localhost:PATH/thing/a", { body = "1", via = "far", keep = "a test" })'
    local self = fixture.trial({ text }, tostring(peer.port), hosts())
    self:run "done"
    equal(self:all "intent"[1].show, ("PUT http://localhost:%d/thing/a from far"):format(peer.port))
    local exchange <close> = require("native.http").open { url = peer.url .. "/log" }
    exchange:response()
    equal(exchange:read(), "PUT a\n")
  end)
end)
