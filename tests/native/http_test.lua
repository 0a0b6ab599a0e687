local fs     = require "native.fs"
local http   = require "native.http"
local json   = require "native.json"
local secret = require "native.secret"
local server = require "tests.http_server"
local sshd   = require "tests.sshd"
local task   = require "native.task"

-- Bytes of memory that this process holds.
local function resident()
  local file <close> = io.open "/proc/self/statm"
  return tonumber(file:read("a"):match "^%d+ (%d+)") * 4096
end

-- The whole reply to a request.
local function fetch(options)
  options.proxy = options.proxy or ""
  local exchange <close> = http.open(options)
  local reply = exchange:response()
  local parts = {}
  for bytes in exchange.read, exchange do parts[#parts + 1] = bytes end
  reply.body, reply.timings = table.concat(parts), exchange:timings()
  return reply
end

local function header(reply, name)
  local found = {}
  for _, one in ipairs(reply.headers) do
    if one[1] == name then found[#found + 1] = one[2] end
  end
  return table.concat(found, ",")
end

local function sent_header(echo, name)
  for _, one in ipairs(echo.headers) do
    if one[1]:lower() == name then return one[2] end
  end
end

describe("an exchange over HTTP", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  local function get(path, more)
    local options = { url = peer.url .. path }
    for key, value in pairs(more or {}) do options[key] = value end
    return fetch(options)
  end

  it("brings status, headers and body, and says how long each part took", function()
    local reply = get "/echo?a=1&b=%20"
    equal({ reply.status, reply.version, reply.address }, { 200, "1.1", "127.0.0.1" })
    equal({ header(reply, "x-two"), header(reply, "x-empty") }, { "one,two", "" })
    equal(json.decode(reply.body).path, "/echo?a=1&b=%20")
    truthy(reply.timings.total >= reply.timings.first_byte and reply.timings.first_byte >= reply.timings.connect)
    equal(reply.timings.received, #reply.body)
  end)

  it("sends what it is given, header by header", function()
    local options = { method = "POST", body = "a\0b", reads = true,
      headers = { { "X-A", "1" }, { "X-B", "" }, { "X-Secret", secret.literal("open sesame", secret.keyring()) } } }
    local echo = json.decode(get("/echo", options).body)
    equal({ echo.method, echo.body, sent_header(echo, "x-a"), sent_header(echo, "x-b"),
      sent_header(echo, "x-secret") },
      { "POST", "a\0b", "1", "", "open sesame" })
    equal({ sent_header(echo, "content-length"), sent_header(echo, "expect") }, { "3", nil })
    equal(json.decode(get("/echo", { method = "PUT", body = secret.literal("of a secret", secret.keyring()),
      reads = true }).body).body, "of a secret")
  end)

  it("sends what changes something once, also where a connection that was kept dies under it", function()
    get "/echo"
    local failure = raises(changing, get, "/thing/a?fault=lost", { method = "PUT", body = "1" })
    equal({ failure.kind, get("/log").body }, { "lost", "PUT a\n" })
  end)

  it("sends a file, or a part of it", function()
    local path = scratch() .. "/file"
    sshd.write(path, ("0123456789"):rep(100))
    local function put(file)
      return json.decode(get("/echo", { method = "PUT", reads = true, body_file = file }).body)
    end
    equal(put({ path = path }).length, 1000)
    equal(put({ path = path, offset = 5, length = 10 }).body, "5678901234")
    equal(put({ path = path, offset = 995 }).body, "56789")
    equal(raises(put, { path = path, offset = 995, length = 6 }).kind, "conflict")
    equal(raises(put, { path = scratch() .. "/none" }).kind, "missing")
    equal(raises(put, { path = scratch() }).kind, "denied")
  end)

  it("sends a form with fields and files", function()
    local path = scratch() .. "/packages.csv"
    sshd.write(path, "a,b\n")
    local echo = json.decode(get("/echo", { method = "POST", reads = true, form = {
      { name = "kind", value = "package" }, { name = "file", file = path, filename = "2018v2.csv", type = "text/csv" },
    } }).body)
    matches(sent_header(echo, "content-type"), "^multipart/form%-data; boundary=")
    matches(echo.body, 'name="kind"\r\n\r\npackage\r\n')
    matches(echo.body, 'name="file"; filename="2018v2.csv"\r\nContent%-Type: text/csv\r\n\r\na,b\n\r\n')
  end)

  it("knows a HEAD, a reply without a body, and every status", function()
    equal(get("/echo", { method = "HEAD" }).body, "")
    for _, status in ipairs { 204, 304, 404, 429, 503 } do equal(get("/status/" .. status).status, status) end
    equal(header(get "/redirect", "location"), "/echo")
  end)

  it("uses a connection again", function()
    equal({ get("/count").body, get("/count").body, get("/count").body }, { "0", "1", "2" })
  end)

  it("holds the server back while nobody reads, and takes a large body in flat memory", function()
    if fs.readlink "/proc/self/exe":find "/san/" then skip "a sanitizer keeps what was freed" end
    for _, path in ipairs { "/bytes/200000000", "/chunked/50000000" } do
      local exchange <close> = http.open { url = peer.url .. path, proxy = "" }
      exchange:response()
      task.sleep(0.2)
      collectgarbage()
      local before, most, total, pieces = resident(), 0, 0, 0
      for bytes in exchange.read, exchange do
        total = total + #bytes
        pieces = pieces + 1
        if pieces % 32 == 0 then collectgarbage() end -- what others left in this process is no matter here
        most = math.max(most, resident())
      end
      equal(total, tonumber(path:match "%d+"))
      truthy(most - before < 16 << 20)
    end
  end)

  it("writes a body to a file, and only to a regular one", function()
    local path = scratch() .. "/body"
    local exchange <close> = http.open { url = peer.url .. "/bytes/1000000", to_file = path, proxy = "" }
    equal(exchange:response().status, 200)
    equal(exchange:read(), nil)
    equal({ fs.stat(path).size, fs.stat(path).mode, exchange:timings().received }, { 1000000, "0600", 1000000 })
    equal(raises(http.open, { url = peer.url, to_file = scratch() }).kind, "denied")
  end)

  it("reads what is no good answer, and adds it to no file, where that is asked for", function()
    local path = scratch() .. "/body"
    local exchange <close> = http.open { url = peer.url .. "/status/404", to_file = path, only_good = true, proxy = "" }
    equal(exchange:response().status, 404)
    truthy(#exchange:read() > 0)
    equal({ exchange:read(), fs.stat(path).size }, { nil, 0 })
    local other <close> = http.open { url = peer.url .. "/bytes/10", to_file = path, only_good = true, proxy = "" }
    other:response()
    equal({ other:read(), fs.stat(path).size }, { nil, 10 })
  end)

  it("writes no more to a file than it may", function()
    for _, way in ipairs { "/bytes/1000000", "/chunked/1000000" } do
      local exchange <close> = http.open { url = peer.url .. way, to_file = scratch() .. "/body", max_bytes = 300000 }
      equal(exchange:response().status, 200)
      local failure = raises(exchange.read, exchange)
      equal({ failure.kind, failure.message }, { "protocol", "its body is longer than 300000 bytes" })
    end
  end)

  it("takes a URL that is a secret, if nobody can read it on the way", function()
    local keys = secret.keyring()
    equal(get("", { url = secret.literal(peer.url .. "/echo", keys) }).status, 200)
    for _, url in ipairs { "http://example.org/hook", "http://localhost@example.org/", "http://localhost.example.org/",
      "http://127.0.0.1.example.org/", "nonsense" } do
      equal({ url, raises(http.open, { url = secret.literal(url, keys) }).kind }, { url, "denied" })
    end
  end)

  it("brings lines as they come", function()
    local exchange <close> = http.open { url = peer.url .. "/drip/3", proxy = "" }
    exchange:response()
    equal(exchange:read(), "line 0\n")
    equal(exchange:read(), "line 1\n")
  end)

  it("asks for leave where its method changes something", function()
    equal(raises(http.open, { url = peer.url, method = "POST" }).kind, "denied")
    equal(raises(http.open, { url = peer.url, method = "DELETE" }).kind, "denied")
    changing(function() http.open({ url = peer.url, method = "DELETE", proxy = "" }):close() end)
  end)

  it("refuses what would end a header or an address early", function()
    for _, options in ipairs {
      { url = "http://localhost/\r\nX: y" }, { url = "http://local host/" }, { url = 1 },
      { url = peer.url, headers = { ["X-A"] = "1\r\nX-B: 2" } }, { url = peer.url, headers = { ["X: A"] = "1" } },
      { url = peer.url, headers = { ["X-A"] = "1\0" } },
      { url = peer.url, method = "G T" }, { url = peer.url, metod = "GET" },
    } do
      equal(type(raises(http.open, options)), "string")
    end
    equal(raises(fetch, { url = "file:///etc/passwd" }).kind, "connect")
  end)

  it("says what certainly was not sent apart from what may have been", function()
    local closed = sshd.free_port()
    equal(raises(fetch, { url = ("http://127.0.0.1:%d/"):format(closed) }).kind, "connect")
    equal(raises(fetch, { url = "http://no.such.host.invalid/" }).kind, "connect")
    equal(raises(get, "/close").kind, "lost")
    equal(raises(get, "/half").kind, "lost")
    equal(raises(fetch, { url = peer.url:gsub("^http:", "https:") .. "/" }).kind, "connect")
  end)

  it("refuses headers without end", function()
    equal(raises(get, "/headers/500000").kind, "protocol")
  end)

  it("ends in time, and lets go of what it waited for", function()
    local exchange <close> = http.open { url = peer.url .. "/silent", proxy = "" }
    equal(raises(exchange.response, exchange, { timeout = 0.1 }).kind, "timeout")
    local other = http.open { url = peer.url .. "/silent", proxy = "" }
    local waiting = task.spawn(other.response, other)
    task.sleep(0.05)
    waiting:cancel()
    other:close()
    other:close()
  end)

  it("goes on beside others", function()
    local begun, tasks = task.now(), {}
    for i = 1, 20 do tasks[i] = task.spawn(get, "/drip/3") end
    for i = 1, 20 do
      local ok, reply = tasks[i]:wait()
      equal({ ok, reply.body }, { true, "line 0\nline 1\nline 2\n" })
    end
    truthy(task.now() - begun < 3)
  end)
end)

describe("an exchange over HTTPS", function()
  local made, peer

  before_each(function()
    made = server.certificate(scratch(), "DNS:localhost,DNS:api.example.org")
    peer = server.start { tls = made }
  end)
  after_each(function() peer:close() end)

  it("believes the authority that it is given, and the name in the URL", function()
    equal(fetch({ url = peer.url .. "/echo", ca = made.ca }).status, 200)
    local elsewhere = "127.0.0.1:" .. peer.port
    equal(fetch({ url = "https://api.example.org/echo", connect_to = elsewhere, ca = made.ca }).status, 200)
  end)

  it("believes an authority that is given in memory, as PEM or base64, in the clear or as a secret", function()
    local crypto = require "native.crypto"
    local pem, url = fs.read(made.ca), peer.url .. "/echo"
    equal(fetch({ url = url, ca_data = pem }).status, 200)
    equal(fetch({ url = url, ca_data = crypto.base64(pem) }).status, 200)
    equal(fetch({ url = url, ca_data = secret.literal(crypto.base64(pem), secret.keyring()) }).status, 200)
    equal(raises(fetch, { url = url, ca_data = "no certificate" }).kind, "connect")
    equal(raises(fetch, { url = url, ca = made.ca, certificate_data = pem, key_data = "no key" }).kind, "connect")
  end)

  it("is refused for an unknown authority and for another name: nothing was sent", function()
    local stranger = raises(fetch, { url = peer.url .. "/echo" })
    equal(stranger.kind, "auth")
    matches(stranger.message, "certificate is not accepted")
    local elsewhere = "127.0.0.1:" .. peer.port
    local other = raises(fetch, { url = "https://other.example.org/", connect_to = elsewhere, ca = made.ca })
    equal(other.kind, "auth")
  end)
end)
