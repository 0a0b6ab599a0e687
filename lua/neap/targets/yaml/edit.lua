--- YAML documents that are edited by what they say, while no byte changes that an edit is not about: text in, text out.
local change     = require "neap.targets.yaml.change"
local fault      = require "native.error"
local find       = require "neap.targets.yaml.find"
local near       = require "neap.near"
local pieces     = require "neap.targets.yaml.pieces"
local plain_data = require "neap.targets.plain_data"
local secret     = require "native.secret"
local write      = require "neap.targets.yaml.write"
local yaml_path  = require "neap.targets.yaml.path"

local yaml_edit = {}

local refuse = pieces.refuse

--- A document, or what in it is taken for one (an item of a Kubernetes `List`).
--- @class yaml_edit.document
--- @field file table
--- @field root yaml_pieces.entry
local document = {}
document.__index = document

--- Part of a document with its comments, to be put elsewhere.
--- @class (exact) yaml_edit.subtree
--- @field text string
--- @field name string
--- @field number integer
--- @field parts yaml_path.part[]

local Subtree = {}

-- ---- values ----

--- Plain data for the text. A secret is a mark in it until the text is done.
local function plain(file, value)
  return plain_data.copy(value, function(hidden)
    file.secrets[#file.secrets + 1] = hidden
    return ("neap-secret-%s-%d."):format(file.mark, #file.secrets)
  end)
end

--- Whether a scalar is the text of a secret.
local function is_text(node, hidden)
  local text = node.kind == "scalar" and not node.tag and node.source.tree:text(node.id)
  return text and type(node.source.tree:value(node.id)) == "string" and secret.same(hidden, text)
end

local function check_value(value)
  if value == nil then error("a value is missing; remove takes something away, and null is json.null", 3) end
end

-- ---- reading ----

local function load(text, name)
  local source = pieces.read(text, name)
  local file = { source = source, documents = pieces.documents(source), secrets = {} }
  local step, flush = source.tree:indent()
  file.step, file.flush = step or 2, flush or false
  repeat file.mark = ("%06x"):format(#text + (file.mark and tonumber(file.mark, 16) or 0))
  until not text:find(file.mark, 1, true)
  return file
end

local function view(file, root) return setmetatable({ file = file, root = root }, document) end

--- Reads a text with one or more documents. Raises `protocol` where it is no YAML, `conflict` where it has line ends other
--- than LF and CRLF.
--- @param text string
--- @param name? string  what messages call it
--- @return yaml_edit.document
function yaml_edit.parse(text, name)
  local file = load(text, name or "yaml")
  return view(file, file.documents[1])
end

--- Where a method begins; several documents have to be told apart.
local function root_of(self)
  local file = self.file
  if not self.chosen and file.documents[2] then
    refuse(file.source, file.documents[2].line, ("%d documents are there: say which, by document(n) or select{kind=}")
      :format(#file.documents))
  end
  return self.root
end

local function with_path(self, path) return root_of(self), yaml_path.parse(path) end

--- What is at a path, as plain data; nil where nothing is.
--- @param path string
--- @return any
function document:get(path)
  local root, parts = with_path(self, path)
  local found = find.search(root, parts, true).found[1]
  if not found then return nil end
  return write.value(found.entry.value)
end

--- Whether anything is at a path, null too.
--- @param path string
--- @return boolean
function document:has(path)
  local root, parts = with_path(self, path)
  return find.search(root, parts, true).found[1] ~= nil
end

--- The text of the scalar at a path, as it is read before it is taken for a number or anything else; nil where nothing is.
--- Raises `conflict` for a list or a map.
--- @param path string
--- @return string?
function document:text_at(path)
  local root, parts = with_path(self, path)
  local found = find.search(root, parts, true).found[1]
  local node = found and find.target(found.entry.value)
  if not node then return nil end
  if node.kind ~= "scalar" then refuse(node.source, node.line, ("%s is a list or a map"):format(path)) end
  return node.source.tree:text(node.id)
end

--- How many documents the file has.
--- @return integer
function document:count() return #self.file.documents end

--- One of several documents.
--- @param number integer  from 1
--- @return yaml_edit.document
function document:document(number)
  local root = self.file.documents[number]
  if not root then
    fault.raise { kind = "missing", message = ("%s has %d documents, no %s"):format(self.file.source.name,
      #self.file.documents, tostring(number)) }
  end
  local chosen = view(self.file, root)
  chosen.chosen = true
  return chosen
end

-- ---- the document of a kind ----

local WANTED = { kind = "kind", name = "metadata.name", namespace = "metadata.namespace", apiVersion = "apiVersion" }

local function value_at(root, path)
  if not root.value or root.value.kind ~= "map" then return nil end
  local found = find.search(root, yaml_path.parse(path), true).found[1]
  if not found or found.entry.value.kind ~= "scalar" then return nil end
  return write.value(found.entry.value)
end

local function matches(root, wanted)
  for key, value in pairs(wanted) do
    if value_at(root, WANTED[key]) ~= value then return false end
  end
  return true
end

--- The documents, and the items of each `List` among them.
local function candidates(file)
  local list = {}
  for _, root in ipairs(file.documents) do
    list[#list + 1] = root
    local kind = value_at(root, "kind")
    if type(kind) == "string" and kind:find("List$") then
      local items = find.search(root, { { name = "items" } }, true).found[1]
      if items and items.entry.value.kind == "list" then
        table.move(pieces.open(items.entry.value), 1, #items.entry.value.entries, #list + 1, list)
      end
    end
  end
  return list
end

--- The one document, or item of a `List`, of this kind and name. Raises `missing` and, where there are more, `conflict`.
--- @param wanted { kind?: string, name?: string, namespace?: string, apiVersion?: string }
--- @return yaml_edit.document
function document:select(wanted)
  local named, found = {}, nil
  for key, value in pairs(wanted) do
    if not WANTED[key] then
      error(("a document is not told by its %q%s"):format(tostring(key), near.hint(key, WANTED)), 2)
    end
    named[#named + 1] = ("%s %s"):format(key, tostring(value))
  end
  table.sort(named)
  local words = table.concat(named, ", ")
  for _, root in ipairs(candidates(self.file)) do
    if matches(root, wanted) then
      if found then refuse(self.file.source, root.line, ("a second document of %s"):format(words)) end
      found = root
    end
  end
  if not found then
    fault.raise { kind = "missing", message = ("%s has no document of %s"):format(self.file.source.name, words) }
  end
  local chosen = view(self.file, found)
  chosen.chosen = true
  return chosen
end

-- ---- where something new goes ----

local function check_names(root, state, from)
  for i = from, #state.parts do
    if not state.parts[i].name then find.refuse_missing(root, state) end
  end
end

--- The map into which the path leads, made one where it is null, and the part from which on it is not there yet.
local function deepest_map(file, root, state)
  local deep, blocked = state.deep, state.blocked
  if blocked and blocked.from > deep.from then
    refuse(blocked.entry.source, blocked.entry.line, ("%s holds no map"):format(yaml_path.text(state.parts, 1,
      math.max(blocked.from - 1, 1))))
  end
  if not root.value then return change.root(file, root, "map"), 1 end
  check_names(root, state, deep.from)
  find.check_collection(deep.node, deep.owner.line)
  return change.collection(file, deep.owner, "map"), deep.from
end

--- The names of a path from a part on.
local function names_from(parts, from)
  local names = {}
  for i = from, #parts do names[#names + 1] = parts[i].name end
  return names
end

--- Where keys are written dotted: the map, the whole rest of the path as one key, and the index behind its kin.
local function dotted_place(root, state)
  local kin = state.kin
  if not kin or kin.depth < state.deep.from then return nil end
  check_names(root, state, kin.from)
  return kin.node, table.concat(names_from(state.parts, kin.from), "."), kin.index
end

--- The map, key and index for what is not there; maps on the way are made.
local function new_place(file, root, state)
  local kin, key, index = dotted_place(root, state)
  if kin then return kin, key, index end
  local node, from = deepest_map(file, root, state)
  local names = names_from(state.parts, from)
  for i = 1, #names - 1 do
    local entry = change.bare_entry(file, node, names[i])
    local inner = change.empty_node(file, "map", node.style == "flow", node.line)
    change.give(file, entry, inner)
    change.add(node, #node.entries + 1, entry)
    node = inner
  end
  return node, names[#names], #node.entries + 1
end

-- ---- changing ----

--- Gives what is at a path another value. What is not there is made, in maps that are made where they lack; where keys are
--- written dotted, `spring.datasource.url: …`, it becomes such a key. Quotes and the comment in the line stay. A secret
--- is written quoted, and the text is one then.
--- @param path string
--- @param value any  plain data
function document:set(path, value)
  check_value(value)
  local root, parts = with_path(self, path)
  local state = find.search(root, parts)
  local found = state.found[1]
  if found and secret.is(value) and is_text(found.entry.value, value) then return end
  value = plain(self.file, value)
  if found then return change.replace(self.file, found.entry, value) end
  local node, name, index = new_place(self.file, root, state)
  change.add(node, index, change.new_entry(self.file, node, name, value))
end

--- Takes away what is at a path, with the comments right above it. Raises `missing` where nothing is.
--- @param path string
function document:remove(path)
  local root, parts = with_path(self, path)
  change.remove((find.entry(root, parts)))
end

local function check_name(name)
  if type(name) ~= "string" then error("a key is a text", 3) end
end

--- Gives what is at a path another key, in its place; of a dotted key only the last name. Raises `missing`, and
--- `conflict` where that key is there.
--- @param path string
--- @param name string
function document:rename(path, name)
  check_name(name)
  local root, parts = with_path(self, path)
  local entry, from = find.entry(root, parts)
  if not parts[#parts].name then error("an item of a list has no key", 2) end
  if from < #parts then name = yaml_path.text(parts, from, #parts - 1) .. "." .. name end
  change.rename(entry, name)
end

local function refuse_there(state)
  local there = state.found[1]
  if there then
    refuse(there.entry.source, there.entry.line, ("%s is there already"):format(yaml_path.text(state.parts)))
  end
end

local function check_outside(entry, state)
  local node = state.deep.node
  local owner = state.deep.owner
  while node do
    owner = owner or node.owner
    if owner == entry then refuse(entry.source, entry.line, "nothing is moved into itself") end
    node, owner = owner and owner.parent, nil
  end
end

--- Moves what is at a path, with its comments, to the end of another map; within its own map it is given the other key in
--- its place. Raises `missing`, and `conflict` where something is there already.
--- @param path string
--- @param to_path string
function document:move(path, to_path)
  local root, parts = with_path(self, path)
  local entry = find.entry(root, parts)
  local state = find.search(root, yaml_path.parse(to_path))
  local last = state.parts[#state.parts]
  if not last.name then error("something is moved to a key of a map; insert puts into lists", 2) end
  refuse_there(state)
  check_outside(entry, state)
  if state.deep.node == entry.parent and state.deep.from == #state.parts then return change.rename(entry, last.name) end
  find.check_aliases(entry, true)
  pieces.touch(entry)
  local node, name, index = new_place(self.file, root, state)
  change.take_out(entry)
  change.fit(self.file, entry, node, name)
  change.add(node, math.min(index, #node.entries + 1), entry)
end

-- ---- between places and files ----

local function document_number(self)
  for i, root in ipairs(self.file.documents) do
    if root == self.root then return i end
  end
  return error("part of an item of a List is taken from its document: document(n):subtree(\"items[1]…\")", 3)
end

--- What is at a path, with its comments and its way of writing, for `put`, `insert` and `append`, also of other documents.
--- @param path string
--- @return yaml_edit.subtree
function document:subtree(path)
  local _, parts = with_path(self, path)
  if #self.file.secrets > 0 then error("a subtree is taken before a secret is put into its document", 2) end
  local found = { text = self:text(), name = self.file.source.name, number = document_number(self), parts = parts }
  find.entry(pieces.documents(pieces.read(found.text, found.name))[found.number], parts)
  return setmetatable(found, Subtree)
end

--- A new entry of what a subtree stands for, taken out of a text that nothing else refers to.
local function instance(file, subtree)
  local text = subtree.text:gsub("\r\n", "\n")
  if file.source.newline == "\r\n" then text = text:gsub("\n", "\r\n") end
  local source = pieces.read(text, subtree.name)
  local entry = find.entry(pieces.documents(source)[subtree.number], subtree.parts)
  find.check_copy(entry)
  pieces.touch(entry)
  entry.gap, entry.dirty = "", true
  return entry
end

local function is_subtree(value) return type(value) == "table" and getmetatable(value) == Subtree end

--- Puts a subtree at a path, in place of what is there.
--- @param path string
--- @param subtree yaml_edit.subtree  of document:subtree
function document:put(path, subtree)
  if not is_subtree(subtree) then error("put takes what subtree gives; set takes a value", 2) end
  local root, parts = with_path(self, path)
  local state = find.search(root, parts)
  local entry, found = instance(self.file, subtree), state.found[1]
  if found then
    change.fit(self.file, entry, found.entry.parent, found.entry.name)
    return change.exchange(found.entry, entry)
  end
  local node, name, index = new_place(self.file, root, state)
  change.fit(self.file, entry, node, name)
  change.add(node, index, entry)
end

--- Copies what is at a path, with its comments, to the end of another map. Raises `missing`, and `conflict` where
--- something is there already.
--- @param path string
--- @param to_path string
function document:copy(path, to_path)
  local root, to_parts = with_path(self, to_path)
  refuse_there(find.search(root, to_parts))
  self:put(to_path, self:subtree(path))
end

-- ---- lists, and places in maps ----

local function new_entry(file, node, name, value)
  if not is_subtree(value) then return change.new_entry(file, node, name, plain(file, value)) end
  local entry = instance(file, value)
  change.fit(file, entry, node, name)
  return entry
end

--- The index that a place names: a number, or what it is before or after.
local function index_of(root, node, place)
  if math.type(place) == "integer" then
    if place < 1 or place > #node.entries + 1 then
      refuse(root.source, node.line, ("%d items are there, and none can be number %d"):format(#node.entries, place),
        "missing")
    end
    return place, true
  end
  if type(place) ~= "table" or (place.before == nil) == (place.after == nil) then
    error("a place is a number, or { before = … } or { after = … }", 3)
  end
  local anchor = place.before or place.after
  local part = math.type(anchor) == "integer" and { index = anchor } or yaml_path.parse(anchor)[1]
  local owner = { value = node, source = root.source, line = node.line }
  local entry = find.entry(owner, { part })
  for i, each in ipairs(node.entries) do
    if each == entry then return place.before and i or i + 1, place.before ~= nil end
  end
end

--- The collection that a new entry goes into, and its key in it.
local function insertion(file, root, parts)
  local state = find.search(root, parts)
  local found = state.found[1]
  if found then
    local node = found.entry.value
    if node.kind ~= "list" then refuse_there(state) end
    find.check_collection(node, node.line)
    return change.collection(file, found.entry, "list")
  end
  if state.deep.from ~= #parts or not parts[#parts].name then find.refuse_missing(root, state) end
  return change.collection(file, state.deep.owner, "map"), parts[#parts].name
end

--- Adds an item to the list at a path, at an index from 1 or beside another: `{ before = 2 }`, `{ after = "[name=app]" }`;
--- or what is at the path, which must not be there, to its map beside another key: `{ after = "selector" }`.
--- @param path string
--- @param place integer|{ before?: integer|string, after?: integer|string }
--- @param value any  plain data, or a subtree
function document:insert(path, place, value)
  check_value(value)
  local root, parts = with_path(self, path)
  local node, name = insertion(self.file, root, parts)
  local index, above = index_of(root, node, place)
  change.add(node, index, new_entry(self.file, node, name, value), above)
end

--- Adds an item at the end of the list at a path; where nothing or null is, a list is made.
--- @param path string
--- @param value any  plain data, or a subtree
function document:append(path, value)
  check_value(value)
  local root, parts = with_path(self, path)
  local state = find.search(root, parts)
  local found = state.found[1]
  if not found then
    local node, name, index = new_place(self.file, root, state)
    local entry = change.bare_entry(self.file, node, name)
    change.give(self.file, entry, change.empty_node(self.file, "list", node.style == "flow", node.line))
    change.add(node, index, entry)
    found = { entry = entry }
  elseif found.entry.value.kind ~= "list" and not find.is_null(found.entry.value) then
    refuse(found.entry.source, found.entry.line, ("%s is no list"):format(path))
  end
  local list = change.collection(self.file, found.entry, "list")
  change.add(list, #list.entries + 1, new_entry(self.file, list, nil, value))
end

--- After an error within a change its document may be changed in part: it gives no text any more. What is only not there
--- is found out before.
for _, name in ipairs { "set", "remove", "rename", "move", "put", "copy", "insert", "append" } do
  local make = document[name]
  document[name] = function(self, ...)
    local ok, failure = pcall(make, self, ...)
    if ok then return end
    local harmless = fault.is(failure, "missing") and (name == "remove" or name == "rename")
    if not harmless then self.file.failed = self.file.failed or failure end
    error(failure, 0)
  end
end

-- ---- the text ----

local function line_text(text, number)
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number - 1
    if number == 0 then return line end
  end
  return ""
end

local function refuse_result(file, text, line)
  local shown = secret.redact(line_text(text, line)):gsub("\r", "")
  fault.raise { kind = "verify", message = ("%s: what was asked for cannot be written exactly: line %d would be %q")
    :format(file.source.name, line, shown) }
end

--- Reads the new text and holds it against what it must say.
local function verify(file, text)
  local ok, source = pcall(pieces.read, text, file.source.name)
  if not ok then
    if not fault.is(source) then error(source, 0) end
    refuse_result(file, text, tonumber(source.message:match(":(%d+):")) or 1)
  end
  local documents = pieces.documents(source)
  if #documents ~= #file.documents then refuse_result(file, text, 1) end
  for i, each in ipairs(file.documents) do
    local now = documents[i]
    if each.value and not now.value then refuse_result(file, text, 1) end
    if each.value then
      local same, line = write.same(each.value, source.tree, now.value.id)
      if not same then refuse_result(file, text, line or 1) end
    end
  end
end

--- The text with its marks replaced by the secrets that they stand for.
local function with_secrets(file, text)
  local result, at = "", 1
  for first, quote, number, last in text:gmatch("()(['\"]?)neap%-secret%-" .. file.mark .. "%-(%d+)%.()") do
    local value = file.secrets[tonumber(number)]
    result = result .. text:sub(at, first - 1) .. secret.quote(value, "yaml")
    at = last + #quote
  end
  return result .. text:sub(at)
end

local function is_dirty(file)
  for _, each in ipairs(file.documents) do
    if each.dirty then return true end
  end
  return false
end

--- The text of all documents with the changes made so far. It is read again and must say what was asked for; else raises
--- `verify` with the line; and what an earlier change was refused for.
--- @return string|native.secret.value
function document:text()
  local file = self.file
  if file.failed then error(file.failed, 0) end
  if not is_dirty(file) then return file.source.text end
  local text = write.text(file.source, file.documents)
  verify(file, text)
  return #file.secrets > 0 and with_secrets(file, text) or text
end

return yaml_edit
