--- What is known of commits before they are made: the tree that a commit of files would have, how two commits stand to
--- each other, what merges, and how a plan shows it. It changes nothing: new objects and the index lie in a folder of
--- their own that is gone at the end of each look. A commit that a plan withholds has a placeholder in place of its name.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local program = require "neap.targets.git.program"
local secret  = require "native.secret"
local shell   = require "neap.targets.shell"

local plans = {}

local SHOWN = 50 -- commits, and lines of a diff's summary

--- What this process's plan knows beside the engine's overlay.
local function memory()
  local kept = hosts.memory "local"
  kept.git = kept.git or { commits = {}, texts = {}, shadows = {}, fetched = {}, count = 0 }
  return kept.git
end

--- A read within a run; in a plan the same look without the rule that nobody asks a host with planned changes: what is
--- asked for is of commits that are there, or of what the overlay knows.
local function look(name, fn)
  local read = effect.read(name, fn)
  return function(...) return (effect.planning() and fn or read)(...) end, fn
end

local function unknown(after) fault.raise { kind = "unknown", message = "known after " .. after, after = after } end

--- Whether that is the name of a commit, and no placeholder.
--- @param id string
--- @return boolean
function plans.is_real(id) return id:find "^%x+$" ~= nil end

local function commit_of(id) return memory().commits[id] end

--- Ends the plan of this step: it depends on a commit that is not made yet.
--- @param id string  a placeholder
function plans.refuse(id) unknown(commit_of(id) and commit_of(id).after or "an earlier step") end

--- A name for a commit that is not made yet.
--- @param result any  what effect.perform returned
--- @param commit { parents: string[], tree: string?, base: string?, changes: table?, subject: string, files: string[]? }
--- @return string
function plans.placeholder(result, commit)
  local kept = memory()
  local known_after = tostring(result)
  commit.after = known_after:match "known after ([^>]*)"
  local name = ("%s %q"):format(known_after, commit.subject)
  if kept.commits[name] then
    kept.count = kept.count + 1
    name = ("%s (%d)"):format(name, kept.count + 1)
  end
  kept.commits[name] = commit
  return name
end

local function remote_key(target, remote) return table.concat({ target.host, target.repo, remote }, "\n") end

--- Notes in a plan that what a remote has will have been fetched.
--- @param target table
--- @param remote string
function plans.note_fetch(target, remote)
  if effect.planning() then memory().fetched[remote_key(target, remote)] = true end
end

--- @param target table
--- @param remote string
--- @return boolean
function plans.is_fetched(target, remote) return memory().fetched[remote_key(target, remote)] == true end

-- ---- how two commits stand to each other ----

local RELATION = [=[
for id in "$old" "$new"; do git cat-file -e "$id" 2>/dev/null || { echo unknown; exit; }; done
if git merge-base --is-ancestor "$old" "$new"; then echo ahead
elif git merge-base --is-ancestor "$new" "$old"; then echo behind
else echo diverged; fi
]=]

local real_relation, relation_now = look("git.relation", function(target, old, new)
  return program.ask(target, "compare commits", { old = old, new = new }, RELATION):match "%l+"
end)

--- The placeholders from a commit back, and the commits that are there under them.
local function ancestry(id)
  local made, real = {}, {}
  local function visit(one)
    if plans.is_real(one) then
      real[#real + 1] = one
    elseif not made[one] then
      made[one] = true
      for _, parent in ipairs(commit_of(one) and commit_of(one).parents or {}) do visit(parent) end
    end
  end
  visit(id)
  return made, real
end

local function comes_after(target, old, new)
  local made, real = ancestry(new)
  if made[old] then return true end
  if not plans.is_real(old) then return false end
  for _, id in ipairs(real) do
    if id == old or real_relation(target, old, id) == "ahead" then return true end
  end
  return false
end

--- How `new` stands to `old`: "same", "ahead" (it holds it), "behind", "diverged", or "unknown" where one is not here.
--- @param target table
--- @param old string
--- @param new string
--- @param within_change? boolean  it is asked while a change's new state is made, which records nothing
--- @return string
function plans.relation(target, old, new, within_change)
  if old == new then return "same" end
  if plans.is_real(old) and plans.is_real(new) then
    return (within_change and relation_now or real_relation)(target, old, new)
  end
  if comes_after(target, old, new) then return "ahead" end
  return comes_after(target, new, old) and "behind" or "diverged"
end

-- ---- the tree of a commit to be ----

local ASIDE = [=[
objects=$(cd "$(git rev-parse --git-path objects)" && pwd -P) || exit
t=$(mktemp -d) || exit
trap 'rm -rf "$t"' EXIT
mkdir -p "$t/objects/info" && printf '%s\n' "$objects" >"$t/objects/info/alternates" || exit
export GIT_OBJECT_DIRECTORY="$t/objects" GIT_INDEX_FILE="$t/index"
]=]

local ADD = [=[
add() { git --literal-pathspecs add -A -- "$1" || exit; }
add_if_there() { [ ! -e "$1" ] && [ -z "$(git --literal-pathspecs ls-files -- "$1")" ] || add "$1"; }
content() {
  IFS= read -r line
  blob=$(printf %s "$line" | base64 -d | git hash-object -w --stdin --path "$2") &&
    git update-index --add --cacheinfo "$1,$blob,$2" || exit
}
taken() {
  printf '%s %s\t%s\0' "$1" "$2" "$3" | git update-index -z --index-info || exit
}
git read-tree "$base" || exit
]=]

local TREE_END = [=[
git write-tree --missing-ok || exit
git diff-index --cached --shortstat --no-renames "$base" 2>/dev/null
echo =
git diff-index --cached --raw --no-abbrev --no-renames -z "$base"
]=]

--- The planned contents of files below these paths: { path, content, mode }, content nil where one is taken away.
local function planned_files(target, paths)
  local list, prefix = {}, target.repo .. "/"
  for _, kind in ipairs { "file.place", "file.tree", "file.directory", "file.mode" } do
    for _, one in ipairs(effect.planned(kind)) do
      local path = one.target.path or one.target.to
      if one.target.host == target.host and kind ~= "file.directory" and path:sub(1, #prefix) == prefix then
        unknown "the files have been moved"
      end
    end
  end
  for _, one in ipairs(effect.planned "file.content") do
    local path = one.target.host == target.host and one.target.path or ""
    local below = path:sub(1, #prefix) == prefix and path:sub(#prefix + 1)
    for _, named in ipairs(below and paths or {}) do
      if named == "." or below == named or below:sub(1, #named + 1) == named .. "/" then
        local state = one.state or {}
        list[#list + 1] = { path = below, content = state.content, mode = state.mode }
        break
      end
    end
  end
  table.sort(list, function(a, b) return a.path < b.path end)
  return list
end

local function refuse_shadowed(target, paths)
  for _, shadow in ipairs(memory().shadows) do
    for _, path in ipairs(shadow.repo == target.repo and shadow.host == target.host and paths or {}) do
      if path == "." or shadow.path == "" or shadow.path == path or shadow.path:sub(1, #path + 1) == path .. "/"
        or path:sub(1, #shadow.path + 1) == shadow.path .. "/" then
        unknown(shadow.after)
      end
    end
  end
end

local function index_mode(mode) return tonumber(mode, 8) & 64 ~= 0 and "100755" or "100644" end

--- The script's lines that fill the index, and its input.
local function filling(changes, paths, files)
  local lines, input, exact = {}, "", {}
  local function add(...) lines[#lines + 1] = shell.words { ... } end
  for _, change in ipairs(changes) do add("taken", change.mode, change.blob, change.path) end
  for _, file in ipairs(files) do exact[file.path] = true end
  for _, path in ipairs(paths) do
    if not exact[path] then add(#files > 0 and "add_if_there" or "add", path) end
  end
  for _, file in ipairs(files) do
    if file.content then
      add("content", index_mode(file.mode), file.path)
      input = input .. secret.base64(file.content) .. "\n"
    else
      add("git", "update-index", "--force-remove", "--", file.path)
    end
  end
  return table.concat(lines, "\n") .. "\n", input
end

local function parse_tree(out)
  local tree, stat, raw = out:match "^(%x+)\n([^\n]*)\n?=\n(.*)$"
  if not tree then tree, raw = out:match "^(%x+)\n=\n(.*)$" end
  local changes = {}
  for mode, blob, status, path in raw:gmatch ":%d+ (%d+) %x+ (%x+) (%u)\0([^%z]+)\0" do
    changes[#changes + 1] = { mode = mode, blob = blob, status = status, path = path }
  end
  return { tree = tree, stat = stat and stat:match "%S.*", changes = changes }
end

local function look_at_tree(target, base, changes, paths, files)
  local lines, input = filling(changes, paths, files)
  return parse_tree(program.ask(target, "look at the files", { base = base }, ASIDE .. ADD .. lines .. TREE_END,
    { input = input, timeout = 600 }))
end

local real_tree = look("git.tree", function(target, base, paths) return look_at_tree(target, base, {}, paths, {}) end)

local function planned_tree(target, parent, paths)
  refuse_shadowed(target, paths)
  local made = commit_of(parent)
  if made and not made.base then plans.refuse(parent) end
  local found = look_at_tree(target, made and made.base or parent, made and made.changes or {}, paths,
    planned_files(target, paths))
  found.base = made and made.base or parent
  return found
end

local function changed_since(changes, earlier)
  local before, list = {}, {}
  for _, change in ipairs(earlier) do before[change.path] = change.mode .. change.blob end
  for _, change in ipairs(changes) do
    if before[change.path] ~= change.mode .. change.blob then
      list[#list + 1] = change.status .. " " .. change.path
    end
    before[change.path] = nil
  end
  for path in pairs(before) do list[#list + 1] = "M " .. path end
  table.sort(list, function(a, b) return a:sub(3) < b:sub(3) end)
  return list
end

--- What a commit of these paths on that parent would be: its tree, and the files that it changes, as "M path"; in a plan
--- also what all planned commits under it change.
--- @param target table
--- @param parent string
--- @param paths string[]
--- @return { tree: string, files: string[], stat: string?, base: string?, changes: table[] }
function plans.tree(target, parent, paths)
  local planning = effect.planning()
  local found = planning and planned_tree(target, parent, paths) or real_tree(target, parent, paths)
  local made = planning and commit_of(parent)
  found.files = changed_since(found.changes, made and made.changes or {})
  return found
end

-- ---- merges ----

local MERGE = ASIDE .. [=[
git merge-tree --write-tree --no-messages --name-only "$ours" "$theirs"
case $? in 0|1) ;; *) no remote "git 2.38 or newer is needed to merge in";; esac
]=]

local merge_tree = look("git.merge_tree", function(target, ours, theirs)
  local out = program.ask(target, "merge", { ours = ours, theirs = theirs }, MERGE, { timeout = 600 })
  local tree, rest = out:match "^(%x+)\n(.*)$"
  local conflicts = {}
  for name in (rest or ""):gmatch "[^\n]+" do conflicts[#conflicts + 1] = name end
  return { tree = tree, conflicts = conflicts }
end)

--- The tree that a merge would have. Raises kind `conflict` with the files that both sides have changed.
--- @param target table
--- @param ours string
--- @param theirs string
--- @return { tree: string, base: string?, changes: table[]? }
function plans.merge(target, ours, theirs)
  local made = not plans.is_real(theirs) and commit_of(theirs)
  if made and plans.relation(target, ours, theirs) == "ahead" then return made end
  for _, id in ipairs { ours, theirs } do
    if not plans.is_real(id) then plans.refuse(id) end
  end
  local found = merge_tree(target, ours, theirs)
  if #found.conflicts == 0 then return { tree = found.tree } end
  fault.raise { kind = "conflict", host = target.host, code = "merge", output = table.concat(found.conflicts, "\n"),
    message = ("the merge has conflicts in %s on %s: %s"):format(target.repo, target.host,
      table.concat(found.conflicts, ", ")), hint = "merge by hand, then run again" }
end

-- ---- what a plan shows ----

--- How a state reads in a plan: the commits that its branch holds, one a line.
--- @param state string
--- @return string
function plans.text(state)
  return effect.planning() and memory().texts[state] or state:sub(1, 12) .. "\n"
end

local DESCRIBE = [=[
part() { printf '\001\n'; }
log() { git log --reverse --format='%h %s' -n "$shown" "$@" 2>/dev/null; }
there() { [ "$1" ] && git cat-file -e "$1^{commit}" 2>/dev/null; }
there "$old" && there "$new" && base=$(git merge-base "$old" "$new") || base=
if [ "$base" ]; then
  log --no-walk "$base"; part; log "$base..$old"; part; log "$base..$new"; part
  git diff --stat=100 --no-ext-diff "$old" "$new" | tail -n "$shown"
else
  part
  for id in "$old" "$new"; do
    if there "$id"; then log --no-walk "$id^{commit}"; elif [ "$id" ]; then echo "$id"; fi
    part
  done
fi
]=]

local function describe_real(target, before, after)
  local out = program.ask(target, "read commits", { old = before or "", new = after or "", shown = SHOWN }, DESCRIBE)
  local base, old, new, stat = out:match "^(.-)\1\n(.-)\1\n(.-)\1\n(.*)$"
  return base .. old, base .. new .. stat
end

--- The lines of the planned commits from the one that is there on, oldest first; and that one.
local function planned_lines(id)
  local lines = {}
  while id and not plans.is_real(id) do
    local made = commit_of(id) or { parents = {} }
    local files = made.files and #made.files > 0 and "\n  " .. table.concat(made.files, "\n  ") or ""
    table.insert(lines, 1, id .. files)
    id = made.parents[1]
  end
  return lines, id
end

--- Has the plan show what a branch holds before and after as commits.
--- @param target table
--- @param before string?
--- @param after string?
function plans.describe(target, before, after)
  if not effect.planning() or before == after then return end
  local texts = memory().texts
  local old_lines, old = planned_lines(before)
  local new_lines, new = planned_lines(after)
  local old_text, new_text = describe_real(target, old, new or old)
  local function block(lines) return #lines > 0 and table.concat(lines, "\n") .. "\n" or "" end
  if before then texts[before] = old_text .. block(old_lines) end
  if after then texts[after] = new_text .. block(new_lines) end
end

--- In a plan: raises what a run would, where files are changed that a move would take along. Once files of the repository
--- are planned to be edited or committed, only the run can tell.
--- @param target table
function plans.check_clean(target)
  if not effect.planning() or next(memory().commits) or #planned_files(target, { "." }) > 0 then return end
  program.ask(target, "read the status", nil, "clean")
end

local NAMES = [=[git diff --name-only --no-renames -z "$old" "$new"]=]

local function shadow_paths(target, from, to)
  local list = {}
  local function add(path) list[#list + 1] = path end
  local a, b = commit_of(from) or { base = from, changes = {} }, commit_of(to) or { base = to, changes = {} }
  if not a.base or not b.base then return { "" } end
  for _, change in ipairs(a.changes) do add(change.path) end
  for _, change in ipairs(b.changes) do add(change.path) end
  if a.base == b.base then return list end
  if real_relation(target, a.base, b.base) == "unknown" then return { "" } end
  local out = program.ask(target, "compare commits", { old = a.base, new = b.base }, NAMES)
  for path in out:gmatch "[^%z]+" do add(path) end
  return list
end

--- In a plan: the files that differ between two commits are not known after the one has taken the other's place.
--- @param target table
--- @param from string?
--- @param to string?
function plans.shadow(target, from, to)
  if not effect.planning() or not from or not to or from == to then return end
  for _, path in ipairs(shadow_paths(target, from, to)) do
    effect.shadow(target.host, path == "" and target.repo or target.repo .. "/" .. path)
    table.insert(memory().shadows, { host = target.host, repo = target.repo, path = path,
      after = "the files of the repository have changed" })
  end
end

return plans
