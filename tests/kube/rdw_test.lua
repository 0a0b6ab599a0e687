--- What the upgrade of RDW does to its cluster: services are stopped in their order, two go, twelve manifests are applied,
--- and all is watched until it runs; and back.
local fs   = require "native.fs"
local json = require "native.json"
local kube = require "tests.kube"

local FOLDER = "tests/lab/files/rdw/deploy"

local ORDER = { "import", "package-processor", "exam-processor", "group-processor", "migrate-reporting", "task-server",
                "report-processor", "reporting", "admin" }

describe("the upgrade of RDW on its cluster", function()
  local namespace, path

  before_each(function()
    namespace, path = kube.namespace(), fs.realpath(FOLDER)
    kube.kubectl(("-n %s apply -f %s"):format(namespace, path))
  end)
  after_each(function() kube.drop(namespace) end)

  local function new_manifests(folder)
    for _, name in ipairs(fs.list(path)) do
      local text = fs.read(path .. "/" .. name):gsub("1%.0%.%d+%-RELEASE", "1.1.0-RELEASE")
      fs.write(folder .. "/" .. name, text)
    end
  end

  local function deployments()
    local found = {}
    for _, object in ipairs(json.decode(kube.kubectl(("-n %s get deployment -o json"):format(namespace))).items) do
      found[object.metadata.name] = { object.spec.replicas, object.spec.template }
    end
    return found
  end

  local function steps(folder)
    local quiesce = {}
    for _, name in ipairs(ORDER) do
      quiesce[#quiesce + 1] = ("k8s.scale('lab', 'deployment/%s-deployment', 0)"):format(name)
      quiesce[#quiesce + 1] = ("k8s.rollout('lab', 'deployment/%s-deployment', { timeout = 60 })"):format(name)
    end
    return { table.concat(quiesce, "\n"), [[
      k8s.delete('lab', { 'deployment/migrate-reporting-deployment', 'deployment/admin-deployment' })
    ]], ("k8s.apply('lab', %q, { force_conflicts = true })"):format(folder), [[
      for _, one in ipairs(k8s.list('lab', 'deployments')) do
        k8s.rollout('lab', 'deployment/' .. one.metadata.name, { timeout = 60 })
      end
    ]], "fail('enough')" }
  end

  it("comes to its end, and back to what was there", function()
    local folder, before = scratch(), deployments()
    new_manifests(folder)
    local self = kube.trial(namespace, steps(folder))
    local outcome = self:run "stopped"
    equal({ outcome.step.title, outcome.failure.message }, { "Step 5", "enough" })
    for name, one in pairs(deployments()) do
      equal({ name, one[1] }, { name, before[name][1] })
      if json.encode(before[name]):find "1%.0%.%d+%-RELEASE" then matches(json.encode(one), "1%.1%.0%-RELEASE") end
    end
    self:roll_back "rolled back"
    equal(deployments(), before)
  end)

  it("is refused without force, for kubectl had applied what it alters: fields and manager are named", function()
    local folder = scratch()
    new_manifests(folder)
    local self = kube.trial(namespace, { ("k8s.apply('lab', %q)"):format(folder) })
    local failure = self:run().failure
    equal(failure.kind, "conflict")
    matches(failure.message, 'conflict with "kubectl%-client%-side%-apply"')
    matches(failure.message, "image")
    self:roll_back()
  end)

  it("is planned without a request that changes anything", function()
    local folder = scratch()
    new_manifests(folder)
    local audit = kube.folder() .. "/log/audit.log"
    local size = #fs.read(audit)
    local plan = kube.trial(namespace, steps(folder)):plan()
    truthy(#plan.phases[1].steps[1].effects >= 18)
    local asked, changing = 0, {}
    for line in fs.read(audit):sub(size + 1):gmatch "[^\n]+" do
      local event = json.decode(line)
      if tostring(event.userAgent) == "neap" and event.stage == "ResponseComplete" then
        asked = asked + 1
        local reads = event.verb == "get" or event.verb == "list" or event.verb == "watch"
        if not reads and not event.requestURI:find("dryRun=All", 1, true) then changing[#changing + 1] = line end
      end
    end
    truthy(asked > 20)
    equal(changing, {})
  end)
end)
