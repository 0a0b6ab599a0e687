--- The texts of `neap show`.
local rehearsal = require "neap.cli.view.rehearsal"

local view = {}

local function is_required(parameter) return parameter.default == nil and not parameter.optional end

local function default_of(parameter, page)
  if is_required(parameter) then return "required" end
  return "default " .. page:clean(parameter.default == nil and "none" or parameter.default)
end

local function add_parameters(lines, model, page)
  if #model.parameters == 0 then return end
  local rows = {}
  for i, parameter in ipairs(model.parameters) do
    rows[i] = { "  " .. page:clean(parameter.name), default_of(parameter, page),
                page:clean(parameter.description or "") }
  end
  lines[#lines + 1] = ""
  for _, line in ipairs(page:table({ "PARAMETERS", "", "" }, rows)) do lines[#lines + 1] = line end
end

--- What a rollback could do with the steps of a phase, as far as the file alone says.
local function counts_of(phase)
  local counts = { keep = 0, no_undo = 0, human = 0, wait = 0 }
  for _, step in ipairs(phase.steps) do
    if step.kind == "manual" then counts.human = counts.human + 1 end
    if step.kind == "await" then counts.wait = counts.wait + 1 end
    if step.irreversible then counts.no_undo = counts.no_undo + 1 end
    if step.keep then counts.keep = counts.keep + 1 end
  end
  return counts
end

local function number_or_dash(number) return number > 0 and tostring(number) or "-" end

local function add_phases(lines, model, page)
  local rows = {}
  for i, phase in ipairs(model.phases) do
    local counts = counts_of(phase)
    rows[i] = { ("  %d %s"):format(i, page:clean(phase.title)), tostring(#phase.steps), number_or_dash(counts.wait),
                number_or_dash(counts.human), number_or_dash(counts.keep), number_or_dash(counts.no_undo) }
  end
  lines[#lines + 1] = ""
  local headings = { "PHASES", ">steps", ">wait", ">human", ">keep", ">NO UNDO" }
  for _, line in ipairs(page:table(headings, rows)) do lines[#lines + 1] = line end
end

local function add_points(lines, model, page)
  local found = false
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      if step.irreversible then
        found = true
        lines[#lines + 1] = page:paint("red", ("Point of no return: %s %s"):format(step.number, page:clean(step.title)))
        lines[#lines + 1] = ("  why: %s"):format(page:clean(step.irreversible))
      end
    end
  end
  if not found then lines[#lines + 1] = "No declared point of no return." end
end

local function add_guides(lines, model, page)
  for _, guide in ipairs(model.guides) do
    local lines_of = guide.from and ", " .. guide.from or ""
    local file = guide.file or "sha256 " .. guide.sha256:sub(1, 12)
    lines[#lines + 1] = page:clean(("Guide: %s (%s%s)"):format(guide.title, file, lines_of))
  end
end

local function example(model, verb)
  local parts = { "  neap", verb, model.name, "--env", model.environments[1] or "ENV" }
  for _, parameter in ipairs(model.parameters) do
    if is_required(parameter) then parts[#parts + 1] = ("-p %s=%s"):format(parameter.name, parameter.name:upper()) end
  end
  return table.concat(parts, " ")
end

--- @param model { name: string, title: string, path: string, parameters: table[], phases: table[], environments: string[], guides: neap.guide[], rehearsed?: table }
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = { ("%s   %s"):format(page:paint("bold", page:clean(model.name)), page:clean(model.title or "")),
                  page:paint("dim", page:clean(model.path)) }
  add_guides(lines, model, page)
  add_parameters(lines, model, page)
  add_phases(lines, model, page)
  lines[#lines + 1] = ""
  add_points(lines, model, page)
  local environments = #model.environments > 0 and table.concat(model.environments, ", ") or "none yet"
  lines[#lines + 1] = ("Environments: %s"):format(page:clean(environments))
  for _, line in ipairs(model.rehearsed and rehearsal.standing(model.rehearsed, model.name, page) or {}) do
    lines[#lines + 1] = line
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "EXAMPLES")
  lines[#lines + 1] = page:clean(example(model, "plan"))
  lines[#lines + 1] = page:clean(example(model, "run"))
  return table.concat(lines, "\n")
end

local KINDS = { step = "", manual = "HUMAN ", await = "WAIT " }

--- Every step by phase, with its line in the file.
--- @param model table
--- @param page neap.page
--- @return string
function view.steps(model, page)
  local lines = {}
  for i, phase in ipairs(model.phases) do
    lines[#lines + 1] = page:paint("bold", ("PHASE %d  %s"):format(i, page:clean(phase.title)))
    for _, step in ipairs(phase.steps) do
      local text = ("  %s %s%s"):format(page:left(step.number, 5), KINDS[step.kind], page:clean(step.title))
      lines[#lines + 1] = page:edges(text, page:paint("dim", page:clean(step.where)))
      if step.irreversible then
        lines[#lines + 1] = page:paint("red", "        NO UNDO: ") .. page:clean(step.irreversible)
      end
      if step.keep then lines[#lines + 1] = "        kept: " .. page:clean(step.keep) end
    end
  end
  return table.concat(lines, "\n")
end

return view
