-- Services, nginx and PostgreSQL of the lab's hosts, changed by single steps.
local console = require "tests.lab.console"
local steps   = require "tests.lab.steps"

local CONF = "/etc/nginx/nginx.conf"

local function pid_of(host) return console.on(host, "cat /run/nginx.pid") end

-- Those that serve; old ones need a moment to hear that they shall not.
local function workers_of(host)
  local text = "sleep 0.5; ps -o pid=,args= --ppid $(cat /run/nginx.pid) | awk '!/shutting down/ { print $1 }' | sort"
  return console.on(host, text)
end

local function expect_done(outcome)
  equal({ outcome.status, outcome.failure and tostring(outcome.failure) }, { "done" })
end

describe("a service", function()
  it("is asked whether it runs, restarted and reloaded", function()
    console.lab("reset", "proxy1")
    local master = pid_of "proxy1"
    local outcome = steps.run [[
      service.restart("proxy1", "nginx")
      local running = { service.running("proxy1", "nginx"), service.running("proxy1", "postgresql") }
      return running]]
    expect_done(outcome)
    equal(outcome.result, { true, false })
    truthy(pid_of "proxy1" ~= master)
    local workers = workers_of "proxy1"
    expect_done((steps.run [[service.reload("proxy1", "nginx")]]))
    truthy(workers_of "proxy1" ~= workers)
  end)

  it("that refuses its configuration fails the step with its own words", function()
    console.lab("reset", "proxy1")
    console.on("proxy1", "echo 'broken {' >>" .. CONF)
    local outcome = steps.run [[service.restart("proxy1", "nginx")]]
    equal(outcome.failure.kind, "remote")
    equal(outcome.failure.host, "proxy1")
  end)

  it("is reloaded after what changes it, and again after that is put back", function()
    console.lab("reset", "proxy1")
    local master, before = pid_of "proxy1", console.file("proxy1", CONF)
    local change = [[
      service.with_reload("proxy1", "nginx", function()
        file.line("proxy1", "/etc/nginx/nginx.conf", "# a line more", { become = "root" })
      end)]]
    local first = workers_of "proxy1"
    local run = steps.run_and_stop(change)
    local second = workers_of "proxy1"
    truthy(second ~= first)
    expect_done((steps.run(change)))
    equal(workers_of "proxy1", second)
    equal(steps.back(run).status, "rolled back")
    truthy(workers_of "proxy1" ~= second)
    equal(console.file("proxy1", CONF), before)
    equal(pid_of "proxy1", master)
  end)
end)

describe("nginx.edit", function()
  local function switch(new)
    return ([[
      nginx.edit("proxy1", "/etc/nginx/nginx.conf", function(conf)
        conf:replace_host("v87.production.lab", %q)
      end)]]):format(new)
  end

  it("reloads by the service, too, and follows what a page answers", function()
    console.lab("reset", "proxy1")
    expect_done((steps.run [[
      nginx.edit("proxy1", "/etc/nginx/nginx.conf", function(conf)
        conf:replace_upstream("encoded", "v87.production.lab:6543", "v88.production.lab:6543")
      end, {
        reload = "service", check = { url = "http://www.encode.lab/", address = "127.0.0.1", body = "^v88%." },
      })]]))
    equal(console.page "proxy1", "v88.production.lab")
  end)

  it("leaves a configuration alone that was broken before", function()
    console.lab("reset", "proxy1")
    console.on("proxy1", "echo 'broken {' >>" .. CONF)
    local before, workers = console.file("proxy1", CONF), workers_of "proxy1"
    local outcome = steps.run(switch "v88.production.lab")
    equal(outcome.exit, 1)
    matches(outcome.failure.message, "^/etc/nginx/nginx.conf:%d+:8: the block opened here is not closed")
    equal({ console.file("proxy1", CONF), workers_of "proxy1" }, { before, workers })
  end)

  it("puts a refused configuration back before anything is reloaded", function()
    console.lab("reset", "proxy1")
    local before, workers = console.file("proxy1", CONF), workers_of "proxy1"
    local outcome = steps.run(switch "v89.production.lab")
    equal(outcome.exit, 1)
    matches(outcome.failure.message, '^nginx %-t failed on proxy1: host not found in upstream "v89.production.lab:')
    equal({ console.file("proxy1", CONF), workers_of "proxy1" }, { before, workers })
    equal(console.page "proxy1", "v87.production.lab")
  end)

  it("does not begin where nginx does not run", function()
    console.lab("reset", "proxy1")
    console.on("proxy1", "service nginx stop")
    local before = console.file("proxy1", CONF)
    local outcome, run = steps.run(switch "v88.production.lab")
    equal(outcome.failure.message, "nginx does not run on proxy1: no pid in /run/nginx.pid")
    console.on("proxy1", "service nginx start")
    equal(steps.back(run).status, "rolled back")
    equal(console.file("proxy1", CONF), before)
    equal(console.page "proxy1", "v87.production.lab")
  end)
end)

describe("postgres", function()
  local version = console.on("old", "ls /etc/postgresql")
  local CLUSTER = ("{ version = %q, cluster = 'main' }"):format(version)
  local SIGNAL  = ("/var/lib/postgresql/%s/main/standby.signal"):format(version)
  local SETTINGS = ("/etc/postgresql/%s/main/postgresql.conf"):format(version)

  local function filled(text) return (text:gsub("CLUSTER", CLUSTER)) end

  before_each(function() console.lab("reset") end)

  it("tells versions, recovery and positions", function()
    local outcome = steps.run(filled [[
      return { postgres.version("old", CLUSTER), postgres.in_recovery("old", CLUSTER),
        postgres.in_recovery("new", CLUSTER), postgres.position("old", CLUSTER),
        postgres.position("new", CLUSTER) }]])
    expect_done(outcome)
    local text, old_recovers, new_recovers, old, new = table.unpack(outcome.result)
    matches(text, "^" .. version)
    equal({ old_recovers, new_recovers }, { false, true })
    equal({ old.in_recovery, old.timeline, old.replay }, { false, 1 })
    equal({ new.in_recovery, new.timeline, new.write }, { true, 1 })
    equal(new.replay, old.write)
  end)

  it("is met by its system identifier, and another one in its place is refused", function()
    local model, start = steps.plan(filled [[return postgres.in_recovery("old", CLUSTER)]])
    local name = ("old PostgreSQL %s/main"):format(version)
    local query = "select system_identifier from pg_control_system()"
    local identifier = console.on("old", ("su postgres -c 'psql -XAtc %q'"):format(query))
    equal(model.pins[name], "system " .. identifier:match "%d+")
    matches(model.pins.old, "^ssh%-ed25519 SHA256:")
    expect_done(start(model))
    model.pins[name] = "system 1"
    local outcome = start(model)
    equal({ outcome.exit, outcome.failure.code }, { 8, "identity" })
  end)

  it("demotes a master to a standby, and a rollback makes it one again", function()
    local run = steps.run_and_stop(filled [[postgres.demote("old", CLUSTER)]])
    truthy(console.in_recovery "old")
    matches(console.file("old", SIGNAL), "600 postgres:postgres$")
    equal(steps.back(run).status, "rolled back")
    equal(console.in_recovery "old", false)
    equal(console.file("old", SIGNAL), "absent")
    console.sql("old", "create table written_again (n int)")
  end)

  it("promotes a standby once, and leaves a master as it is", function()
    local promote = filled [[postgres.promote("new", CLUSTER, { irreversible = "it takes writes" })]]
    expect_done((steps.run(promote)))
    equal(console.in_recovery "new", false)
    equal(console.sql("new", "select timeline_id from pg_control_checkpoint()"), "2")
    expect_done((steps.run(promote)))
    equal(console.sql("new", "select timeline_id from pg_control_checkpoint()"), "2")
  end)

  it("includes a file and loads it, and takes it out again", function()
    local before = console.file("new", SETTINGS)
    local run = steps.run_and_stop(filled [[postgres.include("new", CLUSTER, "master.conf")]])
    truthy(console.sql("new", "show wal_compression") ~= "off")
    equal(console.on("new", "tail -n 1 " .. SETTINGS), "include 'master.conf'")
    equal(steps.back(run).status, "rolled back")
    equal(console.file("new", SETTINGS), before)
    equal(console.sql("new", "show wal_compression"), "off")
  end)

  it("puts back an include of a file that is not there", function()
    local before = console.file("new", SETTINGS)
    local outcome = steps.run(filled [[postgres.include("new", CLUSTER, "nowhere.conf")]])
    equal(outcome.exit, 1)
    matches(outcome.failure.message, "^new PostgreSQL .*/main refuses its configuration: " .. SETTINGS .. ":%d+: ")
    equal(console.file("new", SETTINGS), before)
  end)
end)
