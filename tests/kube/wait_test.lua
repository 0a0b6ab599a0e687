--- Waits, reads, credentials and trust on a real control plane.
local fs   = require "native.fs"
local kube = require "tests.kube"

describe("on a cluster", function()
  local namespace

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  local function trial(...) return kube.trial(namespace, { ... }) end

  local function apply(...) return ("k8s.apply('lab', [==[%s]==])"):format(kube.deployment(...)) end

  it("a roll-out that does not come to its end says what its pods suffer from", function()
    local self = trial(apply("bad", { fail = "pull", tag = "9.9.9" }),
      "k8s.rollout('lab', 'deployment/bad', { timeout = 3 })")
    self:run "stopped"
    local failure = self:failure()
    equal(failure.kind, "timeout")
    matches(failure.message, "deployment/bad .* is not there yet after 3 s: 1 of 1 updated, 0 available")
    matches(failure.output, "main: ImagePullBackOff %(lab: image refused%)")
    self:abandon()
  end)

  it("objects are listed, read, waited for, and their logs and events had", function()
    local self = trial(apply "web", [[
      k8s.rollout('lab', 'deploy/web', { timeout = 30 })
      k8s.wait_for('lab', 'deployment/web', 'Available', { timeout = 10 })
      local pods = k8s.list('lab', 'pods', { labels = 'app=web' })
      local pod = k8s.get('lab', 'pod/' .. pods[1].metadata.name)
      local object = k8s.wait_for('lab', 'deployment/web', function(one) return one.status.readyReplicas == 1 end)
      return { #pods, pod.status.phase, object.kind, k8s.logs('lab', 'deployment/web', { tail = 1 }),
        #k8s.events('lab', 'deployment/web') > 0, k8s.version('lab'), k8s.get('lab', 'svc/none') == nil }
    ]], "k8s.delete('lab', { 'deployment/web', 'service/web' }) k8s.wait_gone('lab', 'deployment/web')")
    self:run "done"
    local result
    for _, event in ipairs(self:all "end") do
      if event.path == "Step 2" then result = event.result end
    end
    equal({ result[1], result[2], result[3], result[5], result[7] }, { 1, "Running", "Deployment", true, true })
    matches(result[4], "Started RdwWebapp")
    matches(result[6], "^v1%.")
  end)

  it("a job is run once, to its end, and one that fails shows its log", function()
    local job = [[{ apiVersion = "batch/v1", kind = "Job", metadata = { name = "%s" }, spec = { backoffLimit = 0,
      template = { metadata = { labels = { a = "b", %s } }, spec = { restartPolicy = "Never",
      containers = { { name = "main", image = "x" } } } } } }]]
    local self = trial(("return k8s.run_job('lab', %s)"):format(job:format("good", "")), "fail('enough')")
    self:run "stopped"
    equal(self:all "end"[1].result.succeeded, 1)
    self:roll_back "rolled back"
    local failing = trial(("k8s.run_job('lab', %s)"):format(job:format("bad", "['lab/fail'] = 'job'")))
    failing:run()
    matches(failing:failure().message, "job/bad of lab has failed")
    matches(failing:failure().output, "Started RdwWebapp")
    failing:roll_back()
    equal(kube.object(namespace, "job/bad"), nil)
  end)

  it("who may do nothing is told what it may not", function()
    local self = kube.trial(namespace, { apply "web" },
      { cluster = { context = "bob", kubeconfig = kube.up(), namespace = namespace } })
    self:run "failed"
    matches(self:failure().message, 'User "bob" cannot')
    equal({ self:failure().kind, self:failure().code }, { "denied", 403 })
  end)

  it("a version that is not expected, and a cluster that is another, are refused", function()
    local self = kube.trial(namespace, { apply "web" }, { cluster = { context = "lab", kubeconfig = kube.up(),
      namespace = namespace, expect_version = "1.9" } })
    matches(self:run().failure.message, "is of version 1%.%d+.*the environment expects 1%.9")
    equal(kube.object(namespace, "deployment/web"), nil)
  end)

  it("the API server may die and come back within a step", function()
    trial(apply("web", { replicas = 1 })):run "done"
    kube.part("stop", "kube-apiserver")
    local task = require "native.task"
    local back = task.spawn(function()
      task.sleep(1)
      kube.part("start", "kube-apiserver")
    end)
    local self = trial("k8s.scale('lab', 'deployment/web', 3) k8s.rollout('lab', 'deployment/web', { timeout = 60 })")
    local outcome = self:start()
    back:wait()
    if outcome.status ~= "done" then outcome = self:resume() end
    equal(outcome.status, "done")
    equal(kube.object(namespace, "deployment/web").spec.replicas, 3)
  end)

  it("exec plugins give credentials where the environment allows their program, and only there", function()
    local folder = scratch()
    local text = fs.read(kube.up())
    local plugin = folder .. "/give"
    fs.write(plugin, '#!/bin/sh\necho \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
      .. '"status":{"token":"bob-token-0123456789"}}\'\n', { mode = "0700" })
    text = text:gsub("user: {token: bob%-token%-0123456789}",
      "user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: " .. plugin .. ", interactiveMode: Never}}")
    fs.write(folder .. "/config", text, { mode = "0600" })
    local cluster = { context = "bob", kubeconfig = folder .. "/config", namespace = namespace }
    local self = kube.trial(namespace, { "k8s.list('lab', 'pods')" }, { cluster = cluster })
    self:run "failed"
    matches(self:failure().message, "does not allow .*/give to be run")
    self = kube.trial(namespace, { "k8s.list('lab', 'pods')" }, { cluster = cluster })
    self.environment.policy.allow_exec = { plugin }
    self:run "failed"
    matches(self:failure().message, 'User "bob" cannot list')
  end)
end)
