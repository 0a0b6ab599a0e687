--- What a text is set on: so many columns, with or without UTF-8 and colour. Views ask it for everything that differs.
local ordered  = require "neap.ordered"
local terminal = require "native.terminal"

local page = {}
page.__index = page

local COLOURS = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", cyan = "36",
                  alarm = "1;31" }

local LONGEST = 120 -- columns over which an eye follows a line

--- @class neap.page
--- @field width integer  columns
--- @field edge integer  where lines of words, and what stands at the right of a line, end
--- @field wraps boolean  a line that is too long is broken here, between words; else it stays whole, for a program
--- @field utf8 boolean
--- @field colour boolean

--- @param properties { width?: integer, utf8?: boolean, colour?: boolean, wraps?: boolean }
--- @return neap.page
function page.new(properties)
  local self = setmetatable({ utf8 = properties.utf8 or false, colour = properties.colour or false,
    wraps = properties.wraps or false }, page)
  self:resize(properties.width or 80)
  return self
end

--- @param columns integer
function page:resize(columns)
  self.width = math.max(columns, 40)
  self.edge = math.min(self.width, LONGEST)
end

--- Foreign text in one line.
function page:clean(text) return terminal.clean(tostring(text), { ascii = not self.utf8 }) end

--- Foreign text as a list of clean lines; a line end at its very end adds no line.
--- @return string[]
function page:lines(text)
  local lines = {}
  local cleaned = terminal.clean(tostring(text), { newline = true, ascii = not self.utf8 })
  for line in (cleaned:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

local SAID = 10 -- lines below a failure: the journal keeps more, which a key and the report show

--- What a target said, as far as it stands below a failure: its last lines, and how many were before them.
--- @param text string?
--- @return string[]
function page:last_lines(text)
  local lines = text and self:lines(text) or {}
  local before = #lines - SAID
  if before <= 1 then return lines end -- one line more takes no more room than to say so
  local last = table.move(lines, before + 1, #lines, 2, {})
  last[1] = ("(%d lines before these)"):format(before)
  return last
end

--- Colour, where there is any: bold dim red green yellow blue cyan alarm.
--- @param mark? string  stands round each sequence, for a line editor
function page:paint(colour, text, mark)
  if not self.colour or text == "" then return text end
  mark = mark or ""
  return table.concat { mark, "\27[", COLOURS[colour], "m", mark, text, mark, "\27[0m", mark }
end

local function bare(text) return (text:gsub("\27%[[%d;]*m", "")) end

--- Columns that a text takes, colours not counted.
function page:columns(text) return terminal.width(bare(text)) end

--- The text with spaces behind it, up to so many columns.
function page:left(text, columns) return text .. (" "):rep(columns - self:columns(text)) end

--- The text with spaces before it.
function page:right(text, columns) return (" "):rep(columns - self:columns(text)) .. text end

--- Two texts at the two edges of a line; where they do not fit, the right one stands in a line below.
function page:edges(left, right, width)
  if right == "" then return left end
  width = width or self.edge
  local gap = width - self:columns(left) - self:columns(right)
  if gap >= 2 then return left .. (" "):rep(gap) .. right end
  return ("%s\n%s"):format(left, self:right(right, width))
end

--- Clean, uncoloured text, cut to so many columns with its end shown as missing.
function page:cut(text, columns)
  if terminal.width(text) <= columns then return text end
  local mark = self.utf8 and "…" or "..."
  local room, kept = columns - terminal.width(mark), 0
  for at, point in utf8.codes(text) do
    local width = terminal.width(utf8.char(point))
    if room < width then return text:sub(1, at - 1) .. mark end
    room, kept = room - width, at
  end
  return text:sub(1, kept)
end

--- A line that is too long for a terminal, broken between words, with its own spaces; where a program reads, as it is.
--- @param text string
--- @param indent integer  columns before what goes on
--- @return string
function page:fit(text, indent)
  if not self.wraps or self:columns(text) <= self.width then return text end
  local lines, line = {}, ""
  for spaces, word in text:gmatch "(%s*)(%S+)" do
    local longer = line .. spaces .. word
    if line:find "%S" and self:columns(longer) > self.width then
      lines[#lines + 1], longer = line, (" "):rep(indent) .. word
    end
    line = longer
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- Words set into lines of at most `width` columns; lines after the first begin with `indent` spaces.
--- @return string[]
function page:wrap(text, width, indent)
  local lines, line = {}, nil
  local margin = (" "):rep(indent or 0)
  width = math.min(width, self.edge)
  for word in text:gmatch "%S+" do
    if not line then
      line = word
    elseif self:columns(line) + 1 + self:columns(word) <= width then
      line = line .. " " .. word
    else
      lines[#lines + 1] = line
      line = margin .. word
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- Rows of clean text under headings, in columns as wide as they need. A column whose heading begins with ">" stands to
--- the right.
--- @param headings string[]
--- @param rows string[][]
--- @param options? { cut: boolean }  cut: the last column, which has no colour, ends at the page's edge
--- @return string[] lines
function page:table(headings, rows, options)
  local widths, to_right, head = {}, {}, {}
  for i, heading in ipairs(headings) do
    to_right[i] = heading:sub(1, 1) == ">"
    head[i] = to_right[i] and heading:sub(2) or heading
  end
  for i in ipairs(head) do
    widths[i] = self:columns(head[i])
    for _, row in ipairs(rows) do widths[i] = math.max(widths[i], self:columns(row[i])) end
  end
  local function set(row)
    local cells, used = {}, 0
    for i = 1, #head - 1 do
      cells[i] = to_right[i] and self:right(row[i], widths[i]) or self:left(row[i], widths[i])
      used = used + widths[i] + 2
    end
    local last = row[#head]
    if options and options.cut then last = self:cut(last, math.max(self.width - used, 8)) end
    cells[#head] = to_right[#head] and self:right(last, widths[#head]) or last
    return (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  local lines = { self:paint("bold", set(head)) }
  for _, row in ipairs(rows) do lines[#lines + 1] = set(row) end
  return lines
end

--- Adds a paragraph two columns in from the edge; lines after its first begin `hang` columns further in.
--- @param lines string[]
--- @param text string
--- @param hang? integer
function page:add_paragraph(lines, text, hang)
  for _, line in ipairs(self:wrap(text, self.width - 2, hang)) do lines[#lines + 1] = "  " .. line end
end

--- A line across the page, with a text in its middle.
function page:rule(mark, text)
  if not text then return mark:rep(self.width) end
  local room = self.edge - self:columns(text) - 2
  return ("%s %s %s"):format(mark:rep(room // 2), text, mark:rep(room - room // 2))
end

--- 0.4s, 12s, 2m41s, 1h12m, 3d4h: as much as a person needs.
--- @param seconds number
--- @return string
function page.duration(seconds)
  if seconds < 9.95 then return ("%.1fs"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return ("%ds"):format(whole) end
  if whole < 3600 then return ("%dm%02ds"):format(whole // 60, whole % 60) end
  if whole < 86400 then return ("%dh%02dm"):format(whole // 3600, whole % 3600 // 60) end
  return ("%dd%dh"):format(whole // 86400, whole % 86400 // 3600)
end

--- A duration that is estimated: 8s, 40s, 3m, 1h12m.
--- @param seconds number
--- @return string
function page.about(seconds)
  if seconds < 60 then return ("%ds"):format(math.max(1, math.floor(seconds + 0.5))) end
  local minutes = math.floor(seconds / 60 + 0.5)
  if minutes < 60 then return ("%dm"):format(minutes) end
  return ("%dh%02dm"):format(minutes // 60, minutes % 60)
end

--- "1 step", "3 steps".
function page.count(number, noun) return ("%d %s%s"):format(number, noun, number == 1 and "" or "s") end

--- "name=value" of each argument, by their names; foreign text that is not clean yet.
--- @param arguments table?
--- @return string[]
function page.arguments(arguments)
  local parts = {}
  for i, name in ipairs(ordered.keys(arguments)) do parts[i] = ("%s=%s"):format(name, tostring(arguments[name])) end
  return parts
end

--- "a", "a and b", "a, b and c".
--- @param items string[]
function page.series(items)
  if #items < 2 then return items[1] or "" end
  return table.concat(items, ", ", 1, #items - 1) .. " and " .. items[#items]
end

return page
