--- The text of `neap check`: `file:line: error: what`, as editors read it.
local view = {}

local function add_problem(lines, problem, page)
  local place = problem.where ~= "" and page:clean(problem.where) .. ": " or ""
  for i, line in ipairs(page:lines(problem.message)) do
    lines[#lines + 1] = i == 1 and place .. page:paint("red", "error: ") .. line or "    " .. line
  end
  if problem.hint then lines[#lines + 1] = "    " .. page:clean(problem.hint) end
  local pairs_of = {}
  for i, pair in ipairs(problem.pairs or {}) do pairs_of[i] = ("%s on %s"):format(pair.procedure, pair.environment) end
  if problem.blocks then pairs_of[1] = "everything on " .. problem.blocks end
  lines[#lines + 1] = page:paint("dim", "    blocks " .. page:clean(page.series(pairs_of)))
end

local function add_warning(lines, warning, page)
  lines[#lines + 1] = ("%s: %s%s  %s"):format(page:clean(warning.where), page:paint("yellow", "warning: "),
    page:clean(warning.message), page:paint("dim", "[" .. warning.rule .. "]"))
end

--- @param model { procedures: integer, pairs: integer, good: integer, problems: table[], warnings: table[], without_environment: string[] }
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = {}
  for _, problem in ipairs(model.problems) do add_problem(lines, problem, page) end
  for _, warning in ipairs(model.warnings) do add_warning(lines, warning, page) end
  if #model.without_environment > 0 then
    lines[#lines + 1] = "Not checked, for want of an environment: "
      .. page:clean(page.series(model.without_environment))
  end
  local warned = #model.warnings > 0 and ", " .. page.count(#model.warnings, "warning") or ""
  local verdict = ("%s, %s%s. %d of %s can run."):format(page.count(model.procedures, "procedure"),
    page.count(#model.problems, "error"), warned, model.good, page.count(model.pairs, "pair"))
  lines[#lines + 1] = page:paint(#model.problems == 0 and "green" or "bold", verdict)
  return table.concat(lines, "\n")
end

--- In a command of GitHub's workflows a line end would begin another one.
local function github_text(text, page) return (page:clean(text):gsub("%%", "%%25")) end

local function github_line(level, one, page)
  local file, line = one.where:match "^(.-):(%d+)"
  local place = file and ("file=%s,line=%s"):format(github_text(file, page):gsub("[,:]", "_"), line) or ""
  local said = one.hint and one.message .. " (" .. one.hint .. ")" or one.message
  return ("::%s %s::%s"):format(level, place, github_text(said, page))
end

--- The same as commands of GitHub's workflows, which show them beside the lines.
--- @param model table
--- @param page neap.page
--- @return string
function view.github(model, page)
  local lines = {}
  for _, problem in ipairs(model.problems) do lines[#lines + 1] = github_line("error", problem, page) end
  for _, warning in ipairs(model.warnings) do lines[#lines + 1] = github_line("warning", warning, page) end
  lines[#lines + 1] = ("%d of %d pairs can run"):format(model.good, model.pairs)
  return table.concat(lines, "\n")
end

return view
