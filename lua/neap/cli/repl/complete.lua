--- What Tab offers at the end of what is typed. It looks names up and asks targets by reads; it calls nothing else.
local cursor = require "neap.cli.repl.cursor"
local help   = require "neap.cli.repl.help"
local remote = require "neap.cli.repl.remote"
local tokens = require "neap.cli.repl.tokens"
local words  = require "neap.words"

local complete = {}

local MOST = 200 -- names that are listed

-- ---- what a name stands for ----

local function index(value, key) return value[key] end

--- The key that follows a value: .name, :name, ["name"], [1].
local function key_at(text, at)
  local key, past = text:match("^[.:]([%a_][%w_]*)()", at)
  if key then return key, past end
  key, past = text:match("^%[[\"']([^\"']*)[\"']%]()", at)
  if key then return key, past end
  key, past = text:match("^%[(%d+)%]()", at)
  return key and math.tointeger(tonumber(key)), past
end

--- The value of names with dots and indexes; nothing is called, and no secret is had.
local function value_of(text, globals)
  local name, at = text:match "^([%a_][%w_]*)()"
  if not name or text:find "env%.secrets" then return nil end
  local ok, value = pcall(index, globals, name)
  while ok and type(value) == "table" and at <= #text do
    local key, past = key_at(text, at)
    if not key then return nil end
    ok, value = pcall(index, value, key)
    at = past
  end
  if ok and at > #text then return value end
end

local function add_keys(names, value, only_functions)
  pcall(function()
    for key, item in pairs(value) do
      local wanted = type(key) == "string" and key:find "^[%a_][%w_]*$"
      if wanted and (not only_functions or type(item) == "function") then names[#names + 1] = key end
    end
  end)
end

--- The names that may follow a dot or a colon.
local function members_of(value, separator)
  local names = {}
  if type(value) == "string" and separator == ":" then value = string end
  if type(value) ~= "table" then return names end
  local class = help.class(value)
  if class and separator == ":" then
    add_keys(names, help.methods(class), true)
  elseif class then
    names[1] = "name"
  else
    add_keys(names, value, separator == ":")
  end
  return names
end

local LIBRARY = { "assert", "error", "ipairs", "load", "math", "pairs", "pcall", "require", "select", "string", "table",
                  "tonumber", "tostring", "type", "utf8", "env", "arg", "help", "print" }

--- Names that stand alone: words, what lines have set, Lua's own.
--- @param sits table  the sitting
--- @return string[]
function complete.names_alone(sits)
  local names = words.names()
  add_keys(names, sits.noted.own)
  table.move(LIBRARY, 1, #LIBRARY, #names + 1, names)
  return table.move(tokens.KEYWORDS, 1, #tokens.KEYWORDS, #names + 1, names)
end

-- ---- in a call ----

--- The innermost call round the cursor: its receiver, its function, and what stands among its arguments.
local function call_of(at, sits)
  for i = #at.open, 1, -1 do
    local one = at.open[i]
    local owner, separator, name = one.before:match "^(.*)([.:])([%a_][%w_]*)$"
    if one.bracket ~= "[" and owner then
      local value = value_of(owner, sits.globals)
      return { owner = owner, separator = separator, name = name, receiver = value, class = help.class(value),
        inside = one.inside }
    end
    if one.bracket ~= "[" and one.before:find "^[%a_]" then return { name = one.before, inside = one.inside } end
  end
end

--- The object that a call is about: what it is called on, or its first argument.
local function object_of(call, sits)
  if call.class then return call.receiver, call.class end
  local first = value_of(call.inside:match "^%s*(.-)%s*,.*$" or "", sits.globals)
  return first, help.class(first)
end

local function option_names(at, sits)
  local call = at.open[#at.open] and at.open[#at.open].bracket == "{" and call_of(at, sits)
  if not call or call.inside:match "^%s*$" and at.open[#at.open].before ~= "" then return {} end
  local name = call.owner and (call.class or call.owner) .. call.separator .. call.name or call.name
  local names = help.options(name)
  for i, key in ipairs(names) do names[i] = key .. " = " end
  return names
end

-- ---- in a string ----

local KINDS = { "configmap/", "cronjob/", "daemonset/", "deployment/", "ingress/", "job/", "namespace/", "node/",
                "pod/", "secret/", "service/", "statefulset/" }

local function keys_of_index(at, sits)
  local one = at.open[#at.open]
  if not one or one.bracket ~= "[" then return nil end
  if one.before == "env.secrets" then
    local names = {}
    add_keys(names, sits.session.environment.secrets)
    return names
  end
  local value, names = value_of(one.before, sits.globals), {}
  if type(value) ~= "table" then return {} end
  for key in pairs(value) do names[#names + 1] = tostring(key) end
  return names
end

local function of_cluster(at, call, sits)
  local cluster = call.inside:match "^%s*[\"']([^\"']+)[\"']%s*,"
  if not cluster then
    local names = {}
    for name in pairs(sits.session.environment.clusters or {}) do names[#names + 1] = name end
    return names
  end
  local kind = at.text:match "^([%w.-]+)/"
  return kind and remote.objects(sits, cluster, kind) or KINDS
end

local function library_names(sits)
  local names = {}
  for path in pairs(sits.session.files) do
    local name = path:match "^procedures/([^.]*)%.lua$"
    if name then names[#names + 1] = (name:gsub("/", ".")) end
  end
  return names
end

--- @return string[] names
--- @return string typed  what of the string they stand for
local function in_string(at, sits)
  local keys = keys_of_index(at, sits)
  if keys then return keys, at.text end
  local call = call_of(at, sits)
  if not call then return {}, at.text end
  if call.name == "require" and not call.owner then return library_names(sits), at.text end
  if call.name == "help" and not call.owner then return words.names(), at.text end
  if call.owner == "k8s" then return of_cluster(at, call, sits), at.text end
  local object, class = object_of(call, sits)
  if class == "database" then
    return remote.columns(sits, object), at.text:match "[%w_.]*$"
  elseif class == "host" and at.text:find "^/" then
    return remote.files(sits, object, at.text:match "^.*/"), at.text
  end
  return {}, at.text
end

--- Without a string: a member of something, an option, or a name.
local function in_code(at, sits)
  local owner, separator, typed = at.text:match "^(.*)([.:])([%w_]*)$"
  if owner == "env.secrets" then
    local names = {}
    add_keys(names, sits.session.environment.secrets)
    return names, typed
  end
  if owner then return members_of(value_of(owner, sits.globals), separator), typed end
  local names = option_names(at, sits)
  if #names > 0 and at.text == "" then return names, "" end
  return table.move(complete.names_alone(sits), 1, 1000, #names + 1, names), at.text
end

-- ---- commands ----

local function of_command(left, sits)
  local typed = left:match "^%s*:(%a*)$"
  if typed then return require("neap.cli.repl.commands").names(), typed end
  local name, rest = left:match "^%s*:(%a+)%s+(.*)$"
  local names = {}
  if name == "step" then
    for _, step in ipairs(sits.session.procedure.steps) do names[#names + 1] = step.number end
  elseif name == "e" then
    for path in pairs(sits.session.files) do names[#names + 1] = path end
  elseif name == "plan" then
    return in_code(cursor.at(rest), sits)
  end
  return names, rest
end

-- ---- what is put there ----

local function fitting(names, typed, page)
  local list, seen = {}, {}
  for _, name in ipairs(names) do
    local clean = name:sub(1, #typed) == typed and not seen[name] and page:clean(name) == name
      and not name:find "[\"'\\]"
    if clean then list[#list + 1] = name end
    seen[name] = true
  end
  table.sort(list)
  return list
end

local function common(list)
  local shared = list[1]
  for _, name in ipairs(list) do
    while name:sub(1, #shared) ~= shared do shared = shared:sub(1, -2) end
  end
  while shared ~= "" and not utf8.len(shared) do shared = shared:sub(1, -2) end
  return shared
end

local function set_in_columns(list, page)
  local shown, width = table.move(list, 1, math.min(#list, MOST), 1, {}), 0
  for _, name in ipairs(shown) do width = math.max(width, page:columns(name) + 2) end
  local each, lines = math.max(1, page.width // width), {}
  for i = 1, #shown, each do
    local row = {}
    for j = i, math.min(i + each - 1, #shown) do row[#row + 1] = page:left(shown[j], width) end
    lines[#lines + 1] = (table.concat(row):gsub("%s+$", ""))
  end
  if #list > #shown then lines[#lines + 1] = ("... and %d more"):format(#list - #shown) end
  return table.concat(lines, "\n") .. "\n"
end

--- The names that fit behind what is typed.
--- @param left string  what stands left of the cursor, earlier lines of the statement included
--- @param sits table  the sitting
--- @return string[] names
--- @return string typed  what of each is typed already
function complete.names(left, sits)
  if not sits.unfinished and left:find "^%s*:" then
    local names, typed = of_command(left, sits)
    return fitting(names, typed, sits.console.err), typed
  end
  local at = cursor.at(left)
  if at.comment then return {}, "" end
  local names, typed = (at.quote and in_string or in_code)(at, sits)
  return fitting(names, typed, sits.console.err), typed
end

--- @param left string  of the line that is edited
--- @param sits table
--- @return string insert  what Tab puts at the cursor
--- @return string? list  what is possible, where nothing can be put there
function complete.at(left, sits)
  local names, typed = complete.names(sits.unfinished and sits.unfinished .. "\n" .. left or left, sits)
  if not names[1] then return "" end
  local insert = common(names):sub(#typed + 1)
  return insert, insert == "" and #names > 1 and set_in_columns(names, sits.console.err) or nil
end

return complete
