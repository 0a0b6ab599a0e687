--- How git is called on a host: in which repository, with which environment, and what its refusals mean. It is the
--- login's own git: its configuration, credential helpers, keys, signing and hooks are in force. It never asks a person.
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local ordered = require "neap.ordered"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local program = {}

local ASK_TIMEOUT = 60 -- seconds
local REFUSED = 90     -- exit status of our scripts where they say why themselves

--- What stands before each script. What the login's environment says of another repository is no concern of this one;
--- `no KIND MESSAGE [NAMES]` is how a script refuses.
local PREAMBLE = [=[
export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_EDITOR=: GIT_SEQUENCE_EDITOR=: GIT_PAGER=cat SSH_ASKPASS_REQUIRE=never
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE
unset GIT_COMMON_DIR GIT_PREFIX GIT_TRACE GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_EXTERNAL_DIFF
git() {
  command git -c core.quotePath=false -c color.ui=false -c protocol.ext.allow=never -c gc.auto=0 \
    -c submodule.recurse=false -c push.recurseSubmodules=no -c push.followTags=false "$@"
}
no() { printf 'neap:%s:%s\n' "$1" "$2" >&2; [ -z "$3" ] || printf '%s\n' "$3" >&2; exit 90; }
at() { git rev-parse -q --verify "$1" || :; }
clean() {
  for mark in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD rebase-merge rebase-apply; do
    [ ! -e "$(git rev-parse --git-path $mark)" ] || no conflict "a merge, rebase or cherry-pick is under way in"
  done
  list=$(git status --porcelain -uno | cut -c 4- | head -n 20)
  [ -z "$list" ] || no conflict "these files are changed and not committed in" "$list"
}
command -v git >/dev/null || no missing "git is not installed, which is needed for"
]=]

--- Only where the login has not said itself how ssh is to be called: else nobody would be there to answer it.
local BATCH = [=[
[ -n "$GIT_SSH_COMMAND$GIT_SSH" ] || git config core.sshCommand >/dev/null ||
  export GIT_SSH_COMMAND='ssh -o BatchMode=yes'
]=]

--- Values for a script, by name, as assignments.
local function assignments(values)
  local lines = {}
  for i, name in ipairs(ordered.keys(values)) do lines[i] = name .. "=" .. shell.quote(values[name]) end
  return table.concat(lines, "\n") .. "\n"
end

local function script(target, values, body, options)
  local enter = options.anywhere and "" or
    'cd -- "$repository" 2>/dev/null || no missing "there is no folder"\n' ..
    'git rev-parse --git-dir >/dev/null || exit\n'
  return PREAMBLE .. assignments { repository = target.repo } .. assignments(values) .. enter
    .. (options.network and BATCH or "") .. body
end

-- ---- what a refusal means ----

local MEANINGS = {
  { "auth", { "Permission denied", "Authentication failed", "could not read Username", "could not read Password",
    "Host key verification failed", "terminal prompts disabled" } },
  { "connect", { "Could not resolve host", "Connection refused", "Connection timed out", "No route to host" } },
  { "missing", { "not a git repository", "does not appear to be a git repository", "did not match any file",
    "repository not found", "Repository not found", "No such remote" } },
  { "denied", { "dubious ownership" } },
}

local function kind_of(said)
  for _, meaning in ipairs(MEANINGS) do
    for _, words in ipairs(meaning[2]) do
      if said:find(words, 1, true) then return meaning[1] end
    end
  end
  return "remote"
end

--- An address without what it says of a person.
local function without_login(text) return (text:gsub("(%a://)[^/@%s]+@", "%1")) end

--- The line that says why.
local function reason(said)
  return said:match "fatal: ([^\n]+)" or said:match "error: ([^\n]+)" or said:match "[^\n]+" or "it did not say why"
end

local function own_refusal(target, err)
  local kind, message, names = ("\n" .. err):match "\nneap:(%l+):([^\n]*)\n(.*)$"
  if not kind then return end
  local list = {}
  for name in names:gmatch "[^\n]+" do list[#list + 1] = name end
  fault.raise { kind = kind, host = target.host, code = "git", output = #list > 0 and table.concat(list, "\n") or nil,
    message = ("%s %s on %s%s"):format(message, target.repo, target.host,
      #list > 0 and ": " .. table.concat(list, ", ") or "") }
end

--- Raises what a script's end means, unless it ended well.
--- @param target { host: string, repo: string }
--- @param what string  what was to be done, as "push to origin"
--- @param result { out: string, err: string, status: integer }
function program.check(target, what, result)
  if result.status == 0 then return end
  if result.status == REFUSED then own_refusal(target, result.err) end
  local said = without_login(hosts.last_lines { out = result.out, err = result.err })
  local kind = kind_of(said)
  fault.raise { kind = kind, host = target.host, code = result.status, output = said,
    message = ("git on %s could not %s (%s): %s"):format(target.host, what, target.repo, reason(said)),
    hint = kind == "auth" and "nobody is asked here: git's own helper or an ssh agent must know the secret" or nil }
end

--- Runs a script that reads, in the repository; returns its output.
--- @param target { host: string, repo: string, become: string|false }
--- @param what string
--- @param values? table<string, string|number>  its variables
--- @param body string
--- @param options? { network?: boolean, input?: any, anywhere?: boolean, timeout?: number }
--- @return string
function program.ask(target, what, values, body, options)
  options = options or {}
  local text = "export GIT_OPTIONAL_LOCKS=0\n" .. script(target, values, body, options)
  local result = hosts.exec(target.host, text, { become = target.become, reads = true, ok = "any",
    input = options.input, timeout = options.timeout or ASK_TIMEOUT })
  program.check(target, what, result)
  return result.out
end

--- Runs a script that changes something, as the witness of an effect; returns its output.
--- @param target { host: string, repo: string, become: string|false }
--- @param call table
--- @param what string
--- @param values? table<string, string|number>
--- @param body string
--- @param options? { network?: boolean, anywhere?: boolean, refused?: fun(result: table) }  refused: called first where it
---   did not end well
--- @return string
function program.run(target, call, what, values, body, options)
  options = options or {}
  local result = witness.run(target.host, call, script(target, values, body, options),
    { become = target.become, ok = "any", timeout = call.timeout })
  if result.status ~= 0 and options.refused then options.refused(result) end
  program.check(target, what, result)
  return result.out
end

--- A kind's `take`: the command has ended or never begins. What it has done is to be seen at the target, but where it was
--- refused: then it has done nothing, whatever somebody else has made of the target.
--- @param target table
--- @param id string
--- @param intent table
--- @return "running"|"void"? verdict
--- @return string? detail
function program.take(target, id, intent)
  local verdict, result = witness.take(target, id, intent, "any")
  if verdict == "running" then return "running", "git still runs" end
  local refused = verdict == "done" and (result.status == REFUSED or ("\n" .. result.out):find "\n!\t")
  if refused then return "void" end
end

-- ---- names ----

local function refuse_name(what, name, level) error(("%s: %q is none"):format(what, tostring(name)), level + 1) end

local function is_component(part) return part ~= "" and part:sub(1, 1) ~= "." and not part:find "%.lock$" end

--- Whether git takes this as the name of a branch or tag: the rules of git check-ref-format.
--- @param name any
--- @return boolean
function program.is_ref_name(name)
  if type(name) ~= "string" or name == "" or name == "@" or name == "HEAD" or name:find "^%-" then return false end
  if name:find "[%c%s~^:?*%[\\\127]" or name:find("..", 1, true) or name:find("@{", 1, true) or name:find "%.$" then
    return false
  end
  for part in (name .. "/"):gmatch "([^/]*)/" do
    if not is_component(part) then return false end
  end
  return true
end

--- The name of a branch or tag, checked. Raises a mistake.
--- @param what string  as "a branch"
--- @param name any
--- @param level integer
--- @return string
function program.ref_name(what, name, level)
  if not program.is_ref_name(name) then refuse_name(what, name, level + 1) end
  return name
end

--- The name of a remote, checked: an address is none.
--- @param name any
--- @param level integer
--- @return string
function program.remote_name(name, level)
  if type(name) ~= "string" or not name:find "^[%w_][%w_./-]*$" or not program.is_ref_name(name) then
    refuse_name("a remote", name, level + 1)
  end
  return name
end

--- The address of a repository, checked: no option, and no transport that is a program.
--- @param url any
--- @param level integer
--- @return string
function program.url(url, level)
  if type(url) ~= "string" or url == "" or url:find "^%-" or url:find "%c" or url:find "^[%w+.-]*::" then
    refuse_name("an address of a repository", url, level + 1)
  end
  return url
end

--- What names a commit, checked as far as it could be taken for an option.
--- @param rev any
--- @param level integer
--- @return string
function program.rev(rev, level)
  if type(rev) ~= "string" or rev == "" or rev:find "^%-" or rev:find "[%c]" or rev:find("..", 1, true) then
    refuse_name("a revision", rev, level + 1)
  end
  return rev
end

--- A path below a repository, checked.
--- @param path any
--- @param level integer
--- @return string
function program.path(path, level)
  if type(path) ~= "string" or path == "" or path:find "^/" or path:find "[%z\n]"
    or ("/" .. path .. "/"):find("/../", 1, true) then
    refuse_name("a path below the repository", path, level + 1)
  end
  return path
end

-- ---- repositories ----

local KEYS = { name = true, git = true, remote = true, branch = true, on = true, become = true }

local function home_of(host, become)
  local memory = hosts.memory(host)
  local key = "home of " .. (become or "the login")
  memory[key] = memory[key] or hosts.exec(host, "cd && pwd -P", { become = become, reads = true }).out:match "[^\n]+"
  return memory[key]
end

local function absolute(host, become, path)
  if path:find "^~/" then path = home_of(host, become) .. path:sub(2) end
  return (path:gsub("/+$", ""))
end

local function check_repository(repo, level)
  if type(repo) ~= "table" or type(repo.git) ~= "string" then
    error('a repository is one of env.repositories, or { git = "~/git/name", on = host }', level + 1)
  end
  shell.check_keys(repo, KEYS, "a repository", level + 1)
  if not repo.git:find "^~?/[^/]" or repo.git:find "[%c]" then
    error(("%q is no absolute path of a repository"):format(repo.git), level + 1)
  end
end

--- The target of a word: where the repository lies, as plain data.
--- @param repo table  of env.repositories, or { git, on?, become? }
--- @param become? string|false  the option of the call
--- @param level integer
--- @return { host: string, repo: string, become: string|false }
function program.target(repo, become, level)
  check_repository(repo, level + 1)
  local host = hosts.name(repo.on or "local")
  if become == nil then become = repo.become end
  become = hosts.become(host, become)
  return { host = host, repo = absolute(host, become, repo.git), become = become }
end

return program
