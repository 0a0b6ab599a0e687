-- What the procedures of ENCODE share.
local encode = {}

--- Points what a proxy sends to `old` at `new`, and waits until it serves the page.
--- @param proxy table
--- @param renamed { old: string, new: string }[]  names of servers as the proxy's configuration has them
--- @param page table  see nginx.check_page
function encode.switch_proxy(proxy, renamed, page)
  nginx.edit(proxy, "/etc/nginx/nginx.conf", function(conf)
    for _, server in ipairs(renamed) do conf:replace_host(server.old, server.new) end
  end, { check = page })
end

--- Whether both databases are in recovery and have replayed the same log to the same place.
function encode.same_position(old, new, cluster)
  return postgres.same_position(postgres.position(old, cluster), postgres.position(new, cluster))
end

return encode
