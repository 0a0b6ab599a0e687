--- Files and directories on hosts: what can be read of them, and what can be changed. Changes are exact about bytes,
--- mode, owner and group, and a rollback restores them so. Links are never followed: name the file itself.
local accounts = require "neap.targets.accounts"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local hosts    = require "neap.targets.connection"
local kinds    = require "neap.targets.file.kinds"
local lines    = require "neap.targets.file.line"
local rights   = require "neap.targets.file.rights"
local secret   = require "native.secret"
local shell    = require "neap.targets.shell"

local file = {}

--- @class (exact) neap.change_options
--- @field become? string|false  the user to act as; false: the login itself
--- @field keep? string          why a rollback leaves it
--- @field irreversible? string  why there is no way back behind it
--- @field timeout? number       seconds

--- @class (exact) neap.file_options: neap.change_options
--- @field mode? string          as "0644"
--- @field owner? string
--- @field group? string

local CHANGE_OPTIONS = { become = true, keep = true, irreversible = true, timeout = true }
local RIGHTS_OPTIONS = { become = true, keep = true, irreversible = true, timeout = true, mode = true, owner = true,
  group = true }
local READ_OPTIONS = { become = true }

--- The target of a word, and its checked options.
local function target_of(host, path, options, names)
  options = shell.check_options(options, names, 3)
  rights.check(options, 3)
  path = rights.check_path(path, 3)
  return { host = hosts.name(host), path = path, become = hosts.become(host, options.become) }, options
end

local function change(kind, target, options, new_state)
  return effect.change(kind, target, new_state,
    { keep = options.keep, irreversible = options.irreversible, timeout = options.timeout })
end

local function refuse_missing(target)
  fault.raise { kind = "missing", host = target.host, message = ("%s is not there on %s"):format(target.path,
    target.host) }
end

local function is_text(value) return type(value) == "string" or secret.is(value) end

-- ---- changes ----

--- Makes a file hold this text. Mode, owner and group not given stay as they are; a new file is "0644" and belongs to
--- the user that writes it.
--- @param host string|table
--- @param path string
--- @param text string|native.secret.value
--- @param options? neap.file_options
--- @return { content: string, mode: string, owner: string, group: string }
function file.write(host, path, text, options)
  local target
  target, options = target_of(host, path, options, RIGHTS_OPTIONS)
  if not is_text(text) then error("file.write writes a text, not a " .. type(text), 2) end
  return change("file.content", target, options, function(before)
    return rights.with({ content = text }, target, before, options, "0644")
  end)
end

--- Changes the text of a file that is there by a pure function. Raises kind `missing` where it is not.
--- @param host string|table
--- @param path string
--- @param edit fun(text: string): string
--- @param options? neap.file_options
--- @return { content: string, mode: string, owner: string, group: string }
function file.edit(host, path, edit, options)
  local target
  target, options = target_of(host, path, options, RIGHTS_OPTIONS)
  return change("file.content", target, options, function(before)
    if not before then refuse_missing(target) end
    local text = edit(before.content)
    if not is_text(text) then error("an edit returns the new text, not a " .. type(text), 0) end
    return rights.with({ content = text }, target, before, options)
  end)
end

local function check_line(line)
  if type(line) ~= "string" or line:find("[\n\0]") then error("a line is a text without a line end", 3) end
end

--- Makes sure that a file has this line: at its end, if it has it nowhere.
--- @param host string|table
--- @param path string
--- @param line string  without a line end
--- @param options? table  as of file.edit
function file.line(host, path, line, options)
  check_line(line)
  return file.edit(host, path, function(text) return lines.added(text, line) end, options)
end

--- Makes sure that a file has this line nowhere.
--- @param host string|table
--- @param path string
--- @param line string  without a line end
--- @param options? table  as of file.edit
function file.absent_line(host, path, line, options)
  check_line(line)
  return file.edit(host, path, function(text) return lines.removed(text, line) end, options)
end

--- Takes a file away, if it is there. A rollback puts it back as it was.
--- @param host string|table
--- @param path string
--- @param options? neap.change_options
function file.remove(host, path, options)
  local target
  target, options = target_of(host, path, options, CHANGE_OPTIONS)
  change("file.content", target, options, function() return nil end)
end

local function refuse_move(target, message)
  fault.raise { kind = "conflict", host = target.host, message = message:format(target.from, target.to, target.host) }
end

--- Moves a file or directory to a place where nothing is. Raises kind `conflict` where something is, `missing` where
--- there is nothing to move. What was moved already stays.
--- @param host string|table
--- @param from string
--- @param to string
--- @param options? neap.change_options
function file.move(host, from, to, options)
  local target
  target, options = target_of(host, from, options, CHANGE_OPTIONS)
  target = { host = target.host, from = from, to = rights.check_path(to, 2), become = target.become }
  change("file.place", target, options, function(before)
    if not before then
      fault.raise { kind = "missing", host = target.host,
        message = ("neither %s nor %s is there on %s"):format(from, to, target.host) }
    end
    if before.at == "both" then refuse_move(target, "%s is not moved to %s on %s: something is there already") end
    return { at = "to", type = before.type, sha256 = before.sha256 }
  end)
end

--- Gives a file or directory that is there another mode, owner or group.
--- @param host string|table
--- @param path string
--- @param options neap.file_options
--- @return { mode: string, owner: string, group: string }
function file.mode(host, path, options)
  local target
  target, options = target_of(host, path, options, RIGHTS_OPTIONS)
  return change("file.mode", target, options, function(before)
    if not before then refuse_missing(target) end
    return rights.with({}, target, before, options)
  end)
end

--- Makes sure that a directory is there, in one that is. A new one is "0755" and belongs to the user that makes it; a
--- rollback takes it away if it is empty.
--- @param host string|table
--- @param path string
--- @param options? neap.file_options
--- @return { mode: string, owner: string, group: string }
function file.directory(host, path, options)
  local target
  target, options = target_of(host, path, options, RIGHTS_OPTIONS)
  return change("file.directory", target, options, function(before)
    return rights.with({}, target, before, options, "0755")
  end)
end

local read_tree = effect.read("file.tree", function(target)
  local tree = kinds.tree(target)
  if not tree then refuse_missing(target) end
  return tree
end)

local COPY_OPTIONS = { become = true, become_from = true, keep = true, irreversible = true, timeout = true }

--- Copies a directory, with each file's checksum compared, to a place where nothing is: it appears whole or not at all.
--- Modes come along without setuid bits, owners do not. A rollback takes the copy away while nobody has changed
--- anything in it. `become` is for the copy's host, `become_from` for the other.
--- @param from_host string|table
--- @param from_path string
--- @param to_host string|table
--- @param to_path string
--- @param options? table  of neap.change_options, and become_from
function file.copy_tree(from_host, from_path, to_host, to_path, options)
  local target
  target, options = target_of(to_host, to_path, options, COPY_OPTIONS)
  local source = { host = hosts.name(from_host), path = rights.check_path(from_path, 2),
    become = hosts.become(from_host, options.become_from) }
  target.from = source
  local tree = read_tree(source)
  change("file.tree", target, options, function(before)
    if before and not kinds.same_tree(before, tree) then
      fault.raise { kind = "conflict", host = target.host,
        message = ("%s is not copied to %s on %s: something is there already"):format(from_path, to_path, target.host) }
    end
    return tree
  end)
end

-- ---- reads ----

local look = effect.read("file.stat", function(target) return kinds.look(target) end)

local list = effect.read("file.list", function(target)
  local entries = {}
  for i, entry in ipairs(hosts.files(target.host, target.become):list(target.path)) do
    entries[i] = { name = entry.name, type = entry.type, size = entry.size, mode = entry.mode, mtime = entry.mtime,
      owner = accounts.name(target.host, "user", entry.uid), group = accounts.name(target.host, "group", entry.gid) }
  end
  return entries
end)

local sha256 = effect.read("file.sha256", function(target) return kinds.sha256(target) end)

--- The text of a file, of at most 64 MiB; in a plan, as earlier planned changes of it leave it. Raises kind `missing` where
--- there is none.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return string
function file.read(host, path, options)
  local target = target_of(host, path, options, READ_OPTIONS)
  local state = effect.state("file.content", target)
  if not state then refuse_missing(target) end
  return state.content
end

--- What is at a path: type ("file", "directory", "link", "other"), size, mode, owner, group, mtime (seconds since
--- 1970). nil where nothing is; of a link itself.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return table?
function file.stat(host, path, options) return look((target_of(host, path, options, READ_OPTIONS))) end

--- Whether anything is at a path.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return boolean
function file.exists(host, path, options) return look((target_of(host, path, options, READ_OPTIONS))) ~= nil end

--- What lies in a directory, by name: entries as of file.stat, and `name`.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return table[]
function file.list(host, path, options) return list((target_of(host, path, options, READ_OPTIONS))) end

--- The SHA-256 of a file's content, in hexadecimal.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return string
function file.sha256(host, path, options) return sha256((target_of(host, path, options, READ_OPTIONS))) end

return file
