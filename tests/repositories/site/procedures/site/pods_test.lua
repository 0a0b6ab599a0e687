local FRONT = {
  apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "front", labels = { app = "shop" } },
  spec = { replicas = 3, selector = { matchLabels = { app = "front" } }, template = {
    metadata = { labels = { app = "front" } },
    spec = { containers = { { name = "front", image = "front:87" } } },
  } },
}
local SWEEP = {
  apiVersion = "batch/v1", kind = "CronJob", metadata = { name = "sweep" }, spec = { schedule = "@daily" },
}

local function given(trial)
  trial:object("shop", FRONT)
  trial:object("shop", SWEEP)
end

describe("site/pods", function()
  local pods
  before_each(function() pods = trial("site/pods", { env = "lab", given = given }) end)

  it("brings the release, and as many pods as there were", function()
    equal(pods:run().status, "done")
    local front, back = pods:object("shop", "deployment/front"), pods:object("shop", "deploy/back")
    equal({ front.spec.replicas, back.spec.replicas }, { 3, 2 })
    equal(front.spec.template.spec.containers[1].image, "front:88")
    equal(pods:object("shop", "configmap/settings").data.release, "88")
    equal(pods:object("shop", "cronjob/sweep"), nil)
  end)
  it("is planned, each change exactly", function()
    local counts = pods:plan().counts
    equal({ counts.create, counts.change, counts.delete, counts.exact == counts.effects }, { 2, 3, 1, true })
  end)
  it("comes to its end after a crash at any point", function() pods:crash_everywhere() end)
  it("is taken back after any refused call", function() pods:fail_everywhere() end)
end)
