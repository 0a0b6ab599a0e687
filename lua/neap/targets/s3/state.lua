--- What an object of S3 is, as far as neap can put it back: its bytes, up to a size, or their digest; its type and the
--- like, metadata and tags.
local account = require "neap.targets.aws.account"
local crypto  = require "native.crypto"
local fault   = require "native.error"
local ordered = require "neap.ordered"
local request = require "neap.targets.s3.request"
local secret  = require "native.secret"

local state = {}

--- Bytes of an object that a journal keeps.
state.KEPT = 8 << 20

local TIMEOUT = 300 -- seconds for the bytes that are kept

--- Parts of a state, and the headers that they are.
local FIELDS = {
  type = "content-type", cache_control = "cache-control", disposition = "content-disposition",
  encoding = "content-encoding", language = "content-language", redirect = "x-amz-website-redirect-location",
  storage = "x-amz-storage-class",
}
local META, OWN = "x-amz-meta-", { ["neap-digest"] = true, ["neap-effect"] = true }

--- Bytes of SHA-256, as states name it.
--- @param content string
--- @return string
function state.digest(content) return "sha256:" .. crypto.sha256(content) end

local function metadata_of(headers)
  local map
  for name, value in pairs(headers) do
    local key = name:sub(1, #META) == META and name:sub(#META + 1)
    if key and not OWN[key] then
      map = map or {}
      map[key] = value
    end
  end
  return map
end

local function etag_of(headers) return request.etag(headers.etag) end

local function digest_of(headers) return headers[META .. "neap-digest"] or "etag:" .. etag_of(headers) end

--- Tags as the header has them: "a=1&b=2".
local function tags_of(target, bucket, entry)
  local found = account.read(target, "GetObjectTagging", { Bucket = bucket, Key = entry.key,
    VersionId = entry.version })
  local parts = {}
  for i, tag in ipairs(found.TagSet or {}) do parts[i] = secret.percent(tag.Key) .. "=" .. secret.percent(tag.Value) end
  table.sort(parts)
  return parts[1] and table.concat(parts, "&")
end

local function described(target, bucket, entry, headers)
  local one = { key = entry.key, metadata = metadata_of(headers), ours = headers[META .. "neap-digest"] ~= nil or nil }
  for name, header in pairs(FIELDS) do one[name] = headers[header] end
  if one.storage == "STANDARD" then one.storage = nil end -- what Amazon does not name and others do
  if (tonumber(headers["x-amz-tagging-count"]) or 0) > 0 then one.tags = tags_of(target, bucket, entry) end
  return one
end

local function ask(target, bucket, entry, method, range)
  return request.send(target, { method = method, bucket = bucket, key = entry.key, reads = true,
    query = entry.version and { { "versionId", entry.version } } or nil,
    headers = range and { Range = range } or nil }, TIMEOUT)
end

--- The reply; nil where there is no such object.
local function found(...)
  local ok, reply = pcall(ask, ...)
  if ok then return reply end
  if fault.is(reply, "missing") and reply.code ~= "NoSuchBucket" then return nil end
  error(reply, 0)
end

local function total_of(headers)
  return tonumber((headers["content-range"] or ""):match "/(%d+)$") or tonumber(headers["content-length"])
end

--- The first bytes with the headers; of an object without bytes the headers alone.
local function first_bytes(target, bucket, entry)
  local ok, reply = pcall(found, target, bucket, entry, "GET", ("bytes=0-%d"):format(state.KEPT - 1))
  if ok then return reply end
  if not fault.is(reply) or reply.status ~= 416 then error(reply, 0) end
  return found(target, bucket, entry, "HEAD")
end

local function with_digest(target, bucket, entry, headers)
  local one = described(target, bucket, entry, headers)
  one.size, one.digest = total_of(headers), digest_of(headers)
  return one
end

--- The state of an object, and its ETag; nil where it is not there. What comes from a file, or is a copy, and is as
--- wanted, is told by its digest alone.
--- @param target table   of account.target
--- @param bucket string
--- @param entry { key: string, version?: string, digest?: string, path?: string, copy?: table }
--- @return table?
--- @return string? etag
function state.read(target, bucket, entry)
  if entry.path or entry.copy then
    local reply = found(target, bucket, entry, "HEAD")
    if not reply then return nil end
    if digest_of(reply.headers) == entry.digest or total_of(reply.headers) > state.KEPT then
      return with_digest(target, bucket, entry, reply.headers), etag_of(reply.headers)
    end
  end
  local reply = first_bytes(target, bucket, entry)
  if not reply then return nil end
  local headers = reply.headers
  if total_of(headers) > state.KEPT then return with_digest(target, bucket, entry, headers), etag_of(headers) end
  local one = described(target, bucket, entry, headers)
  one.content = reply.body
  one.ours = headers[META .. "neap-digest"] == state.digest(reply.body) or nil
  return one, etag_of(headers)
end

--- Whether the journal holds all that it takes to put a state back.
--- @param one table?
--- @return boolean
function state.is_kept(one) return one == nil or one.content ~= nil end

--- The headers that make an object so; witness: the effect's name, with which neap marks what it wrote.
--- @param one table
--- @param witness string
--- @return table<string, string>
function state.headers(one, witness)
  local headers = { ["x-amz-tagging"] = one.tags }
  for name, header in pairs(FIELDS) do headers[header] = one[name] end
  for key, value in pairs(one.metadata or {}) do headers[META .. key] = value end
  if one.ours then
    headers[META .. "neap-digest"] = one.digest or state.digest(one.content)
    headers[META .. "neap-effect"] = witness
  end
  return headers
end

--- @param target table
--- @param bucket string
--- @param key string
--- @return boolean
function state.exists(target, bucket, key) return found(target, bucket, { key = key }, "HEAD") ~= nil end

--- The name of the effect that wrote the object that is there; nil where neap did not.
--- @param target table
--- @param bucket string
--- @param key string
--- @return string?
function state.witness(target, bucket, key)
  local reply = found(target, bucket, { key = key }, "HEAD")
  return reply and reply.headers[META .. "neap-effect"]
end

local SHOWN = { "type", "cache_control", "disposition", "encoding", "language", "redirect", "storage", "tags" }

local function is_text(bytes) return utf8.len(bytes) and not bytes:find "[%z\1-\8\14-\31]" end

--- A state as lines for people.
--- @param one table
--- @return string
function state.text(one)
  local lines = {}
  for _, name in ipairs(SHOWN) do
    if one[name] then lines[#lines + 1] = ("%s: %s"):format(name:gsub("_", "-"), one[name]) end
  end
  for _, key in ipairs(ordered.keys(one.metadata)) do
    lines[#lines + 1] = ("%s: %s"):format(key, one.metadata[key])
  end
  local size = one.size or #one.content
  if one.content and size <= 65536 and is_text(one.content) then
    lines[#lines + 1] = "\n" .. one.content
  else
    lines[#lines + 1] = ("%d bytes, %s"):format(size, one.digest or state.digest(one.content))
  end
  return table.concat(lines, "\n")
end

return state
