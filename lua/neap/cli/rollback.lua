--- `neap rollback`: puts back what a run changed, newest first.
local answer   = require "neap.cli.answer"
local choice   = require "neap.cli.choice"
local confirm  = require "neap.cli.confirm"
local failure  = require "neap.cli.failure"
local standing = require "neap.cli.standing"
local take_up  = require "neap.cli.take_up"
local view     = require "neap.cli.view.standing"

local rollback = {
  summary = "put back what a run changed, in reverse order",
  examples = {
    "neap rollback 142",
    "neap rollback 142 --to 4.2",
    "neap rollback 142 --on-conflict keep",
    "neap rollback 142 --answer not-applied",
  },
}

function rollback.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--to", "stop after undoing this step: its number or title"):argname "STEP"
  parser:option("--on-conflict", "what to do where somebody else changed a target since")
    :choices { "stop", "keep", "overwrite" }:argname "HOW"
  parser:option("--answer", "answer what the rollback waits for: applied or not-applied, where something is in doubt")
  parser:flag("--foreground", "keep the run in this process, and end with it")
  confirm.add_option(parser)
end

--- What a run waits for on its way forward is nothing to a rollback; what is in doubt has to be known in both directions.
local function given(options, model)
  local question = model.question
  if options.answer and not model.back and not (question and question.kind == "in doubt") then
    failure.wrong_use(("the rollback of run %d waits for no answer"):format(model.run.run),
      ("neap rollback %d --env %s"):format(model.run.run, model.run.environment))
  end
  return answer.given(options, model)
end

function rollback.run(options)
  local found = choice.open_run(options.run, options)
  local model = standing.of(found)
  if not options.console.json then options.console:tell(view.rollback(model, options.console.err)) end
  return take_up.start("rollback", options, found, model, { to = options.to, answer = given(options, model) })
end

return rollback
