--- A small repository of procedures for the kills: kinds of its own, a bracket, a fan-out, commands that leave a line in a
--- counter, all on this machine; and the folders that a process run on it may touch.
local fs      = require "native.fs"
local group   = require "neap.engine.group"
local process = require "native.process"

local repository = {}
repository.__index = repository

local NEAP = "build/fault/neap"

repository.NEAP = NEAP

--- What the targets hold after a run of the procedure that nothing disturbed.
repository.LAST = {
  a = "new", ["a.loaded"] = "new", x = "made", y = "made", reloads = "reload\n",
  count = "saw old\n", ["count-x"] = "x\n", ["count-y"] = "y\n",
}

local LIB = [[
-- Kinds of this group's own.
effect.resource "demo.flag" {
  prepare = witness.prepare, release = witness.release, take = witness.take,
  show = function(target) return target.path end,
  get = function(target)
    local out = host.exec(target.host, { "cat", target.path }, { reads = true, ok = { 0, 1 } }).out
    return out ~= "" and out or nil
  end,
  put = function(target, state, call)
    if not state then return witness.run(target.host, call, { "rm", "-f", target.path }) end
    witness.run(target.host, call, { "sh", "-c", 'printf %s "$1" >"$2"', "sh", state, target.path })
  end,
}
effect.action "demo.reload" {
  prepare = witness.prepare, release = witness.release, take = witness.take,
  run = function(target, _, call)
    local reload = 'cp "$1" "$1.loaded" && echo reload >>"$2"'
    witness.run(target.host, call, { "sh", "-c", reload, "sh", target.path, target.log })
  end,
}
local lib = {}
function lib.set(host, path, text)
  effect.change("demo.flag", { host = host.name, path = path }, function() return text end)
end
function lib.line(host, path, word)
  host:run({ "sh", "-c", 'echo "$1" >>"$2"', "sh", word, path }, {
    undo = { "sh", "-c", 'echo "not $1" >>"$2"', "sh", word, path },
  })
end
return lib
]]

local PROCEDURE = [[
-- Flags, lines in a counter, a reload.
local lib = require "demo.lib"
local here, folder = env.hosts["local"], env.folder
phase "Prepare"
local seen = step "Look" { run = function() return { name = here:read({ "cat", folder .. "/a" }) } end }
step "Count" { run = function() lib.line(here, folder .. "/count", "saw " .. seen.result.name) end }
phase "Switch"
step "Reload" { run = function()
  effect.bracket("demo.reload", { host = "local", path = folder .. "/a", log = folder .. "/reloads" }, function()
    lib.set(here, folder .. "/a", "new")
  end)
end }
step "Both" { on = { "x", "y" }, run = function(name)
  lib.set(here, folder .. "/" .. name, "made")
  lib.line(here, folder .. "/count-" .. name, name)
end }
]]

--- Files below a folder, and a home.
--- @param folder string
--- @param files table<string, string>  by path
function repository.write(folder, files)
  for path, text in pairs(files) do
    fs.mkdir(folder .. "/" .. path:match "^(.*)/", "0700")
    fs.write(folder .. "/" .. path, text, { mode = "0644" })
  end
  fs.mkdir(folder .. "/home", "0700")
end

--- A fresh world below a folder.
--- @param folder string
function repository.new(folder)
  local self = setmetatable({ folder = folder, data = folder .. "/data" }, repository)
  repository.write(folder, {
    ["procedures/demo/lib.lua"] = LIB, ["procedures/demo/it.lua"] = PROCEDURE, ["data/a"] = "old",
    ["procedures/demo/environments/lab.yml"] = "values: { folder: " .. self.data .. " }\n",
  })
  return self
end

--- The variables of a neap that works on it.
function repository:environment(fault)
  return { HOME = self.folder .. "/home", XDG_STATE_HOME = self.folder .. "/state", NEAP_PATH = self.folder,
    PATH = process.environ "PATH", NEAP_FAULT = fault, NEAP_FAULT_COUNT = self.count, LC_ALL = "C.UTF-8",
    NEAP_LUA = process.environ "NEAP_LUA" }
end

--- Runs neap on it as a process of its own, to its end.
--- @param fault string?  as NEAP_FAULT takes it
--- @return table result  of process.run
function repository:neap(fault, ...)
  return process.run({ NEAP, ... },
    { env = self:environment(fault), clear_env = true, reads = true, input = "", timeout = 60 })
end

--- Runs a program as neap would be run: the release under strace, say.
--- @param argv string[]
--- @return table result  of process.run
function repository:program(argv)
  return process.run(argv, { env = self:environment(), clear_env = true, reads = true, input = "", timeout = 60 })
end

--- Starts neap on it; closing the stream hangs up.
--- @return stream
function repository:start(...)
  return process.spawn({ NEAP, ... }, { env = self:environment(), clear_env = true, reads = true })
end

--- How often each site was passed: { ["journal before"] = n, … }.
function repository:points(fn)
  self.count = self.folder .. "/points"
  fn()
  local passed = {}
  for line in fs.read(self.count):gmatch "[^\n]+" do passed[line] = (passed[line] or 0) + 1 end
  self.count = nil
  return passed
end

--- The faults that kill at each point that was passed.
--- @param passed table<string, integer>  of repository:points
--- @return string[]
function repository.faults(passed)
  local list = {}
  for point, count in pairs(passed) do
    local site, when = point:match "^(%S+) (%S+)$"
    for ordinal = 1, count do list[#list + 1] = ("%s:%d:%s=kill"):format(site, ordinal, when) end
  end
  table.sort(list)
  return list
end

--- Kills act(world, fault) by each fault, in two rows side by side, each on a world of its own; then calls check(world),
--- or spared(world, fault) where the kill did not fall. Raises the first failure.
--- @param place string  a scratch folder
--- @param list string[]  of repository.faults
--- @param act fun(world: table, fault: string): table  the result of the process
--- @param check fun(world: table)
--- @param spared? fun(world: table, fault: string)
--- @return integer killed
function repository.kill_each(place, list, act, check, spared)
  local killed = 0
  local failures = group.each(list, { at_a_time = 2, max_failures = 5 }, function(fault, index)
    local world = repository.new(("%s/%d"):format(place, index))
    if act(world, fault).signal == "KILL" then
      killed = killed + 1
      local ok, problem = pcall(check, world)
      if not ok then error(("%s: %s"):format(fault, tostring(problem)), 0) end
    elseif spared then
      spared(world, fault)
    end
    fs.remove_tree(world.folder)
  end)
  if failures[1] then error(tostring(failures[1].failure), 0) end
  return killed
end

--- What the targets hold: contents by name.
function repository:world()
  local world = {}
  for _, name in ipairs(fs.list(self.data)) do
    world[name] = fs.read(self.data .. "/" .. name)
  end
  return world
end

--- How many witnesses are left. A run that died between making its folder and its first intent leaves an empty folder,
--- which nothing names.
function repository:witnesses_left()
  local effects, count = self.folder .. "/home/.neap/effects", 0
  for _, run in ipairs(fs.exists(effects) and fs.list(effects) or {}) do
    for _, place in ipairs(fs.list(effects .. "/" .. run)) do
      count = count + #fs.list(("%s/%s/%s"):format(effects, run, place))
    end
  end
  return count
end

return repository
