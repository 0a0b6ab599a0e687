--- The block below a run on a terminal: who runs what where, the way back, the phases, the step with what is under way, the
--- last lines that came back. It never takes more rows than it is given.
local clock     = require "native.clock"
local step_path = require "neap.engine.step_path"
local time      = require "neap.cli.view.time"

local block = {}

local CLOCK  = 10 -- columns kept free for it at the right edge
local COLUMN = 80 -- columns of an effect under way
local OPEN   = 8  -- so many branches, or effects under way, are shown one by one, in each column
local SHOWN  = 3  -- of more than that the failed and the slowest
local BEHIND = 1  -- steps of the phase that are over
local AHEAD  = 3  -- steps of the phase that are to come
local SILENT = 30 -- seconds without a word, after which that is said
local HINT   = "^C finishes the effect in hand and pauses"

local function elapsed(from, now)
  local began = from and time.seconds(from)
  return began and now > began and now - began or 0
end

local function clocked(page, text, from, now)
  return page:edges(page:cut(text, page.edge - CLOCK), page.duration(elapsed(from, now)))
end

-- ---- head ----

local function head(view, now)
  local page, outline, run = view.page, view.outline, view.head
  if not outline then return nil end
  local parts = { ("%s on %s   run %d"):format(outline.procedure, outline.environment, outline.run) }
  if run and run.actor then parts[#parts + 1] = run.actor end
  if run then parts[#parts + 1] = page.duration(elapsed(run.time, now)) end
  local guard = outline.guard == "production" and "** PROD **" or ""
  local text = page:cut(page:clean(table.concat(parts, "   ")), page.edge - #guard - 2)
  return page:edges(page:paint("bold", text), guard ~= "" and page:paint("alarm", guard) or "")
end

--- How long the way back is, when to turn back at the latest, and how long the way forward.
local function outlook(view)
  local page, ahead, parts = view.page, view.outlook, {}
  if not ahead then return nil end
  if ahead.undo >= 1 then parts[1] = "undo from here about " .. page.about(ahead.undo) end
  if ahead.turn_back_by then
    parts[#parts + 1] = "turn back no later than " .. clock.local_time(ahead.turn_back_by, "%H:%M")
  end
  if ahead.left then parts[#parts + 1] = ("about %s left"):format(page.about(ahead.left)) end
  if #parts == 0 then return nil end
  return page:paint("bold", page:cut(table.concat(parts, "   "), page.width))
end

-- ---- phases ----

local OVER = { done = true, skipped = true, undone = true, same = true }

local function is_over(view, step) return OVER[view.statuses[step.title]] == true end

local function count_over(view, phase)
  local count = 0
  for _, step in ipairs(phase.steps) do
    if is_over(view, step) then count = count + 1 end
  end
  return count
end

local function phase_name(view, phase) return ("%d %s"):format(phase.number, view.page:clean(phase.title)) end

--- Phases that are over, or to come, in one line.
local function folded(view, phases, mark)
  if #phases == 0 then return nil end
  local parts = {}
  for i, phase in ipairs(phases) do parts[i] = phase_name(view, phase) end
  local page = view.page
  local text = ("%s %s"):format(mark, table.concat(parts, page.utf8 and " · " or ", "))
  return page:paint("dim", page:cut(text, page.width))
end

local function bar(page, over, count)
  local full, empty = "#", "."
  if page.utf8 then full, empty = "█", "░" end
  local width = math.min(count, 20)
  local filled = count > 0 and over * width // count or 0
  return full:rep(filled) .. empty:rep(width - filled)
end

--- The phase of the step that is under way, those before it and those behind it.
local function split(view)
  local before, after, current = {}, {}, nil
  local title = view.step and step_path.title(view.step.path)
  for _, phase in ipairs(view.outline.phases) do
    local has = false
    for _, step in ipairs(phase.steps) do has = has or step.title == title end
    if has then current = phase
    elseif current or not title then after[#after + 1] = phase
    else before[#before + 1] = phase end
  end
  return before, current, after
end

-- ---- the step ----

local function running_of(view)
  local list = {}
  for _, intent in pairs(view.running) do list[#list + 1] = intent end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

local function effect_line(view, intent, now, width)
  local page = view.page
  local text = ("    %s  %s"):format(page:clean(intent.show or intent.kind), page:clean(intent.kind))
  return page:edges(page:cut(text, width - CLOCK), page.duration(elapsed(intent.time, now)), width)
end

--- Effects under way, on a wide terminal side by side: all, or of many the oldest, which are the slowest.
local function add_running(lines, view, now)
  local list, page = running_of(view), view.page
  local across = math.max(page.width // COLUMN, 1)
  local shown = #list > OPEN * across and SHOWN * across or #list
  local width = across > 1 and math.min(page.width // across, page.edge) or page.edge
  for i = 1, shown, across do
    local row = {}
    for j = i, math.min(i + across - 1, shown) do row[#row + 1] = effect_line(view, list[j], now, width) end
    lines[#lines + 1] = table.concat(row)
  end
  if #list > shown then
    lines[#lines + 1] = view.page:paint("dim", ("    and %d more under way"):format(#list - shown))
  end
end

local function count_branches(branches)
  local over, failed, open = 0, {}, 0
  for name, one in pairs(branches) do
    if OVER[one.status] then over = over + 1
    elseif one.status == "open" then open = open + 1
    else failed[#failed + 1] = name end
  end
  table.sort(failed)
  return over, failed, open
end

--- A fan-out in figures, and the first that failed.
local function add_branches(lines, view)
  local page, branches = view.page, view.branches
  if not next(branches) then return end
  local over, failed, open = count_branches(branches)
  local total = view.totals and view.totals.path == view.step.path and view.totals.total or over + #failed + open
  local parts = { ("%d of %d done"):format(over, total) }
  if #failed > 0 then parts[#parts + 1] = page:paint("alarm", ("%d failed"):format(#failed)) end
  if open > 0 then parts[#parts + 1] = ("%d under way"):format(open) end
  lines[#lines + 1] = "    " .. table.concat(parts, ", ")
  for i = 1, math.min(#failed, SHOWN) do
    local why = branches[failed[i]].failure or ""
    local text = ("    %s FAILED  %s"):format(page:clean(failed[i]), page:clean(why))
    lines[#lines + 1] = page:paint("alarm", page:cut(text, page.width))
  end
  if #failed > SHOWN then lines[#lines + 1] = ("    and %d more failed"):format(#failed - SHOWN) end
end

local function add_step(lines, view, now)
  if not view.step then return end
  local page = view.page
  local number, title = view.reader:step_of(view.step.path)
  lines[#lines + 1] = clocked(page, ("> %s %s"):format(number or "", page:clean(title)), view.step.time, now)
  add_branches(lines, view)
  add_running(lines, view, now)
  if view.waiting then
    local text = ("    %s %s"):format(page:clean(view.waiting.show or ""), page:clean(view.waiting.text))
    lines[#lines + 1] = page:cut(text, page.width)
  end
end

local KINDS = { manual = "a person: ", await = "wait: " }

local function still(view, step)
  local page, known = view.page, view.statuses[step.title]
  local mark = step.no_return and "!" or " "
  local text = ("%s %s %s%s"):format(mark, step.number, KINDS[step.kind] or "", page:clean(step.title))
  if step.no_return and not known then
    return page:paint("alarm", page:cut(text .. "  point of no return", page.width))
  end
  if known then text = ("%s  %s"):format(text, page:clean(known)) end
  return page:paint("dim", page:cut(text, page.width))
end

--- The steps around the one under way; a point of no return that is further off is named, too.
local function add_neighbours(before, after, view, phase)
  local title, at = step_path.title(view.step.path), nil
  for i, step in ipairs(phase.steps) do
    if step.title == title then at = i end
  end
  for i = math.max(1, at - BEHIND), at - 1 do before[#before + 1] = still(view, phase.steps[i]) end
  for i = at + 1, #phase.steps do
    local step = phase.steps[i]
    if i <= at + AHEAD or step.no_return then after[#after + 1] = still(view, step) end
  end
end

-- ---- all of it ----

local function add(lines, line)
  if line then lines[#lines + 1] = line end
end

local function add_phases(lines, view, now)
  local page = view.page
  if not view.outline or not view.step then return add_step(lines, view, now) end
  local before, phase, after = split(view)
  if not phase then return add_step(lines, view, now) end
  add(lines, folded(view, before, page.utf8 and "✓" or "done:"))
  local over = count_over(view, phase)
  lines[#lines + 1] = page:edges(page:cut(phase_name(view, phase), page.edge - 32),
    ("%s %d/%d"):format(bar(page, over, #phase.steps), over, #phase.steps))
  local behind, ahead = {}, {}
  add_neighbours(behind, ahead, view, phase)
  table.move(behind, 1, #behind, #lines + 1, lines)
  add_step(lines, view, now)
  table.move(ahead, 1, #ahead, #lines + 1, lines)
  add(lines, folded(view, after, "then"))
end

--- "no word for 45s", or nil.
--- @return string?
function block.silence(view, now)
  local silent = elapsed(view.heard, now)
  return silent >= SILENT and ("no word for %s"):format(view.page.about(silent)) or nil
end

local function foot(view, now)
  local page, lines = view.page, {}
  for _, output in ipairs(view.output) do
    local text = ("    %s | %s"):format(page:clean(output.host or ""), output.text)
    lines[#lines + 1] = page:paint("dim", page:cut(text, page.width))
  end
  local silent = block.silence(view, now)
  if silent then lines[#lines + 1] = page:paint("yellow", page:cut(silent, page.width)) end
  lines[#lines + 1] = page:paint("dim", page:cut(view.hint or HINT, page.width))
  return lines
end

--- The lines of the block. Where they are too many, the middle is cut, for head and foot say most.
--- @param view table      neap.cli.view.progress
--- @param now number      seconds since the epoch
--- @param rows integer    at most so many lines
--- @return string[]
function block.lines(view, now, rows)
  local page = view.page
  local lines = { page:paint("dim", page:rule(page.utf8 and "─" or "-")) }
  add(lines, head(view, now))
  add(lines, outlook(view))
  add_phases(lines, view, now)
  local last = foot(view, now)
  while #lines > 2 and #lines + #last > math.max(rows, 4) do table.remove(lines) end
  table.move(last, 1, #last, #lines + 1, lines)
  return lines
end

return block
