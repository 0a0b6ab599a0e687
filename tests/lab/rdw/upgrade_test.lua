-- rdw/upgrade-v1.1 by the command line. What is said of a server, a repository, the cluster, AWS or a service was asked of
-- that one.
local console = require "tests.lab.console"
local opus    = require "tests.lab.rdw.opus"

local PROCEDURE = "upgrade-v1.1"
local QUIESCE   = "See that the feeds of third parties are suspended"

local function schema_is(away)
  console.shell(away and "mv /srv/git/RDW_Schema.git /srv/git/away" or "mv /srv/git/away /srv/git/RDW_Schema.git")
end

--- Runs to the last step from which there is a way back, which fails.
local function run_to_last_way_back()
  local run = opus.run(PROCEDURE):go_on(QUIESCE):expect(8)
  schema_is(true)
  run:answer():expect(5)
  schema_is(false)
  matches(run.output, "FAILED  5%.5 Have the newest schema")
  return run
end

describe("rdw/upgrade-v1.1", function()
  before_each(function()
    if not opus.reset() then skip(opus.NO_CLUSTER) end
  end)

  it("is planned without a change, though the repositories are not there yet", function()
    local before = opus.state()
    local output, status = opus.neap "plan rdw/upgrade-v1.1 --env lab"
    opus.check(output, status, 0)
    local reads, changes = opus.requests()
    equal(changes, {})
    truthy(reads > 10)
    equal(opus.state(), before)
    matches(output, "known after")
    matches(output, "UNDO if stopped before 5%.6")
    matches(output, "%-spec%.replicas: 4\n%s+%+spec%.replicas: 0\n")
    matches(output, "%- reporting%.sbac%.org%. 60 CNAME reporting%-service%.elb%.lab\n")
  end)

  it("brings databases, repositories, cluster, AWS and SBAC's services to version 1.1", function()
    local run = opus.run(PROCEDURE, "-p kops=true -p node=true"):go_on():expect(0)
    matches(opus.of_master("RDW_Deploy_Opus", "reporting-webapp.yml"), "name: reporting%-webapp%-deployment\n")
    matches(opus.of_master("RDW_Deploy_Opus", "reporting-service.yml"), "mountPath: /opt/artifacts")
    matches(opus.of_master("RDW_Deploy_Opus", "exam-processor-service.yml"), ":1%.1%.0%-RELEASE\n")
    matches(opus.of_master("RDW_Config_Opus", "application.yml"), "\n  school%-year: 2018  ")
    matches(opus.of_master("RDW_Config_Opus", "rdw-ingest-migrate-olap.yml"), "\n    username: rdwopusingest\n")
    matches(opus.of_master("RDW_Config_Opus", "rdw-admin-webapp.yml"), "does not exist")
    equal(console.shell "git -C /srv/git/RDW_Config_Opus.git branch --list v1_1", "")
    local labels = opus.mariadb("warehouse", "select label from warehouse.asmt order by id")
    equal(labels, "Grade 3 Math (ICA)\nRead Informational Texts\nGrade 8 Math (Summative)")
    equal(opus.mariadb("reporting", "select count(*) from reporting.instructional_resource"), "4")
    equal(opus.psql("opus", "select count(*) from pg_tables where schemaname = 'reporting'"), "4")
    equal(opus.psql("opus", "select count(*) from reporting.staging_completeness"), "0")
    equal(opus.pods(), { admin = 1, aggregate = 1, configuration = 1, ["exam-processor"] = 4, ["group-processor"] = 1,
      import = 2, ["migrate-olap"] = 1, ["migrate-reporting"] = 1, ["package-processor"] = 1, rabbit = 1,
      ["report-processor"] = 2, reporting = 2, ["reporting-webapp"] = 2, ["task-server"] = 1, wkhtmltopdf = 1 })
    matches(opus.kubectl "get deployment admin-deployment -o yaml", "rdw%-reporting%-admin%-service:1%.1%.1%-RELEASE")
    local cloud = opus.cloud()
    matches(cloud, '"rdw%-opus dc2%.large 2 %[.rdw%-opus%-redshift10.%] %[.arn:aws:iam::478575410002:role/redshiftRdw')
    matches(cloud, '"reporting%.sbac%.org%. CNAME 60 %[\'reporting%-webapp%.elb%.lab\'%]"')
    equal(cloud:find "admin", nil)
    matches(cloud, '"rdw%-opus%-import%-errors True"')
    matches(cloud, '"rdw%-opus%-warehouse%-cluster%-v1%-0"')
    matches(cloud, "rdw%-opus%-docs/guides/InterpretiveGuide%.pdf")
    equal(cloud:find "rdw%-opus%-archive/", nil)
    local services = opus.services()
    matches(services, '"Embargo Admin": %["DISTRICT", "STATE"%]')
    matches(services, '"agents": %["reporting%-webapp"%]')
    local _, imports = services:match('"imports": %[(.-)%]'):gsub('"%x+"', "")
    equal(imports, 3)
    matches(console.shell "cat ~/.pg_service.conf; stat -c %a ~/.pg_service.conf; tail -n 1 ~/.bashrc",
      "%[rdw%].*\nuser=root\n.*\n600\nexport PGSERVICE=rdw")
    matches(console.shell "cat ~/lab/kops/calls", "^upgrade cluster %-%-yes %-%-name awsopus%.sbac%.org ")
    matches(console.shell "cat ~/lab/kops/nodes", '"minSize":%s*4')
    equal(console.shell "grep -rlE '[a-z]-of-the-lab' ~/.local || true", "")
    equal(run.output:find "%-of%-the%-lab", nil)
  end)

  it("is rolled back from its last reversible point to what was there, and runs again to its end", function()
    local before = opus.state()
    local run = run_to_last_way_back()
    local pods = opus.pods()
    equal({ pods.import, pods["exam-processor"], pods.reporting }, { 0, 0, nil })
    truthy(opus.state() ~= before)
    run:roll_back():expect(0)
    matches(opus.cloud(), '"rdw%-opus%-reporting%-cluster%-v1%-0"')
    local kept = '"snapshots": [\n  "rdw-opus-reporting-cluster-v1-0",\n  "rdw-opus-warehouse-cluster-v1-0"\n ]'
    equal(opus.state(), (before:gsub('"snapshots": %[%]', kept)))
    opus.run(PROCEDURE):go_on():expect(0)
  end)

  it(("ends after each of %d kills as an undisturbed run does"):format(opus.KILLS), function()
    opus.check_kills(opus.reset, PROCEDURE, 11)
  end)
end)
