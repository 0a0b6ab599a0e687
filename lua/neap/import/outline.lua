--- A guide's outline: its headings, and what is to be done below them, each with its lines. No line is left out: what stands
--- between two entries belongs to the first.
local markdown = require "native.markdown"
local terminal = require "native.terminal"

--- @class neap.outline_entry
--- @field kind "phase"|"step"|"remark"
--- @field title string  one line, without marks
--- @field first integer
--- @field last integer
--- @field from? string  where it is not first to last
--- @field names_guide? boolean  its title is the guide's own
--- @field code { info: string, text: string }[]  its blocks of code
--- @field lines string[]  its own lines, as they are

local outline = {}

local LONGEST = 72 -- letters of a title

--- @param text string
--- @return string[]
function outline.lines(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = (line:gsub("\r$", "")) end
  return lines
end

-- ---- pandoc's dialect ----

--- "a." and "iv." begin items there. Numbers of the same width do so in CommonMark, where only a 1 may follow a text at
--- once; and a ">" below an item is a line that was wrapped, not a quotation.
local function as_commonmark(lines)
  local list = {}
  for i, line in ipairs(lines) do
    local indent, marker, rest = line:match "^(%s*)(%l+)([.)]%s.*)$"
    local roman = marker and marker:find "^[ivxl]+$"
    if marker and (#marker == 1 or roman) then
      line = indent .. ("0"):rep(#marker - 1) .. "1" .. rest
    end
    list[i] = line:gsub("^(%s%s%s%s+)>", "%1 "):gsub("\r", " ") -- alone it ends a line there, and none here
  end
  return table.concat(list, "\n") .. "\n"
end

-- ---- titles ----

local function first_sentence(text)
  local sentence = text:match "^(.-[.!?])%s+%u" or text
  return #sentence > 12 and sentence or text
end

local function cut(text)
  if (utf8.len(text) or #text) <= LONGEST then return text end
  local kept = text:sub(1, (utf8.offset(text, LONGEST) or LONGEST) - 1)
  return (kept:gsub("%s+%S*$", ""))
end

--- Of a table what its columns are.
local function of_table(text)
  local head = text:match "^|(.-)|%s*|?%s*:?%-%-"
  return head and "Table of " .. head:match "^%s*(.-)%s*$":gsub("%s*|%s*", ", ") or text
end

--- A slash parts a step from its branches, so a title has none.
local function title_of(text, first)
  local title = terminal.clean((text:gsub("^%[[ xX]%]%s*", ""):gsub("%s+", " ")))
  title = cut(first_sentence(of_table(title))):gsub("/", "-"):gsub("^%s+", ""):gsub("[%s:.,;]+$", "")
  if title == "" or title == "repl" then title = ("Line %d"):format(first) end
  return title
end

-- ---- blocks to entries ----

local function add(found, kind, first, text)
  local entry = { kind = kind, first = first, text = text, title = title_of(text, first), code = {} }
  found[#found + 1] = entry
  return entry
end

--- What is to be typed is never a mere remark.
local function add_code(found, block)
  local last = found[#found]
  if not last or last.kind ~= "step" then last = add(found, "step", block.first, block.text:match "%S[^\n]*" or "") end
  table.insert(last.code, { info = block.info, text = block.text })
end

local function is_task(text) return text ~= nil and text:find "^%[[ xX]%]" ~= nil end

--- A list that only says more of what it stands below: names, no tasks and no commands.
local function only_says_more(list)
  if list.ordered then return false end
  for _, item in ipairs(list) do
    for i, block in ipairs(item) do
      local says = block.type == "paragraph" and i == 1 and not is_task(block.text)
      if not says and not (block.type == "list" and only_says_more(block)) then return false end
    end
  end
  return true
end

local walk

local function walk_item(found, item)
  local lead = item[1]
  if lead and lead.type == "heading" then return walk(found, item) end
  add(found, "step", item.first, lead and lead.type == "paragraph" and lead.text or "")
  for _, block in ipairs(item) do
    if block.type == "code" then add_code(found, block) end
    if block.type == "list" and not only_says_more(block) then walk(found, { block }) end
  end
end

local on = {}

function on.heading(found, block) add(found, "phase", block.first, block.text) end
function on.code(found, block) add_code(found, block) end
function on.quote(found, block) add(found, "remark", block.first, block[1] and block[1].text or "") end
function on.list(found, block)
  for _, item in ipairs(block) do walk_item(found, item) end
end

function on.paragraph(found, block)
  local is_note = block.text:lower():find "^note%f[%W]"
  add(found, is_note and "remark" or "step", block.first, block.text)
end

function walk(found, blocks)
  for _, block in ipairs(blocks) do
    if on[block.type] then on[block.type](found, block) end
  end
end

-- ---- front matter ----

local LONGEST_MATTER = 200 -- lines

--- The last line of the YAML that some tools want at a guide's top, between lines of dashes; nil where there is none.
local function end_of_matter(lines)
  if not lines[1] or not lines[1]:find "^%-%-%-%s*$" or not (lines[2] or ""):find "^[%w_-]+:" then return nil end
  for i = 2, math.min(#lines, LONGEST_MATTER) do
    if lines[i]:find "^%-%-%-%s*$" or lines[i]:find "^%.%.%.%s*$" then return i end
  end
end

local function title_in(lines, last)
  for i = 2, last - 1 do
    local title = lines[i]:match "^title:%s*(.-)%s*$"
    if title then return (title:gsub('^(["\'])(.*)%1$', "%2")) end
  end
end

--- A remark of the front matter, and the lines with none in its place.
local function take_matter(found, lines)
  local last = end_of_matter(lines)
  if not last then return lines end
  local title = title_in(lines, last)
  add(found, "remark", 1, title and title ~= "" and title or "What the guide says of itself").names_guide = title ~= nil
  local rest = table.move(lines, last + 1, #lines, last + 1, {})
  for i = 1, last do rest[i] = "" end
  return rest
end

-- ---- lines ----

--- Each entry reaches to the next one; the first begins with the guide.
local function set_lines(found, lines)
  for i, entry in ipairs(found) do
    if i == 1 then entry.first = 1 end
    entry.last = found[i + 1] and found[i + 1].first - 1 or #lines
    while entry.last > entry.first and not lines[entry.last]:find "%S" do entry.last = entry.last - 1 end
    entry.lines = table.move(lines, entry.first, entry.last, 1, {})
  end
end

--- Two entries may begin on one line, as an item that is a list.
local function drop_empty(found)
  local kept = {}
  for i, entry in ipairs(found) do
    local following = found[i + 1]
    if not following or following.first > entry.first then
      kept[#kept + 1] = entry
    elseif entry.kind == "phase" then
      following.above = entry.title
    end
  end
  return kept
end

--- A title names one step.
local function tell_apart(found)
  local seen = {}
  for _, entry in ipairs(found) do
    if entry.kind == "step" then
      local count = (seen[entry.title] or 0) + 1
      seen[entry.title] = count
      if count > 1 then
        entry.title = ("%s (%d)"):format(entry.title, count)
        seen[entry.title] = 1
      end
    end
  end
end

--- @param text string  a guide, in CommonMark or as pandoc writes it
--- @return neap.outline_entry[]
function outline.of(text)
  local lines, found = outline.lines(text), {}
  walk(found, markdown.blocks(as_commonmark(take_matter(found, lines))))
  if #found == 0 and text:find "%S" then add(found, "remark", 1, text:match "%S[^\n]*") end
  table.sort(found, function(a, b) return a.first < b.first end)
  found = drop_empty(found)
  set_lines(found, lines)
  tell_apart(found)
  return found
end

return outline
