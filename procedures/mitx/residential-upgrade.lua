-- Upgrades MITx Residential to a release of edX: branches, AMIs and instances days before, the change-over in its window.
local maintenance = require "lib.maintenance"
local mitx        = require "mitx.lib"

guide "MITx Residential upgrade" {
  file   = "mitx-residential-upgrade.md",
  sha256 = "0f441ba9ec4661dfdfca6f46fbea5f94eec3445183073b92d1ee8c66346a1bd9",
  from   = "L1-L122",
}
local arg = parameters {
  codename     = { "edX's release, such as koa", match = "^%l+$" },
  candidate    = { "its candidate on which our patches are put, such as rc3", match = "^%w+$", optional = true },
  copy         = { "whether our repository gets edX's branch, too", type = "boolean", default = false },
  starts       = { "when the site goes down, as people are told", match = "%d" },
  hours        = { "how long it is down, as people are told", type = "integer" },
  migrate      = { "whether building AMIs migrates, with no way back", type = "boolean", default = false },
  resume_build = { "whether a build has stopped at its base instances", type = "boolean", default = false },
}
needs(mitx.NEEDS)
local repo    = env.repositories.edx_platform
local branch  = "mitx/" .. arg.codename
local release = ("open-release/%s.%s"):format(arg.codename, arg.candidate or "master")

remark "When upgrades are made, and that they have two parts." { from = "L1-L2" }

phase "Several days prior to upgrade"

step "Ask for the downtime to be posted on 3down" {
  from = "L4-L8",
  run  = function() mail.send(env.threedown, "Residential MITx: downtime", mitx.notice(arg.starts, arg.hours)) end,
  undo = function() mail.send(env.threedown, "Residential MITx: no downtime", "It was to be " .. arg.starts .. ".") end,
}
step "Say on the maintenance page when and how long" {
  from = "L9",
  run  = function() s3.put(env.bucket, "index.html", { text = mitx.page(arg.starts, arg.hours) }) end,
}

phase "Updating Git branches"

remark "The release branch, from which AMIs are built, is edX's code and our patches on top." { from = "L27-L35" }
step "Fetch edX's branches and ours" {
  from = "L37-L39",
  run  = function()
    git.fetch(repo, { remote = "upstream" })
    git.fetch(repo)
  end,
}
step "Create the release branch" {
  from = "L41-L48",
  when = function() return not git.ls_remote(repo)["refs/heads/" .. branch] end,
  run  = function()
    git.branch(repo, branch, ("upstream/open-release/%s.master"):format(arg.codename))
    git.push(repo, branch, { set_upstream = true })
  end,
}
step "Check the release branch out" {
  from = "L50-L58",
  run  = function()
    if not git.rev(repo, "refs/heads/" .. branch) then git.branch(repo, branch, "origin/" .. branch) end
    git.checkout(repo, branch)
    git.pull(repo)
  end,
}
local patches = step "List our patches" {
  from = "L63",
  run  = function() return mitx.patches(repo, "upstream/" .. release, branch) end,
}
manual "See that all of these patches are our own" {
  from = "L60-L62, L64",
  when = function() return arg.candidate ~= nil end,
  text = function() return patches.result end,
}
step "Put our patches on top of the release candidate" {
  from = "L66-L72",
  when = function() return arg.candidate ~= nil end,
  run  = function()
    git.rebase(repo, "upstream/" .. release)
    git.push(repo, branch, { force = true })
  end,
  hint = "Where patches do not fit: git rebase by hand, then try again.",
}
step "Copy edX's branch" {
  from = "L74-L79",
  when = function() return arg.copy end,
  run  = function()
    git.branch(repo, release, "upstream/" .. release)
    git.push(repo, release, { set_upstream = true })
  end,
}

phase "Tech prep: AMI build commands"

local before = step "Note instances, images and Salt's store as they are" {
  from = "L81-L83",
  run  = function() return mitx.inventory(arg.codename) end,
  undo = mitx.restore,
}
step "Build the AMIs" {
  from = "L11-L12, L85-L97",
  run  = function() mitx.build_ami(arg.resume_build, arg.migrate) end,
  hint = "Repair what failed, then: neap resume RUN -p resume_build=true --reason WHY",
}
step "Tell Salt's store of the AMIs" {
  from = "L100-L104",
  run  = function() mitx.orchestrate("orchestrate.edx.update_edxapp_ami_sdb", {}) end,
}
step "Deploy instances from the AMIs" {
  from = "L13, L107-L110",
  run  = function() mitx.deploy() end,
}
local new = step "Find the new instances" {
  from = "L106",
  run  = function() return mitx.new(before.result) end,
}
step "Smoke-test the new instances" {
  from  = "L14",
  retry = { times = 5, every = "10s" },
  run   = function() mitx.smoke_test(new.result) end,
}
step "Shut down all supervisor services of the new instances" {
  from = "L15",
  run  = function() mitx.stop(new.result) end,
}

phase "Upgrade window"

manual "Wait for the window; from here on the site is down" { from = "L17" }
local names = step "Lead lms and studio to the maintenance page" {
  from = "L18",
  run  = function() return maintenance.on(env.dns) end,
}
await "Name servers know of the maintenance" {
  check = function() return maintenance.is_on(env.dns) end,
  every = "5s", timeout = "30m",
}
step "Stop all edX processes on the current instances" {
  from = "L19",
  run  = function() mitx.stop(mitx.old(before.result)) end,
}
step "Take a snapshot of the database" {
  run = function() rds.snapshot({ database = env.database }, mitx.snapshot_name(arg.codename)) end,
}
step "Run migrations on the new instances" {
  from = "L20",
  irreversible = "migrations have no way down: the database of before is the snapshot",
  run  = function() mitx.migrate(new.result) end,
  hint = "Nothing is applied twice. The way back is by hand: snapshot, old instances, names.",
}
step "Start all edX processes on the new instances" {
  from = "L21",
  run  = function() mitx.start(new.result) end,
}
step "Add the new instances to the load balancers" {
  from = "L22, L112-L116",
  run  = function() mitx.each_app(new.result, elb.register) end,
  hint = "What does the instance say to /heartbeat?",
}
step "Remove the old instances from the load balancers" {
  from = "L23, L117",
  run  = function() mitx.each_app(mitx.old(before.result), elb.deregister) end,
}
manual "Verify by hand that the site is up and works" { from = "L24" }
step "Lead lms and studio back to the load balancers" {
  from = "L25",
  run  = function() maintenance.off(env.dns, names.result) end,
}
await "Name servers know of the end of the maintenance" {
  check = function() return maintenance.is_off(env.dns, names.result) end,
  every = "5s", timeout = "30m",
}
manual "See which old instances are to be destroyed" {
  from = "L118",
  text = function() return table.concat(mitx.names(mitx.old(before.result)), ", ") end,
}
step "Destroy the old instances" {
  from = "L119-L121",
  irreversible = "an instance that is ended does not come back",
  run  = function() mitx.destroy_old(before.result) end,
}
