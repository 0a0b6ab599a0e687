--- Runs to report on: of a shop whose second proxy refuses, says so with markup, and is gone past by a person.
local stage = require "tests.cli.stage"

local RELEASE = [[
-- Switches the shop to a new release.
local arg = parameters { release = { "number of the new release", match = "^%d+$" } }

guide "How the <shop> is released" {
  sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", file = "shop.md",
}
phase "Prepare"

step "Write the motd" { from = "L1-L4", run = function() shop.write("web1", "/etc/motd", "welcome\n") end }
await "The queue is empty" { from = "L5", every = "30s", timeout = "10m", check = function() return shop.empty() end }

phase "Switch <b>now</b>"

step "Tell the shop's people" {
  from = "L7",
  run = function() shop.mail("people@shop", "release " .. arg.release, { keep = "a mail harms nobody" }) end,
}
manual "Look whether writes have stopped" { from = "L8", evidence = "writes a minute" }
step "Point the proxies at the new server" {
  from = "L9-L12",
  run = function() shop.point(arg.release) end,
  hint = "Does the proxy resolve the new name?",
}
step "Open the books" {
  irreversible = "the new books cannot be read by the old release",
  run = function() shop.write("db1", "/srv/books", "new") end,
}
]]

local FILES = {
  ["procedures/shop/release.lua"] = RELEASE,
  ["procedures/shop/environments/lab.yml"] = "values: {}\n",
  ["procedures/shop/environments/prod.yml"] = "policy: { guard: production }\n",
}

--- @param root string  a scratch folder
--- @return table stage  with a run that stopped at its second proxy
return function(root)
  local on = stage.new(root, FILES)
  local conf = "upstream shop {\n    server v87.example.org; # <script>alert(1)</script> & co\n}\n"
  on.values = { ["/etc/web1.conf"] = conf, ["/etc/web2.conf"] = conf, ["/srv/books"] = "old" }
  on.polls = 3
  on.failing["/etc/web2.conf"] = true
  on.answers = { "done", "12 <a minute>", "quit" }
  on:neap "run shop/release --env prod -p release=88 --yes"
  return on
end
