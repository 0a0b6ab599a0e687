--- Groups of hosts whose members an environment does not spell out: hosts of ssh_config, or what a program lists. They are
--- asked for once, when a run or a plan begins, and stand in its record from then on.
local fault    = require "native.error"
local fs       = require "native.fs"
local glob     = require "neap.targets.glob"
local process  = require "native.process"
local settings = require "neap.targets.ssh.settings"

local groups = {}

local LIST_TIMEOUT = 60 -- seconds for a program to list its hosts
local DEEPEST = 16      -- files that include files

local function home() return process.user().home end

--- The files that an Include names; a star stands in the last part of a path only.
local function included(word, folder)
  local path = word:gsub("^~/", home() .. "/")
  if path:sub(1, 1) ~= "/" then path = folder .. "/" .. path end
  if not path:find "[*?]" then return { path } end
  local parent, last = path:match "^(.*)/([^/]*)$"
  local files, ok, names = {}, pcall(fs.list, parent)
  for _, name in ipairs(ok and names or {}) do
    if glob.matches(last, name) then files[#files + 1] = parent .. "/" .. name end
  end
  return files
end

--- Calls found(name) for each host that a file and those it includes name without a pattern; each file is read once.
local function each_alias(path, folder, depth, found, seen)
  if depth > DEEPEST or seen[path] then return end
  seen[path] = true
  for line in (settings.read_file(path) or ""):gmatch "[^\n]+" do
    local key, rest = line:match "^%s*(%a+)%s*=?%s*(.-)%s*$"
    key = key and key:lower()
    for word in (rest or ""):gmatch '[^%s"]+' do
      if key == "host" and not word:find "[*?!]" then found(word) end
      if key == "include" then
        for _, file in ipairs(included(word, folder)) do each_alias(file, folder, depth + 1, found, seen) end
      end
    end
  end
end

--- The hosts of this login's and the machine's ssh_config whose names match.
--- @param match string  with * and ?
--- @return table[] entries  { name, ssh }, by name
function groups.of_ssh_config(match)
  local names = {}
  local function found(name)
    if glob.matches(match, name) and not names[name] then
      names[name] = true
      names[#names + 1] = name
    end
  end
  each_alias(home() .. "/.ssh/config", home() .. "/.ssh", 0, found, {})
  each_alias("/etc/ssh/ssh_config", "/etc/ssh", 0, found, {})
  table.sort(names)
  local entries = {}
  for i, name in ipairs(names) do entries[i] = { name = name, ssh = name } end
  return entries
end

--- Whether a policy lets a program be run: by its path, or by its name alone.
--- @param allowed? string[]
--- @param program string
--- @return boolean
function groups.may_run(allowed, program)
  for _, name in ipairs(allowed or {}) do
    if name == program or name == program:match "[^/]*$" then return true end
  end
  return false
end

local function check_may_run(allowed, program)
  if groups.may_run(allowed, program) then return end
  fault.raise { kind = "denied", where = "", message = ("%s may not be run to list hosts"):format(program),
    hint = ("name %s in policy.allow_exec of the environment"):format(program) }
end

--- The hosts that a program lists, one a line: a name, and where it is no name for ssh, an address.
--- @param argv string[]
--- @param allowed? string[]  policy.allow_exec
--- @return table[] entries  { name, ssh }, in the program's order
function groups.of_command(argv, allowed)
  check_may_run(allowed, argv[1])
  local result = process.run(argv, { reads = true, timeout = LIST_TIMEOUT, clear_env = true,
    env = { PATH = process.environ "PATH", HOME = home() } })
  if result.status ~= 0 then
    fault.raise { kind = "remote", where = "", code = result.status, output = result.err,
      message = ("%s lists no hosts (exit status %s)"):format(argv[1], tostring(result.status or result.signal)) }
  end
  local entries = {}
  for line in result.out:gmatch "[^\n]+" do
    local name, address = line:match "^%s*([%w_][%w_.-]*)%s*(%S*)%s*$"
    if name then
      entries[#entries + 1] = { name = name, ssh = address ~= "" and address or name }
    elseif not line:find "^%s*#" and line:find "%S" then
      fault.raise { kind = "protocol", where = "", message = ("%s gives a line that names no host: %q"):format(argv[1],
        line) }
    end
  end
  return entries
end

return groups
