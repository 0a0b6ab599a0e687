--- `neap resume`: goes on with a run that stopped, after asking the targets what became of what is in doubt.
local answer   = require "neap.cli.answer"
local choice   = require "neap.cli.choice"
local client   = require "neap.cli.client"
local confirm  = require "neap.cli.confirm"
local failure  = require "neap.cli.failure"
local outside  = require "neap.cli.outside"
local standing = require "neap.cli.standing"
local take_up  = require "neap.cli.take_up"
local view     = require "neap.cli.view.standing"

local resume = {
  summary = "go on with a run that stopped",
  examples = { "neap resume 142", "neap resume 142 --env encode/lab", "neap resume encode/lab/142 --no-input",
               'neap resume 142 --answer skip --reason "done on Monday, CHG-8812"' },
}

function resume.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--on-conflict", "in a rollback, what to do where somebody else changed a target")
    :choices { "stop", "keep", "overwrite" }:argname "HOW"
  parser:option("--answer", "answer what the run waits for: retry, by-hand, skip, back, done and so on")
    :argname "CHOICE"
  parser:option("--reason", "why, or what shows it"):argname "TEXT"
  parser:option("--to", "with --answer back: the step to go back to"):argname "STEP"
  parser:option("--whom", "with --answer hand-over: to whom"):argname "NAME"
  parser:flag("--foreground", "keep the run in this process, and end with it")
  outside.add_options(parser, true)
  confirm.add_option(parser)
end

--- A living worker is joined: it goes on as it does, and this terminal attends it too.
local function join(options, found, model)
  if options.answer then
    failure.wrong_use(("run %d goes on, and asks who attends it"):format(found.run),
      ("neap resume %d --env %s"):format(found.run, found.environment))
  end
  local attending = take_up.attending(options, found, model)
  return attending:report(attending:during(function(request)
    return client.attend(request, found.folder, found.run, model.last.seq, options.console.may_ask)
  end, { state = found.folder }))
end

function resume.run(options)
  local found = choice.open_run(options.run, options)
  local model = standing.of(found)
  model.window = outside.standing(model.policy)
  if not options.console.json then options.console:tell(view.resume(model, options.console.err)) end
  if model.alive and client.is_living(found.folder) then return join(options, found, model) end
  local given = answer.given(options, model)
  return take_up.start("resume", options, found, model, { answer = given, outside_window = outside.reason(options) })
end

return resume
