--- What is deleted on a real control plane and is not simply made again: what an owner makes anew, what would run again,
--- what more goes with it, what finalizers hold.
local kube = require "tests.kube"
local task = require "native.task"

describe("a deletion", function()
  local namespace
  local STOP = "fail('enough')"

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  local function trial(...) return kube.trial(namespace, { ... }) end
  local function create(text) kube.kubectl(("-n %s create -f -"):format(namespace), text) end

  it("of a pod that its owner makes anew is kept by a rollback, which comes to its end", function()
    create(kube.deployment("shop"))
    kube.kubectl(("-n %s rollout status deployment/shop --timeout=30s"):format(namespace))
    local pod = kube.kubectl(("-n %s get pods -o name"):format(namespace)):match "%S+"
    local self = trial(("k8s.delete('lab', '%s')"):format(pod), STOP)
    self:run "stopped"
    equal(kube.object(namespace, pod), nil)
    local outcome = self:roll_back "rolled back"
    equal({ #outcome.changed, outcome.exit }, { 0, 0 })
    matches(self:all("intent")[1].why, "^replicaset/shop%-%w+ makes another$")
  end)

  it("of a job is kept by a rollback, for made again it would run again", function()
    create [[
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: registry.test/m}]}}}
]]
    kube.kubectl(("-n %s wait --for=condition=complete job/migrate --timeout=30s"):format(namespace))
    local self = trial("k8s.delete('lab', 'job/migrate')", STOP)
    self:run "stopped"
    self:roll_back "rolled back"
    equal(kube.object(namespace, "job/migrate"), nil)
  end)

  it("of a namespace cannot be taken back, and its plan says so", function()
    local other = kube.namespace()
    kube.kubectl(("-n %s create configmap inside --from-literal=a=1"):format(other))
    local text = ("k8s.delete('lab', 'namespace/%s')"):format(other)
    local effect = trial(text):plan().phases[1].steps[1].effects[1]
    equal(effect.why, "with a namespace goes all that is in it")
    local self = trial(text, STOP)
    self:run "stopped"
    equal(raises(self.roll_back, self).code, "no return")
    self:abandon()
  end)

  it("that finalizers hold says which in time, is in place, and makes room for another once they are gone", function()
    create "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [shop.test/cleanup]}\ndata: {a: b}\n"
    local self = trial "k8s.delete('lab', 'configmap/held', { timeout = 4 })"
    local began = task.now()
    self:run "stopped"
    truthy(task.now() - began < 30)
    matches(self:failure().message, "^configmap/held in .* is not gone after 4 s: it is being deleted; "
      .. "it waits for its finalizers shop.test/cleanup$")
    equal(self:failure().kind, "timeout")
    matches(self:roll_back("rollback incomplete").failure.message,
      "cannot be made: the one of that name is being deleted.*shop.test/cleanup")
    kube.kubectl(("-n %s patch configmap held --type=merge -p {\"metadata\":{\"finalizers\":null}}"):format(namespace))
    self:roll_back "rolled back"
    equal(kube.object(namespace, "configmap/held").data, { a = "b" })
  end)
end)

describe("objects of a kind that the run defines", function()
  local namespace, group

  before_each(function()
    namespace = kube.namespace()
    group = namespace .. ".test"
  end)
  after_each(function()
    kube.kubectl(("delete crd coupons.%s --ignore-not-found"):format(group))
    kube.drop(namespace)
  end)

  it("may be altered by their short name in the next step, in its plan too", function()
    local definition = ([[
apiVersion: %s/v1
kind: Coupon
metadata: {name: ten}
spec: {percent: 10}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: coupons.%s}
spec:
  group: %s
  scope: Namespaced
  names: {plural: coupons, singular: coupon, kind: Coupon, shortNames: [cpn]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
]]):format(group, group, group)
    local steps = { ("k8s.apply('lab', [==[%s]==])"):format(definition),
      ("k8s.patch('lab', 'cpn.%s/ten', { spec = { percent = 20 } })"):format(group) }
    equal(#kube.trial(namespace, steps):plan().phases[1].steps[2].effects, 1)
    steps[3] = "fail('enough')"
    local self = kube.trial(namespace, steps)
    self:run "stopped"
    equal(kube.object(namespace, "coupons." .. group .. "/ten").spec.percent, 20)
    self:roll_back "rolled back"
    equal(kube.kubectl(("get crd coupons.%s --ignore-not-found"):format(group)), "")
  end)

  it("or in a namespace that nobody makes are refused by the plan", function()
    local text = kube.deployment("shop")
    local failure = raises(function()
      kube.trial(namespace, { ("k8s.apply('lab', [==[%s]==], { namespace = 'nowhere' })"):format(text) }):plan()
    end)
    equal(failure.kind, "missing")
    matches(failure.message, 'namespaces "nowhere" not found')
  end)
end)
