--- Values as a person reads them: rows as tables, what is nested as trees, texts as they are.
local json    = require "native.json"
local ordered = require "neap.ordered"

local view = {}

local MOST_ROWS, MOST_LINES = 500, 1000
local NARROWEST = 10 -- columns to which a cell is cut before the table stands on end

-- ---- what a value is ----

local function is_scalar(value) return type(value) ~= "table" end

local function all(list, holds)
  for _, value in pairs(list) do
    if not holds(value) then return false end
  end
  return true
end

local function is_list(value) return #value > 0 and math.type(next(value)) == "integer" end

local function is_row(value) return type(value) == "table" and not is_list(value) and all(value, is_scalar) end

local function is_rows(value) return is_list(value) and all(value, is_row) end

--- In one line; JSON's null is SQL's.
local function scalar(value, page)
  if value == json.null then return "NULL" end
  return page:clean(tostring(value))
end

local function add_text(lines, text, page, margin)
  for _, line in ipairs(page:lines((text:gsub("\n$", "")))) do lines[#lines + 1] = margin .. line end
end

-- ---- rows ----

--- The names of all rows, sorted.
local function headings_of(rows)
  local seen, names = {}, {}
  for _, row in ipairs(rows) do
    for name in pairs(row) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names, function(a, b)
    if a == "name" or b == "name" then return a == "name" and b ~= "name" end -- whose row it is comes first
    return tostring(a) < tostring(b)
  end)
  return names
end

local function cells_of(rows, names, page)
  local cells = {}
  for i, row in ipairs(rows) do
    cells[i] = {}
    for j, name in ipairs(names) do cells[i][j] = row[name] ~= nil and scalar(row[name], page) or "" end
  end
  return cells
end

local function widths_of(head, cells, page)
  local widths, total = {}, 0
  for i in ipairs(head) do
    widths[i] = page:columns(head[i])
    for _, row in ipairs(cells) do widths[i] = math.max(widths[i], page:columns(row[i])) end
    total = total + widths[i] + 2
  end
  return widths, total - 2
end

--- Takes columns from the widest until the table fits; whether it does.
local function make_fit(widths, total, room)
  while total > room do
    local widest = 1
    for i, width in ipairs(widths) do
      if width > widths[widest] then widest = i end
    end
    if widths[widest] <= NARROWEST then return false end
    widths[widest], total = widths[widest] - 1, total - 1
  end
  return true
end

local function cut_cells(rows, widths, page)
  for _, row in ipairs(rows) do
    for i, width in ipairs(widths) do row[i] = page:cut(row[i], width) end
  end
end

local add_map

local function add_on_end(lines, rows, names, page)
  for i, row in ipairs(rows) do
    lines[#lines + 1] = page:paint("dim", ("-- row %d"):format(i))
    add_map(lines, row, page, "", names)
  end
end

local function add_rows(lines, list, page, margin, options)
  local rows = table.move(list, 1, math.min(#list, MOST_ROWS), 1, {})
  local names, head = headings_of(rows), {}
  for i, name in ipairs(names) do head[i] = scalar(name, page) end
  local cells = cells_of(rows, names, page)
  local widths, total = widths_of(head, cells, page)
  if options.expanded or not make_fit(widths, total, page.width - #margin) then
    add_on_end(lines, rows, names, page)
  else
    cut_cells(cells, widths, page)
    cut_cells({ head }, widths, page)
    for _, line in ipairs(page:table(head, cells)) do lines[#lines + 1] = margin .. line end
  end
  if #list > #rows then
    lines[#lines + 1] = ("%s... %d more (:json shows all)"):format(margin, #list - #rows)
  end
end

-- ---- trees ----

local add_tree

--- What belongs to a name: beside it where it is one line, else below.
local function add_named(lines, name, value, page, margin, width)
  if type(value) == "string" and value:find "\n" then
    lines[#lines + 1] = margin .. name
    add_text(lines, value, page, margin .. "  | ")
  elseif is_scalar(value) then
    lines[#lines + 1] = ("%s%s  %s"):format(margin, page:left(name, width), scalar(value, page))
  elseif next(value) == nil then
    lines[#lines + 1] = ("%s%s  {}"):format(margin, page:left(name, width))
  else
    lines[#lines + 1] = margin .. name
    add_tree(lines, value, page, margin .. "  ")
  end
end

function add_map(lines, map, page, margin, names)
  local width = 0
  names = names or ordered.keys(map)
  for _, name in ipairs(names) do
    if is_scalar(map[name]) then width = math.max(width, page:columns(scalar(name, page))) end
  end
  for _, name in ipairs(names) do
    if map[name] ~= nil then add_named(lines, scalar(name, page), map[name], page, margin, width) end
  end
end

local function add_items(lines, list, page, margin)
  for _, item in ipairs(list) do
    if is_scalar(item) then
      add_text(lines, item == "" and '""' or tostring(item == json.null and "NULL" or item), page, margin .. "- ")
    else
      lines[#lines + 1] = margin .. "-"
      add_tree(lines, item, page, margin .. "  ")
    end
  end
end

function add_tree(lines, value, page, margin)
  if #lines > MOST_LINES then return end
  if is_rows(value) and #value > 1 then
    add_rows(lines, value, page, margin, {})
  elseif is_list(value) then
    add_items(lines, value, page, margin)
  else
    add_map(lines, value, page, margin)
  end
end

-- ---- all of them ----

local function cap(lines)
  if #lines <= MOST_LINES then return lines end
  local kept = table.move(lines, 1, MOST_LINES, 1, {})
  kept[#kept + 1] = ("... %d more lines (:json shows all)"):format(#lines - MOST_LINES)
  return kept
end

local function is_plain_list(value)
  return is_list(value) and all(value, is_scalar)
end

--- A value in as many lines as it takes; foreign text is clean in them.
--- @param value any  plain data
--- @param page neap.page
--- @param options? { expanded?: boolean, json?: boolean }
--- @return string[] lines
function view.lines(value, page, options)
  local lines = {}
  options = options or {}
  if options.json and value ~= nil then
    add_text(lines, json.encode_pretty(require "neap.cli.view.json".safe(value)), page, "")
    return lines
  end
  if value == nil then
    lines[1] = "nil"
  elseif type(value) == "string" then
    add_text(lines, value == "" and '""' or value, page, "")
  elseif is_scalar(value) then
    lines[1] = scalar(value, page)
  elseif next(value) == nil then
    lines[1] = "{}"
  elseif is_plain_list(value) then
    for _, item in ipairs(value) do add_text(lines, item == json.null and "NULL" or tostring(item), page, "") end
  elseif is_rows(value) then
    add_rows(lines, value, page, "", options)
    lines[#lines + 1] = page.count(#value, "row")
  else
    add_tree(lines, value, page, "")
  end
  return cap(lines)
end

return view
