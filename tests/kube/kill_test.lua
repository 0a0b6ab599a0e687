--- kill -9 of a real process at commits of its journal and before and after calls to the cluster; then resume or rollback
--- by another. Needs the build with fail points (make fault).
local fs         = require "native.fs"
local kube       = require "tests.kube"
local repository = require "tests.kills.repository"

local STRIDE = 6

local PROCEDURE = [[
-- What changes a cluster, once each.
phase "Upgrade"
step "Stop" { run = function() k8s.scale("lab", "deployment/old", 0, { timeout = 2 }) end }
step "Take away" { run = function() k8s.delete("lab", "service/old", { timeout = 2 }) end }
step "Make" { run = function() k8s.apply("lab", "new.yml", { timeout = 2 }) end }
step "Image" { run = function()
  k8s.set_image("lab", "deployment/old", { main = "registry.test/old:2" }, { timeout = 2 })
end }
]]

--- Every STRIDE-th point.
local function faults(passed)
  local list, some = {}, {}
  for point, count in pairs(passed) do
    local site, when = point:match "^(%S+) (%S+)$"
    for ordinal = 1, count do list[#list + 1] = ("%s:%03d:%s=kill"):format(site, ordinal, when) end
  end
  table.sort(list)
  for i = 1, #list, STRIDE do some[#some + 1] = list[i] end
  return some
end

describe("a run on a cluster that is killed", function()
  local namespaces

  before_each(function() namespaces = {} end)
  after_each(function()
    for _, name in ipairs(namespaces) do kube.drop(name) end
  end)

  local function new_world(folder)
    local namespace = kube.namespace()
    namespaces[#namespaces + 1] = namespace
    kube.kubectl(("-n %s create -f -"):format(namespace), kube.deployment("old", { replicas = 2 }))
    local world = repository.new(folder)
    world.namespace = namespace
    fs.write(folder .. "/new.yml", (kube.deployment("new"):match "^(.-)%-%-%-\n"), { mode = "0644" })
    fs.write(folder .. "/procedures/demo/it.lua", PROCEDURE, { mode = "0644" })
    fs.write(folder .. "/procedures/demo/environments/lab.yml",
      ("clusters:\n  lab: { context: lab, kubeconfig: %s, namespace: %s }\n"):format(kube.up(), namespace),
      { mode = "0644" })
    return world
  end

  local function state(namespace)
    local old = kube.object(namespace, "deployment/old")
    local _, closed = ((old.metadata.annotations or {})["neap/closed"] or ""):gsub("%S+", "")
    return { old.spec.replicas, old.spec.template.spec.containers[1].image,
      kube.object(namespace, "service/old") ~= nil, kube.object(namespace, "service/new") ~= nil },
      old.metadata.generation - 1 - closed
  end

  local FIRST, LAST = { 2, "registry.test/old:1.0.0", true, false }, { 0, "registry.test/old:2", false, true }

  local function take_up(world, verb)
    local result = world:neap(nil, verb, "1", "--env", "lab", "--yes", "--foreground")
    local text = result.out .. result.err
    if result.status == 0 or text:find "no run" or text:find "closed" then return text end
    error(("%s: exit %s\n%s"):format(verb, tostring(result.status), text), 0)
  end

  local function each_kill(check)
    local first = new_world(scratch())
    local passed = first:points(function()
      equal(first:neap(nil, "run", "demo/it", "--env", "lab", "--yes", "--foreground").status, 0)
    end)
    equal((state(first.namespace)), LAST)
    local killed = 0
    for _, fault in ipairs(faults(passed)) do
      local world = new_world(scratch())
      if world:neap(fault, "run", "demo/it", "--env", "lab", "--yes", "--foreground").signal == "KILL" then
        killed = killed + 1
        check(world, fault)
      end
    end
    truthy(killed >= 8)
  end

  it("ends after resume as if nothing had been, each change made once", function()
    each_kill(function(world, fault)
      local text = take_up(world, "resume")
      if text:find "no run" then return equal({ fault, (state(world.namespace)) }, { fault, FIRST }) end
      local now, changes = state(world.namespace)
      equal({ fault, now, changes }, { fault, LAST, 2 })
    end)
  end)

  it("is put back by a rollback, or had come to its end", function()
    each_kill(function(world, fault)
      local text = take_up(world, "rollback")
      equal({ fault, (state(world.namespace)) }, { fault, text:find "closed" and LAST or FIRST })
    end)
  end)
end)
