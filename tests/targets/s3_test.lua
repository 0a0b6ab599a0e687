--- Objects of S3, forward and back, beside what boto3 sees of them.
local sshd  = require "tests.sshd"
local stage = require "tests.targets.aws.stage"

local PICTURE = [[
s3 = client('s3')
def one(key):
    o = s3.get_object(Bucket='pail', Key=key)
    m = {k: v for k, v in o['Metadata'].items() if k != 'neap-effect'}
    t = s3.get_object_tagging(Bucket='pail', Key=key)['TagSet']
    return [o['Body'].read(), o['ContentType'], m, t] + [o.get(k) for k in ('CacheControl', 'WebsiteRedirectLocation')]
found = [c['Key'] for p in s3.get_paginator('list_objects_v2').paginate(Bucket='pail') for c in p.get('Contents', [])]
show({k: one(k) for k in found})
]]

describe("s3", function()
  local world

  before_each(function()
    world = stage.moto(scratch())
    world:boto [[
s3 = client('s3')
s3.create_bucket(Bucket='pail', CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
s3.put_object(Bucket='pail', Key='old', Body=b'\0before\xff', ContentType='x/y', Metadata={'who': 'them'},
    CacheControl='no-store', Tagging='a=1&b=2')
]]
  end)
  after_each(stage.leave)

  it("puts texts with type, metadata and tags over what is there and where nothing is, and takes it back", function()
    world:there_and_back(PICTURE, {
      [[s3.put("pail", "old", { text = "new" }, { content_type = "text/plain", metadata = { who = "us" } })
        s3.put("pail", "page.html", { text = "<p>back at ten</p>" }, { tags = { x = "y z" },
          cache_control = "max-age=0" })
        s3.put("pail", "empty", { text = "" })]],
    }, function(now, plan)
      equal(now["old"][1], "new")
      equal(now["old"][3].who, "us")
      equal({ now["page.html"][1], now["page.html"][2] }, { "<p>back at ten</p>", "text/html; charset=utf-8" })
      equal(now["page.html"][4], { { Key = "x", Value = "y z" } })
      equal(now["empty"][1], "")
      local effects = plan.phases[1].steps[1].effects
      equal({ effects[1].sign, effects[1].show, effects[2].sign }, { "~", "s3://pail/old", "+" })
      matches(effects[1].before_text, "who: them")
    end)
  end)

  it("deletes, and puts back what was there", function()
    world:there_and_back(PICTURE, { 's3.delete("pail", "old") s3.delete("pail", "never")' }, function(now)
      equal(now, {})
    end)
  end)

  it("copies an object with all that belongs to it", function()
    world:there_and_back(PICTURE, { 's3.copy("s3://pail/old", "s3://pail/copy/of old")' }, function(now)
      equal(now["copy/of old"][1], now["old"][1])
      equal(now["copy/of old"][4], now["old"][4])
    end)
  end)

  it("puts a file in parts, and one of the machine's small ones whole", function()
    sshd.run { "sh", "-c", 'head -c 20000000 /dev/urandom >"$1/large"; echo small >"$1/small"', "sh", world.folder }
    world:there_and_back([==[
s3 = client('s3')
import hashlib
show([[c['Key'], c['Size'], hashlib.sha256(s3.get_object(Bucket='pail', Key=c['Key'])['Body'].read()).hexdigest(),
    '-' in c['ETag']] for c in s3.list_objects_v2(Bucket='pail')['Contents']]
  + [len(s3.list_multipart_uploads(Bucket='pail').get('Uploads', []))])
]==], { 's3.put("pail", "large", { file = "PATH/large" }) s3.put("pail", "small", { file = "PATH/small" })' },
  function(now)
      local digest = sshd.run { "sha256sum", world.folder .. "/large" }
      equal(now[1], { "large", 20000000, digest:match "^%x+", true })
      equal(now[3][2], 6)
      equal(now[4], 0)
    end)
  end)

  --- Puts a file that is made anew before the nth call of a function of neap.
  --- @param given { file: string, makes: string, makes_anew: string, module: table, name: string, call: integer }
  local function refuses_what_changes(given)
    local function make(how) sshd.run { "sh", "-c", how .. ' >"$1"', "sh", world.folder .. "/" .. given.file } end
    make(given.makes)
    local real, calls = given.module[given.name], 0
    given.module[given.name] = function(...)
      calls = calls + 1
      if calls == given.call then make(given.makes_anew) end
      return real(...)
    end
    local trial = world:trial { ('s3.put("pail", %q, { file = "PATH/%s" })'):format(given.file, given.file) }
    local ok, failure = pcall(trial.run, trial)
    given.module[given.name] = real
    if not ok then error(failure, 0) end
    matches(trial:failure().message, "not what it was")
    equal(world:boto "show(len(client('s3').list_objects_v2(Bucket='pail')['Contents']))", 1)
  end

  it("uploads no file that is another than the one that was looked at", function()
    refuses_what_changes { file = "large", makes = "head -c 9000000 /dev/zero",
      makes_anew = "head -c 9000000 /dev/urandom",
      module = require "neap.targets.s3.multipart", name = "send", call = 1 }
  end)

  it("uploads no small file that was changed meanwhile either", function()
    refuses_what_changes { file = "small", makes = "echo one", makes_anew = "echo two",
      module = require "native.crypto", name = "hasher", call = 2 }
  end)

  it("tells what is there, and reads it", function()
    world:trial { [[
      local one = s3.head("pail", "old")
      if one.size ~= 8 or one.metadata.who ~= "them" or s3.head("pail", "no") ~= nil then fail "head" end
      if s3.get("pail", "old") ~= "\0before\xff" then fail "get" end
      if s3.exists("pail", "no") or not s3.exists("pail", "old") then fail "exists" end
      local list = s3.list("pail", "o")
      if #list ~= 1 or list[1].key ~= "old" or list[1].size ~= 8 then fail "list" end
    ]] }:run "done"
  end)

  it("leaves in a bucket with versions the very versions that were there", function()
    world:boto [==[
s3 = client('s3')
s3.put_bucket_versioning(Bucket='pail', VersioningConfiguration={'Status': 'Enabled'})
s3.put_object(Bucket='pail', Key='old', Body=b'second')
s3.put_object(Bucket='pail', Key='huge', Body=b'x' * 9000000)
s3.put_object(Bucket='pail', Key='gone', Body=b'g')
]==]
    world:there_and_back([==[
v = client('s3').list_object_versions(Bucket='pail')
show([[k, o['Key'], o['VersionId'], o['IsLatest']] for k in ('Versions', 'DeleteMarkers') for o in v.get(k, [])])
]==], { 's3.put("pail", "old", { text = "third" }) s3.put("pail", "new", { text = "" }) s3.delete("pail", "gone") ' ..
      's3.put("pail", "huge", { text = "small" })' }, function(now) equal(#now, 8) end)
  end)

  it("keeps to if_none_match where another object is there", function()
    local failure = world:refused(PICTURE, 's3.put("pail", "old", { text = "mine" }, { if_none_match = true })')
    equal({ failure.kind, failure.code }, { "conflict", "PreconditionFailed" })
  end)

  it("changes a bucket's website, and puts back that it was none", function()
    world:there_and_back([[
s3 = client('s3')
try:
    w = s3.get_bucket_website(Bucket='pail'); w.pop('ResponseMetadata'); show(w)
except Exception as e: show(str(e))
]], { [[s3.website("pail", { IndexDocument = { Suffix = "maintenance.html" },
        RoutingRules = { { Condition = { KeyPrefixEquals = "old/" }, Redirect = { ReplaceKeyPrefixWith = "new/" } } } })
      s3.put("pail", "there", { text = "" }, { redirect = "/old" })]] }, function(now)
      equal(now.IndexDocument.Suffix, "maintenance.html")
      equal(now.RoutingRules[1].Redirect.ReplaceKeyPrefixWith, "new/")
    end)
  end)

  it("says of an object that is too large to be read as a text what to do instead", function()
    world:boto "client('s3').put_object(Bucket='pail', Key='huge', Body=b'x' * (17 << 20))"
    local failure = world:refused(PICTURE, 's3.get("pail", "huge")')
    equal(failure.kind, "protocol")
    matches(failure.message, "^s3://pail/huge has more than the 16 MiB")
    matches(failure.hint, "s3.download")
  end)

  it("ends its servers", stage.finish)
end)
