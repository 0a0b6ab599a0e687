--- Lines typed at a run: the prompt, what a line would change, what it gave.
local change = require "neap.cli.view.change"
local json   = require "native.json"

local view = {}

local HELP = [[
A line is an expression, whose value is shown, or a statement. It sees what the
steps see: env, the words, and the arguments as arg. Reads happen at once; a
change is shown and asked about, and is undone with the run. A name that is set
without local stays for the next lines, until the run stops. An unfinished line
goes on in the next one; an empty one drops it.
  :q  back to the failure      ?  this]]

--- @return string
function view.help() return HELP end

--- Before what is typed.
--- @param question table  of kind "shell"
--- @param environment string  full name
--- @return string
function view.prompt(question, environment)
  local shown = question.shown
  local prompt = ("neap %s %d/%s"):format(environment:match "[^/]*$", shown.run, shown.step.number)
  return shown.unfinished and ("."):rep(#prompt) .. "> " or prompt .. "> "
end

local UNDO = { undo = "undo", keep = "keep", irreversible = "NO UNDO" }

--- What a line is about to change.
--- @param shown table  sign, kind, show, before_text, after_text, says, disposition, why
--- @param page neap.page
--- @return string
function view.change(shown, page)
  local one = setmetatable({ undo = UNDO[shown.disposition] }, { __index = shown })
  return table.concat(change.lines(one, page, {}), "\n")
end

-- ---- values ----

local function is_scalar(value) return type(value) ~= "table" end

local function scalar(value, page) return page:clean(tostring(value)) end

local function all(list, holds)
  for _, value in pairs(list) do
    if not holds(value) then return false end
  end
  return true
end

local function is_list(value) return #value > 0 and math.type(next(value)) == "integer" end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

local function is_row(value) return type(value) == "table" and not is_list(value) and all(value, is_scalar) end

local function add_text(lines, text, page, margin)
  for _, line in ipairs(page:lines((text:gsub("\n$", "")))) do lines[#lines + 1] = margin .. line end
end

local function add_rows(lines, list, page)
  local seen, names, rows = {}, {}, {}
  for _, row in ipairs(list) do
    for _, name in ipairs(names_of(row)) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  for i, row in ipairs(list) do
    rows[i] = {}
    for j, name in ipairs(names) do rows[i][j] = row[name] ~= nil and scalar(row[name], page) or "" end
  end
  local headings = {}
  for i, name in ipairs(names) do headings[i] = scalar(name, page) end
  for _, line in ipairs(page:table(headings, rows)) do lines[#lines + 1] = line end
  lines[#lines + 1] = page.count(#list, "row")
end

local function add_map(lines, map, page)
  local width = 0
  for name in pairs(map) do width = math.max(width, page:columns(scalar(name, page))) end
  for _, name in ipairs(names_of(map)) do
    local value = map[name]
    if type(value) == "string" and value:find "\n" then
      lines[#lines + 1] = scalar(name, page)
      add_text(lines, value, page, "  | ")
    else
      lines[#lines + 1] = ("%s  %s"):format(page:left(scalar(name, page), width), scalar(value, page))
    end
  end
end

local function add_value(lines, value, page)
  if value == nil then
    lines[#lines + 1] = "nil"
  elseif type(value) == "string" then
    add_text(lines, value == "" and '""' or value, page, "")
  elseif is_scalar(value) then
    lines[#lines + 1] = scalar(value, page)
  elseif next(value) == nil then
    lines[#lines + 1] = "{}"
  elseif is_list(value) and all(value, is_scalar) then
    for _, item in ipairs(value) do add_text(lines, tostring(item), page, "") end
  elseif is_list(value) and all(value, is_row) then
    add_rows(lines, value, page)
  elseif is_row(value) then
    add_map(lines, value, page)
  else
    add_text(lines, json.encode_pretty(require "neap.cli.view.json".safe(value)), page, "")
  end
end

local function add_failure(lines, failure, page)
  for _, line in ipairs(page:lines(failure.message)) do
    lines[#lines + 1] = page:paint("alarm", #lines == 0 and "! " .. line or "  " .. line)
  end
  for _, line in ipairs(failure.output and page:lines(failure.output) or {}) do lines[#lines + 1] = "  | " .. line end
  if failure.hint then lines[#lines + 1] = "  hint  " .. page:clean(failure.hint) end
end

--- What a line gave; nil where that is nothing.
--- @param event { values?: { value: any }[], failure?: table }
--- @param page neap.page
--- @return string?
function view.text(event, page)
  local lines = {}
  if event.failure then add_failure(lines, event.failure, page) end
  for _, box in ipairs(event.values or {}) do add_value(lines, box.value, page) end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- ---- new code ----

local function add_steps(lines, title, list, page)
  if #list == 0 then return end
  lines[#lines + 1] = title
  for _, step in ipairs(list) do
    lines[#lines + 1] = ("  %s %s"):format(page:clean(step.number), page:clean(step.title))
    if step.before then
      for _, line in ipairs(change.diff_lines(step.before, step.after, page)) do lines[#lines + 1] = "    " .. line end
    end
  end
end

--- What new code has otherwise of steps that are over.
--- @param shown { changed: table[], gone: table[], earlier: table[], files: string[] }
--- @param page neap.page
--- @return string[] lines
function view.code(shown, page)
  local lines = {}
  add_steps(lines, "They were done as the lines with - say:", shown.changed, page)
  add_steps(lines, "They are in the code no more:", shown.gone, page)
  add_steps(lines, "They are new, stand before steps that are over, and will be done now:", shown.earlier, page)
  for _, path in ipairs(shown.files) do lines[#lines + 1] = "  changed file: " .. page:clean(path) end
  return lines
end

return view
