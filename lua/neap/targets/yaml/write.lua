--- Writes a YAML text in pieces out again, and tells what it says: what was not opened is the bytes it was.
local json   = require "native.json"
local pieces = require "neap.targets.yaml.pieces"

local write = {}

local MARK = "\xEF\xBB\xBF" -- of the byte order

--- The lines of a text moved to the right, or to the left as far as they can.
local function shifted(text, by, but_first)
  if by == 0 or text == "" then return text end
  local marked = but_first and text or "\n" .. text
  if by > 0 then
    marked = marked:gsub("\n([^\r\n])", "\n" .. (" "):rep(by) .. "%1")
  else
    marked = marked:gsub("\n( +)", function(blanks) return "\n" .. blanks:sub(1 - by) end)
  end
  return but_first and marked or marked:sub(2)
end

local function push(out, text)
  if text == "" then return end
  out[#out + 1] = text
end

--- Whatever was written last, what follows begins a line.
local function begin_line(out)
  local before = out[#out]
  if before and before:sub(-1) ~= "\n" and before ~= MARK then push(out, out.newline) end
end

local write_block, write_flow

--- The text of a node that is no block collection, without its anchor and tag.
--- @param node yaml_pieces.node
--- @return string
function write.node(node)
  if node.dirty then return write_flow(node) end
  return node.source.text:sub(node.content, node.last)
end

local value_text = write.node

function write_flow(node)
  local parts = { node.open }
  for i, entry in ipairs(node.entries) do
    parts[#parts + 1] = (i > 1 and "," or "") .. entry.lead .. entry.key .. entry.sep
    parts[#parts + 1] = value_text(entry.value) .. entry.trail
  end
  if node.comma and #node.entries > 0 then parts[#parts + 1] = "," .. node.comma end
  parts[#parts + 1] = node.close
  return table.concat(parts)
end

local function write_empty(entry, out, shift)
  if not entry.parent then
    push(out, entry.sep .. (entry.value.kind == "map" and "{}" or "[]") .. out.newline)
    return push(out, entry.value.rest or "")
  end
  local marker, between, comment, rest = pieces.split(entry.sep)
  local node = entry.value
  if not between:find("[ \t]$") and (marker ~= "" or between ~= "") then between = between .. " " end
  push(out, marker .. between .. (node.kind == "map" and "{}" or "[]") .. comment)
  push(out, shifted(rest == "" and out.newline or rest, shift, true))
  push(out, shifted(node.rest or "", shift))
end

local function may_be_inline(node)
  local first = node.entries[1]
  if first.gap ~= "" then return false end
  if first.opened then return first.above == "" end
  return first.inline or first.first == first.line_first
end

local function begins_line(sep) return sep == "" or sep == MARK or sep:sub(-1) == "\n" end

local function write_block_value(entry, column, out)
  local node, sep, shift = entry.value, entry.sep, column - entry.column
  if #pieces.open(node) == 0 then return write_empty(entry, out, shift) end
  local inline = not begins_line(sep) and may_be_inline(node)
  if not inline and not begins_line(sep) then sep = sep:gsub("[ \t]+$", "") .. out.newline end
  push(out, shifted(sep, shift, true))
  write_block(node, column + entry.offset, out, inline)
end

local function write_value(entry, column, out)
  if pieces.is_block(entry.value) then return write_block_value(entry, column, out) end
  push(out, shifted(entry.sep, column - entry.column, true))
  push(out, shifted(value_text(entry.value), column - entry.base, true))
  push(out, entry.tail)
end

--- One that nothing in it has changed: the bytes it was, but for its indentation.
local function write_intact(entry, column, inline, out)
  local text, shift = entry.source.text, column - entry.column
  if inline or entry.inline then
    if not inline then push(out, (" "):rep(column)) end
    return push(out, shifted(text:sub(entry.start, entry.last), shift, true))
  end
  push(out, shifted(text:sub(entry.first, entry.last), shift))
end

local function write_entry(entry, column, inline, out)
  if not inline then begin_line(out) end
  if not entry.dirty then return write_intact(entry, column, inline, out) end
  if not inline then
    push(out, shifted(entry.above, column - entry.column))
    push(out, (" "):rep(column))
  end
  push(out, entry.key)
  write_value(entry, column, out)
end

function write_block(node, column, out, inline)
  for i, entry in ipairs(node.entries) do
    if entry.gap ~= "" then
      begin_line(out)
      push(out, shifted(entry.gap, column - node.column))
    end
    write_entry(entry, column, inline and i == 1, out)
  end
  if node.rest and node.rest ~= "" then
    begin_line(out)
    push(out, shifted(node.rest, column - node.column))
  end
end

--- The text with what was changed in its documents.
--- @param source yaml_pieces.source
--- @param documents yaml_pieces.entry[]
--- @return string
function write.text(source, documents)
  local out = { newline = source.newline }
  for _, document in ipairs(documents) do
    if document.dirty then
      write_value(document, 0, out)
      if document.tail ~= "" and pieces.is_block(document.value) then begin_line(out) end
      if pieces.is_block(document.value) then push(out, document.tail) end
    else
      push(out, source.text:sub(document.first, document.last))
    end
  end
  local text = table.concat(out)
  if source.text == "" or source.text:sub(-1) == "\n" then return text end
  return (text:gsub("\r?\n$", ""))
end

-- ---- comparing and reading ----

local function same_properties(node, tree, id)
  local kind, _, _, _, _, line, _, _, anchor, tag = tree:node(id)
  return kind == node.kind and anchor == node.anchor and tag == node.tag, line
end

local function same_key(entry, tree, id)
  if not entry.renamed then return (entry.source.tree:same(entry.key_id, tree, id)) end
  return tree:node(id) == "scalar" and tree:text(id) == entry.name
end

--- Whether a node is what the tree of another text has at that place.
--- @param node yaml_pieces.node
--- @param tree native.yaml.tree
--- @param id integer
--- @return boolean same
--- @return integer? line  in that text
function write.same(node, tree, id)
  if not node.dirty then return node.source.tree:same(node.id, tree, id) end
  local same, line = same_properties(node, tree, id)
  local children, step = tree:children(id), node.kind == "map" and 2 or 1
  if not same or #children ~= step * #node.entries then return false, line end
  for i, entry in ipairs(node.entries) do
    local value = children[i * step]
    if step == 2 and not same_key(entry, tree, children[i * 2 - 1]) then return false, line end
    local alike, where = write.same(entry.value, tree, value)
    if not alike then return false, where end
  end
  return true
end

--- A node as plain data. Raises `protocol` for tags and merge keys.
--- @param node yaml_pieces.node
--- @return any
function write.value(node)
  if not node.dirty then return node.source.tree:value(node.id) end
  local value = node.kind == "list" and json.array {} or {}
  for i, entry in ipairs(node.entries) do
    value[node.kind == "list" and i or entry.name] = write.value(entry.value)
  end
  return value
end

return write
