--- Folders and buckets brought into line, both ways; objects into files; what names may not be.
local sshd  = require "tests.sshd"
local stage = require "tests.targets.aws.stage"

local PICTURE = [==[
import os, hashlib
s3 = client('s3')
found = [c['Key'] for p in s3.get_paginator('list_objects_v2').paginate(Bucket='pail') for c in p.get('Contents', [])]
files = []
for top, _, names in os.walk(folder + '/tree'):
    for name in names:
        path = os.path.join(top, name)
        files.append([path[len(folder):], hashlib.sha256(open(path, 'rb').read()).hexdigest(),
          oct(os.stat(path).st_mode)])
show({'objects': {k: [s3.get_object(Bucket='pail', Key=k)[p] if p != 'Body' else
    hashlib.sha256(s3.get_object(Bucket='pail', Key=k)['Body'].read()).hexdigest() for p in ('Body', 'ContentType')]
    for k in found}, 'files': sorted(files)})
]==]

describe("s3", function()
  local world

  local function sh(text) return sshd.run { "sh", "-ec", 'cd "$1"; ' .. text, "sh", world.folder } end

  before_each(function()
    world = stage.moto(scratch())
    world:boto [[
s3 = client('s3')
s3.create_bucket(Bucket='pail', CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
for key in ('logs/v1/a.txt', 'logs/v1/deep/er/b', 'logs/v1/only there', 'other'):
    s3.put_object(Bucket='pail', Key=key, Body=key.encode(), ContentType='x/' + key[-1])
s3.put_object(Bucket='pail', Key='logs/v1/large', Body=b'0123456789' * 900000)
]]
  end)
  after_each(stage.leave)

  it("brings a folder up, with what is only there left or deleted, and takes it back", function()
    sh 'mkdir -p "tree/deep/ü b"; printf A >tree/a.txt; printf new >"tree/deep/ü b/+c.html"; : >tree/empty'
    world:there_and_back(PICTURE, { 's3.sync("PATH/tree", "s3://pail/logs/v1")' }, function(now)
      equal(now.objects["logs/v1/deep/ü b/+c.html"][2], "text/html; charset=utf-8")
      truthy(now.objects["logs/v1/only there"])
    end)
  end)

  it("deletes large objects where the bucket keeps versions, and says otherwise that there is no way back", function()
    sh 'mkdir tree; printf A >tree/a.txt'
    local step = 's3.sync("PATH/tree", "s3://pail/logs/v1", { delete = true })'
    local failure = world:refused(PICTURE, step)
    equal(failure.kind, "denied")
    matches(failure.message, "keeps no versions")
    world:boto "client('s3').put_bucket_versioning(Bucket='pail', VersioningConfiguration={'Status': 'Enabled'})"
    world:there_and_back(PICTURE, { step }, function(now)
      equal(now.objects["logs/v1/large"], nil)
      truthy(now.objects["logs/v1/a.txt"])
    end)
  end)

  it("does nothing where all is in line", function()
    sh 'mkdir tree; printf A >tree/a; printf B >tree/b'
    local line = 's3.sync("PATH/tree", "s3://pail/new")'
    world:trial({ line }):run "done"
    local plan = world:trial({ line }):plan()
    equal(plan.phases[1].steps[1].effects[1].sign, "=")
  end)

  it("brings a folder down, large objects as well, and takes it back", function()
    sh 'mkdir tree; printf mine >tree/a.txt; printf kept >tree/kept'
    world:there_and_back(PICTURE, { 's3.sync("s3://pail/logs/v1/", "PATH/tree", { delete = true })' }, function(now)
      equal(#now.files, 4)
    end)
    equal(sh "ls -A tree", "a.txt\nkept\n")
  end)

  it("writes an object into a file and refuses to overwrite a large one", function()
    world:there_and_back(PICTURE, { 'file.directory("local", "PATH/tree") ' ..
      's3.download("pail", "logs/v1/large", "local", "PATH/tree/large") ' ..
      's3.download("pail", "other", "local", "PATH/tree/o")' },
      function(now)
        equal(now.files[1][2], now.objects["logs/v1/large"][1])
        equal(#now.files, 2)
      end)
    sh 'mkdir tree; echo mine >tree/large'
    local failure = world:refused(PICTURE, 's3.download("pail", "logs/v1/large", "local", "PATH/tree/large")')
    equal(failure.kind, "conflict")
  end)

  for key, why in pairs { ["x/../../etc/passwd"] = "part %.%.", ["x//y"] = "empty", ["x/a\1b"] = "control",
    ["x/./y"] = "part %." } do
    it(("brings nothing down where a key is %q"):format(key), function()
      local text = key:gsub("\1", "\\1")
      world:boto(("client('s3').put_object(Bucket='pail', Key=%q.replace('\\\\1', chr(1)), Body=b'')"):format(text))
      local failure = world:refused(PICTURE, 's3.sync("s3://pail/", "PATH/tree")')
      equal(failure.kind, "denied")
      matches(failure.message, why)
    end)
  end

  it("brings nothing down where two keys would be one file, or one file and folder", function()
    for _, pair in ipairs { { "c/A", "c/a" }, { "c/f", "c/f/g" } } do
      world:boto(("s3 = client('s3')\nfor k in (%q, %q): s3.put_object(Bucket='pail', Key=k, Body=b'1')"):format(
        table.unpack(pair)))
      local failure = world:refused(PICTURE, 's3.sync("s3://pail/c", "PATH/tree")')
      equal(failure.kind, "conflict")
      world:boto(("s3 = client('s3')\nfor k in (%q, %q): s3.delete_object(Bucket='pail', Key=k)"):format(
        table.unpack(pair)))
    end
  end)

  it("refuses a folder that is none, where the procedure says it", function()
    for _, places in ipairs { 'nil, "s3://pail/x"', '"src", "s3://pail/x"', '"s3://pail/x", "dst"' } do
      matches(world:mistake(("s3.sync(%s)"):format(places)), "^procedures/test/it.lua:%d+: .* is no absolute path")
    end
  end)

  it("brings up no links", function()
    sh 'mkdir tree; ln -s /etc/passwd tree/link'
    equal(world:refused(PICTURE, 's3.sync("PATH/tree", "s3://pail/x")').kind, "denied")
  end)

  it("ends its servers", stage.finish)
end)
