--- The table of `neap runs`.
local time = require "neap.cli.view.time"

local view = {}

local COLOURS = { done = "green", ["rolled back"] = "yellow", abandoned = "yellow" }

local function took(run, page)
  local seconds = time.between(run.started, run.ended)
  return seconds and page.duration(seconds) or "-"
end

local function person(actor) return tostring(actor or "?"):match "^[^@ ]+" or "?" end

local function row(run, page)
  local colour = run.rehearsal ~= "failed" and run.outcome and COLOURS[run.outcome] or "alarm"
  return { tostring(run.run), time.minute(run.started), page:clean(run.environment), page:clean(run.procedure),
           page:clean(person(run.actor)), took(run, page), page:paint(colour, page:clean(run.standing)) }
end

local function add_next(lines, run, page)
  local named = ("%d --env %s"):format(run.run, run.environment)
  lines[#lines + 1] = page:clean(("Run %d holds the lease of %s."):format(run.run, run.environment))
  local verbs = { "neap resume " .. named }
  if not run.point_of_no_return then verbs[#verbs + 1] = "neap rollback " .. named end
  lines[#lines + 1] = page:paint("dim", page:clean("  Next: " .. table.concat(verbs, "  |  ")))
end

--- @param model { runs: table[] }
--- @param page neap.page
--- @return string
function view.text(model, page)
  if #model.runs == 0 then return "No runs yet." end
  local rows = {}
  for i, run in ipairs(model.runs) do rows[i] = row(run, page) end
  local lines = page:table({ ">RUN", "STARTED", "ENVIRONMENT", "PROCEDURE", "WHO", ">TOOK", "RESULT" }, rows)
  for _, run in ipairs(model.runs) do
    if not run.outcome and not run.alive then add_next(lines, run, page) end
  end
  return table.concat(lines, "\n")
end

return view
