--- Services scaled to no pods for maintenance, in their order, and back to as many as they had.
local quiesce = {}

local DEPLOYMENT = "deployment/"

--- How many pods each of these deployments is to have now, by name. Raises kind `missing` for one that is not there.
--- @param cluster string
--- @param names string[]
--- @return table<string, integer>
function quiesce.counts(cluster, names)
  local counts = {}
  for _, name in ipairs(names) do
    local one = k8s.get(cluster, DEPLOYMENT .. name)
    if not one then fail(("cluster %s has no deployment %s"):format(cluster, name)) end
    counts[name] = one.spec.replicas
  end
  return counts
end

--- Waits until deployments run as many pods as they are to have.
--- @param cluster string
--- @param names string[]
function quiesce.wait(cluster, names)
  for _, name in ipairs(names) do k8s.rollout(cluster, DEPLOYMENT .. name) end
end

--- Scales deployments to no pods, one after the other, and waits until their pods are gone. A rollback gives each as many
--- as it had, and does not wait for them: quiesce.wait does, as the undo of a step before.
--- @param cluster string
--- @param names string[]
function quiesce.down(cluster, names)
  for _, name in ipairs(names) do k8s.scale(cluster, DEPLOYMENT .. name, 0) end
  quiesce.wait(cluster, names)
end

--- Scales deployments, and waits until all their pods run.
--- @param cluster string
--- @param counts table<string, integer>  of quiesce.counts
function quiesce.up(cluster, counts)
  for name, count in pairs(counts) do k8s.scale(cluster, DEPLOYMENT .. name, count) end
  for name in pairs(counts) do k8s.rollout(cluster, DEPLOYMENT .. name) end
end

return quiesce
