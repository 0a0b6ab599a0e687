--- How a run, resume or rollback ended: what happened, what is changed now, and what to type next.
local fault     = require "native.error"
local rehearsal = require "neap.cli.view.rehearsal"
local step_path = require "neap.engine.step_path"

local view = {}

local MARKS = { undo = "undo", own = "undo", keep = "keep", irreversible = "NO UNDO" }

local function step_text(step, page)
  if not step then return "" end
  return page:clean(("%s %s"):format(step.number or "", step.title))
end

local function message_of(failure)
  return fault.is(failure) and failure.message or tostring(failure)
end

local MOST_ROWS = 3 -- of a terminal, for one line of a target: the question below is to stay in sight

local function said_by_target(failure, page)
  local lines = page:last_lines(failure.output)
  for i, line in ipairs(lines) do
    if page.wraps then line = page:cut(line, MOST_ROWS * page.width - #"    | ") end
    lines[i] = "    | " .. line
  end
  return lines
end

--- What happened, in the target's own words where it had any.
local function add_failure(lines, outcome, page)
  local failure = outcome.failure
  for _, line in ipairs(page:lines(message_of(failure))) do lines[#lines + 1] = page:fit("  " .. line, 4) end
  if not fault.is(failure) then return end
  for _, line in ipairs(said_by_target(failure, page)) do lines[#lines + 1] = line end
end

local function label(page, name, text) return ("  %s %s"):format(page:paint("dim", page:left(name, 7)), text) end

local function add_where(lines, outcome, page)
  local failure, step = outcome.failure, outcome.step
  local place = fault.is(failure) and (failure.where or ""):gsub(":%s*$", "") or ""
  if place == "" then place = step and step.where or "" end
  local host = fault.is(failure) and failure.host and ", host " .. page:clean(failure.host) or ""
  if place .. host ~= "" then lines[#lines + 1] = label(page, "where", page:clean(place) .. host) end
  local hints = {}
  if fault.is(failure) and failure.hint then hints[#hints + 1] = failure.hint end
  if step and step.hint and outcome.status ~= "rollback incomplete" then hints[#hints + 1] = step.hint end
  for _, hint in ipairs(hints) do
    for i, line in ipairs(page:wrap(page:clean(hint), page.width - 10)) do
      lines[#lines + 1] = label(page, i == 1 and "hint" or "", line)
    end
  end
end

--- Effects of one target that share a step stand together; brackets are no change of their own.
local function changes(outcome)
  local list = {}
  for _, one in ipairs(outcome.changed) do
    if one.bracket ~= "open" and one.bracket ~= "close" then list[#list + 1] = one end
  end
  return list
end

local NARROWEST = 12 -- columns to which a step's title is cut

--- What is changed, and by which step; a title that does not fit is cut, or stands below.
local function effect_line(one, mark, page)
  local what, title = "  " .. page:clean(one.show or one.kind), page:clean(step_path.root(one.path))
  local room = page.edge - page:columns(what) - page:columns(mark) - 4
  if room < NARROWEST then return what .. "\n" .. page:edges("    " .. page:paint("dim", title), mark) end
  return page:edges(("%s  %s"):format(what, page:paint("dim", page:cut(title, room))), mark)
end

local function add_changed(lines, outcome, page)
  local list = changes(outcome)
  lines[#lines + 1] = ""
  if #list == 0 and #outcome.in_doubt == 0 then
    lines[#lines + 1] = "Nothing is changed by this run."
    return
  end
  lines[#lines + 1] = page:paint("bold", "WHAT IS CHANGED NOW")
  for _, one in ipairs(list) do
    local mark = one.status == "partial" and "PARTLY DONE" or MARKS[one.disposition] or ""
    lines[#lines + 1] = effect_line(one, mark, page)
  end
  for _, one in ipairs(outcome.in_doubt) do
    lines[#lines + 1] = effect_line(one, page:paint("alarm", "IN DOUBT"), page)
  end
end

local function add_point(lines, outcome, page)
  local passed = outcome.point_of_no_return
  if not passed then
    lines[#lines + 1] = "  No point of no return is passed."
    return
  end
  lines[#lines + 1] = page:paint("alarm", ("  The point of no return is passed: %s"):format(page:clean(passed.path)))
  if passed.why then lines[#lines + 1] = "    why: " .. page:clean(passed.why) end
end

local function named(outcome) return ("%d --env %s"):format(outcome.run, outcome.environment) end

--- The answers that a resume without a terminal can give.
local function answers_to(question, outcome)
  if question.kind == "point of no return" then return outcome.environment:match "[^/]*$" end
  local words = require "neap.cli.answer".without_terminal(question.options or {})
  for i, option in ipairs(words) do words[i] = option:gsub(" ", "-") end
  return table.concat(words, "|")
end

--- Asked before it is taken up in either direction: what is in doubt.
local function is_of_both(question) return question.kind == "in doubt" end

--- Whether it is the procedure that is wrong: to go on with the same code would come to the same.
local function is_mistake(failure) return failure ~= nil and (not fault.is(failure) or failure.kind == "mistake") end

local function add_next(lines, outcome, page)
  local question = outcome.question
  local function add_answers()
    lines[#lines + 1] = page:clean(("    --answer %s"):format(answers_to(question, outcome)))
      .. page:paint("dim", "   without a terminal")
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "WHAT NEXT")
  lines[#lines + 1] = page:clean("  neap resume " .. named(outcome)) .. page:paint("dim", "     go on from here")
  if is_mistake(outcome.failure) then
    lines[#lines + 1] = "    --code current --reason WHY" .. page:paint("dim", "   with the files as they are now")
  end
  if question and question.kind ~= "code" then add_answers() end -- which is asked where the code is brought along
  if not outcome.point_of_no_return then
    lines[#lines + 1] = page:clean("  neap rollback " .. named(outcome)) .. page:paint("dim", "   put everything back")
    if question and is_of_both(question) then add_answers() end
  end
  lines[#lines + 1] = page:clean("  neap log " .. named(outcome)) .. page:paint("dim", "        what happened when")
end

--- What a rollback passed over, by declaration or because a person said so.
local function add_kept(lines, outcome, page)
  for _, one in ipairs(outcome.kept or {}) do
    local why = one.why and (" (%s)"):format(page:clean(one.why)) or ""
    lines[#lines + 1] = page:fit(("  kept: %s%s"):format(page:clean(one.show or one.kind), why), 4)
  end
end

--- Steps that are over by a person's word.
local function add_by_person(lines, outcome, page)
  for _, one in ipairs(outcome.by_person or {}) do
    local what = one.status == "skipped" and "skipped" or "done by hand"
    local said = one.reason and page:clean(one.reason) .. ", " or ""
    lines[#lines + 1] = page:fit(("  %s: %s %s (%s%s)"):format(what, page:clean(one.number), page:clean(one.path), said,
      page:clean(one.who or "?")), 4)
  end
end

--- Branches that failed of steps that are done all the same.
local function add_failed_branches(lines, outcome, page)
  for _, one in ipairs(outcome.failed_branches or {}) do
    local what = ("  failed: %s %s (%s)"):format(page:clean(one.number), page:clean(one.path),
      page:clean(one.message:match "^[^\n]*"))
    lines[#lines + 1] = page:paint("alarm", page:fit(what, 4))
  end
end

local function took(outcome, page) return outcome.seconds and " in " .. page.duration(outcome.seconds) or "" end

local text_of = {}

function text_of.done(outcome, page)
  local list = changes(outcome)
  local lines = { page:paint("green", ("DONE%s.  %s on %s, run %d"):format(took(outcome, page),
    page:clean(outcome.procedure), page:clean(outcome.environment), outcome.run)) }
  if #list == 0 then
    lines[2] = "Everything was as wanted already; nothing was changed."
  else
    lines[2] = ("%s in place."):format(page.count(#list, "effect"))
  end
  if outcome.point_of_no_return then
    lines[#lines + 1] = ("The point of no return is passed: %s"):format(page:clean(outcome.point_of_no_return.path))
  end
  add_failed_branches(lines, outcome, page)
  add_by_person(lines, outcome, page)
  lines[#lines + 1] = page:paint("dim", page:clean("What happened when: neap log " .. named(outcome)))
  return lines
end

local function interrupted(outcome)
  return fault.is(outcome.failure) and (outcome.failure.kind == "paused" or outcome.failure.kind == "cancelled")
end

--- What happened, where, and what is changed now.
--- @param outcome table
--- @param page neap.page
--- @return string[] lines
function view.stand(outcome, page)
  local head = outcome.question and "WAITS FOR A PERSON" or interrupted(outcome) and "PAUSED" or "FAILED"
  if not outcome.failure then head = "STOPPED" end
  local title = page:paint(head == "FAILED" and "alarm" or "yellow", head) .. "  " .. step_text(outcome.step, page)
  local lines = { page:edges(title, ("run %d"):format(outcome.run)) }
  if outcome.failure then add_failure(lines, outcome, page) end
  add_where(lines, outcome, page)
  add_changed(lines, outcome, page)
  add_point(lines, outcome, page)
  return lines
end

function text_of.stopped(outcome, page)
  local lines = view.stand(outcome, page)
  add_by_person(lines, outcome, page)
  add_next(lines, outcome, page)
  return lines
end

function text_of.failed(outcome, page)
  local lines = { page:edges(page:paint("alarm", "FAILED") .. "  " .. step_text(outcome.step, page),
    ("run %d"):format(outcome.run)) }
  add_failure(lines, outcome, page)
  add_where(lines, outcome, page)
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Nothing was changed, and the environment is free: run it again when the cause is gone."
  return lines
end

text_of["rolled back"] = function(outcome, page)
  local lines = {}
  if outcome.failure then
    lines[1] = page:edges(page:paint("alarm", "FAILED") .. "  " .. step_text(outcome.step, page),
      ("run %d"):format(outcome.run))
    add_failure(lines, outcome, page)
    add_where(lines, outcome, page)
    lines[#lines + 1] = ""
  end
  lines[#lines + 1] = page:paint("green", ("ROLLED BACK%s.  Targets are as they were before run %d."):format(
    took(outcome, page), outcome.run))
  add_kept(lines, outcome, page)
  add_by_person(lines, outcome, page)
  lines[#lines + 1] = page:paint("dim", page:clean("What happened when: neap log " .. named(outcome)))
  return lines
end

local function incomplete_for_good(outcome, page)
  local lines = { page:edges(page:paint("alarm", "ROLLBACK INCOMPLETE"), ("run %d"):format(outcome.run)) }
  lines[2] = outcome.proof and "All was taken back, and not all is as it was before: see below."
    or "All is as it was before this run, but for what was left:"
  add_kept(lines, outcome, page)
  lines[#lines + 1] = page:clean("The environment is free. What happened when: neap log " .. named(outcome))
  return lines
end

text_of["rollback incomplete"] = function(outcome, page)
  if not outcome.failure then return incomplete_for_good(outcome, page) end
  local head = outcome.exit == 8 and "ROLLBACK WAITS FOR A PERSON" or "ROLLBACK INCOMPLETE"
  local lines = { page:edges(page:paint("alarm", head) .. "  " .. step_text(outcome.step, page),
    ("run %d"):format(outcome.run)) }
  add_failure(lines, outcome, page)
  add_where(lines, outcome, page)
  add_changed(lines, outcome, page)
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "WHAT NEXT")
  local command = page:clean("  neap rollback " .. named(outcome))
  lines[#lines + 1] = command .. page:paint("dim", "   go on with the rollback")
  lines[#lines + 1] = command .. " --on-conflict keep" .. page:paint("dim", "   leave what others changed")
  return lines
end

--- Commands, each with what it does.
local function add_commands(lines, page, commands)
  local widest = 0
  for _, one in ipairs(commands) do widest = math.max(widest, page:columns(one[1])) end
  lines[#lines + 1] = ""
  lines[#lines + 1] = page:paint("bold", "WHAT NEXT")
  for _, one in ipairs(commands) do
    lines[#lines + 1] = ("  %s   %s"):format(page:left(one[1], widest), page:paint("dim", one[2]))
  end
end

function text_of.left(outcome, page)
  local lines = { page:paint("yellow", ("LEFT  run %d goes on without you."):format(outcome.run)) }
  local name = page:clean(named(outcome))
  add_commands(lines, page, {
    { "neap resume " .. name, "attend it again" }, { "neap log " .. name .. " -f", "only look" },
    { "neap stop " .. name, "have it pause" },
  })
  return lines
end

--- What is changed is known by the journal alone.
function text_of.lost(outcome, page)
  local lines = { page:edges(page:paint("alarm", "LOST"), ("run %d"):format(outcome.run)) }
  local name = page:clean(named(outcome))
  add_failure(lines, outcome, page)
  lines[#lines + 1] = "  What it has changed stays changed. What was in hand is in doubt until then."
  add_commands(lines, page, {
    { "neap resume " .. name, "asks the targets, and goes on" },
    { "neap rollback " .. name, "asks them, and puts everything back" },
    { "neap log " .. name, "what happened when" },
  })
  return lines
end

function text_of.abandoned(outcome, page)
  local lines = { page:paint("yellow", ("ABANDONED  run %d. The environment is free for others."):format(outcome.run)) }
  add_changed(lines, outcome, page)
  return lines
end

--- @param outcome table  as engine/outcome gives it
--- @param page neap.page
--- @return string
function view.text(outcome, page)
  local lines = (text_of[outcome.status] or text_of.stopped)(outcome, page)
  if outcome.proof then
    lines[#lines + 1] = ""
    table.move(rehearsal.lines(outcome.proof, page), 1, 100000, #lines + 1, lines)
  end
  return table.concat(lines, "\n")
end

return view
