--- Secrets and the cluster: what they hold is a secret in neap, and stands in no record.
local json = require "native.json"
local kube = require "tests.kube"

local WORD = "correct horse battery"

describe("secrets of a cluster", function()
  local namespace

  before_each(function()
    namespace = kube.namespace()
    kube.kubectl(("-n %s create secret generic kept --from-file=word=/dev/stdin"):format(namespace), WORD)
  end)
  after_each(function() kube.drop(namespace) end)

  local function records(trial) return json.encode(trial.store.by_run) end

  local function trial(steps, references)
    local one = kube.trial(namespace, steps)
    one.environment.secrets = references or {}
    return one
  end

  it("are applied from secrets, taken back, and stand in no record of the journal", function()
    local reference = ("k8s:lab/%s/kept#word"):format(namespace)
    local self = trial({ [[
      k8s.apply('lab', { apiVersion = 'v1', kind = 'Secret', metadata = { name = 'made' },
        stringData = { password = env.secrets.word, plain = 'x' } })
    ]], "k8s.delete('lab', 'secret/kept')", "fail('enough')" }, { word = reference })
    equal(self:run "stopped".step.title, "Step 3")
    equal(kube.object(namespace, "secret/made").data.password, "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5")
    equal(kube.object(namespace, "secret/kept"), nil)
    self:roll_back "rolled back"
    equal({ kube.object(namespace, "secret/made"), kube.object(namespace, "secret/kept").data.word },
      { nil, "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5" })
    local text = records(self)
    equal({ text:find(WORD, 1, true), text:find("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5", 1, true) }, {})
    for _, bytes in pairs(self.store.blobs) do
      equal({ tostring(bytes):find(WORD, 1, true), tostring(bytes):find("Y29ycmVjdCBob3JzZSBi", 1, true) }, {})
    end
  end)

  it("are applied from a file that has them in the clear, and stand in no record of the journal either", function()
    local path = scratch() .. "/made.yml"
    require "native.fs".write(path, ("apiVersion: v1\nkind: Secret\nmetadata: {name: made}\nstringData: {word: %s}\n")
      :format(WORD))
    local self = trial { ("k8s.apply('lab', %q)"):format(path), "fail('enough')" }
    self:run "stopped"
    equal(kube.object(namespace, "secret/made").data.word, "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5")
    self:roll_back "rolled back"
    equal(records(self):find(WORD, 1, true), nil)
    for _, bytes in pairs(self.store.blobs) do equal(tostring(bytes):find(WORD, 1, true), nil) end
  end)

  it("are read as secrets, decoded", function()
    local self = trial { [[
      local one = k8s.get('lab', 'secret/kept')
      return { word = one.data.word, name = one.metadata.name }
    ]] }
    self:run "done"
    local result
    for _, event in ipairs(self:all "end") do
      if event.path == "Step 1" then result = event.result end
    end
    matches(result.word, "^%(secret %x+%)$")
    equal({ result.name, records(self):find(WORD, 1, true) }, { "kept" })
  end)

  it("that are not there are missing", function()
    local self = trial({ "return env.secrets.word" }, { word = ("k8s:lab/%s/kept#other"):format(namespace) })
    equal(self:run().failure.kind, "missing")
  end)
end)
