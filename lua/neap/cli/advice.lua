--- What `neap check` advises on beside errors: places where a run could do less than it promises elsewhere. A line
--- `-- neap: allow(RULE) reason` on the place or right above it silences one.
local kinds = require "neap.engine.kinds"

local advice = {}

local RULES = {
  ["no-probe"]      = true, -- an action of which nobody can ask whether it happened
  ["opaque"]        = true, -- a resource whose late call nothing shuts out
  ["declared-read"] = true, -- what the author says is a read
  ["shell-text"]    = true, -- a text for a shell instead of an argument list
  ["no-timeout"]    = true, -- a wait that says no time
}

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

local function split(where) return where:match "^(.*):(%d+)$" end

--- The rule and the reason that a line gives for itself, or nil.
local function allowance(line)
  if line then return line:match "%-%-%s*neap:%s*allow%(([%w-]+)%)%s*(.-)%s*$" end
end

local function is_allowed(files, where, rule)
  local path, number = split(where)
  local lines = path and files[path] and lines_of(files[path])
  if not lines then return false end
  number = tonumber(number)
  local above = lines[number - 1] or ""
  for _, line in ipairs { lines[number] or "", above:find "^%s*%-%-" and above or "" } do
    local allowed, reason = allowance(line)
    if allowed == rule and reason ~= "" then return true end
  end
  return false
end

local function without_comment(line) return (line:gsub("%-%-.*$", "")) end

local BY_DECLARATION = "a read by declaration: nothing holds it to change nothing"

local IN_TEXT = {
  { rule = "shell-text", pattern = ":%s*shell%f[^%w_]", says = "shell takes a text; run takes arguments" },
  { rule = "shell-text", pattern = ":%s*read_shell%f[^%w_]", says = "read_shell takes a text; read takes arguments" },
  { rule = "declared-read", pattern = "effect%.read%f[^%w_]", says = BY_DECLARATION },
  { rule = "declared-read", pattern = "reads%s*=%s*true", says = BY_DECLARATION },
}

local function advise_on_text(path, text, add)
  for number, line in ipairs(lines_of(text)) do
    local where = ("%s:%d"):format(path, number)
    for _, one in ipairs(IN_TEXT) do
      if without_comment(line):find(one.pattern) then add(one.rule, where, one.says) end
    end
    local rule, reason = allowance(line)
    if rule and not RULES[rule] then
      add("allow", where, ("no rule is named %s%s"):format(rule, require "neap.near".hint(rule, RULES)))
    elseif rule and reason == "" then
      add("allow", where, ("allow(%s) gives no reason"):format(rule))
    end
  end
end

local function advise_on_kind(kind, add)
  if not kinds.is_opaque(kind) then return end
  if kind.class == "action" then
    add("no-probe", kind.where, ("action %q has neither done nor take: after a crash a person must say whether it "
      .. "happened"):format(kind.name))
  end
  if kind.class == "resource" then
    add("opaque", kind.where, ("resource %q has no take: after a crash its call's time is waited out, then it is "
      .. "compared"):format(kind.name))
  end
end

--- What there is to say of a procedure and the libraries it has loaded.
--- @param loaded neap.procedure
--- @param files table<string, string>
--- @return table[] warnings  { rule, where, message }
function advice.on(loaded, files)
  local list = {}
  local function add(rule, where, message)
    if not is_allowed(files, where, rule) then list[#list + 1] = { rule = rule, where = where, message = message } end
  end
  for path in pairs(loaded.used) do advise_on_text(path, files[path], add) end
  for _, kind in pairs(loaded.kinds) do advise_on_kind(kind, add) end
  for _, step in ipairs(loaded.steps) do
    if step.kind == "await" and not step.timeout then
      add("no-timeout", step.where, ("await %q says no timeout; it waits one hour"):format(step.title))
    end
  end
  return list
end

return advice
