--- `neap types`: what editors have to know of a procedure's words, as LuaCATS declarations.
local embedded  = require "native.embedded"
local fs        = require "native.fs"
local home      = require "neap.home"
local reference = require "neap.reference"
local words     = require "neap.words"

local types = {
  summary = "write the types of words for editors, and say where they are",
  examples = { "neap types", "neap types ~/runbooks/.types" },
}

function types.arguments(parser)
  parser:argument("folder", "where to write them; without it beside the other data of this user"):args "?"
end

--- Where they are written when nothing is said.
--- @return string
function types.default_folder()
  local data = os.getenv "XDG_DATA_HOME"
  if not data or data == "" then data = home() .. "/.local/share" end
  return data .. "/neap/types"
end

local function comment_of(entry)
  return reference.comment_above(reference.lines(entry.file), entry.line):gsub("^%-%- ", "--- ")
end

--- What a declaration's comment says of its parameters, in the order in which they stand there.
local function names_of(entry)
  local names = {}
  for i, parameter in ipairs(entry.parameters) do names[i] = parameter.name end
  return table.concat(names, ", ")
end

--- Classes which no word declares by its methods.
local function add_classes(lines, with_methods)
  local names = {}
  for name in pairs(reference.classes()) do
    local stands_elsewhere = with_methods[name] or name:find "^neap%.parts%." or name == "neap.env"
    if not stands_elsewhere then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    for _, line in ipairs(reference.classes()[name]) do lines[#lines + 1] = "--- " .. line end
    lines[#lines + 1] = ""
  end
end

local function add_entry(lines, entry, owner)
  lines[#lines + 1] = comment_of(entry)
  lines[#lines + 1] = ("function %s(%s) end"):format(owner, names_of(entry))
  lines[#lines + 1] = ""
end

local function add_methods(lines, word)
  local variable = word.name .. "_methods"
  for _, line in ipairs(reference.classes()[word.class] or { "@class " .. word.class }) do
    lines[#lines + 1] = "--- " .. line
  end
  table.move({ ("local %s = {}"):format(variable), "" }, 1, 2, #lines + 1, lines)
  for _, entry in ipairs(word.entries) do
    local method = entry.name:match ":([%w_]+)$"
    if method then add_entry(lines, entry, variable .. ":" .. method) end
  end
end

local function add_word(lines, word)
  local own = #word.entries == 1 and word.entries[1].name == word.name
  if not own and words.place(word.name) then
    for line in (word.text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = "--- " .. line end
    table.move({ word.name .. " = {}", "" }, 1, 2, #lines + 1, lines)
  end
  for _, entry in ipairs(word.entries) do
    if not entry.name:find(":", 1, true) then add_entry(lines, entry, entry.name) end
  end
  if word.class then add_methods(lines, word) end
end

--- The declarations of all words but those that stand in procedure.lua.
local function text_of_words()
  local all, with_methods = {}, {}
  for _, name in ipairs(reference.names()) do
    local word = reference.word(name)
    if not word.declaration then all[#all + 1] = word end
    if word.class then with_methods[word.class] = true end
  end
  local lines = { "--- @meta neap.words", "" }
  add_classes(lines, with_methods)
  for _, word in ipairs(all) do add_word(lines, word) end
  return table.concat(lines, "\n")
end

local function write(path, text)
  if fs.exists(path) and fs.read(path) == text then return end
  fs.write(path, text, { mode = "0644" })
end

function types.run(options)
  local folder = options.folder or types.default_folder()
  fs.mkdir(folder, "0755")
  write(folder .. "/procedure.lua", embedded.text "types/procedure.lua")
  write(folder .. "/words.lua", text_of_words())
  local console = options.console
  if console.json then return console:answer_json { folder = folder } and 0 end
  console:answer(folder)
end

return types
