--- The kind of effect on objects of S3: one or many of a bucket, their states before, and how each is put there.
local account   = require "neap.targets.aws.account"
local crypto    = require "native.crypto"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local fs        = require "native.fs"
local hosts     = require "neap.targets.connection"
local listing   = require "neap.targets.s3.listing"
local multipart = require "neap.targets.s3.multipart"
local parallel  = require "neap.targets.aws.parallel"
local request   = require "neap.targets.s3.request"
local stages    = require "neap.targets.file.stage"
local state     = require "neap.targets.s3.state"
local task      = require "native.task"
local versions  = require "neap.targets.s3.versions"

local objects = {}

local AT_A_TIME = 32
local TIMEOUT   = 3600 -- seconds for one request

--- @class neap.s3.entry  an object of a target
--- @field key string
--- @field digest? string  of what is to be there: "sha256:…"
--- @field path? string    of the file that it comes from, on `host`
--- @field host? string
--- @field size? integer   of the file, or of what is to go
--- @field copy? { bucket: string, key: string, size: integer, etag: string }
--- @field made? table     the state that is to be made of a file

-- ---- states ----

local function by_key(list)
  local map = {}
  for _, one in ipairs(list or {}) do map[one.key] = one end
  return map
end

--- The states of a target's objects that are there, in its order; nil where none is.
--- @param target table
--- @return table[]?
function objects.get(target)
  local found, list, there = {}, {}, listing.of(target, target.bucket, target.objects)
  parallel.each(target.objects, AT_A_TIME, function(entry, i)
    found[i] = there[entry.key] ~= false and state.read(target, target.bucket, entry) or false
  end)
  for _, one in ipairs(found) do
    if one then list[#list + 1] = one end
  end
  return list[1] and list or nil
end

-- ---- one object ----

--- Read and made in a thread, in little memory.
local function digest(path, size) return "sha256:" .. crypto.hasher():update_file(path, 0, size):hex() end

--- The digest of a file of this machine, as states have it; nil where there is none, or one of another size.
--- @param path string
--- @param size? integer  nil: any
--- @return string?
function objects.digest_of_file(path, size)
  local found = fs.lstat(path)
  local is_meant = found and found.type == "file" and (not size or found.size == size)
  return is_meant and digest(path, found.size) or nil
end

--- Calls fn with the path of a file on this machine that holds what the entry's file does.
local function with_file(entry, fn)
  if entry.host == "local" then return fn(entry.path) end
  stages.with("s3", function(stage)
    hosts.files(entry.host):download(entry.path, stage .. "/object", { timeout = TIMEOUT })
    fn(stage .. "/object")
  end)
end

local function changed_file(entry)
  fault.raise { kind = "conflict", host = entry.host,
    message = ("%s on %s is not what it was when it was looked at"):format(entry.path, entry.host) }
end

--- What makes a request void where the object is not as it was: the server compares in its own act.
local function condition(target, entry, before)
  if not before then return { ["if-none-match"] = "*" } end
  local now, etag = state.read(target, target.bucket, entry)
  if not effect.same(now, before) then
    fault.raise { kind = "conflict", message = ("s3://%s/%s was changed by somebody else"):format(target.bucket,
      entry.key) }
  end
  return { ["if-match"] = request.quoted_etag(etag) }
end

--- body: a text, or { path =, length = } of a file.
local function put_body(target, entry, body, headers, call, conditions)
  local all = {}
  for _, map in ipairs { headers, conditions } do
    for name, value in pairs(map) do all[name] = value end
  end
  local said, is_text = headers["x-amz-meta-neap-digest"], type(body) == "string"
  local reply = request.send(target, { method = "PUT", bucket = target.bucket, key = entry.key,
    body = is_text and body or nil, body_file = not is_text and body or nil,
    digest = said and said:match "^sha256:(%x+)$", headers = all }, TIMEOUT)
  call.tags[entry.key] = reply.headers.etag and { etag = request.etag(reply.headers.etag),
    size = is_text and #body or body.length }
end

--- Puts a body there, once. A refusal by the condition may be our own first request, whose answer was lost.
local function put_once(target, entry, body, headers, call, before)
  local ok, failure = pcall(put_body, target, entry, body, headers, call, condition(target, entry, before))
  if ok then return end
  if fault.is(failure) and failure.code == "NotImplemented" then
    return put_body(target, entry, body, headers, call, {})
  end
  local is_unclear = fault.is(failure, "conflict") or fault.is(failure, "lost")
  if is_unclear and headers["x-amz-meta-neap-effect"]
    and state.witness(target, target.bucket, entry.key) == call.witness then
    return
  end
  error(failure, 0)
end

local function send_file(target, entry, headers, call, before)
  with_file(entry, function(path)
    local found = fs.stat(path)
    if not found or found.size ~= entry.size then changed_file(entry) end
    if multipart.is_wanted(entry) then
      condition(target, entry, before)
      return multipart.send(target, entry, path, call.place)
    end
    if digest(path, entry.size) ~= entry.digest then changed_file(entry) end
    put_once(target, entry, { path = path, length = entry.size }, headers, call, before)
  end)
end

local function write(target, entry, wanted, call, before)
  local headers = state.headers(wanted, call.witness)
  if wanted.content then return put_once(target, entry, wanted.content, headers, call, before) end
  if wanted.digest ~= entry.digest then return versions.copy(target, entry, wanted, headers, effect.same) end
  if entry.copy then
    condition(target, entry, before)
    return versions.copy_from(target, entry, entry.copy, headers)
  end
  return send_file(target, entry, headers, call, before)
end

--- Whether it is an earlier state that is put there, and not the one that the entry is for.
local function is_restored(entry, wanted)
  if not wanted then return entry.digest ~= nil end
  return (wanted.digest or state.digest(wanted.content)) ~= entry.digest
end

local function put_one(target, entry, wanted, call, before)
  if effect.same(wanted, before) then return end
  if is_restored(entry, wanted) and versions.uncover(target, entry, wanted, effect.same) then return end
  if wanted then return write(target, entry, wanted, call, before) end
  return account.change(target, "DeleteObject", { Bucket = target.bucket, Key = entry.key },
    { repeatable = true, happened = function() return not state.exists(target, target.bucket, entry.key) end })
end

--- Whether one object is as it was put. What this call has sent S3 has checked against its signature, and named by a tag.
local function is_put(target, entry, wanted, put, listed)
  if put and listed ~= nil then return listed and listed.etag == put.etag and listed.size == put.size end
  if not wanted and listed == false then return true end
  return effect.same(state.read(target, target.bucket, entry), wanted)
end

--- Whether the objects are there as they were put: many are looked up by one listing.
local function verify(target, wanted, call)
  local after, there, good = by_key(wanted), listing.of(target, target.bucket, target.objects), true
  parallel.each(target.objects, AT_A_TIME, function(entry)
    good = is_put(target, entry, after[entry.key], call.tags[entry.key], there[entry.key]) and good
  end)
  return good
end

-- ---- settling ----

--- Whether some of the objects are as before and others as after; the word for it where one is neither.
local function progress(target, intent)
  local now, before, after = by_key(objects.get(target)), by_key(intent.before), by_key(intent.after)
  local made, waiting = 0, 0
  for _, entry in ipairs(target.objects) do
    local one, was, will = now[entry.key], before[entry.key], after[entry.key]
    if not effect.same(was, will) then
      if effect.same(one, will) then
        made = made + 1
      elseif effect.same(one, was) then
        waiting = waiting + 1
      else
        return "other"
      end
    end
  end
  return waiting == 0 and "made" or made == 0 and "waiting" or "partial"
end

local function all_in_parts(target, place)
  local count = 0
  for _, entry in ipairs(target.objects) do count = count + (multipart.is_wanted(entry) and 1 or 0) end
  return place and #place.uploads == count and count == #target.objects
end

--- Uploads in parts are shut out at once; other requests are waited out, as long as their signatures are good. Not
--- where everything is there already: what is late then brings the same once more.
local function take(target, _, intent)
  if progress(target, intent) == "made" then return nil end
  if intent.place then task.shield(multipart.close, target, intent.place) end
  if intent.undoes or not all_in_parts(target, intent.place) then task.sleep(account.late(target, intent)) end
  if progress(target, intent) == "partial" then return "partial", "some of the objects are there" end
  return nil
end

-- ---- the kind ----

local function show(target)
  local list = target.objects
  if #list == 1 then return ("s3://%s/%s"):format(target.bucket, list[1].key) end
  return ("s3://%s/%s (%d objects)"):format(target.bucket, target.prefix or "", #list)
end

local function text(list)
  if #list == 1 then return state.text(list[1]) end
  local lines = {}
  for i, one in ipairs(list) do
    lines[i] = ("%s  %d bytes, %s"):format(one.key, one.size or #one.content, one.digest or state.digest(one.content))
  end
  return table.concat(lines, "\n")
end

local function keys_of(target)
  local keys = {}
  for i, entry in ipairs(target.objects) do keys[i] = entry.key end
  return { bucket = target.bucket, keys = keys, region = target.region, profile = target.profile }
end

effect.resource "s3.objects" {
  timeout = TIMEOUT,
  get = objects.get,
  put = function(target, wanted, call)
    task.may_change "s3.objects"
    call.tags = {}
    local after, before = by_key(wanted), by_key(call.before)
    parallel.each(target.objects, AT_A_TIME, function(entry)
      put_one(target, entry, after[entry.key], call, before[entry.key])
    end)
  end,
  verify = verify,
  take = take,
  prepare = multipart.prepare,
  release = multipart.release,
  meet = account.meet,
  key = keys_of,
  show = show,
  text = text,
}

--- Raises kind `denied` where an object that would be replaced is larger than a journal keeps, its bucket keeps no
--- versions and nobody has said that it may be lost.
--- @param target table
--- @param before table[]?
--- @param options table
function objects.check_way_back(target, before, options)
  if options.keep or options.irreversible then return end
  local entries = by_key(target.objects)
  for _, one in ipairs(before or {}) do
    local entry = entries[one.key]
    if not state.is_kept(one) and one.digest ~= entry.digest and not versions.are_kept(target, target.bucket) then
      local message = "s3://%s/%s has %d bytes, more than neap keeps, and its bucket keeps no versions"
      fault.raise { kind = "denied", message = message:format(target.bucket, one.key, one.size),
        hint = "say irreversible = \"why\", or turn on the bucket's versions" }
    end
  end
end

--- Changes objects; new_state as of effect.change, over lists of states.
--- @param target table
--- @param new_state fun(before: table[]?): table[]?
--- @param options { keep?: string, irreversible?: string, timeout?: number }
--- @return table[]?
function objects.change(target, new_state, options)
  return effect.change("s3.objects", target, function(before)
    local after = new_state(before)
    if not effect.same(before, after) then objects.check_way_back(target, before, options) end
    return after
  end, { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
end

--- The SHA-256 of a file on a host, and its size.
objects.file = effect.read("s3.file", function(target)
  local is_here = target.host == "local"
  local found
  if is_here then found = fs.lstat(target.path) else found = hosts.files(target.host):lstat(target.path) end
  if not found then
    fault.raise { kind = "missing", host = target.host,
      message = ("%s is not there on %s"):format(target.path, target.host) }
  end
  if found.type ~= "file" then
    fault.raise { kind = "conflict", host = target.host, message = target.path .. " is no file" }
  end
  if is_here then return { size = found.size, digest = digest(target.path, found.size) } end
  local out = hosts.exec(target.host, { "sha256sum", "--", target.path }, { reads = true, timeout = TIMEOUT }).out
  return { size = found.size, digest = "sha256:" .. out:match "^\\?(%x+)" }
end)

return objects
