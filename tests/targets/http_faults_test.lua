--- Requests over HTTP that change something are broken in every way, before and after the server carried them out:
--- with a question that tells (done) nothing is made twice, and nothing is lost. Judged by the server's own log.
local broken  = require "tests.targets.broken"
local fixture = require "tests.targets.fixture"
local json    = require "native.json"
local native  = require "native.http"
local server  = require "tests.http_server"
local task    = require "native.task"

local KINDS = { "cut", "half", "500", "503", "503-later", "429", "429-later", "delay", "hold" }
local ATTEMPTS = 3

-- `step` makes the change of the thing NAME, `made` is what the server has then (nothing: false), `log` what it did.
local ROWS = {
  { name = "PUT", log = "PUT NAME\n", made = "one",
    step = 'http.put("PATH/thing/NAME?once=FAULT", { body = "one", keep = "a test", timeout = 1, done = ' ..
      '{ url = "PATH/thing/NAME" } })' },
  { name = "POST, known by what is there then", before = "old", log = "PUT NAME\nPOST NAME\n", made = "new",
    step = 'http.post("PATH/thing/NAME?once=FAULT", { body = "new", keep = "a test", timeout = 1, done = ' ..
      '{ url = "PATH/thing/NAME", body = "^new$" } })' },
  { name = "DELETE, known by what is not there", before = "old", log = "PUT NAME\nDELETE NAME\n", made = false,
    step = 'http.delete("PATH/thing/NAME?once=FAULT", { keep = "a test", timeout = 1, done = ' ..
      '{ url = "PATH/thing/NAME", status = { 404 } } })' },
}

describe("a request that changes something is carried out once, whatever breaks:", function()
  local peer

  before_each(function() peer = server.start() end)
  after_each(function() peer:close() end)

  local function ask(path, method, body)
    local exchange <close> = native.open { url = peer.url .. path, proxy = "", method = method, body = body,
      reads = true }
    local status, text = exchange:response().status, ""
    for bytes in exchange.read, exchange do text = text .. bytes end
    return status ~= 404 and text
  end

  local function log_of(name)
    local lines = ""
    for line in ask "/log":gmatch "[^\n]+\n" do lines = lines .. (line:find(name, 1, true) and line or "") end
    return lines
  end

  local function try(row, name, fault)
    if row.before then ask("/thing/" .. name, "PUT", row.before) end
    local step = row.step:gsub("NAME", name):gsub("FAULT", fault)
    broken.until_done(ATTEMPTS, function() return fixture.trial({ step }, peer.url) end)
    equal({ ask("/thing/" .. name), log_of(name) }, { row.made, (row.log:gsub("NAME", name)) })
  end

  for _, row in ipairs(ROWS) do
    it(row.name, function()
      local faults = { "land" }
      for _, kind in ipairs(KINDS) do table.move({ kind .. "-before", kind .. "-after" }, 1, 2, #faults + 1, faults) end
      broken.try_each(faults, function(fault, i) try(row, ("it-%02d-%s"):format(i, fault), fault) end)
    end)
  end
end)
