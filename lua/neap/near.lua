--- The name a person probably meant: edit distance, with neighbours swapped counted as one edit.
local near = {}

local FARTHEST = 2

--- How many letters must be inserted, dropped, replaced or swapped with their neighbour to make `a` into `b`.
--- @param a string
--- @param b string
--- @return integer
function near.distance(a, b)
  local before_last, last = {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before_last[j - 2] + 1)
      end
    end
    before_last, last = last, row
  end
  return last[#b]
end

--- A short name is told apart by fewer letters: of `ab`, every other pair of letters is two edits away.
local function within_reach(name, distance)
  return distance <= FARTHEST and distance * 2 <= #name
end

--- The nearest of `names`, at most two edits away; among equals the first in order of the alphabet.
--- @param name string
--- @param names string[]
--- @return string? nearest
function near.find(name, names)
  local nearest, least
  for _, candidate in ipairs(names) do
    local distance = near.distance(name, candidate)
    local closer = not least or distance < least or (distance == least and candidate < nearest)
    if within_reach(name, distance) and closer then nearest, least = candidate, distance end
  end
  return nearest
end

--- A sentence to put behind "no such …": " Did you mean 'x'?", or "" when nothing is near.
--- @param name string
--- @param names string[]
--- @return string
function near.question(name, names)
  local nearest = near.find(name, names)
  return nearest and (" Did you mean '%s'?"):format(nearest) or ""
end

--- The same over the keys of a table, to put right behind a sentence without its full stop: ". Did you mean 'x'?".
--- @param name any
--- @param keyed table<string, any>
--- @return string
function near.hint(name, keyed)
  local names = {}
  for key in pairs(keyed) do names[#names + 1] = key end
  local question = near.question(tostring(name), names)
  return question ~= "" and "." .. question or ""
end

return near
