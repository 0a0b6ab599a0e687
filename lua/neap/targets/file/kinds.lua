--- The kinds of effect on files: what can be read of a file's state, and how a state is put there.
---
--- States name owners as the host does; modes are texts as "0644". Nothing here follows a link. What one act of the
--- file protocol cannot do whole is done by a witnessed command, so that a late call is shut out like any other.
local accounts = require "neap.targets.accounts"
local effect   = require "neap.engine.effect"
local fault    = require "native.error"
local hosts    = require "neap.targets.connection"
local secret   = require "native.secret"
local shell    = require "neap.targets.shell"
local stages   = require "neap.targets.file.stage"
local witness  = require "neap.targets.witness"

local kinds = {}

local LONG = 3600 -- seconds a transfer may take
local READS_IN_A_ROW = 3

local function files_of(target) return hosts.files(target.host, target.become) end

local function refuse(target, kind, message, hint)
  fault.raise { kind = kind, host = target.host, hint = hint,
    message = ("%s on %s %s"):format(target.path, target.host, message) }
end

local function show(target) return target.host .. " " .. target.path end

local WITH_ARTICLE = { link = "is a link", directory = "is a directory", other = "is no plain file",
  file = "is a file" }

local function same_file(a, b) return a.size == b.size and a.mtime == b.mtime and a.mode == b.mode
  and a.uid == b.uid end

--- What is at the path, with owner and group by name; nil if nothing is. A link is described, not followed.
--- @param target { host: string, path: string, become: string|false }
--- @return table?
function kinds.look(target)
  local found = files_of(target):lstat(target.path)
  if not found then return nil end
  return { type = found.type, size = found.size, mode = found.mode, mtime = found.mtime,
    owner = accounts.name(target.host, "user", found.uid), group = accounts.name(target.host, "group", found.gid) }
end

--- The same, nil or of the wanted type; else raises kind `conflict`.
local function look_for(target, type)
  local found = kinds.look(target)
  if found and found.type ~= type then
    refuse(target, "conflict", WITH_ARTICLE[found.type] .. (", not a %s"):format(type), "name what the link leads to")
  end
  return found
end

local function owner_numbers(target, state)
  return accounts.number(target.host, "user", state.owner), accounts.number(target.host, "group", state.group)
end

local function folder_of(path) return path:match("^(.+)/[^/]+$") or "/" end

--- The name beside the file under which an effect prepares its new content.
local function temporary_name(path, id) return (".%s.neap-%s"):format(path:match("[^/]+$"):sub(1, 200), id) end

local function temporary_path(path, id) return (folder_of(path) .. "/"):gsub("^//", "/") .. temporary_name(path, id) end

--- Where others may write, they may put a link in our way while we act for somebody else.
local function check_folder(target)
  if not target.become then return end
  local folder = folder_of(target.path)
  local found = files_of(target):stat(folder)
  if found and tonumber(found.mode, 8) & 2 ~= 0 then
    local message = "lies in %s, where anybody may write: nothing is put there as %s"
    refuse(target, "denied", message:format(folder, target.become))
  end
end

-- ---- what more than bytes a file has ----

local BEYOND = [[
stat -c %%h -- %s || exit 0
ls -ld -- %s | cut -c 11
command -v getfattr >/dev/null && getfattr -h -m - -- %s 2>/dev/null
exit 0]]

--- { links = n, more = whether it has a list of rights, a label or attributes }. What the host has no tool for is not
--- seen.
local function beyond(target)
  local path = shell.quote(target.path)
  local out = hosts.exec(target.host, BEYOND:format(path, path, path), { become = target.become, reads = true }).out
  local links, mark, attributes = out:match("^(%d+)\n([^\n]?)\n(.*)$")
  if not links then return { links = 1, more = false } end
  return { links = tonumber(links), more = mark == "+" or mark == "." or mark == "@" or attributes ~= "" }
end

local function check_links(target, found)
  if found.links > 1 then
    local message = "is one of %d hard links to its content: to replace it would part them"
    refuse(target, "conflict", message:format(found.links))
  end
end

-- ---- file.content ----

local function read_content(target)
  for _ = 1, READS_IN_A_ROW do
    local before = look_for(target, "file")
    if not before then return nil end
    local ok, content = pcall(function() return files_of(target):read(target.path) end)
    local after = kinds.look(target)
    if ok and after and same_file(before, after) then return content, after end
    if not ok and not fault.is(content, "missing") then error(content, 0) end
  end
  refuse(target, "conflict", "changes while it is being read")
end

local function get_content(target)
  local content, found = read_content(target)
  if not content then return nil end
  if effect.planning() then check_links(target, beyond(target)) end
  return { content = content, mode = found.mode, owner = found.owner, group = found.group }
end

--- A file protocol's server says only "failure" where there is no room.
local function explain_failure(target, state, failure)
  if not fault.is(failure, "remote") then error(failure, 0) end
  local asked, answer = pcall(hosts.exec, target.host, { "df", "-Pk", "--", folder_of(target.path) },
    { become = target.become, reads = true })
  local free = asked and answer.out:match("\n%S+%s+%d+%s+%d+%s+(%d+)")
  local size = secret.size(state.content)
  if free and tonumber(free) * 1024 < size then
    failure.message = ("%s on %s was not written: it needs %d bytes, and %s KiB are free there"):format(target.path,
      target.host, size, free)
  end
  error(failure, 0)
end

local function write(target, state, call)
  local uid, gid = owner_numbers(target, state)
  local ok, failure = pcall(function()
    files_of(target):write(target.path, state.content, { temporary = temporary_name(target.path, call.witness),
      mode = state.mode, uid = uid, gid = gid, timeout = call.timeout })
  end)
  if not ok then explain_failure(target, state, failure) end
end

--- Into a copy that has all the file has, which then takes its place.
local function write_copy(target, state, call)
  local path = shell.quote(target.path)
  local temporary = shell.quote(temporary_path(target.path, call.witness))
  local lines = { ("cp --preserve=all -- %s %s && cat >%s || fail=1"):format(path, temporary, temporary) }
  local before = call.before
  if before.owner ~= state.owner or before.group ~= state.group then
    lines[#lines + 1] = ("chown -- %s %s || fail=1"):format(shell.quote(state.owner .. ":" .. state.group), temporary)
  end
  if before.mode ~= state.mode then lines[#lines + 1] = ("chmod -- %s %s || fail=1"):format(state.mode, temporary) end
  lines[#lines + 1] = ("[ -z \"$fail\" ] && sync %s && exec mv -T -- %s %s"):format(temporary, temporary, path)
  lines[#lines + 1] = ("rm -f -- %s; exit 1"):format(temporary)
  witness.run(target.host, call, "fail=\n" .. table.concat(lines, "\n"),
    { become = target.become, input = state.content, timeout = call.timeout })
end

--- Takes a file away.
--- @param target { host: string, path: string, become: string|false }
--- @param call table
function kinds.remove_file(target, call)
  witness.run(target.host, call, { "rm", "--", target.path }, { become = target.become, timeout = call.timeout })
end

local function put_content(target, state, call)
  if not state then
    kinds.remove_file(target, call)
    return
  end
  check_folder(target)
  local more = call.before and beyond(target)
  if more then check_links(target, more) end
  if more and more.more then return write_copy(target, state, call) end
  write(target, state, call)
end

--- For what may have been done by a command or by the file protocol: neither can go on after it.
local function take_both(target, id, intent)
  if witness.take(target, id, intent, "any") == "running" then return "running", "a command still runs" end
  local path = temporary_path(target.path, id)
  local left = files_of(target):lstat(path)
  if left and left.type ~= "directory" then
    local ok, failure = pcall(function() files_of(target):remove(path) end)
    if not ok and not fault.is(failure, "missing") then error(failure, 0) end
  end
end

--- Puts a file of this machine there, whole or not at all, with those rights.
--- @param target { host: string, path: string, become: string|false }
--- @param from string  its path here
--- @param state { mode: string, owner: string, group: string }
--- @param call table
function kinds.put_file(target, from, state, call)
  check_folder(target)
  local uid, gid = owner_numbers(target, state)
  files_of(target):upload(from, target.path, { temporary = temporary_name(target.path, call.witness), mode = state.mode,
    uid = uid, gid = gid, timeout = call.timeout })
end

--- The `take` of what may have been done by either of these two.
--- @param target table
--- @param id string
--- @param intent table
function kinds.take_file(target, id, intent) return take_both(target, id, intent) end

--- What is at the path, nil or a file; else raises kind `conflict`.
--- @param target { host: string, path: string, become: string|false }
--- @return table?
function kinds.look_for_file(target) return look_for(target, "file") end

local function take_command(target, id, intent)
  if witness.take(target, id, intent, "any") == "running" then return "running", "a command still runs" end
end

--- A plain file: { content, mode, owner, group }, nil where there is none.
effect.resource "file.content" {
  prepare = witness.prepare, get = get_content, put = put_content, take = take_both, release = witness.release,
  show = show, timeout = LONG,
}

-- ---- file.mode ----

local function run_lines(target, call, lines)
  if #lines == 0 then return end
  witness.run(target.host, call, table.concat(lines, " && "), { become = target.become, timeout = call.timeout })
end

local function rights_of(found) return found and { mode = found.mode, owner = found.owner, group = found.group } end

--- The lines that give a path its owner and mode, in this order: a change of owner drops bits of the mode.
local function rights_lines(target, state)
  local uid, gid = owner_numbers(target, state)
  local path = shell.quote(target.path)
  return { ("chown -h -- %d:%d %s"):format(uid, gid, path), ("chmod -- %s %s"):format(state.mode, path) }
end

--- Mode, owner and group of a file or directory that is there: { mode, owner, group }.
effect.resource "file.mode" {
  prepare = witness.prepare,
  get = function(target)
    local found = kinds.look(target)
    if found and found.type ~= "file" and found.type ~= "directory" then refuse(target, "conflict",
      WITH_ARTICLE[found.type]) end
    return rights_of(found)
  end,
  put = function(target, state, call)
    if not state then refuse(target, "conflict", "was not there: there is no mode to put back") end
    run_lines(target, call, rights_lines(target, state))
  end,
  take = take_command, release = witness.release, show = show,
}

-- ---- file.directory ----

local function put_directory(target, state, call)
  if not state then return run_lines(target, call, { "rmdir -- " .. shell.quote(target.path) }) end
  check_folder(target)
  local lines = rights_lines(target, state)
  if not call.before then table.insert(lines, 1, "mkdir -m 0700 -- " .. shell.quote(target.path)) end
  run_lines(target, call, lines)
end

--- A directory: { mode, owner, group }, nil where there is none. Only an empty one can be taken away.
effect.resource "file.directory" {
  prepare = witness.prepare,
  get = function(target) return rights_of(look_for(target, "directory")) end,
  put = put_directory,
  take = take_command, release = witness.release, show = show,
}

-- ---- file.place ----

--- The SHA-256 of a file's content, in hexadecimal.
--- @param target { host: string, path: string, become: string|false }
--- @return string
function kinds.sha256(target)
  local out = hosts.exec(target.host, { "sha256sum", "--", target.path }, { become = target.become, reads = true }).out
  return out:match("^\\?(%x+)")
end

local function at(target, path) return { host = target.host, path = path, become = target.become } end

--- Where the thing is: { at = "from"|"to"|"both", type, sha256 of a file }, nil where it is at neither.
local function get_place(target)
  local from, to = at(target, target.from), at(target, target.to)
  local there, here = kinds.look(from), kinds.look(to)
  if there and here then return { at = "both" } end
  local found = there or here
  if not found then return nil end
  return { at = there and "from" or "to", type = found.type, sha256 = found.type == "file" and kinds.sha256(there
    and from or to) or nil }
end

effect.resource "file.place" {
  prepare = witness.prepare,
  get = get_place,
  put = function(target, state, call)
    local from, to = target.from, target.to
    if state.at == "from" then from, to = to, from end
    witness.run(target.host, call, { "mv", "-T", "-n", "--", from, to }, { become = target.become,
      timeout = call.timeout })
  end,
  take = take_command, release = witness.release, timeout = LONG,
  show = function(target) return ("%s %s to %s"):format(target.host, target.from, target.to) end,
  text = function(state) return state.at end,
}

-- ---- file.tree ----

local LISTING = [=[
cd -- %s || exit
find . ! -type f ! -type d | head -n 1
echo =
LC_ALL=C find . -name '*[[:cntrl:]]*' | head -n 1
echo =
find . \( -type d -o -type f \) -exec stat -c '%%F %%a %%n' {} +
echo =
find . -type f -exec sha256sum {} +]=]

local function normal_mode(text) return ("%04o"):format(tonumber(text, 8) & 511) end

local function parse_listing(target, out)
  local odd, control, entries, sums = out:match("^(.-)=\n(.-)=\n(.-)\n=\n(.*)$")
  if odd ~= "" then refuse(target, "conflict", "holds what is neither file nor directory: " .. odd:match("[^\n]*")) end
  if control ~= "" then refuse(target, "conflict", "holds a name with control characters") end
  local tree = {}
  for class, mode, name in (entries .. "\n"):gmatch("(%l[%l ]-) (%d+) (%.[^\n]*)\n") do
    tree[name] = { type = class == "directory" and "directory" or "file", mode = normal_mode(mode) }
  end
  for sum, name in sums:gmatch("\\?(%x+)  ([^\n]+)\n") do
    name = name:gsub("\\\\", "\\")
    if tree[name] then tree[name].sha256 = sum end
  end
  return tree
end

--- All that lies in a directory, by path from it: { type, mode, sha256 of a file }. nil where it is not there. Raises
--- kind `conflict` where something in it is neither file nor directory.
--- @param target { host: string, path: string, become: string|false }
--- @return table<string, table>?
function kinds.tree(target)
  if not look_for(target, "directory") then return nil end
  local out = hosts.exec(target.host, LISTING:format(shell.quote(target.path)),
    { become = target.become, reads = true, timeout = LONG }).out
  return parse_listing(target, out)
end

--- Whether two trees are the same; if not, a path at which they differ.
--- @return boolean same
--- @return string? path
function kinds.same_tree(a, b)
  for name, entry in pairs(a) do
    local other = b[name]
    if not other or other.type ~= entry.type or other.mode ~= entry.mode or other.sha256 ~= entry.sha256 then
      return false, name
    end
  end
  for name in pairs(b) do
    if not a[name] then return false, name end
  end
  return true
end

--- The copy that took shape beside its place; made whole before it is moved there.
local function copy_beside(target, tree, temporary, timeout)
  stages.with("copy", function(stage)
    hosts.files(target.from.host, target.from.become):download_tree(target.from.path, stage, { timeout = timeout })
    files_of(target):upload_tree(stage, temporary, { timeout = timeout })
  end)
  files_of(target):setstat(temporary, { mode = tree["."].mode }) -- the stage is for nobody else, the copy as its origin
  local same, name = kinds.same_tree(tree, kinds.tree(at(target, temporary)))
  if same then return end
  fault.raise { kind = "conflict", host = target.from.host,
    message = ("%s in %s on %s changed while it was copied"):format(name, target.from.path, target.from.host),
    hint = "copy what is not written to any more" }
end

local function remove_beside(target, id)
  local temporary = temporary_path(target.path, id)
  hosts.exec(target.host, { "rm", "-rf", "--", temporary }, { become = target.become })
end

local function put_tree(target, tree, call)
  if not tree then
    witness.run(target.host, call, { "rm", "-rf", "--", target.path }, { become = target.become,
      timeout = call.timeout })
    return
  end
  check_folder(target)
  local temporary = temporary_path(target.path, call.witness)
  local ok, failure = pcall(copy_beside, target, tree, temporary, call.timeout)
  if not ok then
    pcall(remove_beside, target, call.witness)
    error(failure, 0)
  end
  witness.run(target.host, call, { "mv", "-T", "-n", "--", temporary, target.path },
    { become = target.become, timeout = call.timeout })
end

local function tree_text(tree)
  local lines = {}
  for name, entry in pairs(tree) do
    lines[#lines + 1] = ("%s %s %s"):format(entry.mode, entry.sha256 or ("-"):rep(64), name)
  end
  table.sort(lines, function(a, b) return a:sub(71) < b:sub(71) end)
  return table.concat(lines, "\n") .. "\n"
end

--- A directory with all that lies in it, as kinds.tree has it; target.from says whence it comes. It appears whole or
--- not at all, and is taken away only while nobody has changed anything in it.
effect.resource "file.tree" {
  prepare = witness.prepare,
  get = kinds.tree,
  put = put_tree,
  take = function(target, id, intent)
    if witness.take(target, id, intent, "any") == "running" then return "running", "a command still runs" end
    remove_beside(target, id)
  end,
  release = witness.release, timeout = LONG, text = tree_text,
  show = function(target)
    return ("%s %s, a copy of %s on %s"):format(target.host, target.path, target.from.path, target.from.host)
  end,
}

return kinds
