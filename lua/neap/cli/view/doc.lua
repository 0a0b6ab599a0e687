--- The text of `neap doc`: a word, a function of one, or all there are; on a page, and as Markdown.
local reference = require "neap.reference"

local view = {}

local function first_sentence(text)
  text = text:gsub("\n", " ")
  return text:match "^(.-[%.:;])%s" or text
end

-- ---- on a page ----

local function add_wrapped(lines, page, text, indent)
  local margin = (" "):rep(indent)
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n\n" do
    for _, line in ipairs(page:wrap(paragraph, page.width - indent)) do lines[#lines + 1] = margin .. line end
  end
end

--- Names in a column, then types and what they are.
local function add_parameters(lines, page, list, indent)
  local widest = 0
  for _, one in ipairs(list) do widest = math.max(widest, #one.name) end
  for _, one in ipairs(list) do
    local head = (" "):rep(indent) .. page:paint("cyan", page:left(one.name, widest))
    local said = one.text == "" and one.type or ("%s: %s"):format(one.type, one.text)
    local room = indent + widest + 2
    for i, line in ipairs(page:wrap(said, math.max(page.width - room, 20))) do
      lines[#lines + 1] = (i == 1 and head .. "  " or (" "):rep(room)) .. line
    end
  end
end

--- Of options that have a class, the fields.
local function add_options(lines, page, entry)
  for _, one in ipairs(entry.parameters) do
    local fields = reference.fields(one.type)
    if fields then
      lines[#lines + 1] = ("  %s:"):format(one.name)
      add_parameters(lines, page, fields, 4)
    end
  end
end

local function add_entry(lines, page, entry)
  lines[#lines + 1] = page:paint("bold", reference.call(entry)) .. (entry.reads and page:paint("dim", "  reads") or "")
  add_wrapped(lines, page, entry.text, 2)
  if #entry.parameters > 0 then
    lines[#lines + 1] = ""
    add_parameters(lines, page, entry.parameters, 2)
    add_options(lines, page, entry)
  end
  for _, returned in ipairs(entry.returns) do add_wrapped(lines, page, "returns " .. returned, 2) end
  if entry.parts then
    lines[#lines + 1] = "  parts:"
    add_parameters(lines, page, entry.parts, 4)
  end
end

--- A function or method, whole.
--- @param entry neap.reference.entry
--- @param page neap.page
--- @return string
function view.entry(entry, page)
  local lines = {}
  add_entry(lines, page, entry)
  return table.concat(lines, "\n")
end

--- A word: what it is for, and its functions, a line each.
--- @param word neap.reference.word
--- @param page neap.page
--- @return string
function view.word(word, page)
  if #word.entries == 1 and word.entries[1].name == word.name then return view.entry(word.entries[1], page) end
  local lines = {}
  add_wrapped(lines, page, word.text, 0)
  lines[#lines + 1] = ""
  for _, entry in ipairs(word.entries) do
    lines[#lines + 1] = page:paint("bold", reference.call(entry))
    add_wrapped(lines, page, first_sentence(entry.text), 4)
  end
  return table.concat(lines, "\n")
end

--- All words, a line each, and the chapters of the manual.
--- @param model { words: { name: string, text: string }[], chapters: { name: string, text: string }[] }
--- @param page neap.page
--- @return string
function view.overview(model, page)
  local lines, widest = {}, 0
  for _, list in ipairs { model.words, model.chapters } do
    for _, one in ipairs(list) do widest = math.max(widest, #one.name) end
  end
  local function add(title, list)
    lines[#lines + 1] = title
    for _, one in ipairs(list) do
      local text = page:cut(one.text, math.max(page.width - widest - 4, 20))
      lines[#lines + 1] = ("  %s  %s"):format(page:paint("cyan", page:left(one.name, widest)), text)
    end
  end
  add("Words of procedures", model.words)
  lines[#lines + 1] = ""
  add("Chapters of the manual", model.chapters)
  return table.concat(lines, "\n")
end

--- A chapter for a terminal: of a picture, what it shows.
--- @param text string  Markdown
--- @return string
function view.chapter(text) return (text:gsub("!%[([^%]]*)%]%b()", "(picture: %1)")) end

-- ---- as Markdown ----

local function cell(text) return (text:gsub("|", "\\|"):gsub("\n", " ")) end

local function add_table(lines, list)
  lines[#lines + 1] = ""
  lines[#lines + 1] = "| name | type | what it is |"
  lines[#lines + 1] = "| --- | --- | --- |"
  for _, one in ipairs(list) do
    lines[#lines + 1] = ("| `%s` | `%s` | %s |"):format(one.name, cell(one.type), cell(one.text))
  end
end

local function add_markdown(lines, entry)
  table.move({ "", ("### `%s`"):format(reference.call(entry)), "", entry.text }, 1, 4, #lines + 1, lines)
  local list = {}
  for _, one in ipairs(entry.parameters) do
    list[#list + 1] = one
    for _, field in ipairs(reference.fields(one.type) or {}) do
      list[#list + 1] = { name = one.name .. "." .. field.name, type = field.type, text = field.text }
    end
  end
  for _, part in ipairs(entry.parts or {}) do list[#list + 1] = part end
  if #list > 0 then add_table(lines, list) end
  for _, returned in ipairs(entry.returns) do
    table.move({ "", ("Returns `%s`"):format(returned:gsub("  ", "`: ", 1)) }, 1, 2, #lines + 1, lines)
    if returned:find "  " then lines[#lines] = lines[#lines]:gsub("`$", "") end
  end
end

--- What the verbs say of themselves as a chapter in Markdown.
--- @param list { name: string, summary: string, help: string }[]
--- @return string
function view.commands(list)
  local lines = { "# The command line", "" }
  for _, verb in ipairs(list) do lines[#lines + 1] = ("- `neap %s`: %s"):format(verb.name, verb.summary) end
  for _, verb in ipairs(list) do
    table.move({ "", ("## neap %s"):format(verb.name), "", "```", (verb.help:gsub("\n*$", "")), "```" }, 1, 6,
      #lines + 1, lines)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The reference of all words as a chapter in Markdown.
--- @param all neap.reference.word[]
--- @return string
function view.markdown(all)
  local lines = { "# Reference", "", "What procedures can say. It is made from the comments of neap's own source." }
  for _, word in ipairs(all) do
    table.move({ "", "## " .. word.name }, 1, 2, #lines + 1, lines)
    local own = #word.entries == 1 and word.entries[1].name == word.name
    if not own then table.move({ "", word.text }, 1, 2, #lines + 1, lines) end
    for _, entry in ipairs(word.entries) do add_markdown(lines, entry) end
  end
  return table.concat(lines, "\n") .. "\n"
end

return view
