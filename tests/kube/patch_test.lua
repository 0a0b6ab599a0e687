--- Fields that are set one by one, on a real control plane: what the server takes as a whole, what it adds and refuses.
local kube = require "tests.kube"

describe("a patch of an object", function()
  local namespace
  local STOP = "fail('enough')"

  before_each(function()
    namespace = kube.namespace()
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("shop"))
  end)
  after_each(function() kube.drop(namespace) end)

  local function trial(...) return kube.trial(namespace, { ... }) end
  local function pod_spec() return kube.object(namespace, "deployment/shop").spec.template.spec end
  local function patch(text) return ("k8s.patch('lab', 'deployment/shop', %s)"):format(text) end

  it("changes a part of what the server takes as a whole, a service's selector, and gives it back", function()
    local self = trial("k8s.patch('lab', 'service/shop', { spec = { selector = { release = 'green' } } })", STOP)
    self:run "stopped"
    equal(kube.object(namespace, "service/shop").spec.selector, { app = "shop", release = "green" })
    self:roll_back "rolled back"
    equal(kube.object(namespace, "service/shop").spec.selector, { app = "shop" })
  end)

  it("gives an object a map that it did not have, takes a part of it away, and all of it", function()
    local self = trial(patch "{ spec = { template = { spec = { nodeSelector = { disk = 'ssd', zone = 'b' } } } } }",
      patch "{ spec = { template = { spec = { nodeSelector = { disk = json.null } } } } }", STOP)
    self:run "stopped"
    equal(pod_spec().nodeSelector, { zone = "b" })
    self:roll_back "rolled back"
    equal(pod_spec().nodeSelector, nil)
    trial(patch "{ spec = { template = { spec = { nodeSelector = { zone = 'b' } } } } }",
      patch "{ spec = { template = { spec = { nodeSelector = json.null } } } }"):run "done"
    equal(pod_spec().nodeSelector, nil)
  end)

  it("sets what is false", function()
    local self = trial(patch "{ spec = { template = { spec = { enableServiceLinks = false } } } }", STOP)
    self:run "stopped"
    equal(pod_spec().enableServiceLinks, false)
    self:roll_back "rolled back"
    truthy(pod_spec().enableServiceLinks ~= false)
  end)

  it("that says what the server says by default already changes nothing", function()
    local self = trial(patch [[{ spec = { progressDeadlineSeconds = 600,
      template = { spec = { dnsPolicy = 'ClusterFirst' } } } }]])
    self:run "done"
    equal(#self:all "intent", 0)
  end)

  it("of a field that the server does not know is refused by plan and run with its name", function()
    for _, text in ipairs { patch "{ spec = { pausd = true } }", "k8s.scale('lab', 'daemonset/agent', 0)" } do
      if text:find "daemonset" then
        kube.kubectl(("-n %s create -f -"):format(namespace), [[
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: a, image: registry.test/a}]}}
]])
      end
      local planned = raises(function() trial(text):plan() end)
      matches(planned.message, 'unknown field "spec%.%a+"')
      local self = trial(text)
      self:run "failed"
      matches(self:failure().message, 'unknown field "spec%.%a+"')
      equal({ self:failure().kind, #self:all "intent" }, { "denied", 0 })
    end
  end)
end)
