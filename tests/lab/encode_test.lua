-- The release of ENCODE by the command line, on the lab's servers: its plan, whole runs, what stops it, the way back.
local console = require "tests.lab.console"
local encode  = require "tests.lab.encode"
local fs      = require "native.fs"
local json    = require "native.json"

local CONF   = encode.NGINX
local BROKEN = "echo 'broken {' >>" .. CONF

--- The text that a plan gives a file or crontab, as it is after the last planned change.
local function planned_text(plan, host, what)
  local text
  for _, phase in ipairs(plan.phases) do
    for _, step in ipairs(phase.steps) do
      for _, effect in ipairs(step.effects) do
        local shown = effect.show or ""
        if shown:find("^" .. host .. " ") and shown:find(what, 1, true) then text = effect.after_text or text end
      end
    end
  end
  return text
end

local function read(host, text) return console.on(host, text .. "; echo ."):sub(1, -2) end

--- Numbers of effects that would change something, by the title of their step.
local function changes_of(plan)
  local counts = {}
  for _, phase in ipairs(plan.phases) do
    for _, step in ipairs(phase.steps) do
      local count = 0
      for _, effect in ipairs(step.effects) do count = count + (effect.sign ~= "=" and 1 or 0) end
      counts[step.title] = count
    end
  end
  return counts
end

local function plan() return json.decode(encode.expect(0, encode.RUN:gsub("^run", "plan"):gsub(" %-%-foreground.*", "")
  .. " --json")) end

local function in_step(output, title) return output:find("FAILED  [%d.]+ " .. title:gsub("%p", "%%%0")) ~= nil end

describe("encode/release, whole", function()
  local planned, before, after_plan, statements

  --- One run for all tests of what it leaves, planned before.
  local function whole()
    if planned then return end
    console.lab "reset"
    before = encode.state()
    planned = plan()
    after_plan = { encode.state(), encode.key_count(), console.mails(), encode.objects "encoded-backups-prod" }
    statements = console.on("old", "cat /var/log/postgresql/*.log | sed -n 's/.* statement: *//p' "
      .. "| grep -ivE '^select|^show' || true")
    local log = os.getenv "HOME" .. "/visitors"
    console.shell(("build/client -o %s.log proxy1 proxy2 >%s 2>&1 & echo $! >%s.pid"):format(log, log, log))
    encode.run(0)
    local stop = "sleep 0.3; kill $(cat %s.pid); while kill -0 $(cat %s.pid) 2>/dev/null; do sleep 0.1; done"
    console.shell(stop:format(log, log))
  end

  before_each(whole)

  it("is planned without a change, with the differences that the run then makes", function()
    equal(after_plan, { before, 4, {}, {} })
    matches(statements, "^%s*$")
    for _, place in ipairs { { "proxy1", CONF }, { "proxy2", CONF }, { "old", encode.SIGNAL }, { "new", encode.CONF },
      { "old", encode.APACHE }, { "new", encode.APACHE } } do
      equal(planned_text(planned, table.unpack(place)), read(place[1], "cat " .. place[2]))
    end
    equal(planned_text(planned, "new", "crontab of root"), read("new", "crontab -l"))
  end)

  it("switches to the new server, and no visitor sees a failed request", function()
    for _, proxy in ipairs { "proxy1", "proxy2" } do
      local seen = fs.read(os.getenv "HOME" .. "/visitors")
      local requests, failed, words = seen:match(proxy .. " requests (%d+) failed (%d+) ([^\n]*)")
      equal(failed, "0")
      truthy(tonumber(requests) > 20)
      matches(words, "^v87.production.lab %d+ v88.production.lab %d+$")
    end
    equal({ encode.servers(), encode.instances() }, { encode.AFTER, { v88 = "running" } })
    equal(console.sql("old", "select received_tli from pg_stat_wal_receiver"), "2")
    equal({ encode.upgrades(), #encode.objects "encoded-backups-prod" }, { "1", 2 })
    matches(encode.repository(), "refs/tags/v88.0 %x+\n.*refs/tags/v88.0 %x+\n")
    equal(console.mails(), { "ENCODE takes no writes from now on: v88.0" })
  end)

  it("leaves new keys that are active and installed, and their secrets nowhere else", function()
    for user, file in pairs { ["write-encoded-backups"] = encode.BACKUPS, ["upload-encode-files"] = encode.UPLOADS } do
      local id, found = console.on("new", "grep -h access_key_id " .. file .. " | tail -n 1"):match "= (%S+)$", {}
      for key, status in pairs(encode.keys(user)) do found[key == id and "new" or key] = status end
      local old = user:find "backups" and "AKIABACKUPSINUSE0087" or "AKIAUPLOADSINUSE0087"
      equal(found, { new = "Active", [old] = "Inactive" })
      local secret = console.on("new", "sed -n 's/^aws_secret_access_key = //p' " .. file .. " | tail -n 1")
      truthy(#secret >= 40)
      equal(console.shell(("grep -rlF -- '%s' ~/.local || true"):format(secret)), "")
    end
    equal(console.on("new", "stat -c '%a %U' " .. encode.BACKUPS), "640 postgres")
    matches(console.on("new", "cat " .. encode.UPLOADS), "^%[read%-only%]")
  end)

  it("keeps the old server's logs, here and in S3", function()
    local listing = "cd %s && find . -type f -print0 | sort -z | xargs -0 sha256sum"
    local logs = console.shell(listing:format("/srv/encode-logs/v87/apache2")):gsub("\n$", "")
    equal(logs, console.on("old", listing:format("/var/log/apache2")))
    equal(#encode.objects "encoded-logs", select(2, logs:gsub("\n", "\n")) + 1)
  end)

  it("has the new database backed up by cron, with a line that does it", function()
    local line = console.on("new", "crontab -l"):match "00 7 %* %* %* (.*)$"
    console.on("new", line) -- as cron would, at seven
    equal(#encode.objects "encoded-backups-prod", 3)
  end)

  it("finds as wanted, in a second run, all that is a state", function()
    local changes = changes_of(plan())
    for _, title in ipairs { "Build the server that is to take over", "Put the old database into recovery",
      "Point the proxies at the new server", "Turn the file indexer off on the old server",
      "Give the new database the settings of a master", "Have the new database backed up each day" } do
      equal({ title, changes[title] }, { title, 0 })
    end
  end)
end)

describe("encode/release", function()
  before_each(function() console.lab "reset" end)

  it("is planned although the new server is not there yet", function()
    local repository = scratch()
    console.shell("cp -r procedures " .. repository)
    fs.write(repository .. "/procedures/encode/environments/later.yml",
      ("extends: %s.yml\nhosts: { new: { ssh: new, later: true } }\n"):format(encode.ENV), { mode = "0644" })
    console.lab("off", "new")
    local words = "plan encode/release --env later -p version=88 -p old=87"
    local output = encode.expect(0, words, "NEAP_PATH=" .. repository)
    matches(output, "known once new is there")
    matches(output, "server v88.production.lab:6543 max_fails=0")
    console.lab("off", "proxy2")
    encode.expect(1, words, "NEAP_PATH=" .. repository)
  end)

  it("stops at what goes wrong in each phase, says what, and goes on when it is put right", function()
    local function aws(words)
      return console.shell("tests/lab/stand-ins/encode/ask-aws http://127.0.0.1:5000 " .. words)
    end
    local function key(status)
      aws("iam Version=2010-05-08 Action=UpdateAccessKey UserName=write-encoded-backups "
        .. "AccessKeyId=AKIABACKUPSINUSE0087 Status=" .. status)
    end
    local PROXIES = "Point the proxies at the new server"
    local installed
    local faults = {
      { "Back the production database up", "AKIABACKUPSINUSE0087 is not Active", function() key "Active" end },
      { "Build the server that is to take over", "InstanceLimitExceeded",
        function() console.shell "rm ~/instance-limit" end },
      { "The new server has finished its first indexing", "the indexer of new sleeps: RequestError",
        function() console.on("new", "rm /srv/encoded/index-error") end },
      { "Tell the developers that writes stop", "localhost:2525", function()
        console.shell "python3 tests/mail_server.py ~/mail --port 2525 >/dev/null 2>&1 & sleep 2"
        console.lab("fill", "proxy1")
      end },
      { PROXIES, "proxy1", function()
        console.lab("unfill", "proxy1")
      end },
      { PROXIES, "the block opened here is not closed", function()
        console.on("proxy2", "sed -i '/^broken/d' " .. CONF)
        console.lab("off", "proxy2")
      end },
      { PROXIES, "proxy2", function()
        console.lab("boot", "proxy2")
        console.lab("freeze", "proxy2")
      end },
      { PROXIES, "proxy2", function()
        console.lab("thaw", "proxy2")
        console.lab("cut", "proxy2")
      end },
      { PROXIES, "proxy2", function() console.lab("heal", "proxy2") end },
      { "See that the new server's keys are valid", "is not Active", function()
        installed = console.on("new", "sed -n 's/^aws_access_key_id = //p' " .. encode.BACKUPS)
        console.on("new", "mv /opt/lab/bin/key-status.off /opt/lab/bin/key-status")
      end },
      { "Upgrade what the database holds", "KeyError", function()
        local output, status = encode.neap(encode.BACK)
        truthy(status ~= 0)
        matches(output, "point of no return")
        console.on("new", "rm /srv/encoded/broken")
      end },
      { "Keep the old server's logs, here and in S3", "NoSuchBucket", function()
        console.shell "curl -sSf -X PUT http://127.0.0.1:5000/encoded-logs"
      end },
    }
    aws [[ec2 Version=2016-11-15 Action=RunInstances ImageId=ami-1c1eff2f MinCount=1 MaxCount=1 \
      TagSpecification.1.ResourceType=instance TagSpecification.1.Tag.1.Key=Name TagSpecification.1.Tag.1.Value=v87]]
    key "Inactive"
    console.shell "echo 0 >~/instance-limit; kill $(pgrep -f 'mail_server.py.*2525')"
    console.on("new", "echo RequestError >/srv/encoded/index-error; touch /srv/encoded/broken")
    console.on("new", "cd /opt/lab/bin; mv key-status key-status.off; "
      .. "printf '#!/bin/sh\necho $1 is not Active\nexit 1\n' >key-status; chmod +x key-status")
    console.on("proxy2", BROKEN)
    console.shell "curl -sSf -X DELETE http://127.0.0.1:5000/encoded-logs"
    local output, status = encode.answer(encode.neap(encode.RUN .. " -p stop_old=yes"))
    for i, fault in ipairs(faults) do
      local title, message, repair = table.unpack(fault)
      if status ~= 5 or not in_step(output, title) then
        error(("fault %d, %s: %s\n%s"):format(i, title, status, output))
      end
      matches(output, (message:gsub("%p", "%%%0")))
      repair()
      output, status = encode.answer(encode.neap(encode.GO_ON))
    end
    equal({ status, output }, { 0, output })
    equal({ encode.servers(), encode.upgrades() }, { encode.AFTER, "1" })
    equal(encode.instances(), { v87 = "stopped", v88 = "running" })
    equal({ encode.keys "write-encoded-backups" [installed], encode.key_count() }, { "Active", 4 })
  end)

  it("is rolled back from its last reversible point: files, servers, keys, instances, repository as before", function()
    console.on("new", "echo 'no_such_setting = on' >>" .. encode.MASTER)
    local before = encode.state()
    local output = encode.run(5)
    matches(output, "master.conf:%d+: unrecognized configuration parameter")
    equal(console.page "proxy1", "v88.production.lab")
    encode.expect(0, encode.BACK)
    equal(encode.state(), before)
    equal(encode.key_count(), 2)
    equal(console.mails(),
      { "ENCODE takes no writes from now on: v88.0", "ENCODE takes writes again: v88.0 was put back" })
  end)

  it("rolls back by itself where the environment says so, from configurations that nginx and Apache refuse", function()
    local repository = scratch()
    console.shell("cp -r procedures " .. repository)
    fs.write(repository .. "/procedures/encode/environments/careful.yml",
      ("extends: %s.yml\npolicy: { on_failure: rollback }\n"):format(encode.ENV), { mode = "0644" })
    local function run()
      local setting = "NEAP_PATH=" .. repository
      local output, status = encode.neap(encode.RUN:gsub("%-%-env %S+", "--env careful"), setting)
      if status == 8 then
        output, status = encode.neap(encode.ANSWER:gsub("encode/%S+", "encode/careful"), setting)
      end
      equal({ status, output }, { 4, output })
      return output
    end
    console.on("proxy2", "echo 'no_such_directive on;' >>" .. CONF)
    local before, pid = encode.state(), console.on("proxy2", "pgrep -f 'nginx: worker' | head -n 1")
    matches(run(), 'nginx %-t failed on proxy2: unknown directive "no_such_directive" in /etc/nginx/nginx.conf:%d+')
    equal(encode.state(), before)
    equal(console.on("proxy2", "pgrep -f 'nginx: worker' | head -n 1"), pid)
    console.on("old", "echo NoSuchDirective on >>/etc/apache2/conf-enabled/more.conf")
    matches(run(), "Invalid command 'NoSuchDirective'")
    equal(encode.state(), before)
  end)

  it("pauses its rollback at a file that somebody else changed, or leaves it and names it", function()
    console.on("proxy2", BROKEN)
    encode.run(5)
    console.on("proxy1", "echo '# by hand' >>" .. CONF)
    local by_hand = console.file("proxy1", CONF)
    encode.expect(8, encode.BACK)
    equal(console.file("proxy1", CONF), by_hand)
    local output = encode.expect(6, encode.BACK .. " --on-conflict keep")
    matches(output, "proxy1")
    equal({ console.file("proxy1", CONF), console.in_recovery "old" }, { by_hand, false })
  end)
end)
