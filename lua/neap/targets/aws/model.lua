--- Models of AWS's services as botocore has them: operations, shapes, paginators, waiters. Read where the machine has
--- them; no Python is run.
local fault   = require "native.error"
local fs      = require "native.fs"
local gzip    = require "native.gzip"
local json    = require "native.json"
local near    = require "neap.near"
local process = require "native.process"

local model = {}

local LARGEST = 64 << 20 -- bytes of one model, unpacked

--- Protocols of models that name several, the best first.
local PROTOCOLS = { "json", "rest-json", "query", "ec2", "rest-xml" }

local loaded = {} -- models are the machine's, not a run's, and do not change

-- ---- where they lie ----

local function python_folders()
  local folders = {}
  for _, base in ipairs { "/usr/lib/python3/dist-packages", "/usr/local/lib" } do
    if base:find "dist%-packages$" then
      folders[#folders + 1] = base .. "/botocore/data"
    elseif fs.exists(base) then
      for _, name in ipairs(fs.list(base)) do
        if name:find "^python3" then
          folders[#folders + 1] = ("%s/%s/dist-packages/botocore/data"):format(base, name)
        end
      end
    end
  end
  return folders
end

--- Folders that may hold models, the first to be looked at first.
--- @return string[]
function model.folders()
  local folders = {}
  for folder in (process.environ "AWS_DATA_PATH" or ""):gmatch "[^:]+" do folders[#folders + 1] = folder end
  folders[#folders + 1] = process.user().home .. "/.aws/models"
  return table.move(python_folders(), 1, 8, #folders + 1, folders)
end

local function read_json(path)
  local text = fs.exists(path) and fs.read(path, { max = LARGEST })
    or fs.exists(path .. ".gz") and gzip.unpack(fs.read(path .. ".gz", { max = LARGEST }), LARGEST)
  return text and json.decode(text) or nil
end

--- The folder of a service's newest version.
local function folder_of(name)
  for _, folder in ipairs(model.folders()) do
    local versions = fs.exists(folder .. "/" .. name) and fs.list(folder .. "/" .. name) or {}
    for i = #versions, 1, -1 do
      local version = ("%s/%s/%s"):format(folder, name, versions[i])
      if fs.exists(version .. "/service-2.json") or fs.exists(version .. "/service-2.json.gz") then return version end
    end
  end
end

--- The services that there are models of.
--- @return string[]
function model.services()
  local set, names = {}, {}
  for _, folder in ipairs(model.folders()) do
    for _, name in ipairs(fs.exists(folder) and fs.stat(folder).type == "directory" and fs.list(folder) or {}) do
      if not set[name] and fs.stat(folder .. "/" .. name).type == "directory" then
        set[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

-- ---- one service ----

local Service = {}
Service.__index = Service

local function protocol_of(metadata)
  for _, protocol in ipairs(metadata.protocols and PROTOCOLS or {}) do
    for _, known in ipairs(metadata.protocols) do
      if known == protocol then return protocol end
    end
  end
  return metadata.protocol
end

--- Raises a mistake where no service has that name; says nothing where the machine has no models at all.
--- @param name string
--- @param level integer
function model.check(name, level)
  if type(name) == "string" and name:find "^[%w-]+$" and (loaded[name] or folder_of(name)) then return end
  local known = model.services()
  if #known > 0 then
    error(("there is no AWS service %q.%s"):format(tostring(name), near.question(tostring(name), known)), level + 1)
  end
end

--- @class aws.service
--- @field name string
--- @field protocol "json"|"rest-json"|"query"|"ec2"|"rest-xml"
--- @field metadata table
--- @field operations table<string, table>
--- @field shapes table<string, table>

--- The model of a service. Raises kind `missing` where there is none, with the near name.
--- @param name string  as the AWS command line has it: "route53"
--- @return aws.service
function model.of(name)
  if loaded[name] then return loaded[name] end
  if not name:find "^[%w-]+$" then error(("%q is no name of a service"):format(name), 2) end
  local folder = folder_of(name)
  if not folder then
    fault.raise { kind = "missing", message = ("there is no model of the AWS service %s.%s"):format(name,
      near.question(name, model.services())), hint = #model.services() == 0
      and "install python3-botocore, or put models into ~/.aws/models" or nil }
  end
  local text = read_json(folder .. "/service-2.json")
  loaded[name] = setmetatable({ name = name, folder = folder, metadata = text.metadata, operations = text.operations,
    shapes = text.shapes, behind = {}, protocol = protocol_of(text.metadata) }, Service)
  return loaded[name]
end

--- The operation of that name. Raises a mistake with the near name.
--- @param name string    "ListBuckets"
--- @param level? integer  whose mistake it is; the caller's
--- @return table
function Service:operation(name, level)
  local operation = self.operations[name]
  if operation then return operation end
  error(("%s has no operation %q%s"):format(self.name, tostring(name), near.hint(tostring(name), self.operations)),
    (level or 1) + 1)
end

--- A reference to a shape, as a shape: what the reference says itself counts before what the shape says.
--- @param reference { shape: string }
--- @return table
function Service:shape(reference)
  if getmetatable(reference) then return reference end
  local name = reference.shape
  self.behind[name] = self.behind[name] or { __index = self.shapes[name] }
  return setmetatable(reference, self.behind[name])
end

local function part(self, file, key)
  self.parts = self.parts or {}
  if not self.parts[file] then self.parts[file] = (read_json(("%s/%s"):format(self.folder, file)) or {})[key] or {} end
  return self.parts[file]
end

--- How the operation's results are asked for page by page; nil where they come at once.
--- @param name string
--- @return table?
function Service:paginator(name) return part(self, "paginators-1.json", "pagination")[name] end

--- What a waiter asks, and what it waits for. Raises a mistake with the near name.
--- @param name string    "StackCreateComplete"
--- @param level? integer  whose mistake it is; the caller's
--- @return table
function Service:waiter(name, level)
  local waiters = part(self, "waiters-2.json", "waiters")
  if waiters[name] then return waiters[name] end
  error(("%s has no waiter %q%s"):format(self.name, tostring(name), near.hint(tostring(name), waiters)),
    (level or 1) + 1)
end

local READS = { "^Get%u", "^List%u", "^Describe%u", "^Head%u", "^Query$", "^Scan$", "^Search%u", "^Lookup%u",
                "^AssumeRole" }

--- Whether an operation changes nothing, by its name.
--- @param name string
--- @return boolean
function model.reads(name)
  for _, pattern in ipairs(READS) do
    if name:find(pattern) then return true end
  end
  return false
end

return model
