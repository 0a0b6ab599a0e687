--- How the text of a template reaches CloudFormation: in the request itself, or, as it takes no more than 51,200 bytes
--- there, by way of an object in a bucket, which bears the text's own digest as its name.
local account   = require "neap.targets.aws.account"
local crypto    = require "native.crypto"
local fault     = require "native.error"
local names     = require "neap.targets.s3.names"
local request   = require "neap.targets.s3.request"
local templates = require "neap.targets.aws.cloudformation_template"

local body = {}

local DIRECT  = 51200   -- bytes that go in a request,
local LARGEST = 1 << 20 -- and by way of a bucket
local TIMEOUT = 300     -- seconds for an upload

--- @param text string
--- @return boolean  whether it takes a bucket
function body.is_large(text) return #text > DIRECT end

--- Where large templates of a stack are put, as a part of its target; nil: nowhere.
--- @param options { s3_bucket?: string, s3_prefix?: string }
--- @param level integer
--- @return { bucket: string, prefix: string? }?
function body.place(options, level)
  if options.s3_bucket == nil then
    if options.s3_prefix ~= nil then error("s3_prefix needs s3_bucket", level + 1) end
    return nil
  end
  names.check_bucket(options.s3_bucket, level + 1)
  if options.s3_prefix ~= nil then names.check_key(options.s3_prefix, level + 1) end
  return { bucket = options.s3_bucket, prefix = options.s3_prefix and options.s3_prefix:gsub("/+$", "") }
end

--- Raises kind `denied` for a template that cannot be brought to CloudFormation as the target has it.
--- @param target table  of a stack
--- @param text string
--- @param what string   whose template it is: "the template of app"
function body.check(target, text, what)
  if #text > LARGEST then
    fault.raise { kind = "denied", code = "TemplateTooLarge",
      message = ("%s has %d bytes, and CloudFormation takes %d at most"):format(what, #text, LARGEST),
      hint = "part it into nested stacks" }
  end
  if not body.is_large(text) or target.templates then return end
  fault.raise { kind = "denied", code = "TemplateTooLarge",
    message = ("%s has %d bytes: above %d CloudFormation takes it from a bucket alone"):format(what, #text, DIRECT),
    hint = 'say s3_bucket = "…" (and s3_prefix) among the options: a bucket that you may write to and read from' }
end

--- The parameters that a template takes, with what they are where nobody says, as GetTemplateSummary tells it. Of a large
--- one they are read here, so that nothing is uploaded for a look.
--- @param target table
--- @param text string
--- @return { ParameterKey: string, DefaultValue: string?, NoEcho: boolean? }[]
function body.parameters(target, text)
  if body.is_large(text) then return templates.parameters(text) end
  return account.read(target, "GetTemplateSummary", { TemplateBody = text }).Parameters or {}
end

local function upload(target, text)
  local place, digest = target.templates, crypto.sha256(text)
  local key = (place.prefix and place.prefix .. "/" or "") .. digest .. ".template"
  local s3 = account.target("s3", { profile = target.profile, region = target.region })
  request.send(s3, { method = "PUT", bucket = place.bucket, key = key, body = text, digest = digest,
    headers = { ["content-type"] = "text/plain; charset=utf-8" } }, TIMEOUT)
  return request.url(s3, place.bucket, key)
end

--- What of a request brings a template; a large one is uploaded, whatever lies there under its name.
--- @param target table
--- @param text string
--- @return { TemplateBody?: string, TemplateURL?: string }
function body.of(target, text)
  body.check(target, text, "the template of " .. target.stack)
  if not body.is_large(text) then return { TemplateBody = text } end
  return { TemplateURL = upload(target, text) }
end

return body
