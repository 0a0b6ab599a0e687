--- A picture of a terminal's screen: its rows as text in SVG, in their colours, on a dark ground.
local terminal = require "native.terminal"

local svg = {}

local CELL, LINE, MARGIN, SIZE = 8.4, 18, 14, 14 -- width of a column, height of a row, border, font
local GROUND, INK, DIM = "#15181b", "#e6e6e3", "#9aa4ae"
local NAMED = { [0] = "#6e7681", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#e6e6e3" }

--- @param look string  parameters of the sequences that were in force
--- @return string attributes  of a tspan
local function attributes_of(look)
  local ink, bold, dim = nil, false, false
  for parameter in look:gmatch "%d+" do
    local number = tonumber(parameter)
    if number == 0 then ink, bold, dim = nil, false, false
    elseif number == 1 then bold = true
    elseif number == 2 then dim = true
    elseif number == 22 then bold, dim = false, false
    elseif number == 39 then ink = nil
    elseif number >= 30 and number <= 37 or number >= 90 and number <= 97 then ink = NAMED[number % 10]
    elseif number ~= 49 then error("a look that no picture has: " .. look) end -- 49: the ground is the picture's own
  end
  ink = ink or dim and DIM
  return (ink and (' fill="%s"'):format(ink) or "") .. (bold and ' font-weight="bold"' or "")
end

local ESCAPED = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text) return (text:gsub('[&<>"]', ESCAPED)) end

--- Pieces of a row that look the same, each where it begins; spaces at the row's end are left out.
local function pieces_of(row)
  local pieces, from, last = {}, 1, #row.text:gsub("%s+$", "")
  for at = 1, last do
    if at == last or row.looks[at + 1] ~= row.looks[from] then
      pieces[#pieces + 1] = ('<tspan x="%.1f"%s>%s</tspan>'):format(
        MARGIN + CELL * terminal.width(row.text:sub(1, from - 1)), attributes_of(row.looks[from] or ""),
        escape(row.text:sub(from, at)))
      from = at + 1
    end
  end
  return table.concat(pieces)
end

--- @param rows screen.row[]
--- @param title string  for who does not see it
--- @return string
function svg.of(rows, title)
  local columns = 80
  for _, row in ipairs(rows) do columns = math.max(columns, terminal.width((row.text:gsub("%s+$", "")))) end
  local width, height = math.ceil(columns * CELL + 2 * MARGIN), #rows * LINE + 2 * MARGIN
  local lines = {
    ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">')
      :format(width, height, width, height),
    ("<title>%s</title>"):format(escape(title)),
    ('<rect width="100%%" height="100%%" rx="8" fill="%s"/>'):format(GROUND),
    ('<g fill="%s" font-family="ui-monospace,\'DejaVu Sans Mono\',Menlo,Consolas,monospace" font-size="%d">')
      :format(INK, SIZE),
  }
  for i, row in ipairs(rows) do
    local pieces = pieces_of(row)
    if pieces ~= "" then
      lines[#lines + 1] = ('<text y="%d" xml:space="preserve">%s</text>'):format(MARGIN + LINE * i - 4, pieces)
    end
  end
  lines[#lines + 1] = "</g>\n</svg>\n"
  return table.concat(lines, "\n")
end

return svg
