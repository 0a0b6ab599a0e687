--- `neap plan`: what a run would change; it reads, and changes nothing.
local choice = require "neap.cli.choice"
local view   = require "neap.cli.view.plan"

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

function plan.run(options)
  local console = options.console
  local request = choice.request(options, "plan")
  local model = require "neap.engine.plan".make(request)
  model.given, model.guard = request.arguments, request.environment.policy.guard
  if console.json then
    console:answer_json(model)
  else
    console:answer(options.summary and view.summary(model, console.out) or view.text(model, console.out, options))
  end
  return options.exit_code and changes_something(model) and SOMETHING_TO_CHANGE or 0
end

return plan
