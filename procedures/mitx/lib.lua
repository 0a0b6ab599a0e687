-- What the procedures of MITx Residential share: its instances as EC2 and Salt know them, and their processes.
local salt = require "lib.salt"

local mitx = {}

--- What a procedure of MITx needs of its environment.
mitx.NEEDS = {
  salt_environment = "the environment as Salt calls it",
  master           = "the minion that speaks to the cloud",
  build_purpose    = "whose settings the AMIs are built with",
  purposes         = { "whose instances are replaced", type = "list" },
  balancers        = { "purpose to load balancer", type = "map" },
  health_timeout   = { "seconds until an instance behind one is healthy", type = "integer" },
  sdb              = { "what Salt's store says of AMIs; %s is the release", type = "list" },
  database         = "of RDS",
  dns              = { "zone, names, page, servers: see procedures/lib/maintenance.lua", type = "map" },
  bucket           = "of the maintenance page",
  sites            = { "names, as people know them", type = "list" },
  smoke            = { "addresses that say that all is well", type = "list" },
  threedown        = "who posts on 3down",
  support          = "who is asked",
}

local ALL = { "all", "bin_env=/edx/bin/supervisorctl" }

-- ---- what there is ----

local function name_of(instance)
  for _, one in ipairs(instance.Tags) do
    if one.Key == "Name" then return one.Value end
  end
end

--- "edx-worker-mitx-qa-next-residential-live-0-v3": what it is for stands between the environment and its number.
local function purpose_of(name, kind)
  local prefix = ("%s-%s-"):format(kind, env.salt_environment)
  return name:sub(1, #prefix) == prefix and name:sub(#prefix + 1):match "^(.-)%-%d+%-v%d+$" or nil
end

--- What an instance of edX is, by its name alone: other instances of the environment have other names.
local function instance(one)
  local name = name_of(one)
  local app, worker = purpose_of(name, "edx"), purpose_of(name, "edx-worker")
  if not app and not worker and not name:find "base$" then return nil end
  return { name = name, id = one.InstanceId, address = one.PrivateIpAddress, purpose = app or worker,
    is_app = app and true }
end

--- The instances of edX that are there, base instances too: { name, id, address, purpose, is_app }, by name.
local function instances()
  local found = {}
  for _, group in ipairs(aws.client("ec2"):all("DescribeInstances", { Filters = {
    { Name = "tag:Name", Values = { ("edx*-%s-*"):format(env.salt_environment) } },
    { Name = "instance-state-name", Values = { "pending", "running", "stopping", "stopped" } } } })) do
    for _, one in ipairs(group.Instances) do
      local known = instance(one)
      if known then found[known.name] = known end
    end
  end
  return found
end

--- The images that AMIs of this release are, with their snapshots, by id.
local function images(codename)
  local found = {}
  for _, one in ipairs(aws.client("ec2"):DescribeImages { Owners = { "self" }, Filters = {
    { Name = "name", Values = { ("edx*_%s_base_release_*"):format(codename) } } } }.Images or {}) do
    local snapshots = {}
    for _, device in ipairs(one.BlockDeviceMappings or {}) do
      snapshots[#snapshots + 1] = device.Ebs and device.Ebs.SnapshotId
    end
    found[one.ImageId] = snapshots
  end
  return found
end

--- Instances, images and what Salt's store says of them.
function mitx.inventory(codename)
  local stored = {}
  for i, key in ipairs(env.sdb) do
    local uri = key:format(codename)
    stored[i] = { uri = uri, value = salt.stored(env.hosts.salt, env.master, uri) }
  end
  return { instances = instances(), images = images(codename), stored = stored, codename = codename }
end

local function chosen(list, is_wanted)
  local names = {}
  for name, one in pairs(list) do
    if is_wanted(one) then names[#names + 1] = name end
  end
  return names
end

local function serves(one)
  for _, purpose in ipairs(env.purposes) do
    if one.purpose == purpose then return true end
  end
end

local function of(list, names)
  for i, name in ipairs(names) do names[i] = list[name] end
  return names
end

--- The instances of the purposes that were there before.
function mitx.old(before) return of(before.instances, chosen(before.instances, serves)) end

--- Those that came since.
function mitx.new(before)
  local now = instances()
  local names = chosen(now, function(one) return serves(one) and not before.instances[one.name] end)
  if not names[1] then fail("no instance of these purposes is new", "see what orchestrate.edx.deploy said") end
  return of(now, names)
end

--- The instances that serve pages.
local function apps_of(list)
  local apps = {}
  for _, one in ipairs(list) do
    if one.is_app then apps[#apps + 1] = one end
  end
  return apps
end

--- @return string[]
function mitx.names(list)
  local names = {}
  for i, one in ipairs(list) do names[i] = one.name end
  return names
end

--- Calls elb.register or elb.deregister for those that serve pages, with the load balancer of each one's purpose.
function mitx.each_app(list, change)
  for _, one in ipairs(apps_of(list)) do
    change(env.balancers[one.purpose], one.id, { timeout = tonumber(env.health_timeout) })
  end
end

-- ---- back to what there was ----

local function put_back_stored(before)
  for _, one in ipairs(before.stored) do salt.store(env.hosts.salt, env.master, one.uri, one.value) end
end

local function remove_images(before)
  local ec2, gone = aws.client "ec2", { keep = "it was not there before" }
  for id, snapshots in pairs(images(before.codename)) do
    if not before.images[id] then
      ec2:DeregisterImage({ ImageId = id }, gone)
      for _, snapshot in ipairs(snapshots) do ec2:DeleteSnapshot({ SnapshotId = snapshot }, gone) end
    end
  end
end

--- Ends the instances that came since, removes their images, and has Salt's store say what it said.
function mitx.restore(before)
  local came = chosen(instances(), function(one)
    return not before.instances[one.name] and (serves(one) or not one.purpose)
  end)
  if came[1] then mitx.destroy(came, { keep = "they were not there before" }) end
  remove_images(before)
  put_back_stored(before)
end

--- Ends instances by their names, since the cloud takes no patterns, and sees that they are gone, since it does not say so.
function mitx.destroy(names, options)
  salt.call(env.hosts.salt, env.master, { "cloud.destroy", table.concat(names, ",") }, options)
  local there = effect.planning() and {} or instances()
  for _, name in ipairs(names) do
    if there[name] then fail(("%s is still there after cloud.destroy: %s"):format(name, there[name].id)) end
  end
end

--- Ends the old instances, those that were noted and no others of their names.
function mitx.destroy_old(before)
  local now, old = instances(), mitx.old(before)
  for _, one in ipairs(old) do
    local there = now[one.name]
    if there and there.id ~= one.id then
      fail(("%s is another instance than when this began: %s, not %s"):format(one.name, there.id, one.id))
    end
  end
  mitx.destroy(mitx.names(old))
end

-- ---- AMIs and processes ----

--- What Salt makes for a release is taken back by the step that noted what there was (mitx.restore).
local NOTED = "the step that noted what was there takes it back"

--- Runs states of the master over this environment.
--- @param state string
--- @param variables table<string, string>
--- @param irreversible? string
function mitx.orchestrate(state, variables, irreversible)
  variables.ENVIRONMENT = env.salt_environment
  salt.orchestrate(env.hosts.salt, state, variables,
    { keep = not irreversible and NOTED or nil, irreversible = irreversible, timeout = 4 * 3600 })
end

--- Brings base instances to their highstate, where a build has stopped at it.
local function repair_bases(migrate, irreversible)
  local words = { "state.highstate", migrate and "pillar={'edx': {'ansible_flags': '-e migrate_db=yes'}}" or nil }
  salt.call(env.hosts.salt, ("edx*%s*base"):format(env.salt_environment), words,
    { keep = not irreversible and NOTED or nil, irreversible = irreversible, timeout = 4 * 3600 })
end

--- Builds AMIs, from base instances that are repaired first where they are there already.
function mitx.build_ami(resume, migrate)
  local irreversible = migrate and "migrations have no way down" or nil
  if resume then repair_bases(migrate, irreversible) end
  mitx.orchestrate("orchestrate.edx.build_ami",
    { PURPOSE = env.build_purpose, RUN_MIGRATIONS = migrate and "1" or nil }, irreversible)
end

--- Deploys instances of the purposes from the AMIs that Salt's store names.
function mitx.deploy()
  mitx.orchestrate("orchestrate.edx.deploy",
    { PURPOSES = table.concat(env.purposes, ","), ANSIBLE_FLAGS = "--tags install:configuration" })
end

--- supervisorctl ends with a status of its own where a process does not run, which Salt takes for a failure.
local STATUS = { "cmd.run", "/edx/bin/supervisorctl status; true", "python_shell=True" }

local function check_processes(list, wanted)
  for minion, text in pairs(salt.ask(env.hosts.salt, mitx.names(list), STATUS)) do
    for line in text:gmatch "[^\n]+" do
      local process, state = line:match "^(%S+)%s+(%u+)"
      if not wanted[state] then fail(("supervisor on %s says: %s"):format(minion, process and line or text)) end
    end
  end
end

local function supervise(list, what, back, wanted)
  salt.call(env.hosts.salt, mitx.names(list), { "supervisord." .. what, table.unpack(ALL) },
    { undo = { "supervisord." .. back, table.unpack(ALL) } })
  if not effect.planning() then check_processes(list, wanted) end
end

--- Stops all processes of edX on instances, and sees that they are stopped. A rollback starts them.
function mitx.stop(list) supervise(list, "stop", "start", { STOPPED = true, EXITED = true }) end

--- Starts them, and sees that they run.
function mitx.start(list) supervise(list, "start", "stop", { RUNNING = true, STARTING = true }) end

--- Asks each instance for each address as the world will, from the master, which reaches them.
function mitx.smoke_test(list)
  for _, one in ipairs(apps_of(list)) do
    for _, url in ipairs(env.smoke) do
      env.hosts.salt:read { "curl", "--silent", "--show-error", "--fail", "--max-time", "20", "--output", "/dev/null",
        "--connect-to", ("::%s:"):format(one.address), url }
    end
  end
end

local MIGRATE = { "cmd.run_all", "/edx/bin/edxapp-migrate-lms && /edx/bin/edxapp-migrate-cms", "python_shell=True" }

--- Migrates the databases: of each purpose on one new instance.
function mitx.migrate(list)
  local done = {}
  for _, one in ipairs(apps_of(list)) do
    if not done[one.purpose] then salt.call(env.hosts.salt, { one.name }, MIGRATE, { timeout = 4 * 3600 }) end
    done[one.purpose] = true
  end
end

--- A name for a snapshot that none has had.
function mitx.snapshot_name(codename) return ("%s-before-%s-%d"):format(env.database, codename, now() // 1) end

-- ---- texts ----

--- The commits of a branch that another does not hold.
--- @return string
function mitx.patches(repo, upstream, branch)
  local lines = {}
  for i, one in ipairs(git.log(repo, upstream .. ".." .. branch)) do
    lines[i] = ("%s %s (%s)"):format(one.id:sub(1, 10), one.subject, one.author)
  end
  return lines[1] and table.concat(lines, "; ") or "There are none."
end

local NOTICE = [[Residential MITx (%s) is taken down for an upgrade:

    from %s on, for about %d hours

Please post this on 3down. Questions go to %s.]]

--- What 3down is asked to post.
function mitx.notice(starts, hours) return NOTICE:format(table.concat(env.sites, ", "), starts, hours, env.support) end

local PAGE = [[<!doctype html>
<title>Residential MITx is being upgraded</title>
<h1>Residential MITx is being upgraded</h1>
<p>It is down from %s on, for about %d hours. Questions: <a href="mailto:%s">%s</a></p>
]]

--- The page that visitors see meanwhile.
function mitx.page(starts, hours) return PAGE:format(starts, hours, env.support, env.support) end

return mitx
