-- Upgrades RDW from v1.0 to v1.1: branches, deployment and configuration files, Redshift, schemas, services.
local rdw = require "rdw.lib"

guide "Upgrade v1.1 <- v1.0" {
  file   = "rdw-upgrade-v1.1.md",
  sha256 = "1105b69a898ea6300b0e01834ccbe5f6478279dd7df2d65d2723f662bd834350",
}

local arg = parameters {
  branch = { "branch of the release in both repositories", default = "v1_1" },
  schema = { "branch of the schema project that has the release", default = "develop" },
}
needs {
  jdbc          = { "addresses of the databases as gradlew takes them: warehouse, reporting, redshift", type = "map" },
  redshift      = { "what the services are told: server, database, role, users, concurrency", type = "map" },
  gradlew       = "path of the schema project's gradlew",
  school_year   = { "the school year, by the year in which it ends", type = "integer" },
  secret_cipher = { "encrypted passwords of the Redshift users: ingest, reporting", type = "map" },
}
local repos, db = env.repositories, env.databases
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
  run  = function()
    for _, name in ipairs(INGEST) do
      rdw.edit(repos.deploy, name .. "-service.yml", function(doc) rdw.set_version(doc, "1.1.0-RELEASE") end)
    end
  end,
}
step "Add the deployment of migrate olap" {
  from = "L77",
  run  = function()
    rdw.write(repos.deploy, "migrate-olap-service.yml", rdw.read(repos.rdw, "deploy/migrate-olap-service.yml"))
  end,
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
    rdw.write(repos.deploy, "reporting-service.yml", rdw.read(repos.rdw, "deploy/reporting-service.yml"))
    rdw.edit(repos.deploy, "reporting-service.yml", function(doc) rdw.take_over(doc, old) end)
  end,
}
step "Add the aggregate service, and replace the admin service" {
  from = "L89-L90",
  run  = function()
    for _, name in ipairs { "aggregate-service.yml", "admin-service.yml" } do
      rdw.write(repos.deploy, name, rdw.read(repos.rdw, "deploy/" .. name))
    end
  end,
}
step "Set the version of the report processor" {
  from = "L91",
  run  = function()
    rdw.edit(repos.deploy, "report-processor-service.yml", function(doc) rdw.set_version(doc, "1.1.1-RELEASE") end)
  end,
}
step "Commit the deployment" {
  from = "L92-L98",
  run  = function()
    git.commit(repos.deploy, ".", "Changes for v1.1")
    git.push(repos.deploy, arg.branch)
  end,
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
    rdw.write(repos.config, "rdw-ingest-migrate-olap.yml", rdw.read(repos.rdw, "config/rdw-ingest-migrate-olap.yml"))
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
    rdw.write(repos.config, "rdw-reporting-admin-service.yml",
      rdw.read(repos.rdw, "config/rdw-reporting-admin-service.yml"))
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
    rdw.write(repos.config, "rdw-reporting-aggregate-service.yml",
      rdw.read(repos.rdw, "config/rdw-reporting-aggregate-service.yml"))
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
    rdw.write(repos.config, "rdw-reporting-service.yml", rdw.read(repos.rdw, "config/rdw-reporting-service.yml"))
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
    for _, name in ipairs { "rdw-admin-webapp.yml", "rdw-reporting-admin-webapp.yml" } do
      file.remove("local", git.path(repos.config, name))
    end
  end,
}
step "Commit the configuration" {
  from = "L208-L214",
  run  = function()
    git.commit(repos.config, ".", "Changes for v1.1")
    git.push(repos.config, arg.branch)
  end,
}

manual "Configure the Redshift cluster, with subnet and security group, in two nodes" {
  from = "L215-L227",
  hint = "Short query acceleration 5 seconds, concurrency as in env.redshift.concurrency.",
}
manual "Give Redshift a role that may read the archive" { from = "L228-L235" }
step "Connect to Redshift from the ops system" {
  from = "L236-L241",
  run  = function()
    if not db.redshift:value "select version()" then fail "Redshift does not say what it is" end
  end,
}
remark "neap connects by its environment; whoever wants psql to do so writes ~/.pg_service.conf." { from = "L242-L256" }

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
  run  = function()
    git.clone(repos.schema)
    git.checkout(repos.schema, arg.schema)
    git.pull(repos.schema)
  end,
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
manual "Export a table from Aurora to S3, and load it into Redshift" { from = "L311-L333" }
manual "Create the roles and permissions of the component Reporting" { from = "L334-L345" }
manual "Smoke test before the upgrade" { from = "L346-L347" }

phase "Quiesce the System"

manual "See that the feeds of third parties are suspended" { from = "L350-L353" }
manual "Route all traffic to the static landing page" { from = "L354-L357" }
manual "Disable the monitoring of RDW services" { from = "L358" }
remark "Now the clock runs." { from = "L359" }
manual "Scale all deployments to no pods, those first that cause changes of data" { from = "L360-L374" }

phase "Backup"

remark "Deployment and configuration are in version control." { from = "L376-L377" }
manual "Back the Aurora databases up" { from = "L379" }

phase "Upgrade"

step "Have the newest deployment of master" {
  from = "L382-L388",
  run  = function()
    git.checkout(repos.deploy, "master")
    git.pull(repos.deploy)
  end,
}
manual "Delete the deployments that are made anew: admin-service and reporting-service" { from = "L389-L393" }
manual "Upgrade the cluster if its version is old" { from = "L394-L397" }
manual "Add a node if the cluster is just big enough now" { from = "L398-L399" }
step "Have the newest schema, and ask both databases what is to be migrated" {
  from = "L400-L409",
  run  = function()
    git.checkout(repos.schema, "master")
    git.pull(repos.schema)
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
}
step "Merge the branches of deployment and configuration" {
  from = "L416-L431",
  run  = function()
    rdw.merge(repos.deploy, arg.branch)
    rdw.merge(repos.config, arg.branch)
  end,
}
manual "Deploy all services, and look at their logs" { from = "L432-L450" }
manual "Bring Route 53 up to date" { from = "L451-L454" }
manual "Load the packages of the tabulator" { from = "L455-L468" }
step "Label the assessments" {
  from = "L469-L473",
  keep = "labels are data, and are right from now on",
  run  = function()
    sql.script(db.warehouse, git.path(repos.schema, "label_assessments.sql"), { transaction = true })
  end,
}
step "Load the instructional resources" {
  from = "L474-L477",
  keep = "resources are data, and are right from now on",
  run  = function()
    sql.script(db.reporting, git.path(repos.schema, "load_instructional_resources.sql"), { transaction = true })
  end,
}
manual "Restore traffic, feeds and monitoring; remove the admin webapp; deploy the guides" { from = "L478-L484" }

phase "Smoke Test"

manual "Smoke test" { from = "L486-L494" }
remark "How the services scale is what the deployment files say." { from = "L496-L531" }
