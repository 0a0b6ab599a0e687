--- Many objects into files that are not there yet. They come side by side into folders beside their places, are made
--- durable together, and are then moved: a call that died before that has brought nothing, one that died behind it is
--- finished by whoever settles it.
local account  = require "neap.targets.aws.account"
local crypto   = require "native.crypto"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local fs       = require "native.fs"
local objects  = require "neap.targets.s3.objects"
local parallel = require "neap.targets.aws.parallel"
local request  = require "neap.targets.s3.request"
local task     = require "native.task"

local arrival = {}

local AT_A_TIME = 32
local TIMEOUT   = 3600 -- seconds for one request
local MODE      = "0644"

--- What the folders beside the places are called: while objects come, when all are whole, and once the call was shut
--- out, forward or back.
local COMING, WHOLE, TAKEN, VOID = "", "-whole", "-taken", "-void"

--- @class neap.s3.file  an object of a target
--- @field key string
--- @field size integer
--- @field etag string   "": the server has none

--- Below the target's folder it is called as in S3 below its prefix.
local function path_of(target, one) return target.folder .. "/" .. one.key:sub(#target.prefix + 1) end

local function folder_of(path) return (path:match "^(.*)/") end

local function beside(folder, place, stage) return ("%s/.neap-%s%s"):format(folder, place.id, stage) end

local function staged(target, one, place, stage)
  local path = path_of(target, one)
  local folder = folder_of(path)
  return beside(folder, place, stage) .. path:sub(#folder + 1)
end

local function folders_of(target)
  local list, known = {}, {}
  for _, one in ipairs(target.objects) do
    local folder = folder_of(path_of(target, one))
    if not known[folder] then list[#list + 1] = folder end
    known[folder] = true
  end
  return list
end

-- ---- the folders beside the places ----

local function release(_, place)
  for _, folder in ipairs(place.folders) do
    for _, stage in ipairs { COMING, WHOLE, TAKEN, VOID } do fs.remove_tree(beside(folder, place, stage)) end
  end
end

--- Made before the intent, and never again: whoever has renamed them has shut out the call.
local function prepare(target)
  local place = { id = crypto.hex(crypto.random(8)), folders = folders_of(target) }
  local ok, failure = pcall(function()
    for _, folder in ipairs(place.folders) do fs.mkdir(beside(folder, place, COMING)) end
  end)
  if ok then return place end
  release(target, place)
  return error(failure, 0)
end

--- Whether there was one to rename.
local function rename(folder, place, from, to)
  local ok, failure = pcall(fs.rename, beside(folder, place, from), beside(folder, place, to))
  if ok then return true end
  if not fault.is(failure, "missing") then error(failure, 0) end
  return false
end

-- ---- the call ----

local function begin(path)
  fs.remove(path)
  fs.append(path, "", { mode = MODE })
end

--- Brings one object. Returns its digest.
local function bring(target, one, place)
  local path = staged(target, one, place, COMING)
  begin(path)
  request.send(target, { method = "GET", bucket = target.bucket, key = one.key, reads = true, to_file = path,
    headers = one.etag ~= "" and { ["if-match"] = request.quoted_etag(one.etag) } or nil,
    before_again = function() begin(path) end }, TIMEOUT)
  local digest = objects.digest_of_file(path, one.size)
  if digest then return digest end
  return fault.raise { kind = "verify",
    message = ("what came of s3://%s/%s is not what is there"):format(target.bucket, one.key) }
end

local function refuse_present(path)
  if not fs.lstat(path) then return end
  fault.raise { kind = "conflict", host = "local", message = path .. " is there by now" }
end

--- Moves what has not been moved yet.
local function move(target, place, stage)
  for _, one in ipairs(target.objects) do
    local from, path = staged(target, one, place, stage), path_of(target, one)
    if fs.lstat(from) then
      refuse_present(path)
      fs.rename(from, path)
    end
  end
  fs.sync(place.folders)
  release(target, place)
end

local function run(target, _, call)
  task.may_change "s3.files"
  local digests, paths, place = {}, {}, call.place
  parallel.each(target.objects, AT_A_TIME, function(one, i) digests[i] = bring(target, one, place) end)
  for i, one in ipairs(target.objects) do
    refuse_present(path_of(target, one))
    paths[i] = staged(target, one, place, COMING)
  end
  fs.sync(paths)
  for _, folder in ipairs(place.folders) do fs.rename(beside(folder, place, COMING), beside(folder, place, WHOLE)) end
  move(target, place, WHOLE)
  return { digests = digests }
end

local function undo(target, _, call)
  task.may_change "s3.files"
  local paths = {}
  for i, one in ipairs(target.objects) do
    local path = path_of(target, one)
    if fs.lstat(path) then
      if objects.digest_of_file(path, one.size) ~= call.result.digests[i] then
        fault.raise { kind = "conflict", host = "local", message = path .. " is not what was brought" }
      end
      paths[#paths + 1] = path
    end
  end
  for _, path in ipairs(paths) do fs.remove(path) end
  release(target, call.place) -- of this undo's own: the folders that they lie in may go next
  fs.sync(call.place.folders)
end

-- ---- settling ----

local function is_any_there(target)
  for _, one in ipairs(target.objects) do
    if fs.lstat(path_of(target, one)) then return true end
  end
  return false
end

--- Whether the call had not everything yet: then it never will, for a folder is not where it looks for it.
local function was_early(place)
  local early = false
  for _, folder in ipairs(place.folders) do
    early = rename(folder, place, COMING, VOID) or fs.exists(beside(folder, place, VOID)) or early
  end
  return early
end

local function finish(target, place)
  for _, folder in ipairs(place.folders) do rename(folder, place, WHOLE, TAKEN) end
  move(target, place, TAKEN)
  local digests = {}
  for i, one in ipairs(target.objects) do digests[i] = objects.digest_of_file(path_of(target, one), one.size) end
  for i = 1, #target.objects do
    if not digests[i] then return "partial", "some of the files are there" end
  end
  return "done", { digests = digests }
end

local function take(target, _, intent)
  if intent.undoes or was_early(intent.place) then
    release(target, intent.place)
    return intent.undoes and not is_any_there(target) and "done" or "void"
  end
  local ok, verdict, result = pcall(finish, target, intent.place)
  if ok then return is_any_there(target) and verdict or "void", result end
  if fault.is(verdict, "conflict") then return "partial", verdict.message end
  return error(verdict, 0)
end

effect.action "s3.files" {
  timeout = TIMEOUT * 24, run = run, undo = undo, take = take, late = false, meet = account.meet, prepare = prepare,
  release = release,
  show = function(target)
    return ("s3://%s/%s to %s (%d objects)"):format(target.bucket, target.prefix, target.folder, #target.objects)
  end,
  says = function(data) return ("%d bytes"):format(data.size) end,
}

--- Brings objects into files that are not there.
--- @param target table   of account.target
--- @param bucket string
--- @param prefix string
--- @param folder string  of this machine
--- @param list neap.s3.file[]
--- @param options { keep?: string, irreversible?: string, timeout?: number }
function arrival.bring(target, bucket, prefix, folder, list, options)
  local one, size = account.with(target, { bucket = bucket, prefix = prefix, folder = folder, host = "local",
    objects = list }), 0
  for _, object in ipairs(list) do size = size + object.size end
  effect.perform("s3.files", one, { size = size },
    { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
  if not effect.planning() then return end
  for _, object in ipairs(list) do effect.shadow("local", path_of(one, object)) end
end

return arrival
