--- Large objects in parts, side by side. An upload is begun before its effect is written down, so that one that was
--- interrupted goes on with the parts that are there, and a completion that is late can be shut out.
local account  = require "neap.targets.aws.account"
local crypto   = require "native.crypto"
local fault    = require "native.error"
local given    = require "neap.targets.aws.given"
local hosts    = require "neap.targets.connection"
local json     = require "native.json"
local parallel = require "neap.targets.aws.parallel"
local process  = require "native.process"
local request  = require "neap.targets.s3.request"
local state    = require "neap.targets.s3.state"
local task     = require "native.task"

local multipart = {}

multipart.PART = 8 << 20

local MOST_PARTS = 10000
local AT_A_TIME  = 4
local TIMEOUT    = 3600 -- seconds for one part
local SKEW       = 60   -- seconds that the clocks of S3 and of this machine may differ

--- Whether an entry goes up in parts.
--- @param entry table
--- @return boolean
function multipart.is_wanted(entry) return entry.path ~= nil and entry.size > multipart.PART end

-- ---- beginning and ending ----

local function create(target, entry)
  local headers = state.headers(entry.made, hosts.run().uid .. "-parts")
  headers["x-amz-checksum-algorithm"] = "SHA256"
  local reply = request.send(target, { method = "POST", bucket = target.bucket, key = entry.key,
    query = { { "uploads", "" } }, headers = headers }, 60)
  local id = reply.body:match "<UploadId>([^<]+)</UploadId>"
  if not id then fault.raise { kind = "protocol", message = "S3 begins an upload and does not name it" } end
  return (id:gsub("&amp;", "&"))
end

--- The parts that are there, by number; nil where there is no such upload.
local function parts_of(target, key, id)
  local parts, marker = {}, nil
  repeat
    local page = account.find(target, "ListParts", { Bucket = target.bucket, Key = key, UploadId = id,
      PartNumberMarker = marker })
    if not page then return nil end
    for _, part in ipairs(page.Parts or {}) do parts[part.PartNumber] = part end
    marker = page.IsTruncated and page.NextPartNumberMarker or nil
  until not marker
  return parts
end

--- The upload of an object that an earlier attempt of this run has begun.
local function begun(target, key)
  local state_of_run = hosts.run().state
  for text in pairs(state_of_run and state_of_run.places or {}) do
    local place = json.decode(text)
    if place.bucket == target.bucket then
      for _, one in ipairs(place.uploads or {}) do
        if one.key == key then return one.id end
      end
    end
  end
end

local function abort(target, bucket, key, id)
  local ok, failure = pcall(account.change, target, "AbortMultipartUpload",
    { Bucket = bucket, Key = key, UploadId = id }, { repeatable = true })
  if not ok and not fault.is(failure, "missing") then error(failure, 0) end
end

--- The uploads of an object that were begun since then and hold no part.
local function empty_uploads(target, bucket, key, since)
  local list = {}
  local page = account.read(target, "ListMultipartUploads", { Bucket = bucket, Prefix = key })
  for _, one in ipairs(page.Uploads or {}) do
    local is_young = one.Key == key and (given.time(one.Initiated) or 0) >= since
    local parts = is_young and parts_of(target, key, one.UploadId)
    if parts and not next(parts) then list[#list + 1] = one.UploadId end
  end
  return list
end

--- An upload whose beginning was answered to nobody has no record: neap died there, or the answer was lost. It is
--- known by its key, by its time, and by having no parts: neap sends none before it has written an upload down.
local function abort_unknown(target, place)
  local state_of_run = hosts.run().state
  local since = given.time(state_of_run and state_of_run.first and state_of_run.first.time)
  for _, one in ipairs(since and place.uploads or {}) do
    local ok, list = pcall(empty_uploads, target, place.bucket, one.key, since - SKEW)
    local is_no = fault.is(list, "denied") or fault.is(list, "missing") or fault.is(list) and list.status == 501
    if not ok and not is_no then error(list, 0) end
    for _, id in ipairs(ok and list or {}) do abort(target, place.bucket, one.key, id) end
  end
end

--- Ends uploads that were not completed, at a run's close.
--- @param target table
--- @param place table
function multipart.release(target, place)
  for _, one in ipairs(place.uploads) do
    if one.id then abort(target, place.bucket, one.key, one.id) end
  end
  abort_unknown(target, place)
end

--- Begins those uploads that no earlier attempt has begun; `made` are these alone.
local function begin(target, uploads, made)
  for _, entry in ipairs(target.objects) do
    local one = multipart.is_wanted(entry) and { key = entry.key, id = begun(target, entry.key) }
    if one then uploads[#uploads + 1] = one end
    if one and not one.id then
      made[#made + 1] = one
      one.id = create(target, entry)
    end
  end
end

--- Begins the uploads that a target needs, before its intent is written; nil where it needs none.
--- @param target table
--- @return table? place
function multipart.prepare(target)
  local uploads, made = {}, {}
  local ok, failure = pcall(begin, target, uploads, made)
  if not ok then
    pcall(task.shield, multipart.release, target, { bucket = target.bucket, uploads = made })
    error(failure, 0)
  end
  return uploads[1] and { bucket = target.bucket, uploads = uploads } or nil
end

--- Shuts out a completion that is late, and leaves the other parts: it names the first part by a tag, which is
--- another's from now on.
--- @param target table
--- @param place table
function multipart.close(target, place)
  for _, one in ipairs(place.uploads) do
    local ok, failure = pcall(request.send, target, { method = "PUT", bucket = place.bucket, key = one.key,
      query = { { "partNumber", "1" }, { "uploadId", one.id } }, body = "closed " .. crypto.hex(crypto.random(8)) }, 60)
    if not ok and not fault.is(failure, "missing") then error(failure, 0) end
  end
end

-- ---- parts ----

local function size_of_parts(size)
  local least = (size + MOST_PARTS - 1) // MOST_PARTS
  return math.max(multipart.PART, (least + 0xfffff) & ~0xfffff)
end

local MD5 = 'dd "if=$1" bs=1M "skip=$2" "count=$3" iflag=skip_bytes,count_bytes status=none | md5sum'

local function md5_of(path, offset, length)
  local argv = { "sh", "-c", MD5, "sh", path, tostring(offset), tostring(length) }
  return process.run(argv, { reads = true, timeout = TIMEOUT }).out:match "^%x+"
end

--- Whether a part is there already. Servers that list no checksums have MD5 as the tag of a part.
local function is_there(there, path, offset, length, checksum)
  if not there or there.Size ~= length then return false end
  if there.ChecksumSHA256 then return there.ChecksumSHA256 == checksum end
  return request.etag(there.ETag) == md5_of(path, offset, length)
end

--- Where a part begins in its file, and its length.
local function place_of_part(entry, number)
  local each = size_of_parts(entry.size)
  local offset = (number - 1) * each
  return offset, math.min(each, entry.size - offset)
end

local function send_part(target, entry, path, id, number, there)
  local offset, length = place_of_part(entry, number)
  local digest = crypto.hasher():update_file(path, offset, length):hex()
  local checksum = request.base64(digest)
  if is_there(there, path, offset, length, checksum) then
    return { PartNumber = number, ETag = there.ETag, ChecksumSHA256 = checksum }
  end
  local reply = request.send(target, { method = "PUT", bucket = target.bucket, key = entry.key, digest = digest,
    query = { { "partNumber", tostring(number) }, { "uploadId", id } },
      headers = { ["x-amz-checksum-sha256"] = checksum },
    body_file = { path = path, offset = offset, length = length } }, TIMEOUT)
  return { PartNumber = number, ETag = reply.headers.etag, ChecksumSHA256 = checksum }
end

local function complete(target, entry, id, parts)
  local ok, result = pcall(account.change, target, "CompleteMultipartUpload", { Bucket = target.bucket, Key = entry.key,
    UploadId = id, MultipartUpload = { Parts = parts } }, { repeatable = true, timeout = TIMEOUT })
  if ok and result.ETag then return end
  -- S3 says that it failed in the body of a good answer, too
  local now = state.read(target, target.bucket, entry)
  if now and now.digest == entry.digest then return end
  if not ok then error(result, 0) end
  fault.raise { kind = "lost", message = ("the upload of s3://%s/%s was not completed"):format(target.bucket,
    entry.key) }
end

--- Sends the parts, and reads each once more behind its sending: what was sent is the file that was looked at only if
--- all of it is still the same.
local function send_parts(target, entry, path, id, there)
  local numbers, parts, whole, behind, following = {}, {}, crypto.hasher(), 0, false
  for number = 1, (entry.size - 1) // size_of_parts(entry.size) + 1 do numbers[number] = number end
  parallel.each(numbers, AT_A_TIME, function(number)
    parts[number] = send_part(target, entry, path, id, number, there[number])
    while parts[behind + 1] and not following do
      following = true
      whole:update_file(path, place_of_part(entry, behind + 1))
      behind, following = behind + 1, false
    end
  end)
  return parts, "sha256:" .. whole:hex()
end

--- Uploads a file in parts, those that are there already left out.
--- @param target table
--- @param entry table
--- @param path string    on this machine
--- @param place? table   of multipart.prepare
function multipart.send(target, entry, path, place)
  local id
  for _, one in ipairs(place and place.uploads or {}) do
    if one.key == entry.key then id = one.id end
  end
  local there = id and parts_of(target, entry.key, id)
  if not there then id, there = create(target, entry), {} end
  local parts, digest = send_parts(target, entry, path, id, there)
  if digest ~= entry.digest then
    fault.raise { kind = "conflict", host = entry.host,
      message = ("%s on %s is not what it was when it was looked at"):format(entry.path, entry.host) }
  end
  complete(target, entry, id, parts)
end

return multipart
