--- neap dies before and after each commit while it changes S3, requests are cut or refused for a time: what follows
--- ends
--- as an undisturbed run does, or as before.
local fs      = require "native.fs"
local kinds   = require "neap.engine.kinds"
local mortal  = require "tests.targets.mortal"
local sshd    = require "tests.sshd"
local stage   = require "tests.targets.aws.stage"
local world   = require "tests.targets.aws.world"

local PICTURE = [==[
import hashlib
s3 = client('s3')
show([[c['Key'], hashlib.sha256(s3.get_object(Bucket='pail', Key=c['Key'])['Body'].read()).hexdigest()]
    for c in s3.list_objects_v2(Bucket='pail').get('Contents', [])]
  + [len([u for u in s3.list_multipart_uploads(Bucket='pail').get('Uploads', []) # begun and not written down:
    if s3.list_parts(Bucket='pail', Key=u['Key'], UploadId=u['UploadId']).get('Parts')])]) # it stays, empty
]==]

local MAKE = [[
s3 = client('s3')
s3.create_bucket(Bucket='pail', CreateBucketConfiguration={'LocationConstraint': 'us-west-2'})
s3.put_object(Bucket='pail', Key='old', Body=b'before')
]]

local STEPS = {
  's3.put("pail", "old", { text = "after" }) s3.put("pail", "new", { text = "new" })',
  's3.put("pail", "large", { file = "PATH/large" })',
  's3.delete("pail", "old") s3.sync("PATH/tree", "s3://pail/tree")',
}

describe("s3", function()
  local one, folder, proxy

  before_each(function()
    folder = scratch()
    sshd.run { "sh", "-ec",
      'cd "$1"; head -c 9000000 /dev/urandom >large; mkdir tree; echo a >tree/a; echo b >tree/b', "sh",
      folder }
    one = stage.with(folder, MAKE)
  end)
  after_each(function()
    stage.leave()
    if proxy then proxy:close() end
    proxy = nil
  end)

  it("is as it should be after a crash at any commit", function()
    truthy(one:each_crash(stage.anew, PICTURE, STEPS) > 30)
  end)

  -- From now on neap's requests go through the proxy that breaks them.
  local function through_proxy()
    proxy = world.server { "python3", "tests/targets/aws/proxy.py", one.url }
    one.section.endpoint = proxy.url
  end

  local function faults(match, list) world.ask(proxy.url .. "/proxy", { match = match, ["do"] = list }) end

  local function log() return world.ask(proxy.url .. "/proxy/log") end

  for _, fault in ipairs { "503-before", "503-after", "cut-before", "cut-after" } do
    it("puts an object once where the server answers its first request by " .. fault, function()
      through_proxy()
      faults("PUT /pail/new", { fault })
      one:trial({ 's3.put("pail", "new", { text = "new" }, { if_none_match = true })' }):run "done"
      equal(one:boto "show(client('s3').get_object(Bucket='pail', Key='new')['Body'].read())", "new")
    end)

    it("uploads in parts where a part and the completion meet " .. fault, function()
      through_proxy()
      faults("uploadId", { fault, "pass", "pass", fault })
      one:trial({ 's3.put("pail", "large", { file = "PATH/large" })' }):run "done"
      equal(one:boto "show(client('s3').head_object(Bucket='pail', Key='large')['ContentLength'])", 9000000)
    end)
  end

  it("goes on with the credentials that have come into the file meanwhile, once the first have run out", function()
    through_proxy()
    sshd.write(folder .. "/renew", ([[sed -i s/AKIATEST/AKIANEXT/ %s/home/.aws/credentials
      curl -sd '{"stale": "AKIATEST"}' %s/proxy]]):format(folder, proxy.url))
    one:trial({ 's3.put("pail", "new", { text = "new" })',
      'env.hosts["local"]:run({ "sh", "-e", "PATH/renew" }, { keep = "a test" })',
      's3.put("pail", "large", { file = "PATH/large" }) s3.put("pail", "old", { text = "after" })',
      's3.sync("PATH/tree", "s3://pail/tree") s3.delete("pail", "new")' }):run "done"
    equal(one:boto "show([o['Key'] for o in client('s3').list_objects_v2(Bucket='pail')['Contents']])",
      { "large", "old", "tree/a", "tree/b" })
  end)

  it("says that credentials have run out where no others are to be had", function()
    through_proxy()
    one:trial({ 's3.put("pail", "new", { text = "new" })' }):run "done"
    world.ask(proxy.url .. "/proxy", { stale = "AKIATEST" })
    one.section.endpoint, one.section.endpoints = nil, { s3 = proxy.url } -- so that nobody asks STS before
    for _, step in ipairs { 's3.put("pail", "n", { text = "n" })', 's3.put("pail", "n", { file = "PATH/tree/a" })' } do
      local outcome = one:trial({ step }):run "failed"
      equal({ outcome.failure.kind, outcome.failure.code }, { "auth", "ExpiredToken" })
    end
  end)

  it("goes on with the parts that are there", function()
    through_proxy()
    sshd.run { "sh", "-c", 'head -c 40000000 /dev/urandom >"$1/large"', "sh", folder }
    local trial = one:trial { 's3.put("pail", "new", { text = "" })',
      's3.put("pail", "large", { file = "PATH/large" })' }
    faults("partNumber=5", { "cut-before", "cut-before", "cut-before", "cut-before", "cut-before", "cut-before" })
    trial:run()
    equal(one:boto "show(len(client('s3').list_multipart_uploads(Bucket='pail')['Uploads']))", 1)
    world.ask(proxy.url .. "/proxy/reset", {})
    trial:resume "done"
    local sent = select(2, log():gsub("PUT [^\n]*partNumber", ""))
    equal(sent, 2) -- the first one, which the settling closed, and the fifth
    equal(one:boto "show(client('s3').head_object(Bucket='pail', Key='large')['ContentLength'])", 40000000)
    equal(one:boto "show(client('s3').list_multipart_uploads(Bucket='pail').get('Uploads'))", nil)
  end)

  it("leaves no upload behind where neap died between its beginning and its record, and the run was resumed", function()
    local left = 0
    for at = 1, 30 do
      local trial, crash = mortal.run(one:trial { 's3.put("pail", "large", { file = "PATH/large" })' }, at)
      if not crash.dead then break end
      local begun = one:boto "show(len(client('s3').list_multipart_uploads(Bucket='pail').get('Uploads', [])))"
      left = left + begun
      if select(2, trial.store:lease()) then trial:resume "done" end
      equal(one:boto "show(client('s3').list_multipart_uploads(Bucket='pail').get('Uploads'))", nil)
      one:boto "client('s3').delete_object(Bucket='pail', Key='large')"
    end
    truthy(left > 1) -- one without a record, and others with one
  end)

  it("shuts out an upload's completion that is late, and leaves no parts behind when it is rolled back", function()
    through_proxy()
    local trial = one:trial { 's3.put("pail", "new", { text = "" })',
      's3.put("pail", "large", { file = "PATH/large" })' }
    faults("POST /pail/large?uploadId", { "cut-before", "cut-before", "cut-before", "cut-before", "cut-before",
      "cut-before" })
    trial:run()
    one:boto [==[
s3 = client('s3')
u = s3.list_multipart_uploads(Bucket='pail')['Uploads'][0]['UploadId']
parts = s3.list_parts(Bucket='pail', Key='large', UploadId=u)['Parts']
import hashlib
want = open(folder + '/large', 'rb').read()
tag = hashlib.md5(want[:8 << 20]).hexdigest()
try:
    s3.complete_multipart_upload(Bucket='pail', Key='large', UploadId=u, MultipartUpload={'Parts':
        [{'PartNumber': 1, 'ETag': tag}, {'PartNumber': 2, 'ETag': parts[1]['ETag']}]})
except Exception as e: assert 'InvalidPart' in str(e), e
else: raise AssertionError('it was completed')
]==]
    world.ask(proxy.url .. "/proxy/reset", {})
    trial:roll_back "rolled back"
    equal(one:boto(PICTURE), { { "old", one:boto "import hashlib\nshow(hashlib.sha256(b'before').hexdigest())" }, 0 })
  end)

  it("stops where somebody else has changed the object since, and does not overwrite it", function()
    local trial = one:trial { 's3.put("pail", "old", { text = "after" })', 'fail("back")' }
    trial:run "stopped"
    one:boto "client('s3').put_object(Bucket='pail', Key='old', Body=b'theirs')"
    trial:roll_back()
    equal(one:boto "show(client('s3').get_object(Bucket='pail', Key='old')['Body'].read())", "theirs")
    trial:abandon()
  end)

  local FILES = [==[
import os, hashlib
found = []
for top, folders, names in os.walk(folder + '/down'): # folders too: neap leaves none beside the files
    found += [[top[len(folder):]]] + [[os.path.join(top, n)[len(folder):], open(os.path.join(top, n)).read(),
        oct(os.stat(os.path.join(top, n)).st_mode)] for n in names]
show(sorted(found))
]==]

  local function make_objects()
    one:anew()
    if fs.exists(folder .. "/down") then fs.remove_tree(folder .. "/down") end
    sshd.run { "sh", "-ec", 'mkdir "$1/down"; echo mine >"$1/down/kept"', "sh", folder }
    one:boto [[
for key in ('a', 'b', 'deep/c', 'deep/er/d'):
    client('s3').put_object(Bucket='pail', Key='tree/' + key, Body=key.encode())
]]
  end

  local DOWN = { 's3.sync("s3://pail/tree", "PATH/down")' }

  it("brings many objects down, or none, after a crash at any commit", function()
    truthy(one:each_crash(make_objects, FILES, DOWN) > 10)
  end)

  -- As mortal.run, with points before and after what is done to the files, too.
  local function dies_among_files(trial, at)
    local crash, real = mortal.new(at), {}
    crash:write_for(trial)
    for _, name in ipairs { "append", "rename", "sync", "mkdir" } do
      real[name] = fs[name]
      fs[name] = function(...)
        crash:point()
        local result = real[name](...)
        crash:point()
        return result
      end
    end
    pcall(trial.start, trial)
    for name, fn in pairs(real) do fs[name] = fn end
    trial.store = trial.kept
    return trial, crash
  end

  it("brings many objects down, or none, after a crash at anything that is done to files", function()
    local points = one:each_crash(make_objects, FILES, DOWN,
      { run = dies_among_files, stride = 3, after = function(files) equal(#files, 8) end })
    truthy(points > 10)
  end)

  it("brings down nothing any more once a call was settled, however late it goes on", function()
    make_objects()
    local kind, sync = kinds.find(nil, "s3.files"), fs.sync
    local before, run = one:boto(FILES), kind.run
    local verdict, failure
    kind.run = function(target, data, call)
      fs.sync = function(...) -- it sleeps here, and another process settles it
        fs.sync = sync
        verdict = kind.take(target, call.witness, { place = call.place })
        return sync(...)
      end
      local ok, result = pcall(run, target, data, call)
      failure = not ok and result
      return error(result, 0)
    end
    local trial = one:trial(DOWN)
    trial:run()
    kind.run, fs.sync = run, sync
    equal({ verdict, failure.kind }, { "void", "missing" })
    trial:roll_back "rolled back"
    equal(one:boto(FILES), before)
  end)

  it("brings down nothing over what somebody else has put there meanwhile", function()
    make_objects()
    local sync = fs.sync
    local trial = one:trial(DOWN)
    fs.sync = function(paths, ...)
      if #paths == 4 then sshd.write(folder .. "/down/deep/c", "theirs") end
      return sync(paths, ...)
    end
    trial:run()
    fs.sync = sync
    matches(trial:failure().message, "deep/c is there by now")
    equal(fs.read(folder .. "/down/deep/c"), "theirs")
    trial:abandon()
  end)

  it("ends its servers", stage.finish)
end)
