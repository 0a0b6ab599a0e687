--- The guide that a procedure was written from: which of its lines have a step, and which have none. A guide is its
--- owner's text; a procedure names it by title and digest and its lines by number, and holds none of it.
local crypto = require "native.crypto"
local near   = require "neap.near"

--- @class neap.guide
--- @field title string
--- @field sha256 string
--- @field file? string  how its owner calls the file
--- @field from? string  the lines that this procedure is about; without it all

--- @class neap.coverage
--- @field guide neap.guide
--- @field sha256 string  of the text compared
--- @field same boolean  it is the text that the procedure names
--- @field lines integer  that are not blank, of those the procedure is about
--- @field missing integer  how many of them have no step
--- @field gaps { first: integer, last: integer, text: string[] }[]  where they are; blank lines at the ends left out
--- @field overlaps { first: integer, last: integer, by: string[] }[]  lines that several steps name
--- @field beyond { by: string, where: string, first: integer, last: integer }[]  lines that are not there
--- @field outside { first: integer, last: integer }[]  what the procedure leaves to others, by its guide's `from`
--- @field unnamed { by: string, where: string }[]  steps that name no line

local guide = {}

local FORM = "lines are named like \"L12\", \"L12-L20\" or \"L12-L20, L31\""

--- Lines as a procedure names them: "L120-L128, L130".
--- @param text string
--- @return { first: integer, last: integer }[]?  nil where it is of another form
--- @return string? mistake
function guide.ranges(text)
  local found = {}
  for piece in (text .. ","):gmatch "%s*([^,]*),%s*" do
    local first, last = piece:match "^L(%d+)%-L?(%d+)%s*$"
    first = tonumber(first or piece:match "^L(%d+)%s*$")
    last = tonumber(last) or first
    if not first or first < 1 or last < first then return nil, ("from is %q; %s"):format(text, FORM) end
    found[#found + 1] = { first = first, last = last }
  end
  return found
end

local PARTS = { sha256 = true, file = true, from = true }

--- What is wrong with a declaration's parts, or nil.
--- @param given table
--- @return string?
function guide.mistake(given)
  for part, value in pairs(given) do
    if not PARTS[part] then return (" has no part named %q%s"):format(tostring(part), near.hint(part, PARTS)) end
    if type(value) ~= "string" then return (": %s is a %s, expected a string"):format(part, type(value)) end
  end
  if not (given.sha256 or ""):find("^" .. ("%x"):rep(64) .. "$") then
    return " lacks sha256, the digest of its file, as sha256sum prints it"
  end
  local _, mistake = guide.ranges(given.from or "L1")
  return mistake and ": " .. mistake
end

--- One guide may be named by a procedure and by those it includes.
local function is_same(one, declared) return one ~= nil and one.sha256:lower() == declared.sha256:lower() end

--- Whether a text is, byte for byte, the guide that a procedure names.
--- @param declared neap.guide
--- @param text string
--- @return boolean
function guide.is_text_of(declared, text) return is_same({ sha256 = crypto.sha256(text) }, declared) end

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line:gsub("\r$", "") end
  return lines
end

--- Steps and remarks written from this guide, in the file's order of each.
local function named(loaded, declared)
  local list = {}
  for _, group in ipairs { loaded.steps, loaded.remarks } do
    for _, one in ipairs(group) do
      if is_same(one.guide, declared) then
        list[#list + 1] = { by = one.title or one.text, where = one.where, from = one.from }
      end
    end
  end
  return list
end

--- Who names each line; what names none, or lines that are not there.
local function claims(list, count)
  local by, beyond, unnamed = {}, {}, {}
  for _, one in ipairs(list) do
    if not one.from then unnamed[#unnamed + 1] = { by = one.by, where = one.where } end
    for _, range in ipairs(one.from and guide.ranges(one.from) or {}) do
      if range.last > count then
        beyond[#beyond + 1] = { by = one.by, where = one.where, first = range.first, last = range.last }
      end
      for line = range.first, math.min(range.last, count) do
        by[line] = by[line] or {}
        if by[line][#by[line]] ~= one.by then table.insert(by[line], one.by) end
      end
    end
  end
  return by, beyond, unnamed
end

local function is_blank(line) return not line:find "%S" end
local function is_fence(line) return line:find "^%s*```+%s*[%w%-+#.]*%s*$" or line:find "^%s*~~~+%s*[%w%-+#.]*%s*$" end

--- The nearest line in a direction that is not blank.
local function neighbour(lines, at, direction)
  repeat at = at + direction until not lines[at] or not is_blank(lines[at])
  return at
end

--- The written lines for which `key_of` gives the same key one after the other, as ranges; and how many they are.
local function stretches(lines, key_of)
  local list, count = {}, 0
  for at, line in ipairs(lines) do
    local key = not is_blank(line) and key_of(at)
    if key then
      local last = list[#list]
      count = count + 1
      if last and last.key == key and neighbour(lines, last.last, 1) == at then
        last.last = at
      else
        list[#list + 1] = { first = at, last = at, key = key }
      end
    end
  end
  for _, range in ipairs(list) do range.key = nil end
  return list, count
end

--- Whether the procedure is about a line.
local function scope_of(loaded, declared, count)
  local inside = {}
  for _, one in ipairs(loaded.guides) do
    local ranges = is_same(one, declared) and guide.ranges(one.from or "L1-L" .. math.max(count, 1)) or {}
    for _, range in ipairs(ranges) do
      for line = range.first, math.min(range.last, count) do inside[line] = true end
    end
  end
  return function(line) return inside[line] == true end
end

--- The fence of a block that is covered needs no step.
local function is_missing(lines, by, at)
  if by[at] then return false end
  return not (is_fence(lines[at]) and (by[neighbour(lines, at, -1)] or by[neighbour(lines, at, 1)]))
end

local function gaps_of(lines, by, in_scope)
  local gaps, missing = stretches(lines, function(at) return in_scope(at) and is_missing(lines, by, at) end)
  for _, gap in ipairs(gaps) do gap.text = table.move(lines, gap.first, gap.last, 1, {}) end
  return gaps, missing
end

local function overlaps_of(lines, by)
  local overlaps = stretches(lines, function(at) return by[at] and by[at][2] and table.concat(by[at], "\0") end)
  for _, range in ipairs(overlaps) do range.by = by[range.first] end
  return overlaps
end

--- The guide of a procedure that a file holds: by its digest, else by its name, else the first.
--- @param loaded neap.procedure
--- @param text string
--- @param path string
--- @return neap.guide?  nil where the procedure names none
function guide.of(loaded, text, path)
  local by_name
  for _, one in ipairs(loaded.guides) do
    if guide.is_text_of(one, text) then return one end
    if one.file == path:match "[^/]*$" then by_name = one end
  end
  return by_name or loaded.guides[1]
end

--- Compares a procedure with the text of a guide that it names.
--- @param loaded neap.procedure
--- @param declared neap.guide  one of loaded.guides
--- @param text string
--- @return neap.coverage
function guide.coverage(loaded, declared, text)
  local lines = lines_of(text)
  local by, beyond, unnamed = claims(named(loaded, declared), #lines)
  local in_scope = scope_of(loaded, declared, #lines)
  local gaps, missing = gaps_of(lines, by, in_scope)
  return {
    guide = declared, sha256 = crypto.sha256(text), same = guide.is_text_of(declared, text),
    lines = select(2, stretches(lines, in_scope)), missing = missing, gaps = gaps, overlaps = overlaps_of(lines, by),
    beyond = beyond, outside = stretches(lines, function(at) return not in_scope(at) end), unnamed = unnamed,
  }
end

return guide
