-- What the procedures of RDW share: edits of deployment and configuration files, repositories, deployments.
local maintenance = require "lib.maintenance"

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

--- The same for services of the deployment repository, by name.
function rdw.set_versions(names, version)
  for _, name in ipairs(names) do
    rdw.edit(env.repositories.deploy, name .. "-service.yml", function(doc) rdw.set_version(doc, version) end)
  end
end

--- Copies a sample of the RDW project into the repository of deployment or configuration.
--- @param kind "deploy"|"config"
function rdw.take_sample(kind, name)
  rdw.write(env.repositories[kind], name, rdw.read(env.repositories.rdw, kind .. "/" .. name))
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

local function grant_both(db, what, users)
  for _, part in ipairs { "ingest", "reporting" } do
    local user, text = db:ident(users[part]), "%s all on %s %s %s"
    db:execute(text:format("grant", what, "to", user), {}, { undo = text:format("revoke", what, "from", user) })
  end
end

--- A schema which both users reach.
function rdw.create_schema(db, name, users)
  local schema = db:ident(name)
  db:execute("create schema " .. schema, {}, { undo = "drop schema " .. schema })
  grant_both(db, "schema " .. schema, users)
end

--- Lets both users have all tables that a schema has by now.
function rdw.grant_tables(db, name, users) grant_both(db, "all tables in schema " .. db:ident(name), users) end

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

--- Commits all changes of a repository, and pushes them.
function rdw.commit(repo, branch, message)
  git.commit(repo, ".", message)
  git.push(repo, branch)
end

--- The newest state of a branch.
function rdw.newest(repo, branch)
  git.clone(repo)
  git.checkout(repo, branch)
  git.pull(repo)
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

--- Carries out a script of the schema project, whole or not at all.
function rdw.schema_script(db, name) sql.script(db, git.path(env.repositories.schema, name), { transaction = true }) end

-- ---- S3 between Aurora and Redshift ----

local WITNESSES = "what neap itself writes down there"

--- Lets the users that load data write neap's own table, where root has made it.
function rdw.let_write_witnesses(aurora, aurora_user, olap, olap_user)
  local rights = { "SELECT", "INSERT", "UPDATE", "DELETE" }
  sql.grant(aurora, rights, { database = "neap" }, aurora_user, { keep = WITNESSES })
  for _, what in ipairs { "schema neap", "all tables in schema neap" } do
    olap:execute(("grant all on %s to %s"):format(what, olap:ident(olap_user)), {}, { keep = WITNESSES })
  end
end

--- Has Aurora write what a query finds to S3, as path.part_00000 and following. What an earlier attempt left there is
--- removed: Aurora does not write over it.
--- @param db table
--- @param query string
--- @param params any[]
--- @param path string  s3://bucket/key
--- @return { affected: integer }
function rdw.extract(db, query, params, path)
  rdw.remove_extract(path)
  return sql.unload(db, query .. ([[ into outfile s3 '%s' fields terminated by ',' optionally enclosed by '"'
    lines terminated by '\n']]):format(path), params, { keep = "an extract harms nobody, and is removed by the next" })
end

--- Removes the parts of an extract.
function rdw.remove_extract(path)
  local bucket, key = path:match "^s3://([^/]+)/(.+)$"
  if not bucket then fail(path .. " is no place in S3") end
  for _, part in ipairs(s3.list(bucket, key .. ".part_")) do
    s3.delete(bucket, part.key, { keep = "a part of an extract, which can be made again" })
  end
end

--- Has Redshift load what lies at a path of S3 into an empty table.
--- @param db table
--- @param into string   a table, or a table and its columns, as SQL
--- @param path string   s3://bucket/key; all that begins so
--- @param options { role: string, undo: any }  role: its ARN, by which Redshift reads S3
function rdw.load(db, into, path, options)
  db:execute(("copy %s from '%s' credentials 'aws_iam_role=%s' format as csv maxerror 500 delimiter ',' " ..
    "timeformat 'auto' compupdate off"):format(into, path, options.role), {}, { undo = options.undo })
end

-- ---- the services ----

--- Applies the named files of the deployment repository in that order, over what kubectl applied before.
function rdw.deploy(names)
  for _, name in ipairs(names) do
    k8s.apply(env.cluster, rdw.read(env.repositories.deploy, name), { force_conflicts = true })
  end
end

--- Waits until all deployments run, and raises with what their newest logs say of errors.
function rdw.settle()
  local refs = {}
  for i, one in ipairs(k8s.list(env.cluster, "deployments")) do refs[i] = "deployment/" .. one.metadata.name end
  for _, ref in ipairs(refs) do k8s.rollout(env.cluster, ref, { timeout = 900 }) end
  for _, ref in ipairs(refs) do
    local log = k8s.logs(env.cluster, ref, { tail = 500 })
    local line = ("\n" .. log):match "\n([^\n]*%f[%w]ERROR%f[%W][^\n]*)"
    if line then fail(("%s says: %s"):format(ref, line)) end
  end
end

--- The name of the load balancer that a service has; nil until it has one.
function rdw.balancer(service)
  local one = k8s.get(env.cluster, "service/" .. service)
  local ingress = one and one.status and (one.status.loadBalancer or {}).ingress
  return ingress and ingress[1] and ingress[1].hostname
end

--- The tenants of an environment, or the one of that name: { name, prefix, warehouse, reporting }.
function rdw.tenants(only)
  local list = {}
  for name, one in pairs(env.tenants) do
    if only == nil or only == name then
      list[#list + 1] = { name = name, prefix = one.prefix, warehouse = one.warehouse, reporting = one.reporting }
    end
  end
  return list[1] and list or fail("the environment has no tenant " .. tostring(only))
end

-- ---- names ----

--- Has a name of the zone lead to another, or nowhere (nil).
function rdw.point(name, other)
  route53.records(env.names.zone, { { name = name, type = "CNAME", ttl = other and 60 or nil,
    values = other and { other } or nil, absent = not other } })
end

--- The site, as lib.maintenance takes it.
function rdw.site()
  return { zone = env.names.zone, names = { env.names.reporting }, page = { cname = env.names.landing },
    servers = env.name_servers }
end

--- Whether all name servers lead from the site's name to another.
function rdw.leads_to(other)
  return maintenance.is_off(rdw.site(), { { name = env.names.reporting, type = "CNAME", values = { other } } })
end

-- ---- other services of SBAC ----

--- An access token of the user who loads data.
function rdw.token()
  return http.token(env.urls.sso .. "/oauth2/access_token?realm=/sbac", { grant = "password", client = "rdw",
    client_secret = env.secrets.sso_client, user = env.ingest_user, password = env.secrets.sso_user })
end

--- Gives the import service a package; the same one twice is taken as once.
--- @return integer id  of the import
function rdw.load_package(path, token)
  local reply = http.post(env.urls.import .. "/packages/imports", { bearer = token, repeatable = true,
    form = { { name = "file", file = path } }, keep = "packages are data, and are right from now on" })
  return json.parse(reply.body).id
end

--- What the import service says of an import.
function rdw.package(id, token)
  return http.json(("%s/packages/imports/%d"):format(env.urls.import, id), { bearer = token })
end

--- Removes an application that signs on by OpenAM, if it is there.
function rdw.remove_agent(name, why)
  local place, headers = env.urls.openam .. "/agents/" .. name, { iPlanetDirectoryPro = env.secrets.openam_session }
  if http.get(place, { headers = headers, ok = { 200, 404 } }).status == 404 then return end
  http.delete(place, { headers = headers, keep = why, done = { url = place, status = { 404 } } })
end

-- ---- the network ----

--- Who may take the role of Redshift: Redshift.
rdw.TRUST = { Version = "2012-10-17",
  Statement = { { Effect = "Allow", Principal = { Service = "redshift.amazonaws.com" }, Action = "sts:AssumeRole" } } }

--- The VPC of the environment, its subnets, and the security group of the nodes.
function rdw.network()
  local ec2 = aws.client "ec2"
  local function filter(name, value) return { Filters = { { Name = name, Values = { value } } } } end
  local vpc = ec2:DescribeVpcs(filter("tag:Name", env.redshift.vpc)).Vpcs[1]
  local nodes = ec2:DescribeSecurityGroups(filter("group-name", env.redshift.nodes_group)).SecurityGroups[1]
  if not vpc or not nodes then
    fail(("there is no VPC %s, or no security group %s"):format(env.redshift.vpc, env.redshift.nodes_group))
  end
  local subnets = {}
  for i, one in ipairs(ec2:DescribeSubnets(filter("vpc-id", vpc.VpcId)).Subnets) do subnets[i] = one.SubnetId end
  return { vpc = vpc.VpcId, nodes = nodes.GroupId, subnets = subnets }
end

local function group_of(vpc, name)
  return { Filters = { { Name = "group-name", Values = { name } }, { Name = "vpc-id", Values = { vpc } } } }
end

--- The id of the security group of that name in a VPC; nil where there is none.
function rdw.security_group(vpc, name)
  local found = aws.client("ec2"):DescribeSecurityGroups(group_of(vpc, name))
  return found.SecurityGroups[1] and found.SecurityGroups[1].GroupId
end

local MADE = "made by the upgrade of RDW" -- tells a group that a cut-off step has made from one of others

--- Deletes a security group that an upgrade has made.
function rdw.remove_security_group(vpc, name)
  local filter, ec2 = group_of(vpc, name), aws.client "ec2"
  table.insert(filter.Filters, { Name = "description", Values = { MADE } })
  local one = ec2:DescribeSecurityGroups(filter).SecurityGroups[1]
  if one then ec2:DeleteSecurityGroup({ GroupId = one.GroupId }, { keep = "it is the way back" }) end
end

--- Lets the nodes and the jump server come to a port, by a new security group.
--- @return { id: string, is_new: boolean }
function rdw.make_security_group(network, name, port)
  local ec2, is_new = aws.client "ec2", not rdw.security_group(network.vpc, name)
  if is_new then
    ec2:CreateSecurityGroup({ GroupName = name, Description = MADE, VpcId = network.vpc }, {
      keep = "the step's undo deletes it", done = { operation = "DescribeSecurityGroups",
        parameters = group_of(network.vpc, name), path = "SecurityGroups[0].GroupId" } })
  end
  local id = rdw.security_group(network.vpc, name)
  local rule = { IpProtocol = "tcp", FromPort = port, ToPort = port, UserIdGroupPairs = { { GroupId = network.nodes } },
    IpRanges = { { CidrIp = env.redshift.jump_server } } }
  if not ec2:DescribeSecurityGroups({ GroupIds = { id } }).SecurityGroups[1].IpPermissions[1] then
    ec2:AuthorizeSecurityGroupIngress({ GroupId = id, IpPermissions = { rule } }, { keep = "it goes with its group",
      done = { operation = "DescribeSecurityGroups", parameters = { GroupIds = { id } },
        path = "SecurityGroups[0].IpPermissions[0].FromPort", equals = port } })
  end
  return { id = id, is_new = is_new }
end

-- ---- the ops server ----

local PG_SERVICE = "[rdw]\nhost=$(host)\nport=$(port)\ndbname=$(database)\nuser=root\npassword=$(password)\n"

--- Has psql, without arguments, connect the login to Redshift. Raises where the file of services has others: theirs are
--- passwords, too, which are not to be read.
function rdw.connect_psql(server, database, password)
  local here = env.hosts["local"]
  local host, port = server:match "^(.*):(%d+)$"
  local home = here:read({ "printenv", "HOME" }):gsub("\n$", "")
  local path = home .. "/.pg_service.conf"
  for section in here:read({ "grep", "-s", "^\\[", path }, { ok = { 0, 1, 2 } }):gmatch "[^\n]+" do
    if section ~= "[rdw]" then fail(("%s has other services; write [rdw] into it by hand"):format(path)) end
  end
  template.write("local", path, PG_SERVICE, { host = host, port = port, database = database, password = password },
    { quote = "text", mode = "0600" })
  file.line("local", home .. "/.bashrc", "export PGSERVICE=rdw")
end

return rdw
