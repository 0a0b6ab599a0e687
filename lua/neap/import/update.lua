--- A newer text of a guide merged into an edited procedure, by what its lines say. The author's code stays as it is: only
--- the lines that it names move, and what changed, went or came is marked with TODO.
local crypto  = require "native.crypto"
local diff    = require "native.diff"
local guide   = require "neap.engine.guide"
local outline = require "neap.import.outline"
local write   = require "neap.import.write"

local update = {}

local function digests_of(text)
  local list = {}
  for i, line in ipairs(outline.lines(text)) do list[i] = write.line_digest(line) end
  return list
end

-- ---- where the lines went ----

--- By old line its new one, where it says the same; and the stretches that differ. { a, a_last, b, b_last }: lines a to a_last
--- became b to b_last; a_last is a - 1 where lines only came, before a.
local function follow(old, new)
  local moved, hunks, at, shift = {}, {}, 1, 0
  local before, after = table.concat(old, "\n") .. "\n", table.concat(new, "\n") .. "\n"
  for _, hunk in ipairs(diff.lines(before, after, { context = 0 })) do
    local a = hunk.a_count > 0 and hunk.a_start or hunk.a_start + 1
    local b = hunk.b_count > 0 and hunk.b_start or hunk.b_start + 1
    for line = at, a - 1 do moved[line] = line + shift end
    hunks[#hunks + 1] = { a = a, a_last = a + hunk.a_count - 1, b = b, b_last = b + hunk.b_count - 1 }
    at, shift = a + hunk.a_count, shift + hunk.b_count - hunk.a_count
  end
  for line = at, #old do moved[line] = line + shift end
  return moved, hunks
end

--- What a range has become: its new lines, and whether something in it changed. A stretch that came within the range is its
--- own, one beside it is not; a stretch that became another belongs to the first range that named some of it.
local function range_now(range, moved, hunks)
  local first, last, changed
  local function take(line)
    first, last = math.min(first or line, line), math.max(last or line, line)
  end
  for line = range.first, range.last do
    if moved[line] then take(moved[line]) end
  end
  for _, hunk in ipairs(hunks) do
    local only_came = hunk.a_last < hunk.a
    local within = only_came and range.first < hunk.a and hunk.a <= range.last
    local replaced = not only_came and hunk.a <= range.last and hunk.a_last >= range.first
    if within or replaced then
      changed = true
      if hunk.b_last >= hunk.b and (within or not hunk.taken) then
        hunk.taken = true
        take(hunk.b)
        take(hunk.b_last)
      end
    end
  end
  return first and { first = first, last = last }, changed == true
end

-- ---- the procedure's text ----

local function say(ranges)
  local parts = {}
  for i, range in ipairs(ranges) do parts[i] = write.range(range.first, range.last) end
  return table.concat(parts, ", ")
end

--- What the lines that a `from` names have become.
local function now_of(found, said)
  if found.known[said] then return table.unpack(found.known[said]) end
  local now, changed = {}, false
  for _, range in ipairs(guide.ranges(said)) do
    local new, differs = range_now(range, found.moved, found.hunks)
    changed = changed or differs
    if new then now[#now + 1] = new end
  end
  found.known[said] = { now, changed }
  return now, changed
end

--- A form that is a comment names the lines of its step, and stands for none of them.
local function count(found, now, said, changed)
  for _, range in ipairs(now) do table.insert(found.claimed, range) end
  if #now == 0 then found.gone = found.gone + 1 end
  if #now > 0 and say(now) ~= said then found.count = found.count + 1 end
  if #now > 0 and changed then found.changed = found.changed + 1 end
end

--- The lines that the procedure is about, as they are now.
local function moved_scope(found, said, comma)
  local now = guide.ranges(said) and now_of(found, said) or {}
  if #now == 0 then return nil end
  found.scope = now
  return ("from = %q%s"):format(say(now), comma)
end

--- A `from`, with its lines as they are now.
local function moved_from(found, said, comma, is_comment)
  if not guide.ranges(said) then return nil end
  local now, changed = now_of(found, said)
  if not is_comment then count(found, now, said, changed) end
  if #now == 0 then return ("--[[ TODO gone from the guide; it was %s ]]"):format(said) end
  local mark = changed and (" --[[ TODO the guide has changed here; it was %s ]]"):format(said) or ""
  return ("from = %q%s%s"):format(say(now), comma, mark)
end

local function is_comment(text, at) return ("\n" .. text:sub(1, at - 1)):match ".*\n(.*)$":find "^%s*%-%-" ~= nil end

--- A guide's own `from` says what the procedure is about.
local function is_scope(text, at)
  local begin = ("\n" .. text:sub(1, at - 1)):match ".*\nguide%f[%W]()"
  return begin ~= nil and not text:sub(begin - 1, at - 1):find "}"
end

local FROM = '()from%s*=%s*"(L[%dL%-, ]*)"(,?)'

local function move_all(found, text)
  return (text:gsub(FROM, function(at, said, comma)
    if is_scope(text, at) then return moved_scope(found, said, comma) end
    return moved_from(found, said, comma, is_comment(text, at))
  end))
end

-- ---- what came ----

local function is_within(ranges, line)
  for _, range in ipairs(ranges) do
    if range.first <= line and line <= range.last then return true end
  end
  return false
end

--- Whether a line came, and nobody has it yet; what nobody named before is left to the author.
local function is_new(found, line)
  for _, hunk in ipairs(found.hunks) do
    if hunk.b <= line and line <= hunk.b_last then
      return not is_within(found.claimed, line) and (not found.scope or is_within(found.scope, line))
    end
  end
  return false
end

--- The new lines of an entry.
local function new_ranges(found, entry, lines)
  local list = {}
  for line = entry.first, entry.last do
    local last = list[#list]
    if lines[line]:find "%S" and is_new(found, line) then
      if last and last.last == line - 1 then last.last = line else list[#list + 1] = { first = line, last = line } end
    end
  end
  return list
end

--- Where a declaration begins in a text, of which something lies at a place: with the comments right above it.
local function begin_of(text, at)
  local begin = 1
  for place in text:sub(1, at):gmatch "()[^\n]*\n" do
    local line = text:match("^[^\n]*", place)
    local declares = line:find "^step%f[%W]" or line:find "^manual%f[%W]" or line:find "^await%f[%W]"
      or line:find "^remark%f[%W]" or line:find "^local [%w_, ]+=%s*step%f[%W]"
    if declares then begin = place end
  end
  local last = text:sub(1, at):match ".*\n()" or 1
  local line = text:match("^[^\n]*", last)
  if line:find "^%a" then begin = last end
  while true do
    local before = text:sub(1, begin - 1):match "()%-%-[^\n]*\n$"
    if not before or text:sub(before - 1, before - 1) ~= "\n" then break end
    begin = before
  end
  return begin
end

--- Where what came is put in: before the first declaration that names a later line, else at the end.
local function place_for(text, line)
  local at, least
  for place, said in text:gmatch(FROM) do
    local ranges = guide.ranges(said)
    local counts = ranges and not is_scope(text, place) and not is_comment(text, place)
    local first = counts and ranges[1].first
    if first and first > line and (not least or first < least) then at, least = place, first end
  end
  return at and begin_of(text, at) or #text + 1
end

local function without_others(entry, ranges, lines)
  local one = { kind = entry.kind == "phase" and "remark" or entry.kind, title = entry.title, text = entry.text,
    first = ranges[1].first, from = say(ranges), code = entry.code, lines = {} }
  for _, range in ipairs(ranges) do table.move(lines, range.first, range.last, #one.lines + 1, one.lines) end
  return one
end

local function add_new(found, text, new_text)
  local lines = outline.lines(new_text)
  for _, entry in ipairs(outline.of(new_text)) do
    local ranges = new_ranges(found, entry, lines)
    if #ranges > 0 then
      local one = without_others(entry, ranges, lines)
      if text:find(("%q"):format(one.title), 1, true) then one.title = ("%s (line %d)"):format(one.title, one.first) end
      local place = place_for(text, one.first)
      text = text:sub(1, place - 1) .. "-- TODO new in the guide\n" .. write.entry(one) .. "\n" .. text:sub(place)
      found.added = found.added + 1
    end
  end
  return text
end

--- @class neap.merged
--- @field text string  the procedure
--- @field moved integer  references whose numbers changed
--- @field changed integer  references whose lines say something else
--- @field gone integer  references whose lines are not there any more
--- @field added integer  declarations for lines that came

--- @param text string  the procedure
--- @param new_text string  the guide as it is now
--- @param old_text? string  the guide as it was, where the procedure does not hold its digests
--- @return neap.merged?  nil: nothing tells which lines the procedure was written from
function update.merge(text, new_text, old_text)
  local old, rest = write.read_digests(text)
  if old_text then old = digests_of(old_text) end
  if not old then return nil end
  local moved, hunks = follow(old, digests_of(new_text))
  local found = { moved = moved, hunks = hunks, claimed = {}, known = {}, count = 0, changed = 0, gone = 0, added = 0 }
  rest = move_all(found, rest)
  rest = rest:gsub('(sha256%s*=%s*)"%x+"', ("%%1%q"):format(crypto.sha256(new_text)), 1)
  rest = add_new(found, rest, new_text)
  return { text = rest .. write.digests(outline.lines(new_text)), moved = found.count, changed = found.changed,
    gone = found.gone, added = found.added }
end

return update
