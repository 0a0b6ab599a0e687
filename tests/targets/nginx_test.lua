-- A real nginx of this machine, with a configuration of the test's own, changed in runs whose journal is in memory.
local fs       = require "native.fs"
local rollback = require "neap.engine.rollback"
local run      = require "neap.engine.run"
local store    = require "neap.fakes.store"

local CONF = [[
user %s;
pid %s/nginx.pid;
error_log %s/error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;
  upstream app { server 127.0.0.1:%d; }   # 127.0.0.1 is old
  server { listen 127.0.0.1:%d; location / { proxy_pass http://app; } }
  server { listen 127.0.0.1:%d; return 200 "old"; }
  server { listen 127.0.0.2:%d; return 200 "new"; }
}
]]

local function shell(text)
  local pipe = io.popen("PATH=$PATH:/usr/sbin; { " .. text .. "; } 2>&1")
  local output = pipe:read("a")
  return output, pipe:close()
end

describe("nginx.edit", function()
  local folder, path, text, front, journal

  local function given(edit, check, more)
    local procedure = ([[
      step "Switch" {
        run = function()
          nginx.edit("local", %q, function(conf) %s end,
            { main = %q, pid = %q, become = false, check = %s })
        end,
      }]]):format(path, edit, path, folder .. "/nginx.pid", check or "nil")
    local base = {
      state = journal, procedure = "procedures/test/it.lua", files = { ["procedures/test/it.lua"] = procedure },
      arguments = {}, settle_patience = 0, settle_at_once = 0,
      environment = { name = "test/lab", group = "test", hosts = { ["local"] = { name = "local" } }, policy = {} },
    }
    for key, value in pairs(more or {}) do base[key] = value end
    return base
  end

  local function workers() return (shell("ps -o pid= --ppid $(cat " .. folder .. "/nginx.pid) | sort -n")) end

  local function page() return (shell("curl -s --max-time 5 http://127.0.0.1:" .. front)) end

  before_each(function()
    if not select(2, shell("command -v nginx && command -v curl")) then skip("nginx or curl is not installed") end
    folder, journal = scratch(), store.new()
    path, front = folder .. "/nginx.conf", math.random(20000, 29999)
    local app, user = front + 1, shell("id -un"):match("%S+")
    text = CONF:format(user, folder, folder, folder, folder, folder, folder, folder, app, front, app, app)
    fs.write(path, text, { mode = "0640" })
    equal(shell("nginx -c " .. path), "")
  end)

  after_each(function() if folder then shell("kill $(cat " .. folder .. "/nginx.pid)") end end)

  local SWITCH = [[conf:replace_host("127.0.0.1", "127.0.0.2")]]

  local function check(body)
    return ("{ url = %q, body = %q, timeout = 1 }"):format("http://127.0.0.1:" .. front, body)
  end

  it("switches, reloads and finds the new page, and no request fails meanwhile", function()
    local asked = folder .. "/asked"
    local loop = "(for i in $(seq 150); do curl -sS --max-time 5 http://127.0.0.1:%d; echo; done >%s 2>&1 &)"
    shell(loop:format(front, asked))
    local before = workers()
    local outcome = run.start(given(SWITCH, check "new"))
    equal({ outcome.status, outcome.failure }, { "done" })
    equal(fs.read(path), (text:gsub("server 127.0.0.1:", "server 127.0.0.2:")))
    equal(fs.stat(path).mode, "0640")
    equal(page(), "new")
    truthy(workers() ~= before)
    for answer in fs.read(asked):gmatch("[^\n]+") do truthy(answer == "old" or answer == "new") end
  end)

  it("puts back a file that nginx refuses, and does not reload", function()
    local before = workers()
    local outcome = run.start(given [[conf:replace_host("127.0.0.1", "no-such-host.invalid")]])
    equal(outcome.exit, 1)
    equal(outcome.failure.kind, "remote")
    matches(outcome.failure.message, "^nginx %-t failed on local: host not found in upstream \"no%-such%-host.invalid:")
    equal(fs.read(path), text)
    equal(workers(), before)
  end)

  it("says what the page was when it is not the wanted one", function()
    local outcome = run.start(given(SWITCH, check "newer"))
    equal(outcome.failure.kind, "verify")
    matches(outcome.failure.message, "^local answers http://127.0.0.1:%d+ without \"newer\"$")
    equal(outcome.failure.output, "new")
  end)

  it("is undone by the file as it was and a reload", function()
    run.start(given(SWITCH, check "newer"))
    equal(page(), "new")
    equal(rollback.start(given(SWITCH, nil, { run = 1 })).status, "rolled back")
    equal(fs.read(path), text)
    equal(page(), "old")
  end)

  it("reloads nothing where nothing changes", function()
    local before = workers()
    local outcome = run.start(given "conf:hosts()")
    equal({ outcome.status, outcome.failure }, { "done" })
    equal(workers(), before)
  end)
end)
