--- A screen as rows of text and colour, in which what differs from one machine and one moment to the next is replaced:
--- times, durations, who acts, the folder. Columns stay where they are.
local process = require "native.process"

local screen = {}

-- ---- rows ----

--- @class screen.row
--- @field text string
--- @field looks string[]  of each byte the parameters of its colour, "" where it has none

local function look_after(look, parameters)
  if parameters == "" or parameters == "0" then return "" end
  local kept = look ~= "" and look .. ";" or ""
  return kept .. parameters
end

--- A colour holds until the next sequence, over the ends of lines, too.
--- @param text string  with the sequences that make colours
--- @return screen.row[]
function screen.rows(text)
  local rows, look = {}, ""
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local row, looks, first = { text = line:gsub("\27%[[%d;]*m", "") }, {}, true
    for parameters, behind in ("\27[m" .. line):gmatch "\27%[([%d;]*)m([^\27]*)" do
      look = first and look or look_after(look, parameters)
      first = false
      for _ = 1, #behind do looks[#looks + 1] = look end
    end
    row.looks = looks
    rows[#rows + 1] = row
  end
  return rows
end

--- @param rows screen.row[]
--- @return string
function screen.text(rows)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = row.text:gsub("%s+$", "") end
  return table.concat(lines, "\n")
end

-- ---- what is replaced ----

local GAP = 4 -- so many spaces are there to keep what follows in its column

local function splice(row, from, to, text)
  local look = row.looks and row.looks[from]
  row.text = row.text:sub(1, from - 1) .. text .. row.text:sub(to + 1)
  if not row.looks then return end
  local looks = table.move(row.looks, 1, from - 1, 1, {})
  for _ = 1, #text do looks[#looks + 1] = look end
  row.looks = table.move(row.looks, to + 1, #row.looks, #looks + 1, looks)
end

--- Puts a text in the place of another. What it takes more or less is made up for in the spaces before it, or behind it.
local function put(row, from, to, text)
  local more = #text - (to - from + 1)
  local before = row.text:sub(1, from - 1):match "^.*%S()( +)$"
  before = before and from - before or from > 1 and row.text:sub(1, from - 1):find "^ +$" and from - 1 or 0
  splice(row, from, to, text)
  if more == 0 then return #text end
  local at = before >= GAP and from - before or row.text:find((" "):rep(GAP), from + #text, true)
  if not at then return #text end
  local spaces = #row.text:match("^ +", at)
  splice(row, at, at + spaces - 1, (" "):rep(spaces - more))
  return at < from and #text - more or #text
end

local function replace(row, pattern, text)
  local at = 1
  while true do
    local from, to = row.text:find(pattern, at)
    if not from then return end
    at = from + math.max(put(row, from, to, text), 1)
  end
end

local DAY, TIME, DURATION = "YYYY-MM-DD", "HH:MM:SS", "N.Ns"

local function plain(text) return (text:gsub("%p", "%%%0")) end

--- @param row screen.row  looks: none where the text has no colour, or shows its sequences
--- @param names table<string, string>  what is put for texts of this machine
local function settle(row, names)
  for found, name in pairs(names) do replace(row, plain(found), name) end
  replace(row, "plan %x%x%x%x%x%x%f[%X]", "plan 3f9c1a")
  replace(row, "%w+@" .. plain(process.hostname()), "alice@jump1")
  replace(row, "%d%d%d%d%-%d%d%-%d%d", DAY)
  replace(row, DAY:gsub("%-", "%%-") .. " %d%d:%d%d%f[^%d:]", DAY .. " HH:MM")
  replace(row, "%d%d:%d%d:%d%d", TIME)
  replace(row, "%f[%w]%d+m%d%ds%f[%W]", DURATION)
  replace(row, "%f[%w]%d+%.%ds%f[%W]", DURATION)
  replace(row, "%f[%w]%d+s%f[%W]", DURATION)
end

--- @param rows screen.row[]
--- @param pattern string
--- @param text string
function screen.replace(rows, pattern, text)
  for _, row in ipairs(rows) do replace(row, pattern, text) end
end

--- Replaces in rows what is not the same each time.
--- @param rows screen.row[]
--- @param names table<string, string>
--- @return screen.row[] rows  the same
function screen.settle(rows, names)
  for _, row in ipairs(rows) do settle(row, names) end
  return rows
end

--- The same in a text, whose sequences for colours stay, as do the spaces behind a prompt at its end.
--- @param text string
--- @param names table<string, string>
--- @return string
function screen.settled(text, names)
  local rows = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do rows[#rows + 1] = { text = line } end
  return screen.text(screen.settle(rows, names)) .. text:match " *$"
end

return screen
