--- Clusters of Kubernetes as an environment describes them.
local near = require "neap.near"

local clusters = {}

local KEYS = { "context", "expect_version", "kubeconfig", "namespace", "via" }

local function is_key(name)
  for _, known in ipairs(KEYS) do
    if known == name then return true end
  end
  return false
end

local function is_later(value) return type(value) == "string" and value:find "%$%(" ~= nil end

--- What is wrong with an entry, and with which key of it.
local function mistake_of(entry, hosts)
  if type(entry) ~= "table" or #entry > 0 then return "is a map, as in { context: NAME }" end
  for key in pairs(entry) do
    if not is_key(key) then
      local question = near.question(tostring(key), KEYS)
      return ("has no key '%s'.%s Keys are %s"):format(key, question, table.concat(KEYS, ", ")), key
    end
  end
  if not entry.context then return "has no context: one of a kubeconfig, or in-cluster" end
  if entry.via and not is_later(entry.via) and not hosts[entry.via] then
    local name = tostring(entry.via)
    return ("is reached by '%s', which is no host%s"):format(name, near.hint(name, hosts)), "via"
  end
end

--- Complains of the first entry that is none.
--- @param env neap.environment
--- @param complain fun(origin: neap.origin, message: string, ...: any)
function clusters.check(env, complain)
  for name, entry in pairs(env.clusters) do
    local message, key = mistake_of(entry, env.hosts)
    local path = "clusters." .. name
    if message then
      complain(key and env.origins[path .. "." .. key] or env.origins[path], "cluster '%s' %s", name, message)
    end
  end
end

return clusters
