--- Manifests: objects out of texts, files and folders, cleaned of what only a server says, in the order in which they can
--- be made.
local effect = require "neap.engine.effect"
local fault  = require "native.error"
local fs     = require "native.fs"
local hosts  = require "neap.targets.connection"
local json   = require "native.json"
local secret = require "native.secret"
local yaml   = require "native.yaml"

local manifest = {}

local MAX_FILE = 16 << 20

local function wrong(message, ...) fault.raise { kind = "protocol", message = message:format(...) } end

-- ---- texts ----

--- The documents of a YAML text, each behind so many empty lines that what is wrong in it is told by its line.
local function documents_of(text)
  local documents, lines, number, first = {}, {}, 0, 1
  local function close()
    documents[#documents + 1] = ("\n"):rep(first - 1) .. table.concat(lines, "\n")
    lines = {}
  end
  for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if line:find "^%-%-%-%s" or line == "---" or line == "..." then
      close()
      first, line = number, line:sub(4)
    end
    lines[#lines + 1] = line
  end
  close()
  return documents
end

local function is_empty(document)
  for line in document:gmatch "[^\n]+" do
    if not line:find "^%s*#" and line:find "%S" then return false end
  end
  return true
end

--- Objects of a text; lists are taken apart.
local function parse(text, name)
  local objects = {}
  for _, document in ipairs(documents_of(text)) do
    local value = not is_empty(document) and yaml.parse(document, { name = name }) or nil
    if value ~= nil and value ~= json.null then objects[#objects + 1] = value end
  end
  return objects
end

-- ---- files ----

local function full_path(path)
  if path:sub(1, 1) == "/" then return path end
  return (hosts.run().environment.root or fs.getcwd()) .. "/" .. path
end

local function files_of(path)
  local found = fs.stat(path)
  if not found then fault.raise { kind = "missing", message = "there is no manifest " .. path } end
  if found.type ~= "directory" then return { path } end
  local files = {}
  for _, name in ipairs(fs.list(path)) do
    if name:find "%.ya?ml$" or name:find "%.json$" then files[#files + 1] = path .. "/" .. name end
  end
  if #files == 0 then fault.raise { kind = "missing", message = "there are no manifests in " .. path } end
  return files
end

local function has_secret(text) return text:find "kind[\"']?%s*:%s*[\"']?Secret" ~= nil end

--- Files, as the journal keeps them for a resume: one with a Secret is sealed.
local read_files = effect.read("k8s.manifests", function(path)
  local texts = {}
  for _, file in ipairs(files_of(path)) do
    local text = fs.read(file, { max = MAX_FILE })
    texts[#texts + 1] = { name = file, text = has_secret(text) and secret.literal(text, hosts.run().keys) or text }
  end
  return texts
end)

local function opened(text) return secret.is(text) and secret.reveal(text) or text end

-- ---- objects ----

local SERVERS = { "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink",
                  "deletionTimestamp", "deletionGracePeriodSeconds" }
local OCTAL = { mode = true, defaultMode = true }

--- Without nulls; modes of files as kubectl reads them: 0644 is octal.
local function cleaned(value)
  if type(value) ~= "table" then return value end
  for key, one in pairs(value) do
    if one == json.null then
      value[key] = nil
    elseif OCTAL[key] and type(one) == "string" and one:find "^0[0-7]+$" then
      value[key] = tonumber(one, 8)
    else
      cleaned(one)
    end
  end
  return value
end

local function copy_of(value)
  if type(value) ~= "table" then return value end
  local meta = getmetatable(value)
  local copy = setmetatable({}, type(meta) == "table" and meta or nil)
  for key, one in pairs(value) do copy[key] = copy_of(one) end
  return copy
end

--- What is given in the clear is kept as servers keep it.
local function encode_secret(object)
  for key, value in pairs(object.stringData or {}) do
    object.data = object.data or {}
    object.data[key] = secret.base64(secret.is(value) and value or tostring(value))
  end
  object.stringData = nil
end

local function is_text(value) return type(value) == "string" and value ~= "" end

local function checked(object, name)
  if type(object) ~= "table" then wrong("%s holds something that is no object", name) end
  if not is_text(object.apiVersion) or not is_text(object.kind) then
    wrong("an object of %s has no apiVersion and kind", name)
  end
  local metadata = object.metadata
  if type(metadata) ~= "table" or not (is_text(metadata.name) or is_text(metadata.generateName)) then
    wrong("a %s of %s has no metadata.name", object.kind, name)
  end
  object = cleaned(copy_of(object))
  for _, key in ipairs(SERVERS) do object.metadata[key] = nil end
  object.status = nil
  if object.kind == "Secret" then encode_secret(object) end
  return object
end

local function add(objects, object, name)
  if type(object) == "table" and type(object.items) == "table" and tostring(object.kind):find "List$" then
    for _, item in ipairs(object.items) do add(objects, item, name) end
  else
    objects[#objects + 1] = checked(object, name)
  end
end

local function add_all(objects, given)
  if type(given) == "table" and given.kind == nil then
    for _, one in ipairs(given) do add_all(objects, one) end
  elseif type(given) == "table" then
    add(objects, given, "a manifest")
  elseif type(given) ~= "string" then
    error("a manifest is a text, the path of a file or folder, an object, or a list of these", 0)
  elseif given:find "\n" then
    for _, object in ipairs(parse(given, "manifest")) do add(objects, object, "a manifest") end
  else
    for _, file in ipairs(read_files(full_path(given))) do
      for _, object in ipairs(parse(opened(file.text), file.name)) do add(objects, object, file.name) end
    end
  end
end

-- ---- order ----

local ORDER = {}
for i, kind in ipairs {
  "Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "NetworkPolicy", "ResourceQuota",
  "LimitRange", "PodDisruptionBudget", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolume",
  "PersistentVolumeClaim", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "DaemonSet", "Pod",
  "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "HorizontalPodAutoscaler", "Job", "CronJob",
  "IngressClass", "Ingress", "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
} do
  ORDER[kind] = i
end

--- Those that others need come first; among equals as they were given; what is unknown comes last.
local function in_order(objects)
  local position = {}
  for i, object in ipairs(objects) do position[object] = (ORDER[object.kind] or 99) * 100000 + i end
  table.sort(objects, function(a, b) return position[a] < position[b] end)
  return objects
end

--- The objects of manifests: texts (several lines), paths of files and folders (one line; relative to the repository),
--- objects, lists of these. Raises `missing`, and `protocol` for what is none.
--- @param given string|table
--- @return table[] objects  in the order in which they can be made
function manifest.objects(given)
  local objects = {}
  add_all(objects, given)
  if #objects == 0 then wrong "there is no object in these manifests" end
  return in_order(objects)
end

return manifest
