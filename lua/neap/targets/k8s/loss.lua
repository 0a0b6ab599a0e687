--- What a rollback cannot or must not make again of what is deleted in a cluster.
local kinds  = require "neap.targets.k8s.kinds"

local losses = {}

--- With these goes what stands in no object.
local GOES_WITH = {
  Namespace                = "with a namespace goes all that is in it",
  CustomResourceDefinition = "with a definition go all objects of its kind",
  PersistentVolumeClaim    = "with a claim may go the volume and its data",
  PersistentVolume         = "with a volume may go its data",
}

local function owner_of(object)
  for _, one in ipairs(object.metadata.ownerReferences or {}) do
    if one.controller == true then return ("%s/%s"):format(tostring(one.kind):lower(), tostring(one.name)) end
  end
end

--- The options of the change that deletes an object: its author's, else what its kind calls for.
--- @param target neap.k8s.target
--- @param options { keep?: string, irreversible?: string, timeout?: number }  is altered
--- @return table
function losses.options(target, options)
  if options.keep or options.irreversible then return options end
  options.irreversible = GOES_WITH[target.kind]
  if target.kind == "Job" then options.keep = "made again it would run again" end
  local object = not options.irreversible and kinds.read(target)
  local owner = object and owner_of(object)
  if owner then options.keep = ("%s makes another"):format(owner) end
  return options
end

return losses
