--- The plan as Markdown, for a comment on a pull request or a ticket: a table of phases, and what changes, folded by phase.
local change = require "neap.cli.view.change"
local plan   = require "neap.cli.view.plan"

local view = {}

local LONGEST = 60000 -- bytes; hosts of code take 65,536 characters in a comment

--- Foreign text in a line of Markdown.
local function escaped(text, page) return (page:clean(text):gsub("[\\`*_{}%[%]<>#|~]", "\\%0")) end

--- A fence that nothing in the block can end.
local function fence_for(lines)
  local longest = 2
  for _, line in ipairs(lines) do
    for run in line:gmatch "`+" do longest = math.max(longest, #run) end
  end
  return ("`"):rep(longest + 1)
end

local function changing(step)
  local list = {}
  for _, effect in ipairs(step.effects or {}) do
    if effect.sign ~= "=" then list[#list + 1] = effect end
  end
  return list
end

--- Signs stand at the beginning of a line, where a reader of diffs gives them their colour.
local function add_effects(lines, effects, page)
  local block = {}
  for _, effect in ipairs(effects) do
    local said = change.lines(effect, page, { indent = 0 })
    table.move(said, 1, #said, #block + 1, block)
  end
  local fence = fence_for(block)
  lines[#lines + 1] = fence .. "diff"
  for _, line in ipairs(block) do lines[#lines + 1] = line:match "^%s*([+-].*)$" or line end
  lines[#lines + 1] = fence
end

local KINDS = { manual = "a person: ", await = "wait: ", step = "" }

local function add_step(lines, step, model, page)
  local effects, point = changing(step), plan.point_at(model, step.number)
  if #effects == 0 and not point and step.kind == "step" and not step.ended then return end
  if point then
    table.move({ "", ("> **Point of no return**: %s"):format(escaped(point.why, page)) }, 1, 2, #lines + 1, lines)
  end
  local title = ("**%s** %s%s"):format(step.number, KINDS[step.kind] or "", escaped(step.title, page))
  table.move({ "", title }, 1, 2, #lines + 1, lines)
  if #effects > 0 then
    lines[#lines + 1] = ""
    add_effects(lines, effects, page)
  end
  if step.ended then
    lines[#lines + 1] = ""
    lines[#lines + 1] = ("_The plan of this step ends here: %s_"):format(escaped(step.ended, page))
  end
end

--- A phase that changes nothing and asks nobody is a line.
local function add_phase(lines, phase, model, page)
  local count, inside = 0, {}
  for _, step in ipairs(phase.steps) do
    count = count + #changing(step)
    add_step(inside, step, model, page)
  end
  local title = ("%s %s"):format(phase.number, escaped(phase.title, page))
  if #inside == 0 then
    table.move({ "", title .. ": as wanted" }, 1, 2, #lines + 1, lines)
    return
  end
  local heading = ("<summary>%s (%s)</summary>"):format(title, page.count(count, "change"))
  table.move({ "", "<details>", heading }, 1, 3, #lines + 1, lines)
  table.move(inside, 1, #inside, #lines + 1, lines)
  table.move({ "", "</details>" }, 1, 2, #lines + 1, lines)
end

--- A comment that is too long is cut where it says so.
local function cut(text, model)
  if #text <= LONGEST then return text end
  return text:sub(1, utf8.offset(text, 0, LONGEST) - 1)
    .. ("\n\n_Cut here. The whole plan: `neap plan %s --env %s`_\n"):format(model.procedure, model.environment)
end

--- @param model table  as engine/plan makes it
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = { ("## Plan %s: %s on %s"):format(model.id, escaped(model.procedure, page),
    escaped(model.environment, page)), "", escaped(table.concat(page.arguments(model.arguments), " "), page), "" }
  if model.guard == "production" then table.move({ "**PRODUCTION**", "" }, 1, 2, #lines + 1, lines) end
  for _, line in ipairs(plan.figures(model, page)) do lines[#lines + 1] = "- " .. line:gsub("^%s+", "") end
  for _, phase in ipairs(model.phases) do add_phase(lines, phase, model, page) end
  lines[#lines + 1] = ""
  return cut(table.concat(lines, "\n"), model)
end

return view
