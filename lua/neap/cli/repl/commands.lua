--- What a line that begins with a colon does.
local confirm  = require "neap.cli.confirm"
local failure  = require "neap.cli.failure"
local fault    = require "native.error"
local near     = require "neap.near"
local ordered  = require "neap.ordered"
local outside  = require "neap.cli.outside"
local plan     = require "neap.engine.plan"
local repl     = require "neap.engine.repl"
local repl_run = require "neap.engine.repl_run"
local task     = require "native.task"
local view     = require "neap.cli.view.repl"

local commands = {}

local act = {}

local function refuse(message, ...) fault.raise { kind = "denied", where = "", message = message:format(...) } end

local function need_run(sits)
  if not sits:is_writing() then refuse("nothing was changed here: :write begins a run") end
end

-- ---- beginning and ending a run ----

local function asked(sits, prompt)
  local typed = sits.console.may_ask and not sits.keyboard.is_script and sits.console:ask(prompt)
  typed = typed and typed:match "^%s*(.-)%s*$"
  return typed ~= "" and typed or nil
end

--- The run of an earlier sitting that was cut short is taken up, where the person wants that.
local function take_up(sits, run)
  sits:tell(view.open_run(run, sits.console.err))
  local answer = sits.options.yes and "y" or asked(sits, "Take it up, and ask its targets what was done? [y/N] ")
  if not answer or not answer:lower():find "^ye?s?$" then refuse("run %d stays as it is", run.run) end
  local given = { run = run.run }
  for key, value in pairs(sits.given) do given[key] = value end
  sits.session:leave()
  sits:use(repl_run.take_up(given))
  sits:tell(view.taken_up(sits.session.state:in_place(), sits.console.err))
end

local function begin(sits, why)
  failure.leased(sits.given.state, sits.name, function()
    repl_run.begin(sits.session, { state = sits.given.state, actor = sits.given.actor, why = why,
      outside_window = outside.reason(sits.options) })
  end)
end

function act.write(sits, why)
  if sits:is_writing() then refuse("run %d is open already", sits.session.number) end
  local env = sits.session.environment
  confirm.start({ console = sits.console, yes = sits.options.yes }, env.name, env.policy or {}, "repl")
  local open = sits:open_run()
  if open and open.procedure == "repl" then
    take_up(sits, open)
  else
    begin(sits, why ~= "" and why or asked(sits, "Why, for the journal: "))
  end
  sits:tell(view.begun(sits.session.number, sits.name, sits.console.err))
end

function act.read(sits)
  need_run(sits)
  sits:tell(view.ended(repl_run.close(sits.session), sits.console.err))
end

function act.q(sits) sits.left = true end

-- ---- back ----

--- Ctrl-C: the effect in hand is put back whole, and none after it; again, the call in hand is given up.
local function interrupting(sits, working)
  return function()
    if sits.session.pausing then return working:cancel() end
    sits.session.pausing = "interrupted"
    sits:tell "stopping after the effect in hand"
  end
end

local function undo_in_task(sits, count)
  local working, before = task.spawn(repl_run.undo, sits.session, count, sits.given.actor), sits.working
  sits.working = interrupting(sits, working)
  local ok, result = working:wait()
  sits.working, sits.session.pausing = before, nil
  if not ok then error(result, 0) end
  return result
end

function act.undo(sits, count)
  need_run(sits)
  local number = count == "" and 1 or math.tointeger(tonumber(count))
  if not number or number < 1 then refuse(":undo takes how many lines, as in :undo 2") end
  local ok, undone = pcall(undo_in_task, sits, number)
  if ok then
    require "neap.cli.repl.save".take_back(sits, undone)
    return sits:tell(view.undone(undone, sits.console.err))
  end
  if sits.session.state.turn == "forward" then error(undone, 0) end
  sits:put_down(undone)
  return false
end

-- ---- plans and steps ----

local function plan_line(sits, text)
  local fn, message = repl.compile(text, sits.globals)
  if not fn then refuse("%s", message) end
  local planned = plan.line(sits.session, fn)
  sits.console:answer(view.plan(planned.effects, planned.ended, sits.console.out))
end

local function need_procedure(sits)
  if not sits.read.name then
    refuse("no procedure is loaded: neap repl GROUP/NAME --env %s", sits.name:match "[^/]*$")
  end
end

local function plan_procedure(sits, only)
  need_procedure(sits)
  local given = { only = only }
  for key, value in pairs(sits.given) do given[key] = value end
  local model = plan.make(given)
  sits.console:show(require "neap.cli.view.plan".text(model, sits.console.out, { full = true }))
end

function act.plan(sits, text)
  if text ~= "" then return plan_line(sits, text) end
  plan_procedure(sits)
end

local function find_step(sits, name)
  need_procedure(sits)
  local titles = {}
  for _, step in ipairs(sits.session.procedure.steps) do
    if step.number == name or step.title == name then return step end
    titles[#titles + 1] = step.number
    titles[#titles + 1] = step.title
  end
  refuse("no step is called %q.%s", name, near.question(name, titles))
end

function act.step(sits, name)
  local step = find_step(sits, name)
  if not sits:is_writing() then return plan_procedure(sits, step.number) end
  if step.kind == "manual" then refuse("%s is a person's work: %s", step.number, step.text or step.title) end
  if sits.session.state:is_over(step.title) then refuse("%s is done in this run", step.number) end
  if step.irreversible then sits:tell(view.no_return(step, sits.console.err)) end
  local ok, said = pcall(repl.step, sits.session, step, require "neap.engine.run".body)
  if not ok then return sits:put_down(said) end
  sits:show(said)
  return said.failure == nil
end

-- ---- how values are shown ----

local function switch(key, name)
  return function(sits)
    sits.shown_as[key] = not sits.shown_as[key] or nil
    sits:tell(("%s: %s"):format(name, sits.shown_as[key] and "on" or "off"))
  end
end

act.x = switch("expanded", "expanded rows")
act.json = switch("json", "values as JSON")
act.time = switch("time", "how long lines take")

-- ---- files ----

function act.save(sits, name)
  if name == "" then refuse(":save takes a name, as in :save hotfix") end
  sits:tell(require "neap.cli.repl.save".write(sits, name))
end

function act.e(sits, path) return require "neap.cli.repl.edit_line".run(sits, path) end

-- ---- all of them ----

function act.help(sits, what)
  if what == "" then return sits.console:answer(view.help()) end
  sits:show_help(what)
end

--- Their names, sorted.
--- @return string[]
function commands.names() return ordered.keys(act) end

--- Carries one out. Returns false where it did not go well, and it has said so.
--- @param sits table  the sitting
--- @param text string  as typed
--- @return boolean?
function commands.run(sits, text)
  if text:find "^%s*%?" then return act.help(sits, text:match "^%s*%?%s*(.-)%s*$") end
  local name, rest = text:match "^%s*:(%a*)%s*(.-)%s*$"
  if not act[name] then refuse("no command :%s%s; ? lists them", name, near.hint(name, act)) end
  return act[name](sits, rest)
end

return commands
