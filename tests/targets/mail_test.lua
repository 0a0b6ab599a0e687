local fixture = require "tests.targets.fixture"
local fs      = require "native.fs"
local message = require "neap.targets.mail.message"
local process = require "native.process"
local server  = require "tests.mail_server"
local servers = require "tests.http_server"
local sshd    = require "tests.sshd"

-- What Python's reader of mail makes of a message.
local READER = [[
import email, email.policy, json, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
print(json.dumps({"defects": [str(d) for d in mail.defects], "text": mail.get_content(),
  "headers": {k.lower(): str(v) for k, v in mail.items()}}))]]

local function read(text)
  local result = process.run({ "python3", "-c", READER }, { reads = true, input = text })
  if result.status ~= 0 then error(result.err) end
  return require("native.json").decode(result.out)
end

describe("a message", function()
  local function written(more)
    local mail = { from = "ann@example.org", to = { "bob@example.org" }, cc = {}, subject = "Hello", text = "One\nTwo" }
    for key, value in pairs(more) do mail[key] = value end
    return message.text(mail, "<1@example.org>", 0)
  end

  it("is plain where it is ASCII", function()
    equal(written {}, table.concat({ "Date: Thu, 01 Jan 1970 00:00:00 +0000", "From: ann@example.org",
      "To: bob@example.org", "Subject: Hello", "Message-ID: <1@example.org>", "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 7bit", "Auto-Submitted: auto-generated",
      "", "One", "Two", "" }, "\r\n"))
  end)

  it("is read as it was written, whatever letters it has", function()
    local subject = ("Grüße 日本語 "):rep(20) .. "."
    local text = ("zwölf\n"):rep(200) .. ("x"):rep(2000) .. "\n"
    local mail = written { subject = subject, text = text, from = "Ann Öther <ann@example.org>",
      to = { "bob@example.org", "Smith, Eve (x) <eve@example.org>" }, cc = { "=?x <carl@example.org>" } }
    local seen = read(mail)
    truthy(seen.text:gsub("\r\n", "\n") == text)
    equal({ seen.defects, seen.headers.subject }, { {}, subject })
    equal({ seen.headers.from, seen.headers.to, seen.headers.cc }, { "Ann Öther <ann@example.org>",
      'bob@example.org, "Smith, Eve (x)" <eve@example.org>', '=?x <carl@example.org>' })
    truthy(not mail:find "[\128-\255]")
    for line in mail:gmatch "[^\r\n]+" do truthy(#line <= 78) end
  end)

  it("has no line end but CRLF, and keeps a lone CR", function()
    for _, text in ipairs { "a\nb", "a\r\nb\r\n", "a\rb", "\0" } do
      local mail = written { text = text }
      truthy(not mail:gsub("\r\n", ""):find "[\r\n]")
    end
    equal(read(written { text = "a\rb" }).headers["content-transfer-encoding"], "base64")
  end)

  it("goes to addresses, and to nothing else", function()
    equal(message.address "Ann <ann@example.org>", { name = "Ann", address = "ann@example.org" })
    for _, text in ipairs { "ann", "ann@b c", "-ann@b", "ann@-b", "<ann@b>x", "a@b\r\nBcc: c@d", 'A"\n <a@b>',
      "a@b,c@d", 'A" <a@b>', "@b", "a@", ("x"):rep(300) .. "@b", "\xff <a@b>" } do
      equal({ text, message.address(text) }, { text })
    end
  end)
end)

describe("mail.send", function()
  local peer

  after_each(function()
    if peer then peer:close() end
    peer = nil
  end)

  local function start(...) peer = server.start(scratch(), ...) end

  local SEND = [[mail.send("bob@example.org", "It begins", "Now.\n", { server = "PATH", from = "ann@example.org" %s })]]

  local function trial(more) return fixture.trial({ SEND:format(more or "") }, peer.url) end

  it("sends it once, and a rollback leaves it", function()
    start()
    local self = fixture.trial({ SEND:format ', cc = { "Eve <eve@example.org>" }, bcc = "carl@example.org"',
      'fail "enough"' }, peer.url)
    self:run "stopped"
    self:roll_back "rolled back"
    local taken = peer.taken()
    equal({ #taken, taken[1].envelope.to }, { 1, { "bob@example.org", "eve@example.org", "carl@example.org" } })
    matches(taken[1].text, "\r\nCc: Eve <eve@example.org>\r\nSubject: It begins\r\n")
    truthy(not taken[1].text:find "carl")
    local intent, done = self:all "intent"[1], self:all "end"[1]
    equal({ intent.disposition, intent.why }, { "keep", "a mail was sent" })
    equal({ done.result.id, done.result.code }, { ("<%s@example.org>"):format(intent.witness), 250 })
    matches(taken[1].text, "Message%-ID: " .. done.result.id:gsub("%p", "%%%0") .. "\r\n")
  end)

  it("sends nothing while it is planned", function()
    start()
    local effects = trial():plan().phases[1].steps[1].effects
    equal({ effects[1].show, effects[1].says }, { "mail to bob@example.org: It begins",
      "from ann@example.org, 5 bytes of text" })
    equal(peer.taken(), {})
  end)

  for _, way in ipairs { { "--cut", "data" }, { "--refuse", "bob@example.org" }, { "--full" } } do
    it("knows that it was not sent, and can be attempted again: " .. table.concat(way, " "), function()
      start(table.unpack(way))
      local outcome = trial():run "failed"
      equal(#outcome.in_doubt, 0)
      matches(outcome.failure.message, "did not take the mail to bob@example.org: ")
    end)
  end

  for _, place in ipairs { "lost", "end" } do
    it("asks a person where nobody can tell: " .. place, function()
      start("--cut", place)
      local self = trial()
      local outcome = self:run()
      equal({ #outcome.in_doubt, #peer.taken() }, { 1, place == "end" and 1 or 0 })
      self:abandon()
    end)
  end

  it("has not been sent where its time was over before it went out", function()
    start("--silent", "data")
    local outcome = trial ", timeout = 0.5":run "failed"
    equal({ outcome.failure.kind, #outcome.in_doubt }, { "timeout", 0 })
  end)

  it("takes server, sender, user and password from the environment", function()
    start("--auth", "ann", "open sesame")
    local folder = scratch()
    sshd.write(folder .. "/password", "open sesame\n")
    process.run({ "chmod", "600", folder .. "/password" }, { reads = true })
    local self = fixture.trial({ 'mail.send("bob@example.org", "It begins", "Now.")' }, "")
    self.environment.values.mail = { server = peer.url, from = "Ann <ann@example.org>", user = "ann" }
    self.environment.secrets = { mail_password = "file:" .. folder .. "/password" }
    self:run "done"
    equal({ peer.taken()[1].envelope.user, peer.taken()[1].text:match "From: ([^\r]*)" },
      { "ann", "Ann <ann@example.org>" })
    local other = fixture.trial({ 'mail.send("bob@example.org", "a", "b", { user = "eve" })' }, "")
    other.environment.values.mail = self.environment.values.mail
    local failure = other:run "failed".failure
    equal({ failure.kind, failure.message }, { "auth", "there is no password of eve for mail" })
  end)

  it("asks for TLS of every server that is not this machine", function()
    local made = servers.certificate(scratch(), "DNS:localhost")
    start("--tls", made.certificate, made.key, "--smtps")
    trial((', ca = "%s"'):format(made.ca)):run "done"
    equal(trial():run "failed".failure.kind, "auth")
  end)

  it("refuses what would be another message than was meant", function()
    start()
    local function why(text) return tostring(fixture.trial({ text }, peer.url):run "failed".failure) end
    matches(why(SEND:format(""):gsub("It begins", "a\\r\\nBcc: eve@example.org")), "the subject is one line")
    matches(why(SEND:format ', cc = "a@b\\nX: y"'), 'cc: "a@b\\\nX: y" is no address')
    matches(why(SEND:format ", sender = 1"), "no option is named \"sender\"")
    matches(why(SEND:format(""):gsub("PATH", "smtp://ann:secret@localhost")), "server: .* is none")
    matches(why 'mail.send("bob@example.org", "a", "b")', "a mail needs server: an option, or a value")
    equal(peer.taken(), {})
  end)

  it("hands it to sendmail, once", function()
    local folder = scratch()
    local program = folder .. "/sendmail"
    sshd.write(program, ("#!/bin/sh\nprintf '%%s\\n' \"$@\" >>%s/arguments\ncat >>%s/message\n"):format(folder, folder))
    process.run({ "chmod", "755", program }, { reads = true })
    local self = fixture.trial({ [[mail.send({ "bob@example.org", "eve@example.org" }, "It begins", ".\nNow.",
      { server = "sendmail:PATH", from = "Ann <ann@example.org>" })]] }, program)
    self:run "done"
    equal(fs.read(folder .. "/arguments"), "-i\n-f\nann@example.org\n--\nbob@example.org\neve@example.org\n")
    equal(fs.read(folder .. "/message"):match "\n\n(.*)$", ".\nNow.\n")
    sshd.write(program, "#!/bin/sh\nexit 75\n")
    local failure = self:start().failure
    equal({ failure.kind, failure.code }, { "remote", 75 })
  end)
end)
