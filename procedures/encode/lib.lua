-- What the procedures of ENCODE share: its own programs, its servers' indexers, its keys, its proxies.
local encode = {}

-- ---- servers ----

--- Whether all instances stand that are wanted. Raises where only some do: bin/deploy makes all or refuses.
local function stand(name, nodes)
  if not nodes then return ec2.named(name)[1] ~= nil end
  local count = 0
  for _, one in ipairs(ec2.named(name .. "*")) do
    if one.name:sub(#name + 1):find "^%d+$" then count = count + 1 end
  end
  if count > 0 and count < nodes then
    fail(("%d of %d instances %s stand: roll back, or end them, for bin/deploy makes all"):format(count, nodes, name))
  end
  return count > 0
end

--- Instances of that name, made by the team's own program; nothing where they stand already. A rollback ends them.
--- @param name string     tag Name; of a cluster's nodes what their numbers follow
--- @param options string[]  of bin/deploy, beside name and branch
--- @param nodes? integer  how many of a cluster, if it is one of several nodes
function encode.deploy(name, options, nodes)
  if stand(name, nodes) then return end
  ec2.launched(nodes and name .. "*" or name, function()
    env.hosts["local"]:run({ "bin/deploy", "-b", env.tag, "-n", name, table.unpack(options) },
      { cwd = git.path(env.repositories.encoded, "."), timeout = 3600, keep = "its instances are ended by a rollback" })
  end)
end

--- Options for nodes of a cluster.
function encode.nodes(cluster, count, ...)
  return { "--elasticsearch", "yes", "--cluster-name", cluster, "--cluster-size", count, "--instance-type",
    env.instances.data, ... }
end

--- Options for the master of a cluster.
function encode.master(cluster, ...)
  return { "--cluster-name", cluster, "--instance-type", env.instances.master, ... }
end

--- Whether cloud-init has done all that a new server is made of. Raises what went wrong.
function encode.is_made(server)
  local log = server:read({ "cat", "/var/log/cloud-init-output.log" }, { become = "root" })
  local mistake = log:match "[^\n]*Traceback[^\n]*" or log:match "[^\n]*ERROR[^\n]*" or log:match "%f[^\n]E: [^\n]*"
  if mistake then fail(("cloud-init says on %s: %s"):format(server.name, mistake)) end
  return log:find("finished at", 1, true) ~= nil
end

--- Takes the instance of a name out of service, and gives the name free. A rollback starts it again, with its name.
function encode.put_aside(name)
  local one = ec2.named(name)[1] or fail("there is no instance named " .. name)
  ec2.stop(one.id)
  ec2.tags(one.id, { Name = name .. "-replaced" })
end

-- ---- Elasticsearch, asked on the master itself ----

local function elasticsearch(path) return env.elasticsearch .. path end

--- Whether the master has all nodes, and all that they should hold.
function encode.is_whole(master, nodes)
  local health = http.json(elasticsearch "/_cluster/health", { via = master })
  return health.status == "green" and health.number_of_data_nodes >= nodes and health
end

--- Has that many copies of each index beside the first.
function encode.replicas(master, count)
  for name, index in pairs(http.json(elasticsearch "/_all/_settings", { via = master })) do
    local before = tonumber(index.settings.index.number_of_replicas)
    local url = elasticsearch(("/%s/_settings"):format(name))
    if before ~= count then
      http.put(url, { via = master, json = { index = { number_of_replicas = count } },
        undo = { method = "PUT", url = url, json = { index = { number_of_replicas = before } } },
        done = { url = url, body = ('"number_of_replicas":"%d"'):format(count) } })
    end
  end
end

-- ---- the application ----

--- What the indexer of a server says of itself.
function encode.indexer(server) return http.json(env.indexer, { via = server }) end

--- Whether the indexer has indexed something, and waits for more. Raises what it says where it has given up.
function encode.has_indexed(server)
  local now = encode.indexer(server)
  local mistake = now.status == "sleeping" and now.errors and now.errors[1]
  if mistake then fail(("the indexer of %s sleeps: %s"):format(server.name, tostring(mistake.error))) end
  return now.status == "waiting" and now.last_result ~= nil and now
end

--- Whether both servers stand at the same snapshot, in recovery, with nothing left to index or to replay.
function encode.same_snapshot(old, new, cluster)
  local a, b = encode.indexer(old), encode.indexer(new)
  if a.status ~= "waiting" or b.status ~= "waiting" or not a.recovery or not b.recovery then return false end
  return a.snapshot == b.snapshot
    and postgres.same_position(postgres.position(old, cluster), postgres.position(new, cluster))
end

--- Turns the file indexer on or off: its lines in Apache's configuration are there, or are comments.
function encode.file_indexer(server, on)
  service.with_reload(server, "apache2", function()
    file.edit(server, env.apache_site, function(text)
      local found = 0
      text = text:gsub("[^\n]+", function(line)
        if not line:find(env.file_indexer, 1, true) then return nil end
        found = found + 1
        local space, comment, rest = line:match "^(%s*)(#?)%s*(.*)$"
        if (comment == "") == on then return line end
        return space .. (on and "" or "#") .. rest
      end)
      if found == 0 then fail(("%s has no line with %s"):format(env.apache_site, env.file_indexer)) end
      return text
    end, { become = "root" })
  end, { test = { "apache2ctl", "configtest" } })
end

-- ---- keys and backups ----

--- A new key for a user, not active yet, instead of the one that is not in use. Takes what `look` says of the user.
--- @return { id: string, secret: native.secret.value }
function encode.new_key(user, keys)
  for _, key in ipairs(keys) do
    if key.status == "Inactive" then iam.delete_key(user, key.id, { keep = "it was not in use" }) end
  end
  local key = iam.create_key(user)
  iam.deactivate_key(user, key.id)
  return key
end

local function section_of(name, key)
  return ("[%s]\naws_access_key_id = %s\naws_secret_access_key = "):format(name, key.id) .. key.secret .. "\n"
end

local function without_section(text, name)
  local kept, inside = {}, false
  for line in text:gmatch "[^\n]*\n?" do
    local header = line:match "^%s*%[(.-)%]"
    if header then inside = header == name end
    if not inside then kept[#kept + 1] = line end
  end
  return table.concat(kept)
end

--- Writes the file of credentials of a user of the server, which holds one section, in a folder that may be new.
function encode.write_credentials(server, owner, section, key)
  local folder, rights = env.homes[owner] .. "/.aws", { owner = owner, group = owner, mode = "0640", become = "root" }
  file.directory(server, folder, { owner = owner, group = owner, become = "root" })
  file.write(server, folder .. "/credentials", section_of(section, key), rights)
end

--- Puts a section into a user's file of credentials, in place of an earlier one of its name; the others stay.
function encode.set_credentials(server, owner, section, key)
  file.edit(server, env.homes[owner] .. "/.aws/credentials", function(text)
    return without_section(text, section) .. section_of(section, key)
  end, { become = "root" })
end

--- Makes a user's new key the one that is active.
function encode.switch_key(user, keys, id)
  for _, key in ipairs(keys) do
    if key.status == "Active" then iam.deactivate_key(user, key.id) end
  end
  iam.activate_key(user, id)
end

local function wal_e(cluster)
  local etc = ("/etc/postgresql/%s/%s/wale_s3_prefix"):format(cluster.version, cluster.cluster)
  return etc, ("/var/lib/postgresql/%s/%s"):format(cluster.version, cluster.cluster)
end

--- Pushes a base backup of a server's database to S3.
function encode.backup(server, cluster)
  local prefix, data = wal_e(cluster)
  prefix = file.read(server, prefix):match "%S+"
  server:run({ "/opt/wal-e/bin/envfile", "--config", env.homes.postgres .. "/.aws/credentials", "--section", "default",
    "--upper", "--", "/opt/wal-e/bin/wal-e", "--s3-prefix=" .. prefix, "backup-push", data },
    { become = "postgres", timeout = 12 * 3600, keep = "a backup more harms nobody" })
end

--- The line of a crontab that does the same each day.
function encode.backup_line(cluster)
  local line = [[00 7 * * * sudo -i -u postgres /opt/wal-e/bin/envfile --config ~postgres/.aws/credentials ]]
    .. [[--section default --upper -- /opt/wal-e/bin/wal-e --s3-prefix="$(cat %s)" backup-push %s]]
  return line:format(wal_e(cluster))
end

-- ---- proxies ----

--- Points what a proxy sends to `old` at `new`, and waits until it serves the page.
--- @param proxy table
--- @param renamed { old: string, new: string }[]  names of servers as the proxy's configuration has them
--- @param page table  see nginx.check_page
function encode.switch_proxy(proxy, renamed, page)
  nginx.edit(proxy, "/etc/nginx/nginx.conf", function(conf)
    for _, server in ipairs(renamed) do conf:replace_host(server.old, server.new) end
  end, { check = page })
end

return encode
