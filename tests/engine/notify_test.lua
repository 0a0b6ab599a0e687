--- Programs that are told of a run: with the event on their input, beside the run, and without a say in it.
local fs      = require "native.fs"
local json    = require "native.json"
local mail    = require "tests.mail_server"
local native  = require "native.http"
local notify  = require "neap.engine.notify"
local process = require "native.process"
local server  = require "tests.http_server"
local world   = require "tests.engine.world"

local TEXT = [[
  step "One" { run = function() world.set("a", 1) end }
  step "Two" { run = function() if not world.read "go" then fail "no" end end }]]

--- A world whose environment tells a program that adds what it reads to a file; returns both.
local function telling(list)
  local w = world.new(TEXT)
  w.notify = list
  return w
end

local function start(w, more)
  local options = { environment = { name = "test/lab", group = "test", hosts = {}, values = {}, policy = {},
    notify = w.notify } }
  for key, value in pairs(more or {}) do options[key] = value end
  return w:start(options)
end

local function told(path)
  local list = {}
  for line in (fs.exists(path) and fs.read(path) or ""):gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

local function notes(w)
  local list = {}
  for _, record in ipairs(select(2, w:state()):records(1)) do
    if record.kind == "notify" then list[#list + 1] = record.text end
  end
  return list
end

local function appending(path) return { "sh", "-c", 'cat >>"$1"', "sh", path } end

describe("notify", function()
  it("tells of start, failure and end, with who, what and where", function()
    local path = scratch() .. "/told"
    local w = telling { { command = appending(path) } }
    start(w, { actor = "ann@jump" })
    w.values.go = true
    equal(w:resume().status, "done")
    local list = told(path)
    local events = {}
    for _, one in ipairs(list) do events[one.event] = one end
    equal(events.start,
      { event = "start", run = 1, environment = "test/lab", procedure = "test/it", actor = "ann@jump" })
    equal({ events.failed.path, events.failed.message, events.done.outcome }, { "Two", "no", "done" })
    equal(notes(w), { "told sh: start", "told sh: failed" })
  end)

  it("tells only what was asked for", function()
    local path = scratch() .. "/told"
    local w = telling { { events = { "done" }, command = appending(path) } }
    w.values.go = true
    start(w)
    equal({ #told(path), told(path)[1].event }, { 1, "done" })
  end)

  it("changes nothing in the run when a program fails or is not there", function()
    local w = telling { { events = { "start" }, command = { "sh", "-c", "exit 3" } },
      { events = { "start" }, command = { "/nowhere/to/be/found" } } }
    w.values.go = true
    equal(start(w).status, "done")
    table.sort(w.log)
    equal(w.log, { "a=1" })
  end)

  it("notes what failed", function()
    local w = telling { { events = { "start" }, command = { "sh", "-c", "exit 3" } } }
    start(w)
    equal(notes(w), { "told sh: start, which failed: exit status 3" })
  end)

  it("says what is wrong with a list of an environment", function()
    equal(notify.mistake { { events = { "done" }, command = { "x" } } }, nil)
    matches(notify.mistake { { command = "x" } }, "notify 1 lacks command, an argument list")
    matches(notify.mistake { { command = { "x" }, events = { "dne" } } }, "no event 'dne'. Did you mean 'done'")
    matches(notify.mistake { { comand = { "x" } } }, "no key 'comand'. Did you mean 'command'")
  end)
end)

describe("notify by the network", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  -- A secret's reference: a file that holds this.
  local function file_of(text)
    local path = fs.mkdtemp(scratch() .. "/secret-") .. "/it"
    fs.write(path, text .. "\n")
    process.run({ "chmod", "600", path }, { reads = true })
    return "file:" .. path
  end

  local function ask(path)
    local exchange <close> = native.open { url = peer.url .. path }
    local status, text = exchange:response().status, ""
    for bytes in exchange.read, exchange do text = text .. bytes end
    return status == 200 and json.decode(text) or nil
  end

  -- All that the journal says, as text.
  local function journal(w)
    local lines = {}
    for _, record in ipairs(select(2, w:state()):records(1)) do lines[#lines + 1] = json.encode(record) end
    return table.concat(lines, "\n")
  end

  it("posts the event, a sentence for Slack or a card for Teams, to a place that is not written down", function()
    for form, text in pairs { slack = "text", teams = "attachments", json = "event" } do
      local w = telling { { events = { "failed" }, form = form, webhook = file_of(peer.url .. "/thing/hook-hidden") } }
      start(w, { actor = "ann@jump" })
      truthy(ask("/thing/hook-hidden")[text])
      equal(notes(w), { ("told a webhook (%s): failed"):format(form) })
      truthy(not journal(w):find "hook%-hidden")
    end
  end)

  it("says the same in each form", function()
    local w = telling { { events = { "failed" }, form = "slack", webhook = file_of(peer.url .. "/thing/slack") },
      { events = { "failed" }, form = "teams", webhook = file_of(peer.url .. "/thing/teams") },
      { events = { "failed" }, webhook = file_of(peer.url .. "/thing/json") } }
    start(w)
    local sentence = 'test/lab/1 failed at "Two": no'
    equal(ask "/thing/slack", { text = sentence })
    equal(ask("/thing/teams").attachments[1].content.body[1].text, sentence)
    equal(ask "/thing/json", { event = "failed", environment = "test/lab", procedure = "test/it", run = 1, path = "Two",
      attempt = 1, message = "no" })
  end)

  it("lets nothing of a message call all of a room", function()
    local w = world.new [[step "One" { run = function() fail "<!channel> & more" end }]]
    w.notify = { { events = { "failed" }, form = "slack", webhook = file_of(peer.url .. "/thing/slack") } }
    start(w)
    matches(ask("/thing/slack").text, "&lt;!channel&gt; &amp; more$")
  end)

  it("triggers PagerDuty at a failure, and resolves it at the end", function()
    local w = telling { { pagerduty = file_of "routing-key-of-the-test", url = peer.url .. "/thing/pager" } }
    start(w)
    local event = ask "/thing/pager"
    equal({ event.routing_key, event.event_action, event.dedup_key, event.payload.severity, event.payload.summary },
      { "routing-key-of-the-test", "trigger", "neap test/lab/1", "critical", 'test/lab/1 failed at "Two": no' })
    w.values.go = true
    equal(w:resume().status, "done")
    event = ask "/thing/pager"
    equal({ event.event_action, event.dedup_key, event.payload }, { "resolve", "neap test/lab/1" })
    equal(notes(w), { "told PagerDuty: failed" })
    truthy(not journal(w):find "routing%-key%-of")
  end)

  it("sends mail by what the environment says", function()
    local post = mail.start(scratch())
    local w = telling { { events = { "failed" }, mail = { "ops@example.org", "Ann <ann@example.org>" } } }
    start(w, { environment = { name = "test/lab", group = "test", hosts = {}, policy = {}, notify = w.notify,
      values = { mail = { server = post.url, from = "neap@example.org" } } } })
    local one = post.taken()[1]
    equal(one.envelope.to, { "ops@example.org", "ann@example.org" })
    matches(one.text, '\r\nSubject: test/lab/1 failed at "Two": no\r\n')
    equal(notes(w), { "told by mail ops@example.org, Ann <ann@example.org>: failed" })
    post:close()
  end)

  it("changes nothing in the run where nobody listens, and says so", function()
    local w = telling { { events = { "start" }, webhook = file_of(peer.url .. "/status/500") },
      { events = { "start" }, webhook = file_of "http://127.0.0.1:1/hook" },
      { events = { "start" }, webhook = file_of "http://example.org/hook" },
      { events = { "start" }, webhook = "file:/nowhere/to/be/found" }, { events = { "start" }, mail = { "a@b" } } }
    w.values.go = true
    equal(start(w).status, "done")
    w = telling(w.notify)
    start(w)
    local said = table.concat(notes(w), "\n")
    for _, part in ipairs { "it was answered with status 500", "127.0.0.1 port 1", "the URL is not https",
      "/nowhere/to/be/found", "the environment says no server %(values.mail.server%)" } do matches(said, part) end
  end)

  it("says what is wrong with a list of an environment", function()
    equal(notify.mistake { { webhook = "env:HOOK", form = "slack" }, { pagerduty = "cmd:pass pager" },
      { mail = { "a@b" }, events = { "done" } } }, nil)
    for mistake, entry in pairs {
      ["webhook: there are no secrets of https:"] = { webhook = "https://hooks.example.org/secret" },
      ["knows no form 'slak'. Did you mean 'slack'"] = { webhook = "env:HOOK", form = "slak" },
      ["webhook: nobody can be asked"] = { webhook = "ask:Where" },
      ["has 'form', which does not go with mail"] = { mail = { "a@b" }, form = "slack" },
      ["has 'webhook', which does not go with command"] = { command = { "x" }, webhook = "env:HOOK" },
      ["goes to \"ann\", which is no address"] = { mail = { "ann" } },
      ["lacks addresses"] = { mail = "a@b" },
      ["says no way"] = { events = { "done" } },
      ["has a url that is none"] = { pagerduty = "env:KEY", url = "x" },
    } do matches(notify.mistake { entry }, mistake) end
  end)
end)
