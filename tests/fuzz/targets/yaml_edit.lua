--- Edits of YAML: the new text, read again, says what was asked for and nothing else; what lies before and behind the
--- value's lines is as it was. In: a script of bytes, NUL, the text.
local edit = require "neap.targets.yaml.edit"
local json = require "native.json"
local yaml = require "native.yaml"

local SCALARS = { "new", "a: b", "", " edge ", "null", "12", "#c", "two\nlines\n", "é'\"", "- x", 7,
  1.5, true, json.null }

local function value_of(roll)
  local which = roll(#SCALARS + 2)
  if which == #SCALARS + 1 then return json.array { "a", 1 } end
  if which == #SCALARS + 2 then return { one = "1", two = json.array {} } end
  return SCALARS[which]
end

local function is_list(value) return getmetatable(value) == "json.array" end

local function copy_of(value)
  if type(value) ~= "table" then return value end
  local copy = is_list(value) and json.array {} or {}
  for key, item in pairs(value) do copy[key] = copy_of(item) end
  return copy
end

local function part_of(key)
  if type(key) == "number" then return ("[%d]"):format(key) end
  local quote = key:find '"' and "'" or '"'
  if key ~= "" and not (key:find '"' and key:find "'") then return "[" .. quote .. key .. quote .. "]" end
end

--- A place in plain data that the dice choose: the collection, the key in it, the path, and that of the collection.
local function place_in(value, roll, above)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  local key = keys[roll(math.max(#keys, 1))]
  local part = key and part_of(key)
  if not part then return nil end
  local inner = value[key]
  if type(inner) == "table" and next(inner) ~= nil and roll(3) > 1 then return place_in(inner, roll, above .. part) end
  return { holder = value, key = key, path = above .. part, above = above }
end

local function take_out(holder, key)
  if is_list(holder) then return table.remove(holder, key) end
  local value = holder[key]
  holder[key] = nil
  return value
end

--- What document:METHOD(path, …) is to come to: each gets the document, the dice, the place, and the whole.
local edits = {}

function edits.set(document, roll, place)
  local value = value_of(roll)
  document:set(place.path, value)
  place.holder[place.key] = value
end

function edits.remove(document, _, place)
  document:remove(place.path)
  take_out(place.holder, place.key)
end

function edits.rename(document, roll, place)
  if is_list(place.holder) then return end
  local name = ({ "n", "yes", "a b", "1", "é" })[roll(5)] .. "_new"
  document:rename(place.path, name)
  place.holder[name] = take_out(place.holder, place.key)
end

function edits.append(document, roll, place)
  local list = place.holder[place.key]
  if not is_list(list) then return end
  local value = value_of(roll)
  document:append(place.path, value)
  list[#list + 1] = value
end

function edits.insert(document, roll, place)
  if not is_list(place.holder) or place.above == "" then return end
  local value, index = value_of(roll), roll(#place.holder + 1)
  document:insert(place.above, index, value)
  table.insert(place.holder, index, value)
end

function edits.insert_key(document, roll, place)
  if is_list(place.holder) then return end
  local value = value_of(roll)
  document:insert(place.above == "" and "put_in" or place.above .. ".put_in", { [roll(2) == 1 and "before" or "after"] =
    place.path:sub(#place.above + 1) }, value)
  place.holder.put_in = value
end

function edits.add(document, roll, place)
  local map = place.holder[place.key]
  if type(map) ~= "table" or is_list(map) then return end
  local value = value_of(roll)
  document:set(place.path .. ".added_here", value)
  map.added_here = value
end

function edits.deepen(document, roll, place)
  if place.holder[place.key] ~= json.null then return end
  local value = value_of(roll)
  document:set(place.path .. ".deeper.still", value)
  place.holder[place.key] = { deeper = { still = value } }
end

function edits.move(document, _, place, whole)
  if is_list(whole) then return end
  document:move(place.path, "moved")
  whole.moved = take_out(place.holder, place.key)
end

function edits.copy(document, _, place, whole)
  if is_list(whole) then return end
  document:copy(place.path, "copied")
  whole.copied = copy_of(place.holder[place.key])
end

function edits.put(document, _, place)
  local list = place.holder[place.key]
  if not is_list(list) or #list == 0 then return end
  document:append(place.path, document:subtree(place.path .. "[1]"))
  list[#list + 1] = copy_of(list[1])
end

local NAMES = { "set", "remove", "rename", "append", "add", "insert", "insert_key", "deepen", "move", "copy", "put" }

--- Reading says what plain data says; what is not there is not there.
local function check_reading(document, place)
  local read, value = attempt(document.get, document, place.path)
  if read then equal(value, place.holder[place.key], "what is read") end
  attempt(document.has, document, place.path .. "[a=b]")
  attempt(document.get, document, place.above .. "[a='b']")
end

local function edited(text, roll)
  local document, whole = edit.parse(text), yaml.parse(text)
  if type(whole) ~= "table" then return end
  for _ = 1, roll(2) do
    local place = place_in(whole, roll, "")
    if not place then break end
    check_reading(document, place)
    edits[NAMES[roll(#NAMES)]](document, roll, place, whole)
  end
  return document:text(), whole
end

return {
  parsers = { "neap/targets/yaml/edit.lua", "neap/targets/yaml/pieces.lua", "neap/targets/yaml/change.lua",
    "neap/targets/yaml/write.lua", "neap/targets/yaml/find.lua", "neap/targets/yaml/path.lua" },
  run = function(data)
    local script, text = parts(data, 2)
    local document = edit.parse(text)
    equal(document:text(), text, "the text, unedited")
    for i = 1, document:count() do attempt(document.set, document:document(i), "a.b", i) end
    attempt(document.text, document)
    attempt(document.select, edit.parse(text), { kind = "a", name = "b" })
    local result, whole = edited(text, dice(script))
    if result then equal(must(yaml.parse, result), whole, ("edit of %q gives %q"):format(text, result)) end
  end,
}
