--- `help(x)`: what a word, a function, a method or an object is, by the doc comments that `neap doc` shows, too.
local fault     = require "native.error"
local reference = require "neap.reference"
local view      = require "neap.cli.view.doc"
local words     = require "neap.words"

local help = {}

--- Objects of an environment: the module that brings their methods, and where these are.
local OBJECTS = {
  host = { "neap.targets.host", function() return require("neap.targets.connection").methods end },
  database = { "neap.targets.sql", function() return require("neap.targets.database").methods end },
}

--- The kind of an object: "host", "database", or nil.
--- @param value any
--- @return string?
function help.class(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return OBJECTS[name] and name or nil
end

--- The methods of a kind of objects, by name.
--- @param class string
--- @return table<string, function>
function help.methods(class)
  require(OBJECTS[class][1])
  return OBJECTS[class][2]()
end

-- ---- keys of options ----

--- The keys of "{ mode?: string, owner?: string }".
local function keys_within(shape)
  local keys, depth, from = {}, 0, 2
  for i = 1, #shape do
    local c = shape:sub(i, i)
    if c:find "[{(<%[]" then depth = depth + 1 end
    if c:find "[})>%]]" then depth = depth - 1 end
    if (c == "," and depth == 1) or (c == "}" and depth == 0) then
      keys[#keys + 1] = shape:sub(from, i - 1):match "^%s*([%a_][%w_]*)%??:"
      from = i + 1
    end
  end
  return keys
end

--- The keys of the table of options that a function takes last.
--- @param name string  "file.write", "host:read"
--- @return string[]
function help.options(name)
  local entry = reference.find(name)
  local last = entry and entry.parameters and entry.parameters[#entry.parameters]
  if not last or last.name ~= "options" then return {} end
  local keys = last.type:find "^{" and keys_within(last.type) or {}
  for _, field in ipairs(reference.fields(last.type) or {}) do keys[#keys + 1] = field.name end
  return keys
end

-- ---- texts ----

local function of_name(name, page)
  local found, hint = reference.find(name)
  if found then return (found.entries and view.word or view.entry)(found, page) end
  fault.raise { kind = "missing", where = "", message = ("there is no help on %s.%s"):format(name, hint or "") }
end

local function overview(page)
  local found = { words = {}, chapters = {} }
  for i, name in ipairs(reference.names()) do
    found.words[i] = { name = name, text = reference.word(name).text:match "^[^\n]*" }
  end
  return view.overview(found, page)
end

--- The name of a function among the words' and the objects'.
local function name_of(fn, session)
  for _, name in ipairs(words.names()) do
    local value = session.procedure.globals[name]
    if value == fn then return name end
    for member, one in pairs(type(value) == "table" and value or {}) do
      if one == fn then return name .. "." .. member end
    end
  end
  for class in pairs(OBJECTS) do
    for member, one in pairs(help.methods(class)) do
      if one == fn then return class .. ":" .. member end
    end
  end
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

--- A function that is a library's or the procedure's own.
local function of_repository(fn, session, page)
  local found = debug.getinfo(fn, "S")
  local path = found.source:match "^@(.*)$"
  local lines = path and session.files[path] and lines_of(session.files[path])
  local name = lines and lines[found.linedefined] and lines[found.linedefined]:match "function ([%w_.:]+)%("
  if not name then return "a function" end
  local entry = reference.entry(lines, found.linedefined, name, path)
  return ("%s\n  %s:%d"):format(view.entry(entry, page), page:clean(path), found.linedefined)
end

local function of_table(value, session, page)
  for _, name in ipairs(words.names()) do
    if session.procedure.globals[name] == value then return of_name(name, page) end
  end
  local names = {}
  for key in pairs(value) do names[#names + 1] = page:clean(tostring(key)) end
  return table.concat(page:wrap(table.concat(names, "  "), page.width), "\n")
end

--- The text of it.
--- @param what any  a value, or a name as in "file.write"
--- @param session table
--- @param page neap.page
--- @return string
function help.text(what, session, page)
  if what == nil then return overview(page) end
  if type(what) == "string" then return of_name(what, page) end
  local class = help.class(what)
  if class then return of_name(class, page) end
  if type(what) == "table" then return of_table(what, session, page) end
  if type(what) ~= "function" then return ("a %s"):format(type(what)) end
  local name = name_of(what, session)
  return name and of_name(name, page) or of_repository(what, session, page)
end

return help
