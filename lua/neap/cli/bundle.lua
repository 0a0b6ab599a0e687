--- `neap doctor --bundle`: one file for whoever helps, of what neap itself shows: secrets are references or marks, and of
--- files that were changed there are names, no contents.
local fs      = require "native.fs"
local history = require "neap.cli.history"
local process = require "native.process"

local LAST = 3 -- runs

--- What each file of the bundle holds: the words of a verb.
local function parts_of(environment)
  local parts = { ["version.txt"] = { "--version" }, ["doctor.json"] = { "doctor", "--json" },
    ["runs.json"] = { "runs", "--json" } }
  if not environment then return parts end
  parts["doctor.json"] = { "doctor", "--env", environment, "--json" }
  parts["environment.txt"] = { "env", "show", environment }
  local count = 0
  for _, run in ipairs(history.all()) do
    if run.environment == environment and count < LAST then
      count = count + 1
      parts[("run-%d.txt"):format(run.run)] = { "log", tostring(run.run), "--env", environment, "--all" }
    end
  end
  return parts
end

local function said(words)
  local argv = { process.executable(), table.unpack(words) }
  argv[#argv + 1] = words[1] ~= "--version" and "--no-input" or nil
  local result = process.run(argv, { reads = true, timeout = 120 })
  return ("%s%s(exit status %s)\n"):format(result.out, result.err, tostring(result.status))
end

--- Writes the bundle, for its owner alone.
--- @param path string
--- @param environment? string  full name
--- @return string[] names  of what is in it
return function(path, environment)
  local folder = fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/neap-bundle-")
  local names = {}
  for name, words in pairs(parts_of(environment)) do
    fs.write(folder .. "/" .. name, said(words))
    names[#names + 1] = name
  end
  table.sort(names)
  local packed = process.run({ "sh", "-c", 'umask 077 && exec tar -czf "$1" -C "$2" .', "tar", path, folder },
    { reads = true, timeout = 60 })
  fs.remove_tree(folder)
  if packed.status ~= 0 then
    require "native.error".raise { kind = "denied", message = ("%s was not written"):format(path), output = packed.err }
  end
  return names
end
