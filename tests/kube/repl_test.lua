--- Lines at `neap repl` on a real control plane, which kubectl is asked about.
local complete = require "neap.cli.repl.complete"
local console  = require "neap.cli.view.console"
local fs       = require "native.fs"
local kube     = require "tests.kube"
local process  = require "native.process"
local sitting  = require "neap.cli.repl.sitting"

local APPLY = [[k8s.apply('lab', { apiVersion = 'v1', kind = 'ConfigMap', metadata = { name = 'shelf-two' },
  data = { full = 'yes' } })]]

describe("lines on a cluster", function()
  local namespace, root, getenv

  before_each(function()
    namespace = kube.namespace()
    root = fs.realpath(scratch())
    fs.mkdir(root .. "/procedures/shop/environments", "0755")
    fs.write(root .. "/procedures/shop/environments/lab.yml",
      ("clusters:\n  lab: { context: lab, kubeconfig: %s, namespace: %s }\n"):format(kube.up(), namespace),
      { mode = "0644" })
    kube.kubectl(("-n %s create configmap shelf-one"):format(namespace))
    local set = { NEAP_PATH = root, XDG_STATE_HOME = root .. "/state" }
    getenv = os.getenv
    rawset(os, "getenv", function(name) return set[name] or getenv(name) end)
  end)

  after_each(function()
    rawset(os, "getenv", getenv)
    kube.drop(namespace)
  end)

  it("are offered names of clusters, kinds and objects", function()
    local sits = sitting.open { env = "shop/lab", console = console.new {} }
    equal((complete.names("k8s.get('", sits)), { "lab" })
    equal((complete.names("k8s.get('lab', 'config", sits)), { "configmap/" })
    equal((complete.names("k8s.get('lab', 'configmap/sh", sits)), { "configmap/shelf-one" })
    sits.session:leave()
  end)

  it("apply a manifest and take it back", function()
    local function neap(...)
      local argv = { process.executable(), "repl", "--env", "shop/lab", "--yes" }
      for _, line in ipairs { ... } do table.move({ "-e", line }, 1, 2, #argv + 1, argv) end
      local env = { NEAP_PATH = root, XDG_STATE_HOME = root .. "/state" }
      return process.run(argv, { reads = true, timeout = 60, env = env })
    end
    local result = neap(APPLY)
    equal({ result.status, kube.object(namespace, "configmap/shelf-two") }, { 1 })
    matches(result.err, "not done: lines may only read")
    equal(neap(":write", APPLY).status, 0)
    equal(kube.object(namespace, "configmap/shelf-two").data.full, "yes")
    kube.kubectl(("-n %s delete configmap shelf-two"):format(namespace))
    equal(neap(":write", APPLY, ":undo").status, 0)
    equal(kube.object(namespace, "configmap/shelf-two"), nil)
  end)
end)
