--- `neap rollback`: puts back what a run changed, newest first.
local choice   = require "neap.cli.choice"
local confirm  = require "neap.cli.confirm"
local standing = require "neap.cli.standing"
local take_up  = require "neap.cli.take_up"
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
  return take_up.start("rollback", options, found, model, { to = options.to })
end

return rollback
