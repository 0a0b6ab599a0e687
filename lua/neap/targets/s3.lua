--- Objects of S3, and of servers that speak as it does: put, copied, deleted, fetched, whole folders brought into line.
--- Changes are exact about bytes, type, metadata and tags, and a rollback restores them so.
local account  = require "neap.targets.aws.account"
local download = require "neap.targets.s3.download"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local hosts    = require "neap.targets.connection"
local names    = require "neap.targets.s3.names"
local objects  = require "neap.targets.s3.objects"
local request  = require "neap.targets.s3.request"
local rights   = require "neap.targets.file.rights"
local secret   = require "native.secret"
local state    = require "neap.targets.s3.state"
local tree     = require "neap.targets.s3.tree"
local website  = require "neap.targets.s3.website"

local s3 = {}

local MOST = 64 << 20 -- bytes of an object that is read as a text

--- @class (exact) neap.s3.place
--- @field profile? string
--- @field region? string
--- @field endpoint? string  of a server of one's own

--- @class (exact) neap.s3.change_options: neap.s3.place
--- @field keep? string
--- @field irreversible? string
--- @field timeout? number  seconds

--- @class (exact) neap.s3.put_options: neap.s3.change_options
--- @field content_type? string  default: by the key's ending, else "application/octet-stream"
--- @field metadata? table<string, string>
--- @field tags? table<string, string>
--- @field cache_control? string
--- @field disposition? string
--- @field encoding? string
--- @field language? string
--- @field redirect? string    where the page leads, for a bucket that is a website
--- @field storage? string     storage class
--- @field if_none_match? boolean  raises kind `conflict` where another object is there

local CHANGE = { keep = true, irreversible = true, timeout = true }
local PUT = { keep = true, irreversible = true, timeout = true, content_type = true, metadata = true, tags = true,
  cache_control = true, disposition = true, encoding = true, language = true, redirect = true, storage = true,
  if_none_match = true }

-- ---- states that are wanted ----

local TYPES = { html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8", txt = "text/plain; charset=utf-8",
  css = "text/css", js = "text/javascript", json = "application/json", xml = "application/xml", csv = "text/csv",
  png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", svg = "image/svg+xml",
  pdf = "application/pdf", gz = "application/gzip", zip = "application/zip" }

local function type_of(key) return TYPES[(key:match "%.(%w+)$" or ""):lower()] or "application/octet-stream" end

local function check_metadata(metadata, level)
  local map
  for name, value in pairs(metadata or {}) do
    if type(name) ~= "string" or not name:find "^[%w_.-]+$" or name:find "^neap%-" then
      error(("metadata: %q is no name"):format(tostring(name)), level + 1)
    end
    if type(value) ~= "string" or value:find "[^\32-\126]" or value:find "^%s" or value:find "%s$" then
      error(("metadata: %s is a text of plain ASCII, without spaces at its ends"):format(name), level + 1)
    end
    map = map or {}
    map[name:lower()] = value
  end
  return map
end

local function joined_tags(tags)
  local parts = {}
  for name, value in pairs(tags or {}) do parts[#parts + 1] = secret.percent(name) .. "=" .. secret.percent(value) end
  table.sort(parts)
  return parts[1] and table.concat(parts, "&")
end

--- The state of an object that neap writes, but for its bytes.
local function made(key, options, level)
  return { key = key, ours = true, type = options.content_type or type_of(key),
    metadata = check_metadata(options.metadata, level + 1), tags = joined_tags(options.tags),
    cache_control = options.cache_control, disposition = options.disposition, encoding = options.encoding,
    language = options.language, redirect = options.redirect, storage = options.storage }
end

--- A plan takes all of a bucket that it changes for changed.
local function bucket_of(bucket, options)
  local target = account.target("s3", options)
  target.account = "s3://" .. bucket
  return target
end

local function target_of(bucket, entries, options)
  return account.with(bucket_of(bucket, options), { bucket = bucket, objects = entries })
end

local function refuse_other(target, before, wanted)
  if before and not effect.same(before, wanted) then
    fault.raise { kind = "conflict", code = "PreconditionFailed",
      message = ("s3://%s/%s is there already"):format(target.bucket, wanted[1].key) }
  end
end

local function put(target, one, options)
  objects.change(target, function(before)
    if options.if_none_match then refuse_other(target, before, { one }) end
    return { one }
  end, options)
end

-- ---- changes ----

--- Makes an object hold a text, or what a file holds. Before-images up to 8 MiB are kept; what is larger comes back
--- where the bucket keeps versions, else the call is refused unless it is `irreversible` or to be kept.
--- @param bucket string
--- @param key string
--- @param source { text?: string, file?: string, host?: string|table }
--- @param options? neap.s3.put_options
function s3.put(bucket, key, source, options)
  names.check_bucket(bucket, 2)
  names.check_key(key, 2)
  options = account.check_options(options, PUT, 2)
  local one = made(key, options, 2)
  if type(source) == "table" and type(source.text) == "string" then
    if #source.text > state.KEPT then error("a text of more than 8 MiB goes up as a file", 2) end
    one.content = source.text
    return put(target_of(bucket, { { key = key, digest = state.digest(source.text) } }, options), one, options)
  end
  if type(source) ~= "table" or type(source.file) ~= "string" then
    error('the source is { text = "…" } or { file = "/path", host = … }', 2)
  end
  local host = source.host and hosts.name(source.host) or "local"
  local file = objects.file { host = host, path = source.file }
  one.size, one.digest = file.size, file.digest
  local entry = { key = key, path = source.file, host = host, size = file.size, digest = file.digest, made = one }
  return put(target_of(bucket, { entry }, options), one, options)
end

--- Deletes an object, if it is there.
--- @param bucket string
--- @param key string
--- @param options? neap.s3.change_options
function s3.delete(bucket, key, options)
  names.check_bucket(bucket, 2)
  names.check_key(key, 2)
  options = account.check_options(options, CHANGE, 2)
  objects.change(target_of(bucket, { { key = key } }, options), function() return nil end, options)
end

local source_state = effect.read("s3.source", function(target, bucket, key)
  local one, etag = state.read(target, bucket, { key = key })
  if not one then
    fault.raise { kind = "missing", message = ("s3://%s/%s is not there"):format(bucket, key) }
  end
  one.etag = etag
  return one
end)

--- Makes an object the same as another: bytes, type, metadata, tags. Up to 5 GiB; what is larger than 8 MiB S3 copies
--- itself.
--- @param from string  "s3://bucket/key"
--- @param to string
--- @param options? neap.s3.change_options
function s3.copy(from, to, options)
  local from_bucket, from_key = names.split(from, 2)
  local bucket, key = names.split(to, 2)
  options = account.check_options(options, CHANGE, 2)
  local one = source_state(bucket_of(from_bucket, options), from_bucket, from_key)
  local etag = one.etag
  one.etag, one.key, one.ours = nil, key, true
  local entry = { key = key, digest = one.digest or state.digest(one.content) }
  if not one.content then
    entry.copy = { bucket = from_bucket, key = from_key, size = one.size, etag = etag }
  end
  put(target_of(bucket, { entry }, options), one, options)
end

--- Brings a folder of this machine and a place in a bucket into line, in the direction from → to. Objects go up side by
--- side. delete: what is only at `to` is deleted.
--- @param from string  "/folder" or "s3://bucket/prefix"
--- @param to string
--- @param options? neap.s3.change_options  and delete, in direction of S3 content types by the names' endings
function s3.sync(from, to, options)
  options = account.check_options(options, { keep = true, irreversible = true, timeout = true, delete = true }, 2)
  if tostring(from):find "^s3://" then
    rights.check_path(to, 2)
    return tree.down(bucket_of((names.split(from, 2)), options), from, to, options)
  end
  rights.check_path(from, 2)
  return tree.up(bucket_of((names.split(to, 2)), options), from, to, options, function(key) return made(key, {}, 1) end)
end

--- Writes an object into a file of a host; of more than 8 MiB on this machine alone, and where no file is there.
--- @param bucket string
--- @param key string
--- @param host string|table
--- @param path string
--- @param options? neap.s3.change_options
function s3.download(bucket, key, host, path, options)
  names.check_bucket(bucket, 2)
  names.check_key(key, 2)
  options = account.check_options(options, CHANGE, 2)
  download.file(bucket_of(bucket, options), bucket, key, hosts.name(host), path, options)
end

--- Makes a bucket a website, as S3 names its parts: { IndexDocument = { Suffix = "index.html" }, ErrorDocument = …,
--- RoutingRules = { … }, RedirectAllRequestsTo = … }; nil: none.
--- @param bucket string
--- @param configuration table?
--- @param options? neap.s3.change_options
function s3.website(bucket, configuration, options)
  names.check_bucket(bucket, 2)
  options = account.check_options(options, CHANGE, 2)
  website.change(bucket_of(bucket, options), bucket, configuration, options)
end

-- ---- reads ----

local read_text = effect.read("s3.get", function(target, bucket, key)
  local reply = request.send(target, { method = "GET", bucket = bucket, key = key, reads = true,
    headers = { Range = ("bytes=0-%d"):format(MOST) } }, 600)
  return reply.body
end)

local read_head = effect.read("s3.head", function(target, bucket, key)
  local found = account.find(target, "HeadObject", { Bucket = bucket, Key = key })
  return found and { size = found.ContentLength, type = found.ContentType, etag = found.ETag,
    modified = found.LastModified,
    metadata = found.Metadata, version = found.VersionId, redirect = found.WebsiteRedirectLocation,
    storage = found.StorageClass, encryption = found.ServerSideEncryption }
end)

local read_list = effect.read("s3.list", function(target, bucket, prefix) return tree.list(target, bucket, prefix) end)

local function reading(bucket, key, options)
  names.check_bucket(bucket, 3)
  if key then names.check_key(key, 3) end
  return bucket_of(bucket, account.check_options(options, {}, 3))
end

--- The bytes of an object. Raises kind `missing` where it is not there, `protocol` for more than 16 MiB.
--- @param bucket string
--- @param key string
--- @param options? neap.s3.place
--- @return string
function s3.get(bucket, key, options)
  local ok, text = pcall(read_text, reading(bucket, key, options), bucket, key)
  if ok then return text end
  if fault.is(text) and text.status == 416 then return "" end
  return error(text, 0)
end

--- What S3 says of an object; nil where it is not there.
--- @param bucket string
--- @param key string
--- @param options? neap.s3.place
--- @return { size: integer, type: string, etag: string, modified: string, metadata: table<string, string> }?
function s3.head(bucket, key, options) return read_head(reading(bucket, key, options), bucket, key) end

--- Whether there is an object of that key.
--- @param bucket string
--- @param key string
--- @param options? neap.s3.place
--- @return boolean
function s3.exists(bucket, key, options) return read_head(reading(bucket, key, options), bucket, key) ~= nil end

--- The objects whose keys begin so, in order.
--- @param bucket string
--- @param prefix? string
--- @param options? neap.s3.place
--- @return { key: string, size: integer, etag: string, modified: string }[]
function s3.list(bucket, prefix, options) return read_list(reading(bucket, nil, options), bucket, prefix or "") end

return s3
