-- rdw/backfill-alt-score by the command line.
local console = require "tests.lab.console"
local opus    = require "tests.lab.rdw.opus"

local PROCEDURE = "backfill-alt-score"
local LAST      = "See that the aggregate reports"

local function rows(tenant, name) return opus.psql("reporting_" .. tenant, "select count(*) from " .. name) end

describe("rdw/backfill-alt-score", function()
  before_each(function()
    if not opus.reset_for_backfill() then skip(opus.NO_CLUSTER) end
  end)

  it("is planned without a change", function()
    local before = opus.state()
    opus.check("", select(2, opus.neap "plan rdw/backfill-alt-score --env lab"), 0)
    local _, changes = opus.requests()
    equal({ changes, opus.state() }, { {}, before })
  end)

  it("fills the tables of all tenants from their warehouses, with the migration shut down meanwhile", function()
    local run = opus.run(PROCEDURE):go_on(LAST):expect(8)
    for _, tenant in ipairs { "pa", "ca" } do
      equal({ rows(tenant, "exam_alt_score"), rows(tenant, "exam_alt_score_before_backfill") }, { "50", "3" })
      matches(opus.cloud(), ("rdw%%-opus%%-archive/%s/MigrateAdHoc/exam_alt_score%%.part_00000"):format(tenant))
    end
    local row = opus.psql("reporting_pa", "select concat_ws(' ', exam_id, subject_score_id, scale_score, " ..
      "migrate_id, completed_at) from exam_alt_score where id = 2")
    equal(row, "2 20 2402 -1 2019-12-01 10:00:00")
    equal(opus.pods()["migrate-olap"], 1)
    matches(opus.cloud(), "reporting%.sbac%.org%. CNAME 60 %['reporting%-service%.elb%.lab'%]")
    matches(console.shell(opus.NEAP .. " log 1 --env rdw/lab --json"), '"result":%[19,20%]')
    run:go_on():expect(0)
  end)

  it("fills the table of one tenant alone", function()
    opus.run(PROCEDURE, "-p tenant=PA"):go_on():expect(0)
    equal({ rows("pa", "exam_alt_score"), rows("ca", "exam_alt_score") }, { "50", "3" })
  end)

  it("is rolled back to the tables as they were, and runs again to the same end", function()
    local before = { opus.cluster(), rows("pa", "exam_alt_score"), rows("ca", "exam_alt_score") }
    local run = opus.run(PROCEDURE):go_on(LAST):expect(8)
    run:roll_back():expect(0)
    equal({ opus.cluster(), rows("pa", "exam_alt_score"), rows("ca", "exam_alt_score") }, before)
    matches(opus.cloud(), "reporting%.sbac%.org%. CNAME 60 %['reporting%-service%.elb%.lab'%]")
    matches(opus.cloud(), '"rdw%-opus%-import%-errors True"')
    opus.run(PROCEDURE):go_on():expect(0)
    equal({ rows("pa", "exam_alt_score"), rows("ca", "exam_alt_score") }, { "50", "50" })
  end)

  it("stops at the extract where S3 does not take it, and goes on once it does", function()
    console.lab("drop", "warehouse", "5000")
    console.on("warehouse", "mv /opt/s3-statements /opt/away; service s3-statements stop")
    local run = opus.run(PROCEDURE, "-p tenant=PA"):go_on()
    truthy(run.status == 1 or run.status == 5)
    matches(run.output, "warehouse")
    console.on("warehouse", "mv /opt/away /opt/s3-statements; service s3-statements start")
    console.lab("clear", "warehouse")
    if run.status == 5 then run:resume() else run = opus.run(PROCEDURE, "-p tenant=PA") end
    run:go_on():expect(0)
    equal(rows("pa", "exam_alt_score"), "50")
  end)

  it(("ends after each of %d kills as an undisturbed run does"):format(opus.KILLS), function()
    opus.check_kills(opus.reset_for_backfill, PROCEDURE, 5)
  end)
end)
