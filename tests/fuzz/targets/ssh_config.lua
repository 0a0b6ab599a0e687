--- ssh_config: groups of hosts out of a configuration, and what `ssh -G` prints. A name that is found stands in the text and
--- is no pattern. In: the pattern of a group, the configuration, another that it may include, ssh's output, known_hosts.
local fs      = require "native.fs"
local groups  = require "neap.groups"
local process = require "native.process"
local ssh     = require "neap.targets.ssh"

local function with_files(main, other, known, printed)
  function fs.read(path)
    if path:find "known_hosts" then return known end
    return path:find "%.ssh/config$" and main or path:find "^/etc" and "" or other
  end
  function fs.list() return { "a", "b.conf", "config" } end
  function process.run() return { status = 0, out = printed, err = "" } end
end

return {
  parsers = { "neap/groups.lua" },
  run = function(data)
    local match, main, other, printed, known = parts(data, 5)
    with_files(main, other, known, printed)
    for _, entry in ipairs(groups.of_ssh_config(match)) do
      truthy(main:find(entry.name, 1, true) or other:find(entry.name, 1, true), "a host that is nowhere")
      truthy(not entry.name:find "[*?!]", "a pattern is no host")
    end
    attempt(groups.of_command, { "list" }, { "list" })
    attempt(ssh.prepared, "host")
  end,
}
