--- `neap rollback`: puts back what a run changed, newest first.
local attend   = require "neap.cli.attend"
local choice   = require "neap.cli.choice"
local client   = require "neap.cli.client"
local confirm  = require "neap.cli.confirm"
local failure  = require "neap.cli.failure"
local standing = require "neap.cli.standing"
local view     = require "neap.cli.view.standing"

local rollback = {
  summary = "put back what a run changed, in reverse order",
  examples = {
    "neap rollback 142",
    "neap rollback 142 --to 4.2",
    "neap rollback 142 --on-conflict keep",
  },
}

function rollback.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--to", "stop after undoing this step: its number or title"):argname "STEP"
  parser:option("--on-conflict", "what to do where somebody else changed a target since")
    :choices { "stop", "keep", "overwrite" }:argname "HOW"
  parser:flag("--foreground", "keep the run in this process, and end with it")
  confirm.add_option(parser)
end

function rollback.run(options)
  local found = choice.open_run(options.run, options)
  local model = standing.of(found)
  if not options.console.json then options.console:tell(view.rollback(model, options.console.err)) end
  confirm.start(options, found.environment, model.policy, "rollback")
  local attending = attend.new { console = options.console, environment = found.environment }
  attending:replay(model.records)
  local outcome = failure.leased(found.folder, found.environment, function()
    return attending:during(client.calling("rollback", options),
      { state = found.folder, run = found.run, to = options.to, on_conflict = options.on_conflict,
        after = model.last and model.last.seq })
  end)
  return attending:report(outcome)
end

return rollback
