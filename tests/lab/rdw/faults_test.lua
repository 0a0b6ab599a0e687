-- What goes wrong in each phase of rdw/upgrade-v1.1: the run stops at that step, says what is there and what to do, and
-- goes on from there once it is put right.
local console = require "tests.lab.console"
local opus    = require "tests.lab.rdw.opus"

local PROCEDURE = "upgrade-v1.1"
local QUIESCE   = "See that the feeds of third parties are suspended"
local FEEDS     = "Have third parties feed data again"
local ROLES     = "Chain the admin roles"

local function to_the_first_step() return opus.run(PROCEDURE):go_on "Tell those who feed data" end

--- A repository's branch with one file changed by sed.
local function change_remote(repo, branch, path, script)
  local text = [[set -e; rm -rf /tmp/change-$$; git clone -q -b %s /srv/git/%s.git /tmp/change-$$; cd /tmp/change-$$
    sed -i '%s' %s; git -c user.name=x -c user.email=x@x commit -qam change; git push -q; rm -rf /tmp/change-$$]]
  local output, status = console.shell(text:format(branch, repo, script, path))
  opus.check(output, status, 0)
end

local function check_stopped(run, title, ...)
  run:expect(5)
  matches(run.output, "FAILED +%d+%.%d+ " .. title)
  for _, pattern in ipairs { ... } do matches(run.output, pattern) end
  matches(run.output, "neap resume 1 %-%-env rdw/lab")
end

describe("rdw/upgrade-v1.1", function()
  before_each(function()
    if not opus.reset() then skip(opus.NO_CLUSTER) end
  end)

  it("stops where a server is down, and where its disk is full, and goes on when it is not", function()
    local run = to_the_first_step()
    console.lab("off", "redshift")
    run:answer()
    check_stopped(run, "Connect to Redshift from the ops system", "host redshift\n",
      "neap rollback 1 %-%-env rdw/lab", "No point of no return is passed")
    console.lab("boot", "redshift")
    console.lab("fill", "redshift")
    run:resume()
    check_stopped(run, "Connect to Redshift from the ops system", "No space left on device")
    console.lab("unfill", "redshift")
    run:resume():expect(8)
    truthy(run:is_at(ROLES))
  end)

  it("stops where a password is wrong, names no password, and goes on with the right one", function()
    local run = to_the_first_step()
    console.shell "cp -p ~/sso-user.password ~/right; printf Wrong-one-of-the-lab >~/sso-user.password"
    run:answer()
    check_stopped(run, "Create the roles and permissions of the component Reporting", "invalid_grant")
    equal(run.output:find "Wrong%-one", nil)
    console.shell "mv ~/right ~/sso-user.password"
    run:resume():expect(8)
    truthy(run:is_at(ROLES))
  end)

  it("stops at a migration that fails and at a manifest that is refused, and goes on with both put right", function()
    change_remote("RDW", "master", "deploy/aggregate-service.yml", "s/  replicas: 1/  replicass: 1/")
    local migration = "warehouse/V1_1_0__item_data.sql"
    change_remote("RDW_Schema", "master", migration, "s/ADD COLUMN version/ADD COLUM version/")
    local run = opus.run(PROCEDURE):go_on(QUIESCE)
    run:answer()
    check_stopped(run, "Migrate the warehouse and the reporting data mart", "Unknown data type: 'version'",
      "point of no return is passed")
    change_remote("RDW_Schema", "master", migration, "s/ADD COLUM version/ADD COLUMN version/")
    console.shell "git -C ~/git/RDW_Schema pull -q"
    opus.mariadb("warehouse", "drop table if exists warehouse.item_trait_score")
    run:resume()
    check_stopped(run, "Deploy all services", "replicass", "aggregate")
    console.shell "sed -i 's/replicass/replicas/' ~/git/RDW_Deploy_Opus/aggregate-service.yml"
    run:resume():go_on(FEEDS):expect(8)
    equal(opus.pods().aggregate, 1)
  end)
end)

describe("rdw/upgrade-v1.1, at length,", function()
  before_each(function()
    if not os.getenv "NEAP_SOAK" then skip "NEAP_SOAK is not set" end
    if not opus.reset() then skip(opus.NO_CLUSTER) end
  end)

  it("stops where an import is not processed, before it scales down what would process it", function()
    local run = opus.run(PROCEDURE):go_on(QUIESCE)
    opus.mariadb("warehouse", "insert into warehouse.import (status, content, digest) values (0, 1, 'blocked')")
    local program = ("timeout 600 %s resume 1 --env rdw/lab --foreground --yes --answer done --reason x --no-input")
      :format(opus.NEAP)
    console.shell(program .. " </dev/null >~/lab/waiting 2>&1 & sleep 12; kill -TERM $! 2>/dev/null; wait $!")
    equal({ opus.pods().import, opus.pods()["exam-processor"] }, { 0, 4 })
    opus.mariadb("warehouse", "update warehouse.import set status = -1 where digest = 'blocked'")
    run:resume():go_on(FEEDS):expect(8)
  end)

  it("stops where a service's log has errors, and names service and line", function()
    local log = "$(dirname $(readlink ~/lab/audit.log))/pods.log"
    local run = opus.run(PROCEDURE):go_on(QUIESCE)
    local line = "2026-01-01T00:00:01.0Z stdout F 10:00 ERROR no table"
    console.shell(("cp %s ~/lab/pods.log; echo '%s' >>%s"):format(log, line, log))
    run:answer()
    console.shell(("cp ~/lab/pods.log %s"):format(log))
    check_stopped(run, "See that all services run, and that their logs have no errors",
      "deployment/.*says: 10:00 ERROR no table")
    run:resume():go_on(FEEDS):expect(8)
  end)
end)
