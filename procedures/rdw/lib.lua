-- What the procedures of RDW share: edits of deployment and configuration files, repositories, deployments.
local rdw = {}

--- The file of a repository on the jump server, changed by an edit of its YAML.
--- @param repo table
--- @param name string
--- @param change fun(doc: table)
function rdw.edit(repo, name, change) yaml.edit("local", git.path(repo, name), change) end

--- The text of a file of a repository, as the plan or the run has left it.
function rdw.read(repo, name) return file.read("local", git.path(repo, name)) end

--- Writes a file of a repository.
function rdw.write(repo, name, text) file.write("local", git.path(repo, name), text) end

local CONTAINER = "spec.template.spec.containers[1]"

local function deployment(doc) return doc:select { kind = "Deployment" } end

--- The version of the image that a deployment runs.
function rdw.set_version(doc, version)
  local place = CONTAINER .. ".image"
  deployment(doc):set(place, (deployment(doc):get(place):gsub(":[^:/]*$", "") .. ":" .. version))
end

--- Gives a service and its deployment another name, where they are known by it.
function rdw.rename_service(doc, name)
  local service = doc:select { kind = "Service" }
  service:set("metadata.name", name)
  service:set("spec.selector.app", name)
  deployment(doc):set("metadata.name", name .. "-deployment")
  deployment(doc):set("spec.selector.matchLabels.app", name)
  deployment(doc):set("spec.template.metadata.labels.app", name)
end

--- What each pod may take, and gets.
function rdw.set_resources(doc, cpu, memory)
  for _, part in ipairs { "requests", "limits" } do
    deployment(doc):set(("%s.resources.%s.cpu"):format(CONTAINER, part), cpu)
    deployment(doc):set(("%s.resources.%s.memory"):format(CONTAINER, part), memory)
  end
end

--- Takes the volumes away, of the pods and of their containers.
function rdw.remove_volumes(doc)
  deployment(doc):remove(CONTAINER .. ".volumeMounts")
  deployment(doc):remove "spec.template.spec.volumes"
end

--- Gives a deployment the volumes and the number of pods of another, with their comments.
function rdw.take_over(doc, old)
  local from = deployment(yaml.document(old))
  for _, place in ipairs { CONTAINER .. ".volumeMounts", "spec.template.spec.volumes", "spec.replicas" } do
    deployment(doc):put(place, from:subtree(place))
  end
end

--- A data source of version 1.1 names its server, where one of 1.0 had the whole JDBC URL.
--- @param doc table
--- @param source string  "spring.datasource"
function rdw.name_server(doc, source)
  local url = doc:get(source .. ".url")
  local server = url and url:match "^jdbc:%w+://([^/?]+)"
  if not server then fail(("%s.url is no JDBC URL: %s"):format(source, tostring(url))) end
  doc:rename(source .. ".url", "url-server")
  doc:set(source .. ".url-server", server)
end

--- Puts subtrees of other files, with their comments, into a document.
--- @param doc table
--- @param from string  text of the other file
--- @param places table<string, string>  place here to place there
function rdw.copy_into(doc, from, places)
  local other = yaml.document(from)
  for place, there in pairs(places) do doc:put(place, other:subtree(there)) end
end

--- What the services are told of Redshift, for the user with that part.
function rdw.set_olap(doc, redshift, user, password)
  local source = "spring.olap_datasource."
  doc:set(source .. "url-server", redshift.server)
  doc:set(source .. "url-db", redshift.database)
  doc:set(source .. "username", redshift.users[user])
  doc:set(source .. "password", password)
end

--- The data mart's source is the only one of a reporting service from version 1.1 on.
function rdw.move_datamart(doc)
  doc:move("app.datamart.datasource", "spring.datasource")
  if doc:count "app.datamart" == 0 then doc:remove "app.datamart" end
  rdw.name_server(doc, "spring.datasource")
end

-- ---- Redshift: its catalog does not say who was granted what, so each statement brings what takes it back ----

--- A schema which both users reach.
function rdw.create_schema(db, name, users)
  local schema = db:ident(name)
  db:execute("create schema " .. schema, {}, { undo = "drop schema " .. schema })
  for _, part in ipairs { "ingest", "reporting" } do
    local user = db:ident(users[part])
    for _, what in ipairs { "schema " .. schema, "all tables in schema " .. schema } do
      db:execute(("grant all on %s to %s"):format(what, user), {},
        { undo = ("revoke all on %s from %s"):format(what, user) })
    end
  end
end

--- Drops all tables of a schema.
function rdw.empty_schema(db, name)
  for _, found in ipairs(db:column("select tablename from pg_tables where schemaname = $1", { name })) do
    db:execute(("drop table %s cascade"):format(db:ident(name, found)))
  end
end

-- ---- the schema project ----

local function gradle_call(repo, tasks, only)
  local argv = { env.gradlew }
  for _, name in ipairs { "database", "redshift" } do
    local url = name == "redshift" and env.jdbc.redshift or env.jdbc[only or "warehouse"]
    argv[#argv + 1] = ("-P%s_url=%s"):format(name, url)
    argv[#argv + 1] = ("-P%s_user=%s"):format(name, env.jdbc.user)
  end
  table.move(tasks, 1, #tasks, #argv + 1, argv)
  -- the passwords by the environment, which Gradle reads as properties too: arguments are everybody's to read
  return argv, { ORG_GRADLE_PROJECT_database_password = env.secrets.database_root,
    ORG_GRADLE_PROJECT_redshift_password = env.secrets.redshift_root }
end

--- Runs tasks of the schema project that change databases.
function rdw.gradle(repo, tasks, only)
  local argv, variables = gradle_call(repo, tasks, only)
  return env.hosts["local"]:run(argv, { env = variables, cwd = git.path(repo, "."), timeout = 6 * 3600,
    keep = "what it made is taken back by the step" })
end

--- What tasks that only ask say.
function rdw.gradle_info(repo, tasks)
  local said = {}
  for i, task in ipairs(tasks) do
    local argv, variables = gradle_call(repo, { task }, task:find "Reporting" and "reporting" or "warehouse")
    said[i] = env.hosts["local"]:read(argv, { env = variables, cwd = git.path(repo, "."), timeout = 600 })
  end
  return table.concat(said, "\n")
end

--- The branch of the release, at the remote too, from its newest master.
function rdw.branch(repo, name)
  git.clone(repo)
  git.checkout(repo, "master")
  git.pull(repo)
  git.branch(repo, name, "master")
  git.checkout(repo, name)
  git.push(repo, name, { set_upstream = true })
end

--- Merges a branch of a release into master, here and at the remote, and removes it.
function rdw.merge(repo, name)
  git.checkout(repo, name)
  git.pull(repo)
  git.checkout(repo, "master")
  git.merge(repo, name)
  git.push(repo, "master")
  git.delete_remote(repo, name)
  git.delete_branch(repo, name)
end

return rdw
