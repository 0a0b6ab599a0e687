--- Random edits of many texts, held against a model of what each must say and of the bytes it may change.
local corpus    = require "tests.targets.yaml_corpus"
local fault     = require "native.error"
local json      = require "native.json"
local yaml      = require "native.yaml"
local yaml_edit = require "neap.targets.yaml.edit"

local SOAK = os.getenv "NEAP_SOAK"
local TEXTS = SOAK and 6000 or 340
local EDITS = SOAK and 60 or 20 -- of each text
local SEED = tonumber(os.getenv "NEAP_SEED") or 1

-- ---- the model: a picture of a document ----

local function scalar_picture(value, anchor)
  return { kind = "scalar", value = value, type = math.type(value) or type(value), anchor = anchor }
end

local picture_of

local function picture_of_node(tree, id)
  local kind, _, _, _, _, line, _, _, anchor, tag = tree:node(id)
  local node = { kind = kind, anchor = anchor, tag = tag, id = id, line = line }
  if kind == "scalar" then
    node.value = tag and tree:text(id) or tree:value(id)
    node.type = math.type(node.value) or type(node.value)
  elseif kind == "alias" then
    node.value = tree:text(id)
  end
  return node
end

function picture_of(tree, id)
  local node = picture_of_node(tree, id)
  local children = tree:children(id)
  for i = 1, #children, node.kind == "map" and 2 or 1 do
    if node.kind == "map" then
      node[#node + 1] = { key = tree:text(children[i]), value = picture_of(tree, children[i + 1]) }
    else
      node[#node + 1] = { value = picture_of(tree, children[i]) }
    end
  end
  return node
end

local function picture_of_value(value)
  if type(value) ~= "table" then return scalar_picture(value) end
  if getmetatable(value) == "json.array" then
    local list = { kind = "list" }
    for i, each in ipairs(value) do list[i] = { value = picture_of_value(each) } end
    return list
  end
  local map, keys = { kind = "map" }, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do map[i] = { key = key, value = picture_of_value(value[key]) } end
  return map
end

local function pictures(text)
  local tree, list = yaml.nodes(text), {}
  for i, each in ipairs(tree:documents()) do
    list[i] = each.root and picture_of(tree, each.root) or { kind = "none" }
  end
  return list
end

local function same(a, b)
  if a.kind ~= b.kind or a.anchor ~= b.anchor or a.tag ~= b.tag or a.type ~= b.type or #a ~= #b then return false end
  if a.value ~= b.value and a.value == a.value then return false end
  for i = 1, #a do
    if a[i].key ~= b[i].key or not same(a[i].value, b[i].value) then return false end
  end
  return true
end

--- Every entry of a picture, with the path to it.
local function each_entry(node, path, list)
  for i, entry in ipairs(node) do
    local here = path .. (node.kind == "map" and ('["%s"]'):format(entry.key or "") or ("[%d]"):format(i))
    local addressable = node.kind == "list" or entry.key and entry.key ~= "" and not entry.key:find('"', 1, true)
    if addressable then
      list[#list + 1] = { parent = node, index = i, entry = entry, path = here }
      each_entry(entry.value, here, list)
    end
  end
  return list
end

-- ---- edits ----

local STRINGS = { "new", "two words", "yes", "12", "1.0", "", " edge ", "a: b", "a #b", "null", "~", "é", "it's", '"q"',
  "one\ntwo\n", "one\n\n  two", "tab\there", "2020-01-01", "- x", "{x}", "*x", "&y", "!z", "0x1F", "end:", "\\n", "#c" }

local function any_value(random, depth)
  local kind = random(depth > 1 and 6 or 8)
  if kind <= 3 then return STRINGS[random(#STRINGS)] end
  if kind == 4 then return random(1000) end
  if kind == 5 then return random(2) == 1 end
  if kind == 6 then return random(3) == 1 and json.null or random(100) / 8 end
  local value = kind == 7 and json.array {} or {}
  for i = 1, random(4) - 1 do
    value[kind == 7 and i or ("v%d"):format(i)] = any_value(random, depth + 1)
  end
  return value
end

local edits = {}

function edits.set(random, document, place)
  local value = any_value(random, 0)
  document:set(place.path, value)
  local old, new = place.entry.value, picture_of_value(value)
  if new.kind == "scalar" or #new == 0 then new.anchor = old.anchor end
  if not (old.kind == "alias" and same(new, place.target or {})) then place.entry.value = new end
end

function edits.remove(_, document, place)
  document:remove(place.path)
  table.remove(place.parent, place.index)
end

function edits.rename(random, document, place)
  if place.parent.kind ~= "map" then return false end
  local key = random(4) == 1 and STRINGS[random(#STRINGS - 14)] .. "z" or ("n%d"):format(random(1000000))
  document:rename(place.path, key)
  place.entry.key = key
end

function edits.add(random, document, place)
  local node = place.entry.value
  if node.kind ~= "map" then return false end
  local key, value = ("added%d"):format(random(1000000)), any_value(random, 0)
  document:set(place.path .. "." .. key, value)
  node[#node + 1] = { key = key, value = picture_of_value(value) }
end

function edits.deepen(random, document, place)
  local node = place.entry.value
  if node.value ~= json.null or node.anchor or node.tag then return false end
  local value, list = any_value(random, 0), random(2) == 1
  if list then
    document:append(place.path, value)
  else
    document:set(place.path .. ".deeper", value)
  end
  place.entry.value = { kind = list and "list" or "map", { key = not list and "deeper" or nil,
    value = picture_of_value(value) } }
end

function edits.insert(random, document, place)
  local node = place.entry.value
  if node.kind ~= "list" then return false end
  local index, value = random(#node + 1), any_value(random, 0)
  document:insert(place.path, index, value)
  table.insert(node, index, { value = picture_of_value(value) })
end

function edits.insert_key(random, document, place)
  if place.parent.kind ~= "map" or place.index == 1 and #place.parent == 1 and random(2) == 1 then return false end
  local key, value, before = ("between%d"):format(random(1000000)), any_value(random, 0), random(2) == 1
  local path = place.path:match('^(.*)%["[^"]*"%]$')
  document:insert((path == "" and "" or path .. ".") .. key, { [before and "before" or "after"] = ('["%s"]'):format(
    place.entry.key) }, value)
  table.insert(place.parent, place.index + (before and 0 or 1), { key = key, value = picture_of_value(value) })
end

function edits.append(random, document, place)
  local node = place.entry.value
  if node.kind ~= "list" then return false end
  local value = any_value(random, 0)
  document:append(place.path, value)
  node[#node + 1] = { value = picture_of_value(value) }
end

local function is_inside(node, wanted)
  if node == wanted then return true end
  for _, entry in ipairs(node) do
    if is_inside(entry.value, wanted) then return true end
  end
  return false
end

local function bare(node)
  local copy = { kind = node.kind, tag = node.tag, value = node.value, type = node.type, anchor = node.anchor }
  for i, entry in ipairs(node) do copy[i] = { key = entry.key, value = bare(entry.value) } end
  return copy
end

local function carried(copying)
  return function(random, document, place, places)
    local to = places[random(#places)]
    if to.entry.value.kind ~= "map" or is_inside(place.entry.value, to.entry.value) then return false end
    local key = ("moved%d"):format(random(1000000))
    document[copying and "copy" or "move"](document, place.path, to.path .. "." .. key)
    if not copying and to.entry.value == place.parent then
      place.entry.key = key
      return
    end
    local node = to.entry.value
    node[#node + 1] = { key = key, value = copying and bare(place.entry.value) or place.entry.value }
    if not copying then table.remove(place.parent, place.index) end
  end
end

edits.move, edits.copy = carried(false), carried(true)

local NAMES = { "set", "set", "remove", "rename", "add", "insert", "insert_key", "append", "move", "copy",
  "deepen" }

-- ---- bytes ----

local function split(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("[^\n]*\n") do lines[#lines + 1] = line end
  return lines
end

--- How many of the comments are still there.
local function comments(text)
  local _, count = text:gsub("[ \t\n]# ?%a", "")
  return count
end

--- How many lines at the beginning and at the end are the same; where lines repeat, one may count for both.
local function kept(before, after)
  local a, b = split(before), split(after)
  local first, last = 0, 0
  while first < #a and first < #b and a[first + 1]:gsub("\r?\n", "") == b[first + 1]:gsub("\r?\n", "") do
    first = first + 1
  end
  while last < #a and last < #b
    and a[#a - last]:gsub("\r?\n", "") == b[#b - last]:gsub("\r?\n", "") do
    last = last + 1
  end
  return first, last, #a
end

--- The lines that an entry may have: from the comments above it to the line before what comes next.
local function lines_of(before, place)
  local tree = yaml.nodes(before)
  local _, _, _, _, last = tree:node(place.id)
  local _, behind = before:sub(1, last):gsub("\n", "")
  local lines, line = split(before), place.line
  local _, style, _, content, parent_last, parent_line = tree:node(place.parent.id)
  if style == "flow" then -- a comma in another line
    local _, ends = before:sub(1, parent_last):gsub("\n", "")
    return parent_line, ends + 1
  end
  if place.parent.kind == "list" and style == "block" then -- its dash may stand in an earlier line
    local column = #before:sub(1, content - 1):match("[^\n]*$")
    while lines[line]:sub(column + 1, column + 1) ~= "-" do line = line - 1 end
  end
  local first = line
  while first > 1 and lines[first - 1]:find("^\xEF?\xBB?\xBF?%s*#") do first = first - 1 end
  return first, behind + 1
end

--- The line above with the key or dash of what holds an only entry.
local function marker_line(before, line)
  local lines = split(before)
  repeat line = line - 1 until line < 1 or not lines[line]:find("^%s*#") and not lines[line]:find("^%s*$")
  return line
end

local function check_bytes(name, before, after, place)
  if before == after then return true end
  local first, last, count = kept(before, after)
  if name == "set" or name == "remove" or name == "rename" then
    local from, to = lines_of(before, place)
    if name == "remove" and place.index == 1 then to = math.max(to, place.next_line or 0) end
    if #place.parent <= 1 then from = marker_line(before, math.min(from, place.parent_line + 1)) end
    if first < from - 1 or last < count - to then return false, ("lines %d to %d were to change"):format(from, to) end
  elseif name ~= "move" and name ~= "copy" and place.block then
    local joined = (name == "insert" or name == "insert_key") and 1 or 0 -- the first may have stood behind a dash
    if first + last < count - joined then return false, "nothing was to go" end
  end
  if (name == "rename" or name == "add" or name == "insert") and comments(after) < comments(before) then
    return false, "a comment is lost"
  end
  return true
end

-- ---- trials ----

local function places_in(text, number)
  local tree = yaml.nodes(text)
  local documents = pictures(text)
  local places = each_entry(documents[number], "", {})
  local targets, aliases = {}, tree:aliases()
  for i = 1, #aliases, 2 do targets[aliases[i]] = aliases[i + 1] end
  for _, place in ipairs(places) do
    local id = place.entry.value.id
    local _, style = tree:node(id)
    place.id, place.block = id, style == "block"
    place.parent_line = place.parent.line - 1
    if place.parent.kind == "map" then
      local _, _, _, _, _, line = tree:node(id - 1)
      place.line = line
    else
      place.line = place.entry.value.line
    end
    local following = place.index == 1 and place.parent[2]
    if following then -- what stands behind the first may take its place behind a dash
      local key = place.parent.kind == "map" and 1 or 0
      place.next_line = select(6, tree:node(following.value.id - key))
    end
    if targets[id] then place.target = picture_of(tree, targets[id]) end
  end
  return documents, places
end

local function report(seed, name, place, before, after, why)
  local place_and_why = ("%s of %s: %s"):format(name, place.path, why)
  error(("seed %d (NEAP_SEED=%d): %s\n--- before\n%s\n--- after\n%s"):format(seed, SEED, place_and_why, before,
    after or ""), 0)
end

local function reason(failure)
  return (failure.message:gsub("^yaml:%d+: ", ""):gsub("^yaml: ", ""):gsub('".*', ""):gsub("%d+", "N"):gsub("[%[*&'].*",
    ""))
end

local function count_refusal(counts, failure)
  counts.refused = counts.refused + 1
  local why = failure.kind .. ": " .. reason(failure)
  counts.why[why] = (counts.why[why] or 0) + 1
end

--- One to three edits of one document, within one call.
local function attempt(text, seed, counts, wild)
  local random = corpus.random(seed)
  local document = yaml_edit.parse(text)
  local number = random(document:count())
  local expected, places = places_in(text, number)
  if #places == 0 then return end
  local times, name, place = random(4) == 1 and 3 or 1, nil, nil
  local ok, failure = pcall(function()
    for _ = 1, times do
      repeat
        name, place = NAMES[random(#NAMES)], places[random(#places)]
      until edits[name](random, document:document(number), place, places) ~= false
      if times > 1 then places = each_entry(expected[number], "", {}) end
      if #places == 0 then break end
    end
    return document:text()
  end)
  counts.edits = counts.edits + 1
  if not ok then
    if not fault.is(failure) then report(seed, name, place, text, nil, tostring(failure)) end
    return count_refusal(counts, failure)
  end
  local result = pictures(failure)
  for i = 1, math.max(#expected, #result) do
    local alike = result[i] and same(expected[i], result[i])
    if not alike then report(seed, name, place, text, failure, "the tree") end
  end
  if times > 1 or wild then return end
  local fits, why = check_bytes(name, text, failure, place)
  if not fits then report(seed, name, place, text, failure, why) end
end

--- The text with some bytes turned over, left out, doubled or taken from elsewhere in it.
local function damaged(text, random)
  for _ = 1, random(4) do
    local at, length = random(#text + 1), random(6)
    local kind = random(4)
    local piece = text:sub(at, at + length)
    if kind == 1 then piece = string.char(random(256) - 1) end
    if kind == 2 then piece = "" end
    if kind == 3 then piece = piece .. piece end
    if kind == 4 then piece = (":-?&*!|>'\"{}[],# \n\t"):sub(random(20)):sub(1, random(2)) end
    text = text:sub(1, at - 1) .. piece .. text:sub(at + length + 1)
  end
  return text
end

describe("edits of YAML", function()
  it("say what was asked for and leave all other bytes, or are refused", function()
    local counts = { edits = 0, refused = 0, why = {} }
    for number = 1, TEXTS do
      local text = corpus.text(SEED * 100000 + number)
      for i = 1, EDITS do attempt(text, (SEED * 100000 + number) * 1000 + i, counts) end
    end
    truthy(counts.edits >= TEXTS * EDITS * 0.95)
    if counts.refused > counts.edits * 0.1 then error(json.encode_pretty(counts), 0) end
  end)

  it("of damaged texts end in an error or in what was asked for", function()
    local counts = { edits = 0, refused = 0, why = {} }
    for number = 1, SOAK and 60000 or 1500 do
      local random = corpus.random(SEED * 700000 + number)
      local text = damaged(corpus.text(number % 200), random)
      if pcall(yaml_edit.parse, text) then attempt(text, SEED * 700000 + number, counts, true) end
    end
    truthy(counts.edits > 100)
  end)
end)
