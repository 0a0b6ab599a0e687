local TENANTS = {
  apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition",
  metadata = { name = "tenants.lab.example" }, spec = { group = "lab.example", scope = "Cluster",
    names = { kind = "Tenant", plural = "tenants", singular = "tenant", shortNames = { "tn" } },
    versions = { { name = "v1beta1", served = true }, { name = "v1", served = true } } },
}

local function tenant(name)
  return { apiVersion = "lab.example/v1", kind = "Tenant", metadata = { name = name }, spec = { size = 1 } }
end

local function given(self)
  for _, object in ipairs { TENANTS, tenant "old", tenant "new" } do self:object("shop", object) end
end

describe("site/tenants", function()
  local tenants
  before_each(function() tenants = trial("site/tenants", { env = "lab", given = given }) end)

  local function read(name, ...) return tenants.targets:read(name, { cluster = "shop" }, ...) end

  it("finds a kind of one's own by each of its words, in the version that is preferred", function()
    equal(tenants:run().status, "done")
    equal({ tenants:object("shop", "tenant/old"), tenants:object("shop", "tn/new").metadata.name }, { nil, "new" })
  end)
  it("has those of the whole cluster in no namespace", function()
    equal(tenants:object("shop", "tenant/old", "elsewhere").metadata.namespace, nil)
  end)
  it("is taken back after any refused call", function() tenants:fail_everywhere() end)
  it("does not go on while what is to be gone is there", function()
    local failure = raises(function() read("k8s.wait_gone", "tenant/old", { namespace = "shop" }) end)
    equal(failure.kind, "timeout")
  end)
  it("asks the test what a selector finds, but for labels that are so", function()
    for _, options in ipairs { { labels = "app!=shop" }, { labels = "app in (a,b)" }, { labels = "a=b,!c" },
      { fields = "metadata.name=old" } } do
      local failure = raises(function() read("k8s.list", "tenants", options) end)
      matches(failure.hint, "say it in the test: trial:answer%(\"k8s.list\"")
    end
    tenants:answer("k8s.list", "app!=shop", {})
    equal(read("k8s.list", "tenants", { labels = "app!=shop" }), {})
  end)
end)
