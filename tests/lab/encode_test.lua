-- The ENCODE switch-over by the command line, on the lab's servers. What is said of a server was asked of that server.
local console = require "tests.lab.console"
local fs      = require "native.fs"
local json    = require "native.json"

local ENV     = fs.exists("/usr/lib/postgresql/15") and "lab" or "lab13"
local RELEASE = ("encode/release --env %s -p version=88 -p old=87"):format(ENV)
local NEAP    = "build/neap"
local FAULTY  = "build/fault/neap"
local KILLS   = os.getenv "NEAP_SOAK" and math.huge or 10

local version = console.on("old", "ls /etc/postgresql")
local CONF    = "/etc/nginx/nginx.conf"
local SIGNAL  = ("/var/lib/postgresql/%s/main/standby.signal"):format(version)

-- Every file that the procedure touches.
local TOUCHED = {
  { "proxy1", CONF }, { "proxy2", CONF }, { "old", SIGNAL },
  { "new", ("/etc/postgresql/%s/main/postgresql.conf"):format(version) },
}

local function files()
  local state = {}
  for i, place in ipairs(TOUCHED) do state[i] = place[1] .. " " .. console.file(table.unpack(place)) end
  return state
end

-- Who serves, and who takes writes.
local function servers()
  return {
    proxy1 = console.page "proxy1", proxy2 = console.page "proxy2",
    old = console.in_recovery "old", new = console.in_recovery "new",
  }
end

local BEFORE = { proxy1 = "v87.production.lab", proxy2 = "v87.production.lab", old = false, new = true }
local AFTER  = { proxy1 = "v88.production.lab", proxy2 = "v88.production.lab", old = true, new = false }

-- neap("plan …"): what it says, and its exit status.
local function neap(words, setting, program)
  local text = "%s timeout 300 %s %s --no-input </dev/null"
  return console.shell(text:format(setting or "", program or NEAP, words))
end

local function expect(status, words, setting, program)
  local output, got = neap(words, setting, program)
  local message = "neap %s: expected exit status %d, got %d\n%s"
  if got ~= status then error(message:format(words, status, got, output), 2) end
  return output
end

local RUN = "run " .. RELEASE .. " --foreground --yes"

-- The text that a plan gives a file, as it is after the last planned change.
local function planned_text(plan, host, path)
  local text
  for _, phase in ipairs(plan.phases) do
    for _, step in ipairs(phase.steps) do
      for _, effect in ipairs(step.effects) do
        local shown = effect.show or ""
        if shown:find("^" .. host .. " ") and shown:find(path, 1, true) then text = effect.after_text end
      end
    end
  end
  return text
end

describe("encode/release", function()
  before_each(function() console.lab "reset" end)

  it("is planned without a change, with the differences that the run then makes", function()
    local before = files()
    local plan = json.decode(expect(0, "plan " .. RELEASE .. " --json"))
    equal({ files(), servers() }, { before, BEFORE })
    local statements = "cat /var/log/postgresql/*.log | sed -n 's/.* statement: *//p' | grep -ivE '^select|^show'"
    matches(console.on("old", statements), "^%s*$")
    expect(0, RUN)
    for _, place in ipairs(TOUCHED) do
      equal(planned_text(plan, table.unpack(place)), console.on(place[1], "cat " .. place[2] .. "; echo ."):sub(1, -2))
    end
  end)

  it("switches to the new server, and no visitor sees a failed request", function()
    local log = scratch() .. "/visitors"
    console.shell(("build/client -o %s.log proxy1 proxy2 >%s 2>&1 & echo $! >%s.pid"):format(log, log, log))
    expect(0, RUN)
    local stop = "sleep 0.3; kill $(cat %s.pid); while kill -0 $(cat %s.pid) 2>/dev/null; do sleep 0.1; done"
    console.shell(stop:format(log, log))
    for proxy in pairs { proxy1 = true, proxy2 = true } do
      local requests, failed, words = fs.read(log):match(proxy .. " requests (%d+) failed (%d+) ([^\n]*)")
      equal(failed, "0")
      truthy(tonumber(requests) > 20)
      matches(words, "^v87.production.lab %d+ v88.production.lab %d+$")
    end
    equal(servers(), AFTER)
    equal(console.sql("old", "select received_tli from pg_stat_wal_receiver"), "2")
    local listing = "cd %s && find . -type f -print0 | sort -z | xargs -0 sha256sum"
    equal(console.shell(listing:format("/srv/encode-logs/v87/apache2")):gsub("\n$", ""),
      console.on("old", listing:format("/var/log/apache2")))
  end)

  it("stops at a proxy whose configuration is broken, and a rollback restores all files and servers", function()
    console.on("proxy2", "echo 'broken {' >>" .. CONF)
    local before = files()
    local output = expect(5, RUN)
    matches(output, "/etc/nginx/nginx.conf:%d+:8: the block opened here is not closed")
    equal({ console.page "proxy1", console.in_recovery "old" }, { "v88.production.lab", true })
    expect(0, "rollback 1 --foreground --yes")
    equal({ files(), servers() }, { before, BEFORE })
  end)

  it("rolls back by itself where the environment says so, from a configuration that nginx refuses", function()
    console.on("proxy2", "echo 'no_such_directive on;' >>" .. CONF)
    local repository = scratch()
    console.shell("cp -r procedures " .. repository)
    fs.write(repository .. "/procedures/encode/environments/careful.yml",
      ("extends: %s.yml\npolicy: { on_failure: rollback }\n"):format(ENV), { mode = "0644" })
    local before, pid = files(), console.on("proxy2", "pgrep -f 'nginx: worker' | head -n 1")
    local output = expect(4, RUN:gsub("%-%-env %S+", "--env careful"), "NEAP_PATH=" .. repository)
    matches(output, 'nginx %-t failed on proxy2: unknown directive "no_such_directive" in /etc/nginx/nginx.conf:%d+')
    equal({ files(), servers() }, { before, BEFORE })
    equal(console.on("proxy2", "pgrep -f 'nginx: worker' | head -n 1"), pid)
  end)

  for _, pair in ipairs { { "off", "boot" }, { "freeze", "thaw" }, { "cut", "heal" } } do
    local fault, remedy = table.unpack(pair)
    it(("stops at a host after `%s`, and goes on after `%s`"):format(fault, remedy), function()
      console.lab(fault, "proxy2")
      local output = expect(5, RUN)
      matches(output, "proxy2")
      console.lab(remedy, "proxy2")
      expect(0, "resume 1 --foreground --yes")
      equal(servers(), AFTER)
    end)
  end

  it("pauses its rollback at a file that somebody else changed, or leaves it and names it", function()
    console.on("proxy2", "echo 'broken {' >>" .. CONF)
    expect(5, RUN)
    console.on("proxy1", "echo '# by hand' >>" .. CONF)
    local by_hand = console.file("proxy1", CONF)
    expect(8, "rollback 1 --foreground --yes")
    equal(console.file("proxy1", CONF), by_hand)
    local output = expect(6, "rollback 1 --foreground --yes --on-conflict keep")
    matches(output, "proxy1")
    equal({ console.file("proxy1", CONF), console.in_recovery "old" }, { by_hand, false })
  end)
end)

describe("encode/release, killed", function()
  -- The points that an undisturbed run passes, as NEAP_FAULT names them.
  local function points()
    console.lab "reset"
    local path = scratch() .. "/points"
    expect(0, RUN, "NEAP_FAULT_COUNT=" .. path, FAULTY)
    local list, passed = {}, {}
    for point in fs.read(path):gmatch("[^\n]+") do
      passed[point] = (passed[point] or 0) + 1
      local site, when = point:match("^(%S+) (%S+)$")
      list[#list + 1] = { text = ("%s:%d:%s=kill"):format(site, passed[point], when), at = #list + 1 }
    end
    return list
  end

  -- Some of them, the same each time, in the order of the run.
  local function chosen(list)
    if KILLS >= #list then return list end
    math.randomseed(142)
    for i = #list, 2, -1 do
      local j = math.random(i)
      list[i], list[j] = list[j], list[i]
    end
    local some = table.move(list, 1, KILLS, 1, {})
    table.sort(some, function(a, b) return a.at < b.at end)
    return some
  end

  local function killed_at(point)
    console.lab "reset"
    local _, status = neap(RUN, "NEAP_FAULT=" .. point.text, FAULTY)
    return status
  end

  it("is resumed to the end state of an undisturbed run", function()
    local all = points()
    local wanted = files()
    for _, point in ipairs(chosen(all)) do
      equal({ point.text, killed_at(point) }, { point.text, 137 })
      local output, status = neap "resume 1 --foreground --yes"
      if status == 2 then output, status = neap(RUN) end -- killed before there was a run
      equal({ point.text, status, output }, { point.text, 0, output })
      equal({ point.text, files(), servers() }, { point.text, wanted, AFTER })
    end
  end)

  it("is rolled back to the files and servers of before, until it has promoted", function()
    local all = points()
    console.lab "reset"
    local wanted = files()
    for _, point in ipairs(chosen(all)) do
      equal({ point.text, killed_at(point) }, { point.text, 137 })
      if console.in_recovery "new" then
        local output, status = neap "rollback 1 --foreground --yes"
        if status == 2 then output, status = "", 0 end -- killed before there was a run
        equal({ point.text, status, output }, { point.text, 0, output })
        equal({ point.text, files(), servers() }, { point.text, wanted, BEFORE })
      else
        local _, status = neap "rollback 1 --foreground --yes"
        truthy(status ~= 0)
        equal(console.page "proxy1", "v88.production.lab")
      end
    end
  end)
end)
