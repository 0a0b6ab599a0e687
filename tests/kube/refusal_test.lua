--- What is said where a real control plane refuses, or never comes to what is waited for: short, and with what to do.
local kube = require "tests.kube"

describe("the message", function()
  local namespace

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  local JOB = [[
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: "registry.test/m:%d"}]}}}
]]

  local function failure_of(...)
    local self = kube.trial(namespace, { ... })
    self:run()
    return self:failure(), self
  end

  it("of a field that cannot be altered has its name and the reason, no whole object, and what to do", function()
    kube.trial(namespace, { ("k8s.apply('lab', [==[%s]==])"):format(JOB:format(1)) }):run "done"
    local failure = failure_of(("k8s.apply('lab', [==[%s]==])"):format(JOB:format(2)))
    matches(failure.message, "spec%.template: Invalid value: .*field is immutable$")
    truthy(#failure.message < 700)
    matches(failure.hint, "delete the object before")
  end)

  it("of a job that there is already says what to do", function()
    kube.kubectl(("-n %s create -f -"):format(namespace), JOB:format(1))
    local failure = failure_of(("k8s.run_job('lab', [==[%s]==])"):format(JOB:format(1)))
    equal(failure.kind, "conflict")
    matches(failure.hint, "delete the one of that name before")
  end)

  it("of a condition that an object does not have names those that it has", function()
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("shop"))
    kube.kubectl(("-n %s rollout status deployment/shop --timeout=30s"):format(namespace))
    local failure = failure_of "k8s.wait_for('lab', 'deployment/shop', 'Availabel', { timeout = 1 })"
    matches(failure.message, "it says nothing of Availabel, but of Available, Progressing$")
    equal(failure.output, nil)
  end)

  it("of a roll-out that is paused says so", function()
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("shop"))
    local failure, self = failure_of("k8s.patch('lab', 'deployment/shop', { spec = { paused = true } })",
      "k8s.set_image('lab', 'deployment/shop', { main = 'registry.test/shop:2' })",
      "k8s.rollout('lab', 'deployment/shop', { timeout = 1 })")
    matches(failure.message, "it is paused %(spec%.paused%)")
    self:abandon()
  end)

  it("of what is in no namespace has none", function()
    matches(failure_of("k8s.wait_for('lab', 'node/none', 'Ready', { timeout = 1 })").message, "^node/none of lab ")
  end)

  it("of a manifest that says another namespace than the call refuses both", function()
    local failure = failure_of(([[k8s.apply('lab', { apiVersion = 'v1', kind = 'ConfigMap',
      metadata = { name = 'where', namespace = '%s' } }, { namespace = 'default' })]]):format(namespace))
    equal(failure.kind, "denied")
    matches(failure.message, "^the manifest of configmap/where says namespace .*, and the call says default$")
    equal(kube.object(namespace, "configmap/where"), nil)
  end)
end)
