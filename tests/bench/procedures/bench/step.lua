-- Edit a configuration on two hosts, test it, reload, look again
step "Allow more connections" {
  on = { env.hosts.h1, env.hosts.h2 },
  run = function(where)
    local path = env.folder .. "/nginx.conf." .. where.name
    file.edit(where, path, function(text)
      return (text:gsub("worker_connections [^;]*;", "worker_connections 1024;"))
    end)
    where:read({ "true" })
    where:run({ "true" }, { keep = "a reload leaves nothing behind" })
    if not where:read({ "cat", path }):find("worker_connections 1024;", 1, true) then fail("the edit is not there") end
  end,
}
