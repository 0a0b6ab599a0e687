--- The example of the manual's chapter on Kubernetes, on a real control plane.
local console = require "tests.lab.console"
local fs      = require "native.fs"
local kube    = require "tests.kube"
local manual  = require "tests.manual"

local NEAP = fs.realpath "build/neap"

local JOB = [[
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}
]]

local function reporting()
  return (kube.deployment("reporting-deployment"):gsub("name: main", "name: reporting-service"))
end

describe("the manual's example of Kubernetes", function()
  local namespace

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  it("runs, to its last line", function()
    local root, example = scratch(), manual.of("kubernetes", "lua")[1]
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment "old")
    kube.kubectl(("-n %s apply --server-side --field-manager=neap -f -"):format(namespace), reporting())
    local place = "clusters:\n  opus: { context: lab, kubeconfig: %s, namespace: %s }\n"
    manual.write_environments(root, example, place:format(kube.up(), namespace))
    manual.write(root, "deploy/reporting.yml", reporting())
    manual.write(root, "jobs/migrate.yml", JOB)
    local text = example.text:gsub('namespace = "rdw"', ("namespace = %q"):format(namespace))
    manual.write(root, "procedures/shop/example.lua", ('step "All of it" { run = function()\n%s\nend }\n'):format(text))
    local said, status = console.shell(("cd %s && HOME=%s XDG_STATE_HOME=%s/state %s run shop/example --env lab --yes "
      .. "--no-input --foreground --outside-window --reason example </dev/null"):format(root, root, root, NEAP))
    if status ~= 0 then error(said, 0) end
    equal({ kube.object(namespace, "deployment/old"), kube.object(namespace, "service/old") }, {})
    local container = kube.object(namespace, "deployment/reporting-deployment").spec.template.spec.containers[1]
    equal(container.image, "registry.test/reporting:1.1.0")
  end)
end)
