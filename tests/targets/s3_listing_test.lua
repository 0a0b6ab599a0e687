--- Many objects at once: looked at by listings, verified by the tags that S3 gave them.
local account = require "neap.targets.aws.account"
local fixture = require "tests.targets.fixture"
local kinds   = require "neap.engine.kinds"
local listing = require "neap.targets.s3.listing"
local secret  = require "native.secret"
local sshd    = require "tests.sshd"
local stage   = require "tests.targets.aws.stage"

local PICTURE = [==[
s3 = client('s3')
show({c['Key']: s3.get_object(Bucket='pail', Key=c['Key'])['Body'].read().decode()
    for p in s3.get_paginator('list_objects_v2').paginate(Bucket='pail') for c in p.get('Contents', [])})
]==]

describe("s3, many objects", function()
  local world

  before_each(function()
    world = stage.moto(scratch())
    world:boto [[
client('s3').create_bucket(Bucket='pail', CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
]]
  end)
  after_each(stage.leave)

  local function within(fn)
    local run = fixture.run()
    run.keys, run.environment.aws = secret.keyring(), world.section
    return fixture.within(run, changing, fn)
  end

  --- What listing.of says, and how many requests were made for it.
  local function listed(keys, change)
    local entries, count, read = {}, 0, account.read
    for i, key in ipairs(keys) do entries[i] = { key = key } end
    account.read = function(target, name, parameters)
      count = count + 1
      local page = read(target, name, parameters)
      return change and change(page) or page
    end
    local ok, there = pcall(within, function()
      return listing.of(account.target("s3", {}), "pail", entries)
    end)
    account.read = read
    if not ok then error(there, 0) end
    return there, count
  end

  local function numbered(prefix, count)
    local keys = {}
    for i = 1, count do keys[i] = ("%s%03d"):format(prefix, i) end
    return keys
  end

  local function fill(prefix, count)
    world:boto(([[
for i in range(1, %d): client('s3').put_object(Bucket='pail', Key='%s%%03d' %% i, Body=b'x' * i)
]]):format(count + 1, prefix))
  end

  it("are told by one request: which are there, how large, under which tag", function()
    fill("a/", 20)
    local there, requests = listed(numbered("a/", 40))
    equal(requests, 1)
    equal(there["a/001"], nil) -- the first is asked for itself
    equal(there["a/020"].size, 20)
    equal(#there["a/020"].etag, 32)
    equal(there["a/021"], false)
  end)

  it("are asked for one by one where they are few, or lie far apart among others", function()
    equal(select(2, listed(numbered("a/", 3))), 0)
    fill("a/b", 700)
    local keys = numbered("a/a", 4)
    for _, key in ipairs(numbered("a/c", 5)) do keys[#keys + 1] = key end
    local there, requests = listed(keys)
    equal(there, {})
    equal(requests, 5)
  end)

  it("are asked for one by one where a server lists them in an order of its own", function()
    fill("a/", 20)
    local there = listed(numbered("a/", 20), function(page)
      page.Contents[1], page.Contents[2] = page.Contents[2], page.Contents[1]
      return page
    end)
    equal(there, {})
  end)

  it("are found by names with characters of several bytes", function()
    local keys = {}
    for i = 1, 10 do keys[i] = "ordner/\u{e4}" .. utf8.char(0xe0 + i) end
    world:boto "client('s3').put_object(Bucket='pail', Key='ordner/\u{e4}\u{e5}', Body=b'x')"
    local there = listed(keys)
    equal(there["ordner/\u{e4}\u{e5}"].size, 1)
    equal(there["ordner/\u{e4}\u{e6}"], false)
  end)

  it("go up and come back, what was there among what was not", function()
    fill("up/", 12)
    sshd.run { "sh", "-ec", 'mkdir "$1/tree"; for i in $(seq -w 1 30); do echo "of $i" >"$1/tree/0$i"; done', "sh",
      world.folder }
    world:there_and_back(PICTURE, { 's3.sync("PATH/tree", "s3://pail/up")' }, function(now)
      equal(now["up/001"], "of 01\n")
      equal(now["up/030"], "of 30\n")
    end)
  end)

  --- Whether ten objects are as they were put, once somebody else has done this.
  local function verified_after(text)
    local kind, call, wanted, target = kinds.find(nil, "s3.objects"), { witness = "w" }, {}, nil
    within(function()
      target = account.target("s3", {})
      target.bucket, target.objects = "pail", {}
      for i, key in ipairs(numbered("v/", 10)) do
        target.objects[i] = { key = key }
        wanted[i] = { key = key, content = "of " .. key, type = "text/plain", ours = true }
      end
      kind.put(target, wanted, call)
    end)
    world:boto(text)
    return within(function() return kind.verify(target, wanted, call) end)
  end

  it("are as they were put until somebody else writes one of them, or deletes it", function()
    equal(verified_after "pass", true)
    world:boto "s3 = client('s3')\nfor i in range(1, 11): s3.delete_object(Bucket='pail', Key='v/%03d' % i)"
    equal(verified_after "client('s3').put_object(Bucket='pail', Key='v/003', Body=b'of v/00x')", false)
  end)

  it("are not as they were put once one of them is gone", function()
    equal(verified_after "client('s3').delete_object(Bucket='pail', Key='v/010')", false)
  end)

  it("ends its servers", stage.finish)
end)
