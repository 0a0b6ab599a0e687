--- Folders and what stands below a prefix of a bucket, brought into line in one direction.
local account   = require "neap.targets.aws.account"
local arrival   = require "neap.targets.s3.arrival"
local download  = require "neap.targets.s3.download"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local file      = require "neap.targets.file"
local fs        = require "native.fs"
local multipart = require "neap.targets.s3.multipart"
local names     = require "neap.targets.s3.names"
local objects   = require "neap.targets.s3.objects"
local parallel  = require "neap.targets.aws.parallel"
local request   = require "neap.targets.s3.request"
local state     = require "neap.targets.s3.state"

local tree = {}

local MOST   = 100000    -- objects, or files
local BATCH  = 500       -- objects of one effect,
local BYTES  = 256 << 20 -- and of their bytes: what is replaced or goes is held in memory, and is about as much
local DEPTH  = 100       -- folders in one another
local HASHED = 8         -- files of this machine that are looked at side by side

-- ---- what is there ----

--- @param target table
--- @param bucket string
--- @param prefix string
--- @return { key: string, size: integer, etag: string, modified: string }[]
function tree.list(target, bucket, prefix)
  local list, token = {}, nil
  repeat
    local page = account.read(target, "ListObjectsV2", { Bucket = bucket, Prefix = prefix, ContinuationToken = token })
    for _, one in ipairs(page.Contents or {}) do
      list[#list + 1] = { key = one.Key, size = one.Size, etag = one.ETag, modified = one.LastModified }
    end
    if #list > MOST then
      fault.raise { kind = "denied", message = ("s3://%s/%s has more than %d objects"):format(bucket, prefix, MOST) }
    end
    token = page.IsTruncated and page.NextContinuationToken or nil
  until not token
  return list
end

local listed = effect.read("s3.list", tree.list)

local function refuse_file(path, what)
  fault.raise { kind = "denied", host = "local", message = ("%s is %s: only files are brought up"):format(path, what) }
end

local function walk(folder, inside, found, depth)
  if depth > DEPTH then refuse_file(folder, "too deep") end
  for _, name in ipairs(fs.list(folder)) do
    local path, status = folder .. "/" .. name, fs.lstat(folder .. "/" .. name)
    if status and status.type == "directory" then
      walk(path, inside .. name .. "/", found, depth + 1)
    elseif status and status.type == "file" then
      names.parts(name)
      found[#found + 1] = { path = path, name = inside .. name }
    elseif status then
      refuse_file(path, status.type == "link" and "a link" or "no file")
    end
    if #found > MOST then refuse_file(folder, ("more than %d files"):format(MOST)) end
  end
end

--- The files below a folder of this machine, with sizes and digests.
local files_below = effect.read("s3.files", function(folder)
  local found = {}
  if not fs.exists(folder) then
    fault.raise { kind = "missing", host = "local", message = folder .. " is not there" }
  end
  walk(folder, "", found, 1)
  parallel.each(found, HASHED, function(one)
    local about = objects.file { host = "local", path = one.path }
    one.size, one.digest = about.size, about.digest
  end)
  return found
end)

local function as_prefix(key) return (key == "" or key:sub(-1) == "/") and key or key .. "/" end

-- ---- up ----

--- What each object is to be: of a file, or not there.
local function wanted_objects(files, prefix, there, made, delete)
  local entries, states, known = {}, {}, {}
  for _, one in ipairs(files) do
    local key = prefix .. one.name
    names.check_key(key, 1)
    local wanted = made(key)
    wanted.size, wanted.digest = one.size, one.digest
    local entry = { key = key, path = one.path, host = "local", size = one.size, digest = one.digest }
    if multipart.is_wanted(entry) then entry.made = wanted end
    entries[#entries + 1], states[key], known[key] = entry, wanted, true
  end
  for _, one in ipairs(delete and there or {}) do
    if not known[one.key] then entries[#entries + 1] = { key = one.key, size = one.size } end
  end
  table.sort(entries, function(a, b) return a.key < b.key end) -- as S3 lists them, so that those of a batch lie together
  return entries, states
end

local function batches(entries)
  local list, size = { {} }, 0
  for _, entry in ipairs(entries) do
    if #list[#list] >= BATCH or size >= BYTES then list[#list + 1], size = {}, 0 end
    table.insert(list[#list], entry)
    size = size + (entry.size or 0)
  end
  return entries[1] and list or {}
end

local function change_batch(target, bucket, prefix, entries, states, options)
  local one, list = account.with(target, { bucket = bucket, prefix = prefix, objects = entries }), {}
  for _, entry in ipairs(entries) do list[#list + 1] = states[entry.key] end
  objects.change(one, function() return list[1] and list or nil end, options)
end

--- Makes what stands below a prefix what is in a folder; others' objects stay, unless they are to be deleted.
--- @param target table
--- @param folder string
--- @param to string  "s3://bucket/prefix"
--- @param options table
--- @param made fun(key: string): table  the state of an object, but for size and digest
function tree.up(target, folder, to, options, made)
  local bucket, prefix = names.split(to, 3)
  prefix = as_prefix(prefix)
  local files = files_below(folder)
  local there = options.delete and listed(target, bucket, prefix)
  local entries, states = wanted_objects(files, prefix, there, made, options.delete)
  for _, batch in ipairs(batches(entries)) do change_batch(target, bucket, prefix, batch, states, options) end
end

-- ---- down ----

local local_files = effect.read("s3.folder", function(folder)
  local found = {}
  if fs.exists(folder) then walk(folder, "", found, 1) end
  return found
end)

local function make_folders(folder, parts, made)
  local path = folder
  for i = 0, #parts - 1 do
    if i > 0 then path = path .. "/" .. parts[i] end
    if not made[path] then file.directory("local", path) end
    made[path] = true
  end
end

--- Names of the files that the objects become, all of them looked at before the first is brought.
local function names_of(list, prefix)
  local wanted, keys = {}, {}
  for _, one in ipairs(list) do
    local name = one.key:sub(#prefix + 1)
    local is_folder = name == "" or one.size == 0 and name:sub(-1) == "/"
    if not is_folder then
      wanted[#wanted + 1] = { key = one.key, name = name, size = one.size, etag = request.etag(one.etag),
        parts = names.parts(name) }
      keys[#keys + 1] = name
    end
  end
  names.check_collisions(keys)
  return wanted
end

--- The names of which there is something in a folder already.
local taken_names = effect.read("s3.taken", function(folder, list)
  local taken = {}
  for _, name in ipairs(list) do
    if fs.lstat(folder .. "/" .. name) then taken[#taken + 1] = name end
  end
  return taken
end)

--- Which of the objects' names are taken, in a plan also by what it has written before.
local function taken_of(folder, wanted)
  local list, taken = {}, {}
  for i, one in ipairs(wanted) do list[i] = one.name end
  for _, name in ipairs(taken_names(folder, list)) do taken[name] = true end
  for _, one in ipairs(effect.planned "file.content") do
    if one.target.host == "local" and one.target.path:sub(1, #folder + 1) == folder .. "/" then
      taken[one.target.path:sub(#folder + 2)] = true
    end
  end
  return taken
end

--- Makes a folder what stands below a prefix; other files stay, unless they are to be deleted.
--- @param target table
--- @param from string  "s3://bucket/prefix"
--- @param folder string
--- @param options table
function tree.down(target, from, folder, options)
  local bucket, prefix = names.split(from, 3)
  prefix = as_prefix(prefix)
  local wanted, made, known, new = names_of(listed(target, bucket, prefix), prefix), {}, {}, {}
  local taken = taken_of(folder, wanted)
  local there = options.delete and local_files(folder) or {}
  for _, one in ipairs(wanted) do
    make_folders(folder, one.parts, made)
    known[one.name] = true
    if taken[one.name] or one.size > state.KEPT then
      download.file(target, bucket, one.key, "local", folder .. "/" .. one.name, options)
    else
      new[#new + 1] = { key = one.key, size = one.size, etag = one.etag }
    end
  end
  for _, batch in ipairs(batches(new)) do arrival.bring(target, bucket, prefix, folder, batch, options) end
  for _, one in ipairs(there) do
    if not known[one.name] then
      file.remove("local", one.path, { keep = options.keep, irreversible = options.irreversible })
    end
  end
end

return tree
