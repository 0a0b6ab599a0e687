--- Environments: YAML files that inherit from one another, merged into plain tables. Every value knows the line that
--- gave it, and what it replaced.
local clusters   = require "neap.clusters"
local databases  = require "neap.databases"
local deployed   = require "neap.deployed"
local fault      = require "native.error"
local fs         = require "native.fs"
local json       = require "native.json"
local yaml       = require "native.yaml"
local groups     = require "neap.groups"
local near       = require "neap.near"
local repository = require "neap.repository"
local secrets    = require "neap.secrets"
local ordered    = require "neap.ordered"

local environment = {}

local SECTIONS = { "extends", "hosts", "databases", "clusters", "aws", "repositories", "values", "secrets", "policy",
                   "notify" }
local HOST_KEYS = { "name", "ssh", "address", "user", "port", "become", "later" }
local REPOSITORY_KEYS = { "git", "remote", "branch", "on", "become" }
local GROUP_KEYS = { "from", "hosts", "match", "command", "expect", "user", "port", "become" }
local SOURCES = { static = "hosts", ssh_config = "match", command = "command" }
local POLICY_KEYS = { "allow_exec", "approvals", "cloudformation", "colour", "freeze", "guard", "on_conflict",
                      "on_failure", "opaque", "point_of_no_return", "rehearsed", "rehearsed_within", "window" }
local CHOICES = {
  on_failure         = { "stop", "rollback" },
  on_conflict        = { "stop", "keep", "overwrite" },
  guard              = { "none", "production" },
  point_of_no_return = { "ask", "pass" },
  opaque             = { "allow", "forbid" },
}
local REFERENCE = "%$%(([%w_.%-]+)%)"

--- @class neap.origin
--- @field file string  below the repository
--- @field line integer
--- @field value any  as the file has it
--- @field overrode? neap.origin  what a file it extends had said

--- @class neap.environment
--- @field name string  `<group>/<name>`
--- @field group string
--- @field root string  of its repository
--- @field hosts table<string, table>  a host, or a list of hosts; members of lists also under their own names
--- @field databases table<string, table>  as neap.databases keeps them
--- @field clusters table
--- @field aws table
--- @field repositories table
--- @field values table
--- @field secrets table<string, string>  references only
--- @field policy table
--- @field notify table
--- @field files table<string, string>  bytes of each file it was made from, by path below the repository
--- @field origins table<string, neap.origin>  by dotted key, as in "hosts.proxies.1.ssh"
--- @field unread? table<string, string>  values that are to be read elsewhere and could not be, by name: why
--- @field sections table<string, table>  as the files have them, references resolved as far as known
--- @field tree table  the same before that

local function complain(origin, message, ...)
  fault.raise {
    kind = "protocol", message = message:format(...),
    where = origin and ("%s:%d: "):format(origin.file, origin.line) or "",
  }
end

local function is_map(value) return type(value) == "table" and #value == 0 end

local function join(path, key) return path == "" and tostring(key) or path .. "." .. tostring(key) end

-- Reading: a file and those it extends, the outermost first.

local function check_rights(path)
  local found = fs.stat(path)
  if not found then fault.raise { kind = "missing", message = "no file " .. path } end
  if tonumber(found.mode, 8) & 2 ~= 0 then
    fault.raise {
      kind = "denied", message = ("everybody may write to %s (mode %s)"):format(path, found.mode),
      hint = "chmod o-w " .. path,
    }
  end
end

local function below(root, path)
  if path:sub(1, #root + 1) ~= root .. "/" then
    fault.raise { kind = "denied", message = ("%s lies outside the repository %s"):format(path, root) }
  end
  return path:sub(#root + 2)
end

local function extended_file(layer, path)
  local base = layer.tree.extends
  if base == nil then return nil end
  local line = { file = layer.file, line = layer.lines.extends or 1 }
  if type(base) ~= "string" then complain(line, "extends names one file, as in base.yml") end
  local file = path:match("^(.*)/[^/]*$") .. "/" .. base
  if not fs.exists(file) then complain(line, "it extends %s, which is not there", base) end
  return fs.realpath(file), line
end

--- Adds the layers of `path` to the list, those it extends first.
local function read_layers(root, path, layers, above)
  check_rights(path)
  local layer = { file = below(root, path), text = fs.read(path) }
  layer.tree, layer.lines = yaml.parse(layer.text, { name = layer.file, typed = false })
  if layer.tree == nil or layer.tree == json.null then layer.tree = {} end
  if not is_map(layer.tree) then complain({ file = layer.file, line = 1 }, "an environment is a map of sections") end
  above[path] = true
  local base, line = extended_file(layer, path)
  if base and above[base] then complain(line, "these files extend one another in a circle") end
  if base then read_layers(root, base, layers, above) end
  layers[#layers + 1] = layer
  return layers
end

-- Merging: maps deeply, lists and texts as a whole; an empty value takes away what was inherited.

local function forget(origins, path)
  local prefix = path .. "."
  for key in pairs(origins) do
    if key:sub(1, #prefix) == prefix then origins[key] = nil end
  end
end

local merge

--- Keeps a list or text, and where it and each of its parts came from.
local function place(layer, value, path, origins)
  local before = origins[path]
  forget(origins, path)
  origins[path] = { file = layer.file, line = layer.lines[path] or 1, value = value, overrode = before }
  if type(value) ~= "table" then return value end
  local copy = {}
  for _, key in ipairs(ordered.keys(value)) do copy[key] = place(layer, value[key], join(path, key), origins) end
  return copy
end

function merge(into, layer, map, path, origins)
  for _, key in ipairs(ordered.keys(map)) do
    local value, here = map[key], join(path, key)
    if value == json.null then
      into[key], origins[here] = nil, nil
      forget(origins, here)
    elseif is_map(value) and is_map(into[key]) then
      merge(into[key], layer, value, here, origins)
    elseif is_map(value) then
      into[key] = {}
      origins[here] = { file = layer.file, line = layer.lines[here] or 1, value = value, overrode = origins[here] }
      merge(into[key], layer, value, here, origins)
    else
      into[key] = place(layer, value, here, origins)
    end
  end
end

-- Checking: a wrong key in a file that is read at night must not pass as nothing.

local function check_key(env, path, key, known, what)
  for _, name in ipairs(known) do
    if name == key then return end
  end
  complain(env.origins[path], "%s has no key '%s'.%s Keys are %s", what, key, near.question(tostring(key), known),
    table.concat(known, ", "))
end

local function is_reference(text) return type(text) == "string" and text:find(REFERENCE) ~= nil end

--- The keys of what a policy says in several words.
local POLICY_PARTS = {
  approvals = { "allowed_signers", "need", "not_runner" },
  rehearsed = { "in", "within" },
  window    = { "days", "from", "to", "zone" },
}

local function check_part(env, path, part, known)
  if not is_map(part) then complain(env.origins[path], "%s is a map of %s", path, table.concat(known, ", ")) end
  for _, key in ipairs(ordered.keys(part)) do check_key(env, path .. "." .. key, key, known, path) end
end

local function check_policy(env)
  for _, key in ipairs(ordered.keys(env.policy)) do
    local path, value = "policy." .. key, env.policy[key]
    check_key(env, path, key, POLICY_KEYS, "policy")
    if POLICY_PARTS[key] then check_part(env, path, value, POLICY_PARTS[key]) end
    local allowed = CHOICES[key] and table.concat(CHOICES[key], ", ")
    if allowed and not (", " .. allowed .. ","):find(", " .. tostring(value) .. ",", 1, true) then
      complain(env.origins[path], "policy.%s is '%s'; it may be %s", key, tostring(value), allowed)
    end
  end
end

--- A window that is none, or a demand for rehearsals, is found here, not on the night it is for.
local function check_demand(env, read, ...)
  local ok, failure = pcall(read, env.policy)
  if ok then return end
  local origin
  for _, key in ipairs { ... } do origin = origin or env.origins["policy." .. key] end
  complain(origin, "%s", fault.is(failure) and failure.message or tostring(failure))
end

local function check_demands(env)
  check_demand(env, require "neap.engine.window".of, "window", "freeze")
  check_demand(env, require "neap.engine.rehearsed".demand, "rehearsed", "rehearsed_within")
end

local function check_sections(env)
  for _, key in ipairs(ordered.keys(env.tree)) do
    check_key(env, key, key, SECTIONS, "an environment")
    local section = env.tree[key]
    if key ~= "extends" and type(section) ~= "table" then complain(env.origins[key], "%s is a map", key) end
  end
end

-- References: $(name) is a value, else an argument of the run.

local resolve_text

local function lookup(values, name)
  local value = values
  for part in name:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[part] or value[tonumber(part)]
  end
  return value
end

--- What `$(name)` stands for, itself resolved; nil where nothing has that name.
local function resolve_name(state, name, path)
  local value, origin = lookup(state.env.tree.values or {}, name), state.env.origins[path]
  if name:find "^secrets%." then
    complain(origin, "$(%s) would make a secret a value that everybody reads: a step takes it from env.%s", name, name)
  end
  if value == nil then
    if state.arguments[name] ~= nil then
      state.env.from_arguments[name] = true
      return state.arguments[name]
    end
    if state.partial then return nil end
    local known = ordered.keys(state.env.tree.values or {})
    for argument in pairs(state.arguments) do known[#known + 1] = argument end
    return complain(origin, "$(%s) is neither a value nor an argument of the run.%s", name, near.question(name, known))
  end
  if state.within[name] then complain(origin, "$(%s) refers to itself", name) end
  state.within[name] = true
  value = resolve_text(state, value, "values." .. name)
  state.within[name] = nil
  return value
end

local function resolve_part(state, name, path)
  local value = resolve_name(state, name, path)
  if type(value) == "table" then
    complain(state.env.origins[path], "$(%s) is a list or a map, and stands within a text", name)
  end
  return value and tostring(value)
end

--- What a value is that says where it is to be read; where that cannot be, itself.
local function read_deployed(state, value)
  if state.partial or not deployed.is_reference(value) then return value end
  local ok, found = pcall(deployed.value, value, state.env.tree.repositories or {})
  if ok then return found end
  if not fault.is(found) then error(found, 0) end
  state.unread[value] = found.message
  return value
end

--- What is said of the text that a value holds; of the longest, for one may be the beginning of another.
local function holds_one(value, texts)
  if type(value) == "string" then
    local longest
    for text in pairs(texts) do
      if value:find(text, 1, true) and (not longest or #text > #longest) then longest = text end
    end
    return longest and texts[longest]
  elseif type(value) == "table" then
    for _, each in pairs(value) do
      local why = holds_one(each, texts)
      if why then return why end
    end
  end
end

--- Values that are wanted only by some procedures stop only those.
local function note_unread(state)
  if not next(state.unread) then return end
  local unread = {}
  for name, value in pairs(state.env.values) do unread[name] = holds_one(value, state.unread) end
  state.env.unread = unread
end

--- Resolves every reference within a text, list or map. A text that is one reference and nothing else takes the
--- value as it is, list or map included.
function resolve_text(state, value, path)
  if type(value) == "table" then
    local copy = {}
    for _, key in ipairs(ordered.keys(value)) do copy[key] = resolve_text(state, value[key], join(path, key)) end
    return copy
  end
  if type(value) ~= "string" then return value end
  local whole = value:match("^" .. REFERENCE .. "$")
  if whole then
    local resolved = resolve_name(state, whole, path)
    if resolved == nil then return value end
    return resolved
  end
  value = value:gsub(REFERENCE, function(name) return resolve_part(state, name, path) end)
  return path:find("^values%.") and read_deployed(state, value) or value
end

-- Hosts: one, or a list of some; each known by its name.

local function checked_host(env, entry, path, name)
  if not is_map(entry) then complain(env.origins[path], "host '%s' is a map, as in { ssh: ADDRESS }", name) end
  local host = { name = name }
  for _, key in ipairs(ordered.keys(entry)) do
    check_key(env, join(path, key), key, HOST_KEYS, ("host '%s'"):format(name))
    host[key] = entry[key]
  end
  local port = host.port
  if port and not is_reference(port) then
    host.port = math.tointeger(tonumber(port))
    if not host.port then complain(env.origins[path .. ".port"], "port of host '%s' is no number: %s", name, port) end
  end
  if not host.ssh then
    complain(env.origins[path], "host '%s' has no ssh: an address or an alias of ssh_config", name)
  end
  return host
end

local function add_host(env, hosts, host, path)
  local name = host.name
  if name == "local" then complain(env.origins[path], "'local' is this machine and always there") end
  if hosts[name] then complain(env.origins[path], "two hosts or groups are called '%s'", name) end
  hosts[name] = host
  return host
end

--- Hosts that a group spells out are known by their names as any other.
local function add_members(env, hosts, group, path)
  if type(group) ~= "table" then
    complain(env.origins[path], "'%s' is a host or a list of hosts", path:match "[^.]*$")
  end
  for index, entry in ipairs(group) do
    local here = join(path, index)
    if type(entry) ~= "string" then
      if not is_map(entry) or not entry.name then
        complain(env.origins[here], "a host of a group needs a name, as in { name: proxy1, ssh: ADDRESS }")
      end
      add_host(env, hosts, checked_host(env, entry, here, entry.name), here)
    end
  end
end

local function group_of(env, hosts, entries, path)
  local group = {}
  for index, entry in ipairs(entries) do
    local name = type(entry) == "string" and entry or entry.name
    if not hosts[name] then
      complain(env.origins[join(path, index)], "no host '%s'%s", name, near.hint(name, hosts))
    end
    group[index] = hosts[name]
  end
  return group
end

local function is_group(entry) return is_map(entry) and (entry.from ~= nil or entry.expect ~= nil) end

--- A group that says where its hosts come from, with the key that this source asks for.
local function check_group(env, entry, path, name)
  for _, key in ipairs(ordered.keys(entry)) do
    check_key(env, join(path, key), key, GROUP_KEYS, ("group '%s'"):format(name))
  end
  local needed = SOURCES[entry.from]
  if not needed then
    complain(env.origins[path], "group '%s' comes from: static, ssh_config or command, not '%s'", name,
      tostring(entry.from))
  end
  if entry[needed] == nil then
    complain(env.origins[path], "group '%s' comes from %s and lacks %s", name, entry.from, needed)
  end
end

--- The entries of a group; nil where it can be known only when a run begins.
local function entries_of(env, entry, partial)
  if entry.from == "static" then return entry.hosts end
  if partial then return nil end
  local found = entry.from == "command" and groups.of_command(entry.command, env.policy.allow_exec)
    or groups.of_ssh_config(entry.match)
  for _, host in ipairs(found) do host.user, host.port, host.become = entry.user, entry.port, entry.become end
  return found
end

--- How many there must be is a safeguard against a source that has lost its hosts, or found too many.
local function check_expected(env, entry, count, path, name)
  local expect = entry.expect or {}
  for _, key in ipairs(ordered.keys(expect)) do
    check_key(env, path .. ".expect", key, { "min", "max" }, ("expect of group '%s'"):format(name))
  end
  local least, most = tonumber(expect.min or 0), tonumber(expect.max or math.huge)
  if not least or not most then complain(env.origins[path], "expect of group '%s' takes numbers", name) end
  if count >= least and count <= most then return end
  complain(env.origins[path .. ".expect"] or env.origins[path], "group '%s': %d found, expected are %s", name, count,
    most == math.huge and ("at least %d"):format(least) or ("%d to %d"):format(least, most))
end

--- The list of a group, spelt out or found; empty where it can be known only when a run begins.
local function list_of(env, entry, path, name, partial)
  if not is_group(entry) then return entry, path end
  check_group(env, entry, path, name)
  local list = entries_of(env, entry, partial)
  if list then check_expected(env, entry, #list, path, name) end
  return list or {}, path .. ".hosts"
end

local function build_hosts(env, tree, partial)
  local hosts, names, lists, paths = {}, {}, {}, {}
  for _, name in ipairs(ordered.keys(tree)) do
    local path = "hosts." .. name
    if is_map(tree[name]) and not is_group(tree[name]) then
      add_host(env, hosts, checked_host(env, tree[name], path, name), path)
    else
      names[#names + 1] = name
      lists[name], paths[name] = list_of(env, tree[name], path, name, partial)
    end
  end
  for _, name in ipairs(names) do add_members(env, hosts, lists[name], paths[name]) end
  for _, name in ipairs(names) do lists[name] = group_of(env, hosts, lists[name], paths[name]) end
  for _, name in ipairs(names) do
    add_host(env, hosts, { name = name }, "hosts." .. name)
    hosts[name] = lists[name]
  end
  hosts["local"] = { name = "local" }
  return hosts
end

local function check_secrets(env)
  for _, name in ipairs(ordered.keys(env.secrets)) do
    local path, reference = "secrets." .. name, env.secrets[name]
    if not tostring(name):find "^[%a_][%w_]*$" then complain(env.origins[path], "secrets: %q is no name", name) end
    local ok, failure = pcall(secrets.parse, reference)
    if not ok and not fault.is(failure) then error(failure, 0) end
    if not ok and not is_reference(reference) then
      complain(env.origins[path], "secret '%s': %s; it is %s", name, failure.message, failure.hint)
    end
  end
end

local function check_aws(env)
  local message, key = require "neap.aws_section".mistake(env.aws)
  if message then complain(env.origins["aws." .. key], "%s", message) end
end

local function build_databases(env, tree)
  local built = {}
  for _, name in ipairs(ordered.keys(tree)) do
    local path, message, key = "databases." .. name
    built[name], message, key = databases.build(name, tree[name], env.hosts)
    if message then complain(env.origins[key and join(path, key)] or env.origins[path], "%s", message) end
  end
  return built
end

-- Repositories: where on which host they lie.

local function check_repository(env, name, entry)
  local path = "repositories." .. name
  local what = ("repository '%s'"):format(name)
  if not is_map(entry) then complain(env.origins[path], "%s is a map, as in { git: ~/git/NAME }", what) end
  check_part(env, path, entry, REPOSITORY_KEYS)
  local folder = entry.git
  if type(folder) ~= "string" or not (is_reference(folder) or folder:find "^~?/[^/]") then
    complain(env.origins[path .. ".git"] or env.origins[path], "%s lacks git: its folder, absolute or below ~/", what)
  end
  local host = entry.on or "local"
  if is_reference(host) then return end
  if not env.hosts[host] then
    complain(env.origins[path .. ".on"], "%s lies on '%s', which is no host%s", what, tostring(host),
      near.hint(host, env.hosts))
  elseif not env.hosts[host].name then
    complain(env.origins[path .. ".on"], "%s lies on '%s', which is a group of hosts", what, host)
  end
end

local function build_repositories(env)
  local repositories = {}
  for _, name in ipairs(ordered.keys(env.repositories)) do
    check_repository(env, name, env.repositories[name])
    repositories[name] = { name = name }
    for key, value in pairs(env.repositories[name]) do repositories[name][key] = value end
  end
  return repositories
end

local function build(env, arguments, partial)
  local state = { env = env, arguments = arguments, partial = partial, within = {}, unread = {} }
  env.sections, env.from_arguments = {}, {}
  for _, section in ipairs(SECTIONS) do
    if section ~= "extends" then env.sections[section] = resolve_text(state, env.tree[section] or {}, section) end
    env[section] = env.sections[section]
  end
  note_unread(state)
  check_policy(env)
  check_demands(env)
  check_secrets(env)
  check_aws(env)
  local mistake = require "neap.engine.notify".mistake(env.notify)
  if mistake then complain(env.origins.notify, "%s", mistake) end
  env.hosts = build_hosts(env, env.sections.hosts, partial)
  env.databases = build_databases(env, env.sections.databases)
  env.repositories = build_repositories(env)
  clusters.check(env, complain)
  return env
end

--- Reads an environment and those it extends. References to values are resolved; those to arguments of a run, and to
--- nothing, stay as they are until `resolve`.
--- Raises `missing`, `denied` (a file that everybody may write to), `protocol` with the file's line for what is wrong in it.
--- @param path string  `…/procedures/<group>/environments/<name>.yml`
--- @return neap.environment
function environment.load(path)
  path = fs.exists(path) and fs.realpath(path) or path
  local root, group, name = path:match("^(.*)/procedures/([^/]+)/environments/([^/]+)%.ya?ml$")
  if not root then
    fault.raise {
      kind = "missing", hint = "neap env list",
      message = ("%s is no environment: they lie in procedures/<group>/environments/<name>.yml"):format(path),
    }
  end
  local env = { name = group .. "/" .. name, group = group, root = root, tree = {}, origins = {}, files = {} }
  for _, layer in ipairs(read_layers(root, path, {}, {})) do
    env.files[layer.file] = layer.text
    merge(env.tree, layer, layer.tree, "", env.origins)
  end
  check_sections(env)
  return build(env, {}, true)
end

--- The same environment with every reference resolved, now that the arguments of the run are known. Raises `protocol`
--- for a name that is nothing.
--- @param env neap.environment
--- @param arguments table<string, string|number|boolean>
--- @return neap.environment
function environment.resolve(env, arguments)
  local resolved = { name = env.name, group = env.group, root = env.root, tree = env.tree, origins = env.origins,
    files = env.files }
  return build(resolved, arguments, false)
end

--- Reads the environment that a person means; see `repository.environment`.
--- @param name string  `<group>/<name>`, or `<name>`
--- @param group? string
--- @return neap.environment
function environment.find(name, group)
  return environment.load(repository.environment(name, group).file)
end

--- Where a value came from. Raises `missing`, with the nearest key.
--- @param env neap.environment
--- @param key string  dotted, as in "hosts.old.ssh"; a section may be left out for values
--- @return neap.origin
function environment.origin(env, key)
  local origin = env.origins[key] or env.origins["values." .. key]
  if origin then return origin end
  local guess = near.find(key, ordered.keys(env.origins)) or near.find("values." .. key, ordered.keys(env.origins))
  return fault.raise {
    kind = "missing", hint = "neap env show " .. env.name,
    message = ("%s has no '%s'.%s"):format(env.name, key, guess and (" Did you mean '%s'?"):format(guess) or ""),
  }
end

return environment
