--- `neap plan`: what a run would change; it reads, and changes nothing.
local choice  = require "neap.cli.choice"
local failure = require "neap.cli.failure"
local fault   = require "native.error"
local fs      = require "native.fs"
local json    = require "native.json"
local rehearsals = require "neap.cli.rehearsals"
local safe    = require "neap.cli.view.json".safe
local secret  = require "native.secret"
local state   = require "neap.state"
local view    = require "neap.cli.view.plan"

local plan = {
  summary = "show what a run would change, and change nothing",
  examples = {
    "neap plan encode/release --env lab -p version=64 -p old=63",
    "neap plan encode/release --env lab -p version=64 -p old=63 -s",
    "neap plan encode/release --env lab -p version=64 -p old=63 --exit-code",
  },
}

local SOMETHING_TO_CHANGE = 3

function plan.arguments(parser)
  choice.add_options(parser)
  parser:flag("-s --summary", "one line a phase")
  parser:flag("--full", "also what is as wanted, and long differences whole")
  parser:flag("--markdown", "as Markdown, for a comment on a pull request")
  parser:flag("--exit-code", "exit status 3 when there is something to change")
end

local function changes_something(model)
  for _, phase in ipairs(model.phases) do
    for _, step in ipairs(phase.steps) do
      if step.ended then return true end
      for _, effect in ipairs(step.effects or {}) do
        if effect.sign ~= "=" then return true end
      end
    end
  end
  return false
end

--- What an approver sees of a step: not the contents, which may be long and are not everybody's.
local function gist(step)
  local copy = {}
  for key, value in pairs(step) do copy[key] = value end
  copy.effects = {}
  for i, one in ipairs(step.effects) do
    copy.effects[i] = { kind = one.kind, sign = one.sign, show = one.show, says = one.says, undo = one.undo,
      why = one.why, certainty = one.certainty }
  end
  return copy
end

local function gist_of_phases(model)
  local phases = {}
  for i, phase in ipairs(model.phases) do
    phases[i] = { title = phase.title, number = phase.number, steps = {} }
    for k, step in ipairs(phase.steps) do phases[i].steps[k] = gist(step) end
  end
  return phases
end

--- By the environment's own key a secret has the same fingerprint in the plan and in the run. nil where this login cannot
--- have it: then the plan's fingerprints are its own.
local function keys_of(environment)
  local ok, folder = pcall(state.folder, environment)
  if not ok and not fault.is(folder) then error(folder, 0) end
  return ok and secret.keyring(folder .. "/key") or nil
end

--- Keeps what `run --plan` compares with and what `approve` signs, where this login may write to the environment's
--- folder.
local function save(model)
  local line = json.encode(safe {
    id = model.id, procedure = model.procedure, environment = model.environment, arguments = model.arguments,
    effects = model.effects, pins = model.pins, snapshot = model.snapshot, phases = gist_of_phases(model),
    undo = model.undo, points = model.points, reads = model.reads, guard = model.guard, saved = true,
  })
  local ok, raised = pcall(function()
    local journal = require "neap.engine.journal".open((state.folder(model.environment)))
    journal.store:save_plan(model.id, line)
    journal:close()
  end)
  if not ok and not fault.is(raised) then error(raised, 0) end
  return ok
end

--- What earlier runs took for these steps; nil where none is known.
local function typical(model)
  local folder = state.path(model.environment)
  if not fs.exists(folder .. "/journal.db") then return nil end
  local learned = require "neap.cli.history".reading(folder, function(journal)
    return require "neap.engine.estimate".learned(journal.store, model.procedure)
  end)
  return next(learned.steps) and learned or nil
end

function plan.run(options)
  local console = options.console
  local request = choice.request(options, "plan")
  request.keys = keys_of(request.environment.name)
  if console.may_ask then
    function request.prompt(text, how) return console:ask(console.err:clean(text) .. " ", how) end
  end
  local model = failure.before_change(require "neap.engine.plan".make, request)
  model.given, model.guard = request.arguments, request.environment.policy.guard
  model.approvals = request.environment.policy.approvals ~= nil
  model.rehearsed = rehearsals.standing(request.environment, model.procedure, request.files)
  model.saved, model.typical = save(model), typical(model)
  if console.json then
    console:answer_json(safe(model))
  elseif options.markdown then
    local page = require "neap.cli.view.page".new { width = 100, utf8 = true }
    console:answer(require "neap.cli.view.plan_markdown".text(model, page))
  else
    console:show(options.summary and view.summary(model, console.out) or view.text(model, console.out, options))
  end
  return options.exit_code and changes_something(model) and SOMETHING_TO_CHANGE or 0
end

return plan
