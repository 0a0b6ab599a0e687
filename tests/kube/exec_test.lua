--- Commands in containers: once, with their input and output, over connections that break, and beside what can't be known.
local fs     = require "native.fs"
local http   = require "native.http"
local json   = require "native.json"
local kube   = require "tests.kube"
local mortal = require "tests.targets.mortal"
local secret = require "native.secret"
local task   = require "native.task"

local POD = [[
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: main, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec: {containers: [{name: main, image: x}, {name: bare, image: x}]}
]]

describe("a command in a container", function()
  local namespace, marks, open

  before_each(function()
    namespace, open = kube.namespace(), http.open
    kube.kubectl(("-n %s create -f -"):format(namespace), POD)
    kube.kubectl(("-n %s wait --for=condition=Ready pod/web pod/two --timeout=60s"):format(namespace))
    marks = kube.folder() .. "/container/" .. namespace
  end)
  after_each(function()
    http.open = open
    kube.drop(namespace)
  end)

  local function marked() return fs.exists(marks) and fs.read(marks) or "" end

  local function trial(steps, more)
    for i, text in ipairs(steps) do steps[i] = text:gsub("MARKS", marks) end
    return kube.trial(namespace, steps, more)
  end

  local function result_of(self, path)
    local result
    for _, event in ipairs(self:all "end") do
      if event.path == path then result = event.result end
    end
    return result
  end

  it("runs once, with its input, and what it says and how it ends comes back", function()
    local self = trial { [[return k8s.exec("lab", "pod/web", "cat >>MARKS; echo said; echo wrong >&2; exit 3",
      { input = "of the input\n", ok = { 3 }, container = "main" })]] }
    self:run "done"
    equal(marked(), "of the input\n")
    equal(result_of(self, "Step 1"), { out = "said\n", err = "wrong\n", status = 3 })
  end)

  it("takes arguments as they are, and much output", function()
    local self = trial { [[return k8s.exec("lab", "pod/web", { "printf", "%s|", "a b", "$HOME", "'\"", "ü\n" })]],
      [[return #k8s.exec("lab", "pod/web", { "head", "-c", "3000000", "/dev/zero" }).out]] }
    self:run "done"
    equal(result_of(self, "Step 1").out, "a b|$HOME|'\"|ü\n|")
    truthy(result_of(self, "Step 2") > (1 << 20))
  end)

  it("is a failure of its step where it fails, with its last words", function()
    local self = trial { [[k8s.exec("lab", "pod/web", "echo no room >&2; exit 1")]] }
    self:run()
    local failure = self:failure()
    equal({ failure.kind, failure.code, failure.output }, { "remote", 1, "no room" })
  end)

  it("is taken back by the command that says so", function()
    local self = trial { [[k8s.exec("lab", "pod/web", "echo on >>MARKS", { undo = "echo off >>MARKS" })]],
      "fail 'back'" }
    self:run "stopped"
    self:roll_back "rolled back"
    equal(marked(), "on\noff\n")
  end)

  it("changes nothing in a plan, and shows what it would run where", function()
    local self = trial { [[k8s.exec("lab", "pod/web", "echo on >>MARKS")]] }
    local effect = self:plan().phases[1].steps[1].effects[1]
    matches(effect.show, "lab pod/web echo on")
    equal(marked(), "")
  end)

  it("that reads is recorded, and makes no folder", function()
    local self = trial { [[return k8s.exec("lab", "pod/web", { "printf", "%s", "seen" }, { reads = true }).out]] }
    self:run "done"
    equal({ result_of(self, "Step 1"), #self:all "intent", self:all "saw"[1].result.out }, { "seen", 0, "seen" })
  end)

  it("runs in a pod of a workload", function()
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("app"))
    kube.kubectl(("-n %s rollout status deployment/app --timeout=60s"):format(namespace))
    local self = trial { [[k8s.exec("lab", "deployment/app", "echo on >>MARKS")]] }
    self:run "done"
    equal(marked(), "on\n")
    matches(self:all "intent"[1].target.pod, "^app%-")
  end)

  it("hands on secrets by its input alone: they stand in no record, and in no log of the server", function()
    local word = "quince-over-granite-41"
    local self = trial { [[k8s.exec("lab", "pod/web", "cat >>MARKS; cat MARKS", { input = env.secrets.word })]] }
    local file = scratch() .. "/word"
    fs.write(file, word)
    self.environment.secrets = { word = "file:" .. file }
    self:run "done"
    equal(marked(), word)
    equal(json.encode(self.store.by_run):find(word, 1, true), nil)
    local audit = fs.read(kube.folder() .. "/log/audit.log", { max = 1 << 30 })
    truthy(audit:find(namespace .. "/pods/web/exec", 1, true))
    equal({ audit:find(word, 1, true), audit:find(secret.base64(word), 1, true) }, {})
  end)

  it("in a pod that is not there, or a container, has not run", function()
    local self = trial { [[k8s.exec("lab", "pod/other", "echo on >>MARKS")]] }
    self:run()
    equal(self:failure().kind, "missing")
    self = trial { [[k8s.exec("lab", "pod/two", "echo on >>MARKS", { container = "none" })]] }
    self:run()
    equal(self:failure().kind, "denied")
    equal(marked(), "")
  end)

  it("needs a shell there, or that a person settles it", function()
    local self = trial { [[k8s.exec("lab", "pod/two", { "true" }, { container = "bare" })]] }
    self:run()
    equal(self:failure().kind, "denied")
    matches(self:failure().hint, "witness = false")
    equal(#self:all "intent", 0)
    self = trial { [[k8s.exec("lab", "pod/two", { "true" }, { container = "bare", witness = false })]] }
    local outcome = self:run()
    local intent = self:all "intent"[1]
    equal({ intent.target.witness, intent.place }, { false })
    equal({ outcome.status, outcome.in_doubt[1].kind }, { "stopped", "k8s.exec" })
  end)

  it("goes on while the node's server is away, and is followed to its end", function()
    local self = trial { [[return k8s.exec("lab", "pod/web",
      "echo begun >>MARKS; sleep 3; echo ended >>MARKS; echo said").out]] }
    local running = task.spawn(function() return self:run "done" end)
    while marked() == "" do task.sleep(0.05) end
    kube.part("stop", "kwok")
    task.sleep(0.5)
    kube.part("start", "kwok")
    running:wait()
    equal({ marked(), result_of(self, "Step 1") }, { "begun\nended\n", "said\n" })
  end)

  it("is ended with the time that it was given", function()
    local self = trial { [[k8s.exec("lab", "pod/web", "echo begun >>MARKS; sleep 60; echo ended >>MARKS",
      { timeout = 1 })]] }
    self:run()
    matches(self:failure().message, "did not end in time")
    equal(marked(), "begun\n")
  end)

  -- ---- a neap that dies ----

  local POINTS = { connected = true, send = true, send_frame = true, receive = true, response = true }

  --- A point before and after whatever goes over a connection.
  local function watched(crash, exchange)
    return setmetatable({}, {
      __index = function(_, method)
        return function(_, ...)
          if POINTS[method] then crash:point() end
          local results = table.pack(exchange[method](exchange, ...))
          if POINTS[method] then crash:point() end
          return table.unpack(results, 1, results.n)
        end
      end,
      __close = function() exchange:close() end,
    })
  end

  local function each_crash(first, stride, check)
    local crash, count = mortal.new(), 0
    http.open = function(options) return watched(crash, open(options)) end
    for at = first, 1000, stride do
      crash:live()
      if fs.exists(marks) then fs.remove(marks) end
      local self = crash:write_for(trial { [[k8s.exec("lab", "pod/web", "echo on >>MARKS; sleep 0.2; exit 0",
        { undo = "echo off >>MARKS" })]], [[k8s.exec("lab", "pod/web", "cat >>MARKS", { input = "second\n" })]] })
      crash:live(at)
      pcall(self.start, self)
      if not crash.dead then break end
      crash:live()
      if select(2, self.kept:lease()) then check(self, at) end
      count = count + 1
    end
    truthy(count >= 5)
  end

  it("is made once, whenever neap dies and is resumed", function()
    each_crash(7, 11, function(self, at)
      local outcome = self:resume()
      equal({ at, outcome.status, marked() }, { at, "done", "on\nsecond\n" })
    end)
  end)
end)
