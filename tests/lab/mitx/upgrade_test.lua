-- The upgrade of MITx Residential, and redeploying, on the lab's hosts. What is said of AWS, of a repository or of a host was
-- asked of that one. The tests of a `describe` are one story in that order: what each needs takes minutes to make.
local console = require "tests.lab.console"
local stage   = require "tests.lab.mitx.stage"

local SOAK  = os.getenv "NEAP_SOAK"
local KILLS = tonumber(os.getenv "NEAP_KILLS" or SOAK and 40 or 0) -- beside those of the first story
local ROUND = 3                                                    -- kills in one upgrade

local DRAFT, LIVE, WORKER = "edx-mitx-qa-next-residential-draft-0-", "edx-mitx-qa-next-residential-live-0-",
  "edx-worker-mitx-qa-next-residential-live-0-"
local WINDOW, VERIFY, DESTROY = "Wait for the window", "Verify by hand", WORKER .. "v3"

-- What an upgrade comes to.
local function is_upgraded(now)
  equal(now.balancers, { ["edx-next-residential-draft-mitx"] = { DRAFT .. "v4" },
    ["edx-next-residential-live-mitx-q"] = { LIVE .. "v4" } })
  equal(now.instances, { DRAFT .. "v4", LIVE .. "v4", "edx-worker-mitx-qa-koa-base", WORKER .. "v4",
    "edxapp-mitx-qa-koa-base" })
  equal(now.images, { "edx_worker_koa_base_release_4", "edxapp_koa_base_release_4" })
  equal(now.migrations, { "t0001_juniper", "t0002_koa", "t0003_koa", "t0004_koa" })
  equal(now.hosts[LIVE .. "v4"], { "cms RUNNING", "lms RUNNING", "configuration-1", "Koa" })
  equal(now.hosts[WORKER .. "v4"], { "edxapp_worker RUNNING", "configuration-1", "Koa" })
  equal({ now.hosts[LIVE .. "v3"], now.snapshots }, { nil, 1 })
  equal(now.stored["edxapp-koa-ami-id"], "edxapp_koa_base_release_4")
end

local function served_by(name, service, configuration, instance)
  local page = stage.visit(name)
  equal({ page:match "^%l+", page:match "configuration%-%d", page:match "on (%S+)\n$" },
    { service, "configuration-" .. configuration, instance })
end

local CALL = { "before", "after" }

local function point(from, to) return ("journal:%d:%s=kill"):format(math.random(from, to), CALL[math.random(2)]) end

-- A neap that dies there.
local function killed(words, at)
  local output, status = stage.neap(words, "NEAP_FAULT=" .. at, stage.FAULTY)
  if status ~= 137 then error(("%s: status %s\n%s"):format(at, tostring(status), output), 2) end
end

local function spare_of(instance)
  local text = "for i in 1 2 3 4 5; do tests/lab/lab sh spare$i grep -qsx %s /etc/salt/minion_id && echo spare$i; done"
  return (console.shell(text:format(instance)):gsub("%s", ""))
end

describe("mitx/residential-upgrade", function()
  local live -- the machine of the new instance

  math.randomseed(5)

  it("is planned without a change", function()
    stage.begin()
    local before = stage.picture()
    local output = stage.expect(0, stage.plan())
    equal(stage.picture(), before)
    equal({ stage.changing_requests(), console.mails() }, { "", {} })
    equal(console.on("salt", "/opt/salt/bin/salt-run --out=json jobs.list_jobs 2>/dev/null | grep '\"Function\"' | "
      .. "grep -vE 'sdb.get|test.ping|saltutil.find_job' || true"), "")
    truthy(output:find("supervisord.stop all bin_env=/edx/bin/supervisorctl on " .. DRAFT .. "v3 and 2 more", 1, true))
    matches(output, "UNDO if stopped before 4.6")
  end)

  it("prepares all of it while the site is up, though it is killed and killed again", function()
    killed(stage.upgrade(), point(20, 52))
    killed(stage.resume(), point(3, 6))
    local output, status = stage.neap(stage.resume())
    stage.stopped(output, status, 8, WINDOW)
    served_by("lms.mitx.mit.edu", "lms", 0, LIVE .. "v3")
  end)

  it("stops at a migration that fails, killed before it; visitors see the page, and no way back is offered", function()
    console.on("database", "mariadb edxapp -e 'create table t0003_koa (other int)'")
    killed(stage.answer(), point(5, 18))
    local output, status = stage.neap(stage.resume())
    stage.stopped(output, status, 5, "FAILED 4.6 Run migrations", "Table 't0003_koa' already exists",
      "The way back is by hand: snapshot, old instances, names")
    matches(stage.visit "studio.mitx.mit.edu", "down from 28 December, 8:00 on, for about 6 hours")
    stage.expect(5, "rollback 1 --env mitx/lab --foreground --yes")
  end)

  it("stops at an instance that does not become healthy behind its load balancer", function()
    console.on("database", "mariadb edxapp -e 'drop table t0003_koa'")
    live = spare_of(LIVE .. "v4")
    console.on(live, "service nginx stop")
    local output, status = stage.neap(stage.resume())
    stage.stopped(output, status, 5, "FAILED 4.8 Add the new instances", "is OutOfService after 10 s")
  end)

  it("serves by the new instances in the end, with the old ones gone and nothing done twice", function()
    console.on(live, "service nginx start")
    local output, status = stage.neap(stage.resume())
    stage.stopped(output, status, 8, VERIFY)
    served_by("staging.mitx.mit.edu", "lms", 1, DRAFT .. "v4")
    output, status = stage.go_on(output, status, DESTROY)
    stage.stopped(output, status, 8, DESTROY)
    output, status = stage.go_on(output, status)
    equal({ status, output }, { 0, output })
    is_upgraded(stage.picture())
    served_by("lms.mitx.mit.edu", "lms", 1, LIVE .. "v4")
    equal(console.mails(), { "Residential MITx: downtime" })
  end)

  it("plans no branch and no page that is there already", function()
    local output = stage.expect(0, stage.plan())
    for _, change in ipairs { "index.html +s3", "git.ref", "git.remote_ref", "git.head" } do
      equal({ change, output:find(change) }, { change, nil })
    end
  end)

  it("brings a new configuration by redeploy, and restarts", function()
    console.on("salt", "echo configuration-2 >/srv/salt/edx/lms.yml")
    stage.expect(0, "run mitx/redeploy --env lab -p what=configuration --foreground --yes")
    served_by("lms.mitx.mit.edu", "lms", 2, LIVE .. "v4")
  end)

  it("fetches new code by redeploy, and serves it where the files are set to the branch", function()
    local commit = console.shell [[cd ~/git/edx-platform && echo fix >>CHANGELOG && git commit -q -a -m 'A fix' &&
      git push -q origin mitx/koa && git rev-parse HEAD]]
    local redeploy = "run mitx/redeploy --env lab -p what=code -p codename=koa %s --foreground --yes"
    stage.expect(0, redeploy:format "")
    equal(stage.picture().hosts[WORKER .. "v4"][3], "Koa")
    stage.expect(0, redeploy:format "-p reset=true")
    equal(stage.picture().hosts[WORKER .. "v4"][3], "A fix")
    truthy(stage.visit("lms.mitx.mit.edu"):find(commit:sub(1, 12), 1, true))
  end)

  if SOAK then it("takes a redeploy back whose restart fails: files first, then the restart", function()
    console.shell "cd ~/git/edx-platform && git commit -q --allow-empty -m 'A slip' && git push -q origin mitx/koa"
    console.on(live, "service supervisor stop")
    local redeploy = "run mitx/redeploy --env lab -p what=code -p codename=koa -p reset=true --foreground --yes"
    local output, status = stage.neap(redeploy)
    stage.stopped(output, status, 5, "FAILED 1.2 Redeploy", LIVE .. "v4: ERROR: unix:///run/supervisor.sock")
    equal(stage.picture().hosts[DRAFT .. "v4"][4], "A slip")
    console.on(live, "service supervisor start")
    local run = output:match "neap rollback (%d+)"
    stage.expect(0, ("rollback %s --env mitx/lab --foreground --yes"):format(run))
    equal(stage.picture().hosts[DRAFT .. "v4"][4], "A fix")
    served_by("lms.mitx.mit.edu", "lms", 2, LIVE .. "v4")
  end) end
end)

-- Our branch of the release is there already, two patches on a release candidate.
local function have_patches()
  console.shell [[cd ~/git/edx-platform && git fetch -q upstream &&
    git checkout -q -b mitx/koa upstream/open-release/koa.rc1 &&
    git cherry-pick mitx/juniper~1 mitx/juniper >/dev/null &&
    git push -q origin mitx/koa && git checkout -q mitx/juniper && git branch -q -D mitx/koa &&
    git remote update >/dev/null]]
end

describe("mitx/residential-upgrade, with our patches on an older candidate", function()
  local before
  local ASKING = "asking" -- nobody says yes before a point of no return

  it("stops at a state of Salt that fails, and names it and its minion", function()
    stage.begin(scratch(), "{ point_of_no_return: ask }")
    have_patches()
    before = stage.picture()
    console.on("salt", [[cp /srv/salt/edx/base.sls /root/
      printf 'broken:\n  cmd.run:\n    - name: "false"\n' >>/srv/salt/edx/base.sls]])
    local output, status = stage.neap(stage.upgrade("-p candidate=rc3 -p copy=true", ASKING))
    stage.stopped(output, status, 8, "Touchstone login (edX); ", "MITx theme (edX)")
    output, status = stage.go_on(output, status, nil, ASKING)
    stage.stopped(output, status, 5, "FAILED 3.2 Build the AMIs",
      "build_edx_base_nodes, edxapp-mitx-qa-koa-base, broken: ")
    matches(output, "resume_build=true")
    equal(stage.picture().images, {})
  end)

  it("goes on by the highstate of the base instances, with our patches on the new candidate", function()
    console.on("salt", "mv /root/base.sls /srv/salt/edx/base.sls")
    local output, status = stage.neap(stage.resume("-p resume_build=true --reason repaired", ASKING))
    stage.stopped(output, status, 8, WINDOW, "state.highstate on edx*mitx-qa*base")
    equal(console.shell "git -C /srv/git/edx-platform.git log --format=%s mitx/koa",
      "Touchstone login\nMITx theme\nKoa, release candidate 3\nKoa, release candidate 1\nJuniper\n")
    equal(console.shell "git -C /srv/git/edx-platform.git log -1 --format=%s open-release/koa.rc3",
      "Koa, release candidate 3\n")
  end)

  it("stops where AWS does not take its credentials, and names are as they were", function()
    local names = stage.picture().names
    stage.refuse_credentials(true)
    local output, status = stage.neap(stage.answer(ASKING))
    stage.refuse_credentials(false)
    stage.stopped(output, status, 5, "FAILED 4.2 Lead lms and studio")
    equal(stage.picture().names, names)
  end)

  it("stops at a machine that is off, and goes on when it is back", function()
    console.lab("off", "worker")
    local output, status = stage.neap(stage.resume("", ASKING))
    stage.stopped(output, status, 5, "FAILED 4.4 Stop all edX processes", WORKER .. "v3: Minion did not return")
    console.lab("boot", "worker")
    stage.await_minion(WORKER .. "v3")
    output, status = stage.neap(stage.resume("", ASKING))
    stage.stopped(output, status, 8, "Run migrations")
    equal(stage.picture().hosts[LIVE .. "v3"][1], "cms STOPPED")
  end)

  it("is rolled back from before the migrations, and all is as it was", function()
    stage.expect(0, "rollback 1 --env mitx/asking --foreground --yes")
    equal(stage.picture(), before)
    served_by("studio.mitx.mit.edu", "cms", 0, DRAFT .. "v3")
    equal(console.mails(), { "Residential MITx: downtime", "Residential MITx: no downtime" })
  end)
end)

describe("mitx/residential-upgrade, killed", function()
  -- Dies at one point after the other, and is taken up each time.
  local function killed_again_and_again(points)
    local output, status, words = "", nil, stage.upgrade()
    for _, at in ipairs(points) do
      output, status = stage.neap(words, "NEAP_FAULT=" .. at, stage.FAULTY)
      if status == 0 then break end
      words = status == 8 and stage.answer(nil, output) or stage.resume()
    end
    if status == 137 then output, status = stage.neap(words) end
    return stage.go_on(output, status)
  end

  math.randomseed(17)
  for round = 1, math.ceil(KILLS / ROUND) do
    local points = { point(6, 56) }
    for i = 2, ROUND do points[i] = point(3, 14) end
    it(("is resumed to the same end, round %d: %s"):format(round, table.concat(points, ", ")), function()
      stage.begin()
      local output, status = killed_again_and_again(points)
      equal({ status, output }, { 0, output })
      is_upgraded(stage.picture())
    end)
  end
end)
