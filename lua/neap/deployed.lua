--- Values of an environment that are read out of deployed configuration: `yaml:FILE#path`.
local fault     = require "native.error"
local fs        = require "native.fs"
local home      = require "neap.home"
local yaml_edit = require "neap.targets.yaml.edit"

local deployed = {}

local REFERENCE = "^yaml:([^#]+)#(.+)$"

--- Whether a value says where it is to be read.
--- @param value any
--- @return boolean
function deployed.is_reference(value) return type(value) == "string" and value:find(REFERENCE) ~= nil end

local function missing(message, ...)
  fault.raise { kind = "missing", message = message:format(...) }
end

local function expanded(path) return (path:gsub("^~/", home() .. "/")) end

--- The folder of a repository of this machine that a name stands for: its key, or the last name in its path.
local function folder_of(repositories, name)
  for key, entry in pairs(repositories) do
    local git = type(entry) == "table" and (entry.on or "local") == "local" and entry.git
    if type(git) == "string" and (key == name or git:match("([^/]+)/*$") == name) and git:find("^[/~]") then
      return expanded(git):gsub("/+$", "")
    end
  end
end

local function path_of(repositories, file)
  if file:find("^[/~]") then return expanded(file) end
  local name, rest = file:match("^([^/]+)/(.+)$")
  local folder = name and folder_of(repositories, name)
  if folder then return folder .. "/" .. rest end
  return missing("%s is neither absolute nor in one of the repositories of this machine", file)
end

--- What a reference leads to: the text of a scalar, as it is written. Raises `missing` where the file or the path is not
--- there, `protocol` and `conflict` where it cannot be read.
--- @param reference string
--- @param repositories table<string, { git?: string, on?: string }>
--- @return string
function deployed.value(reference, repositories)
  local file, path = reference:match(REFERENCE)
  local place = path_of(repositories, file)
  if not fs.exists(place) then missing("%s is not there", place) end
  local text = yaml_edit.parse(fs.read(place), place):text_at(path)
  return text or missing("%s has no %s", place, path)
end

return deployed
