--- Many objects looked at by a few requests: which of them are there, and under which tags.
local account = require "neap.targets.aws.account"
local fault   = require "native.error"
local request = require "neap.targets.s3.request"

local listing = {}

local FEWEST = 8    -- objects, from which on listing pays
local PAGES  = 5    -- that are asked for: where much else lies between the objects, they are asked for one by one
local PAGE   = 1000 -- keys, the most that S3 gives

local function common_prefix(first, last)
  local length = 0
  while length < #first and first:byte(length + 1) == last:byte(length + 1) do length = length + 1 end
  while length > 0 and (first:byte(length + 1) or 0) & 0xC0 == 0x80 do length = length - 1 end -- within a character
  return first:sub(1, length)
end

--- Notes a page's keys. Returns whether the last key has been passed; nil where they do not come in their order.
local function take_page(page, there, before, last)
  for _, one in ipairs(page.Contents or {}) do
    if one.Key <= before then return nil end
    before = one.Key
    if there[one.Key] ~= nil then there[one.Key] = { etag = request.etag(one.ETag), size = one.Size } end
  end
  return not page.IsTruncated or before >= last, before
end

--- The listing begins behind the first key, so of that one nothing is known.
local function look(target, bucket, keys)
  local there, first, last = {}, keys[1], keys[#keys]
  for i = 2, #keys do there[keys[i]] = false end
  local before, token = first, nil
  for _ = 1, PAGES do
    local page = account.read(target, "ListObjectsV2", { Bucket = bucket, Prefix = common_prefix(first, last),
      StartAfter = not token and first or nil, ContinuationToken = token,
      MaxKeys = math.min(PAGE, #keys + PAGE // 10) })
    local passed
    passed, before = take_page(page, there, before, last)
    if passed then return there end
    token = page.NextContinuationToken
    if passed == nil or not token then return {} end
  end
  return {}
end

--- What a listing says of objects, by key: tag and size, false where one is not there; nil of those that have to be
--- asked for themselves, which is all of them where they are few, far apart, not to be listed, or listed out of order.
--- @param target table
--- @param bucket string
--- @param entries { key: string }[]
--- @return table<string, { etag: string, size: integer }|false>
function listing.of(target, bucket, entries)
  if #entries < FEWEST then return {} end
  local keys = {}
  for i, entry in ipairs(entries) do keys[i] = entry.key end
  table.sort(keys)
  local ok, there = pcall(look, target, bucket, keys)
  if ok then return there end
  if fault.is(there, "denied") or fault.is(there, "remote") then return {} end
  return error(there, 0)
end

return listing
