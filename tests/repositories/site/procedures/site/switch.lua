-- Points the proxies at the new server.
local arg = parameters { old = "name of the server in service", new = "name of the new server" }

phase "Switch"

step "Tell the others" {
  run = function() env.hosts.web:run({ "wall", "switching" }, { keep = "a message" }) end,
}
step "Point the proxies at the new server" {
  on  = env.hosts.proxies, at_a_time = 1,
  run = function(proxy)
    with_reload(proxy, "nginx", function()
      file.edit(proxy, "/etc/nginx/nginx.conf", function(text) return (text:gsub(arg.old, arg.new)) end)
    end)
  end,
}
await "The new server answers" {
  check = function() return env.hosts.web:read { "curl", "-s", "http://127.0.0.1/" } == arg.new end,
  every = "10s", timeout = "10m",
}
manual "Look at the page" {}
step "Say what is served" {
  run = function() file.write(env.hosts.web, "/etc/motd", arg.new .. "\n") end,
}
