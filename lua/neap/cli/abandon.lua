--- `neap abandon`: gives a run up. What it changed stays changed and is named; the environment is free for others.
local attend  = require "neap.cli.attend"
local choice  = require "neap.cli.choice"
local confirm = require "neap.cli.confirm"
local failure = require "neap.cli.failure"

local abandon = {
  summary = "give a run up, leaving what it changed",
  examples = { 'neap abandon 142 --reason "finished by hand, see CHG-8812"' },
}

function abandon.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--reason", "why, for whoever reads the journal"):argname "TEXT"
  confirm.add_option(parser)
end

function abandon.run(options)
  if not options.reason or options.reason == "" then
    failure.wrong_use("abandon needs --reason", ('neap abandon %s --reason WHY'):format(options.run))
  end
  local found = choice.open_run(options.run, options)
  confirm.start(options, found.environment, require "neap.cli.standing".of(found).policy, "abandon")
  local attending = attend.new { console = options.console, environment = found.environment }
  local outcome = failure.leased(found.folder, found.environment, function()
    return require "neap.engine.run".abandon {
      state = found.folder, run = found.run, reason = options.reason, actor = attend.actor(),
      on_event = function(record) if options.console.json then attending:on_event(record) end end,
    }
  end)
  return attending:report(outcome)
end

return abandon
