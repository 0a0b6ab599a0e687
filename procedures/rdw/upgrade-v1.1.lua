-- Upgrades RDW from v1.0 to v1.1: branches, deployment and configuration files, Redshift, schemas, services.
local alarms      = require "lib.alarms"
local kops        = require "lib.kops"
local maintenance = require "lib.maintenance"
local permissions = require "lib.permissions"
local quiesce     = require "lib.quiesce"
local rdw         = require "rdw.lib"

guide "Upgrade v1.1 <- v1.0" {
  file   = "rdw-upgrade-v1.1.md",
  sha256 = "1105b69a898ea6300b0e01834ccbe5f6478279dd7df2d65d2723f662bd834350",
}

local arg = parameters {
  branch = { "branch of the release in both repositories", default = "v1_1" },
  schema = { "branch of the schema project that has the release", default = "develop" },
  kops   = { "whether kops upgrades the cluster", type = "boolean", default = false },
  node   = { "whether the cluster gets a node more", type = "boolean", default = false },
}
needs {
  cluster       = "the Kubernetes cluster, one of clusters",
  names         = { "the site in Route 53: zone, reporting, admin, import, landing", type = "map" },
  name_servers  = { "who have to know that the site's name leads elsewhere", type = "list" },
  urls          = { "sso, openam, permissions, import, reporting", type = "map" },
  ingest_user   = "who loads packages",
  alarms        = { "alarms that are still meanwhile: services, and of the admin webapp: admin", type = "map" },
  aurora        = { "clusters of Aurora that are backed up", type = "list" },
  packages      = { "files of the tabulator", type = "list" },
  guides        = { "folder of the guides, and where they go in S3: from, to", type = "map" },
  psql_install  = { "the command that installs psql", type = "list" },
  kops          = { "program, cluster, state", type = "map" },
  jdbc          = { "addresses of the databases as gradlew takes them: warehouse, reporting, redshift", type = "map" },
  redshift      = { "what the services are told: server, database, role, users, concurrency", type = "map" },
  gradlew       = "path of the schema project's gradlew",
  school_year   = { "the school year, by the year in which it ends", type = "integer" },
  secret_cipher = { "encrypted passwords of the Redshift users: ingest, reporting", type = "map" },
}
local repos, db = env.repositories, env.databases
-- deployments of v1.0: those first that cause changes of data
local SOURCES = { "task-server-deployment", "admin-deployment", "import-deployment" }
local OTHERS = { "package-processor-deployment", "group-processor-deployment", "exam-processor-deployment",
  "migrate-reporting-deployment", "reporting-deployment", "report-processor-deployment" }
local FILES = { "exam-processor-service.yml", "group-processor-service.yml", "package-processor-service.yml",
  "import-service.yml", "migrate-reporting-service.yml", "migrate-olap-service.yml", "task-service.yml",
  "admin-service.yml", "aggregate-service.yml", "reporting-service.yml", "report-processor-service.yml",
  "reporting-webapp.yml" }
local LEVELS = { "STATE", "DISTRICT", "GROUPOFINSTITUTIONS", "INSTITUTION" }
local ROLES = { { "Instructional Resource Admin", LEVELS, { "INSTRUCTIONAL_RESOURCE_WRITE" } },
  { "Embargo Admin", { "STATE", "DISTRICT" }, { "EMBARGO_READ", "EMBARGO_WRITE" } },
  { "Custom Aggregate Reporter", LEVELS, { "CUSTOM_AGGREGATE_READ" } } }
local INGEST = { "import", "package-processor", "group-processor", "exam-processor", "migrate-reporting", "task" }

remark "What the upgrade is about, for whom, and in which order." { from = "L1-L31" }

phase "Notification"

manual "Tell the users of the upgrade and the long maintenance window" { from = "L32-L35" }
manual "Tell those who feed data of the long maintenance window" { from = "L36" }

phase "Prep Work"

step "Have the files of the RDW project" {
  from = "L39-L46",
  run  = function() git.clone(repos.rdw) end,
}
step "Branch deployment and configuration" {
  from = "L47-L62",
  run  = function()
    rdw.branch(repos.deploy, arg.branch)
    rdw.branch(repos.config, arg.branch)
  end,
}
remark "The journal of this run is the copy of the checklist." { from = "L63" }
remark "Rabbit, configuration and wkhtmltopdf are deployed as before." { from = "L64-L68" }

step "Set the version of the ingest services" {
  from = "L69-L76",
  run  = function() rdw.set_versions(INGEST, "1.1.0-RELEASE") end,
}
step "Add the deployment of migrate olap" {
  from = "L77",
  run  = function() rdw.take_sample("deploy", "migrate-olap-service.yml") end,
}
step "Make the reporting webapp of the old reporting service, and add the new one" {
  from = "L78-L88",
  run  = function()
    local old = rdw.read(repos.deploy, "reporting-service.yml")
    rdw.write(repos.deploy, "reporting-webapp.yml", old)
    rdw.edit(repos.deploy, "reporting-webapp.yml", function(doc)
      rdw.rename_service(doc, "reporting-webapp")
      rdw.set_version(doc, "1.1.1-RELEASE")
      rdw.set_resources(doc, "750m", "1G")
      rdw.remove_volumes(doc)
    end)
    rdw.take_sample("deploy", "reporting-service.yml")
    rdw.edit(repos.deploy, "reporting-service.yml", function(doc) rdw.take_over(doc, old) end)
  end,
}
step "Add the aggregate service, and replace the admin service" {
  from = "L89-L90",
  run  = function()
    for _, name in ipairs { "aggregate-service.yml", "admin-service.yml" } do rdw.take_sample("deploy", name) end
  end,
}
step "Set the version of the report processor" {
  from = "L91",
  run  = function() rdw.set_versions({ "report-processor" }, "1.1.1-RELEASE") end,
}
step "Commit the deployment" {
  from = "L92-L98",
  run  = function() rdw.commit(repos.deploy, arg.branch, "Changes for v1.1") end,
}

step "Set the common properties" {
  from = "L99-L116",
  run  = function()
    local sample = rdw.read(repos.rdw, "config/application.yml")
    rdw.edit(repos.config, "application.yml", function(doc)
      rdw.copy_into(doc, sample, { ["app"] = "app", ["tenant"] = "tenant" })
      local noisy = 'logging.level["org.springframework.cloud.config.client.ConfigServicePropertySourceLocator"]'
      rdw.copy_into(doc, sample, { [noisy] = noisy })
      doc:set('app["school-year"]', tonumber(env.school_year))
    end)
  end,
}
step "Name the servers of the ingest services' data sources" {
  from = "L117-L130",
  run  = function()
    for _, name in ipairs { "import-service", "package-processor", "group-processor", "exam-processor",
      "task-service" } do
      rdw.edit(repos.config, ("rdw-ingest-%s.yml"):format(name), function(doc)
        rdw.name_server(doc, "spring.datasource")
      end)
    end
    rdw.edit(repos.config, "rdw-ingest-migrate-reporting.yml", function(doc)
      rdw.name_server(doc, "spring.reporting_datasource")
      rdw.name_server(doc, "spring.warehouse_datasource")
    end)
  end,
}
step "Tell the task service where groups of districts and schools are" {
  from = "L131",
  run  = function()
    rdw.edit(repos.config, "rdw-ingest-task-service.yml", function(doc)
      for _, what in ipairs { "districts", "schools" } do
        doc:set(("task.update-organizations.groups-of-%s-url"):format(what), env.art[what])
      end
    end)
  end,
}
step "Configure migrate olap" {
  from = "L132-L142",
  run  = function()
    local migrate = rdw.read(repos.config, "rdw-ingest-migrate-reporting.yml")
    local import = rdw.read(repos.config, "rdw-ingest-import-service.yml")
    rdw.take_sample("config", "rdw-ingest-migrate-olap.yml")
    rdw.edit(repos.config, "rdw-ingest-migrate-olap.yml", function(doc)
      local warehouse = "spring.warehouse_datasource"
      rdw.copy_into(doc, migrate, { ["spring.migrate_datasource"] = warehouse, [warehouse] = warehouse })
      rdw.copy_into(doc, import, { archive = "archive" })
      doc:set("migrate.olap-batch.run-cron", env.redshift.migrate_cron)
      doc:set("migrate.aws.redshift.role", env.redshift.role)
      rdw.set_olap(doc, env.redshift, "ingest", env.secret_cipher.ingest)
    end)
  end,
}
step "Configure the admin service" {
  from = "L143-L150",
  run  = function()
    local admin = rdw.read(repos.config, "rdw-admin-webapp.yml")
    local webapp = rdw.read(repos.config, "rdw-reporting-webapp.yml")
    rdw.take_sample("config", "rdw-reporting-admin-service.yml")
    rdw.edit(repos.config, "rdw-reporting-admin-service.yml", function(doc)
      rdw.copy_into(doc, admin, { ["spring.rabbitmq"] = "spring.rabbitmq", archive = "archive",
        ["spring.warehouse_datasource"] = "spring.datasource" })
      rdw.copy_into(doc, webapp, { ["spring.reporting_datasource"] = "app.datamart.datasource" })
      rdw.name_server(doc, "spring.warehouse_datasource")
      rdw.name_server(doc, "spring.reporting_datasource")
    end)
  end,
}
step "Configure the aggregate service" {
  from = "L151-L163",
  run  = function()
    local admin = rdw.read(repos.config, "rdw-reporting-admin-service.yml")
    rdw.take_sample("config", "rdw-reporting-aggregate-service.yml")
    rdw.edit(repos.config, "rdw-reporting-aggregate-service.yml", function(doc)
      rdw.copy_into(doc, admin, { ["spring.rabbitmq"] = "spring.rabbitmq", ["app.archive"] = "archive" })
      doc:set("app.cache.repository.refresh-cron", env.redshift.refresh_cron)
      doc:set("app.aggregate-reports.query-pool-size", tonumber(env.redshift.concurrency))
      doc:set("spring.cloud.stream.bindings.AggregateRequest.consumer.concurrency", tonumber(env.redshift.requests))
      rdw.set_olap(doc, env.redshift, "reporting", env.secret_cipher.reporting)
    end)
  end,
}
step "Configure the reporting service" {
  from = "L164-L170",
  run  = function()
    local webapp = rdw.read(repos.config, "rdw-reporting-webapp.yml")
    local processor = rdw.read(repos.config, "rdw-reporting-report-processor.yml")
    rdw.take_sample("config", "rdw-reporting-service.yml")
    rdw.edit(repos.config, "rdw-reporting-service.yml", function(doc)
      rdw.copy_into(doc, webapp, { ["app.iris.vendorId"] = "app.iris.vendorId", artifacts = "artifacts",
        ["app.min-item-data-year"] = "app.min-item-data-year", ["spring.datasource"] = "app.datamart.datasource" })
      rdw.copy_into(doc, processor, { cloud = "app.archive.cloud" })
      rdw.name_server(doc, "spring.datasource")
    end)
  end,
}
step "Configure the report processor" {
  from = "L171-L183",
  run  = function()
    local admin = rdw.read(repos.config, "rdw-reporting-admin-service.yml")
    local sample = rdw.read(repos.rdw, "config/rdw-reporting-report-processor.yml")
    rdw.edit(repos.config, "rdw-reporting-report-processor.yml", function(doc)
      rdw.move_datamart(doc)
      rdw.copy_into(doc, admin, { ["spring.rabbitmq"] = "spring.rabbitmq" })
      doc:remove "app.state.code"
      rdw.copy_into(doc, sample, { ["task.remove-stale-reports"] = "task.remove-stale-reports" })
    end)
  end,
}
step "Configure the reporting webapp" {
  from = "L184-L205",
  run  = function()
    local sample = rdw.read(repos.rdw, "config/rdw-reporting-webapp.yml")
    rdw.edit(repos.config, "rdw-reporting-webapp.yml", function(doc)
      rdw.copy_into(doc, sample, { ["zuul.routes"] = "zuul.routes" })
      for _, place in ipairs { "app.admin-webapp-url", "app.reportservice", "app.state.code", "app.wkhtmltopdf",
        "artifacts", "spring.rabbitmq" } do
        doc:remove(place)
      end
      rdw.move_datamart(doc)
    end)
  end,
}
step "Delete the configuration of the admin webapp" {
  from = "L206-L207",
  run  = function()
    for _, name in ipairs { "admin", "reporting-admin" } do
      file.remove("local", git.path(repos.config, ("rdw-%s-webapp.yml"):format(name)))
    end
  end,
}
step "Commit the configuration" {
  from = "L208-L214",
  run  = function() rdw.commit(repos.config, arg.branch, "Changes for v1.1") end,
}

local network = step "Find the network that Redshift is to be in" { from = "L215-L216", run = rdw.network }
step "Make the parameter group of Redshift" {
  from = "L217-L219",
  run  = function()
    redshift.parameter_group(env.redshift.parameter_group, { parameters = {
      wlm_json_configuration = redshift.wlm { concurrency = tonumber(env.redshift.concurrency), short_queries = 5 } } })
  end,
}
step "Make the subnet group of Redshift" {
  from = "L220",
  run  = function() redshift.subnet_group(env.redshift.subnet_group, { subnets = network.result.subnets }) end,
}
local group = step "Let the nodes and the jump server come to Redshift" {
  from = "L221-L224",
  run  = function() return rdw.make_security_group(network.result, env.redshift.security_group, 5439) end,
  undo = function(made)
    if not made or made.is_new then rdw.remove_security_group(network.result.vpc, env.redshift.security_group) end
  end,
}
step "Make the Redshift cluster" {
  from    = "L225-L227",
  timeout = "1h",
  run     = function()
    redshift.cluster(env.redshift.cluster, { node_type = "dc2.large", nodes = 2, user = "root",
      password = env.secrets.redshift_root, subnet_group = env.redshift.subnet_group,
      security_groups = { group.result.id }, parameter_group = env.redshift.parameter_group })
  end,
}
step "Give Redshift a role that may read the archive" {
  from = "L228-L235",
  run  = function()
    local name = env.redshift.role:match "[^/]+$"
    aws.client("iam"):GetPolicy { PolicyArn = env.redshift.policy }
    iam.role(name, { description = "Redshift access to " .. env.redshift.archive, trust = rdw.TRUST })
    iam.attach({ role = name }, env.redshift.policy)
    redshift.attach(env.redshift.cluster, env.redshift.role)
  end,
}
step "Have psql on the ops system" {
  from = "L236-L237",
  when = function() return env.hosts["local"]:read({ "which", "psql" }, { ok = { 0, 1 } }) == "" end,
  run  = function() env.hosts["local"]:run(env.psql_install, { become = "root", keep = "a client harms nobody" }) end,
}
step "Connect to Redshift from the ops system" {
  from = "L238-L241",
  run  = function() return db.redshift:value "select version()" end,
}
step "Let psql connect to Redshift by itself" {
  from = "L242-L256",
  run  = function() rdw.connect_psql(env.redshift.server, "dev", env.secrets.redshift_root) end,
}

step "Create the users and the database of Redshift" {
  from = "L257-L262",
  run  = function()
    for _, name in ipairs { "ingest", "reporting" } do
      sql.user(db.redshift, env.redshift.users[name], { password = env.secrets["redshift_" .. name] })
    end
    sql.database(db.redshift, env.redshift.database, { owner = env.redshift.users.ingest })
  end,
}
step "Create the schema of Redshift, and let the users in" {
  from = "L263-L271",
  run  = function()
    rdw.create_schema(db.olap, "reporting", env.redshift.users)
    for _, name in ipairs { "ingest", "reporting" } do
      sql.user(db.redshift, env.redshift.users[name],
        { password = env.secrets["redshift_" .. name], settings = { search_path = "reporting" } })
    end
  end,
}
step "Have the schema project as it is for the release" {
  from = "L272-L279",
  run  = function() rdw.newest(repos.schema, arg.schema) end,
}
step "Create the reporting olap schemas" {
  from = "L280-L286",
  run  = function() rdw.gradle(repos.schema, { "migrateMigrate_olap", "migrateReporting_olap" }) end,
  undo = function()
    db.warehouse:execute "drop database if exists migrate_olap"
    rdw.empty_schema(db.olap, "reporting")
  end,
}
step "Let the database users reach the migrate olap schema and write to S3" {
  from = "L287-L297",
  run  = function()
    rdw.grant_tables(db.olap, "reporting", env.redshift.users) -- there are tables only now
    sql.grant(db.warehouse, "ALL", { database = "migrate_olap" }, "rdw-ingest@%")
    for _, privilege in ipairs(env.s3_privileges) do
      sql.grant(db.warehouse, privilege, { server = true }, "rdw-ingest@%")
      sql.grant(db.reporting, privilege, { server = true }, "rdw-ingest@%")
      sql.grant(db.reporting, privilege, { server = true }, "rdw-reporting@%")
    end
  end,
}
step "See that the users of Redshift find the tables" {
  from = "L298-L310",
  run  = function()
    for _, user in ipairs { "olap_ingest", "olap_reporting" } do
      local path = db[user]:value "show search_path"
      local count = db[user]:value("select count(*) from pg_tables where schemaname = 'reporting'")
      if path ~= "reporting" or count == 0 then fail(("%s finds %d tables by way of %s"):format(user, count, path)) end
    end
  end,
}
local test_file = step "Export a table from Aurora to S3 as the ingest user" {
  from = "L311-L318",
  run  = function()
    local path = env.redshift.archive .. "/completeness"
    rdw.let_write_witnesses(db.warehouse, "rdw-ingest@%", db.olap, env.redshift.users.ingest)
    rdw.extract(db.warehouse_ingest, "select id, code from completeness", {}, path)
    return path
  end,
}
step "Load it into Redshift as the ingest user, and remove it" {
  from = "L319-L333",
  run  = function()
    local want = db.warehouse:value "select count(*) from completeness"
    local empty = "delete from reporting.staging_completeness"
    rdw.load(db.olap_ingest, "reporting.staging_completeness (id, code)", test_file.result .. ".part_00000",
      { role = env.redshift.role, undo = empty })
    local count = db.olap_ingest:value "select count(*) from reporting.staging_completeness"
    if count ~= want then fail(("%d of %d rows came to Redshift"):format(count, want)) end
    db.olap_ingest:execute(empty, {}, { keep = "rows of a test" })
    rdw.remove_extract(test_file.result)
  end,
}
step "Create the roles and permissions of the component Reporting" {
  from = "L334-L344",
  run  = function()
    local service = { url = env.urls.permissions, bearer = rdw.token() }
    for _, role in ipairs(ROLES) do
      permissions.role(service, role[1], role[2])
      for _, one in ipairs(role[3]) do permissions.grant(service, "Reporting", one, role[1]) end
    end
  end,
}
manual "Chain the admin roles to users who see PII, if that is wanted" { from = "L345" }
manual "Smoke test before the upgrade" { from = "L346-L347" }

phase "Quiesce the System"

manual "See that the feeds of third parties are suspended" { from = "L350-L353" }
step "Route the site to the static landing page, and admin nowhere" {
  from = "L354-L356",
  run  = function()
    maintenance.on(rdw.site())
    rdw.point(env.names.admin, nil)
  end,
}
await "The site's name leads to the landing page" {
  from  = "L357",
  check = function() return maintenance.is_on(rdw.site()) end,
  every = "5s", timeout = "30m",
}
local silenced = step "Have the alarms of RDW tell nobody" {
  from = "L358",
  run  = function()
    alarms.silence(env.alarms.admin)
    return alarms.silence(env.alarms.services)
  end,
}
remark "Now the clock runs." { from = "L359" }
step "See all services run again, where this is rolled back" {
  undo = function()
    quiesce.wait(env.cluster, OTHERS)
    quiesce.wait(env.cluster, SOURCES)
  end,
}
step "Scale down what causes changes of data" {
  from = "L360-L366",
  run  = function() quiesce.down(env.cluster, SOURCES) end,
}
await "Nothing is left to be processed or migrated" {
  from  = "L367",
  check = function()
    local last = db.warehouse:value "select if(sum(status = 0), 0, max(id)) from import where status in (0, 1)"
    return last == db.reporting:value "select max(last_import_id) from migrate where status = 20"
  end,
  every = "10s", timeout = "1h",
  hint  = "An import that stays at status 0 blocks the migration: look at it in warehouse.import.",
}
step "Scale down all other services" {
  from = "L368-L374",
  run  = function() quiesce.down(env.cluster, OTHERS) end,
}

phase "Backup"

remark "Deployment and configuration are in version control." { from = "L376-L377" }
step "Back the Aurora databases up" {
  from    = "L379",
  keep    = "backups harm nobody",
  timeout = "6h",
  run     = function()
    each(env.aurora, function(one)
      rds.snapshot({ cluster = one }, ("%s-v1-0-%d"):format(one, math.floor(now())))
    end)
  end,
}

phase "Upgrade"

step "Have the newest deployment of master" {
  from = "L382-L388",
  run  = function() rdw.newest(repos.deploy, "master") end,
}
step "Delete the deployments that are made anew" {
  from = "L389-L393",
  run  = function()
    for _, name in ipairs { "admin", "reporting" } do
      k8s.delete(env.cluster, rdw.read(repos.deploy, name .. "-service.yml"))
    end
  end,
}
step "Upgrade the cluster" {
  from = "L394-L397",
  when = function() return arg.kops end,
  run  = function() kops.upgrade(env.kops) end,
}
step "Add a node to the cluster" {
  from = "L398-L399",
  when = function() return arg.node end,
  run  = function() kops.add_node(env.kops) end,
}
step "Have the newest schema, and ask both databases what is to be migrated" {
  from = "L400-L409",
  run  = function()
    rdw.newest(repos.schema, "master")
    return rdw.gradle_info(repos.schema, { "infoWarehouse", "infoReporting" })
  end,
}
step "Migrate the warehouse and the reporting data mart" {
  from = "L410-L415",
  irreversible = "migrations have no way down: from here on the databases come back from their backup",
  timeout = "6h",
  run  = function()
    parallel {
      warehouse = function() rdw.gradle(repos.schema, { "migrateWarehouse" }, "warehouse") end,
      reporting = function() rdw.gradle(repos.schema, { "migrateReporting" }, "reporting") end,
    }
  end,
  hint = "What a migration did before it failed stays: take that back by hand, put the migration right, and resume.",
}
step "Merge the branches of deployment and configuration" {
  from = "L416-L431",
  run  = function()
    rdw.merge(repos.deploy, arg.branch)
    rdw.merge(repos.config, arg.branch)
  end,
}
step "Deploy all services" {
  from = "L432-L449",
  keep = "version 1.1 is what the migrated databases go with",
  run  = function() rdw.deploy(FILES) end,
}
step "See that all services run, and that their logs have no errors" {
  from = "L450",
  run  = rdw.settle,
}
await "The reporting webapp has a load balancer" {
  from  = "L451",
  check = function() return rdw.balancer "reporting-webapp" ~= nil end,
  every = "5s", timeout = "15m",
}
local webapp = step "Bring Route 53 up to date, but for the site itself" {
  from = "L452-L454",
  keep = "names of version 1.1",
  run  = function()
    rdw.point(env.names.import, rdw.balancer "import-service")
    rdw.point(env.names.admin, nil)
    return rdw.balancer "reporting-webapp"
  end,
}
local packages = step "Load the packages of the tabulator" {
  from = "L455-L465",
  run  = function()
    local token, ids = rdw.token(), {}
    for i, path in ipairs(env.packages) do ids[i] = rdw.load_package(path, token) end
    return ids
  end,
}
await "The packages are processed" {
  from  = "L466-L468",
  check = function()
    local token = rdw.token()
    for _, id in ipairs(packages.result) do
      if rdw.package(id, token).status ~= "PROCESSED" then return false end
    end
    return true
  end,
  every = "10s", timeout = "2h",
  hint  = "Look at the log of the package processor.",
}
step "Label the assessments" {
  from = "L469-L473",
  keep = "labels are data, and are right from now on",
  run  = function() rdw.schema_script(db.warehouse, "label_assessments.sql") end,
}
step "Load the instructional resources" {
  from = "L474-L477",
  keep = "resources are data, and are right from now on",
  run  = function() rdw.schema_script(db.reporting, "load_instructional_resources.sql") end,
}
step "Route the site to the new reporting webapp" {
  from = "L478-L479",
  keep = "version 1.1 serves the site",
  run  = function() rdw.point(env.names.reporting, webapp.result) end,
}
await "The site's name leads to the reporting webapp" {
  from  = "L479",
  check = function() return rdw.leads_to(webapp.result) end,
  every = "5s", timeout = "30m",
}
manual "Have third parties feed data again" { from = "L480" }
step "Have the alarms of RDW tell again, and delete those of the admin webapp" {
  from = "L481",
  run  = function()
    alarms.enable(silenced.result)
    alarms.delete(env.alarms.admin, "the admin webapp is no more")
  end,
}
step "Remove the admin webapp from OpenAM" {
  from = "L482",
  run  = function() rdw.remove_agent("admin-webapp", "the admin webapp is no more") end,
}
remark "The admin webapp's name went with the routing to the landing page." { from = "L483" }
step "Deploy the new guides" {
  from = "L484",
  run  = function() s3.sync(env.guides.from, env.guides.to) end,
}

phase "Smoke Test"

step "See that the site answers" {
  from = "L486-L487",
  run  = function()
    local health = http.json(env.urls.reporting .. "/health")
    if health.status ~= "UP" then fail("the reporting webapp says that it is " .. tostring(health.status)) end
  end,
}
manual "Smoke test, with the eyes of a user" {
  from = "L488-L494",
  hint = "Aggregate reports fill within an hour; students take hours, and block other migrations meanwhile.",
}
remark "How the services scale is what the deployment files say." { from = "L496-L531" }
