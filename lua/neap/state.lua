--- The folder of an environment's journal, lock and key: shared by its Unix group, or one person's own.
local fault = require "native.error"
local fs    = require "native.fs"
local home  = require "neap.home"

local state = {}

local SHARED = "/var/lib/neap"

--- A lock, and SQLite's write-ahead log, are not to be trusted on these.
local REMOTE = { nfs = true, cifs = true, smb = true, fuse = true, afs = true, ["9p"] = true }

local function private_root()
  local folder = os.getenv "XDG_STATE_HOME"
  if not folder or folder == "" then folder = home() .. "/.local/state" end
  return folder .. "/neap"
end

--- The file of the lines that this login has typed at the REPL: nobody else's, whatever folder a journal lies in.
--- @return string path
function state.typed_lines() return private_root() .. "/typed-lines" end

--- @param mode string  octal, as fs.stat gives it
local function others_may_write(mode) return tonumber(mode, 8) & 2 ~= 0 end

local function refuse(message, hint)
  fault.raise { kind = "denied", message = message, hint = hint }
end

local function check_rights(path)
  local found = fs.stat(path)
  if found and others_may_write(found.mode) then
    refuse(("everybody may write to %s (mode %s)"):format(path, found.mode), "chmod o-w " .. path)
  end
end

--- Raises `denied` when the folder or its key is writable by everybody, or lies on another machine's disk.
--- @param folder string
function state.check(folder)
  check_rights(folder)
  check_rights(folder .. "/key")
  local filesystem = fs.filesystem(folder)
  if REMOTE[filesystem] then
    refuse(("the journal would lie on %s (%s), where locks do not hold"):format(folder, filesystem),
      "set XDG_STATE_HOME to a folder of a local disk")
  end
end

--- Where an environment's state lies, whether or not it is there already.
--- @param environment string  `<group>/<name>`
--- @return string folder
--- @return boolean shared  true: the folder of the whole group; false: this login's own
function state.path(environment)
  local shared = SHARED .. "/" .. environment
  if fs.exists(shared) then return shared, true end
  return private_root() .. "/" .. environment, false
end

local function make(folder)
  local ok, failure = pcall(fs.mkdir, folder, "0700")
  if ok then return end
  if fault.is(failure) then
    failure.state = "Nothing was changed."
    failure.hint = "the journal lies there; XDG_STATE_HOME names another folder, on a local disk"
  end
  error(failure, 0)
end

--- The same, checked, and made where it was not there.
--- @param environment string
--- @return string folder
--- @return boolean shared
function state.folder(environment)
  local folder, shared = state.path(environment)
  if not fs.exists(folder) then make(folder) end
  state.check(folder)
  return folder, shared
end

local function add_known(root, into)
  if not fs.exists(root) then return end
  for _, group in ipairs(fs.list(root)) do
    local found = fs.stat(root .. "/" .. group)
    for _, name in ipairs(found.type == "directory" and fs.list(root .. "/" .. group) or {}) do
      local environment = group .. "/" .. name
      if fs.exists(root .. "/" .. environment .. "/journal.db") and not into[environment] then
        into[environment] = root .. "/" .. environment
        into[#into + 1] = environment
      end
    end
  end
end

--- The environments that have a journal this login can reach.
--- @return table known  names in order, and the folder of each by name
function state.known()
  local known = {}
  add_known(SHARED, known)
  add_known(private_root(), known)
  table.sort(known)
  return known
end

return state
