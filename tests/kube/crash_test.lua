--- neap dies before or after each request and each commit of the journal, in turn; then it is resumed, or rolled back.
local http   = require "native.http"
local json   = require "native.json"
local kube   = require "tests.kube"
local mortal = require "tests.targets.mortal"

describe("on a cluster neap", function()
  local namespace, crash, open

  --- An exchange whose reply may come too late for neap, though the server has sent it.
  local function late(exchange)
    local meta = {
      __index = function(_, method)
        return function(_, ...)
          local results = table.pack(exchange[method](exchange, ...))
          if method == "response" then crash:point() end
          return table.unpack(results, 1, results.n)
        end
      end,
      __close = function() exchange:close() end,
    }
    return setmetatable({}, meta)
  end

  before_each(function()
    namespace, open, crash = kube.namespace(), http.open, mortal.new()
    http.open = function(options)
      crash:point()
      return late(open(options))
    end
  end)

  after_each(function()
    http.open = open
    kube.drop(namespace)
  end)

  local STEPS = {
    "k8s.scale('lab', 'deployment/old', 0, { timeout = 2 })",
    "k8s.apply('lab', [==[" .. kube.deployment("new"):match "^(.-)%-%-%-\n" .. "]==], { timeout = 2 })",
    "k8s.set_image('lab', 'deployment/old', { main = 'registry.test/old:2' }, { timeout = 2 })",
    "k8s.delete('lab', 'service/old', { timeout = 2 })",
  }

  --- How many changes neap made to what a deployment says: shutting one out makes its generation one more, too.
  local function changes_of(deployment)
    local _, closed = ((deployment.metadata.annotations or {})["neap/closed"] or ""):gsub("%S+", "")
    return deployment.metadata.generation - 1 - closed
  end

  local function state()
    local deployment = kube.object(namespace, "deployment/old")
    return { deployment.spec.replicas, deployment.spec.template.spec.containers[1].image, changes_of(deployment),
      kube.object(namespace, "service/old") ~= nil, kube.object(namespace, "service/new") ~= nil }
  end

  local function reset()
    crash:live()
    kube.kubectl(("-n %s delete deployment,service --all"):format(namespace))
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("old", { replicas = 2 }))
  end

  local function new_trial()
    reset()
    return crash:write_for(kube.trial(namespace, STEPS))
  end

  --- Crashes at every `stride`th point of a run; calls fn for each that left the run open.
  local function each_crash(first, stride, least, fn)
    local count = 0
    for at = first, 1000, stride do
      local trial = new_trial()
      crash:live(at)
      pcall(trial.start, trial)
      if not crash.dead then break end
      crash:live()
      if select(2, trial.kept:lease()) then fn(trial, at) end
      count = count + 1
    end
    truthy(count >= least)
  end

  local LAST = { 0, "registry.test/old:2", 2, false, true }

  it("is resumed to the state of an undisturbed run, and nothing is made twice", function()
    new_trial():run "done"
    equal(state(), LAST)
    each_crash(5, 7, 8, function(trial, at)
      local outcome = trial:resume()
      equal({ at, outcome.status, json.encode(state()) }, { at, "done", json.encode(LAST) })
    end)
  end)

  it("is rolled back to the state before", function()
    each_crash(8, 9, 6, function(trial, at)
      local outcome = trial:roll_back()
      local now = state()
      equal({ at, outcome.status, now[1], now[2], now[4], now[5] },
        { at, "rolled back", 2, "registry.test/old:1.0.0", true, false })
    end)
  end)

  it("finds a request that was on its way too late, once it was given up", function()
    reset()
    local held
    http.open = function(options)
      if options.method == "PUT" and not held then
        held = options
        require("native.error").raise { kind = "lost", message = "the connection broke" }
      end
      return open(options)
    end
    local trial = kube.trial(namespace, { STEPS[1] })
    trial:run()
    equal({ trial:all "end"[1].status, kube.object(namespace, "deployment/old").spec.replicas }, { "void", 2 })
    local change = package.loaded["neap.test.change"]
    local exchange <close> = change(open, held)
    equal(exchange:response().status, 409)
    equal(kube.object(namespace, "deployment/old").spec.replicas, 2)
  end)
end)
