-- The ENCODE switch-over rehearsed on the lab's servers. What is said of a server was asked of that server.
local console = require "tests.lab.console"
local fs      = require "native.fs"

local ENV     = fs.exists("/usr/lib/postgresql/15") and "lab" or "lab13"
local RELEASE = "encode/release -p version=88 -p old=87 --foreground"

local version = console.on("old", "ls /etc/postgresql")

-- Every file that the procedure touches, as it is.
local function files()
  local state, signal = {}, ("/var/lib/postgresql/%s/main/standby.signal"):format(version)
  local conf = "/etc/nginx/nginx.conf"
  for i, place in ipairs { { "proxy1", conf }, { "proxy2", conf }, { "old", signal },
                           { "new", ("/etc/postgresql/%s/main/postgresql.conf"):format(version) } } do
    state[i] = console.file(table.unpack(place))
  end
  return state
end

local function servers()
  return { console.page "proxy1", console.page "proxy2", console.in_recovery "old", console.in_recovery "new" }
end

-- How often the old server was put into recovery.
local function demotions()
  local log = "cat /var/log/postgresql/*.log | grep -c 'entering standby mode' || true"
  return tonumber((console.on("old", log):gsub("%s", "")))
end

local function rehearse(env, setting)
  local words = "%s timeout 300 build/neap rehearse %s --env %s --no-input </dev/null"
  local output, status = console.shell(words:format(setting or "", RELEASE, env))
  if status ~= 0 then error(output, 2) end
  return output
end

describe("a rehearsal of encode/release", function()
  before_each(function() console.lab "reset" end)

  it("turns back before the promotion where a person would have to say yes, and leaves all as it was", function()
    local repository = scratch()
    console.shell("cp -r procedures " .. repository)
    fs.write(repository .. "/procedures/encode/environments/asking.yml",
      ("extends: %s.yml\npolicy: { point_of_no_return: ask }\n"):format(ENV), { mode = "0644" })
    local before, demoted = { files(), servers() }, demotions()
    local output = rehearse("asking", "NEAP_PATH=" .. repository)
    matches(output, "REHEARSAL PASSED")
    matches(output, "Promote the new database is not crossed")
    equal({ files(), servers() }, before)
    equal(demotions() - demoted, 2)
  end)

  it("crosses it where the policy says so, and serves by the new server", function()
    local output = rehearse(ENV)
    matches(output, "REHEARSAL PASSED")
    matches(output, "irreversible +%d")
    equal(servers(), { "v88.production.lab", "v88.production.lab", true, false })
  end)
end)
