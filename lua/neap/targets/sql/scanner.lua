--- What the splitters of both dialects stand on: a script read in pieces, the nearest of a dialect's marks, its lines.
--- An item is scanned from its beginning in what is there of the text; where that ends too early more is read, at least
--- as much again, and the item is scanned anew: so no rule has to think of a text that stops in the middle of it.
local fault = require "native.error"

local find, sub = string.find, string.sub

local scanner = {}
scanner.__index = scanner

local NOWHERE = math.maxinteger

--- @param read fun(): string?  the next piece of the script; nil at its end
--- @param name string          what messages call it
--- @param marks string[]       plain texts at which the dialect has something to decide: first what ends a statement,
---   then "'"
function scanner.new(read, name, marks)
  local self = setmetatable({ read = read, name = name, marks = marks, places = {}, text = "", from = 0, at = 1,
    line = 1, counted = 1, final = false, fresh = true }, scanner)
  self:forget()
  repeat self:more() until #self.text >= 3 or self.final
  if sub(self.text, 1, 3) == "\xEF\xBB\xBF" then
    self.text, self.from = sub(self.text, 4), 3
    self:forget()
  end
  return self
end

--- Has the marks looked for anew, after the text or a mark has changed.
function scanner:forget()
  for i = 1, #self.marks do self.places[i] = 0 end
end

--- Reads on, at least as much as is there from the item's beginning on; false at the script's end.
function scanner:more()
  if self.final then return false end
  self.fresh = self:is_first_of_line(self.at)
  self:count_lines(self.at)
  local kept = sub(self.text, self.at)
  local pieces, size = { kept }, 0
  repeat
    local piece = self.read()
    pieces[#pieces + 1], size = piece, size + #(piece or "")
    self.final = piece == nil
  until self.final or (size > 0 and size >= #kept)
  self.from, self.text = self.from + self.at - 1, table.concat(pieces)
  self.at, self.counted = 1, 1
  self:forget()
  local zero = find(self.text, "\0", #kept + 1, true)
  if zero then self:refuse_at(zero, "a NUL byte is no part of a script") end
  return true
end

--- Whether only blanks stand before a place in its line.
function scanner:is_first_of_line(at)
  while at > 1 and find(self.text, "^[ \t\r]", at - 1) do at = at - 1 end
  if at == 1 then return self.fresh end
  return sub(self.text, at - 1, at - 1) == "\n"
end

--- Moves the count of lines on, to the byte at `at`.
function scanner:count_lines(at)
  local text, line = self.text, self.line
  local newline = find(text, "\n", self.counted, true)
  while newline and newline < at do
    line, newline = line + 1, find(text, "\n", newline + 1, true)
  end
  self.line, self.counted = line, at
  return line
end

--- The number of the nearest mark at or behind `at`, and its place; nil where there is none.
function scanner:nearest(at)
  local text, marks, places = self.text, self.marks, self.places
  local first, which = NOWHERE, nil
  for i = 1, #marks do
    local place = places[i]
    if place < at then
      place = find(text, marks[i], at, true) or NOWHERE
      places[i] = place
    end
    if place < first then first, which = place, i end
  end
  return which, first
end

--- The nearest place of the marks first to last at or behind `at`; math.maxinteger where there is none.
function scanner:nearest_of(first, last, at)
  local places, nearest = self.places, NOWHERE
  for i = first, last do
    if places[i] < at then places[i] = find(self.text, self.marks[i], at, true) or NOWHERE end
    if places[i] < nearest then nearest = places[i] end
  end
  return nearest
end

--- The end of a statement from `at` on that has nothing but plain quotes in it, as most have, without a step for each;
--- nil where it has another mark up to `last`, or a backslash in a quote, or the text ends before.
function scanner:plain_end(at, last, backslash)
  self:nearest(at)
  local text, places = self.text, self.places
  local stop, quote, other = places[1], places[2], self:nearest_of(3, last, at)
  while quote < stop do
    local close = find(text, "'", quote + 1, true)
    if not close or other < quote then return nil end
    if other < close then
      if places[backslash] < close then return nil end
      other = self:nearest_of(3, last, close + 1)
    end
    if stop < close then stop = find(text, self.marks[1], close + 1, true) or NOWHERE end
    quote = find(text, "'", close + 1, true) or NOWHERE
  end
  places[1], places[2] = stop, quote
  return stop < other and stop or nil
end

--- Raises what is wrong with the script at a line: kind `protocol`, with `line`.
function scanner:refuse(line, message, ...)
  local failure = fault.new { kind = "protocol", message = ("%s:%d: %s"):format(self.name, line, message:format(...)) }
  failure.line = line
  error(failure, 0)
end

--- The same for a place in the text.
function scanner:refuse_at(at, message, ...)
  local _, newlines = sub(self.text, self.counted, at - 1):gsub("\n", "")
  return self:refuse(self.line + newlines, message, ...)
end

--- Where the line that `at` is in ends: its newline, or behind the script's last byte. nil where more has to be read.
function scanner:line_end(at)
  return find(self.text, "\n", at, true) or self.final and #self.text + 1 or nil
end

--- The place of the last byte from `from` to `last` that is no space.
function scanner:trimmed(from, last)
  while last >= from and find(self.text, "^%s", last) do last = last - 1 end
  return last
end

--- The next item by scan(self, at), which says what it is (nil: nothing to hand on) and where the scan goes on, or
--- nothing where the text ends before it can be known; nil at the script's end.
function scanner:item(scan)
  while true do
    local item, next_at = scan(self, self.at)
    if next_at then self.at = next_at end
    if item then
      item.finish = self.from + next_at - 1
      return item
    end
    if next_at and self.final and next_at > #self.text then return nil end
    if not next_at then self:more() end
  end
end

return scanner
