--- The state of a Kubernetes object as neap compares, keeps and restores it: what people and their tools have said of it,
--- field by field. What the server and its controllers add by themselves is not part of it. Which field was said by whom
--- the server knows: metadata.managedFields.
local hosts   = require "neap.targets.connection"
local json    = require "native.json"
local ordered = require "neap.ordered"
local secret  = require "native.secret"

local state = {}

--- As whom neap applies.
state.MANAGER = "neap"

--- Annotations of neap's own: whose effect made the object; effects that are shut out; how many replicas an autoscaler had.
state.MADE_BY, state.CLOSED, state.NUMBER = "neap/effect", "neap/closed", "neap/replicas"

local ORDER = "#" -- last part of a path that says in which order a list has its items
local AS_JSON = "\0json" -- of a secret that is JSON already

--- @class neap.k8s.state
--- @field fields table<string, string|native.secret.value>  JSON of each field, by its path: parts as managedFields has
---   them, as a JSON list
--- @field own string[]   paths that neap has applied, sorted
--- @field maker? string  who else has said most of it; what is put back is put back in that name

-- ---- whose fields count ----

local CONTROLLERS = { "^kube%-", "^kubelet$", "^cloud%-controller", "%-controller$", "controller%-manager",
                      "autoscaler", "^kwok$", "^neap%-settle$" }

--- Whether a manager is a part of the cluster that works by itself, or an entry says what is, not what shall be.
local function is_automatic(entry)
  if entry.subresource == "status" then return true end
  for _, pattern in ipairs(CONTROLLERS) do
    if tostring(entry.manager):find(pattern) then return true end
  end
  return false
end

local function is_own(entry)
  return entry.manager == state.MANAGER and entry.operation == "Apply" and (entry.subresource or "") == ""
end

-- ---- paths ----

local function join(path, part)
  local longer = table.move(path, 1, #path, 1, {})
  longer[#longer + 1] = part
  return json.array(longer)
end

local function is_table(value) return type(value) == "table" end

local function has_keys(item, keys)
  if not is_table(item) then return false end
  for key, value in pairs(keys) do
    if item[key] ~= value and not (key == "protocol" and item[key] == nil and value == "TCP") then return false end
  end
  return true
end

--- The item of a list that has those keys, and where it stands.
local function item_of(list, keys)
  for i, item in ipairs(is_table(list) and list or {}) do
    if has_keys(item, keys) then return item, i end
  end
end

--- What a part of a path leads to; nil where it is not there.
local function step_into(value, part)
  local rest = part:sub(3)
  if not is_table(value) then return nil end
  if part:sub(1, 2) == "f:" then return value[rest] end
  if part:sub(1, 2) == "k:" then return (item_of(value, json.decode(rest))) end
  return nil
end

local function has_children(node)
  for key in pairs(node) do
    if key ~= "." then return true end
  end
  return false
end

-- ---- an object, field by field ----

local SECRET_PARTS = { ["f:data"] = true, ["f:stringData"] = true, ["f:metadata"] = true }

--- A value's JSON; of a Secret a secret, for its annotations may repeat what it holds.
local function text_of(object, path, value)
  local text = json.encode(value)
  local hides = SECRET_PARTS[path[1]] and (path[1] ~= "f:metadata" or path[2] == "f:annotations")
  if object.kind ~= "Secret" or not hides then return text end
  return secret.literal(text, hosts.run().keys)
end

local function add_order(into, path, node, list)
  local keys, positions = {}, {}
  for part in pairs(node) do
    if part:sub(1, 2) == "k:" then
      local _, at = item_of(list, json.decode(part:sub(3)))
      if at then keys[#keys + 1], positions[part] = part, at end
    end
  end
  if #keys < 2 then return end
  table.sort(keys, function(a, b) return positions[a] < positions[b] end)
  into.fields[json.encode(join(path, ORDER))] = json.encode(json.array(keys))
end

local function add_leaf(into, object, path, value)
  local name = json.encode(path)
  into.fields[name] = into.fields[name] or text_of(object, path, value)
  into.count = into.count + 1
  if into.own then into.own[name] = true end
end

--- Adds what a tree of managedFields names.
local function add_fields(into, object, node, value, path)
  if is_table(value) then add_order(into, path, node, value) end
  for part, below in pairs(node) do
    local here, kind = join(path, part), part:sub(1, 2)
    local found = step_into(value, part)
    if kind == "v:" then
      add_leaf(into, object, here, json.decode(part:sub(3)))
    elseif found ~= nil and found ~= json.null and not part:find "^f:neap/" then
      if has_children(below) then
        add_fields(into, object, below, found, here)
      elseif kind == "k:" then
        add_leaf(into, object, here, json.decode(part:sub(3)))
      else
        add_leaf(into, object, here, found)
      end
    end
  end
end

local IGNORED = { apiVersion = true, kind = true, metadata = true, status = true }

--- An object of which the server does not know who said what: all of it counts.
local function add_all(into, object)
  for key, value in pairs(object) do
    if not IGNORED[key] then add_leaf(into, object, json.array { "f:" .. key }, value) end
  end
  for _, section in ipairs { "labels", "annotations" } do
    for key, value in pairs(object.metadata[section] or {}) do
      if not key:find "^neap/" then
        add_leaf(into, object, json.array { "f:metadata", "f:" .. section, "f:" .. key }, value)
      end
    end
  end
end

local REPLICAS = json.encode(json.array { "f:spec", "f:replicas" })

--- The number of replicas of which nobody has said anything: what is scaled to none, or up again from there, the server
--- takes for said by nobody.
local function add_replicas(fields, object)
  if not is_table(object.spec) or math.type(object.spec.replicas) ~= "integer" then return end
  for _, entry in ipairs(object.metadata.managedFields or {}) do
    local spec = is_table(entry.fieldsV1) and entry.fieldsV1["f:spec"]
    if spec and spec["f:replicas"] then return end
  end
  fields[REPLICAS] = json.encode(object.spec.replicas)
end

--- What people have said of an object; nil for nil, and for one that is being deleted.
--- @param object table?
--- @return neap.k8s.state?
function state.of(object)
  if not object or object.metadata.deletionTimestamp then return nil end
  local fields, own, maker, most = {}, {}, nil, 0
  local entries = object.metadata.managedFields or {}
  for _, entry in ipairs(entries) do
    if is_table(entry.fieldsV1) and not is_automatic(entry) then
      local into = { fields = fields, count = 0, own = is_own(entry) and own or nil }
      add_fields(into, object, entry.fieldsV1, object, json.array {})
      if entry.manager ~= state.MANAGER and into.count > most then maker, most = entry.manager, into.count end
    end
  end
  add_replicas(fields, object)
  if #entries == 0 then add_all({ fields = fields, count = 0 }, object) end
  return { fields = fields, own = ordered.keys(own), maker = maker }
end

local function same_value(a, b)
  if secret.is(a) or secret.is(b) then return a ~= nil and b ~= nil and secret.same(a, b) end
  return a == b
end

state.same_value = same_value

--- @param a neap.k8s.state?
--- @param b neap.k8s.state?
--- @return boolean
function state.same(a, b)
  if not a or not b then return a == b end
  if a.maker ~= b.maker or table.concat(a.own, "\n") ~= table.concat(b.own, "\n") then return false end
  for path, value in pairs(a.fields) do
    if not same_value(value, b.fields[path]) then return false end
  end
  for path in pairs(b.fields) do
    if a.fields[path] == nil then return false end
  end
  return true
end

-- ---- and back ----

--- The value of a field, opened: texts are decoded; a secret stays a secret, marked as JSON already.
local function value_of(text)
  if secret.is(text) then return { [AS_JSON] = text } end
  return json.decode(text)
end

local function holder_of(nodes, name, part, parent, with_keys)
  if nodes[name] then return nodes[name] end
  local kind, rest = part:sub(1, 2), part:sub(3)
  local made = {}
  if kind == "f:" then parent[rest] = made else parent[#parent + 1] = made end
  if kind == "k:" and with_keys then
    for key, value in pairs(json.decode(rest)) do made[key] = value end
  end
  nodes[name] = made
  return made
end

--- Paths, so that each list has its items in their order.
local function in_order(fields, names)
  local rank = {}
  for name, text in pairs(fields) do
    local path = json.decode(name)
    if path[#path] == ORDER then
      path[#path] = nil
      for i, part in ipairs(json.decode(text)) do rank[json.encode(join(path, part))] = ("%06d"):format(i) end
    end
  end
  local key = {}
  for _, name in ipairs(names) do
    local path, parts = json.array {}, {}
    for _, part in ipairs(json.decode(name)) do
      path = join(path, part)
      parts[#parts + 1] = rank[json.encode(path)] or part
    end
    key[name] = table.concat(parts, "\0")
  end
  table.sort(names, function(a, b) return key[a] < key[b] end)
  return names
end

local function place(root, nodes, path, value, with_keys)
  local parent, prefix = root, json.array {}
  for i = 1, #path - 1 do
    prefix = join(prefix, path[i])
    parent = holder_of(nodes, json.encode(prefix), path[i], parent, with_keys)
  end
  local last = path[#path]
  if last:sub(1, 2) == "f:" then
    parent[last:sub(3)] = value
  elseif last:sub(1, 2) == "v:" then
    parent[#parent + 1] = value
  else
    local item = holder_of(nodes, json.encode(path), last, parent, true)
    for key, part in pairs(value) do item[key] = part end
  end
end

--- An object of those paths.
--- @param given neap.k8s.state
--- @param paths string[]
--- @param with_keys boolean  keys of list items stand in them though nobody has said them
--- @return table
function state.build(given, paths, with_keys)
  local root, nodes = {}, {}
  for _, name in ipairs(in_order(given.fields, table.move(paths, 1, #paths, 1, {}))) do
    local path = json.decode(name)
    if path[#path] ~= ORDER and given.fields[name] ~= nil then
      place(root, nodes, path, value_of(given.fields[name]), with_keys)
    end
  end
  return root
end

--- All paths of a state.
--- @param given neap.k8s.state
--- @return string[]
function state.paths(given) return ordered.keys(given.fields) end

-- ---- altering a live object ----

local function begins_with(path, beginning)
  for i, part in ipairs(beginning) do
    if path[i] ~= part then return false end
  end
  return true
end

--- Whether the wanted state says anything below that path.
local function says_below(wanted, beginning)
  for name in pairs(wanted.fields) do
    if begins_with(json.decode(name), beginning) then return true end
  end
  return false
end

local function make_way(object, part)
  local rest = part:sub(3)
  if part:sub(1, 2) == "f:" then
    if not is_table(object[rest]) then object[rest] = {} end
    return object[rest]
  end
  local keys = json.decode(rest)
  local item = item_of(object, keys)
  if not item then
    item = keys
    object[#object + 1] = item
  end
  return item
end

local function set_field(object, path, value)
  for i = 1, #path - 1 do object = make_way(object, path[i]) end
  local last = path[#path]
  if last:sub(1, 2) == "f:" then
    object[last:sub(3)] = value
  elseif last:sub(1, 2) == "v:" then
    object[#object + 1] = value
  else
    make_way(object, last)
  end
end

local function remove_value(list, text)
  for i = #list, 1, -1 do
    if json.encode(list[i]) == text then table.remove(list, i) end
  end
end

--- Takes a field away, and with it an item of a list of which nothing is wanted any more.
local function remove_field(object, path, wanted)
  local beginning = json.array {}
  for i = 1, #path do
    local part, last = path[i], i == #path
    beginning = join(beginning, part)
    if not is_table(object) then return end
    if part:sub(1, 2) == "k:" and not says_below(wanted, beginning) then
      local _, at = item_of(object, json.decode(part:sub(3)))
      if at then table.remove(object, at) end
      return
    end
    if last and part:sub(1, 2) == "f:" then object[part:sub(3)] = nil end
    if last and part:sub(1, 2) == "v:" then remove_value(object, part:sub(3)) end
    object = step_into(object, part)
  end
end

--- Sets in an object what a state says otherwise than it stands there, but for fields that applying sets or gives up.
--- @param object table              as it is; is altered
--- @param now neap.k8s.state        of it
--- @param wanted neap.k8s.state
--- @return string[] changed  paths
function state.alter(object, now, wanted)
  local own, owned, changed = {}, {}, {}
  for _, name in ipairs(wanted.own) do own[name] = true end
  for _, name in ipairs(now.own) do owned[name] = true end
  for _, name in ipairs(ordered.keys(wanted.fields)) do
    local path = json.decode(name)
    if path[#path] ~= ORDER and not own[name] and not same_value(wanted.fields[name], now.fields[name]) then
      set_field(object, path, value_of(wanted.fields[name]))
      changed[#changed + 1] = name
    end
  end
  for _, name in ipairs(ordered.keys(now.fields)) do
    local path = json.decode(name)
    if path[#path] ~= ORDER and wanted.fields[name] == nil and not owned[name] then
      remove_field(object, path, wanted)
      changed[#changed + 1] = name
    end
  end
  return changed
end

--- A copy of a state.
--- @param given neap.k8s.state
--- @return neap.k8s.state
function state.copy(given)
  local fields = {}
  for name, value in pairs(given.fields) do fields[name] = value end
  return { fields = fields, own = table.move(given.own, 1, #given.own, 1, {}), maker = given.maker }
end

-- ---- JSON with secrets in it ----

local function holds_secret(value)
  if secret.is(value) then return true end
  for _, one in pairs(is_table(value) and value or {}) do
    if holds_secret(one) then return true end
  end
  return false
end

--- The JSON of an object; a secret where one stands in it.
--- @param value any
--- @return string|native.secret.value
function state.encode(value)
  if secret.is(value) then return '"' .. secret.json(value) .. '"' end
  if not holds_secret(value) then return json.encode(value) end
  if secret.is(value[AS_JSON]) then return value[AS_JSON] end
  local text, is_list = "", #value > 0
  for i, key in ipairs(is_list and value or ordered.keys(value)) do
    local part = is_list and state.encode(value[i]) or json.encode(key) .. ":" .. state.encode(value[key])
    text = text .. (i > 1 and "," or "") .. part
  end
  return is_list and "[" .. text .. "]" or "{" .. text .. "}"
end

-- ---- for people ----

local function shown_part(part)
  local kind, rest = part:sub(1, 2), part:sub(3)
  if kind == "f:" then return rest:find "^[%w_-]+$" and "." .. rest or ("[%s]"):format(rest) end
  if kind == "v:" then return "[]" end
  local values = {}
  local keys = json.decode(rest)
  for _, key in ipairs(ordered.keys(keys)) do values[#values + 1] = tostring(keys[key]) end
  return ("[%s]"):format(table.concat(values, " "))
end

--- How a path reads: spec.template.spec.containers[main].image
--- @param name string
--- @return string
function state.shown_path(name)
  local text = ""
  for _, part in ipairs(json.decode(name)) do text = text .. shown_part(part) end
  return (text:gsub("^%.", ""))
end

--- A state as lines of fields, for plans.
--- @param given neap.k8s.state
--- @return string
function state.text(given)
  local lines = {}
  for name, value in pairs(given.fields) do
    local path = json.decode(name)
    if path[#path] ~= ORDER then
      local text = secret.is(value) and secret.text(value) or value
      lines[#lines + 1] = ("%s: %s"):format(state.shown_path(name), text:match '^"([^"\\]*)"$' or text)
    end
  end
  table.sort(lines)
  return table.concat(lines, "\n") .. "\n"
end

return state
