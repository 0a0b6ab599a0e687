--- The table of `neap list`.
local time = require "neap.cli.view.time"

local view = {}

local ENVIRONMENTS = 20 -- columns

local function last_run(run, page)
  if not run then return "never" end
  local short = run.environment:match "[^/]*$"
  return ("%s %s %s"):format(time.day(run.started), page:clean(short), run.outcome or "open")
end

local function nothing(model, page)
  local lines = { ("No procedures in %s."):format(page:clean(model.looked_in)),
                  "They lie in procedures/<group>/<name>.lua of the current folder, or of the folders in NEAP_PATH." }
  return table.concat(lines, "\n")
end

local function open_runs(model, page)
  local texts = {}
  for i, run in ipairs(model.open) do
    texts[i] = ("%d %s on %s"):format(run.run, page:clean(run.procedure), page:clean(run.environment))
  end
  return texts
end

--- @param model { procedures: table[], open: table[], folders: string[], looked_in: string }
--- @param page neap.page
--- @return string
function view.text(model, page)
  if #model.procedures == 0 then return nothing(model, page) end
  local rows = {}
  for i, entry in ipairs(model.procedures) do
    local environments = #entry.environments > 0 and table.concat(entry.environments, " ") or "-"
    rows[i] = { page:clean(entry.name), page:cut(page:clean(environments), ENVIRONMENTS), last_run(entry.last, page),
                page:clean(entry.summary) }
  end
  local lines = page:table({ "PROCEDURE", "ENVIRONMENTS", "LAST RUN", "WHAT IT DOES" }, rows, { cut = true })
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("%s in %s"):format(page.count(#rows, "procedure"), page:clean(table.concat(model.folders, ", ")))
  if #model.open > 0 then
    lines[#lines + 1] = page:paint("yellow", "Open: " .. table.concat(open_runs(model, page), ", "))
  end
  lines[#lines + 1] = page:paint("dim", "Next: neap show NAME     neap plan NAME --env ENV     neap runs")
  return table.concat(lines, "\n")
end

return view
