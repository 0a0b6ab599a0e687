--- What the words of procedures are for, take and give: read from the doc comments of neap's own source, from which help,
--- the types for editors and the reference chapter are made.
local embedded = require "native.embedded"
local near     = require "neap.near"
local words    = require "neap.words"

local reference = {}

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
--- @field file string         where it is defined
--- @field line integer

--- @class (exact) neap.reference.word
--- @field name string
--- @field text string         what the module's head says
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

local function entry_at(path, number, name)
  local lines = reference.lines(path)
  local comment = reference.comment_above(lines, number)
  local text, parameters, returns = parse(comment)
  local _, _, _, reads = reference.declared(lines[number])
  return { name = name, text = text, parameters = parameters, returns = returns, reads = reads or false, file = path,
    line = number }
end

-- ---- where a function is defined ----

--- The line of a file in which that name of a table is declared.
local function declared_in(path, name)
  for number, line in ipairs(reference.lines(path)) do
    local _, found = reference.declared(line)
    if found == name then return number end
  end
end

--- A read is wrapped by the engine, so its place is looked for by its name.
local function place_of(fn, path, name)
  local defined = debug.getinfo(fn, "S")
  local own = defined.source:sub(2)
  if defined.what ~= "C" and own ~= "neap/engine/effect.lua" then return own, defined.linedefined end
  local number = declared_in(path, name)
  return number and path, number
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

--- The objects whose methods procedures call, by what they are called in the reference.
local OBJECTS = {
  host = { "neap.targets.connection", "methods", "neap/targets/host.lua", "a host of the environment: env.hosts.NAME" },
  database = { "neap.targets.database", "methods", "neap/targets/sql.lua",
    "a database of the environment: env.databases.NAME" },
}

local function object(name)
  local module, field, path, text = table.unpack(OBJECTS[name])
  words.find("sql", function(found) return found end)
  words.find("host", function(found) return found end)
  return { name = name, text = text, entries = entries_of(require(module)[field], path, name .. ":") }
end

local function of_module(name, place)
  local found = words.find(name, function(module) return module end)
  return { name = name, text = head_of(path_of(place.module)), entries = entries_of(found, path_of(place.module), name .. ".") }
end

local function of_function(name, place)
  local path = path_of(place.module)
  local number = declared_in(path, place.key)
  local entry = number and entry_at(path, number, name)
  return { name = name, text = entry and entry.text or "", entries = { entry } }
end

--- Everything a procedure can name, apart from its own declarations: words, then objects.
--- @return string[]
function reference.names()
  local names = words.names()
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
  local place = words.place(name)
  if place and place.key then return of_function(name, place) end
  local found = place and of_module(name, place)
  if not OBJECTS[name] then return found end
  local methods = object(name)
  if not found then return methods end
  table.move(methods.entries, 1, #methods.entries, #found.entries + 1, found.entries)
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

--- Calls see(name, lines) for each `@class` comment of neap's own Lua: its lines, "---" left out.
--- @param see fun(name: string, lines: string[], path: string)
function reference.each_class(see)
  for _, path in ipairs(embedded.paths()) do
    if path:find "^neap/.*%.lua$" and not path:find "^neap/cli/" then
      local block = {}
      for _, line in ipairs(reference.lines(path)) do
        local text = line:match "^%-%-%- ?(.*)$"
        if text then
          block[#block + 1] = text
        else
          local name = table.concat(block, "\n"):match "@class%s*%(?[%a]*%)?%s*([%w_.]+)"
          if name then see(name, block, path) end
          block = {}
        end
      end
    end
  end
end

--- The fields of a class that options or results are, in the order of its comment.
--- @param class string  "neap.sql.script_options"
--- @return neap.reference.parameter[]?
function reference.fields(class)
  local fields
  reference.each_class(function(name, lines)
    if name ~= class then return end
    fields = {}
    for _, line in ipairs(lines) do
      local rest = line:match "^@field%s+(.*)$"
      if rest then
        fields[#fields + 1] = parameter_of(rest)
      elseif not line:find "^@" then
        add_line(fields, line:gsub("^%s+", ""))
      end
    end
  end)
  return fields
end

return reference
