-- Fills the table of alt scores in Redshift with what the warehouse has from before release 2.5, tenant by tenant.
guide "Special upgrade to v2.5.x" {
  file   = "rdw-backfill-alt-score.md",
  sha256 = "b09bf4249156cb4b24740e36bf4ed5d42db4a2a806e96a7b3c7dc5a32af6e354",
}
local alarms      = require "lib.alarms"
local maintenance = require "lib.maintenance"
local quiesce     = require "lib.quiesce"
local rdw         = require "rdw.lib"

local arg = parameters {
  tenant = { "the one tenant, as the configuration names it; else all, in turn", match = "^%u%u$", optional = true },
  from   = { "from when on exams are filled in", default = "2019-11-01 00:00:00.0" },
}
needs {
  cluster = "the Kubernetes cluster, one of clusters",
  names   = { "the site in Route 53: zone, reporting, landing", type = "map" },
  name_servers = { "who have to know that the site's name leads elsewhere", type = "list" },
  alarms  = { "alarms that are still meanwhile: services", type = "map" },
  archive       = "where the archive lies, archive.uri-root of application.yml",
  redshift_role = "the role by which Redshift reads it, migrate.aws.redshift.role",
  tenants       = { "tenants: prefix, warehouse, reporting (names of databases)", type = "map" },
}
local BACKUP, MIGRATE = "exam_alt_score_before_backfill", { "migrate-olap-deployment" }

local function tenants() return rdw.tenants(arg.tenant) end
local function warehouse(tenant) return env.databases[tenant.warehouse] end
local function reporting(tenant) return env.databases[tenant.reporting] end
local function path_of(tenant)
  return ("%s/%sMigrateAdHoc/exam_alt_score"):format(env.archive, tenant.prefix and tenant.prefix .. "/" or "")
end

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
local site = step "Route the site to the static landing page" {
  from = "L30-L32",
  run  = function() return maintenance.on(rdw.site()) end,
}
await "The site's name leads to the landing page" {
  from  = "L31",
  check = function() return maintenance.is_on(rdw.site()) end,
  every = "5s", timeout = "30m",
}
local silenced = step "Have the alarms of RDW tell nobody" {
  from = "L33",
  run  = function() return alarms.silence(env.alarms.services) end,
}
remark "Now the clock runs." { from = "L34" }
step "See the OLAP migration run again, where this is rolled back" {
  undo = function() quiesce.wait(env.cluster, MIGRATE) end,
}
local pods = step "Shut the OLAP migration down" {
  from = "L35-L38",
  run  = function()
    local counts = quiesce.counts(env.cluster, MIGRATE)
    quiesce.down(env.cluster, MIGRATE)
    return counts
  end,
}

phase "Backup"

step "Back the table of alt scores up" {
  from = "L40-L43",
  on   = tenants, at_a_time = 1,
  run  = function(tenant)
    sql.backup(reporting(tenant), "exam_alt_score", BACKUP, { keep = "a person drops it when the reports are right" })
  end,
}

phase "Upgrade"

remark "Tenants come in turn; the environment has archive, prefix and role from the configuration." { from = "L45-L69" }
remark "The start date is an argument, and a query has no time limit but its step's." { from = "L70-L73" }

local scores = step "Find the subject scores that are alt scores" {
  from = "L74-L84",
  on   = tenants, at_a_time = 1,
  run  = function(tenant)
    return warehouse(tenant):column [[select id from subject_score
      where asmt_type_id in (1, 3) and score_type_id = 2 order by id]]
  end,
}
local extracted = step "Extract the exams from the warehouse to S3" {
  from    = "L85-L105",
  on      = tenants, at_a_time = 1,
  timeout = "3h",
  run     = function(tenant)
    local ids = scores.result[tenant.name]
    if #ids == 0 then fail(tenant.name .. " has no subject score that is an alt score") end
    return rdw.extract(warehouse(tenant), EXTRACT:format(("?, "):rep(#ids):sub(1, -3)), { arg.from, table.unpack(ids) },
      path_of(tenant)).affected
  end,
  hint    = "S3 shows how far it is. The query goes on where neap does not: see the warehouse's list of sessions.",
}
step "Empty the table of alt scores" {
  from    = "L107-L119",
  on      = tenants, at_a_time = 1,
  timeout = "1h",
  run     = function(tenant)
    reporting(tenant):execute("delete from exam_alt_score where true", {},
      { undo = "insert into exam_alt_score select * from " .. BACKUP })
  end,
}
step "Load the rows from S3 into the table of alt scores" {
  from    = "L120-L131",
  on      = tenants, at_a_time = 1,
  timeout = "3h",
  run     = function(tenant)
    local db = reporting(tenant)
    rdw.load(db, "exam_alt_score", path_of(tenant), { role = env.redshift_role, undo = "delete from exam_alt_score" })
    local count, want = db:value "select count(*) from exam_alt_score", extracted.result[tenant.name]
    if count ~= want then fail(("%d of %d rows of %s came to Redshift"):format(count, want, tenant.name)) end
  end,
  hint    = "Redshift says in stl_load_errors which lines it refused.",
}

phase "Restart OLAP Migration"

step "Start the OLAP migration again" {
  from = "L133-L136",
  run  = function() quiesce.up(env.cluster, pods.result) end,
}
step "Restore the traffic and the alarms" {
  from = "L133",
  run  = function()
    maintenance.off(rdw.site(), site.result)
    alarms.enable(silenced.result)
  end,
}
await "The site's name leads to the site again" {
  from  = "L133",
  check = function() return maintenance.is_off(rdw.site(), site.result) end,
  every = "5s", timeout = "30m",
}

phase "Smoke Test"

manual "See that the aggregate reports of alt scores have the older data" { from = "L138-L140" }
