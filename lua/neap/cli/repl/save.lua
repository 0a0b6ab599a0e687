--- `:save`: the lines that changed something, and those that they need, as the steps of a procedure.
local fault     = require "native.error"
local fs        = require "native.fs"
local ordered   = require "neap.ordered"
local procedure = require "neap.engine.procedure"

local save = {}

local QUIET = "local function %s() end -- it showed values where this was typed"

-- ---- which lines ----

--- What was taken back is not saved.
--- @param sits table  the sitting
--- @param undone { path: string }[]
function save.take_back(sits, undone)
  for _, unit in ipairs(undone) do
    for _, line in ipairs(sits.lines) do
      if line.path == unit.path and line.run == sits.session.number then line.undone = true end
    end
  end
end

local function has_changed(line) return #line.changed > 0 and not line.failed and not line.undone end

--- The last line before another that has set a name.
local function setter_of(lines, name, before)
  for i = before - 1, 1, -1 do
    if lines[i].set[name] and not lines[i].failed then return i end
  end
end

local function is_require(line) return line.text:find "^%s*[%a_][%w_]*%s*=%s*require[%s%(\"']" ~= nil end

--- The lines that a line needs, by their numbers.
local function needs_of(lines, number, into)
  for name in pairs(lines[number].used) do
    local setter = setter_of(lines, name, number)
    if setter and not into[setter] then
      into[setter] = true
      needs_of(lines, setter, into)
    end
  end
  return into
end

--- Steps: sets of lines. A line that needs what an earlier step has set belongs to that step, for a step's names are its
--- own.
local function steps_of(lines)
  local steps = {}
  for number, line in ipairs(lines) do
    if has_changed(line) then
      local needed, step = needs_of(lines, number, { [number] = true }), nil
      for _, earlier in ipairs(steps) do
        for one in pairs(needed) do
          if earlier[one] and has_changed(lines[one]) then step = earlier end
        end
      end
      if not step then
        step = {}
        steps[#steps + 1] = step
      end
      for one in pairs(needed) do step[one] = true end
    end
  end
  return steps
end

-- ---- their text ----

local function comment_of(text)
  local comment = text:match "^%s*%-%-+%s*([^\n]*)" or text:match "%s%-%-%s+([^\n\"']-)%s*$"
  return comment and comment:find "%S" and comment or nil
end

local function place_of(intent)
  local target = intent.target
  return type(target) == "table" and (target.host or target.database or target.cluster or target.name) or target
end

--- What a person said in a comment, in a line of the step or right before one; else what it changed where.
local function named_by(lines, numbers)
  for _, number in ipairs(numbers) do
    local before = lines[number - 1]
    local said = comment_of(lines[number].text)
      or before and before.text:find "^%s*%-%-[^\n]*$" and comment_of(before.text)
    if said then return said end
  end
  for _, number in ipairs(numbers) do
    local first = has_changed(lines[number]) and lines[number].changed[1]
    if first then return ("Line %d: %s on %s"):format(number, first.kind, tostring(place_of(first))) end
  end
end

--- A step's title has no slash and stands once.
local function title_of(lines, numbers, taken)
  local title = named_by(lines, numbers):gsub("/", " ")
  local unique, count = title, 1
  while taken[unique] do
    count = count + 1
    unique = ("%s (%d)"):format(title, count)
  end
  taken[unique] = true
  return unique
end

--- A statement: of an expression, its value is of no use.
local function statement(text)
  if load(text, "=line", "t") then return text end
  return "local _ = " .. text
end

local function locals_of(lines, numbers)
  local names, seen = {}, {}
  for _, number in ipairs(numbers) do
    for name in pairs(lines[number].set) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return names
end

local function uses_print(lines, numbers)
  for _, number in ipairs(numbers) do
    if lines[number].extra.print then return true end
  end
  return false
end

local function body_of(lines, numbers)
  local body, names = {}, locals_of(lines, numbers)
  if names[1] then body[1] = "local " .. table.concat(names, ", ") end
  if uses_print(lines, numbers) then body[#body + 1] = QUIET:format "print" end
  for _, number in ipairs(numbers) do body[#body + 1] = statement(lines[number].text) end
  for i, text in ipairs(body) do body[i] = "    " .. text:gsub("\n(%s*%S)", "\n    %1") end
  return table.concat(body, "\n")
end

local function step_text(lines, step, taken)
  local numbers = {}
  for _, number in ipairs(ordered.keys(step)) do
    if not is_require(lines[number]) then numbers[#numbers + 1] = number end
  end
  local title = title_of(lines, numbers, taken)
  return ("step %q {\n  run = function()\n%s\n  end,\n}"):format(title, body_of(lines, numbers))
end

--- Libraries are required where the file begins, once each.
local function requires_of(lines, steps)
  local texts, seen = {}, {}
  for _, step in ipairs(steps) do
    for _, number in ipairs(ordered.keys(step)) do
      local text = is_require(lines[number]) and "local " .. lines[number].text:match "^%s*(.-)%s*$"
      if text and not seen[text] then texts[#texts + 1] = text end
      if text then seen[text] = true end
    end
  end
  return texts
end

local function parameters_text(declared, values)
  if #declared == 0 then return nil end
  local lines = { "local arg = parameters {" }
  for _, one in ipairs(declared) do
    local value = values[one.name]
    local default = type(value) ~= "table" and value ~= nil and (", default = %s"):format(
      type(value) == "string" and ("%q"):format(value) or tostring(value)) or ""
    lines[#lines + 1] = ("  %s = { %q, type = %q%s },"):format(one.name, one.description or one.name, one.type, default)
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

local function uses_arguments(lines, steps)
  for _, step in ipairs(steps) do
    for number in pairs(step) do
      if lines[number].text:find "%f[%w_]arg%f[^%w_]" then return true end
    end
  end
  return false
end

--- The procedure's text; nil where no line has changed anything.
--- @param sits table
--- @return string? text
--- @return integer steps
function save.text(sits)
  local lines, steps, taken = sits.lines, steps_of(sits.lines), {}
  if #steps == 0 then return nil, 0 end
  local parts = { ("-- What was typed on %s."):format(sits.name) }
  local declared = uses_arguments(lines, steps)
    and parameters_text(sits.session.procedure.parameters, sits.session.procedure.arguments)
  if declared then parts[#parts + 1] = declared end
  local required = requires_of(lines, steps)
  if required[1] then parts[#parts + 1] = table.concat(required, "\n") end
  for _, step in ipairs(steps) do parts[#parts + 1] = step_text(lines, step, taken) end
  return table.concat(parts, "\n\n") .. "\n", #steps
end

-- ---- the file ----

local function count_left_out(lines)
  local undone, failed = 0, 0
  for _, line in ipairs(lines) do
    if line.undone then undone = undone + 1 end
    if line.failed and #line.changed > 0 then failed = failed + 1 end
  end
  return undone, failed
end

--- Raises where what was written does not load for this environment.
local function check(sits, path, text)
  local files = {}
  for name, bytes in pairs(sits.session.files) do files[name] = bytes end
  files[path] = text
  procedure.load { files = files, path = path, arguments = {}, environment = sits.read.environment }
end

--- Writes procedures/<group>/<name>.lua, which is not there yet. Returns what to say.
--- @param sits table
--- @param name string
--- @return string
function save.write(sits, name)
  if not name:find "^[%a_][%w_-]*$" then
    fault.raise { kind = "conflict", where = "", message = ("%q is no name of a procedure"):format(name) }
  end
  local env = sits.read.environment
  local path = ("procedures/%s/%s.lua"):format(env.group, name)
  if fs.exists(env.root .. "/" .. path) then
    fault.raise { kind = "conflict", where = "", message = path .. " is there already" }
  end
  local text, steps = save.text(sits)
  if not text then fault.raise { kind = "missing", where = "", message = "no line has changed anything that stays" } end
  check(sits, path, text)
  fs.write(env.root .. "/" .. path, text, { mode = "0644" })
  local undone, failed = count_left_out(sits.lines)
  return ("wrote %s: %d step%s (left out: %d undone, %d failed).  neap check %s/%s"):format(path, steps,
    steps == 1 and "" or "s", undone, failed, env.group, name)
end

return save
