--- A YAML text in pieces: collections are opened as far as an edit goes and no further. Every byte of an opened one
--- belongs to one entry, or to the gap before one.
local fault = require "native.error"
local yaml  = require "native.yaml"

local pieces = {}

--- A text that was read, and what is known of it.
--- @class (exact) yaml_pieces.source
--- @field text string
--- @field name string      for messages
--- @field tree native.yaml.tree
--- @field newline string
--- @field base integer     where it begins, behind the byte order mark
--- @field aliases integer[]

--- @class (exact) yaml_pieces.node
--- @field source yaml_pieces.source
--- @field id integer
--- @field kind "map"|"list"|"scalar"|"alias"
--- @field style string
--- @field first integer
--- @field content integer   behind anchor and tag
--- @field last integer
--- @field line integer
--- @field next integer      the first node that does not lie in it
--- @field anchor? string
--- @field tag? string
--- @field owner? yaml_pieces.entry
--- @field dirty? boolean    it, or something in it, was changed
--- @field entries? yaml_pieces.entry[]  once it is opened
--- @field by_name? table<string, yaml_pieces.entry>
--- @field dotted? boolean   some key has a dot in it
--- @field merged? integer   the line of a merge key
--- @field column? integer   of the entries of an opened block collection
--- @field rest? string      gaps behind the last entry, of entries that were removed
--- @field open? string      of a flow collection: its brackets, and what stands behind a last comma
--- @field close? string
--- @field comma? string

--- Where it is not fresh, and not yet opened itself, it is the bytes from first to last of its source.
--- @class (exact) yaml_pieces.entry
--- @field parent? yaml_pieces.node
--- @field source yaml_pieces.source
--- @field value yaml_pieces.node
--- @field key_id? integer
--- @field key_first? integer
--- @field key_last? integer
--- @field name? string
--- @field renamed? boolean
--- @field line integer
--- @field column integer    of its key or dash, in its source
--- @field line_first? integer
--- @field bound? integer     of a document: where it begins
--- @field first integer     where the comments above it begin
--- @field start integer     of its key or dash
--- @field last integer      with its line end
--- @field inline boolean    it stands behind the dash of what it is in
--- @field gap string        blank lines, and comments that belong to no entry, before it
--- @field dirty? boolean
--- @field opened? boolean
--- @field above? string     comments that belong to it
--- @field key? string
--- @field sep? string       from the key to the value, or from the dash on
--- @field tail? string      from a value that is no block collection to the end of the line
--- @field base? integer     the column by which the lines of such a value are shifted
--- @field offset? integer   from its column to that of a block collection in it
--- @field lead? string      of a flow entry: what stands before it
--- @field trail? string     and behind it

--- Raises an error with the place.
--- @param source yaml_pieces.source
--- @param line integer
--- @param message string
--- @param kind? string  default "conflict"
function pieces.refuse(source, line, message, kind)
  fault.raise { kind = kind or "conflict", message = ("%s:%d: %s"):format(source.name, line, message) }
end

local refuse = pieces.refuse

local function line_of(text, at)
  local _, count = text:sub(1, at):gsub("\n", "")
  return count + 1
end

--- Readers disagree about what else ends a line.
local function check_line_ends(source)
  local text = source.text
  local at = text:find("\r", 1, true) and (text .. "."):find("\r[^\n]")
    or text:find("\xC2\x85", 1, true) or text:find("\xE2\x80[\xA8\xA9]")
  if at then refuse(source, line_of(text, at), "a line end that is neither LF nor CRLF") end
end

--- Reads a text. Raises `protocol` where it is no YAML, `conflict` for line ends other than LF and CRLF.
--- @param text string
--- @param name string
--- @return yaml_pieces.source
function pieces.read(text, name)
  local source = { text = text, name = name, base = text:sub(1, 3) == "\xEF\xBB\xBF" and 4 or 1 }
  check_line_ends(source)
  source.tree = yaml.nodes(text, { name = name })
  source.newline = text:match("(\r?\n)") or "\n"
  source.aliases = source.tree:aliases()
  return source
end

--- @param source yaml_pieces.source
--- @param id integer
--- @param owner? yaml_pieces.entry
--- @return yaml_pieces.node
function pieces.node(source, id, owner)
  local kind, style, first, content, last, line, _, next, anchor, tag = source.tree:node(id)
  return { source = source, id = id, kind = kind, style = style, first = first, content = content, last = last,
    line = line, next = next, anchor = anchor, tag = tag, owner = owner }
end

--- @param node yaml_pieces.node
--- @return boolean
function pieces.is_block(node) return node.style == "block" and (node.kind == "map" or node.kind == "list") end

--- @param node yaml_pieces.node
--- @return boolean
function pieces.is_collection(node) return node.kind == "map" or node.kind == "list" end

-- ---- opening block collections ----

local function line_start(source, at)
  local text, i = source.text, at - 1
  while i >= source.base and text:byte(i) ~= 10 do i = i - 1 end
  return i + 1
end

--- The first of the comment lines right above a line, in the same column; the line itself where there are none.
local function comments_above(source, line, column, bound)
  while line > bound do
    local previous = line_start(source, line - 1)
    local _, mark = source.text:find("^ *#", previous)
    if previous < bound or not mark or mark - previous ~= column then break end
    line = previous
  end
  return line
end

--- Where the line ends that a value ends in. Only a comment may follow there.
local function line_end(source, behind, line)
  local text = source.text
  local _, last = text:find("^[ \t]*\r?\n", behind)
  if not last then _, last = text:find("^[ \t]+#[^\n]*\n?", behind) end
  if not last then _, last = text:find("^[ \t]*\r?$", behind) end
  return last or refuse(source, line, "something else follows a value in its line")
end

local function check_gap(source, gap, line)
  for each in gap:gmatch("[^\n]+") do
    if not each:find("^[ \t\r]*$") and not each:find("^[ \t]*#") then
      refuse(source, line, "what stands before this is not understood")
    end
  end
end

--- The dash of an item behind the one before it.
local function next_dash(source, at, line)
  local text = source.text
  while true do
    local mark = text:match("^[ \t]*()", at)
    local byte = text:sub(mark, mark)
    if byte == "-" then return mark end
    if byte ~= "#" and byte ~= "\n" and byte ~= "\r" then refuse(source, line, "the dash of this item is not found") end
    at = (text:find("\n", mark, true) or #text) + 1
  end
end

--- Where the first entry's line begins, and whether it stands behind the dash of what it is in, or behind `---`.
local function first_line(source, start, line)
  local begin = line_start(source, start)
  local before = source.text:sub(begin, start - 1)
  if before:find("^ *$") then return begin, false end
  if before:find("^[ -]*%- +$") then return begin, true end
  return refuse(source, line, "a key or item that does not begin its line")
end

local function check_own_line(source, entry, line)
  local _, last = source.text:find("^ *", line)
  local before = source.text:sub(line - 1, line - 1)
  if last ~= entry.start - 1 or (before ~= "\n" and line ~= source.base) then
    refuse(source, entry.line, "a key or item that does not begin its line")
  end
end

--- Notes an entry's key; returns whether it is one that merges.
local function add_key(source, entry, id)
  local kind, style, first, _, last, line = source.tree:node(id)
  if kind ~= "scalar" then refuse(source, line, "a key that is not plain text") end
  entry.key_id, entry.name, entry.line, entry.key_first, entry.key_last = id, source.tree:text(id), line, first, last
  return style == "plain" and entry.name == "<<"
end

local function add_entry(node, entry)
  local entries = node.entries
  entries[#entries + 1] = entry
  if entry.name then
    node.by_name[entry.name] = entry
    if entry.name:find(".", 1, true) then node.dotted = true end
  end
end

--- Where the entry begins: its key, or its dash. `at`: behind the entry before it.
local function place_block_entry(node, entry, ids, i, at)
  local source = node.source
  if node.kind == "map" then
    if add_key(source, entry, ids[i]) then node.merged = entry.line end
    entry.start = entry.key_first
  else
    entry.line = entry.value.line
    entry.start = at and next_dash(source, at, entry.line) or node.content
  end
end

local function open_block(node)
  local source = node.source
  local ids, step = source.tree:children(node.id), node.kind == "map" and 2 or 1
  local column, at
  for i = 1, #ids, step do
    local entry = { parent = node, source = source, gap = "", inline = false }
    entry.value = pieces.node(source, ids[i + step - 1], entry)
    place_block_entry(node, entry, ids, i, at)
    local line
    if at then
      line = entry.start - column
      check_own_line(source, entry, line)
    else
      line, entry.inline = first_line(source, entry.start, entry.line)
      column = entry.start - line
    end
    local bound = at or node.owner and node.owner.bound or source.base
    entry.column, entry.line_first = column, line
    entry.first = entry.inline and entry.start or line > bound and comments_above(source, line, column, bound) or line
    if at and at < entry.first then
      entry.gap = source.text:sub(at, entry.first - 1)
      check_gap(source, entry.gap, entry.line)
    end
    entry.last = line_end(source, entry.value.last + 1, entry.line)
    at = entry.last + 1
    add_entry(node, entry)
  end
  node.column = column
end

-- ---- opening flow collections ----

--- Behind blanks, line ends and comments.
local function skip_blank(text, at)
  while true do
    local behind = text:match("^[ \t\r\n]*()", at)
    if text:sub(behind, behind) ~= "#" then return behind end
    at = (text:find("\n", behind, true) or #text) + 1
  end
end

local function only_blank(text) return skip_blank(text, 1) > #text end

local BRACKETS = { map = { "{", "}" }, list = { "[", "]" } }

local function check_brackets(node)
  local text, pair = node.source.text, BRACKETS[node.kind]
  if text:sub(node.content, node.content) ~= pair[1] or text:sub(node.last, node.last) ~= pair[2] then
    refuse(node.source, node.line, "a map without braces within a list")
  end
  node.open, node.close = pair[1], pair[2]
end

--- Sets the pieces of a flow entry that begins behind `at`; returns where the next begins.
local function place_flow_entry(node, entry, at)
  local source, value = node.source, entry.value
  local text, start, behind = source.text, value.first, value.last + 1
  if entry.key_id then
    local last = entry.key_last
    start = entry.key_first
    entry.key, entry.sep = text:sub(start, last), text:sub(last + 1, value.content - 1)
    behind = math.max(behind, last + 1)
  else
    entry.key, entry.sep = "", text:sub(value.first, value.content - 1)
  end
  entry.lead = text:sub(at, start - 1)
  local mark = skip_blank(text, behind)
  entry.trail = text:sub(behind, mark - 1)
  if not only_blank(entry.lead) or (text:sub(mark, mark) ~= "," and mark ~= node.last) then
    refuse(source, entry.line, "an entry of braces or brackets that is not understood")
  end
  return mark + 1
end

local function open_flow(node)
  check_brackets(node)
  local source = node.source
  local ids, step = source.tree:children(node.id), node.kind == "map" and 2 or 1
  local at = node.content + 1
  for i = 1, #ids, step do
    local entry = { parent = node, source = source, gap = "", inline = true, opened = true, column = 0, base = 0 }
    entry.value = pieces.node(source, ids[i + step - 1], entry)
    entry.line = entry.value.line
    if step == 2 and add_key(source, entry, ids[i]) then node.merged = entry.line end
    at = place_flow_entry(node, entry, at)
    add_entry(node, entry)
  end
  if at <= node.last then node.comma = #ids > 0 and source.text:sub(at, node.last - 1) or nil end
end

--- The entries of a collection. Raises `conflict` with the place where it is written in a way that cannot be edited.
--- @param node yaml_pieces.node
--- @return yaml_pieces.entry[]
function pieces.open(node)
  if node.entries then return node.entries end
  local entries = {}
  node.entries, node.by_name = entries, {}
  local ok, failure = pcall(node.style == "flow" and open_flow or open_block, node)
  if ok then return entries end
  node.entries = nil
  return error(failure, 0)
end

-- ---- opening entries ----

local function check_marker(entry)
  local map = entry.parent.kind == "map"
  if map and not entry.sep:find("^[ \t]*:") or not map and entry.sep:sub(1, 1) ~= "-" then
    refuse(entry.source, entry.line, "an entry that is written with a question mark")
  end
end

--- Takes an entry apart, so that something of it can be replaced.
--- @param entry yaml_pieces.entry
function pieces.open_entry(entry)
  if entry.opened then return end
  local text, value = entry.source.text, entry.value
  local behind = entry.key_last and entry.key_last + 1 or entry.start
  entry.above = entry.inline and "" or text:sub(entry.first, entry.line_first - 1)
  entry.key = entry.key_last and text:sub(entry.start, entry.key_last) or ""
  entry.base = entry.column
  if pieces.is_block(value) then
    local first = pieces.open(value)[1]
    entry.sep = text:sub(behind, first.first - 1)
    entry.offset = value.column - entry.column
  else
    entry.sep = text:sub(behind, value.content - 1)
    entry.tail = text:sub(value.last + 1, entry.last)
  end
  check_marker(entry)
  entry.opened = true
end

--- Takes apart an entry and all that it lies in, for it is changed.
--- @param entry yaml_pieces.entry
function pieces.touch(entry)
  while entry and entry.parent do
    pieces.open_entry(entry)
    entry = entry.parent.owner
  end
  if entry then pieces.open_document(entry) end
end

--- Notes the change. `touch` comes first, for it may refuse.
--- @param entry yaml_pieces.entry
function pieces.mark(entry)
  while entry do
    entry.dirty = true
    if not entry.parent then return end
    entry.parent.dirty = true
    entry = entry.parent.owner
  end
end

--- A separator's marker, what stands behind it in its line, the comment there, and the lines that follow.
--- @param sep string
--- @return string marker
--- @return string between
--- @return string comment
--- @return string rest  begins with the line end, if there is one
function pieces.split(sep)
  local marker = sep:match("^[ \t]*:") or sep:match("^%-") or ""
  local line, rest = sep:sub(#marker + 1):match("^([^\n]*)(.*)$")
  if line:sub(-1) == "\r" then line, rest = line:sub(1, -2), "\r" .. rest end
  local comment = line:match("[ \t]+#.*$") or ""
  return marker, line:sub(1, #line - #comment), comment, rest
end

-- ---- documents ----

--- The documents as entries without a parent: `sep` is what stands before the root, `tail` what stands behind it.
--- @param source yaml_pieces.source
--- @return yaml_pieces.entry[]
function pieces.documents(source)
  local found, list = source.tree:documents(), {}
  for i, each in ipairs(found) do
    local last = found[i + 1] and found[i + 1].first - 1 or #source.text
    local document = { source = source, first = each.first, last = last, line = 1, column = 0, gap = "",
      bound = math.max(each.first, source.base), start = each.first, inline = false, offset = 0, base = 0 }
    if each.root then
      document.value = pieces.node(source, each.root, document)
      document.line = document.value.line
    end
    list[i] = document
  end
  return list
end

--- Takes a document's surroundings apart.
--- @param document yaml_pieces.entry
function pieces.open_document(document)
  if document.opened then return end
  local text, value = document.source.text, document.value
  if not value then
    document.sep, document.tail = "", text:sub(document.first, document.last)
  elseif pieces.is_block(value) then
    local entries = pieces.open(value)
    document.sep = text:sub(document.first, entries[1].first - 1)
    document.tail = text:sub(entries[#entries].last + 1, document.last)
    document.offset = value.column
  else
    document.sep = text:sub(document.first, value.content - 1)
    document.tail = text:sub(value.last + 1, document.last)
  end
  document.opened = true
end

return pieces
