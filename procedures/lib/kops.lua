--- kops, on this machine: clusters of Kubernetes that it has made. `which` is { program, cluster, state }.
local kops = {}

local function call(which, words)
  local argv = { which.program, table.unpack(words) }
  return table.move({ "--name", which.cluster, "--state", which.state }, 1, 4, #argv + 1, argv)
end

local function change(which, words, options)
  options.timeout = 3600
  return env.hosts["local"]:run(call(which, words), options)
end

--- Brings a cluster to the version that this kops has. There is no way back.
--- @param which { program: string, cluster: string, state: string }
function kops.upgrade(which)
  change(which, { "upgrade", "cluster", "--yes" }, { irreversible = "kops takes no cluster back to an older version" })
end

--- Has one more machine in the group of nodes than now.
--- @param which { program: string, cluster: string, state: string }
function kops.add_node(which)
  local group = json.parse(env.hosts["local"]:read(call(which, { "get", "instancegroups", "nodes", "-o", "json" })))
  local why = "one machine more harms nobody; take it away by kops"
  group.spec.minSize, group.spec.maxSize = group.spec.minSize + 1, math.max(group.spec.maxSize, group.spec.minSize + 1)
  change(which, { "replace", "-f", "-" }, { input = json.encode(group), keep = why })
  change(which, { "update", "cluster", "--yes" }, { keep = why })
end

return kops
