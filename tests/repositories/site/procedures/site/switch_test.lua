-- The switch, with targets in memory.
local function given(trial)
  for _, proxy in ipairs { "proxy1", "proxy2" } do
    trial:file(proxy, "/etc/nginx/nginx.conf", "proxy_pass http://v87;\n")
  end
  local asked = 0
  trial:answer("host.read", "curl", function()
    asked = asked + 1
    return asked > 3 and "v88" or "v87"
  end)
end

describe("site/switch", function()
  local switch

  before_each(function()
    switch = trial("site/switch", { env = "lab", arguments = { old = "v87", new = "v88" }, given = given })
  end)

  it("points both proxies at the new server, and tells so", function()
    equal(switch:run().status, "done")
    equal(switch:file("proxy2", "/etc/nginx/nginx.conf"), "proxy_pass http://v88;\n")
    equal(switch:file("web", "/etc/motd"), "v88\n")
    equal(switch.people[1].path, "Look at the page")
  end)

  it("goes back", function()
    switch.answers["Look at the page"] = "stop"
    switch:run()
    equal(switch:rollback().status, "rolled back")
    equal(switch:file("proxy1", "/etc/nginx/nginx.conf"), "proxy_pass http://v87;\n")
    equal(switch:file("web", "/etc/motd"), nil)
  end)

  it("comes to its end after a crash at any point", function() truthy(switch:crash_everywhere() > 50) end)

  it("is taken back after any refused call", function() truthy(switch:fail_everywhere() >= 6) end)
end)
