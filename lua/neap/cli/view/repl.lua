--- What `neap repl` says beside the values: its banner, prompts, and what becomes of a run of lines.
local change  = require "neap.cli.view.change"
local ordered = require "neap.ordered"
local time    = require "neap.cli.view.time"

local view = {}

local function short(environment) return environment:match "[^/]*$" end

-- ---- where one is ----

local function hosts_text(hosts, page)
  local names = {}
  for name, host in pairs(hosts) do
    names[#names + 1] = page:clean(host.name and name or ("%s(%d)"):format(name, #host))
  end
  table.sort(names)
  return table.concat(names, " ")
end

local function names_of(map) return table.concat(ordered.keys(map), " ") end

--- @param facts { environment: string, guarded: boolean, procedure?: string, view: table, clusters?: table, open?: table }
---   view: of the environment, as lines see it; open: the run that is open there
--- @param page neap.page
--- @return string
function view.banner(facts, page)
  local name = facts.guarded and page:paint("alarm", ("** %s **"):format(short(facts.environment):upper())) .. "  "
    or ""
  local head = ("neap  %s%s  reads only; :write to change, ? for help"):format(name, page:clean(facts.environment))
  local lines = { head }
  local function add(label, text)
    if text == "" then return end
    for i, line in ipairs(page:wrap(page:clean(text), page.width - 11)) do
      lines[#lines + 1] = ("%s%s"):format(page:left(i == 1 and label or "", 11), line)
    end
  end
  add("procedure", facts.procedure or "")
  add("hosts", hosts_text(facts.view.hosts, page))
  add("databases", names_of(facts.view.databases))
  add("clusters", names_of(facts.clusters))
  if facts.open then lines[#lines + 1] = view.open_run(facts.open, page) end
  return table.concat(lines, "\n")
end

--- @param run table  as history gives it
--- @param page neap.page
--- @return string
function view.open_run(run, page)
  return ("run %d, %s, of %s since %s is open%s"):format(run.run, page:clean(run.procedure),
    page:clean(tostring(run.actor)), time.minute(run.started), run.procedure == "repl" and ": :write takes it up"
    or (": neap resume %d --env %s"):format(run.run, run.environment))
end

--- The prompt, with its colour between two \1 where the line editor wants to know.
--- @param facts { environment: string, writing: boolean, guarded: boolean, unfinished: boolean }
--- @param page neap.page
--- @return string
function view.prompt(facts, page)
  local text = ("neap %s%s>"):format(short(facts.environment), facts.writing and "!" or "")
  if facts.unfinished then return ("."):rep(#text) .. " " end
  local colour = facts.writing and (facts.guarded and "alarm" or "yellow") or "bold"
  return page:paint(colour, text) .. " "
end

-- ---- lines that change ----

--- What a line would change, all of it.
--- @param effects table[]  as plan.line gives them
--- @param ended? string  why it ends early
--- @param page neap.page
--- @return string
function view.plan(effects, ended, page)
  local lines, changes = {}, 0
  for _, one in ipairs(effects) do
    for _, line in ipairs(change.lines(one, page, {})) do lines[#lines + 1] = line end
    if one.sign ~= "=" then changes = changes + 1 end
  end
  if ended then lines[#lines + 1] = "The plan ends here: " .. page:clean(ended) end
  lines[#lines + 1] = changes == 0 and "Nothing would be changed." or page.count(changes, "change") .. ", none made."
  return table.concat(lines, "\n")
end

--- @param undone { path: string, effects: { show: string }[] }[]
--- @param page neap.page
--- @return string
function view.undone(undone, page)
  local lines = {}
  for _, unit in ipairs(undone) do
    for i = #unit.effects, 1, -1 do
      lines[#lines + 1] = ("taken back  %s  %s"):format(page:clean(unit.path), page:clean(unit.effects[i].show or ""))
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or "Nothing is in place that could be taken back."
end

-- ---- runs of lines ----

--- @param number integer
--- @param environment string
--- @param page neap.page
--- @return string
function view.begun(number, environment, page)
  local text = ("run %d is open on %s: changes are shown, asked about and journaled"):format(number,
    page:clean(environment))
  return table.concat(page:wrap(text, page.width, 2), "\n")
end

--- A run of an earlier sitting that goes on.
--- @param in_place table[]
--- @param page neap.page
--- @return string
function view.taken_up(in_place, page)
  local lines = { "taken up; in place are:" }
  for _, one in ipairs(in_place) do
    if not one.bracket then
      lines[#lines + 1] = ("  %s  %s"):format(page:clean(one.path), page:clean(one.show or one.kind))
    end
  end
  return #lines > 1 and table.concat(lines, "\n") or "taken up; nothing is changed"
end

--- Before a step of the procedure that nothing can take back.
--- @param step table
--- @param page neap.page
--- @return string
function view.no_return(step, page)
  return page:paint("alarm", ("%s cannot be taken back: %s"):format(step.number, page:clean(step.irreversible)))
end

--- A run that is over, or left open.
--- @param outcome table
--- @param page neap.page
--- @return string
function view.ended(outcome, page)
  local kept = 0
  for _, one in ipairs(outcome.changed) do
    if not one.bracket then kept = kept + 1 end
  end
  local stays = kept == 0 and "nothing stays changed" or kept == 1 and "1 change stays"
    or ("%d changes stay"):format(kept)
  local named = ("%d --env %s"):format(outcome.run, outcome.environment)
  if outcome.status == "done" then
    local lines = { ("run %d is closed: %s.  neap log %s"):format(outcome.run, stays, page:clean(named)) }
    for _, one in ipairs(outcome.unclosed) do
      lines[#lines + 1] = page:paint("alarm", ("  not in force: %s changed something, and failed before %s"):format(
        page:clean(one.path), page:clean(one.show)))
    end
    return table.concat(lines, "\n")
  end
  local lines = { ("run %d stays open: %s so far."):format(outcome.run, stays) }
  if #outcome.in_doubt > 0 then
    lines[1] = ("run %d stays open: %s, and %d in doubt."):format(outcome.run, stays, #outcome.in_doubt)
  end
  for _, verb in ipairs { "resume", "rollback", "abandon" } do
    lines[#lines + 1] = ("  neap %s %s"):format(verb, page:clean(named))
  end
  return table.concat(lines, "\n")
end

local function files_text(paths, page)
  local clean = {}
  for _, path in ipairs(paths) do
    if not path:find "/%.[^/]*$" then clean[#clean + 1] = page:clean((path:gsub("^.*(procedures/)", "%1"))) end
  end
  return table.concat(clean, ", ")
end

--- @param paths string[]
--- @param page neap.page
--- @return string
function view.reloaded(paths, page) return "reloaded: " .. files_text(paths, page) end

--- Files that were changed while a run goes on with the code it began with.
--- @param paths string[]
--- @param page neap.page
--- @return string
function view.not_reloaded(paths, page) return "changed since :write, and not taken in: " .. files_text(paths, page) end

--- How long a line took.
--- @param seconds number
--- @param page neap.page
--- @return string
function view.took(seconds, page)
  return page:paint("dim", seconds < 1 and ("%d ms"):format(math.floor(seconds * 1000 + 0.5)) or page.duration(seconds))
end

local HELP = [[
A line is an expression, whose value is shown, or a statement. It sees env, the
words, and arguments as arg. Names set without local stay. An unfinished line
goes on in the next one; an empty one drops it. ^C ends the call, ^D leaves.
  help(x)        what a word, function or host is: help(file.write), help "sql"
  :write [WHY]   begin a run: changes are shown, asked about and journaled
  :read          close it, and read on
  :undo [N]      take back what the last line, or the last N, changed
  :plan [LINE]   what the procedure, or a line, would change
  :step N        carry out a step of the procedure; while reading: plan it
  :save NAME     write what lines changed as a procedure's steps
  :e [FILE]      edit a line, or a file of the repository, in $EDITOR
  :x :json :time expanded rows, values as JSON, how long lines take: on and off
  :q             leave]]

--- @return string
function view.help() return HELP end

return view
