-- Fills the table of alt scores in Redshift with what the warehouse has from before release 2.5, for one tenant.
guide "Special upgrade to v2.5.x" {
  file   = "rdw-backfill-alt-score.md",
  sha256 = "b09bf4249156cb4b24740e36bf4ed5d42db4a2a806e96a7b3c7dc5a32af6e354",
}
local arg = parameters {
  tenant = { "which tenant, as the configuration names it", match = "^%u%u$" },
  from   = { "from when on exams are filled in", default = "2019-11-01 00:00:00.0" },
}
needs {
  archive       = "where the archive lies, archive.uri-root of application.yml",
  redshift_role = "the role by which Redshift reads it, migrate.aws.redshift.role",
  tenants       = { "tenants: prefix, warehouse, reporting (names of databases)", type = "map" },
}

local function tenant()
  return env.tenants[arg.tenant] or fail(("the environment has no tenant %s"):format(arg.tenant))
end
local function warehouse() return env.databases[tenant().warehouse] end
local function reporting() return env.databases[tenant().reporting] end

local EXTRACT = [[
select wes.id, wes.exam_id, wes.subject_score_id, we.student_id, we.asmt_id, we.school_year, wes.scale_score,
       wes.performance_level, we.completed_at, -1, we.updated, we.update_import_id
  from exam we join exam_score wes on we.id = wes.exam_id
 where we.deleted = 0 and we.updated >= ? and we.scale_score is not null and we.performance_level is not null
   and wes.performance_level is not null and wes.subject_score_id in (%s)
 order by we.completed_at desc, we.updated desc]]

remark "What the back-fill is, for whom, and in which order." { from = "L1-L17" }

phase "Notification"

manual "Tell the users of the upgrade and the maintenance window" { from = "L19-L22" }
manual "Tell those who feed data of the maintenance window" { from = "L23" }

phase "Prep"

manual "See that the feeds of third parties are suspended" { from = "L26-L29" }
manual "Route all traffic to the static landing page" { from = "L30-L32" }
manual "Disable the monitoring of RDW services" { from = "L33" }
remark "Now the clock runs." { from = "L34" }
manual "Scale migrate-olap-deployment to no pods" { from = "L35-L38" }

phase "Backup"

step "Back the table of alt scores up" {
  from = "L40-L43",
  run  = function()
    sql.backup(reporting(), "exam_alt_score", "exam_alt_score_before_backfill",
      { keep = "a person drops it when the reports are right" })
  end,
}

phase "Upgrade"

remark "One tenant a run; archive, prefix and role come from the configuration by the environment." { from = "L45-L69" }
remark "The start date is an argument, and a query has no time limit but its step's." { from = "L70-L73" }

local scores = step "Find the subject scores that are alt scores" {
  from = "L74-L84",
  run  = function()
    return warehouse():column [[select id from subject_score
      where asmt_type_id in (1, 3) and score_type_id = 2 order by id]]
  end,
}
step "Count what is to be extracted" {
  from    = "L85-L98",
  timeout = "3h",
  run     = function()
    local marks = ("?, "):rep(#scores.result):sub(1, -3)
    local query = ("select count(*) from (%s) as extract"):format(EXTRACT:format(marks))
    return { path = ("%s/%s/MigrateAdHoc/exam_alt_score"):format(env.archive, tenant().prefix),
      rows = warehouse():value(query, { arg.from, table.unpack(scores.result) }) }
  end,
}
manual "Extract the rows to S3, and wait until all are there" {
  from = "L99-L105",
  hint = "The query is the guide's, with the ids and the path that this run has found.",
}
step "Empty the table of alt scores" {
  from    = "L107-L119",
  timeout = "1h",
  run     = function()
    reporting():execute("delete from exam_alt_score where true", {},
      { undo = "insert into exam_alt_score select * from exam_alt_score_before_backfill" })
  end,
}
manual "Load the rows from S3 into the table of alt scores" { from = "L120-L131" }

phase "Restart OLAP Migration"

manual "Scale migrate-olap-deployment to one pod" { from = "L133-L136" }

phase "Smoke Test"

manual "See that the aggregate reports of alt scores have the older data" { from = "L138-L140" }
