-- Brings a new configuration, or new code of the release branch, to the instances of edX that are in service.
local salt = require "lib.salt"

guide "MITx Residential upgrade" {
  file   = "mitx-residential-upgrade.md",
  sha256 = "0f441ba9ec4661dfdfca6f46fbea5f94eec3445183073b92d1ee8c66346a1bd9",
  from   = "L123-L144",
}
local arg = parameters {
  what     = { "what is brought", one_of = { "configuration", "code" } },
  codename = { "edX's release, for code", match = "^%l+$", optional = true },
  reset    = { "whether files are set to the branch, where fetching does not do", type = "boolean", default = false },
}
needs { minions = "pattern of the instances, as Salt takes it" }
local master = env.hosts.salt
local PLATFORM = "/edx/app/edxapp/edx-platform"
local FLAGS = "pillar={'edx': {'ansible_flags': '--tags install:configuration'}}"

--- The minions by the commit that each has checked out, since a way back leads to that.
local function by_commit(minions)
  local groups = {}
  local found = salt.ask(master, minions, { "git.rev_parse", PLATFORM, "HEAD", "user=edxapp" })
  for minion, commit in pairs(found) do
    groups[commit] = groups[commit] or {}
    table.insert(groups[commit], minion)
  end
  return groups
end

local function reset(minions)
  if not arg.codename then fail("a reset needs the release whose branch it is", "-p codename=koa") end
  for commit, group in pairs(by_commit(minions)) do
    local function to(what) return { "git.reset", PLATFORM, "opts=--hard " .. what, "user=edxapp" } end
    salt.call(master, group, to("origin/mitx/" .. arg.codename), { undo = to(commit) })
  end
end

local function with_restart(fn)
  local minions = salt.minions(master, env.minions)
  local restart = { "supervisord.restart", "all", "bin_env=/edx/bin/supervisorctl" }
  salt.with(master, minions, restart, function() fn(minions) end)
end

phase "Updating the edX app configuration or redeploying the code"

step "Update the configuration, and restart the application" {
  from = "L123-L129, L140-L144",
  when = function() return arg.what == "configuration" end,
  run  = function()
    with_restart(function(minions)
      salt.call(master, minions, { "state.sls", "edx.run_ansible", FLAGS },
        { keep = "what it was, Ansible's variables of then say" })
    end)
  end,
}
step "Redeploy the code, and restart the application" {
  from = "L131-L138, L140-L144",
  when = function() return arg.what == "code" end,
  run  = function()
    with_restart(function(minions)
      salt.call(master, minions, { "git.fetch", PLATFORM, "user=edxapp" }, { keep = "what is fetched harms nobody" })
      if arg.reset then reset(minions) end
    end)
  end,
  hint = "Where fetching does not do: -p reset=true",
}
