local fixture = require "tests.targets.fixture"
local http    = require "neap.targets.http"
local json    = require "native.json"
local native  = require "native.http"
local secret  = require "native.secret"
local server  = require "tests.http_server"

describe("http", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  local function within(fn, ...)
    local run = fixture.run()
    run.keys = secret.keyring()
    return fixture.within(run, function(inner, ...) return inner(...) end, fn, ...)
  end

  -- What the server says itself, past what is tested.
  local function ask(path)
    local exchange <close> = native.open { url = peer.url .. path, proxy = "" }
    local status, text = exchange:response().status, ""
    for bytes in exchange.read, exchange do text = text .. bytes end
    return text, status
  end

  describe("reads", function()
    it("pages, with headers, a query and credentials", function()
      local reply = within(http.get, peer.url .. "/echo?a=1", { headers = { ["X-A"] = "b" },
        query = { ["b c"] = "d&e", f = 1 },
        basic = { user = "ann", password = secret.literal("open sesame", secret.keyring()) } })
      local echo = json.decode(reply.body)
      equal({ reply.status, reply.headers["x-two"], echo.path }, { 200, "one, two", "/echo?a=1&b%20c=d%26e&f=1" })
      matches(reply.body, '"Authorization", "Basic YW5uOm9wZW4gc2VzYW1l"')
      matches(within(http.get, peer.url .. "/echo", { bearer = "abc" }).body, '"Bearer abc"')
      equal(within(http.json, peer.url .. "/echo").method, "GET")
      equal(raises(within, http.json, peer.url .. "/bytes/10").kind, "protocol")
    end)

    it("again what the server asks to be asked later, and no longer than it has time", function()
      equal(within(http.get, peer.url .. "/later/3").body, "3")
      local failure = raises(within, http.get, peer.url .. "/status/503", { timeout = 0.5 })
      equal({ failure.kind }, { "timeout" })
      equal(raises(within, http.get, peer.url .. "/status/404").kind, "missing")
      equal(within(http.get, peer.url .. "/status/404", { ok = { 404 } }).status, 404)
    end)

    it("what a redirection leads to, but not with credentials", function()
      equal(json.decode(within(http.get, peer.url .. "/redirect").body).path, "/echo")
      local failure = raises(within, http.get, peer.url .. "/redirect", { bearer = "abc" })
      equal({ failure.code, failure.message:match "a redirection to /echo$" }, { 302, "a redirection to /echo" })
      equal(raises(within, http.get, peer.url .. "/redirect", { redirects = 0 }).code, 302)
    end)

    it("nothing that others could read on the way, and nothing with a password in its address", function()
      equal(raises(within, http.get, "http://example.org/").kind, "denied")
      matches(raises(within, http.get, "https://ann:secret@example.org/"), "holds no user and password")
      matches(raises(within, http.get, peer.url, { header = {} }), "no option is named \"header\".*headers")
    end)

    it("no more than it may", function()
      equal(raises(within, http.get, peer.url .. "/bytes/2000", { max_bytes = 1000 }).kind, "protocol")
    end)

    it("by a method that usually changes something, where that is said", function()
      local reply = within(http.query, "POST", peer.url .. "/echo", { json = { query = { "a" } } })
      equal(json.decode(reply.body).body, '{"query":["a"]}')
    end)
  end)

  describe("tokens", function()
    it("are secrets, asked for once, and again when they have run out", function()
      local password = secret.literal("open sesame&", secret.keyring())
      local function options(more)
        return { grant = "password", user = "ann", password = password, client = "rdw", client_secret = "c",
          fields = more }
      end
      within(function()
        local first, again = http.token(peer.url .. "/token", options()), http.token(peer.url .. "/token", options())
        truthy(secret.is(first))
        truthy(secret.same(first, "token-1-of-the-test") and secret.same(again, first))
        truthy(secret.same(http.token(peer.url .. "/token", options { life = "short" }), "token-2-of-the-test"))
        require("native.task").sleep(1.1)
        truthy(secret.same(http.token(peer.url .. "/token", options { life = "short" }), "token-3-of-the-test"))
      end)
      local failure = raises(within, http.token, peer.url .. "/token", { grant = "client_credentials", client = "x",
        client_secret = "wrong" })
      equal(failure.code, 400)
    end)
  end)

  describe("changes", function()
    local function trial(...) return fixture.trial({ ... }, peer.url) end

    -- One request that the server answers so, with the question whether it happened.
    local function asking(fault)
      local text = [[http.put("PATH/thing/a?fault=%s",
        { body = "1", keep = "a test", done = { url = "PATH/thing/a" }, timeout = 1 })]]
      return trial(text:format(fault))
    end

    it("once, and takes it back by the request that undoes it", function()
      local self = trial('http.put("PATH/thing/a", { body = "1", undo = { method = "DELETE", url = "PATH/thing/a" } })',
        'fail "enough"')
      self:run "stopped"
      equal({ ask "/thing/a" }, { "1", 200 })
      self:roll_back "rolled back"
      equal({ ask "/log" }, { "PUT a\nDELETE a\n", 200 })
    end)

    it("nothing while it is planned", function()
      local plan = trial('http.put("PATH/thing/a", { json = { a = 1 }, keep = "a test" })'):plan()
      equal(plan.phases[1].steps[1].effects[1].show, "PUT " .. peer.url .. "/thing/a")
      equal({ ask "/log" }, { "", 200 })
    end)

    it("nothing of what is misspelt, and says where in the procedure", function()
      for _, call in ipairs { "get(URL, { jsn = 1 })", "head(URL, { jsn = 1 })", "json(URL, { jsn = 1 })",
        'query("POST", URL, { jsn = 1 })', 'post(URL, { jsn = 1, keep = "a test" })', 'get "http://u:p@127.0.0.1/"',
        'put(URL, { json = 1, undo = { method = "DELETE" } })', 'put(URL, { keep = "a test", repeatabel = true })',
        'request("PUT", URL, { repeatable = true })', 'download(URL, "local", "/a", {})' } do
        local self = trial("http." .. call:gsub("URL", '"PATH/thing/a"'))
        local message = tostring(raises(self.plan, self))
        equal({ call, message:match "^procedures/test/it.lua:3: " }, { call, "procedures/test/it.lua:3: " })
      end
    end)

    it("nothing where the server says no: the step can be attempted again", function()
      local self = trial('http.put("PATH/thing/a?fault=refuse", { body = "1", keep = "a test" })')
      local outcome = self:run "failed"
      equal({ outcome.failure.kind, outcome.failure.code, #outcome.in_doubt }, { "conflict", 409, 0 })
    end)

    for fault, log in pairs { lost = "PUT a\n", broken = "PUT a\n" } do
      it(("and finds out that it happened when the answer is %s"):format(fault), function()
        asking(fault):run "done"
        equal({ ask "/log" }, { log, 200 })
      end)
    end

    for _, fault in ipairs { "never", "busy" } do
      it(("and finds out that it did not happen: %s"):format(fault), function()
        local outcome = asking(fault):run "failed"
        equal({ outcome.failure.kind, #outcome.in_doubt }, { "lost", 0 })
        equal({ ask "/log" }, { "", 200 })
      end)
    end

    it("again at the next attempt where the server takes it twice as once", function()
      local self = trial 'http.put("PATH/thing/a?fault=lost", { body = "1", keep = "a test", repeatable = true })'
      local outcome = self:run "failed"
      equal({ outcome.failure.kind, #outcome.in_doubt }, { "lost", 0 })
      equal({ ask "/log" }, { "PUT a\n", 200 })
      matches(trial('http.put("PATH/thing/a", { body = "1", repeatable = true })'):run().failure, "needs keep")
    end)

    it("and asks a person where no question tells", function()
      local self = trial 'http.put("PATH/thing/a?fault=lost", { body = "1", keep = "a test" })'
      local outcome = self:run()
      equal(#outcome.in_doubt, 1)
      equal({ ask "/log" }, { "PUT a\n", 200 })
      self:abandon()
    end)
  end)
end)
