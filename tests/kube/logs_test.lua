--- Logs of pods that are followed.
local fs   = require "native.fs"
local kube = require "tests.kube"
local task = require "native.task"

describe("a log that is followed", function()
  local namespace, log, before

  before_each(function()
    namespace = kube.namespace()
    kube.kubectl(("-n %s run web --image=x --restart=Never"):format(namespace))
    kube.kubectl(("-n %s wait --for=condition=Ready pod/web --timeout=60s"):format(namespace))
    log = kube.folder() .. "/log/pods.log"
    before = fs.read(log)
  end)
  after_each(function()
    fs.write(log, before)
    kube.drop(namespace)
  end)

  local second = 0

  --- The pod writes a line, in the form of the container runtime's interface.
  local function say(text)
    second = second + 1
    local at = ("2026-02-01T00:%02d:%02d.5Z stdout F %s\n"):format(second // 60, second % 60, text)
    local now = fs.read(log)
    require("native.process").run({ "sh", "-c", 'cat >>"$1"', "sh", log }, { reads = true, input = at })
    truthy(#fs.read(log) > #now)
  end

  local function following(options)
    local self = kube.trial(namespace, { ("return k8s.logs('lab', 'pod/web', { follow = true, %s })"):format(options) })
    local running = task.spawn(function() return self:run() end)
    task.sleep(0.7)
    return self, running
  end

  local function result_of(self)
    local result
    for _, event in ipairs(self:all "end") do result = event.result end
    return result
  end

  it("comes line by line, to the line that is waited for", function()
    local self, running = following [[ ["until"] = "^ready %d+$", timeout = 20 ]]
    say "starting"
    say "ready 7"
    say "more"
    running:wait()
    equal(result_of(self), "Started RdwWebapp in 4.2 seconds\nstarting\nready 7\n")
  end)

  it("may be looked at by a function", function()
    local self, running = following [[ ["until"] = function(line) return #line == 3 end, timeout = 20 ]]
    say "four"
    say "two"
    running:wait()
    matches(result_of(self), "four\ntwo\n$")
  end)

  it("goes on where the connection broke, with no line twice", function()
    local self, running = following [[ ["until"] = "^over$", timeout = 60 ]]
    say "one"
    task.sleep(0.5)
    kube.part("stop", "kwok")
    say "two"
    kube.part("start", "kwok")
    task.sleep(1)
    say "over"
    running:wait()
    equal(result_of(self), "Started RdwWebapp in 4.2 seconds\none\ntwo\nover\n")
  end)

  it("is a failure with its last lines where the line does not come in time", function()
    local self, running = following [[ ["until"] = "^never$", timeout = 2 ]]
    say "nothing of interest"
    running:wait()
    local failure = self:failure()
    equal(failure.kind, "timeout")
    matches(failure.output, "nothing of interest")
  end)

  it("is listed in a plan, and not waited for", function()
    local self = kube.trial(namespace, { "k8s.logs('lab', 'pod/web', { follow = true, ['until'] = 'never' })" })
    equal(self:plan().phases[1].steps[1].effects[1].says, "its log is followed")
  end)
end)
