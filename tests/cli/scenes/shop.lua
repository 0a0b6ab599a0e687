--- A shop on this machine with a release to be brought out, and terminals to do it at: what the scenes are played on.
local fs         = require "native.fs"
local process    = require "native.process"
local eventually = require "tests.eventually"
local golden     = require "tests.cli.golden"
local group      = require "neap.engine.group"
local screen     = require "tests.screen"
local svg        = require "tests.svg"
local tmux       = require "tests.tmux"

local shop = {}
shop.__index = shop
shop.__close = function(self) self:close() end

--- The sizes of terminal that each scene is played at.
shop.SIZES = { { columns = 80, rows = 24 }, { columns = 200, rows = 50 } }

local NAME = "/home/alice/shop" -- what the scratch folder is called in what is compared: as long as its own name

local RELEASE = [[
-- Brings a release of the shop to its servers.
local arg = parameters { release = "the release's number" }
local here, folder = env.hosts["local"], env.folder

phase "Prepare"
step "Fetch the release" {
  run = function() here:run({ "fetch", arg.release }, { undo = { "forget", arg.release } }) end,
}
step "Put up the notice" { run = function() file.write(here, folder .. "/notice", "Closed until four.\n") end }

phase "Switch"
step "Stop the night's jobs" { run = function() file.write(here, folder .. "/jobs", "off\n") end }
step "Switch the servers" {
  on = env.servers, at_a_time = 6, max_failures = 2,
  run = function(name)
    here:read { "turn-of", name }
    here:run({ "switch", name, arg.release }, { undo = { "switch", name, "87" } })
  end,
}
step "Look at the shop" { run = function() here:read { "cat", folder .. "/notice" } end }
manual "Say on the phone that the shop is open" { timeout = "1h" }
step "Open the new books" {
  run = function() here:run({ "open-books" }, { undo = { "true" } }) end,
  irreversible = "what is sold from then on stands in the new books alone",
}

phase "Afterwards"
step "Take down the notice" { run = function() file.write(here, folder .. "/notice", "Open.\n") end }
]]

local RELOAD = [[
-- Points the proxies at the new servers.
local arg = parameters {
  release = "the release's number",
  port    = { "where it is served", type = "integer", default = 8088 },
  copies  = { "how many old lists are kept", type = "integer", default = 1 },
}
local here, folder = env.hosts["local"], env.folder

phase "Prepare"
step "Keep the old list" {
  run = function()
    for i = 1, arg.copies do file.write(here, folder .. "/kept" .. i, "v87\n", { keep = "a copy harms nobody" }) end
  end,
}

phase "Switch"
step "Point the proxies at the new servers" {
  run = function()
    file.edit(here, folder .. "/proxy.conf", function(text) return (text:gsub("v%d+", "v" .. arg.release)) end)
    here:run({ "reload-proxies", tostring(arg.port) }, { undo = { "true" } })
  end,
  check = function() return file.exists(here, folder .. "/reloaded") end,
  hint  = "Does the proxy resolve the new name? /etc/hosts is managed by hand on the second proxy.",
}
step "Ask the shop for its release" { run = function() here:read { "cat", folder .. "/proxy.conf" } end }
]]

local DEAF = [[
-- Calls what does not hear that it is to end.
local here = env.hosts["local"]
step "Call the deaf" { run = function() here:run({ "deaf" }, { undo = { "true" } }) end }
]]

local PROGRAMS = {
  deaf = "trap '' HUP INT TERM; touch deaf; while test -e deaf; do sleep 0.05; done",
  -- takes longer than what is no part of an estimate
  fetch = "sleep 1.1; echo release $1 fetched",
  forget = "echo release $1 forgotten",
  -- so that they stand in the journal in the order of their names
  ["turn-of"] = "until test ! -e switched/$1.after || test -e switched/$(cat switched/$1.after); do sleep 0.02; done",
  switch = [[
touch switched/$1
until test ! -e slow/$1; do sleep 0.05; done
case "$1 $2" in
"web03 88") echo "switch: $1 does not answer on port 8088" >&2; status=1;;
*) echo "$1 serves $2";;
esac
exit ${status:-0}]],
  ["open-books"] = "echo books opened",
  ["reload-proxies"] = [[
if ! test -e resolves; then
	echo 'nginx: [emerg] host not found in upstream "v88.shop.example.org"' >&2
	echo '  in /etc/nginx/nginx.conf:41' >&2
	exit 1
fi
touch reloaded]],
}

local function write(path, text, mode)
  fs.mkdir(path:match "^(.*)/", "0755")
  fs.write(path, text, { mode = mode or "0644" })
end

-- Of the six that begin, five are slow: what follows is done in the place of the third, one after the other.
local SERVERS, SLOW = {}, { web01 = true, web02 = true, web04 = true, web05 = true, web06 = true }
for i = 1, 12 do SERVERS[i] = ("web%02d"):format(i) end

--- @return table shop
function shop.new()
  local self = setmetatable({ root = fs.realpath(fs.mkdtemp "/tmp/neap-"), panes = {} }, shop)
  self.site = self.root .. "/site"
  self.env = { NEAP_PATH = self.root, XDG_STATE_HOME = self.root .. "/state", HOME = self.root,
    NEAP_LUA = process.environ "NEAP_LUA",
    PATH = ("%s:%s/bin:%s"):format(process.executable():match "^(.*)/", self.root, process.environ "PATH") }
  local values = ("values: { folder: %s, servers: [%s] }\n"):format(self.site, table.concat(SERVERS, ", "))
  write(self.root .. "/procedures/shop/environments/prod.yml", values .. "policy: { guard: production }\n")
  write(self.root .. "/procedures/shop/environments/lab.yml", values)
  write(self.root .. "/procedures/shop/release.lua", RELEASE)
  write(self.root .. "/procedures/shop/proxies.lua", RELOAD)
  write(self.root .. "/procedures/shop/deaf.lua", DEAF)
  write(self.site .. "/proxy.conf", "upstream shop {\n    server v87.shop.example.org:8088;\n}\n")
  write(self.site .. "/notice", "Open.\n")
  for name, text in pairs(PROGRAMS) do
    write(self.root .. "/bin/" .. name, ("#!/bin/sh\ncd %s\n%s\n"):format(self.site, text), "0755")
  end
  for i, name in ipairs(SERVERS) do
    if i > 1 and i <= 7 then write(("%s/switched/%s.after"):format(self.site, name), SERVERS[i - 1]) end
    if SLOW[name] then write(self.site .. "/slow/" .. name, "") end
  end
  return self
end

--- Lets servers that are waited for go on, one after the other, as a terminal shows it.
--- @param pane table
function shop:go_on(pane, ...)
  for _, name in ipairs { ... } do
    fs.remove(self.site .. "/slow/" .. name)
    pane:expect(("local switch %s 88  command.run  done"):format(name))
  end
end

--- @param name string  of a file of the site
function shop:write(name, text) write(self.site .. "/" .. name, text) end

--- The proxies find the new name from now on.
function shop:mend() self:write("resolves", "") end

-- ---- terminals ----

--- @param size { columns: integer, rows: integer }
--- @param env? table<string, string>
--- @return table pane  as tests/tmux gives it, that can also be compared
function shop:terminal(size, env)
  local variables = {}
  for _, more in ipairs { self.env, env or {} } do
    for name, value in pairs(more) do variables[name] = value end
  end
  local pane = tmux.new { columns = size.columns, rows = size.rows, env = variables, cwd = self.root }
  pane:expect "$ "
  self.panes[#self.panes + 1] = pane
  return pane
end

--- Begins the release, up to where only slow servers are under way.
--- @param pane table
function shop:release(pane)
  pane:command "neap run shop/release --env prod -p release=88"
  pane:expect "name to start: "
  pane:command "prod"
  pane:expect "| web12 serves 88"
  pane:expect "6 of 12 done, 1 failed, 5 under way"
end

--- Begins what fails, up to the question what now.
--- @param pane table
--- @param options? string
function shop:fail(pane, options)
  pane:command("neap run shop/proxies --env prod --yes -p release=88" .. (options or ""))
  self:wait_for_question(pane)
end

--- Waits until somebody is asked what now.
--- @param pane table
function shop:wait_for_question(pane)
  pane:expect "l  full output"
  pane:expect_last "\n1 prod 2.1> "
end

--- Waits until the shell's prompt is there again.
--- @param pane table
function shop:wait_for_end(pane) pane:expect_last "\n$ " end

--- Waits until no command is under way any more, also one that nobody follows: each has left its exit status.
function shop:wait_for_commands()
  local script = 'for job in .neap/effects/*/*/*/job; do test -s "${job%job}status" || exit 1; done'
  eventually(function() return process.run({ "sh", "-c", script }, { reads = true, cwd = self.root }).status == 0 end)
end

--- Runs neap beside the terminals.
--- @return table result  of process.run
function shop:neap(...)
  return process.run({ process.executable(), ... }, { reads = true, clear_env = true, env = self.env })
end

function shop:close()
  for _, held in ipairs { "/slow", "/deaf" } do fs.remove_tree(self.site .. held) end
  for _, pane in ipairs(self.panes) do pane:close() end
  self:neap("stop", "1", "--kill")
  fs.remove_tree(self.root)
end

--- Plays a scene at a terminal of each size, side by side.
--- @param env? table<string, string>  of the terminals
--- @param play fun(on: table, pane: table, size: { columns: integer, rows: integer })
function shop.at_each_size(env, play)
  local function play_at(size)
    local on <close> = shop.new()
    play(on, on:terminal(size, env), size)
  end
  local failures = group.each(shop.SIZES, { max_failures = #shop.SIZES }, play_at)
  for i, one in ipairs(failures) do
    failures[i] = ("%d columns: %s"):format(one.item.columns, tostring(one.failure))
  end
  if failures[1] then error(table.concat(failures, "\n"), 0) end
end

-- ---- comparing ----

--- The rows of a terminal, settled: those that have scrolled away, and those in sight.
function shop:rows(pane)
  local above, below = pane:lines()
  local names = { [self.root] = NAME }
  return screen.settle(screen.rows(above), names), screen.settle(screen.rows(below), names)
end

local function joined(above, below) return table.move(below, 1, #below, #above + 1, above) end

--- What is to be compared, as a text and as rows.
local function snapshot(self, pane, in_sight)
  local above, below = self:rows(pane)
  local scrolled = screen.text(above)
  if scrolled == "" then return screen.text(below) .. "\n", below end
  if not in_sight then
    local rows = joined(above, below)
    return screen.text(rows) .. "\n", rows
  end
  return ("%s\n----------[ in sight is ]----------\n%s\n"):format(scrolled, screen.text(below)), below
end

-- What stands in a picture for what is replaced in a screen.
local PICTURED = { { "about N%.Ns", "about 4m" }, { "N%.Ns", "0.4s" }, { "HH:MM:SS", "02:21:40" }, { "HH:MM", "02:21" },
                   { "YYYY%-MM%-DD", "2026-11-21" } }

--- @param rows screen.row[]
--- @param options { picture: string, title: string }
local function compare_picture(rows, options)
  for _, pair in ipairs(PICTURED) do screen.replace(rows, pair[1], pair[2]) end
  golden.compare(("vendor/dist/pictures/%s.svg"):format(options.picture), svg.of(rows, options.title))
end

--- Compares what a terminal shows, and what has scrolled away, with a golden file.
--- @param pane table
--- @param size { columns: integer, rows: integer }
--- @param name string
--- @param options? { in_sight?: boolean, picture?: string, title?: string }  in_sight: where on the screen things stand
---   counts, too; picture: of the manual, made at 80 columns
function shop:shows(pane, size, name, options)
  name = ("scenes/%dx%d/%s"):format(size.columns, size.rows, name)
  options = options or {}
  local rows = golden.becomes(name, function() return snapshot(self, pane, options.in_sight) end)
  if options.picture and size.columns == 80 then compare_picture(rows, options) end
end

return shop
