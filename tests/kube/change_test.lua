--- Changes of objects on a real control plane: forward, again, back.
local json = require "native.json"
local kube = require "tests.kube"
local state = require "neap.targets.k8s.state"

describe("on a cluster", function()
  local namespace

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  local function trial(...) return kube.trial(namespace, { ... }) end

  --- Deployments and services as they are, without what the server counts.
  local function world()
    local list = json.decode(kube.kubectl(("-n %s get deployment,service,configmap,secret -o json"):format(namespace)))
    local seen = {}
    for _, object in ipairs(list.items) do
      local meta = object.metadata
      for _, key in ipairs { "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields" } do
        meta[key] = nil
      end
      local annotations = meta.annotations or {}
      annotations["deployment.kubernetes.io/revision"], annotations["neap/effect"] = nil, nil
      if not next(annotations) then meta.annotations = nil end
      if object.kind == "Service" then object.spec.clusterIP, object.spec.clusterIPs = nil, nil end
      object.status = nil
      if meta.name ~= "kube-root-ca.crt" then seen[object.kind .. "/" .. meta.name] = object end
    end
    return seen
  end

  local APPLY = ("k8s.apply('lab', [==[%s]==])"):format(kube.deployment("reporting", { replicas = 2 }))
  local STOP = "fail('enough')"

  it("manifests are applied, found as they are the next time, and taken back", function()
    local first = trial(APPLY .. " k8s.rollout('lab', 'deployment/reporting', { timeout = 30 })")
    first:run "done"
    equal(kube.object(namespace, "deployment/reporting").status.readyReplicas, 2)
    local again = trial(APPLY)
    again:run "done"
    equal({ #again:all "intent" }, { 0 })
    local back = trial(("k8s.apply('lab', [==[%s]==])"):format(kube.deployment("other")), STOP)
    back:run "stopped"
    truthy(kube.object(namespace, "service/other"))
    back:roll_back "rolled back"
    equal({ kube.object(namespace, "service/other"), kube.object(namespace, "deployment/other") }, {})
  end)

  it("a scale and images are taken back to what they were, whoever had said them", function()
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("reporting", { replicas = 3 }))
    local before = world()
    local self = trial("k8s.scale('lab', 'deployment/reporting', 0)",
      "k8s.set_image('lab', 'deployment/reporting', { main = 'registry.test/reporting:2.0.0' })",
      [[k8s.annotate('lab', 'deployment/reporting', { note = 'hello' })
        k8s.label('lab', 'deploy/reporting', { a = 'b' })]],
      STOP)
    self:run "stopped"
    local now = kube.object(namespace, "deployment/reporting")
    equal({ now.spec.replicas, now.spec.template.spec.containers[1].image, now.metadata.annotations.note },
      { 0, "registry.test/reporting:2.0.0", "hello" })
    self:roll_back "rolled back"
    equal(world(), before)
  end)

  it("what is deleted is made again by a rollback as people had described it", function()
    kube.kubectl(("-n %s apply -f -"):format(namespace), kube.deployment("reporting", { replicas = 1 }))
    trial(("k8s.apply('lab', [==[%s]==])"):format(kube.deployment("admin"))):run "done"
    local before = world()
    local self = trial("k8s.delete('lab', { 'deployment/reporting', 'service/reporting' })",
      "k8s.delete('lab', { 'deployment/admin', 'service/admin', 'service/never' })", STOP)
    self:run "stopped"
    equal(world(), {})
    self:roll_back "rolled back"
    equal(world(), before)
  end)

  it("a field that another manager has said is refused with its name; taken over by force, it is given back",
    function()
      trial(APPLY):run "done"
      kube.kubectl(("-n %s scale deployment reporting --replicas=5"):format(namespace))
      local before = world()
      local refused = trial(APPLY)
      refused:run "failed"
      local failure = refused:failure()
      equal(failure.kind, "conflict")
      matches(failure.message, 'spec.replicas.*conflict with "kubectl"')
      local forced = trial((APPLY:gsub("%)$", ", { force_conflicts = true })")), STOP)
      forced:run "stopped"
      equal(kube.object(namespace, "deployment/reporting").spec.replicas, 2)
      forced:roll_back "rolled back"
      equal(world(), before)
      local owners = {}
      for _, entry in ipairs(kube.object(namespace, "deployment/reporting").metadata.managedFields) do
        local spec = entry.fieldsV1["f:spec"]
        owners[#owners + 1] = spec and spec["f:replicas"] and entry.manager or nil
      end
      equal(owners, { "kubectl" })
    end)

  it("the number that an autoscaler has set is there again after a rollback, and is the autoscaler's still", function()
    kube.kubectl(("-n %s apply --server-side -f -"):format(namespace),
      kube.deployment("reporting"))
    kube.kubectl(("-n %s patch deployment reporting --subresource=scale --type=merge "
      .. "--field-manager=kube-controller-manager -p {\"spec\":{\"replicas\":4}}"):format(namespace))
    local self = trial("k8s.scale('lab', 'deployment/reporting', 0)", "k8s.scale('lab', 'deployment/reporting', 2)",
      "k8s.scale('lab', 'deployment/reporting', 0)", STOP)
    self:run "stopped"
    equal(kube.object(namespace, "deployment/reporting").spec.replicas, 0)
    self:roll_back "rolled back"
    local object = kube.object(namespace, "deployment/reporting")
    equal({ object.spec.replicas, (object.metadata.annotations or {})["neap/replicas"] }, { 4 })
    equal(state.of(object).fields['["f:spec","f:replicas"]'], nil)
  end)

  it("what neap has scaled itself it may apply otherwise", function()
    trial(APPLY):run "done"
    trial("k8s.scale('lab', 'deployment/reporting', 0)"):run "done"
    trial(APPLY):run "done"
    equal(kube.object(namespace, "deployment/reporting").spec.replicas, 2)
  end)

  it("what somebody else has changed since is not overwritten by a rollback", function()
    trial(APPLY):run "done"
    local self = trial("k8s.scale('lab', 'deployment/reporting', 0)", STOP)
    self:run "stopped"
    kube.kubectl(("-n %s scale deployment reporting --replicas=7"):format(namespace))
    self:roll_back()
    matches(self.question.text, "reporting")
    equal(kube.object(namespace, "deployment/reporting").spec.replicas, 7)
    self:abandon()
  end)

  it("a manifest that the server does not accept is refused with the field, and nothing is changed", function()
    local bad = kube.deployment("reporting"):gsub("containerPort: 8080", "containerPort: 80800")
    local self = trial(("k8s.apply('lab', [==[%s]==])"):format(bad))
    self:run()
    matches(self:failure().message, "containerPort")
    equal({ self:failure().kind, self:failure().code, kube.object(namespace, "deployment/reporting") },
      { "denied", 422 })
    local unknown = kube.deployment("reporting"):gsub("replicas:", "replica:")
    self = trial(("k8s.apply('lab', [==[%s]==])"):format(unknown))
    self:run()
    matches(self:failure().message, "replica")
  end)


  it("a plan sends nothing that changes, and composes changes of one object", function()
    trial(APPLY):run "done"
    local before = world()
    local self = trial("k8s.scale('lab', 'deployment/reporting', 0)", "k8s.delete('lab', 'deployment/reporting')",
      APPLY, "k8s.rollout('lab', 'deployment/reporting')")
    local plan = self:plan()
    local lines = {}
    for _, step in ipairs(plan.phases[1].steps) do
      for _, line in ipairs(step.effects) do lines[#lines + 1] = line.sign .. " " .. line.show end
    end
    equal(lines, { "~ lab " .. namespace .. " deployment/reporting", "- lab " .. namespace .. " deployment/reporting",
      "= lab " .. namespace .. " service/reporting", "+ lab " .. namespace .. " deployment/reporting",
      "> lab deployment/reporting" })
    equal(world(), before)
    equal(self:start({ plan = plan }).status, "done")
    equal(kube.object(namespace, "deployment/reporting").spec.replicas, 2)
  end)

  it("a run is refused by a cluster that is another than the one it was planned for", function()
    local self = trial(APPLY)
    local plan = self:plan()
    matches(plan.pins["cluster lab"], "^kube%-system %x+%-")
    plan.pins["cluster lab"] = "kube-system 00000000-0000-0000-0000-000000000000"
    local outcome = self:start { plan = plan }
    equal({ outcome.failure.code, kube.object(namespace, "deployment/reporting") }, { "identity" })
  end)

  it("an object that controllers write to all the time is changed all the same", function()
    trial(("k8s.apply('lab', [==[%s]==])"):format(kube.deployment("busy", { replicas = 20 }))):run "done"
    local newer = kube.deployment("busy", { replicas = 20, tag = "2" })
    local self = trial(("k8s.apply('lab', [==[%s]==]) k8s.scale('lab', 'deployment/busy', 3)"):format(newer))
    self:run "done"
    equal(kube.object(namespace, "deployment/busy").spec.replicas, 3)
  end)
end)
