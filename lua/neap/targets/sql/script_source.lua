--- Where a script lies: in the procedure's repository (the run's snapshot of it), on the jump server, or on a host.
--- What it includes lies beside it or deeper.
local crypto = require "native.crypto"
local fault  = require "native.error"
local fs     = require "native.fs"
local hosts  = require "neap.targets.connection"
local task   = require "native.task"

local source = {}

local PIECE = 256 * 1024 -- bytes read at once

--- @class (exact) neap.sql_source
--- @field at "repository"|"local"|"host"|"text"
--- @field host? string
--- @field path string  below the repository, or absolute
--- @field root string  the folder below which it and what it includes lie
--- @field name string  for messages
--- @field text? string  instead of a file

local function refuse(message, ...) fault.raise { kind = "denied", message = message:format(...) } end

--- A path without `.` and `..`; nil where it leaves the folder it starts from.
local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      if #parts == 0 then return nil end
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return (path:sub(1, 1) == "/" and "/" or "") .. table.concat(parts, "/")
end

local function folder_of(path) return path:match "^(.*)/[^/]*$" or "" end

local function in_repository(file)
  local path = file:find "^procedures/" and file or folder_of(task.context().run.path) .. "/" .. file
  path = normal(path)
  if not path or not path:find "^procedures/" then refuse("%s lies outside the procedures of its repository", file) end
  return { at = "repository", path = path, root = "procedures", name = path }
end

--- What a script is given as: a file of the repository, beside the procedure or as "procedures/…"; an absolute path on
--- the jump server; or { host, path }. Raises a mistake for anything else.
--- @param file string|table
--- @param level integer  as error counts
--- @return neap.sql_source
function source.of(file, level)
  local host, path = nil, file
  if type(file) == "table" then
    host, path = file[1] or file.host, file[2] or file.path
    if host == nil or type(path) ~= "string" or path:sub(1, 1) ~= "/" then
      error("a script on a host is { host, \"/its/path\" }", level + 1)
    end
  elseif type(file) ~= "string" or file == "" then
    error("a script is a file's name", level + 1)
  end
  if not host and path:sub(1, 1) ~= "/" then return in_repository(path) end
  path = normal(path) or error(("%q is no path"):format(path), level + 1)
  local name = host and hosts.name(host)
  local is_local = not name or name == "local"
  return { at = is_local and "local" or "host", host = not is_local and name or nil, path = path,
    root = folder_of(path), name = (is_local and "" or name .. ":") .. path }
end

--- The script that another one includes. Raises kind `denied` where it lies outside the folder of the first.
--- @param from neap.sql_source  the including one
--- @param folder string         that a relative path starts from
--- @param path string
--- @return neap.sql_source
function source.beside(from, folder, path)
  if from.text then refuse("%s, which is a text, includes no file", from.name) end
  local full = normal(path:sub(1, 1) == "/" and path or folder .. "/" .. path)
  if not full or full:sub(1, #from.root + 1) ~= from.root .. "/" then
    refuse("%s includes %s, which lies outside %s", from.name, path, from.root)
  end
  return { at = from.at, host = from.host, path = full, root = from.root,
    name = (from.host and from.host .. ":" or "") .. full }
end

--- The folder that a script's own relative paths start from.
--- @param from neap.sql_source
--- @return string
function source.folder(from) return folder_of(from.path) end

-- ---- bytes ----

local function missing(from)
  fault.raise { kind = "missing", host = from.host, message = ("there is no script %s"):format(from.name),
    hint = from.at == "repository" and "it lies in the folder of the procedure's group, and is committed there" or nil }
end

local function whole(text)
  return function()
    local piece = text
    text = nil
    return piece
  end, function() end
end

local function state_of(path)
  local found = fs.stat(path)
  return found and ("%d %d %s"):format(found.inode, found.size, found.mtime)
end

--- A file that somebody writes to meanwhile would be carried out as it never was.
local function pieces(from)
  local real = fs.exists(from.path) and fs.realpath(from.path) or missing(from)
  if real:sub(1, #from.root + 1) ~= fs.realpath(from.root == "" and "/" or from.root) .. "/" then
    refuse("%s leads out of %s", from.path, from.root)
  end
  local state, file = state_of(real), io.open(real, "rb")
  if not file then refuse("%s cannot be read", from.path) end
  return function()
    local piece = file:read(PIECE)
    if state_of(real) ~= state then
      fault.raise { kind = "conflict", message = ("%s is being changed while it is read"):format(from.path) }
    end
    return piece
  end, function() file:close() end
end

--- A reader of the script's bytes, and what ends it.
--- @param from neap.sql_source
--- @return fun(): string? read
--- @return fun() close
function source.open(from)
  if from.text then return whole(from.text) end
  if from.at == "repository" then return whole(task.context().run.files[from.path] or missing(from)) end
  if from.at == "local" then return pieces(from) end
  return whole(hosts.files(from.host, false):read(from.path) or missing(from))
end

--- The SHA-256 of a script.
--- @param from neap.sql_source
--- @return string
function source.sha256(from)
  local hasher, read, close = crypto.hasher(), source.open(from)
  local ok, failure = pcall(function()
    for piece in read do hasher:update(piece) end
  end)
  close()
  if not ok then error(failure, 0) end
  return hasher:hex()
end

return source
