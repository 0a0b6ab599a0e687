--- The text of `neap run --at`: what will happen, and how to see and cancel it.
local view = {}

local MOST = 3 -- titles that are named

local function list(titles)
  local named = table.concat(titles, "; ", 1, math.min(#titles, MOST))
  return #titles > MOST and ("%s; and %d more"):format(named, #titles - MOST) or named
end

local function notes(model)
  local lines = {}
  if not model.plan then
    lines[#lines + 1] = "without --plan: it changes what it finds to be changed then"
  else
    lines[#lines + 1] = ("by plan %s: it stops at the first target that differs"):format(model.plan)
  end
  if model.ends then lines[#lines + 1] = "the window is open until " .. model.ends end
  if #model.stops > 0 then
    lines[#lines + 1] = "nobody is asked then; it stops and waits for neap resume at: " .. list(model.stops)
  end
  if #model.left > 0 then
    lines[#lines + 1] = "not there then, for they are this login's: " .. table.concat(model.left, ", ")
  end
  return lines
end

--- @param model table  of schedule.start
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = { ("%s on %s begins %s"):format(model.procedure, model.environment, model.text) }
  for _, note in ipairs(notes(model)) do page:add_paragraph(lines, page:clean(note), 2) end
  local manager = model.system and "" or "--user "
  for _, one in ipairs {
    { "see it", ("systemctl %slist-timers '%s*'"):format(manager, model.unit:match "^neap%-") },
    { "cancel it", ("systemctl %sstop %s.timer"):format(manager, model.unit) },
    { "what it says", ("journalctl %s-u %s"):format(manager, model.unit) },
    { "how it ended", "neap runs --env " .. model.environment },
  } do
    lines[#lines + 1] = ("%-13s %s"):format(one[1], one[2])
  end
  return table.concat(lines, "\n")
end

return view
