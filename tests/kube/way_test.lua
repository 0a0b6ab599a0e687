--- The way to a cluster, as kubeconfigs say it, and what is said where it is barred.
local fs   = require "native.fs"
local kube = require "tests.kube"

describe("on the way to a cluster", function()
  local namespace

  before_each(function() namespace = kube.namespace() end)
  after_each(function() kube.drop(namespace) end)

  --- What listing pods fails with, by the user bob of a kubeconfig that is the lab's but for the words replaced.
  local function failure_of(pattern, replacement, allowed)
    local path = scratch() .. "/config"
    local text, count = fs.read(kube.up()):gsub(pattern, replacement)
    truthy(count > 0)
    fs.write(path, text, { mode = "0600" })
    local self = kube.trial(namespace, { "k8s.list('lab', 'pods')" },
      { cluster = { context = "bob", kubeconfig = path, namespace = namespace } })
    self.environment.policy.allow_exec = allowed
    self:run "failed"
    return self:failure()
  end

  it("who cannot connect is told to which cluster, and that a proxy was meant", function()
    local failure = failure_of('server: "', 'proxy-url: "http://127.0.0.1:9", server: "')
    equal({ failure.kind, failure.host }, { "connect", "lab" })
    matches(failure.message,
      "^cluster lab at https://127%.0%.0%.1:%d+ by the proxy of its kubeconfig: .*127%.0%.0%.1 port 9")
  end)

  it("who shows another name's certificate is named", function()
    local failure = failure_of('server: "', 'tls-server-name: other.test, server: "')
    matches(failure.message, "^cluster lab at https://127%.0%.0%.1:%d+: its certificate is not accepted.*other%.test")
  end)

  it("whose token is not accepted is told so, with what to do", function()
    local failure = failure_of("bob%-token%-0123456789", "stale-walrus-token")
    equal({ failure.kind, failure.code }, { "auth", 401 })
    matches(failure.hint, "log in again")
  end)

  it("a plugin that prints nothing of use is no leave to ask as nobody", function()
    local plugin = scratch() .. "/junk"
    fs.write(plugin, "#!/bin/sh\necho hello\n", { mode = "0700" })
    local exec = ("{exec: {apiVersion: client.authentication.k8s.io/v1, command: %s, interactiveMode: Never}}")
      :format(plugin)
    local failure = failure_of("{token: bob%-token%-0123456789}", exec, { plugin })
    equal(failure.kind, "auth")
    matches(failure.message, "/junk ends well, and prints no ExecCredential")
  end)
end)
