--- `neap run --at`: what it refuses, and what systemd is told, which a stand-in notes and then does.
local clock   = require "native.clock"
local console = require "tests.lab.console"
local fs      = require "native.fs"
local golden  = require "tests.cli.golden"
local json    = require "native.json"
local manual  = require "tests.manual"
local moment  = require "neap.cli.moment"
local process = require "native.process"
local stage   = require "tests.cli.stage"

local NEAP = fs.realpath "build/neap"

--- Does what it is told at once, with nothing of its caller's environment but what is named.
local SYSTEMD_RUN = [[#!/bin/sh
for word; do printf '%s\n' "$word"; done >DIR/said
folder=/ kept=
while [ "$1" != -- ]; do
  case $1 in
    --working-directory=*) folder=${1#*=} ;;
    --setenv=*) name=${1#*=}; eval "kept=\"\$kept $name='\$$name'\"" ;;
  esac
  shift
done
shift
cd "$folder"
eval "env -i $kept \"\$@\"" >DIR/output 2>&1
echo $? >DIR/status
]]

--- Holds nothing, and runs what it is given.
local SYSTEMD_INHIBIT = [[#!/bin/sh
echo "$*" >DIR/inhibit
while [ "$1" != sh ]; do shift; done
exec "$@"
]]

local PROCEDURE = [[
local arg = parameters { greeting = { "what to say", default = "hello" } }
step "Write the greeting" { run = function() file.write("local", "DIR/out/greeting", arg.greeting) end }
]]

describe("neap run --at", function()
  local folder

  local function write(path, text, mode)
    fs.mkdir((folder .. "/" .. path):match "^(.*)/", "0755")
    fs.write(folder .. "/" .. path, (text:gsub("DIR", folder)), { mode = mode or "0644" })
  end

  local function environment(text) write("procedures/shop/environments/lab.yml", text) end

  local function neap(words)
    local text = "cd %s && PATH=%s/bin:$PATH HOME=%s XDG_STATE_HOME=%s/state SSH_AUTH_SOCK=/agent %s %s </dev/null"
    return console.shell(text:format(folder, folder, folder, folder, NEAP, words))
  end

  local function refused(words, pattern)
    local output, status = neap(words)
    matches(output, pattern)
    truthy(status ~= 0)
    equal(fs.exists(folder .. "/said"), false)
    return status
  end

  local function said()
    local list = {}
    for line in fs.read(folder .. "/said"):gmatch "[^\n]+" do list[#list + 1] = line end
    return list
  end

  local function option(name)
    for _, word in ipairs(said()) do
      local value = word:match("^%-%-" .. name:gsub("%-", "%%-") .. "=(.*)$")
      if value then return value end
    end
  end

  before_each(function()
    folder = scratch()
    fs.mkdir(folder .. "/out", "0755")
    write("bin/systemd-run", SYSTEMD_RUN, "0755")
    write("bin/systemd-inhibit", SYSTEMD_INHIBIT, "0755")
    write("procedures/shop/release.lua", PROCEDURE)
    environment "values: {}\n"
  end)

  it("has systemd begin the run, which is carried out with nobody there", function()
    local output, status = neap "run shop/release --env lab -p 'greeting=for $5' --at 2030-12-01T02:00Z"
    equal({ status, fs.read(folder .. "/status") }, { 0, "0\n" })
    equal(fs.read(folder .. "/out/greeting"), "for $$5") -- to systemd $$ is a $
    equal({ option "on-calendar", option "unit", option "property" }, { "2030-12-01 02:00:00 UTC",
      "neap-shop-lab-release-20301201T0200", "KillMode=mixed" })
    matches(fs.read(folder .. "/inhibit"), "%-%-what=shutdown:sleep.*%-%-mode=block")
    matches(output, "shop/release on shop/lab begins Sun 2030%-12%-01 02:00 UTC")
    matches(output, "SSH_AUTH_SOCK")
    matches(output, "systemctl stop neap%-shop%-lab%-release%-20301201T0200%.timer")
    matches((neap "runs"), "shop/release.*done")
  end)

  it("passes variables by their names, and no others", function()
    neap "run shop/release --env lab --at 02:00"
    local text = fs.read(folder .. "/said")
    matches(text, "\n%-%-setenv=XDG_STATE_HOME\n")
    equal({ text:find "%-%-setenv=[%u_a-z]+=", text:find "SSH_AUTH_SOCK" }, {})
  end)

  it("is what systemd takes for a time and a service", function()
    neap "run shop/release --env lab --at 02:00"
    matches((console.shell(("systemd-analyze calendar '%s'"):format(option "on-calendar"))), "Next elapse: ")
    local lines, words, at = { "[Service]", "Type=" .. option "service-type" }, {}, nil
    for _, word in ipairs(said()) do
      if at then words[#words + 1] = word end
      if word:find "^%-%-property=" then lines[#lines + 1] = word:match "=(.*)$" end
      at = at or word == "--"
    end
    lines[#lines + 1] = "ExecStart=" .. table.concat(words, " ")
    write("neap-run.service", table.concat(lines, "\n") .. "\n")
    write("neap-run.timer", ("[Timer]\nOnCalendar=%s\n%s\n"):format(option "on-calendar", option "timer-property"))
    local output, status = console.shell(("cd %s && systemd-analyze verify ./neap-run.service ./neap-run.timer"):format(
      folder))
    equal({ output:match "neap%-run[^\n]*", status }, { nil, 0 })
  end)

  it("answers as JSON, too", function()
    local answer = json.decode((neap "run shop/release --env lab --at 2030-12-01T03:00+01:00 --json"))
    equal({ answer.at, answer.unit, answer.stops }, { "2030-12-01T02:00:00.000Z",
      "neap-shop-lab-release-20301201T0200", {} })
  end)

  it("takes a plan, and stops where the targets are otherwise by then", function()
    local id = (neap "plan shop/release --env lab"):match "[Pp]lan (%x+)"
    fs.write(folder .. "/out/greeting", "of somebody else", { mode = "0644" })
    matches((neap(("run shop/release --env lab --plan %s --at 02:00"):format(id))), "by plan " .. id)
    equal({ fs.read(folder .. "/status"), fs.read(folder .. "/out/greeting") }, { "8\n", "of somebody else" })
  end)

  it("is used as the manual shows it", function()
    local plan, run = manual.of("running", "sh")[1].text:match "^neap ([^#]-) *#[^\n]*\nneap ([^\n]*)\n$"
    local id = (neap(plan)):match "[Pp]lan (%x+)"
    matches((neap(run:gsub("3f9c1a", id))), "by plan " .. id)
    equal(fs.read(folder .. "/status"), "0\n")
  end)

  it("says at what it will stop, and stops there for a person", function()
    write("procedures/shop/release.lua", 'manual "Close the shop" {}\n' .. PROCEDURE)
    matches((neap "run shop/release --env lab --at 02:00"), "waits for neap resume at: Close the shop")
    equal(fs.read(folder .. "/status"), "8\n")
  end)

  it("refuses a time outside the policy's window or in a freeze, but for a reason", function()
    environment 'policy: { window: { days: [sun], from: "01:00", to: "03:00", zone: Europe/Berlin } }\n'
    equal(refused("run shop/release --env lab --at 2030-12-01T02:30Z", "may not be changed then: the window is sun"), 8)
    matches((neap "run shop/release --env lab --at 2030-12-01T02:30"), "open until Sun 2030%-12%-01 03:00 CET")
    equal(option "on-calendar", "2030-12-01 01:30:00 UTC")
    environment "policy: { freeze: [ { from: 2030-12-01, to: 2030-12-02, why: holidays } ] }\n"
    fs.remove_tree(folder .. "/said")
    refused("run shop/release --env lab --at 2030-12-01T02:30Z", "frozen from 2030%-12%-01.*holidays")
    neap "run shop/release --env lab --at 2030-12-01T02:30Z --outside-window --reason CHG-1"
    matches(fs.read(folder .. "/said"), "\n%-%-outside%-window\n%-%-reason\nCHG%-1\n")
  end)

  it("refuses a secret that nobody could give then, where the code names it", function()
    environment 'secrets: { code: "ask:The code", other: "ask:Another" }\n'
    neap "run shop/release --env lab --at 02:00"
    fs.remove_tree(folder .. "/said")
    write("procedures/shop/release.lua", PROCEDURE:gsub("arg.greeting%)", "env.secrets.code)"))
    equal(refused("run shop/release --env lab --at 02:00", "code of shop/lab is ask:The code"), 8)
    environment "secrets: { code: env:CODE }\n"
    refused("run shop/release --env lab --at 02:00", "no%s+secret is passed on")
    environment "secrets: { code: file:/root/code }\nnotify: [ { webhook: env:HOOK } ]\n"
    refused("run shop/release --env lab --at 02:00", "notify of shop/lab is env:HOOK")
  end)

  it("refuses wrong arguments, a missing approval, and what is no time, before the night", function()
    equal(refused("run shop/release --env lab -p greting=x --at 02:00", "greting.*greeting"), 2)
    equal(refused("run shop/release --env lab --at 25:00", "there is no .*25:00"), 2)
    equal(refused("run shop/release --env lab --at tomorrow", "'tomorrow' is no time"), 2)
    equal(refused("run shop/release --env lab --at 2020-01-01T02:00", "is past"), 2)
    environment "policy: { approvals: { need: 1, allowed_signers: /etc/neap/allowed_signers } }\n"
    equal(refused("run shop/release --env lab --at 02:00", "asks for an approval of a plan"), 8)
  end)

  it("says what else there is where systemd is not", function()
    write("bin/systemd-run", "#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n", "0755")
    local output, status = neap "run shop/release --env lab --at 02:00"
    equal(status, 1)
    matches(output, "systemd did not take it.*not been booted.*neap doc recipes")
  end)

  it("goes on, and says so, where the machine cannot be held", function()
    write("bin/systemd-inhibit", "#!/bin/sh\nexit 1\n", "0755")
    local output, status = neap "run shop/release --env lab --yes --foreground --inhibit"
    equal(status, 0)
    matches(output, "may be shut down meanwhile")
  end)
end)

describe("neap run --at", function()
  local user, run, environ, exists = process.user, process.run, process.environ, fs.exists
  local told, on

  before_each(function()
    on = stage.new(scratch(), {
      ["procedures/shop/release.lua"] = 'step "Nothing" { run = function() end }\n',
      ["procedures/shop/environments/lab.yml"] = "values: {}\n",
    })
    clock.virtual(false) -- date takes its time
    told = nil
    process.user = function() return { name = "nobody-of-that-name", uid = 4711, home = on.root } end
    process.run = function(argv, options)
      if argv[1] ~= "systemd-run" then return run(argv, options) end
      told = argv
      return { status = 0, out = "", err = "" }
    end
  end)
  after_each(function()
    process.user, process.run, process.environ, fs.exists = user, run, environ, exists
    stage.leave()
  end)

  it("is refused where systemd would forget it at the last logout", function()
    equal(on:neap "run shop/release --env lab --at 02:00", 1)
    matches(on.told, "forgets the timers of nobody%-of%-that%-name.*loginctl enable%-linger")
    equal(told, nil)
  end)

  it("is told to its own systemd", function()
    fs.exists = function(path) return path:find "^/var/lib/systemd/linger/" ~= nil or exists(path) end
    equal(on:neap "run shop/release --env lab --at 02:00", 0)
    equal({ told[1], told[2] }, { "systemd-run", "--user" })
    matches(on.output, "systemctl %-%-user stop neap%-shop%-lab%-release%-")
  end)

  it("says what will be, how to see it and how to cancel it", function()
    process.user = function() return { name = "root", uid = 0, home = on.root } end
    process.environ = function(name) return name == "SSH_AUTH_SOCK" and "/agent" or nil end
    fs.write(on.root .. "/procedures/shop/release.lua", 'manual "Close the shop" {}\nmanual "Look at the page" {}\n'
      .. 'step "Drop the old tables" { irreversible = "they are gone then", run = function() end }\n'
      .. 'manual "Open the shop" {}\n', { mode = "0644" })
    fs.write(on.root .. "/procedures/shop/environments/lab.yml",
      "policy: { window: { from: '01:00', to: '06:00', zone: Europe/Berlin } }\n", { mode = "0644" })
    golden("at", on:screen "run shop/release --env lab --at 2030-12-01T02:00" .. "\n"
      .. on:screen "run shop/release --env lab --at 2030-12-01T08:00")
  end)

  it("takes a guarded environment's name now", function()
    process.user = function() return { name = "root", uid = 0, home = on.root } end
    fs.write(on.root .. "/procedures/shop/environments/lab.yml", "policy: { guard: production }\n", { mode = "0644" })
    equal(on:neap "run shop/release --env lab --at 02:00", 8)
    equal(told, nil)
    on.answers = { "lab" }
    equal(on:neap "run shop/release --env lab --at 02:00", 0)
    equal(told[#told - 3], "--yes")
  end)
end)

describe("a moment", function()
  local NOW = 1764590400 -- 2025-12-01T12:00:00Z

  it("is the next time that clocks of the zone show it", function()
    equal({ moment.of("13:30", "UTC", NOW), moment.of("12:00", "UTC", NOW), moment.of("13:30", "Europe/Berlin", NOW) },
      { NOW + 5400, NOW + 86400, NOW + 1800 })
    equal(moment.text(NOW + 1800, "Europe/Berlin"), "Mon 2025-12-01 13:30 CET")
  end)

  it("is not in the hour that the clocks leap over", function()
    matches(raises(moment.of, "2026-03-29 02:30", "Europe/Berlin", NOW).message, "there is no 2026%-03%-29 02:30")
    equal(moment.of("2026-03-29 03:30", "Europe/Berlin", NOW), moment.of("2026-03-29T01:30Z", "Europe/Berlin", NOW))
  end)
end)
