--- Finds in a YAML document what a path points at. A key may be written whole, `spring.datasource.url: …`, or in part:
--- each way of cutting a path into keys is looked for.
local near      = require "neap.near"
local pieces    = require "neap.targets.yaml.pieces"
local yaml_path = require "neap.targets.yaml.path"

local find = {}

local refuse = pieces.refuse

--- One search.
--- @class (exact) yaml_find.search
--- @field parts yaml_path.part[]
--- @field reading boolean     through aliases, too
--- @field found { entry: yaml_pieces.entry, from: integer }[]  from: the part at which the entry's own key begins
--- @field deep { from: integer, node?: yaml_pieces.node, owner: yaml_pieces.entry }  how far the path leads: what parts
---   from `from` on would be put into, a map or something that is null
--- @field blocked? { from: integer, entry: yaml_pieces.entry }  something that is no map, on the way
--- @field kin? { depth: integer, node: yaml_pieces.node, index: integer, from: integer }  behind the dotted key that has
---   most of the path in common with what is looked for
--- @field partial? yaml_pieces.entry  what the path leads to is part of this entry's key
--- @field merged? integer     a line with a merge key, where the key that is looked for could come from

local search

--- What an alias stands for; any other node itself.
--- @param node yaml_pieces.node
--- @return yaml_pieces.node
function find.target(node)
  local aliases = node.source.aliases
  if node.kind ~= "alias" then return node end
  for i = 1, #aliases, 2 do
    if aliases[i] == node.id then return pieces.node(node.source, aliases[i + 1]) end
  end
end

local function through_alias(state, node)
  if node.kind ~= "alias" then return node end
  if state.reading then return find.target(node) end
  return refuse(node.source, node.line, ("%s goes through the alias *%s: name what it stands for"):format(
    yaml_path.text(state.parts), node.source.tree:text(node.id)))
end

--- Whether a node is a null that may become a map.
--- @param node yaml_pieces.node
--- @return boolean
function find.is_null(node)
  return not node.dirty and node.kind == "scalar" and node.style == "plain" and not node.tag and not node.anchor
    and ({ [""] = true, ["~"] = true, null = true, Null = true, NULL = true })[node.source.tree:text(node.id)] or false
end

local function take(state, entry, from, to)
  local found = state.found
  if to == #state.parts then
    found[#found + 1] = { entry = entry, from = from }
    return
  end
  search(state, entry.value, to + 1, entry)
end

--- Notes the entry of which the wanted key is the beginning.
local function note_partial(state, node, from)
  local rest = {}
  for i = from, #state.parts do
    if not state.parts[i].name then return end
    rest[#rest + 1] = state.parts[i].name
  end
  local prefix = table.concat(rest, ".") .. "."
  for _, entry in ipairs(node.entries) do
    if entry.name:sub(1, #prefix) == prefix then state.partial = state.partial or entry end
  end
end

--- How many parts of the path, from `from` on, a dotted key begins with.
local function shared_parts(parts, from, key)
  local count = 0
  for part in (key .. "."):gmatch("([^.]*)%.") do
    local wanted = parts[from + count]
    if not wanted or wanted.name ~= part then return count end
    count = count + 1
  end
  return count
end

local function note_kin(state, node, from)
  if not state.parts[from + 1] then return end
  for i, entry in ipairs(node.entries) do
    local count = entry.name:find(".", 1, true) and shared_parts(state.parts, from, entry.name) or 0
    local depth = from - 1 + count
    if count > 0 and depth >= (state.kin and state.kin.depth or 0) then
      state.kin = { depth = depth, node = node, index = i + 1, from = from }
    end
  end
end

local function search_map(state, node, from)
  local parts, found, key = state.parts, false, nil
  for to = from, node.dotted and #parts or from do
    local name = parts[to].name
    if not name then break end
    key = key and key .. "." .. name or name
    local entry = node.by_name[key]
    if entry then
      found = true
      take(state, entry, from, to)
    end
  end
  if node.dotted then
    note_partial(state, node, from)
    note_kin(state, node, from)
  end
  if node.merged and not found then state.merged = node.merged end
end

--- The text of the scalar under a key in an item of a list; an item that was not opened stays so.
local function text_under(item, key)
  local tree = item.source.tree
  if item.kind ~= "map" then return nil end
  if item.entries then
    local entry = item.by_name[key]
    local value = entry and entry.value
    return value and value.kind == "scalar" and value.source.tree:text(value.id) or nil
  end
  local ids = tree:children(item.id)
  for i = 1, #ids, 2 do
    if tree:text(ids[i]) == key then return tree:node(ids[i + 1]) == "scalar" and tree:text(ids[i + 1]) or nil end
  end
end

local function search_list(state, node, from)
  local part = state.parts[from]
  if part.index then
    local entry = node.entries[part.index]
    if entry then take(state, entry, from, from) end
    return
  end
  local one
  for _, entry in ipairs(node.entries) do
    if text_under(entry.value, part.key) == part.value then
      if one then
        local path = yaml_path.text(state.parts, 1, from)
        refuse(entry.source, entry.line, ("%s is there twice, in line %d too"):format(path, one.line))
      end
      one = entry
    end
  end
  if one then take(state, one, from, from) end
end

function search(state, node, from, owner)
  local map = state.parts[from].name ~= nil
  node = through_alias(state, node)
  if map and find.is_null(node) or node.kind == (map and "map" or "list") then
    if from > state.deep.from then state.deep = { from = from, node = node, owner = owner } end
  end
  if node.kind ~= (map and "map" or "list") then
    if not find.is_null(node) then state.blocked = { from = from, entry = owner } end
    return
  end
  pieces.open(node)
  return (map and search_map or search_list)(state, node, from)
end

local function check_one(state)
  local found, parts = state.found, state.parts
  if found[2] then
    refuse(found[1].entry.source, found[2].entry.line, ("%s is there twice, in line %d too"):format(
      yaml_path.text(parts), found[1].entry.line))
  end
  if state.partial then
    refuse(state.partial.source, state.partial.line, ("%s is part of the key %s: name that"):format(
      yaml_path.text(parts), state.partial.name))
  end
end

--- Searches the document under `root`. Raises `conflict` where more than one entry would do, and where the way to it is
--- written as nothing that can be edited.
--- @param root yaml_pieces.entry  the document, or what is taken for one
--- @param parts yaml_path.part[]
--- @param reading? boolean
--- @return yaml_find.search
function find.search(root, parts, reading)
  local state = { parts = parts, reading = reading or false, found = {}, deep = { from = 0 } }
  if root.value then search(state, root.value, 1, root) end
  check_one(state)
  if reading and state.merged and not state.found[1] then
    refuse(root.source, state.merged, ("what %s is depends on this merge key, which is not looked into"):format(
      yaml_path.text(parts)))
  end
  return state
end

local function names_at(node)
  local names = {}
  if node and node.kind == "map" then
    for _, entry in ipairs(node.entries) do names[#names + 1] = entry.name end
  end
  return names
end

--- Raises `missing`: the path, where it stops leading on, and the near name.
--- @param root yaml_pieces.entry
--- @param state yaml_find.search
function find.refuse_missing(root, state)
  local deep, parts = state.deep, state.parts
  local node = deep.node
  local part = parts[math.max(deep.from, 1)]
  local question = part.name and near.question(part.name, names_at(node)) or ""
  refuse(root.source, node and node.line or root.line, ("%s is not there%s"):format(yaml_path.text(parts),
    question ~= "" and "." .. question or ""), "missing")
end

--- The one entry that a path points at. Raises `missing` where nothing is there.
--- @param root yaml_pieces.entry
--- @param parts yaml_path.part[]
--- @param reading? boolean
--- @return yaml_pieces.entry
--- @return integer from  the part at which its own key begins
function find.entry(root, parts, reading)
  local state = find.search(root, parts, reading)
  local found = state.found[1]
  if not found then find.refuse_missing(root, state) end
  return found.entry, found.from
end

-- ---- what aliases forbid ----

local function alias_line(source, id)
  local _, _, _, _, _, line = source.tree:node(id)
  return line
end

local function refuse_shared(source, line, name, alias)
  refuse(source, line, ("it is in &%s, which line %d repeats: both would change"):format(name,
    alias_line(source, alias)))
end

--- Raises `conflict` where what an entry lies in is repeated by an alias.
local function check_around(entry)
  local node = entry.parent
  while node do
    local aliases = node.source.aliases
    for i = 1, node.anchor and #aliases or 0, 2 do
      if aliases[i + 1] == node.id then refuse_shared(node.source, entry.line, node.anchor, aliases[i]) end
    end
    node = node.owner and node.owner.parent
  end
end

local function range_of(entry) return entry.key_id or entry.value.id, entry.value.next end

local function is_within(id, first, behind) return id >= first and id < behind end

--- Raises `conflict` where an alias elsewhere repeats what is in the entry; `moving`: or where one in it leads out, or
--- from elsewhere in.
--- @param entry yaml_pieces.entry
--- @param moving? boolean
function find.check_aliases(entry, moving)
  check_around(entry)
  local source, aliases = entry.value.source, entry.value.source.aliases
  local first, behind = range_of(entry)
  if not first then return end
  if entry.source ~= source then first = entry.value.id end
  for i = 1, #aliases, 2 do
    local inside, leads_in = is_within(aliases[i], first, behind), is_within(aliases[i + 1], first, behind)
    if leads_in and not inside or moving and (inside or leads_in) then
      refuse(source, entry.line, ("an alias in line %d refers to an anchor in line %d: both stay where they are")
        :format(alias_line(source, aliases[i]), alias_line(source, aliases[i + 1])))
    end
  end
end

--- Raises `conflict` where something is added to a collection that an alias repeats.
--- @param node yaml_pieces.node
--- @param line integer
function find.check_collection(node, line)
  check_around { parent = node, line = line }
end

--- Raises `conflict` where there is an anchor or an alias in the entry: a copy would name it twice.
--- @param entry yaml_pieces.entry
function find.check_copy(entry)
  local source = entry.source
  local first, behind = range_of(entry)
  for id = first, behind - 1 do
    local kind, _, _, _, _, line, _, _, anchor = source.tree:node(id)
    if kind == "alias" or anchor then
      refuse(source, line, "an anchor or alias is not copied: it would be there twice")
    end
  end
end

return find
