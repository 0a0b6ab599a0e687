--- kill -9 at each commit of the journal and before and after each call to a target, in turn: a real process, a real
--- server. Needs the build with fail points (make fault).
local fs         = require "native.fs"
local group      = require "neap.engine.group"
local process    = require "native.process"
local repository = require "tests.kills.repository"

local PROCEDURE = [[
-- A counter, lines, a privilege.
local db = env.databases.main
phase "Change"
step "Count" { run = function()
  local n = db:value "select n from %s"
  db:execute("update %s set n = n + 1", nil, { undo = "update %s set n = n - 1", affects = 1 })
  return { was = n, login = env.hosts["local"]:read { "sh", "-c", "echo [$NEAP_TEST_PASSWORD]" } }
end }
step "Lines" { run = function()
  db:transaction(function(tx)
    tx:execute("insert into %s values ('first')")
    tx:execute("insert into %s values ('second')")
  end, { undo = "delete from %s" })
  sql.rows(db, "%s", { key = "line", rows = { { line = "third" } } })
end }
]]

local SERVERS = {
  postgres = function() return require("tests.postgres").start() end,
  mysql = function() return require("tests.mariadb").start() end,
}

local function sql(engine, text)
  local server = SERVERS[engine]()
  return engine == "postgres" and server.sql(text) or server.sql("use neap_test; " .. text)
end

local World = {}
World.__index = World

local function new_world(engine, folder, index)
  local server = SERVERS[engine]()
  local self = setmetatable({ folder = folder, engine = engine, server = server, counter = "counter_" .. index,
    lines = "lines_" .. index }, World)
  sql(engine, ("drop table if exists %s; drop table if exists %s; create table %s (n int); " ..
    "insert into %s values (0); create table %s (line varchar(40) primary key)"):format(self.counter, self.lines,
    self.counter, self.counter, self.lines))
  local names = { self.counter, self.counter, self.counter, self.lines, self.lines, self.lines, self.lines }
  local environment = ("databases:\n  main: { %s: %s, port: %d, user: %s, database: %s, ca: %s, password: " ..
    "env:NEAP_TEST_PASSWORD }\n"):format(engine, engine == "postgres" and "localhost" or "127.0.0.1", server.port,
    server.user, engine == "postgres" and "postgres" or "neap_test", server.ca)
  repository.write(folder, { ["procedures/demo/it.lua"] = PROCEDURE:format(table.unpack(names)),
    ["procedures/demo/environments/lab.yml"] = environment })
  return self
end

function World:neap(fault, ...)
  return process.run({ "build/fault/neap", ... }, { env = { HOME = self.folder .. "/home", LC_ALL = "C.UTF-8",
    XDG_STATE_HOME = self.folder .. "/state", NEAP_PATH = self.folder, PATH = process.environ "PATH",
    NEAP_FAULT = fault, NEAP_FAULT_COUNT = self.count, NEAP_TEST_PASSWORD = self.server.password },
    clear_env = true, reads = true, input = "", timeout = 60 })
end

function World:start(fault) return self:neap(fault, "run", "demo/it", "--env", "lab", "--yes", "--foreground") end

function World:state()
  return sql(self.engine, ("select n from %s; select line from %s order by line"):format(self.counter, self.lines))
end

function World:remove()
  sql(self.engine, ("drop table %s; drop table %s"):format(self.counter, self.lines))
  fs.remove_tree(self.folder)
end

--- Each point that a run passes, as NEAP_FAULT takes it.
local function faults_of(world)
  world.count = world.folder .. "/points"
  local result = world:start()
  if result.status ~= 0 then error(result.out .. result.err, 0) end
  local passed, list = {}, {}
  for line in fs.read(world.count):gmatch "[^\n]+" do
    passed[line] = (passed[line] or 0) + 1
    local site, when = line:match "^(%S+) (%S+)$"
    list[#list + 1] = ("%s:%d:%s=kill"):format(site, passed[line], when)
  end
  world.count = nil
  return list, result
end

local FIRST, LAST = "0\n", "1\nfirst\nsecond\nthird\n"

--- Kills a run at each point, in two rows side by side; then calls check(world).
local function each_kill(engine, check)
  local place = scratch()
  local first = new_world(engine, place .. "/first", "0")
  local list = faults_of(first)
  equal(first:state(), LAST)
  truthy(#list > 40)
  local killed = 0
  local failures = group.each(list, { at_a_time = 2, max_failures = 3 }, function(fault, index)
    local world = new_world(engine, ("%s/%d"):format(place, index), index)
    local result = world:start(fault)
    if result.signal == "KILL" then
      killed = killed + 1
      local ok, problem = pcall(check, world)
      if not ok then error(("%s: %s"):format(fault, tostring(problem)), 0) end
    else
      equal({ fault, world:state() }, { fault, LAST })
    end
    world:remove()
  end)
  if failures[1] then error(tostring(failures[1].failure), 0) end
  truthy(killed >= #list - 4)
end

--- Takes the run up; "new" where it was killed before it was there, "closed" where it was over.
local function take_up(world, verb)
  local result = world:neap(nil, verb, "1", "--env", "lab", "--yes", "--foreground")
  if result.status == 0 then return end
  local text = result.out .. result.err
  if text:find "no run" then return "new" end
  if text:find "closed" then return "closed" end
  error(("%s: exit %s\n%s"):format(verb, tostring(result.status), text), 0)
end

for _, engine in ipairs { "postgres", "mysql" } do
  describe("a run on " .. engine .. " that is killed", function()
    it("ends after resume as if nothing had been, with each change made once", function()
      each_kill(engine, function(world)
        if take_up(world, "resume") == "new" then world:start() end
        equal(world:state(), LAST)
      end)
    end)

    it("is taken back whole by rollback", function()
      each_kill(engine, function(world)
        local before = take_up(world, "rollback")
        equal(world:state(), before == "closed" and LAST or FIRST)
      end)
    end)
  end)
end

describe("a run with a password in a variable", function()
  it("keeps it from the programs that it starts, and from all that it says", function()
    local world = new_world("postgres", scratch() .. "/one", "variable")
    local _, result = faults_of(world)
    local shown = world:neap(nil, "log", "1", "--env", "lab", "--json")
    equal(shown.status, 0)
    matches(shown.out, '%[%]')
    for _, text in ipairs { result.out, result.err, shown.out } do
      equal(text:find(world.server.password, 1, true), nil)
    end
    world:remove()
  end)
end)
