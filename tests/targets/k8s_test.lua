--- Kubernetes without a cluster: kubeconfig files, manifests, states of objects.
local config    = require "neap.targets.k8s.config"
local fixture   = require "tests.targets.fixture"
local fs        = require "native.fs"
local json      = require "native.json"
local manifests = require "neap.targets.k8s.manifest"
local plans     = require "neap.targets.k8s.plan"
local secret    = require "native.secret"
local state     = require "neap.targets.k8s.state"

local FIRST = [[
clusters:
- {name: one, cluster: {server: "https://one.test:6443/", certificate-authority: ca.pem, tls-server-name: inner}}
contexts:
- {name: night, context: {cluster: one, user: ann, namespace: rdw}}
- {name: open, context: {cluster: lax, user: ann}}
users:
- {name: ann, user: {token: "a token that is long"}}
]]
local SECOND = [[
clusters:
- {name: one, cluster: {server: "https://other.test"}}
- {name: lax, cluster: {server: "https://lax.test", insecure-skip-tls-verify: true}}
- {name: bare, cluster: {server: "http://bare.test"}}
contexts:
- {name: bare, context: {cluster: bare, user: eve}}
- {name: program, context: {cluster: one, user: program}}
users:
- {name: eve, user: {client-certificate: pki/eve.crt, client-key-data: "c2VjcmV0IGtleQ=="}}
- {name: program, user: {exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: give}}}
]]

describe("a kubeconfig", function()
  local folder

  before_each(function()
    folder = scratch()
    fs.write(folder .. "/first", FIRST, { mode = "0600" })
    fs.write(folder .. "/second", SECOND, { mode = "0600" })
  end)

  local function settings(entry)
    local run = fixture.run()
    run.keys = secret.keyring()
    run.environment.clusters = { opus = entry }
    return fixture.within(run, function(fn, ...) return fn(...) end, config.of, "opus")
  end

  local function both(context) return { context = context, kubeconfig = folder .. "/first:" .. folder .. "/second" } end

  it("is merged with others, the first word counts, and files are beside it", function()
    local one = settings(both "night")
    equal({ one.server, one.ca, one.namespace, one.server_name }, { "https://one.test:6443", folder .. "/ca.pem", "rdw",
      "inner" })
    truthy(secret.is(one.token))
    truthy(secret.same(one.token, "a token that is long"))
    equal(settings { context = "night", kubeconfig = folder .. "/first", namespace = "mine" }.namespace, "mine")
  end)

  it("is not taken where it would not look whom it talks to, or not be read by others alone", function()
    matches(raises(settings, both "open").message, "insecure%-skip%-tls%-verify")
    matches(raises(settings, both "bare").message, "no https address")
    matches(raises(settings, both "program").message, "does not know exec plugins")
    equal(raises(settings, both "nigth").kind, "missing")
    matches(raises(settings, both "nigth").message, "night")
    fs.write(folder .. "/open", FIRST, { mode = "0644" })
    equal(raises(settings, { context = "night", kubeconfig = folder .. "/open" }).kind, "denied")
  end)

  it("is refused where the words of its program are none", function()
    for _, wrong in ipairs { "args: [[a]]", "args: [null]", "env: [{name: A}]", "env: [{name: A, value: {}}]" } do
      fs.write(folder .. "/odd", SECOND:gsub("v1alpha1, command: give", "v1, command: /bin/true, " .. wrong),
        { mode = "0600" })
      local run = fixture.run()
      run.keys, run.environment.policy = secret.keyring(), { allow_exec = { "/bin/true" } }
      run.environment.clusters = { opus = { context = "program", kubeconfig = folder .. "/odd" } }
      local failure = raises(fixture.within, run, function(fn, ...) return fn(...).again() end, config.of, "opus")
      matches(failure.message, "where a text is wanted")
    end
  end)
end)

describe("manifests", function()
  local function objects(given)
    local run = fixture.run()
    run.environment.root = "/"
    return fixture.within(run, function(fn, ...) return fn(...) end, manifests.objects, given)
  end

  local TEXT = [[
# comment
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, creationTimestamp: null, uid: x}
spec:
  text: |
    ---not a new one
     ---
status: {}
--- # next
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
- {apiVersion: v1, kind: Namespace, metadata: {name: c}}
...
]]

  it("are documents and lists, in the order in which they can be made", function()
    local list = objects(TEXT)
    equal({ #list, list[1].kind, list[2].kind, list[3].kind }, { 3, "Namespace", "ConfigMap", "Deployment" })
    equal(list[3], { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "a" },
      spec = { text = "---not a new one\n ---\n" } })
  end)

  it("come from files and folders, and what is wrong is told by its line", function()
    local folder = scratch()
    fs.write(folder .. "/b.yml", TEXT)
    fs.write(folder .. "/a.json", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"z"}}')
    fs.write(folder .. "/other.txt", "no manifest")
    equal({ #objects(folder), #objects { folder .. "/a.json", TEXT } }, { 4, 4 })
    fs.write(folder .. "/b.yml", "a: b\n---\nkind: [\n")
    matches(raises(objects, folder .. "/b.yml").message, "b.yml:4")
    matches(raises(objects, "kind: Pod\n").message, "no apiVersion")
    equal(raises(objects, folder .. "/none.yml").kind, "missing")
  end)

  it("hold what is secret as servers keep it, and modes as octal numbers", function()
    local word = secret.literal("open sesame", secret.keyring())
    local one = objects { apiVersion = "v1", kind = "Secret", metadata = { name = "s" },
      stringData = { a = word, b = "x" } }
    equal({ one[1].data.b, secret.is(one[1].data.a) }, { "eA==", true })
    equal(secret.same(one[1].data.a, "b3BlbiBzZXNhbWU="), true)
    truthy(secret.same(state.encode(one[1].data), '{"a":"b3BlbiBzZXNhbWU=","b":"eA=="}'))
    equal(objects("apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec: {defaultMode: 0644}\n")[1].spec.defaultMode, 420)
  end)
end)

describe("the state of an object", function()
  local FIELDS = [[{"f:metadata":{"f:annotations":{".":{},"f:note":{},"f:neap/effect":{}}},"f:spec":{"f:replicas":{},
    "f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"b\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{
    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:containerPort":{}}}},"k:{\"name\":\"a\"}":{"f:name":{}}},
    "f:volumes":{"k:{\"name\":\"v\"}":{"f:emptyDir":{},"f:name":{}}}}}}}]]

  local function object(manager)
    return { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "x", uid = "u",
      annotations = { note = "n", ["neap/effect"] = "e", other = "o" }, managedFields = {
        { manager = manager, operation = "Apply", fieldsV1 = json.decode(FIELDS) },
        { manager = "kube-controller-manager", operation = "Update",
          fieldsV1 = { ["f:spec"] = { ["f:paused"] = {} } } } } },
      spec = { replicas = 3, paused = true, strategy = { type = "x" }, template = { spec = {
        containers = { { name = "b", image = "i", ports = { { containerPort = 80, protocol = "TCP" } } },
          { name = "a" } },
        volumes = { { name = "v", emptyDir = {} } } } } } }
  end

  it("is what people have said of it, and can be built again", function()
    local seen = state.of(object "neap")
    matches(state.text(seen), "\nspec.replicas: 3\n")
    matches(state.text(seen), "spec.template.spec.containers%[b%].image: i\n")
    equal({ state.text(seen):find "other", state.text(seen):find "paused", state.text(seen):find "neap/" }, {})
    equal(state.build(seen, seen.own, false), { metadata = { annotations = { note = "n" } }, spec = { replicas = 3,
      template = { spec = { containers = { { name = "b", image = "i", ports = { { containerPort = 80 } } },
        { name = "a" } }, volumes = { { name = "v", emptyDir = {} } } } } } })
    equal({ seen.maker, state.of(object "kubectl").maker, #state.of(object "kubectl").own }, { nil, "kubectl", 0 })
    equal(state.of(nil), nil)
  end)

  it("is altered field by field, and items of lists of which nothing is said any more go", function()
    local live = object "kubectl"
    local now = state.of(live)
    local wanted = plans.with_field(now, { "f:spec", "f:replicas" }, 0)
    wanted = plans.with_images(wanted, { b = "j" }, "x")
    wanted = plans.patched(wanted, { metadata = { annotations = { note = json.null, fresh = "f" } } }, {})
    for _, name in ipairs(state.paths(wanted)) do
      if name:find([[\"name\":\"a\"]], 1, true) then wanted.fields[name] = nil end
    end
    equal(#state.alter(live, now, wanted) > 3, true)
    equal(#live.spec.template.spec.containers, 1)
    equal({ live.spec.replicas, live.spec.template.spec.containers[1].image, live.metadata.annotations.note,
      live.metadata.annotations.fresh, live.metadata.annotations.other }, { 0, "j", nil, "f", "o" })
    equal(raises(plans.with_images, now, { none = "x" }, "x").kind, "missing")
  end)

  it("that is applied loses to others what they set", function()
    local now = state.of(object "neap")
    local after = plans.with_field(now, { "f:spec", "f:replicas" }, 5)
    equal(#after.own, #now.own - 1)
    equal(state.same(plans.with_field(now, { "f:spec", "f:replicas" }, 3), now), true)
  end)
end)
