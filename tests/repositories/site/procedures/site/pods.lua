-- Brings the shop's pods to a release.
local DEPLOYMENT = "deployment/front"
local SETTINGS = [[
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, labels: { app: shop } }
data: { release: "88" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: back, labels: { app: shop } }
spec:
  replicas: 2
  selector: { matchLabels: { app: back } }
  template:
    metadata: { labels: { app: back } }
    spec: { containers: [ { name: back, image: "back:88" } ] }
]]

local count = step "Shut the front down" {
  run = function()
    local replicas = k8s.get("shop", DEPLOYMENT).spec.replicas
    k8s.scale("shop", DEPLOYMENT, 0)
    k8s.rollout("shop", DEPLOYMENT)
    return replicas
  end,
}
step "Apply the settings and the back" {
  run = function() k8s.apply("shop", SETTINGS) end,
}
step "Give the front its release, and start it again" {
  run = function()
    k8s.set_image("shop", DEPLOYMENT, { front = "front:88" })
    k8s.scale("shop", DEPLOYMENT, count.result)
    k8s.rollout("shop", DEPLOYMENT)
    if #k8s.list("shop", "deployments", { labels = "app=shop" }) ~= 2 then fail "a deployment is missing" end
  end,
}
step "Take the old job away" {
  run = function() k8s.delete("shop", "cronjob/sweep") end,
}
