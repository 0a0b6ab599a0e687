-- Switches ENCODE to a new server: databases into recovery, proxies over, new database promoted.
--
-- What comes before line 234 of the guide (tag, deploy, keys of the new server, first indexing) is done when this begins.
local encode = require "encode.lib"

guide "AWS Release and deployment" {
  file   = "encode-release.md",
  sha256 = "3789368f9d9a36b60d9c6d3746f6d9ec65cc66ec7a38233e2840cf88676c404e",
  from   = "L234-L345",
}

local arg = parameters {
  version     = { "number of the new release, the 88 of v88", match = "^%d+$" },
  old         = { "number of the release in service", match = "^%d+$" },
  test_server = { "whether a new test server was made, too", type = "boolean", default = false },
}
needs {
  pg          = { "the database: version and cluster", type = "map" },
  server      = { "the two servers as the proxies name them: old, new", type = "map" },
  test_server = { "the two test servers as the proxies name them: old, new", type = "map" },
  page        = { "what a proxy serves once it is switched; see nginx.check_page", type = "map" },
  old_logs    = "folder of this machine for the logs of old servers",
}
local old, new = env.hosts.old, env.hosts.new

phase "Switch"

remark "The mail to the developers is sent by hand until neap sends mail." { from = "L234-L237" }

step "Put the old database into recovery" {
  from = "L239-L244",
  run  = function() postgres.demote(old, env.pg) end,
}
step "Point the proxies at the new server" {
  from = "L246-L266",
  on   = env.hosts.proxies, at_a_time = 1,
  run  = function(proxy)
    local renamed = { env.server }
    if arg.test_server then renamed[2] = env.test_server end
    encode.switch_proxy(proxy, renamed, env.page)
  end,
  hint = "Does the proxy resolve the new server's name?",
}
remark "A reload is all that neap does to nginx; it restarts it nowhere." { from = "L268-L270" }
remark "The AWS keys are swapped by hand until neap speaks to AWS." { from = "L272-L277" }

await "Both databases stand at the same position, in recovery" {
  from  = "L279",
  check = function() return encode.same_position(old, new, env.pg) end,
  every = "5s", timeout = "30m",
}
step "Give the new database the settings of a master" {
  from = "L281-L286",
  run  = function() postgres.include(new, env.pg, "master.conf") end,
}
step "Promote the new database" {
  from = "L288",
  irreversible = "once it takes writes, the old database can no longer follow",
  run  = function() postgres.promote(new, env.pg) end,
}
remark "Batch upgrade and base backup follow by hand; they are this team's own programs." { from = "L290-L305" }

phase "Afterwards"

step "Keep the old server's logs" {
  from = "L307-L316",
  run  = function()
    local folder = env.old_logs .. "/v" .. arg.old
    file.directory("local", env.old_logs)
    file.directory("local", folder)
    file.copy_tree(old, "/var/log/apache2", "local", folder .. "/apache2", { become_from = "root" })
  end,
}
remark "The logs go to S3 by hand until neap speaks to AWS." { from = "L318-L321" }
remark "The crontab, the tickets and the file indexer are looked after by hand." { from = "L323-L343" }
