--- What Secrets of a cluster hold, as secrets.
local client = require "neap.targets.k8s.client"
local crypto = require "native.crypto"
local fault  = require "native.error"
local hosts  = require "neap.targets.connection"
local secret = require "native.secret"

local secrets = {}

local KIND = { api = "v1", kind = "Secret", resource = "secrets", namespaced = true }

--- A Secret with what it holds decoded, each value a secret.
--- @param object table  is altered
--- @return table
function secrets.concealed(object)
  local keys = hosts.run().keys
  for name, value in pairs(object.data or {}) do object.data[name] = secret.literal(crypto.unbase64(value), keys) end
  object.metadata.annotations, object.metadata.managedFields = nil, nil
  return object
end

--- The value of a key of a Secret. Raises `missing`.
--- @param cluster string
--- @param namespace string
--- @param name string
--- @param key string
--- @param source? string  the reference
--- @return native.secret.value
function secrets.value(cluster, namespace, name, key, source)
  local object = client.get(cluster, client.path(KIND, namespace, name))
  local value = object and (object.data or {})[key]
  if value then return secret.literal(crypto.unbase64(value), hosts.run().keys, source) end
  return fault.raise { kind = "missing", host = cluster, message = object
    and ("the secret %s in %s of %s has no key %s"):format(name, namespace, cluster, key)
    or ("there is no secret %s in %s of %s"):format(name, namespace, cluster) }
end

return secrets
