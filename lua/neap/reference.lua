--- What the words of procedures are for, take and give: read from the doc comments of neap's own source, from which help,
--- the types for editors and the reference chapter are made.
local embedded = require "native.embedded"
local near     = require "neap.near"
local words    = require "neap.words"

local reference = {}

local DECLARATIONS = "types/procedure.lua"

--- @class (exact) neap.reference.parameter
--- @field name string
--- @field type string
--- @field text string
--- @field optional boolean

--- @class (exact) neap.reference.entry
--- @field name string         "sql.script", "host:run"
--- @field text string         what it does; lines
--- @field parameters neap.reference.parameter[]
--- @field returns string[]    each a type, and what it is
--- @field reads boolean       it is declared a read
--- @field parts? neap.reference.parameter[]  of a step, a wait …: what its table may have
--- @field file string         where it is defined
--- @field line integer

--- @class (exact) neap.reference.word
--- @field name string
--- @field class? string       of an object
--- @field text string         what the module's head says
--- @field declaration? boolean  it stands at the level of a file, as in types/procedure.lua
--- @field entries neap.reference.entry[]

-- ---- source ----

local sources = {}

--- The lines of a file of neap's own Lua.
--- @param path string  below `lua/`
--- @return string[]
function reference.lines(path)
  if sources[path] then return sources[path] end
  local lines = {}
  for line in ((embedded.text(path) or "") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  sources[path] = lines
  return lines
end

--- The comment of `--- ` lines that ends above a line.
--- @param lines string[]
--- @param number integer
--- @return string
function reference.comment_above(lines, number)
  local first = number
  while first > 1 and lines[first - 1]:find "^%-%-%-" do first = first - 1 end
  return table.concat(lines, "\n", first, number - 1)
end

--- What a line begins that has a name in a table: the table, the name, its parameters as they stand there, and whether
--- it is a declared read.
--- @param line string
--- @return string? owner
--- @return string? name
--- @return string? parameters
--- @return boolean? reads
function reference.declared(line)
  local owner, name, parameters = line:match "^function ([%w_]+)[.:]([%w_]+)%((.-)%)"
  if owner then return owner, name, parameters, false end
  owner, name, parameters = line:match "^([%w_]+)%.([%w_]+) = effect%.read%(.-function%((.-)%)"
  return owner, name, parameters, owner ~= nil
end

-- ---- a comment ----

local function add_line(list, line)
  local last = list[#list]
  if last then last.text = (last.text .. " " .. line):gsub("^%s+", "") end
end

--- A type ends at the first space outside brackets and behind no `|`, `:` or `,`.
local function split_type(text)
  local depth = 0
  for at = 1, #text do
    local byte = text:sub(at, at)
    if byte:find "[%(%[{<]" then depth = depth + 1 elseif byte:find "[%)%]}>]" then depth = depth - 1 end
    if byte == " " and depth == 0 and not text:sub(1, at - 1):find "[|:,]%s*$" then
      return text:sub(1, at - 1), (text:sub(at):gsub("^%s+", ""))
    end
  end
  return text, ""
end

local function parameter_of(text)
  local name, optional, rest = text:match "^([%w_.]+)(%??)%s+(.*)$"
  if not name then return { name = text, type = "any", text = "", optional = false } end
  local kind, said = split_type(rest)
  return { name = name, type = kind, text = said, optional = optional == "?" }
end

local function parse(comment)
  local text, parameters, returns, open = {}, {}, {}, nil
  for line in (comment .. "\n"):gmatch "%-%-%-? ?([^\n]*)\n" do
    local tag, rest = line:match "^@(%a+)%s*(.*)$"
    if tag == "param" then
      open = parameters
      parameters[#parameters + 1] = parameter_of(rest)
    elseif tag == "return" then
      open = returns
      local kind, said = split_type(rest)
      returns[#returns + 1] = { text = said == "" and kind or kind .. "  " .. said }
    elseif tag then
      open = {}
    elseif open then
      add_line(open, line:gsub("^%s+", ""))
    else
      text[#text + 1] = line
    end
  end
  for i, one in ipairs(returns) do returns[i] = one.text end
  return table.concat(text, "\n"), parameters, returns
end

--- What is said above a line on what begins there, of any file.
--- @param lines string[]
--- @param number integer
--- @param name string
--- @param path string  of the file
--- @return neap.reference.entry
function reference.entry(lines, number, name, path)
  local text, parameters, returns = parse(reference.comment_above(lines, number))
  local _, _, _, reads = reference.declared(lines[number])
  return { name = name, text = text, parameters = parameters, returns = returns, reads = reads or false, file = path,
    line = number }
end

local function entry_at(path, number, name) return reference.entry(reference.lines(path), number, name, path) end

-- ---- where a function is defined ----

--- The line of a file in which that name of a table is declared, with a comment above it.
local function declared_in(path, name)
  local lines = reference.lines(path)
  for number, line in ipairs(lines) do
    local found = select(2, reference.declared(line)) or line:match "^[%w_]+%.([%w_]+) = "
    if found == name and reference.comment_above(lines, number) ~= "" then return number end
  end
end

--- A function that another one has made is looked for by its name: in its module's file, or where it was made.
local function place_of(fn, path, name)
  local defined = debug.getinfo(fn, "S")
  local own = defined.source:sub(2)
  if reference.comment_above(reference.lines(own), defined.linedefined) ~= "" then return own, defined.linedefined end
  local number = declared_in(path, name)
  if number then return path, number end
  return own, declared_in(own, name) or defined.linedefined
end

local function entries_of(module, path, prefix)
  local entries = {}
  for name, value in pairs(module) do
    if type(name) == "string" and type(value) == "function" and not name:find "^__" then
      local file, number = place_of(value, path, name)
      entries[#entries + 1] = file and entry_at(file, number, prefix .. name)
    end
  end
  table.sort(entries, function(a, b) return a.name < b.name end)
  return entries
end

local function path_of(module) return (module:gsub("%.", "/") .. ".lua") end

--- What stands in the head of a file.
local function head_of(path)
  local head = {}
  for _, line in ipairs(reference.lines(path)) do
    local text = line:match "^%-%-%-? ?(.*)$"
    if not text then break end
    head[#head + 1] = text
  end
  return table.concat(head, "\n")
end

-- ---- what there is ----

--- The objects whose methods procedures call, by what they are called here: the file of their methods, the local that
--- has them there, their class, and where procedures get such an object.
local OBJECTS = {
  host = { "neap/targets/host.lua", "host", "neap.host", "A host of the environment: env.hosts.NAME." },
  database = { "neap/targets/sql.lua", "database", "neap.database",
    "A database of the environment: env.databases.NAME." },
  transaction = { "neap/targets/sql/transaction.lua", "Tx", "neap.transaction",
    "What the function of database:transaction gets." },
  yaml_document = { "neap/targets/yaml/edit.lua", "document", "yaml_edit.document",
    "What the function of yaml.edit gets." },
  nginx_document = { "neap/targets/nginx/conf.lua", "document", "nginx_conf.document",
    "What the function of nginx.edit gets." },
  aws_client = { "neap/targets/aws.lua", "Client", "aws.client",
    "What aws.client returns; its other methods are the operations of its service." },
}

local function object(name)
  local path, variable, class, text = table.unpack(OBJECTS[name])
  local entries = {}
  for number, line in ipairs(reference.lines(path)) do
    local owner, method = reference.declared(line)
    if owner == variable and not method:find "^__" and reference.comment_above(reference.lines(path), number) ~= "" then
      entries[#entries + 1] = entry_at(path, number, name .. ":" .. method)
    end
  end
  table.sort(entries, function(a, b) return a.name < b.name end)
  return { name = name, class = class, text = text, entries = entries }
end

local function of_module(name, place)
  local found = words.find(name, function(module) return module end)
  local path = path_of(place.module)
  return { name = name, text = head_of(path), entries = entries_of(found, path, name .. ".") }
end

local function of_function(name, place)
  local path = path_of(place.module)
  local number = declared_in(path, place.key)
  local entry = number and entry_at(path, number, name)
  return { name = name, text = entry and entry.text or "", entries = { entry } }
end

--- What is said at the level of a file, which the engine makes for each procedure anew: by name.
local function declarations()
  local found = {}
  for number, line in ipairs(reference.lines(DECLARATIONS)) do
    local name = line:match "^function ([%w_]+)%("
    if name then found[name] = number end
  end
  return found
end

local function of_declaration(name, number)
  local entry = entry_at(DECLARATIONS, number, name)
  entry.parts = reference.fields("neap.parts." .. name)
  return { name = name, text = entry.text, entries = { entry }, declaration = true }
end

--- Everything a procedure can name: its declarations, words, and objects with methods.
--- @return string[]
function reference.names()
  local names = words.names()
  for name in pairs(declarations()) do names[#names + 1] = name end
  for name in pairs(OBJECTS) do
    if not words.place(name) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- A word, or an object with methods: nil where there is none of that name.
--- @param name string
--- @return neap.reference.word?
function reference.word(name)
  local place, number = words.place(name), declarations()[name]
  if number then return of_declaration(name, number) end
  if place and place.key then return of_function(name, place) end
  local found = place and of_module(name, place)
  if not OBJECTS[name] then return found end
  local methods = object(name)
  if not found then return methods end
  table.move(methods.entries, 1, #methods.entries, #found.entries + 1, found.entries)
  found.class = methods.class
  return found
end

--- What is said of a word, or of one function or method of it: "sql", "sql.script", "host:run". nil where there is
--- none; then also the nearest name.
--- @param name string
--- @return neap.reference.word|neap.reference.entry|nil found
--- @return string? hint
function reference.find(name)
  local word = name:match "^[%w_]+"
  local found = word and reference.word(word)
  if not found then return nil, near.question(name, reference.names()) end
  if word == name then return found end
  local names = {}
  for _, entry in ipairs(found.entries) do
    if entry.name == name then return entry end
    names[#names + 1] = entry.name
  end
  return nil, near.question(name, names)
end

--- How an entry is called: "sql.script(db, file [, options])".
--- @param entry neap.reference.entry
--- @return string
function reference.call(entry)
  local text, open = "", 0
  for i, parameter in ipairs(entry.parameters) do
    local comma = i > 1 and ", " or ""
    if parameter.optional then
      text, open = ("%s%s[%s%s"):format(text, i > 1 and " " or "", comma, parameter.name), open + 1
    else
      text = text .. comma .. parameter.name
    end
  end
  return ("%s(%s%s)"):format(entry.name, text, ("]"):rep(open))
end

-- ---- classes ----

--- Adds the classes of a file: each its comment's lines, "---" left out.
local function add_classes(classes, path)
  local block = {}
  for _, line in ipairs(reference.lines(path)) do
    local text = line:match "^%-%-%- ?(.*)$"
    if text then
      block[#block + 1] = text
    else
      local name = table.concat(block, "\n"):gsub("%(exact%) ", ""):match "@class ([%w_.]+)"
      if name then classes[name] = block end
      block = {}
    end
  end
end

local all_classes

--- The lines of the comment of each class of neap's own Lua, by its name.
--- @return table<string, string[]>
function reference.classes()
  if all_classes then return all_classes end
  all_classes = {}
  for _, path in ipairs(embedded.paths()) do
    if path == DECLARATIONS or path:find "^neap/.*%.lua$" and not path:find "^neap/cli/" then
      add_classes(all_classes, path)
    end
  end
  return all_classes
end

--- The fields of a class that options or results are, in the order of its comment, then those it inherits.
--- @param class string  "neap.sql.script_options"
--- @return neap.reference.parameter[]?
function reference.fields(class)
  local lines = reference.classes()[class]
  if not lines then return nil end
  local fields, parent = {}, nil
  for _, line in ipairs(lines) do
    local rest = line:match "^@field%s+(.*)$"
    parent = parent or line:match "^@class [^:]*:%s*([%w_.]+)"
    if rest then
      fields[#fields + 1] = parameter_of(rest)
    elseif not line:find "^@" then
      add_line(fields, line:gsub("^%s+", ""))
    end
  end
  for _, one in ipairs(parent and reference.fields(parent) or {}) do fields[#fields + 1] = one end
  return fields
end

return reference
