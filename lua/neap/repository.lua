--- Where procedures and environments lie: runbook repositories, folders that hold `procedures/<group>/…`.
local fault = require "native.error"
local fs    = require "native.fs"
local near  = require "neap.near"

local repository = {}

local LIBRARIES = "lib"
local ENVIRONMENTS = "environments"
local BASE = "base" -- what a group's environments extend; it is none itself

local function is_folder(path)
  local found = fs.stat(path)
  return found ~= nil and found.type == "directory"
end

local function base_name(path) return path:match("[^/]*$") end

--- NEAP_PATH names a repository or its `procedures` folder; both mean the same repository.
local function root_of(folder)
  if not is_folder(folder) then return nil end
  local path = fs.realpath(folder)
  if is_folder(path .. "/procedures") then return path end
  if base_name(path) == "procedures" then return path:match("^(.*)/[^/]*$") end
  return nil
end

--- The repositories to look in: those of NEAP_PATH in its order, else the one of the current folder.
--- @return string[] roots absolute paths, each with a folder `procedures`
function repository.roots()
  local roots, seen = {}, {}
  local search = os.getenv "NEAP_PATH"
  if not search or search == "" then search = fs.getcwd() end
  for folder in search:gmatch("[^:]+") do
    local root = root_of(folder)
    if root and not seen[root] then
      seen[root] = true
      roots[#roots + 1] = root
    end
  end
  return roots
end

--- Calls `found(group, folder)` for each group of a repository, libraries left out.
local function each_group(root, found)
  for _, name in ipairs(fs.list(root .. "/procedures")) do
    local folder = root .. "/procedures/" .. name
    if name ~= LIBRARIES and not name:find("^%.") and is_folder(folder) then found(name, folder) end
  end
end

local function is_procedure(name)
  return name:find("%.lua$") ~= nil and name ~= LIBRARIES .. ".lua" and not name:find("_test%.lua$")
end

--- Whether that file of that group is a procedure, and neither a library nor a test.
--- @param group string
--- @param file string
function repository.is_procedure(group, file) return group ~= LIBRARIES and is_procedure(file) end

--- Entries are collected by full name; of two with one name the earlier repository's counts, as in PATH.
local function collect(each)
  local entries, taken = {}, {}
  for _, root in ipairs(repository.roots()) do
    each_group(root, function(group, folder)
      each(group, folder, function(name, file)
        local full = group .. "/" .. name
        if taken[full] then return end
        taken[full] = true
        entries[#entries + 1] = { name = full, group = group, file = file, root = root }
      end)
    end)
  end
  table.sort(entries, function(a, b) return a.name < b.name end)
  return entries
end

--- @class neap.found
--- @field name string  `<group>/<name>`
--- @field group string
--- @field file string  absolute path
--- @field root string  absolute path of its repository

--- All procedures of all repositories, by name.
--- @return neap.found[]
function repository.procedures()
  return collect(function(_, folder, add)
    for _, file in ipairs(fs.list(folder)) do
      if is_procedure(file) then add(file:sub(1, -5), folder .. "/" .. file) end
    end
  end)
end

--- All environments of all repositories, by name.
--- @return neap.found[]
function repository.environments()
  return collect(function(_, folder, add)
    folder = folder .. "/" .. ENVIRONMENTS
    if not is_folder(folder) then return end
    for _, file in ipairs(fs.list(folder)) do
      local name = file:match("^([^.].*)%.ya?ml$")
      if name and name ~= BASE then add(name, folder .. "/" .. file) end
    end
  end)
end

--- What a procedure does: the first line of the comment at the head of its file, or "".
--- @param text string  the file
--- @return string
function repository.summary(text)
  local first = text:match("^%-%-+%s*([^\n]*)")
  return first and first:gsub("%s+$", "") or ""
end

--- Names that a person may have had in mind: full ones, and for one without a group those that end in it.
local function likely(name, entries)
  local names, tails, by_tail = {}, {}, {}
  for _, entry in ipairs(entries) do
    local tail = base_name(entry.name)
    names[#names + 1] = entry.name
    tails[#tails + 1] = tail
    by_tail[tail] = by_tail[tail] or entry.name
  end
  if not name:find("/", 1, true) then return by_tail[name] or by_tail[near.find(name, tails)] end
  return near.find(name, names)
end

local function missing(what, name, entries, where_to_look)
  local guess = likely(name, entries)
  local message = ("no %s '%s'."):format(what, name)
  if guess then message = message .. (" Did you mean '%s'?"):format(guess) end
  if #entries == 0 then
    message = ("no %s '%s': there is none at all in %s"):format(what, name, repository.search_path())
  end
  fault.raise { kind = "missing", message = message, hint = where_to_look }
end

--- The folders that were looked in, for messages.
--- @return string
function repository.search_path()
  return os.getenv "NEAP_PATH" or fs.getcwd()
end

--- The procedure called `<group>/<name>`, or whose file this path names. Raises `missing`, with the nearest name.
--- @param name string
--- @return neap.found
function repository.procedure(name)
  local entries = repository.procedures()
  local file = name:find("%.lua$") and fs.exists(name) and fs.realpath(name)
  for _, entry in ipairs(entries) do
    if entry.name == name or entry.file == file then return entry end
  end
  return missing("procedure", name, entries, "neap list")
end

--- The environment called `<group>/<name>`, or `<name>` within `group`, or `<name>` where only one group has it.
--- Raises `missing`, with the nearest name, and `conflict` where several groups have it.
--- @param name string
--- @param group? string
--- @return neap.found
function repository.environment(name, group)
  local entries, matching = repository.environments(), {}
  for _, entry in ipairs(entries) do
    local short = base_name(entry.name) == name and (group == nil or entry.group == group)
    if entry.name == name or short then matching[#matching + 1] = entry end
  end
  if #matching == 1 then return matching[1] end
  if #matching == 0 then return missing("environment", name, entries, "neap env list") end
  return fault.raise {
    kind = "conflict", hint = "neap env list",
    message = ("several groups have an environment '%s': say %s or %s"):format(name, matching[1].name,
      matching[2].name),
  }
end

local NOT_IN_SNAPSHOT = { "_test%.lua$", "%.md$", "^%.", "~$" }

local function belongs(name)
  for _, pattern in ipairs(NOT_IN_SNAPSHOT) do
    if name:find(pattern) then return false end
  end
  return true
end

local function read_tree(root, folder, into)
  for _, name in ipairs(fs.list(root .. "/" .. folder)) do
    local path = folder .. "/" .. name
    if not belongs(name) or name == ENVIRONMENTS then goto continue end
    if is_folder(root .. "/" .. path) then
      read_tree(root, path, into)
    else
      into[path] = fs.read(root .. "/" .. path)
    end
    ::continue::
  end
end

local function is_group(root, name) return name ~= LIBRARIES and is_folder(root .. "/procedures/" .. name) end

--- Adds a group's files, and those of the groups whose procedures it includes.
local function read_group(root, group, into, seen)
  seen[group] = true
  local own = {}
  read_tree(root, "procedures/" .. group, own)
  for path, text in pairs(own) do
    into[path] = text
    for other in (path:find "%.lua$" and text or ""):gmatch "%f[%w_]include%s*%(?%s*[\"']([%w_-]+)/" do
      if not seen[other] and is_group(root, other) then read_group(root, other, into, seen) end
    end
  end
end

--- The code a run of this procedure can reach: its group's files, those of groups whose procedures it includes, and the
--- libraries, without tests, guides and environments.
--- @param found neap.found
--- @return table<string, string> files  bytes by path below the repository
--- @return string path  the procedure's own
function repository.snapshot(found)
  local files = {}
  read_group(found.root, found.group, files, {})
  if is_folder(found.root .. "/procedures/" .. LIBRARIES) then
    read_tree(found.root, "procedures/" .. LIBRARIES, files)
  end
  return files, found.file:sub(#found.root + 2)
end

return repository
