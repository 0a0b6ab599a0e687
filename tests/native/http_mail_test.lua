local http    = require "native.http"
local secret  = require "native.secret"
local server  = require "tests.mail_server"
local servers = require "tests.http_server"
local task    = require "native.task"

local TEXT = "Subject: a test\r\n\r\nOne\r\n.\r\n..two\r\nthree\r\n"

describe("a message over SMTP", function()
  local peer

  after_each(function()
    if peer then peer:close() end
    peer = nil
  end)

  local function start(...) peer = server.start(scratch(), ...) end

  local function begin(more)
    local options = { url = peer.url, from = "ann@example.org", to = { "bob@example.org" }, body = TEXT,
      require_tls = false }
    for key, value in pairs(more or {}) do options[key] = value end
    return http.mail(options)
  end

  -- Sends one: the server's reply, or the error; and whether all of it went out.
  local function send(more, timeout)
    return changing(function()
      local letter <close> = begin(more)
      local ok, result = pcall(letter.result, letter, { timeout = timeout })
      letter:close()
      return result, letter:handed(), ok
    end)
  end

  it("arrives as it was sent, for all to whom it goes", function()
    start()
    local reply, handed = send { to = { "bob@example.org", "eve@example.org" } }
    equal({ reply.code, reply.reply, handed }, { 250, "250 taken", true })
    local one = peer.taken()[1]
    equal({ one.envelope.to, one.text }, { { "bob@example.org", "eve@example.org" }, TEXT })
    matches(one.envelope.from, "^MAIL FROM:<ann@example.org>")
  end)

  it("needs leave to change", function()
    start()
    equal(raises(begin).kind, "denied")
  end)

  for place, handed in pairs { hello = false, rcpt = false, data = false, lost = true, ["end"] = true } do
    it(("that breaks off at %s is known to be %s"):format(place, handed and "in doubt" or "not sent"), function()
      start("--cut", place)
      local failure, out = send()
      equal({ failure.kind, out }, { handed and "lost" or "connect", handed })
    end)
  end

  it("that is large and breaks off in the middle was not sent", function()
    start("--cut", "half")
    local failure, handed = send { body = ("0123456789\r\n"):rep(1000000) }
    equal({ failure.kind, handed }, { "connect", false })
  end)

  it("is refused for one recipient, and so for all", function()
    start("--refuse", "eve@example.org")
    local failure, handed = send { to = { "bob@example.org", "eve@example.org" } }
    equal({ failure.kind, failure.code, handed, failure.output }, { "denied", 550, false, "550 no such user here" })
    equal(peer.taken(), {})
  end)

  for argument, code in pairs { ["--full"] = 552, ["--later"] = 451 } do
    it(("is refused as a whole by %d, which is a clear no"):format(code), function()
      start(argument)
      local failure, handed = send()
      equal({ failure.kind, failure.code, handed }, { "denied", code, true })
    end)
  end

  it("goes on beside others while the server says nothing, and ends in time", function()
    start("--silent", "end")
    local beats = 0
    local beating = task.spawn(function()
      for _ = 1, 20 do
        task.sleep(0.02)
        beats = beats + 1
      end
    end)
    local failure, handed = send(nil, 0.5)
    beating:cancel()
    equal({ failure.kind, handed }, { "timeout", true })
    truthy(beats > 10)
  end)

  it("does not hold up the loop for a server that answers no farewell", function()
    start("--quiet-quit")
    local longest, last = 0, task.now()
    local beating = task.spawn(function()
      while true do
        task.sleep(0.01)
        longest, last = math.max(longest, task.now() - last), task.now()
      end
    end)
    equal(send().code, 250)
    peer:close()
    start("--quiet-quit", "--refuse", "bob@example.org")
    equal(send().code, 550)
    beating:cancel()
    truthy(longest < 0.5)
  end)

  it("takes no replies without end", function()
    start "--chatter"
    local failure, handed = send()
    equal({ failure.message, handed }, { "its replies have no end", false })
  end)

  it("says who sends it, by a password that is a secret", function()
    start("--auth", "ann", "open sesame")
    local keys = secret.keyring()
    equal(send({ user = "ann", password = secret.literal("open sesame", keys) }).code, 250)
    equal(peer.taken()[1].envelope.user, "ann")
    local failure, handed = send { user = "ann", password = secret.literal("wrong one", keys) }
    equal({ failure.kind, handed }, { "auth", false })
  end)

  it("takes no address and no server that would say more than one", function()
    start()
    for _, more in ipairs { { from = "a@b\r\nRCPT TO:<c@d>" }, { to = { "a@b> SIZE=1" } }, { to = {} }, { body = "" },
      { url = "http://localhost" }, { url = peer.url .. "\r\nX" } } do
      equal(type(raises(send, more)), "string")
    end
  end)

  it("goes over TLS, which is asked for where it is not forbidden, to whom the authority knows", function()
    local made = servers.certificate(scratch(), "DNS:localhost")
    start("--tls", made.certificate, made.key)
    equal(send({ require_tls = true, ca = made.ca }).code, 250)
    equal(peer.taken()[1].envelope.secure, true)
    local failure, handed = send { require_tls = true }
    equal({ failure.kind, handed }, { "auth", false })
    peer:close()
    start("--tls", made.certificate, made.key, "--smtps")
    equal(send({ ca = made.ca }).code, 250)
    peer:close()
    start()
    failure = send { require_tls = true, ca = made.ca }
    equal({ failure.kind, failure.message }, { "denied", "it offers no STARTTLS" })
  end)

  it("is closed twice, and while somebody waits", function()
    start("--silent", "hello")
    changing(function()
      local letter = begin()
      local waiting = task.spawn(letter.result, letter)
      task.sleep(0.05)
      letter:close()
      letter:close()
      local ok, failure = waiting:wait()
      equal({ ok, failure.kind }, { false, "cancelled" })
    end)
  end)
end)
