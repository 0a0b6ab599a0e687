--- Edits of YAML: the new text, read again, says what was asked for and nothing else; what lies before and behind the
--- value's lines is as it was. In: a script of bytes, NUL, the text.
local edit = require "neap.targets.yaml.edit"
local json = require "native.json"
local yaml = require "native.yaml"

local SCALARS = { "new", "a: b", "", " edge ", "null", "12", "#c", "two\nlines\n", "é'\"", "- x", 7, 1.5, true, json.null }

local function value_of(roll)
  local which = roll(#SCALARS + 2)
  if which == #SCALARS + 1 then return json.array { "a", 1 } end
  if which == #SCALARS + 2 then return { one = "1", two = json.array {} } end
  return SCALARS[which]
end

local function is_list(value) return getmetatable(value) == "json.array" end

--- A place in plain data that the dice choose: the collection, the key in it, and the path.
local function place_in(value, roll, path)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  if #keys == 0 then return nil end
  local key = keys[roll(#keys)]
  if type(key) == "string" and (key == "" or key:find '"' and key:find "'") then return nil end
  local quote = type(key) == "string" and key:find '"' and "'" or '"'
  local here = path .. (type(key) == "string" and ("[%s%s%s]"):format(quote, key, quote) or ("[%d]"):format(key))
  local inner = value[key]
  if type(inner) == "table" and next(inner) ~= nil and roll(3) > 1 then return place_in(inner, roll, here) end
  return value, key, here
end

local edits = {}

function edits.set(document, roll, holder, key, path)
  local value = value_of(roll)
  document:set(path, value)
  holder[key] = value
end

function edits.remove(document, _, holder, key, path)
  document:remove(path)
  if is_list(holder) then table.remove(holder, key) else holder[key] = nil end
end

function edits.rename(document, roll, holder, key, path)
  if is_list(holder) then return end
  local name = ({ "n", "yes", "a b", "1", "é" })[roll(5)] .. "_new"
  document:rename(path, name)
  holder[name], holder[key] = holder[key], nil
end

function edits.append(document, roll, holder, key, path)
  local list = holder[key]
  if not is_list(list) then return end
  local value = value_of(roll)
  document:append(path, value)
  list[#list + 1] = value
end

function edits.add(document, roll, holder, key, path)
  local map = holder[key]
  if type(map) ~= "table" or is_list(map) then return end
  local value = value_of(roll)
  document:set(path .. ".added_here", value)
  map.added_here = value
end

local NAMES = { "set", "remove", "rename", "append", "add" }

local function has_alias(text) return #yaml.nodes(text):aliases() > 0 end

local function edited(text, roll)
  local document, wanted = edit.parse(text), yaml.parse(text)
  if type(wanted) ~= "table" then return end
  for _ = 1, roll(2) do
    local holder, key, path = place_in(wanted, roll, "")
    if not holder then break end
    edits[NAMES[roll(#NAMES)]](document, roll, holder, key, path)
  end
  return document:text(), wanted
end

return {
  parsers = { "neap/targets/yaml/edit.lua", "neap/targets/yaml/pieces.lua", "neap/targets/yaml/change.lua",
    "neap/targets/yaml/write.lua", "neap/targets/yaml/find.lua", "neap/targets/yaml/path.lua" },
  run = function(data)
    local script, text = parts(data, 2)
    equal(edit.parse(text):text(), text, "the text, unedited")
    if has_alias(text) then return end
    local result, wanted = edited(text, dice(script))
    if result then equal(yaml.parse(result), wanted, ("edit of %q gives %q"):format(text, result)) end
  end,
}
