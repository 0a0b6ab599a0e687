-- Brings the production stack of BOSS to the newest sprint: images and stacks, behind a page for maintenance.
local boss        = require "boss.lib"
local maintenance = require "lib.maintenance"

guide "Updating the existing Production stack" {
  file   = "boss-update-production.md",
  sha256 = "b27509fc96afcb7cf3eed81a2171a95576d5d6acddce4c7edbd4352e24372d06",
}

local arg = parameters {
  sprint = { "the sprint that is released, as its tag and its images are named", match = "^sprint%d+$" },
  former = { "the sprint in service, which a rollback goes back to", match = "^sprint%d+$" },
  mine   = "the address that the mailing list goes on telling",
  images = { "where the images of this sprint come from", one_of = { "copy", "build" }, default = "copy" },
}
needs {
  bosslet       = "the bosslet, as boss-manage names it",
  scenario      = "the sizes of its machines, a scenario of boss-manage",
  branch        = "the branch of boss-manage that is released",
  tagged        = { "the repositories that get the sprint's tag", type = "list" },
  site          = { "where the site's names lead in maintenance: zone, names, page, servers", type = "map" },
  api           = { "the site as its users see it: url, ca", type = "map" },
  page          = { "the page for maintenance: url, ca, text", type = "map" },
  backups       = "folder of the jump server for what Vault has",
  mailing_topic = "the topic of the mailing list",
  cache         = "the cache, as the endpoint knows it",
  machines      = { "the machines that have images", type = "list" },
  developer     = { "the developers' account: bosslet, profile, machines", type = "map" },
  delete_rule   = "the rule that starts deletions",
  private       = { "what a checkout of boss-manage has beside its commits", type = "list" },
  region        = "the region of the images",
}
local repo = env.repositories.boss_manage
local STACKS = { "core", "redis", "api", "cachedb", "activities", "cloudwatch", "idindexing", "dynamolambda" }

remark "What is updated." { from = "L1-L4" }

phase "Rebuild and update integration"

step "See that AWS and Vault let this run in" {
  from = "L6-L9",
  run  = function()
    local machine = env.machines[1]
    if not boss.has_images({ machine }, "h*") then fail(("there is no image of %s"):format(machine)) end
    if not boss.vault_has("secret/auth/realm", "password") then fail "Vault has no password of bossadmin" end
  end,
  hint = "boss-manage needs its bosslets, and the newest vault/private.",
}

manual "See that the integration stack runs this sprint" {
  from = "L11-L15",
  text = "Rebuilt from the images of the last sprint, then updated by this procedure for its own environment.",
}

phase "Tag and merge"

step "Have the release in service beside, for the way back" {
  from = "L9",
  run  = function() boss.have_beside(env.repositories.former, arg.former, repo) end,
}
step "Tag the sprint and merge it into master" {
  from = "L17-L18",
  run  = function()
    for _, name in ipairs(env.tagged) do boss.tag(env.repositories[name], arg.sprint, env.branch) end
  end,
}
remark "Stacks take the newest images, and these are labelled at the end: a code change may come between." {
  from = "L19-L21",
}
manual "See that boss-manage has the tagged submodules" { from = "L18" }

phase "Maintenance mode on"

local before = step "Lead the site's names to the page for maintenance" {
  from = "L23-L27",
  run  = function() return maintenance.on(env.site) end,
}
await "The world's name servers know of the maintenance" {
  from  = "L28-L30, L33-L35",
  check = function() return maintenance.is_on(env.site) end,
  every = "5s", timeout = "30m",
}
await "The page for maintenance is served" {
  from  = "L31",
  check = function() return http.get(env.page.url, { ca = env.page.ca }).body:find(env.page.text, 1, true) ~= nil end,
  every = "10s", timeout = "15m",
}

phase "Images of the sprint"

step "Build images of the sprint" {
  from = "L38-L43",
  when = function() return arg.images == "build" end,
  run  = function() boss.build_images(env.bosslet, env.machines, arg.sprint) end,
}
step "Label the newest images with the sprint" {
  from = "L44",
  when = function() return arg.images == "copy" end,
  run  = function()
    for _, machine in ipairs(env.machines) do boss.label_image(machine, arg.sprint) end
  end,
}

phase "Backup of Vault"

step "Save what Vault has" {
  from = "L46-L51",
  run  = function()
    file.directory("local", env.backups, { mode = "0700", keep = "it holds the backup" })
    boss.export_vault(("%s/vault-before-%s.json"):format(env.backups, arg.sprint))
  end,
}

phase "IAM"

step "Export groups, roles and policies of the developers' account" {
  from = "L53-L64",
  run  = function() return boss.export_iam(repo, env.developer.profile) end,
}
manual "Look over what has changed in IAM" {
  from = "L63-L71",
  text = "git diff config/iam in boss-manage: commit what belongs there, put the rest back; iam_utils.py filters.",
}

phase "Subscriptions of the mailing list removed"

local others = step "Leave one address alone on the mailing list" {
  from = "L73-L79",
  run  = function() return boss.unsubscribe_others(arg.mine) end,
}

phase "Change sets"

local stacks = step "Make the templates of this release" {
  from = "L82-L93, L114-L115, L147-L149",
  run  = function() return boss.templates(repo, env.branch, STACKS) end,
}
step "See that no update takes what holds data" {
  from = "L94-L101, L147",
  run  = function()
    local said = {}
    for _, config in ipairs { "core", "redis", "api", "cachedb", "activities", "cloudwatch", "idindexing" } do
      said[config] = boss.preview(config, stacks.result[config])
    end
    return said
  end,
  hint = "What a stack would lose must be moved, or be named, before it is updated.",
}

phase "Stacks updated"

step "Update core" {
  from = "L104-L112",
  run  = function() boss.update("core", stacks.result.core) end,
}
await "Vault still has its passwords" {
  from  = "L117-L120",
  check = function() return boss.vault_has("secret/auth/realm", "password") end,
  every = "15s", timeout = "15m",
  hint  = "A new Vault server may have to be unsealed.",
}
local redis = step "Try to update redis" {
  from = "L122-L126",
  run  = function() return { refused = boss.try_update("redis", stacks.result.redis) } end,
}
local function redis_was_refused() return redis.result.refused ~= nil end

step "Have redis-cli on the endpoint" {
  from = "L132-L135",
  when = function() return redis_was_refused() and not boss.has_program(env.hosts.endpoint, "redis-cli") end,
  run  = function()
    env.hosts.endpoint:run({ "apt-get", "install", "--yes", "redis-tools" },
      { become = "root", keep = "a tool that harms nobody" })
  end,
}
await "No cuboid waits in the cache to be written" {
  from  = "L128-L130, L136-L141",
  when  = redis_was_refused,
  check = function() return boss.unwritten_cuboids() == "" end,
  every = "10s", timeout = "4h",
}
step "Make redis anew" {
  from = "L141-L145",
  when = redis_was_refused,
  run  = function() boss.make_anew("redis", stacks.result.redis) end,
}
step "Update api" {
  from = "L152, L155-L158",
  run  = function() boss.update("api", stacks.result.api) end,
  hint = "DynamoDB takes one change of indexes at a time: a stack is updated once for each.",
}
local anew = step "Update cachedb and activities" {
  from = "L155-L166",
  when = function() return not (stacks.result.cachedb.is_deployed and stacks.result.activities.is_deployed) end,
  run  = function()
    local cachedb = boss.update_with_functions("cachedb", arg.former)
    return boss.update_with_functions("activities", arg.former) or cachedb
  end,
}
step "Make cachedb and activities anew" {
  from = "L163-L173",
  when = function() return anew.result == true end,
  run  = function()
    boss.make_functions_anew("cachedb", arg.former)
    boss.make_functions_anew("activities", arg.former)
  end,
}
local cloudwatch = step "Update cloudwatch" {
  from = "L177-L181",
  run  = function() return { refused = boss.try_update("cloudwatch", stacks.result.cloudwatch) } end,
}
step "Make cloudwatch anew" {
  from = "L177",
  when = function() return cloudwatch.result.refused ~= nil end,
  run  = function() boss.make_anew("cloudwatch", stacks.result.cloudwatch) end,
}
step "Update idindexing" {
  from = "L183-L187",
  when = function() return not stacks.result.idindexing.is_deployed end,
  run  = function() boss.update_with_functions("idindexing", arg.former) end,
}
step "Make dynamolambda anew" {
  from = "L190-L195",
  when = function() return not stacks.result.dynamolambda.is_deployed end,
  run  = function() boss.make_functions_anew("dynamolambda", arg.former) end,
}

phase "Password of bossadmin"

manual "Log in as bossadmin, so that Django knows them" {
  from = "L197-L203",
  text = "At /latest/collection/, past DNS. The password is in Vault, secret/auth/realm: bastion.py vault-read.",
}

phase "Maintenance mode off"

step "Lead the site's names where they led before" {
  from = "L205-L209",
  run  = function() maintenance.off(env.site, before.result) end,
}
await "The world's name servers know of the site again" {
  from  = "L210-L212",
  check = function() return maintenance.is_off(env.site, before.result) end,
  every = "5s", timeout = "30m",
}

phase "Subscriptions of the mailing list restored"

step "Let the mailing list tell the others again" {
  from = "L214-L216",
  run  = function() boss.subscribe(others.result) end,
}

phase "Delete rule disabled"

step "Disable the rule that starts deletions" {
  from = "L218-L219",
  run  = function() events.disable(env.delete_rule) end,
}

phase "Testing"

manual "Run the tests of boss-manage on the updated stack" { from = "L221-L222" }

phase "Checks"

await "The site answers a ping" {
  from  = "L224-L225",
  check = function() return http.get(env.api.url .. "/ping/", { ca = env.api.ca }).status == 200 end,
  every = "10s", timeout = "15m",
}
await "The site asks who wants its collections" {
  from  = "L226",
  check = function()
    local answer = http.get(env.api.url .. "/latest/collection/", { ca = env.api.ca, ok = { 200, 302, 401, 403 } })
    return answer.status ~= nil
  end,
  every = "10s", timeout = "15m",
}
manual "See in Scalyr that the new instances are there, and their ids in the log of cloudwatch" { from = "L227-L228" }

phase "Finally"

remark "The images of the sprint were labelled before the stacks were updated." { from = "L230-L232" }

step "Build images of the release for the developers" {
  from = "L234-L239",
  when = function() return not boss.has_images(env.developer.machines, arg.sprint, env.developer.profile) end,
  run  = function() boss.build_images(env.developer.bosslet, env.developer.machines) end,
}
step "Label the developers' images with the sprint" {
  from = "L240-L241",
  run  = function()
    for _, machine in ipairs(env.developer.machines) do
      boss.label_image(machine, arg.sprint, env.developer.profile)
    end
  end,
}
