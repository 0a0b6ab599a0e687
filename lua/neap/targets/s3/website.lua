--- A bucket as a website: its index, its error page, where its addresses lead.
local account = require "neap.targets.aws.account"
local effect  = require "neap.engine.effect"
local json    = require "native.json"
local shapes  = require "neap.targets.aws.shapes"

local website = {}

local PARTS = { "IndexDocument", "ErrorDocument", "RedirectAllRequestsTo", "RoutingRules" }

local function get(target)
  local found = account.find(target, "GetBucketWebsite", { Bucket = target.bucket })
  if not found then return nil end
  local state = {}
  for _, part in ipairs(PARTS) do state[part] = found[part] end
  if state.RoutingRules and not state.RoutingRules[1] then state.RoutingRules = nil end
  return state
end

effect.resource "s3.website" {
  get = get,
  put = function(target, state)
    if not state then
      return account.change(target, "DeleteBucketWebsite", { Bucket = target.bucket }, { repeatable = true })
    end
    return account.change(target, "PutBucketWebsite", { Bucket = target.bucket, WebsiteConfiguration = state },
      { repeatable = true })
  end,
  take = account.taken_by(get),
  meet = account.meet,
  show = function(target) return ("website of s3://%s"):format(target.bucket) end,
  text = function(state) return json.encode_pretty(state) end,
}

--- Changes a bucket's website. Raises a mistake for what S3's model does not know.
--- @param target table
--- @param bucket string
--- @param configuration table?
--- @param options table
function website.change(target, bucket, configuration, options)
  if configuration then
    shapes.check(account.client(target).service, "PutBucketWebsite",
      { Bucket = bucket, WebsiteConfiguration = configuration }, 3)
  end
  target.bucket = bucket
  effect.change("s3.website", target, function() return configuration end,
    { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
end

return website
