--- The plan: what a run would change, what could be taken back, and where it could not be turned back any more.
local change    = require "neap.cli.view.change"
local rehearsal = require "neap.cli.view.rehearsal"

local plan = {}

local LEGEND = "+ create  ~ change  - delete  > action  = as wanted  ? known later"
local SIGNS = { { "+", "create" }, { "~", "change" }, { "-", "delete" }, { ">", "act" } }

local function append(lines, more)
  for _, line in ipairs(more) do lines[#lines + 1] = line end
end

local function changing(step)
  for _, effect in ipairs(step.effects or {}) do
    if effect.sign ~= "=" then return true end
  end
  return false
end

--- A step of which nothing need be said: neap acts, it was asked, and all is as wanted.
local function is_as_wanted(step)
  return step.kind == "step" and not step.skipped and not step.listed and not step.ended and not changing(step)
end

--- Nor of one that is left out.
local function is_quiet(step) return is_as_wanted(step) or step.skipped == true end

local function all_as_wanted(phase)
  for _, step in ipairs(phase.steps) do
    if not is_as_wanted(step) then return false end
  end
  return #phase.steps > 0
end

local function arguments_of(model, page) return page:clean(table.concat(page.arguments(model.arguments), " ")) end

local function header(model, page)
  local title = ("%s on %s"):format(page:clean(model.procedure), page:clean(model.environment))
  local head = page:paint("bold", title) .. "   " .. arguments_of(model, page)
  if model.guard == "production" then head = page:edges(head, page:paint("alarm", "** PROD **")) end
  return (head:gsub("%s+$", ""))
end

local KINDS = { manual = "HUMAN", await = "wait until", step = "" }

local function step_head(step, page)
  local kind = KINDS[step.kind] or ""
  if kind ~= "" then kind = page:paint("cyan", kind) .. "  " end
  local text = (" %s %s%s"):format(page:left(step.number, 4), kind, page:clean(step.title))
  return page:edges(text, page:paint("dim", page:clean(step.where or "")))
end

--- What a rollback does with an effect; nothing of an irreversible step can be put back.
local function undo_of(step, effect)
  if step.irreversible and effect.undo == "undo" then return "NO UNDO" end
  return effect.undo
end

local function shown(step, effect)
  return setmetatable({ undo = undo_of(step, effect) }, { __index = effect })
end

local function add_step(lines, step, page, options)
  lines[#lines + 1] = step_head(step, page)
  local word = step.skipped and "  left out" or is_as_wanted(step) and "  = as wanted"
  if word then lines[#lines] = lines[#lines] .. page:paint("dim", word) end
  for _, effect in ipairs(step.effects or {}) do
    if effect.sign ~= "=" or options.full then
      for _, line in ipairs(change.lines(shown(step, effect), page, { full = options.full, indent = 5 })) do
        lines[#lines + 1] = line
      end
    end
  end
  if step.ended then
    local text = "? the plan of this step ends here: " .. page:clean(step.ended)
    for i, line in ipairs(page:wrap(text, page.width - 5, 2)) do
      lines[#lines + 1] = "     " .. (i == 1 and page:paint("yellow", line) or line)
    end
  end
end

local function add_point(lines, step, page)
  lines[#lines + 1] = page:paint("alarm", page:rule("=", "POINT OF NO RETURN"))
  page:add_paragraph(lines, "why: " .. page:clean(step.why), 5)
end

--- The point of no return before a step; nil where there is none.
--- @param model table
--- @param number string  of the step
--- @return table?
function plan.point_at(model, number)
  for _, point in ipairs(model.points or {}) do
    if point.number == number then return point end
  end
end

--- Neighbours that need no word share a line.
local function add_quiet(lines, quiet, page)
  if #quiet == 0 then return end
  local first, last = quiet[1].number, quiet[#quiet].number
  local numbers = first == last and first or ("%s to %s"):format(first, last)
  lines[#lines + 1] = page:paint("dim", (quiet[1].skipped and " - %s  left out" or " = %s  as wanted"):format(numbers))
end

local function add_steps(lines, phase, model, page, options)
  local quiet = {}
  for _, step in ipairs(phase.steps) do
    local point = plan.point_at(model, step.number)
    if is_quiet(step) and not point and not options.full then
      if quiet[1] and quiet[1].skipped ~= step.skipped then
        add_quiet(lines, quiet, page)
        quiet = {}
      end
      quiet[#quiet + 1] = step
    else
      add_quiet(lines, quiet, page)
      quiet = {}
      if point then add_point(lines, point, page) end
      add_step(lines, step, page, options)
    end
  end
  add_quiet(lines, quiet, page)
end

--- How long steps usually take, where earlier runs tell.
local function seconds_of(steps, model)
  local total
  for _, step in ipairs(steps) do
    local seconds = model.typical and model.typical.steps[step.title]
    if seconds then total = (total or 0) + seconds end
  end
  return total
end

local function about(steps, model, page)
  local seconds = seconds_of(steps, model)
  return seconds and "about " .. page.about(seconds) or ""
end

local function add_phase(lines, phase, model, page, options)
  lines[#lines + 1] = ""
  local title = page:paint("bold", ("PHASE %d  %s"):format(phase.number, page:clean(phase.title)))
  local wanted = all_as_wanted(phase) and (page.count(#phase.steps, "step") .. ", all as wanted")
    or about(phase.steps, model, page)
  lines[#lines + 1] = page:edges(title, page:paint("dim", wanted))
  add_steps(lines, phase, model, page, options)
end

-- Figures

local function increase(counts, key) counts[key] = (counts[key] or 0) + 1 end

local function add_effect(sums, step, effect)
  if effect.sign == "=" then return end
  sums.effects = sums.effects + 1
  increase(sums.signs, effect.sign)
  increase(sums.certainty, effect.certainty or "exact")
  increase(sums.undo, undo_of(step, effect) or "undo")
end

--- Under which figure a step is counted.
local function slot_of(step)
  if step.skipped then return "skipped" end
  if step.kind ~= "step" then return step.kind == "await" and "waits" or "humans" end
  return step.ended and "unknown" or changing(step) and "changing" or step.listed and "unknown" or "wanted"
end

local function tally(model)
  local sums = { steps = 0, wanted = 0, changing = 0, waits = 0, humans = 0, unknown = 0, skipped = 0, effects = 0,
                 signs = {}, certainty = {}, undo = {} }
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      sums.steps = sums.steps + 1
      local slot = slot_of(step)
      sums[slot] = sums[slot] + 1
      for _, effect in ipairs(step.effects or {}) do add_effect(sums, step, effect) end
    end
  end
  return sums
end

local function listed(counts, names)
  local parts = {}
  for _, entry in ipairs(names) do
    if (counts[entry[1]] or 0) > 0 then parts[#parts + 1] = ("%d %s"):format(counts[entry[1]], entry[2]) end
  end
  return table.concat(parts, ", ")
end

--- How many steps and effects there are, of which kinds.
--- @return string[] lines
function plan.figures(model, page)
  local sums = tally(model)
  local steps = listed(sums, { { "wanted", "as wanted" }, { "changing", "change" }, { "waits", "wait" },
                               { "humans", "human" }, { "unknown", "known later" }, { "skipped", "left out" } })
  local lines = { ("%s: %s."):format(page.count(sums.steps, "step"), steps) }
  if sums.effects == 0 then
    lines[2] = "No change that is known now."
    return lines
  end
  lines[2] = ("%s: %s."):format(page.count(sums.effects, "effect"), listed(sums.signs, SIGNS))
  lines[3] = ("  certainty: %s."):format(listed(sums.certainty, { { "exact", "exact" },
    { "conditional", "with values known later" }, { "opaque", "opaque" } }))
  lines[4] = ("  undo: %s."):format(listed(sums.undo, { { "undo", "automatic" }, { "keep", "keep" },
    { "NO UNDO", "NO UNDO" } }))
  return lines
end

--- The steps that a rollback would take back, newest first, as long as the point is not passed.
local function undone_before(model, point)
  local before, numbers = {}, {}
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      if point and step.number == point.number then goto passed end
      before[step.number] = true
    end
  end
  ::passed::
  for _, number in ipairs(model.undo or {}) do
    if before[number] then numbers[#numbers + 1] = number end
  end
  return table.concat(numbers, " ")
end

local function add_undo(lines, model, page)
  local point = model.points and model.points[1]
  local numbers = undone_before(model, point)
  if numbers == "" and not point then return end
  lines[#lines + 1] = ""
  local until_when = point and (" if stopped before %s"):format(point.number) or ""
  local text = numbers == "" and "nothing to undo" or numbers
  append(lines, page:wrap(("UNDO%s: %s"):format(until_when, text), page.width, 6))
  if not point then return end
  local after = ("After %s nothing before it is rolled back by itself: roll forward."):format(point.number)
  lines[#lines + 1] = page:paint("red", after)
end

local function add_typical(lines, model, page)
  local all = {}
  for _, phase in ipairs(model.phases) do append(all, phase.steps) end
  local seconds = seconds_of(all, model)
  if not seconds then return end
  lines[#lines + 1] = ("Typical %s (last %s)."):format(page.about(seconds), page.count(model.typical.runs, "run"))
end

local function add_rehearsed(lines, model, page)
  if model.rehearsed then append(lines, rehearsal.standing(model.rehearsed, model.procedure, page)) end
end

local function next_commands(model, page)
  local parts = { "neap run", model.procedure, "--env", model.environment }
  for _, text in ipairs(page.arguments(model.given or model.arguments)) do parts[#parts + 1] = "-p " .. text end
  local lines = { "Next: " .. table.concat(parts, " ") }
  if model.saved then
    lines[2] = ("      with --plan %s it stops where a target differs from this plan"):format(model.id)
  end
  if model.approvals then
    lines[#lines + 1] = ("      first, by somebody else: neap approve %s --env %s"):format(model.id, model.environment)
  end
  for i, line in ipairs(lines) do lines[i] = page:paint("dim", page:clean(line)) end
  return lines
end

--- The whole plan.
--- @param model table  as engine/plan makes it
--- @param page neap.page
--- @param options? { full?: boolean }
--- @return string
function plan.text(model, page, options)
  options = options or {}
  local lines = { header(model, page), ("Read %s. Nothing was changed."):format(page.count(model.reads or 0, "fact")),
                  page:paint("dim", LEGEND) }
  for _, phase in ipairs(model.phases) do add_phase(lines, phase, model, page, options) end
  add_undo(lines, model, page)
  lines[#lines + 1] = ""
  append(lines, plan.figures(model, page))
  add_typical(lines, model, page)
  add_rehearsed(lines, model, page)
  append(lines, next_commands(model, page))
  return table.concat(lines, "\n")
end

local function phase_row(phase, model, page)
  local sums = tally { phases = { phase } }
  local parts = { listed(sums.signs, SIGNS) }
  if sums.waits > 0 then parts[#parts + 1] = ("%d wait"):format(sums.waits) end
  if sums.humans > 0 then parts[#parts + 1] = ("%d human"):format(sums.humans) end
  if sums.unknown > 0 then parts[#parts + 1] = ("%d known later"):format(sums.unknown) end
  local what = table.concat(parts, "  "):gsub("^%s+", "")
  if what == "" then what = "= as wanted" end
  for _, step in ipairs(phase.steps) do
    local point = plan.point_at(model, step.number)
    if point then what = what .. "  " .. page:paint("alarm", "NO UNDO at " .. step.number) end
  end
  return { ("  %d %s"):format(phase.number, page:clean(phase.title)), page.count(#phase.steps, "step"), what }
end

--- The plan on one screen: a line a phase.
--- @param model table
--- @param page neap.page
--- @return string
function plan.summary(model, page)
  local rows = {}
  for i, phase in ipairs(model.phases) do rows[i] = phase_row(phase, model, page) end
  local lines = { header(model, page) }
  local set = page:table({ "", "", "" }, rows)
  append(lines, table.move(set, 2, #set, 1, {}))
  append(lines, plan.figures(model, page))
  add_typical(lines, model, page)
  add_rehearsed(lines, model, page)
  append(lines, next_commands(model, page))
  return table.concat(lines, "\n")
end

return plan
