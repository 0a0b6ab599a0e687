--- States of objects as they will be: by the server's dry run where the object is as a plan has it by now, and put together
--- here where the server cannot know what the plan has changed before.
local client  = require "neap.targets.k8s.client"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local json    = require "native.json"
local kinds   = require "neap.targets.k8s.kinds"
local ordered = require "neap.ordered"
local secret  = require "native.secret"
local state   = require "neap.targets.k8s.state"

local plans = {}

-- ---- kinds that are defined in the same run ----

local function definitions(cluster)
  local run = hosts.run()
  run.connections["kubernetes definitions"] = run.connections["kubernetes definitions"]
    or { close = function() end, of = {} }
  local of = run.connections["kubernetes definitions"].of
  of[cluster] = of[cluster] or {}
  return of[cluster]
end

--- Takes down the kinds that a definition among the manifests will make known, and namespaces.
--- @param cluster string
--- @param object table
function plans.note_definition(cluster, object)
  local spec = object.spec
  if object.kind == "Namespace" then definitions(cluster)["Namespace " .. object.metadata.name] = {} end
  if object.kind ~= "CustomResourceDefinition" or type(spec) ~= "table" then return end
  for _, version in ipairs(spec.versions or {}) do
    definitions(cluster)[("%s/%s %s"):format(spec.group, version.name, spec.names.kind)] = {
      api = ("%s/%s"):format(spec.group, version.name), kind = spec.names.kind, resource = spec.names.plural,
      namespaced = spec.scope == "Namespaced", group = spec.group, name = spec.names.plural,
      singularName = spec.names.singular, shortNames = spec.names.shortNames }
  end
end

--- The kind of an object as a definition of this run has it; nil: none has.
--- @param cluster string
--- @param object table
--- @return table?
function plans.defined_kind(cluster, object) return definitions(cluster)[object.apiVersion .. " " .. object.kind] end

--- The kind that a word means, where a definition of this run has it: "coupon", "coupons.shop.test".
--- @param cluster string
--- @param word string
--- @return table?
function plans.defined_as(cluster, word)
  local first, group = word:lower():match "^([^.]+)%.?(.*)$"
  for _, one in pairs(definitions(cluster)) do
    if one.kind and (group == "" or one.group == group) and client.is_called(one, first) then return one end
  end
end

-- ---- what is put together here ----

--- By what lists of these names know their items.
local KEYS = { containers = "name", initContainers = "name", volumes = "name", env = "name", imagePullSecrets = "name",
               volumeMounts = "mountPath", volumeDevices = "devicePath", hostAliases = "ip" }

local function add(fields, path, value)
  local name = path[#path] and path[#path]:match "^f:(.*)$"
  local key = name and KEYS[name]
  if type(value) ~= "table" or secret.is(value) or next(value) == nil or (#value > 0 and not key) then
    fields[json.encode(json.array(path))] = state.encode(value)
    return
  end
  for one, part in pairs(value) do
    local step = #value > 0 and "k:" .. json.encode { [key] = part[key] } or "f:" .. one
    local longer = table.move(path, 1, #path, 1, {})
    longer[#longer + 1] = step
    add(fields, longer, part)
  end
end

--- What an object says, field by field, as far as that can be known without the server.
local function said_by(object)
  local fields = {}
  for key, value in pairs(object) do
    if key ~= "apiVersion" and key ~= "kind" and key ~= "metadata" then add(fields, { "f:" .. key }, value) end
  end
  for _, section in ipairs { "labels", "annotations" } do
    for key, value in pairs(object.metadata[section] or {}) do
      add(fields, { "f:metadata", "f:" .. section, "f:" .. key }, value)
    end
  end
  return fields
end

--- Another's words, and over them neap's; what neap had said before and does not any more is gone.
local function joined(before, fields, own)
  local after = before and state.copy(before) or { fields = {}, own = {} }
  for _, name in ipairs(after.own) do after.fields[name] = nil end
  for name, value in pairs(fields) do after.fields[name] = value end
  after.own = own
  return after
end

-- ---- applying ----

--- The state that applying a manifest leads to as far as that is known without the server, which adds its defaults.
--- @param object table
--- @param before neap.k8s.state?
--- @return neap.k8s.state
function plans.guessed(object, before)
  local fields = said_by(object)
  return joined(before, fields, ordered.keys(fields))
end

--- Whether the plan itself makes the namespace or the kind of an object before it.
local function is_made_before(target)
  local known = definitions(target.cluster)
  return known["Namespace " .. tostring(target.namespace)] ~= nil or known[target.api .. " " .. target.kind] ~= nil
end

--- nil where nobody can be asked: in a trial, and of an object whose namespace or kind the plan makes before it.
local function dry_run(target, body, force)
  if client.is_in_memory(target.cluster) then return nil end
  local ok, found = pcall(kinds.dry_run, target, body, force)
  if ok then return found end
  if fault.is(found, "missing") and is_made_before(target) then return nil end
  error(found, 0)
end

--- The state that applying a manifest will lead to.
--- @param target neap.k8s.target
--- @param object table
--- @param before neap.k8s.state?  as the plan has it by now
--- @param force? boolean
--- @return neap.k8s.state
function plans.applied(target, object, before, force)
  local live = state.of(kinds.read(target))
  local as_live = state.same(before, live)
  local found = dry_run(target, state.encode(object), force or not as_live)
  if found and as_live then return found end
  if not found or not before then return plans.guessed(object, before) end
  local fields = {}
  for _, name in ipairs(found.own) do fields[name] = found.fields[name] end
  return joined(before, fields, found.own)
end

-- ---- other changes ----

--- The field that says what lies below it as a whole, such as a selector: its name, and the path from there on.
local function whole_above(before, path)
  for depth = #path - 1, 1, -1 do
    local name = json.encode(json.array(table.move(path, 1, depth, 1, {})))
    local text = before.fields[name]
    if text and not secret.is(text) then return name, table.move(path, depth + 1, #path, 1, {}) end
  end
end

--- The JSON of a map with another value at a path; nil takes it away.
local function with_value(text, path, value)
  local map = json.decode(text)
  local parent = map
  for i = 1, #path - 1 do
    local key = path[i]:sub(3)
    if type(parent[key]) ~= "table" then parent[key] = {} end
    parent = parent[key]
  end
  parent[path[#path]:sub(3)] = value
  return next(map) ~= nil and json.encode(map) or nil
end

--- Takes away whatever is said at a path and below it.
local function silence(state_, path)
  local beginning = json.encode(json.array(path)):sub(1, -2)
  for _, name in ipairs(ordered.keys(state_.fields)) do
    local next_sign = name:sub(#beginning + 1, #beginning + 1)
    if name:sub(1, #beginning) == beginning and (next_sign == "," or next_sign == "]") then
      state_.fields[name] = nil
    end
  end
end

--- A state with one field as it shall be; nil takes it away, and what lies below. Whoever sets a field takes it from who
--- has applied it.
--- @param before neap.k8s.state
--- @param path string[]
--- @param value any
--- @return neap.k8s.state
function plans.with_field(before, path, value)
  local name, text = json.encode(json.array(path)), value ~= nil and state.encode(value) or nil
  local whole, rest = whole_above(before, path)
  if whole then name, text = whole, with_value(before.fields[whole], rest, value) end
  local after = state.copy(before)
  if text == nil and not whole then silence(after, path) end
  after.fields[name] = text
  after.own = {}
  for _, one in ipairs(before.own) do
    if state.same_value(after.fields[one], before.fields[one]) then table.insert(after.own, one) end
  end
  return after
end

local TEMPLATES = { { "f:spec", "f:template", "f:spec" }, { "f:spec" },
                    { "f:spec", "f:jobTemplate", "f:spec", "f:template", "f:spec" } }

local function path_of_image(before, container)
  for _, template in ipairs(TEMPLATES) do
    for _, list in ipairs { "f:containers", "f:initContainers" } do
      local path = table.move(template, 1, #template, 1, {})
      table.move({ list, "k:" .. json.encode { name = container }, "f:image" }, 1, 3, #path + 1, path)
      if before.fields[json.encode(json.array(path))] then return path end
    end
  end
end

--- A state with other images.
--- @param before neap.k8s.state
--- @param images table<string, string>
--- @param shown string  of the target
--- @return neap.k8s.state
function plans.with_images(before, images, shown)
  for container, image in pairs(images) do
    local path = path_of_image(before, container)
    if not path then
      fault.raise { kind = "missing", message = ("%s has no container %q"):format(shown, tostring(container)) }
    end
    before = plans.with_field(before, path, image)
  end
  return before
end

--- A state with the fields of a patch; lists are refused, for whether they are joined or replaced is up to who applies.
--- @param before neap.k8s.state
--- @param patch table
--- @param path string[]
--- @return neap.k8s.state
function plans.patched(before, patch, path)
  for key, value in pairs(patch) do
    if math.type(key) then error("a patch sets fields of maps; lists are for apply", 0) end
    local longer = table.move(path, 1, #path, 1, {})
    longer[#longer + 1] = "f:" .. key
    if type(value) == "table" and not secret.is(value) then
      before = plans.patched(before, value, longer)
    else
      if value == json.null then value = nil end
      before = plans.with_field(before, longer, value)
    end
  end
  return before
end

--- The state that a change comes to: by the server's own dry run where the object is as a plan has it by now, for the
--- server adds defaults, takes some maps as a whole, and refuses what it does not know.
--- @param target neap.k8s.target
--- @param before neap.k8s.state
--- @param wanted neap.k8s.state
--- @return neap.k8s.state
function plans.altered(target, before, wanted)
  if state.same(before, wanted) then return before end
  local live = kinds.read(target)
  if not state.same(before, state.of(live)) then return wanted end
  return kinds.alteration(target, live, wanted)
end

return plans
