--- The kinds of effect on repositories. What makes a commit or tag makes an object and nothing else, which harms nobody
--- if nothing comes to refer to it; what moves a branch, HEAD or a branch of a remote compares and swaps, so that what
--- somebody else has committed or pushed is never lost. States are names of objects, in hexadecimal; nil: not there.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local plans   = require "neap.targets.git.plan"
local program = require "neap.targets.git.program"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local LONG = 3600 -- seconds a transfer, or the checkout of a large tree, may take

local function line(out) return out:match "[^\n]+" end

local function short(name)
  return (name:gsub("^refs/heads/", ""):gsub("^refs/tags/", "tag "):gsub("^refs/remotes/", ""))
end

local function show(target, what) return ("%s %s %s"):format(target.host, target.repo, what) end

local function resource(name, kind)
  kind.pinned = true
  kind.prepare, kind.take, kind.release = witness.prepare, kind.take or program.take, witness.release
  kind.text = kind.text or plans.text
  kind.timeout = kind.timeout or LONG
  effect.resource(name)(kind)
end

-- ---- git.ref ----

--- A commit of files is taken up, or let go, without a touch on the files (`files` is "stay"): they are as it has them.
--- Every other move of the branch that is checked out takes the files along, and for that they have to be clean.
local PUT_REF = [=[
now=$(at "$ref")
[ "$now" = "$old" ] || no conflict "$ref is at ${now:-nothing}, not at ${old:-nothing}, in"
index() {
  git diff-tree -r -z --name-only --no-renames "$old" "$new" |
    git --literal-pathspecs reset -q "$1" --pathspec-from-file=- --pathspec-file-nul
}
head=
[ "$(git rev-parse --is-bare-repository)" = true ] || head=$(git symbolic-ref -q HEAD)
if [ "$ref" = "$head" ]; then
  [ "$new" ] || no conflict "${ref#refs/heads/} is checked out and cannot be deleted in"
  [ "$old" ] || no conflict "${ref#refs/heads/} is checked out and has no commit yet in"
  if [ "$files" = stay ]; then
    index "$new" || exit
    git update-ref -m neap "$ref" "$new" "$old" || { index "$old"; exit 1; }
  else
    clean
    # read-tree takes files that git ignores for nothing
    list=$(git diff-tree -r -z --no-renames --diff-filter=A --name-only "$old" "$new" | xargs -0 -r ls -d -- 2>&1 |
      grep -v ': No such file' | head -n 20)
    [ -z "$list" ] || no conflict "files that git does not know would be overwritten in" "$list"
    git update-index -q --refresh
    git read-tree -m -u "$old" "$new" || exit
    git update-ref -m neap "$ref" "$new" "$old" || { git read-tree -m -u "$new" "$old"; exit 1; }
  fi
  exit 0
fi
[ -z "$old" ] || [ -z "$(git for-each-ref --format='%(worktreepath)' "$ref")" ] ||
  no conflict "${ref#refs/heads/} is checked out in another worktree of"
if [ "$new" ]; then git update-ref -m neap "$ref" "$new" "$old"; else git update-ref -d "$ref" "$old"; fi
]=]

--- A branch or tag of a repository: { host, repo, become, ref, files? }.
resource("git.ref", {
  get = function(target)
    return line(program.ask(target, "read " .. target.ref, { ref = target.ref }, 'at "$ref"'))
  end,
  put = function(target, state, call)
    program.run(target, call, "move " .. target.ref, { ref = target.ref, old = call.before or "", new = state or "",
      files = target.files or "" }, PUT_REF)
  end,
  key = function(target) return { target.host, target.repo, target.ref } end,
  show = function(target) return show(target, short(target.ref)) end,
})

-- ---- git.head ----

local PUT_HEAD = [=[
now=$(git symbolic-ref -q HEAD || git rev-parse -q --verify HEAD)
[ "$now" = "$old" ] || no conflict "$now is checked out, and not $old, in"
clean
case $new in
refs/heads/*) git switch -q --no-guess --no-overwrite-ignore "${new#refs/heads/}";;
*) git switch -q --no-overwrite-ignore --detach "$new";;
esac
]=]

--- What is checked out: "refs/heads/…", or the name of a commit where HEAD is detached.
resource("git.head", {
  get = function(target)
    return line(program.ask(target, "read HEAD", nil, "git symbolic-ref -q HEAD || git rev-parse -q --verify HEAD"))
  end,
  put = function(target, state, call)
    program.run(target, call, "check out " .. tostring(state), { old = call.before or "", new = state or "" }, PUT_HEAD)
  end,
  show = function(target) return show(target, "checked out") end,
  text = function(state) return short(state) end,
})

-- ---- git.remote_ref ----

local ASK_REMOTE = [=[git ls-remote -q -- "$remote" "$ref"]=]

--- What a rollback pushes again has to be here.
local PUSH = [=[
if [ "$old" ] && ! git cat-file -e "$old" 2>/dev/null; then
  git fetch -q --no-tags --no-write-fetch-head -- "$remote" "$ref" || exit
fi
git push --porcelain --force-with-lease="$ref:$old" -- "$remote" "$new:$ref"
]=]

local function remote_refusal(target, result)
  local why = result.out:match "!\t[^\t]*\t([^\n]+)"
  if not why then return end
  local changed = why:find("stale info", 1, true) or result.err:find("but expected", 1, true)
    or why:find("already exists", 1, true)
  local message = changed and "%s of %s is not as it was when the push began: somebody else has pushed (%s)"
    or "%s of %s was not pushed: the remote refuses it (%s)"
  fault.raise { kind = changed and "conflict" or "denied", host = target.host, code = "push",
    output = hosts.last_lines { out = result.out, err = result.err },
    message = message:format(short(target.ref), target.remote, why:match "^%[.-%] ?%(?(.-)%)?$" or why) }
end

--- A branch or tag of a remote: { host, repo, become, remote, ref }.
resource("git.remote_ref", {
  get = function(target)
    local out = program.ask(target, "ask " .. target.remote, { remote = target.remote, ref = target.ref }, ASK_REMOTE,
      { network = true })
    for id, ref in out:gmatch "(%x+)\t([^\n]+)" do
      if ref == target.ref then return id end
    end
  end,
  put = function(target, state, call)
    program.run(target, call, "push to " .. target.remote, { remote = target.remote, ref = target.ref,
      old = call.before or "", new = state or "" }, PUSH,
      { network = true, refused = function(result) remote_refusal(target, result) end })
  end,
  show = function(target) return show(target, ("%s of %s"):format(short(target.ref), target.remote)) end,
})

-- ---- git.upstream ----

local PUT_UPSTREAM = [=[
if [ "$remote" ]; then
  git config "branch.$branch.remote" "$remote" && git config "branch.$branch.merge" "$merge"
else
  git config --unset "branch.$branch.remote"; git config --unset "branch.$branch.merge"
  # what is left of the section is the person's own
  [ -n "$(git config --get-regexp "^branch\.$quoted\.")" ] || git config --remove-section "branch.$branch" || :
fi
]=]

--- What a branch follows: "REMOTE REF"; target { host, repo, become, branch }.
resource("git.upstream", {
  get = function(target)
    local out = program.ask(target, "read its configuration", { branch = target.branch },
      'git config "branch.$branch.remote"; git config "branch.$branch.merge"; :')
    local remote, merge = out:match "^([^\n]+)\n([^\n]+)\n$"
    return remote and remote .. " " .. merge
  end,
  put = function(target, state, call)
    local remote, merge = (state or ""):match "^(%S+) (%S+)$"
    program.run(target, call, "set what a branch follows", { branch = target.branch, remote = remote or "",
      merge = merge or "", quoted = (target.branch:gsub("[^%w_/-]", "\\%0")) }, PUT_UPSTREAM)
  end,
  show = function(target) return show(target, "what " .. target.branch .. " follows") end,
  text = function(state) return state end,
})

-- ---- git.clone ----

local GET_CLONE = [=[
[ -e "$repository" ] || [ -L "$repository" ] || { echo absent; exit 0; }
cd -- "$repository" 2>/dev/null && [ -e .git ] && url=$(git config remote.origin.url) || { echo other; exit 0; }
printf 'clone %s\n' "$url"
]=]

local CLONE = [=[
git clone -q ${branch:+--branch "$branch"} -- "$url" "$temporary" || { rm -rf -- "$temporary"; exit 1; }
mv -T -n -- "$temporary" "$repository" && [ ! -e "$temporary" ] || no conflict "something is already at"
]=]

--- Whatever somebody has made in it since would be lost.
local REMOVE_CLONE = [=[
cd -- "$repository" || exit
list=$(git status --porcelain --ignored | cut -c 4- | head -n 20)
[ -z "$list" ] || no conflict "files that the clone did not bring are in" "$list"
[ -z "$(git stash list)" ] || no conflict "something is stashed in"
list=$(git log --format='%h %s' -n 20 HEAD --branches --not --remotes)
[ -z "$list" ] || no conflict "commits that are nowhere else are in" "$list"
[ "$(git worktree list | wc -l)" -eq 1 ] || no conflict "other worktrees belong to"
cd / && mv -T -- "$repository" "$temporary" && rm -rf -- "$temporary"
]=]

local function beside(target, id) return ("%s.neap-%s"):format(target.repo, id) end

--- A clone: its address; "" where something else is. Target { host, repo, become, branch? }.
resource("git.clone", {
  get = function(target)
    local out = program.ask(target, "look at the clone", nil, GET_CLONE, { anywhere = true })
    if out:find "^absent" then return nil end
    return out:match "^clone ([^\n]+)" or ""
  end,
  put = function(target, state, call)
    program.run(target, call, state and "clone" or "remove the clone", { url = state or "",
      branch = target.branch or "", temporary = beside(target, call.witness) }, state and CLONE or REMOVE_CLONE,
      { network = state ~= nil, anywhere = true })
  end,
  take = function(target, id, intent)
    local verdict, detail = program.take(target, id, intent)
    if verdict then return verdict, detail end
    hosts.exec(target.host, { "rm", "-rf", "--", beside(target, id) }, { become = target.become })
  end,
  show = function(target) return show(target, "clone") end,
  text = function(state) return state end,
})

-- ---- what makes objects ----

--- Nothing refers to what it has made until another effect does: whether it was made before makes no difference.
local function object(name, kind)
  local clear = kind.clear
  kind.clear = nil
  kind.timeout, kind.result = LONG, "identifier"
  kind.prepare, kind.release = witness.prepare, witness.release
  kind.done = function() return false end
  kind.take = function(target, id, intent)
    local verdict, detail = witness.take(target, id, intent, "any")
    if verdict == "running" then return verdict, detail end
    if clear then hosts.exec(target.host, clear(target, id), { become = target.become, ok = "any" }) end
    if verdict == "done" and detail.status == 0 then return "done", line(detail.out) end
    return "void"
  end
  effect.action(name)(kind)
end

local MAKE_COMMIT = [=[
trailed() { git interpret-trailers --no-divider --trailer "Neap-Effect: $witness" <"$1" >"$1.new" && mv "$1.new" "$1"; }
signing() {
  [ "$sign" = config ] || { echo "$sign"; return; }
  [ "$(git config --type=bool commit.gpgSign)" != true ] || echo -S
}
make_commit() {
  printf '%s\n' "$message" >"$t/message" && trailed "$t/message" || exit
  git hook run --ignore-missing commit-msg -- "$t/message" >&2 || no denied "the hook commit-msg refuses the commit in"
  [ -z "$author" ] || export GIT_AUTHOR_NAME="$author" GIT_AUTHOR_EMAIL="$email"
  [ -z "$date" ] || export GIT_AUTHOR_DATE="$date" GIT_COMMITTER_DATE="$date"
  git commit-tree $(signing) -F "$t/message" "$@" "$tree"
}
t=$(mktemp -d) || exit
trap 'rm -rf "$t"' EXIT
]=]

--- The files as they are now must be those whose tree was looked at: else it would be another commit than was meant.
local COMMIT = MAKE_COMMIT .. [=[
export GIT_INDEX_FILE="$t/index"
git read-tree "$parent" && eval "git --literal-pathspecs add -A -- $paths" || exit
git hook run --ignore-missing pre-commit >&2 || no denied "the hook pre-commit refuses the commit in"
[ "$(git write-tree)" = "$tree" ] || no conflict "the files, or what a hook makes of them, changed while committing in"
make_commit -p "$parent"
]=]

local MERGE = MAKE_COMMIT .. [=[
[ "$(git merge-tree --write-tree --no-messages "$parent" "$other" | head -n 1)" = "$tree" ] ||
  no conflict "the merge is another than was looked at in"
make_commit -p "$parent" -p "$other"
]=]

local SIGN = { [true] = "-S", [false] = "--no-gpg-sign" }

local function sign_option(sign, default)
  if sign == nil then return default end
  return SIGN[sign] or "-S" .. sign
end

local function commit_values(data, call)
  local author, email = (data.author or ""):match "^(.-) ?<(.*)>$"
  return { witness = call.witness, message = data.message, tree = data.tree, parent = data.parents[1],
    other = data.parents[2] or "", author = author or "", email = email or "", date = data.date or "",
    sign = sign_option(data.sign, "config"), paths = shell.words(data.paths or {}) }
end

local function subject(message) return message:match "^[^\n]*" end

--- data { tree, parents = { id }, paths, message, author, date, sign, files }: the commit's name.
object("git.commit", {
  run = function(target, data, call)
    return line(program.run(target, call, "commit", commit_values(data, call), COMMIT))
  end,
  says = function(data)
    return ("%q: %s"):format(subject(data.message), table.concat(data.files, ", "))
  end,
  show = function(target) return show(target, "commit") end,
})

--- The same with two parents.
object("git.merge", {
  run = function(target, data, call)
    return line(program.run(target, call, "merge", commit_values(data, call), MERGE))
  end,
  says = function(data) return subject(data.message) end,
  show = function(target) return show(target, "merge commit") end,
})

local REBASE = [=[
t=$(git rev-parse --absolute-git-dir)/neap-$witness
git worktree add -q --detach "$t" "$tip" >&2 || exit
cd "$t" || exit
if git -c rebase.updateRefs=false -c rebase.autoSquash=false rebase -q "$onto" >&2; then
  git rev-parse HEAD
  cd .. && git worktree remove --force "$t"
else
  list=$(git diff --name-only --diff-filter=U)
  git rebase --abort
  cd .. && git worktree remove --force "$t"
  no conflict "the rebase has conflicts in" "$list"
fi
]=]

--- data { tip, onto }: the name of the last commit of the rebased branch. It is made in a worktree of its own.
object("git.rebase", {
  run = function(target, data, call)
    return line(program.run(target, call, "rebase", { tip = data.tip, onto = data.onto, witness = call.witness },
      REBASE))
  end,
  clear = function(target, id)
    return ([=[cd -- %s && t=$(git rev-parse --absolute-git-dir)/neap-%s && rm -rf -- "$t" && git worktree prune]=])
      :format(shell.quote(target.repo), shell.quote(id))
  end,
  says = function(data) return ("%s onto %s"):format(data.tip:sub(1, 10), data.onto:sub(1, 10)) end,
  show = function(target) return show(target, "rebase") end,
})

--- In a repository beside, with the same objects and configuration: there git makes the tag, and its name goes with it.
local TAG = [=[
t=$(mktemp -d) || exit
trap 'rm -rf "$t"' EXIT
objects=$(cd "$(git rev-parse --git-path objects)" && pwd -P) || exit
configuration=$(git rev-parse --git-path config) || exit
git init -q --bare "$t" && cp -- "$configuration" "$t/config" && git config -f "$t/config" core.bare true || exit
export GIT_DIR="$t" GIT_OBJECT_DIRECTORY="$objects"
[ -z "$date" ] || export GIT_COMMITTER_DATE="$date"
printf '%s\n' "$message" >"$t/message"
git tag $sign -F "$t/message" -- "$tag" "$commit" >&2 && git rev-parse "refs/tags/$tag"
]=]

--- data { tag, commit, message, sign }: the name of the tag's object.
object("git.tag", {
  run = function(target, data, call)
    local sign = data.sign == nil and "-a" or data.sign == true and "-s" or data.sign == false and "-a --no-sign"
      or "-u" .. data.sign
    return line(program.run(target, call, "tag", { tag = data.tag, commit = data.commit, message = data.message,
      sign = sign, date = data.date or "" }, TAG))
  end,
  says = function(data) return ("%s: %q"):format(data.tag, subject(data.message)) end,
  show = function(target) return show(target, "tag") end,
})

-- ---- git.fetch ----

--- data { remote, ref? }. To fetch once more harms nobody.
effect.action "git.fetch" {
  prepare = witness.prepare, release = witness.release, timeout = LONG,
  run = function(target, data, call)
    program.run(target, call, "fetch from " .. data.remote, { remote = data.remote, ref = data.ref or "" },
      'git fetch -q -- "$remote" ${ref:+"$ref"}', { network = true })
  end,
  take = function(target, id, intent)
    local verdict, detail = witness.take(target, id, intent, "any")
    if verdict == "running" then return verdict, detail end
    if verdict == "done" and detail.status == 0 then return "done" end
    return "void"
  end,
  done = function() return false end,
  says = function(data) return "from " .. data.remote end,
  show = function(target) return show(target, "fetch") end,
}
