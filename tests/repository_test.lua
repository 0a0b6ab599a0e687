local fs         = require "native.fs"
local repository = require "neap.repository"

local function write(root, path, text)
  local folder = root .. "/" .. path:match "^(.*)/[^/]*$"
  fs.mkdir(folder, "0755")
  fs.write(root .. "/" .. path, text or "", { mode = "0644" })
end

local getenv = os.getenv

--- Answers NEAP_PATH for the duration of a test.
local function search(path)
  rawset(os, "getenv", function(name) return name == "NEAP_PATH" and path or getenv(name) end)
end

local function names(entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry.name end
  return list
end

describe("repository", function()
  local root

  before_each(function()
    root = fs.realpath(scratch())
    write(root, "procedures/encode/release.lua", "-- Releases ENCODE: all of it.\nphase 'x'\n")
    write(root, "procedures/encode/rollout.lua", "--- Rolls out. \n")
    write(root, "procedures/encode/lib.lua", "return {}")
    write(root, "procedures/encode/release_test.lua")
    write(root, "procedures/encode/guide.md", "text")
    write(root, "procedures/encode/files/a.conf", "conf")
    write(root, "procedures/encode/environments/lab.yml")
    write(root, "procedures/encode/environments/base.yml")
    write(root, "procedures/encode/environments/prod.yml")
    write(root, "procedures/lib/shared.lua", "return 1")
    write(root, "procedures/boss/update.lua", "phase 'x'")
    write(root, "procedures/boss/environments/lab.yml")
    search(root)
  end)

  after_each(function() rawset(os, "getenv", getenv) end)

  it("lists procedures by name, without libraries and tests", function()
    equal(names(repository.procedures()), { "boss/update", "encode/release", "encode/rollout" })
  end)

  it("is found by its own folder too", function()
    search(root .. "/procedures")
    equal(repository.roots(), { root })
  end)

  it("takes the earlier of two repositories", function()
    local second = fs.realpath(scratch())
    write(second, "procedures/encode/release.lua", "-- Another.")
    write(second, "procedures/encode/only.lua")
    search(root .. ":" .. second)
    equal(repository.procedure("encode/release").root, root)
    equal(repository.procedure("encode/only").root, second)
  end)

  it("finds a procedure by its file", function()
    equal(repository.procedure(root .. "/procedures/boss/update.lua").name, "boss/update")
  end)

  it("asks for the nearest name, its group given or not", function()
    matches(raises(repository.procedure, "encode/relase").message, "Did you mean 'encode/release'")
    matches(raises(repository.procedure, "relase").message, "Did you mean 'encode/release'")
    matches(raises(repository.procedure, "update").message, "Did you mean 'boss/update'")
    equal(raises(repository.procedure, "mitx/upgrade").message, "no procedure 'mitx/upgrade'.")
  end)

  it("says where it looked when there is nothing", function()
    local empty = scratch()
    search(empty)
    matches(raises(repository.procedure, "encode/release").message, "none at all in " .. empty:gsub("%p", "%%%0"))
  end)

  it("finds an environment in the procedure's group, or by its full name", function()
    equal(repository.environment("lab", "encode").name, "encode/lab")
    equal(repository.environment("boss/lab").name, "boss/lab")
    equal(repository.environment("prod").name, "encode/prod")
  end)

  it("does not take the base that others extend for an environment", function()
    equal(names(repository.environments()), { "boss/lab", "encode/lab", "encode/prod" })
  end)

  it("does not choose between groups", function()
    matches(raises(repository.environment, "lab").message, "boss/lab or encode/lab")
  end)

  it("says what a procedure does by the first line of its head", function()
    equal(repository.summary "-- Releases ENCODE.\n-- More.\n", "Releases ENCODE.")
    equal(repository.summary "--- Rolls out. \n", "Rolls out.")
    equal(repository.summary "phase 'x'", "")
  end)

  it("snapshots what a run can reach, and nothing else", function()
    local files, path = repository.snapshot(repository.procedure "encode/release")
    equal(path, "procedures/encode/release.lua")
    local list = {}
    for name in pairs(files) do list[#list + 1] = name end
    table.sort(list)
    equal(list, { "procedures/encode/files/a.conf", "procedures/encode/lib.lua", "procedures/encode/release.lua",
                  "procedures/encode/rollout.lua", "procedures/lib/shared.lua" })
    equal(files["procedures/encode/files/a.conf"], "conf")
  end)
end)
