-- Takes the shop's old tenant away.
step "Delete the tenant" {
  run = function() k8s.delete("shop", "tn/old") end,
}
step "Wait until it is gone" {
  run = function()
    k8s.wait_gone("shop", "tenants/old")
    if #k8s.list("shop", "tenants.lab.example") ~= 1 then fail "the other tenant is gone, too" end
  end,
}
