--- What can be done to the pieces of a YAML text: an entry replaced, added, taken out, given another key. Each change
--- refuses what it cannot do exactly before it does anything.
local find   = require "neap.targets.yaml.find"
local pieces = require "neap.targets.yaml.pieces"
local write  = require "neap.targets.yaml.write"
local yaml   = require "native.yaml"

local change = {}

local refuse = pieces.refuse

--- @class (exact) yaml_change.file
--- @field source yaml_pieces.source
--- @field documents yaml_pieces.entry[]
--- @field step integer    spaces by which maps are indented here
--- @field flush boolean   lists stand in the column of their keys here

-- ---- values ----

--- Whether two pieces of plain data are the same, 1 and 1.0 not.
local function same_data(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b) or a ~= a and b ~= b
  end
  for key, value in pairs(a) do
    if not same_data(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return getmetatable(a) == getmetatable(b) or next(a) ~= nil
end

local function has_value(node, value)
  local ok, now = pcall(write.value, node)
  return ok and not node.tag and same_data(now, value)
end

local function on_own_lines(value) return type(value) == "table" and next(value) ~= nil end

--- A piece of plain data as the root of a text of its own. `before`: an anchor; `comment`: one for the first line of a
--- literal block.
local function node_of(file, value, options, before, comment)
  local text = yaml.emit(value, options)
  if comment and text:find("^|[-+]?\n") then text = text:gsub("\n", function() return comment .. "\n" end, 1) end
  text = (before or "") .. text
  if file.source.newline == "\r\n" then text = text:gsub("\n", "\r\n") end
  local source = pieces.read(text, file.source.name)
  local node = pieces.node(source, 1)
  if not same_data(source.tree:value(1), value) then error("a value does not come back from YAML as it was", 0) end
  return node
end

local QUOTES = { single = "'", double = '"' }

local function emit_options(file, flow, quote)
  return { indent = file.step, flush = file.flush, flow = flow, quote = quote }
end

--- The text of a key; `like`: the text of the one it replaces, whose quotes it takes over.
local function key_text(name, flow, like)
  local quote = like and like:match("^['\"]")
  local text = yaml.emit(name, { flow = true, quote = quote }):sub(1, -2)
  return flow and text or quote and text or yaml.emit({ [name] = 1 }):match("^(.*): 1\n$")
end

local function is_flow(node) return node.style == "flow" end

-- ---- collections that are empty, or not there yet ----

--- A collection without entries, for some to be added.
local function empty_node(file, kind, flow, line)
  return { source = file.source, kind = kind, style = flow and "flow" or "block", line = line, entries = {},
    by_name = {}, dirty = true, column = 0, open = kind == "map" and "{" or "[", close = kind == "map" and "}" or "]" }
end

local function offset_of(file, entry, kind)
  if entry.parent and entry.parent.kind == "list" then return 2 end
  return kind == "list" and file.flush and 0 or file.step
end

--- What stands between an entry's marker and the lines of a block collection in it.
local function block_sep(marker, between, comment, newline)
  if marker == "-" and comment == "" and not between:find("%S") then return "- " end
  return marker .. between:gsub("[ \t]+$", "") .. comment .. newline
end

--- Has an entry that holds `{}`, `[]` or null hold an empty block collection.
local function open_lines(file, entry, node)
  local marker, between = pieces.split(entry.sep)
  local comment, newline = entry.tail:match("^([^\r\n]*)(.*)$")
  if entry.sep:find("\n", 1, true) and entry.parent then
    refuse(entry.source, entry.line, "a value that does not stand in the line of its key")
  end
  if entry.parent then
    entry.sep = block_sep(marker, between, comment:find("#") and comment or "", newline == "" and file.source.newline
      or newline)
    entry.offset = offset_of(file, entry, node.kind)
  else
    entry.sep = entry.sep:gsub("[ \t]+$", function() return file.source.newline end)
    entry.tail, entry.offset = entry.tail:gsub("^[ \t]*\r?\n", "", 1), 0
  end
  node.style, node.column = "block", 0
end

local function is_in_flow(entry) return entry.parent ~= nil and is_flow(entry.parent) end

--- Makes a collection of this kind of what is null, and an open one of an empty one; returns it.
--- @param file yaml_change.file
--- @param owner yaml_pieces.entry
--- @param kind "map"|"list"
--- @return yaml_pieces.node
function change.collection(file, owner, kind)
  local node = owner.value
  if not find.is_null(node) and #pieces.open(node) > 0 then return node end
  if pieces.is_block(node) then return node end
  pieces.touch(owner)
  if find.is_null(node) then
    node = empty_node(file, kind, is_in_flow(owner), owner.line)
    if is_in_flow(owner) and not owner.sep:find(":") then owner.sep = ": " end
  elseif node.open and node.source.text:find("#", node.content, true) and node.source.text:sub(node.content, node.last)
    :find("#", 1, true) then
    refuse(node.source, node.line, "a comment in braces or brackets that hold nothing else")
  end
  owner.value = node
  node.owner = owner
  if not is_in_flow(owner) then open_lines(file, owner, node) end
  return node
end

--- The root of a document that had none.
--- @param file yaml_change.file
--- @param document yaml_pieces.entry
--- @param kind "map"|"list"
--- @return yaml_pieces.node
function change.root(file, document, kind)
  pieces.open_document(document)
  local node = empty_node(file, kind, false, 1)
  document.sep, document.tail = document.tail, ""
  if document.sep:sub(-1) ~= "\n" and document.sep ~= "" and document.sep ~= "\xEF\xBB\xBF" then
    document.sep = document.sep .. file.source.newline
  end
  document.value, document.offset, node.owner = node, 0, document
  return node
end

-- ---- new entries ----

local function bare_entry(file, parent, name)
  return { source = file.source, parent = parent, name = name, renamed = name ~= nil, line = parent.line, column = 0,
    first = 1, start = 1, last = 0, inline = false, gap = "", dirty = true, opened = true, above = "", base = 0,
    key = name and key_text(name, is_flow(parent)) or "", lead = "", trail = "" }
end

--- Gives a new entry the value, and what has to stand between its key or dash and that.
local function give(file, entry, node, comment)
  local marker = entry.parent.kind == "map" and ":" or "-"
  entry.value, node.owner = node, entry
  if is_flow(entry.parent) then
    entry.sep = marker == ":" and ": " or ""
    return
  end
  if pieces.is_block(node) then
    entry.sep = block_sep(marker, "", comment or "", file.source.newline)
    entry.offset = offset_of(file, entry, node.kind)
  else
    entry.sep, entry.tail = marker .. " ", (comment or "") .. file.source.newline
  end
end

--- An entry of this value, for a collection.
--- @param file yaml_change.file
--- @param parent yaml_pieces.node
--- @param name string?  nil in a list
--- @param value any     plain data
--- @return yaml_pieces.entry
function change.new_entry(file, parent, name, value)
  local entry = bare_entry(file, parent, name)
  give(file, entry, node_of(file, value, emit_options(file, is_flow(parent))))
  return entry
end

local function has_comment(text) return text ~= nil and text:find("#", 1, true) ~= nil end

local function one_line(node)
  return not pieces.is_block(node) and not write.node(node):find("\n", 1, true)
end

local function check_into_flow(entry)
  if not one_line(entry.value) or has_comment(entry.above) or has_comment(entry.tail) then
    refuse(entry.source, entry.line, "it does not fit into braces or brackets: it has lines of its own, or a comment")
  end
end

--- The comment in the line of an entry's key or dash, before lines of its own.
local function head_comment(entry)
  local _, between, comment, rest = pieces.split(entry.sep)
  if between:find("%S") or has_comment(rest) then
    refuse(entry.source, entry.line, "a tag, an anchor or comments between a key and its value")
  end
  return comment
end

--- Has an entry that was taken out of a collection fit into another. Its comments stay, and its own way of writing.
--- @param file yaml_change.file
--- @param entry yaml_pieces.entry  opened; it becomes the new one
--- @param parent yaml_pieces.node
--- @param name string?  nil in a list
function change.fit(file, entry, parent, name)
  local from = entry.parent
  if is_flow(parent) then check_into_flow(entry) end
  local same_form = from.kind == parent.kind and is_flow(from) == is_flow(parent)
  if is_flow(from) and not is_flow(parent) and not one_line(entry.value) then
    refuse(entry.source, entry.line, "a value of several lines within braces or brackets")
  end
  local block = pieces.is_block(entry.value)
  local comment = not same_form and block and head_comment(entry) or nil
  entry.parent = parent
  if name ~= entry.name or not same_form then
    entry.key = name and key_text(name, is_flow(parent), entry.name and entry.key) or ""
    entry.name, entry.renamed = name, name ~= nil
  end
  if same_form then return end
  local tail, offset = entry.tail, entry.offset
  entry.above = entry.above or ""
  give(file, entry, entry.value, comment)
  if not is_flow(parent) then
    entry.inline = false
    entry.tail = block and entry.tail or tail or entry.tail
    if is_flow(from) then entry.column, entry.base = 0, 0 end
    entry.offset = block and (parent.kind == "list" and 2 or entry.offset) or offset
  end
end

-- ---- adding ----

local function blank_lead(entry)
  local lead = entry and entry.lead
  return lead and not has_comment(lead) and lead or " "
end

local function place_in_flow(parent, index, entry)
  local entries = parent.entries
  local before, behind = entries[index - 1], entries[index]
  if behind and has_comment(behind.lead) or before and has_comment(before.trail) then
    refuse(parent.source, parent.line, "a comment in braces or brackets, right where something is added")
  end
  entry.trail = ""
  if behind and not before then
    entry.lead = behind.lead
    behind.lead = behind.lead:find("\n", 1, true) and behind.lead or " "
  else
    local second = entries[2]
    local first = entries[1]
    entry.lead = second and blank_lead(second) or first and first.lead:find("\n", 1, true) and first.lead or " "
    if not first then entry.lead = "" end
  end
  if before and not behind then entry.trail, before.trail = before.trail, "" end
end

--- Puts an entry into a collection at an index. `above`: gaps before the one that was there stay before the new one.
--- @param parent yaml_pieces.node
--- @param index integer
--- @param entry yaml_pieces.entry
--- @param above? boolean
function change.add(parent, index, entry, above)
  local entries = parent.entries
  if parent.owner then pieces.touch(parent.owner) end
  find.check_collection(parent, entry.line)
  if is_flow(parent) then
    place_in_flow(parent, index, entry)
  elseif above and entries[index] then
    entry.gap, entries[index].gap = entries[index].gap, ""
  end
  table.insert(entries, index, entry)
  if entry.name then
    parent.by_name[entry.name] = entry
    parent.dotted = parent.dotted or entry.name:find(".", 1, true) ~= nil
  end
  entry.parent, entry.dirty = parent, true
  pieces.mark(entry)
end

-- ---- taking out ----

local function index_of(entry)
  for i, each in ipairs(entry.parent.entries) do
    if each == entry then return i end
  end
end

local function check_flow_removal(parent, index)
  local entries = parent.entries
  local entry, behind = entries[index], entries[index + 1]
  local last = not behind and parent.comma
  local next_lead = behind and behind.lead
  if has_comment(entry.lead) or has_comment(entry.trail) or has_comment(next_lead) or has_comment(last or nil) then
    refuse(entry.source, entry.line, "a comment in braces or brackets, beside what is taken out")
  end
end

local function close_flow_gap(parent, index, entry)
  local entries = parent.entries
  if index == 1 and entries[1] then entries[1].lead = entry.lead end
  if index == #entries + 1 and index > 1 then entries[#entries].trail = entry.trail end
end

local function close_gap(parent, index, entry)
  local behind = parent.entries[index]
  if behind then
    behind.gap = entry.gap .. behind.gap
  else
    parent.rest = entry.gap .. (parent.rest or "")
  end
end

--- Takes an entry out of its collection. Blank lines and comments that do not belong to it stay.
--- @param entry yaml_pieces.entry
function change.take_out(entry)
  local parent, index = entry.parent, index_of(entry)
  pieces.touch(entry)
  if is_flow(parent) then check_flow_removal(parent, index) end
  pieces.mark(entry)
  table.remove(parent.entries, index)
  if entry.name then parent.by_name[entry.name] = nil end
  (is_flow(parent) and close_flow_gap or close_gap)(parent, index, entry)
  entry.gap = ""
end

--- Takes an entry out for good.
--- @param entry yaml_pieces.entry
function change.remove(entry)
  find.check_aliases(entry)
  change.take_out(entry)
end

--- Puts an entry where another is, which is taken out.
--- @param old yaml_pieces.entry
--- @param entry yaml_pieces.entry
function change.exchange(old, entry)
  find.check_aliases(old)
  local parent, index = old.parent, index_of(old)
  pieces.touch(old)
  entry.gap, entry.lead, entry.trail = old.gap, old.lead, old.trail
  parent.entries[index] = entry
  if entry.name then parent.by_name[entry.name] = entry end
  entry.parent, entry.dirty = parent, true
  pieces.mark(entry)
end

-- ---- replacing a value ----

--- The rest of the line that an entry's old value ends or begins in: a comment, and the line end.
local function rest_of_line(entry, newline)
  local value = entry.value
  if pieces.is_block(value) then
    local _, _, comment, rest = pieces.split(entry.sep)
    return comment .. (rest == "" and newline or rest)
  end
  if value.style ~= "literal" and value.style ~= "folded" then return entry.tail end
  local header = value.source.text:sub(value.content, value.last):match("^[|>][-+%d]*([ \t]*#[^\r\n]*)")
  return (header or "") .. entry.tail
end

local function put_lines(file, entry, node, marker, rest)
  local comment, lines = rest:match("^([^\r\n]*)(.*)$")
  comment = has_comment(comment) and comment or ""
  entry.sep = block_sep(marker, "", comment, lines == "" and file.source.newline or lines)
  if lines:find("#", 1, true) then entry.sep = marker .. comment .. lines end
  entry.tail = nil
  entry.offset = offset_of(file, entry, node.kind)
end

--- Has an entry of a block collection hold the value.
local function replace_in_block(file, entry, value)
  local old = entry.value
  local marker, between, _, rest = pieces.split(entry.sep)
  local elsewhere = rest ~= "" and not pieces.is_block(old)
  local lines = on_own_lines(value)
  local quote = type(value) == "string" and QUOTES[old.style] or nil
  local text_lines = type(value) == "string" and value:find("\n", 1, true)
  if elsewhere and (lines or text_lines or old.anchor or old.tag) or lines and old.anchor then
    refuse(entry.source, entry.line, "a value that stands in another line than its key, or has an anchor")
  end
  local line = rest_of_line(entry, file.source.newline)
  local comment = line:match("^[ \t]+#[^\r\n]*")
  local anchor = old.anchor and "&" .. old.anchor .. " " or ""
  local node = node_of(file, value, emit_options(file, false, quote), anchor, comment)
  if lines then
    put_lines(file, entry, node, marker, line)
  elseif not elsewhere then
    local blanks = between:match("^[ \t]*")
    entry.sep = marker .. (blanks == "" and " " or blanks) .. anchor
    entry.tail = node.style == "literal" and comment and line:sub(#comment + 1) or line
  end
  entry.value, entry.base, node.owner = node, 0, entry
end

local function replace_in_flow(file, entry, value)
  local quote = type(value) == "string" and QUOTES[entry.value.style] or nil
  if not one_line(entry.value) then
    refuse(entry.source, entry.line, "a value of several lines within braces or brackets")
  end
  local anchor = entry.value.anchor and "&" .. entry.value.anchor .. " " or ""
  local node = node_of(file, value, emit_options(file, true, quote), anchor)
  if entry.parent.kind == "map" then
    entry.sep = entry.sep:match("^%s*:%s*") or ": "
    if entry.sep:sub(-1) == ":" and not entry.key:find("^['\"]") then entry.sep = entry.sep .. " " end
  else
    entry.sep = ""
  end
  entry.sep = entry.sep .. anchor
  entry.value, node.owner = node, entry
end

--- Gives an entry another value, unless it has that already.
--- @param file yaml_change.file
--- @param entry yaml_pieces.entry
--- @param value any  plain data
function change.replace(file, entry, value)
  if has_value(entry.value, value) then return end
  find.check_aliases(entry)
  pieces.touch(entry);
  (is_flow(entry.parent) and replace_in_flow or replace_in_block)(file, entry, value)
  pieces.mark(entry)
end

--- Gives an entry another key.
--- @param entry yaml_pieces.entry
--- @param name string
function change.rename(entry, name)
  if entry.name == name then return end
  local parent = entry.parent
  local other = parent.by_name[name]
  if other then refuse(other.source, other.line, ("'%s' is there already"):format(name)) end
  find.check_collection(parent, entry.line)
  pieces.touch(entry)
  if entry.key:find("^[&!]") then refuse(entry.source, entry.line, "a key with an anchor or a tag") end
  parent.by_name[entry.name] = nil
  entry.key, entry.name, entry.renamed = key_text(name, is_flow(parent), entry.key), name, true
  parent.by_name[name] = entry
  parent.dotted = parent.dotted or name:find(".", 1, true) ~= nil
  pieces.mark(entry)
end

change.empty_node, change.bare_entry, change.give = empty_node, bare_entry, give

return change
