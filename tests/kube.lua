--- The control plane of tests/lab/kube, for tests: a namespace for each, runs on it, and kubectl to look past neap.
local fixture = require "tests.targets.fixture"
local json    = require "native.json"
local process = require "native.process"

local kube = {}

local SCRIPT = "tests/lab/kube"

--- Runs a program; what it printed. Raises what it said where it failed.
local function run(argv, options)
  options = options or {}
  local result = process.run(argv, { reads = true, timeout = options.timeout or 60, input = options.input })
  if result.status == 0 then return result.out end
  error(("%s: %s%s"):format(table.concat(argv, " "), result.out, result.err), 0)
end

--- Starts it, or finds it up. The path of its kubeconfig.
--- @return string
function kube.up()
  kube.config = kube.config or run({ SCRIPT, "up" }, { timeout = 3600 }):match "KUBECONFIG=(%S+)"
  return kube.config
end

--- Where its files and logs lie.
--- @return string
function kube.folder() return kube.up():match "^(.*)/[^/]*$" end

--- Stops or starts a part of it.
--- @param verb "stop"|"start"
--- @param part string
function kube.part(verb, part) run { SCRIPT, verb, part } end

--- What kubectl prints.
--- @param words string  parted by blanks
--- @param input? string
--- @return string
function kube.kubectl(words, input)
  local argv = { SCRIPT, "kubectl" }
  for word in words:gmatch "%S+" do argv[#argv + 1] = word end
  return run(argv, { input = input })
end

--- An object as kubectl has it; nil where it is not there.
--- @param namespace string
--- @param ref string
--- @return table?
function kube.object(namespace, ref)
  local text = kube.kubectl(("-n %s get %s -o json --ignore-not-found --show-managed-fields"):format(namespace, ref))
  return text:find "%S" and json.decode(text) or nil
end

local count = 0

--- A new namespace.
--- @return string
function kube.namespace()
  kube.up()
  count = count + 1
  local name = ("t%d-%d"):format(process.pid(), count)
  kube.kubectl("create namespace " .. name)
  return name
end

--- Has a namespace and all in it taken away, without waiting for it.
--- @param name string
function kube.drop(name) kube.kubectl(("delete namespace %s --wait=false"):format(name)) end

--- A trial (tests.targets.fixture) whose environment has the cluster "lab"; NAMESPACE in steps is replaced.
--- @param namespace string
--- @param steps string[]
--- @param more? { cluster?: table, state?: string }
--- @return table
function kube.trial(namespace, steps, more)
  more = more or {}
  local trial = fixture.trial(steps, namespace, nil, more.state)
  trial.environment.clusters = { lab = more.cluster
    or { context = "lab", kubeconfig = kube.up(), namespace = namespace } }
  return trial
end

--- A deployment and its service as YAML.
--- @param name string
--- @param options? { replicas?: integer, tag?: string, fail?: string }
--- @return string
function kube.deployment(name, options)
  options = options or {}
  local labels = ("app: %s"):format(name) .. (options.fail and ", lab/fail: " .. options.fail or "")
  return ([[
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {selector: {app: %s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: %d
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {%s}}
    spec:
      containers:
      - name: main
        image: "registry.test/%s:%s"
        env: [{name: SECOND, value: b}, {name: FIRST, value: a}]
        ports: [{containerPort: 8080}]
        resources: {limits: {cpu: 1, memory: 2G}}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch, emptyDir: {}}]
]]):format(name, name, name, options.replicas or 1, name, labels, name, options.tag or "1.0.0")
end

return kube
