--- What a resume or a rollback starts from, shown before it acts.
local estimate  = require "neap.engine.estimate"
local step_path = require "neap.engine.step_path"
local time      = require "neap.cli.view.time"

local view = {}

local function head(model, page)
  local run = model.run
  return ("run %d %s on %s, begun %s by %s"):format(run.run, page:clean(run.procedure), page:clean(run.environment),
    time.minute(run.started), page:clean(run.actor or "?"))
end

local function number_of(model, path) return model.numbers[step_path.title(path)] or "" end

local function real(list)
  local found = {}
  for _, one in ipairs(list) do
    if one.bracket ~= "open" and one.bracket ~= "close" then found[#found + 1] = one end
  end
  return found
end

local function line_of(model, one, page)
  return ("    %s %s  %s"):format(page:left(number_of(model, one.path), 5), page:clean(one.show or one.kind),
    page:paint("dim", page:clean(one.kind)))
end

local function add_doubts(lines, model, page)
  if #model.in_doubt == 0 then return end
  local text = "  %s in doubt: intended, and no result is known. Its target is asked first."
  if model.alive then text = "  %s under way" end
  text = text:format(page.count(#model.in_doubt, "effect"))
  for _, line in ipairs(page:wrap(text, page.width - 4, 2)) do
    lines[#lines + 1] = "  " .. (model.alive and line or page:paint("yellow", line))
  end
  for _, one in ipairs(model.in_doubt) do lines[#lines + 1] = line_of(model, one, page) end
end

local function add_where(lines, model, page)
  local title = model.step or model.after
  local number = title and model.numbers[title]
  number = number and number .. " " or ""
  local step = title and ("%s %s%s"):format(model.step and "at" or "after", number, page:clean(title))
    or "before its first step"
  page:add_paragraph(lines, ("%s %s%s"):format(model.alive and "It goes on" or "It stopped " ..
    time.second(model.last.time), model.back and "while rolling back, " or "", step), 2)
  if model.failure and not model.alive then page:add_paragraph(lines, "  " .. page:clean(model.failure.message), 2) end
  local handed = model.state.handed_over
  if handed and handed.path == title then page:add_paragraph(lines, page:clean(handed.text), 2) end
  for _, note in ipairs(model.state.amendments) do page:add_paragraph(lines, page:clean(note.text), 2) end
  if model.question then page:add_paragraph(lines, "It waits for an answer: " .. page:clean(model.question.text), 2) end
end

--- How long the window stays open, and how long the way back would take.
local function add_outlook(lines, model, page)
  local window, parts = model.window, {}
  if window and window.left then parts[1] = ("Window: %s left"):format(page.about(window.left)) end
  if window and window.why then parts[1] = "Outside: " .. page:clean(window.why) end
  local undo = estimate.undo(model.state)
  if undo >= 1 then parts[#parts + 1] = "undo about " .. page.about(undo) end
  if #parts > 0 then lines[#lines + 1] = "  " .. table.concat(parts, ", ") end
end

--- @param model table  as standing.of gives it, with window
--- @param page neap.page
--- @return string
function view.resume(model, page)
  local lines = { page:paint("bold", head(model, page)) }
  add_where(lines, model, page)
  lines[#lines + 1] = ("  %s in place"):format(page.count(#real(model.in_place) - #real(model.in_doubt), "effect"))
  add_doubts(lines, model, page)
  add_outlook(lines, model, page)
  if model.alive then return table.concat(lines, "\n") end
  lines[#lines + 1] = page:paint("dim", "  Code and environment are the run's own snapshot; newer files are not used.")
  return table.concat(lines, "\n")
end

local WILL = { undo = "put back", own = "put back by its step's undo", keep = "kept",
               irreversible = "CANNOT BE UNDONE" }

--- @param model table
--- @param page neap.page
--- @return string
function view.rollback(model, page)
  local lines, list = { page:paint("bold", head(model, page)) }, real(model.in_place)
  add_where(lines, model, page)
  if #list == 0 then lines[#lines + 1] = "  It has changed nothing that stands." end
  for i = #list, 1, -1 do
    local one = list[i]
    local will = WILL[one.disposition] or "put back"
    if model.point and one.seq <= model.point.seq then will = "stays" end
    if will == "kept" and one.why then will = ("kept: %s"):format(page:clean(one.why)) end
    lines[#lines + 1] = page:edges(line_of(model, one, page), will)
  end
  local seconds = estimate.undo(model.state)
  if seconds >= 1 then lines[#lines + 1] = ("  About %s, if putting back takes as long as changing did."):format(
    page.about(seconds)) end
  if model.point then
    local passed = ("The point of no return is passed: %s"):format(page:clean(model.point.path))
    lines[#lines + 1] = "  " .. page:paint("alarm", passed)
  end
  add_doubts(lines, model, page)
  return table.concat(lines, "\n")
end

return view
