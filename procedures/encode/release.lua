-- Releases ENCODE: tag, new servers, keys, indexing; then databases into recovery, proxies over, new database promoted.
local encode = require "encode.lib"

guide "AWS Release and deployment" {
  file   = "encode-release.md",
  sha256 = "3789368f9d9a36b60d9c6d3746f6d9ec65cc66ec7a38233e2840cf88676c404e",
}

local arg = parameters {
  version     = { "number of the new release, the 88 of v88", match = "^%d+$" },
  old         = { "number of the release in service", match = "^%d+$" },
  servers     = { "single: one new server; clustered: a master and its cluster; demo: one to look at, and no switch; "
                  .. "node: one node of the cluster anew", one_of = { "single", "clustered", "demo", "node" },
                  default = "single" },
  node        = { "number of the cluster's node that is made anew", match = "^%d+$", optional = true },
  test_server = { "whether a new test server is made, too", type = "boolean", default = false },
  new_keys    = { "whether the new server gets keys of its own; a rehearsal, which cannot compare what AWS makes "
                  .. "anew each time, goes without, on a server that has some", type = "boolean", default = true },
  stop_old    = { "whether the old server is stopped at the end", type = "boolean", default = false },
}
local env = needs {
  pg            = { "the database: version and cluster", type = "map" },
  server        = { "the two servers as the proxies name them: old, new", type = "map" },
  test_server   = { "the two test servers as the proxies name them: old, new", type = "map" },
  page          = { "what a proxy serves once it is switched; see nginx.check_page", type = "map" },
  tag           = "what is released, v88.0",
  profile       = "profile of AWS by which bin/deploy makes servers of production",
  instances     = { "types of instances: single, data, master", type = "map" },
  nodes         = { "how many nodes a cluster has", type = "integer" },
  elasticsearch = "where a master answers for its cluster, as it sees itself",
  indexer       = "where a server's indexer tells what it does, as the server sees itself",
  apache_site   = "file of Apache's configuration that starts the indexers",
  file_indexer  = "text that the lines of the file indexer have in it",
  homes         = { "home folders on the servers: postgres, encoded", type = "map" },
  keys          = { "users of AWS whose keys a server has: backups, uploads", type = "map" },
  key_check     = { "program of a server that tries its keys, as a list of arguments", type = "list" },
  developers    = "who is told that writes stop",
  old_logs      = "folder of this machine for the logs of old servers",
  logs_bucket   = "where they are kept, s3://bucket/prefix",
}
local old, new, version = env.hosts.old, env.hosts.new, "v" .. arg.version
local production = { "--profile-name", env.profile }

local function releasing() return arg.servers ~= "node" end
local function switching() return arg.servers == "single" or arg.servers == "clustered" end
local function clustered() return arg.servers == "clustered" end
local function with_cluster() return clustered() or arg.servers == "node" end
local function replacing() return arg.node ~= nil end
local function with_keys() return arg.new_keys end

if arg.servers == "node" and not arg.node then error "which node? -p node=NUMBER" end

phase "Pre Release work" { when = switching }

remark "The headings." { from = "L1-L5" }
step "Back the production database up" {
  from    = "L6-L13",
  timeout = "12h",
  run     = function() encode.backup(old, env.pg) end,
}
step "Turn the file indexer off on the old server" {
  from = "L15-L16",
  run  = function() encode.file_indexer(old, false) end,
}
local found = step "See which access keys are in use" {
  from = "L156-L159",
  run  = function() return { backups = iam.keys(env.keys.backups), uploads = iam.keys(env.keys.uploads) } end,
}

phase "Create tag for new release" { when = releasing }

manual "Ask the merge admin whether all that belongs to the release is merged" { from = "L18-L22" }
step "Tag the newest master, here and at the remote" {
  from = "L24-L38",
  run  = function()
    local repo = env.repositories.encoded
    git.checkout(repo, "master")
    git.fetch(repo) -- bin/deploy asks what origin has
    git.pull(repo)
    git.tag(repo, env.tag, "master", { message = env.tag })
    git.push(repo, env.tag)
  end,
}

phase "Release Type"

step "Build the server that is to take over" {
  from = "L40-L51",
  when = function() return arg.servers == "single" end,
  run  = function()
    encode.deploy(version, { "--candidate", "--instance-type", env.instances.single, table.unpack(production) })
  end,
}
step "Build the test server" {
  from = "L53-L56",
  when = function() return arg.servers == "single" and arg.test_server end,
  run  = function() encode.deploy(version .. "-test", { "--test", "--instance-type", env.instances.single }) end,
}
step "Build the demo server" {
  from = "L58-L61",
  when = function() return arg.servers == "demo" end,
  run  = function() encode.deploy(version .. "-test", { "--instance-type", env.instances.single }) end,
}
step "Build the cluster" { -- before its master, which joins it at boot
  from = "L63-L73",
  when = clustered,
  run  = function()
    local options = encode.nodes(version .. "-cluster", env.nodes, table.unpack(production))
    encode.deploy(version .. "-data", options, env.nodes)
  end,
}
step "Build the master" {
  from = "L75-L79",
  when = clustered,
  run  = function()
    encode.deploy(version .. "-master", encode.master(version .. "-cluster", "--candidate", table.unpack(production)))
  end,
}
await "The new server is made, and its log has no errors" {
  from  = "L81-L84",
  when  = switching,
  check = function() return encode.is_made(new) end,
  every = "10s", timeout = "2h", retry = { times = 90, every = "10s" },
  hint  = "It restarts once by itself. Does ssh know its key?",
}
step "Build the cluster of the test server" {
  from = "L102-L114, L116",
  when = function() return clustered() and arg.test_server end,
  run  = function()
    encode.deploy(version .. "-test-data", encode.nodes(version .. "-test-cluster", env.nodes), env.nodes)
  end,
}
step "Build the master of the test server" {
  from = "L118-L122",
  when = function() return clustered() and arg.test_server end,
  run  = function() encode.deploy(version .. "-test-master", encode.master(version .. "-test-cluster")) end,
}
step "Shut the node down that the master does not see" {
  from = "L124-L131",
  when = replacing,
  run  = function() encode.put_aside(version .. "-data" .. arg.node) end,
}
step "Build a node of the same name in its place" {
  from = "L133-L140",
  when = replacing,
  run  = function()
    encode.deploy(version .. "-data" .. arg.node, encode.nodes(version .. "-cluster", 1, table.unpack(production)))
  end,
}
step "Set the number of replicas" {
  from  = "L86-L96, L142-L145",
  when  = with_cluster,
  retry = { times = 20, every = "30s" },
  run   = function()
    if replacing() or not encode.is_whole(new, env.nodes) then encode.replicas(new, 2) end
  end,
}
await "The master sees all nodes, and its cluster is green" {
  from  = "L98-L100, L147-L150",
  when  = with_cluster,
  check = function() return encode.is_whole(new, env.nodes) end,
  every = "10s", timeout = "1h", retry = { times = 5, every = "30s" },
  hint  = "A node that is not recognized is made anew by a run of its own: -p servers=node -p node=NUMBER",
}

phase "Create and install Keys" { when = switching }

local backups = step "Give the new server the next key for backups" {
  from = "L152-L155, L160-L163, L171-L195",
  when = with_keys,
  run  = function()
    local key = encode.new_key(env.keys.backups, found.result.backups)
    encode.write_credentials(new, "postgres", "default", key)
    return key.id
  end,
}
local uploads = step "Give the new server the next key for uploads" {
  from = "L165-L169, L197-L204",
  when = with_keys,
  run  = function()
    local key = encode.new_key(env.keys.uploads, found.result.uploads)
    encode.set_credentials(new, "encoded", "encode-files-upload", key)
    return key.id
  end,
}
step "Turn the file indexer off on the new server" {
  from = "L206-L208",
  run  = function() encode.file_indexer(new, false) end,
}

phase "Wait for NEW master to finish its first big indexing before continuing" { when = switching }

await "The new server has finished its first indexing" {
  from  = "L215-L217",
  check = function() return encode.has_indexed(new) end,
  every = "10s", timeout = "24h",
}
await "The old server indexes nothing" {
  from  = "L219-L222",
  check = function() return encode.indexer(old).status == "waiting" end,
  every = "10s", timeout = "12h",
  hint  = "A long indexing may be passed over (skip): then nobody can tell when both servers are at the same place.",
}
remark "At what time of the day is said by the environment's window." { from = "L224-L232" }

phase "Before switch over occurs notify all developers" { when = switching }

step "Tell the developers that writes stop" {
  from = "L234-L237",
  run  = function()
    mail.send(env.developers, "ENCODE takes no writes from now on: " .. env.tag,
      "The site is being switched to " .. env.server.new .. ". Another mail follows when it takes writes again.")
  end,
  undo = function()
    mail.send(env.developers, "ENCODE takes writes again: " .. env.tag .. " was put back",
      "The site stays on " .. env.server.old .. ".")
  end,
}

phase "On the OLD server switch postgres into recovery mode" { when = switching }

step "Put the old database into recovery" {
  from = "L239-L244",
  run  = function() postgres.demote(old, env.pg) end,
}

phase "Switch the proxies" { when = switching }

step "Point the proxies at the new server" {
  from = "L246-L266",
  on   = env.hosts.proxies, at_a_time = 1,
  run  = function(proxy)
    local renamed = { env.server }
    if arg.test_server then renamed[2] = env.test_server end
    encode.switch_proxy(proxy, renamed, env.page)
  end,
  hint = "Does the proxy resolve the new server's name?",
}
remark "A reload is all that neap does to nginx; it restarts it nowhere." { from = "L268-L270" }

phase "Switch over keys" { when = switching }

step "Make the new keys the active ones" {
  from = "L272-L275",
  when = with_keys,
  run  = function()
    encode.switch_key(env.keys.backups, found.result.backups, backups.result)
    encode.switch_key(env.keys.uploads, found.result.uploads, uploads.result)
  end,
}
step "See that the new server's keys are valid" {
  from = "L277",
  run  = function() return new:read(env.key_check, { become = "root", timeout = 300 }) end,
  retry = { times = 3, every = "5s" }, -- other machines of AWS learn of a key some seconds later
}

phase "WAIT for the snapshot on new server to match" { when = switching }

await "Both servers wait at the same snapshot, in recovery" {
  from  = "L279",
  check = function() return encode.same_snapshot(old, new, env.pg) end,
  every = "5s", timeout = "30m",
}

phase "Set NEW server as postgres master and promote it" { when = switching }

step "Give the new database the settings of a master" {
  from = "L281-L286",
  run  = function() postgres.include(new, env.pg, "master.conf") end,
}
step "Promote the new database" {
  from = "L288",
  irreversible = "once it takes writes, the old database can no longer follow",
  run  = function() postgres.promote(new, env.pg) end,
}
step "Upgrade what the database holds" {
  from    = "L290-L297",
  timeout = "12h",
  irreversible = "an upgrade of the data has no way down",
  run     = function()
    new:run({ "bin/batchupgrade", "production.ini", "--app-name", "app" },
      { become = "encoded", cwd = "/srv/encoded", timeout = 12 * 3600 })
  end,
}
step "Push the first backup of the new database" {
  from    = "L299-L305",
  timeout = "12h",
  run     = function() encode.backup(new, env.pg) end,
}

phase "Save logs from old instance and push up" { when = switching }

step "Keep the old server's logs, here and in S3" {
  from = "L307-L321",
  run  = function()
    local name = "/v" .. arg.old
    local folder = env.old_logs .. name
    file.directory("local", env.old_logs)
    file.directory("local", folder)
    file.copy_tree(old, "/var/log/apache2", "local", folder .. "/apache2", { become_from = "root" })
    s3.sync(folder, env.logs_bucket .. name)
  end,
}

phase "Add Wal-e backup to crontab on NEW server" { when = switching }

step "Have the new database backed up each day" {
  from = "L323-L339",
  run  = function() crontab.line(new, "root", encode.backup_line(env.pg)) end,
}

phase "Set all Redmine Release Ready Tickets to closed" { when = switching }

manual "Close all tickets marked Release Ready" { from = "L341" }

phase "Turn file indexer back on" { when = switching }

manual "Hear that the site is pronounced stable" { from = "L343-L345" }
step "Turn the file indexer on" {
  from = "L210-L213",
  run  = function() encode.file_indexer(new, true) end,
}
step "Stop the old server" {
  when = function() return arg.stop_old end,
  run  = function()
    for _, suffix in ipairs { "", "-master" } do
      for _, one in ipairs(ec2.named("v" .. arg.old .. suffix)) do ec2.stop(one.id) end
    end
  end,
}
