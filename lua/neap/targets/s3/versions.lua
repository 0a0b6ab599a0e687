--- Buckets that keep versions: what lies below the object that is seen can be seen again.
local account = require "neap.targets.aws.account"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local request = require "neap.targets.s3.request"
local sigv4   = require "neap.targets.aws.sigv4"
local state   = require "neap.targets.s3.state"

local versions = {}

local MOST   = 1000    -- versions of an object that are looked at
local COPIED = 5 << 30 -- bytes that S3 copies in one request

--- Whether a bucket keeps versions, as far as we may know: who may not ask, or has a server that knows none, cannot use
--- them.
--- @param target table
--- @param bucket string
--- @return boolean
function versions.are_kept(target, bucket)
  local ok, found = pcall(account.read, target, "GetBucketVersioning", { Bucket = bucket })
  if ok then return found.Status == "Enabled" end
  if fault.is(found, "denied") or fault.is(found) and found.status == 501 then return false end
  return error(found, 0)
end

--- Versions of an object and marks of its deletion, the newest first.
local function list(target, key)
  local page = account.read(target, "ListObjectVersions", { Bucket = target.bucket, Prefix = key, MaxKeys = MOST })
  local found = {}
  for _, kind in ipairs { "Versions", "DeleteMarkers" } do
    for _, one in ipairs(page[kind] or {}) do
      if one.Key == key then
        found[#found + 1] = { id = one.VersionId, time = one.LastModified, latest = one.IsLatest,
          is_mark = kind == "DeleteMarkers" }
      end
    end
  end
  table.sort(found, function(a, b)
    if a.latest ~= b.latest then return a.latest == true end
    return a.time > b.time
  end)
  return found
end

--- Whether a version is one that this run has written.
local function is_ours(target, key, version)
  local reply = request.send(target, { method = "HEAD", bucket = target.bucket, key = key, reads = true,
    query = { { "versionId", version.id } } }, 60)
  local witness = reply.headers["x-amz-meta-neap-effect"] or ""
  return witness:sub(1, #hosts.run().uid) == hosts.run().uid
end

local function is_state(target, entry, version, wanted, same)
  if not version or version.is_mark then return wanted == nil end
  local now = state.read(target, target.bucket, { key = entry.key, version = version.id, digest = wanted
    and wanted.digest,
    path = wanted and not wanted.content and "" or nil })
  return wanted ~= nil and same(now, wanted)
end

local function remove(target, key, version)
  account.change(target, "DeleteObject", { Bucket = target.bucket, Key = key, VersionId = version.id },
    { repeatable = true })
end

--- Takes away what this run has put on top, where that leaves the wanted state to be seen: then the bucket is as it
--- was.
--- @param target table
--- @param entry table
--- @param wanted table?
--- @param same fun(a: table?, b: table?): boolean
--- @return boolean done
function versions.uncover(target, entry, wanted, same)
  if not versions.are_kept(target, target.bucket) then return false end
  local found = list(target, entry.key)
  local top = found[1]
  if not top or top.is_mark and not wanted then return false end
  if not top.is_mark and not is_ours(target, entry.key, top) then return false end
  if not is_state(target, entry, found[2], wanted, same) then return false end
  remove(target, entry.key, top)
  return true
end

--- Makes an earlier version the newest again, by a copy. Raises kind `missing` where there is none with that state.
--- @param target table
--- @param entry table
--- @param wanted table
--- @param headers table<string, string>
--- @param same fun(a: table?, b: table?): boolean
function versions.copy(target, entry, wanted, headers, same)
  for _, version in ipairs(versions.are_kept(target, target.bucket) and list(target, entry.key) or {}) do
    if not version.is_mark and is_state(target, entry, version, wanted, same) then
      return versions.copy_from(target, entry, { bucket = target.bucket, key = entry.key, version = version.id,
        size = wanted.size }, headers)
    end
  end
  return fault.raise { kind = "missing",
    message = ("s3://%s/%s was larger than neap keeps, and no version of it is there"):format(target.bucket,
      entry.key) }
end

--- Copies an object within S3.
--- @param target table
--- @param entry table
--- @param from { bucket: string, key: string, version?: string, size: integer, etag?: string }
--- @param headers table<string, string>
function versions.copy_from(target, entry, from, headers)
  if from.size > COPIED then
    fault.raise { kind = "denied", message = ("s3://%s/%s is larger than S3 copies in one request (5 GiB)"):format(
      from.bucket, from.key) }
  end
  headers["x-amz-copy-source"] = sigv4.path(("/%s/%s"):format(from.bucket, from.key))
    .. (from.version and "?versionId=" .. from.version or "")
  headers["x-amz-copy-source-if-match"] = from.etag and request.quoted_etag(from.etag)
  headers["x-amz-metadata-directive"], headers["x-amz-tagging-directive"] = "REPLACE", "REPLACE"
  local mark = headers["x-amz-meta-neap-effect"]
  local reply = request.send(target, { method = "PUT", bucket = target.bucket, key = entry.key, headers = headers,
    happened = mark and function() return state.witness(target, target.bucket, entry.key) == mark end or nil }, 3600)
  if reply and not reply.body:find "<ETag>" then
    -- S3 says that it failed in the body of a good answer, too
    fault.raise { kind = "lost", message = ("the copy to s3://%s/%s did not succeed"):format(target.bucket, entry.key),
      output = reply.body:sub(1, 2000) }
  end
end

return versions
