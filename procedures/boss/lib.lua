-- What the procedures of BOSS share: boss-manage and its programs, stacks, images, the mailing list.
local boss = {}

local function bin(repo) return git.path(repo, "bin") end

--- A program of boss-manage, in its folder, on the jump server.
--- @param repo table   of the environment's repositories
--- @param argv string[]
--- @param options table  as of host:run
function boss.run(repo, argv, options)
  options.cwd = bin(repo)
  return env.hosts["local"]:run(argv, options)
end

--- Tags the newest of a branch, and merges it into master, both at the remote, too.
function boss.tag(repo, tag, branch)
  git.checkout(repo, "master")
  git.pull(repo)
  git.checkout(repo, branch)
  git.pull(repo)
  git.tag(repo, tag, branch)
  git.push(repo, tag)
  git.checkout(repo, "master")
  git.merge(repo, branch)
  git.push(repo, "master")
  git.checkout(repo, branch)
end

--- Has the release in service in a checkout of its own, with the private files of another one: a rollback runs its
--- programs.
--- @param former table
--- @param tag string
--- @param repo table
function boss.have_beside(former, tag, repo)
  git.clone(former)
  git.checkout(former, "refs/tags/" .. tag)
  for _, name in ipairs(env.private) do
    local parent = git.path(former, name:match "^(.*)/" or ".")
    if not file.exists("local", parent) then file.directory("local", parent) end
    file.copy_tree("local", git.path(repo, name), "local", git.path(former, name))
  end
end

--- Exports what an account has of IAM into the files of boss-manage. Returns how they differ from what is committed.
--- @param repo table
--- @param profile string
--- @return string
function boss.export_iam(repo, profile)
  for _, kind in ipairs { "groups", "roles", "policies" } do
    boss.run(repo, { "./iam_utils.py", env.bosslet, "export", kind }, { env = { AWS_PROFILE = profile },
      undo = { "git", "checkout", "--", ("../config/iam/%s.json"):format(kind) } })
  end
  return env.hosts["local"]:read({ "git", "diff", "--", "config/iam" }, { cwd = git.path(repo, ".") })
end

--- @param host table
--- @param name string
--- @return boolean
function boss.has_program(host, name)
  return host:read({ "sh", "-c", 'command -v "$1" || true', "has", name }) ~= ""
end

-- ---- stacks ----

--- production.boss, core: CoreProductionBoss.
local function stack_name(config)
  return ((config .. "." .. env.bosslet):gsub("(%w)(%w*)%.?", function(first, rest) return first:upper() .. rest end))
end

-- In a copy, so that the checkout stays as it is: programs of boss-manage write their templates into their own folder.
local GENERATE = [=[
set -eu
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -a "$1/." "$copy"
cd "$copy"
git fetch -q origin
git checkout -q --force --detach "$2"
bosslet=$3 scenario=$4
shift 4
./bin/cloudformation.py generate "$bosslet" --scenario "$scenario" "$@" >&2
cd cloud_formation/templates
for file in *.template *.arguments; do printf '%s %s\n' "$(wc -c <"$file")" "$file"; cat "$file"; done
]=]

--- The files that the script printed, by name.
local function parse(text)
  local files, at = {}, 1
  while at <= #text do
    local size, name, begin = text:match("^(%d+) ([^\n]+)\n()", at)
    files[name], at = text:sub(begin, begin + size - 1), begin + size
  end
  return files
end

--- What a template lets AWS keep to itself: neap leaves such a parameter as it is.
local function given(template, arguments)
  local hidden, map = json.parse(template).Parameters or {}, {}
  for _, one in ipairs(json.parse(arguments)) do
    local parameter = hidden[one.ParameterKey] or {}
    if tostring(parameter.NoEcho) ~= "true" then map[one.ParameterKey] = one.ParameterValue end
  end
  return map
end

--- The tags of a stack, which say of which commit it was made.
local function tags_of(name)
  local tags = {}
  for _, one in ipairs(aws.client("cloudformation"):DescribeStacks({ StackName = name }).Stacks[1].Tags or {}) do
    tags[one.Key] = one.Value
  end
  return tags
end

-- neap: allow(declared-read) git ls-remote
local newest = effect.read("boss.newest", function(target)
  local said = host.exec("local", { "git", "-C", target.remote_of, "ls-remote", "origin", target.ref },
    -- neap: allow(declared-read) git ls-remote
    { reads = true, timeout = 120 }).out
  return said:match "^%x+" or fail(("the remote of %s has no %s"):format(target.remote_of, target.ref))
end)

-- neap: allow(declared-read) it works in a copy, which it removes
local generate = effect.read("boss.templates", function(target)
  local argv = { "sh", "-c", GENERATE, "generate", target.checkout, target.revision, target.bosslet, target.scenario }
  table.move(target.configs, 1, #target.configs, #argv + 1, argv)
  -- neap: allow(declared-read) it works in a copy, which it removes
  local files, stacks = parse(host.exec("local", argv, { reads = true, timeout = 600 }).out), {}
  for i, config in ipairs(target.configs) do
    local template = files[target.names[i] .. ".template"] or fail("no template was made for " .. config)
    local tags = tags_of(target.names[i])
    stacks[config] = { template = template, parameters = given(template, files[target.names[i] .. ".arguments"]),
      tags = tags, is_deployed = tags.Commit == target.revision }
    tags.Commit = target.revision
  end
  return stacks
end)

--- What the stacks are to be by the newest of a branch of boss-manage, by configuration, and whether they are so
--- already.
--- @param repo table
--- @param branch string
--- @param configs string[]
--- @return table<string, { template: string, parameters: table, tags: table, is_deployed: boolean }>
function boss.templates(repo, branch, configs)
  local names = {}
  for i, config in ipairs(configs) do names[i] = stack_name(config) end
  local revision = newest { remote_of = git.path(repo, "."), ref = "refs/heads/" .. branch }
  return generate { checkout = git.path(repo, "."), revision = revision, bosslet = env.bosslet,
    scenario = env.scenario, configs = configs, names = names }
end

local OPTIONS = { capabilities = { "CAPABILITY_NAMED_IAM" } }

local function of_aws(stack) return { template = stack.template, parameters = stack.parameters, tags = stack.tags } end

--- Has CloudFormation say what the update of a stack would change; one that would lose data is refused.
--- @return string[]
function boss.preview(config, stack) return cloudformation.preview(stack_name(config), of_aws(stack), OPTIONS) end

--- Updates a stack, by a change set that is looked at first. A rollback brings the former template and parameters back.
function boss.update(config, stack) cloudformation.stack(stack_name(config), of_aws(stack), OPTIONS) end

--- The same, where AWS may refuse, as it does with another size of a cache: it has taken its own update back by then.
--- @return string? why  nil where the stack was updated
function boss.try_update(config, stack)
  local ok, failure = pcall(boss.update, config, stack)
  if ok then return nil end
  if type(failure) == "table" and failure.code == "UPDATE_ROLLBACK_COMPLETE" then return failure.message end
  return error(failure, 0)
end

--- Deletes a stack, and makes it again as it is to be.
function boss.make_anew(config, stack)
  cloudformation.delete(stack_name(config))
  cloudformation.stack(stack_name(config), of_aws(stack), OPTIONS)
end

-- ---- stacks with functions: boss-manage builds those, beside what CloudFormation does ----

-- It asks whether functions shall be built anew.
local YES = 'yes | "$0" "$@"'

local function call(program, verb, config)
  return { "sh", "-c", YES, program, verb, env.bosslet, config, "--disable-preview" }
end

local function script(verb, config) return call("./cloudformation.py", verb, config) end

--- The same by the release in service, which a rollback calls.
local function former(verb, config, release)
  local argv = call(bin(env.repositories.former) .. "/cloudformation.py", verb, config)
  if verb ~= "delete" then table.move({ "--ami-version", release }, 1, 2, #argv + 1, argv) end
  return argv
end

--- Whether a failure is that of a function which no stack has made yet.
local function is_new_function(failure)
  local said = type(failure) == "table" and (failure.output or "") .. failure.message or ""
  return said:find("ResourceNotFoundException", 1, true) ~= nil
end

--- Updates a stack and its functions; a rollback does so by the release in service, with its images. Returns whether it
--- has to be made anew, as it has a function that never was.
--- @return boolean
function boss.update_with_functions(config, release)
  local ok, failure = pcall(boss.run, env.repositories.boss_manage, script("update", config),
    { undo = former("update", config, release), timeout = 3600 })
  if ok or is_new_function(failure) then return not ok end
  return error(failure, 0)
end

--- Deletes a stack and its functions, and makes them again.
function boss.make_functions_anew(config, release)
  local repo = env.repositories.boss_manage
  boss.run(repo, script("delete", config), { undo = former("create", config, release), timeout = 3600 })
  boss.run(repo, script("create", config), { undo = former("delete", config, release), timeout = 3600 })
end

-- ---- Vault ----

-- neap: allow(declared-read) Vault is read, and what it says goes nowhere
local vault_has = effect.read("boss.vault_has", function(target)
  local found = host.exec("local", { "./bastion.py", target.vault, "vault-read", target.path },
    -- neap: allow(declared-read) Vault is read, and what it says goes nowhere
    { cwd = target.folder, reads = true, timeout = 120 }).out
  return found:find("['\"]" .. target.key .. "['\"]%s*:") ~= nil
end)

--- Whether Vault answers and has a value there. It is shown to nobody and stands in no journal.
--- @return boolean
function boss.vault_has(path, key)
  return vault_has { vault = "vault." .. env.bosslet, path = path, key = key,
    folder = bin(env.repositories.boss_manage) }
end

--- Saves all that Vault has, in a file of the jump server that is its owner's alone.
function boss.export_vault(path)
  boss.run(env.repositories.boss_manage, { "sh", "-c", 'umask 077; exec ./bastion.py "$1" vault-export "$2"', "export",
    "vault." .. env.bosslet, path }, { keep = "a backup of Vault", timeout = 600 })
end

-- ---- images ----

-- neap: allow(declared-read) DescribeImages alone
local find_images = effect.read("boss.images", function(target)
  local list, found = {}, aws.client("ec2", { profile = target.profile }):DescribeImages({ Owners = { "self" },
    Filters = { { Name = "name", Values = { target.pattern } } } })
  for i, one in ipairs(found.Images or {}) do
    list[i] = { id = one.ImageId, name = one.Name, made = one.CreationDate }
  end
  table.sort(list, function(a, b) return a.made .. a.name < b.made .. b.name end)
  return list
end)

local function images(machine, version, profile)
  return find_images { pattern = ("%s.boss-%s"):format(machine, version), profile = profile }
end

--- Whether all these machines have an image of that name.
function boss.has_images(machines, label, profile)
  for _, machine in ipairs(machines) do
    if not images(machine, label, profile)[1] then return false end
  end
  return true
end

--- Builds images of machines of a bosslet by packer, which stops at the first that is there already.
--- @param bosslet string
--- @param machines string[]
--- @param label? string  they are named by it, and those that have such an image are left out; else by the commit
function boss.build_images(bosslet, machines, label)
  local argv = { "./packer.py", bosslet }
  local count = #argv
  for _, machine in ipairs(machines) do
    if not label or not images(machine, label)[1] then argv[#argv + 1] = machine end
  end
  if #argv == count then return end
  if label then table.move({ "--name", label }, 1, 2, #argv + 1, argv) end
  boss.run(env.repositories.boss_manage, argv, { keep = "images that no stack uses harm nobody", timeout = 4 * 3600 })
end

--- Labels the newest image of a machine that is named by a commit, unless the label is there.
--- @param machine string
--- @param label string  "sprint19"
--- @param profile? string  of another account
function boss.label_image(machine, label, profile)
  if images(machine, label, profile)[1] then return end
  local built = images(machine, "h*", profile)
  if not built[1] then fail(("there is no image of %s that is named by a commit"):format(machine)) end
  ec2.image(("%s.boss-%s"):format(machine, label), { image = built[#built].id, from = env.region },
    { profile = profile })
end

-- ---- the mailing list ----

-- A read of its own, for no other change of this account is one of whom the list tells.
-- neap: allow(declared-read) lists alone
local find_list = effect.read("boss.mailing_list", function(target)
  for _, one in ipairs(aws.client("sns"):all("ListTopics", {})) do
    if one.TopicArn:match "[^:]+$" == target.topic then
      return { topic = one.TopicArn, told = sns.subscriptions(one.TopicArn) }
    end
  end
  return fail(("there is no topic %s"):format(target.topic))
end)

--- Takes away whoever the mailing list tells, but for one. Who has not confirmed yet is not told, and stays.
--- @param mine string  the address that stays
--- @return { topic: string, others: table[] }  for boss.subscribe
function boss.unsubscribe_others(mine)
  local list, others, is_mine = find_list { topic = env.mailing_topic }, {}, false
  for _, one in ipairs(list.told) do
    if one.endpoint == mine then is_mine = one.confirmed
    elseif one.confirmed then others[#others + 1] = one end
  end
  if not is_mine then fail(mine .. " is not told by the mailing list", "subscribe it, and confirm that") end
  for _, one in ipairs(others) do sns.unsubscribe(list.topic, one.protocol, one.endpoint) end
  return { topic = list.topic, others = others }
end

--- Lets the mailing list tell them again, as it did.
--- @param list { topic: string, others: table[] }
function boss.subscribe(list)
  for _, one in ipairs(list.others) do
    sns.subscribe(list.topic, one.protocol, one.endpoint,
      { raw = one.raw, filter = one.filter, filter_scope = one.filter_scope, redrive = one.redrive })
  end
end

-- ---- the cache ----

--- Keys of cuboids that still have to be written.
--- @return string
function boss.unwritten_cuboids()
  return env.hosts.endpoint:read { "redis-cli", "-h", env.cache, "-n", "0", "--scan", "--pattern", "WRITE-CUBOID*" }
end

return boss
