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
  examples = { "neap resume 142", 'neap resume 142 -p new=v89 --reason "a typo"',
               'neap resume 142 --code current --reason "the check looked at the wrong port"',
               "neap resume 142 --env encode/lab", "neap resume encode/lab/142 --no-input",
               'neap resume 142 --answer skip --reason "done on Monday, CHG-8812"' },
}

function resume.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--on-conflict", "in a rollback, what to do where somebody else changed a target")
    :choices { "stop", "keep", "overwrite" }:argname "HOW"
  parser:option("--answer", "answer what the run waits for: retry, by-hand, skip, back, done and so on")
    :argname "CHOICE"
  parser:option("-p", "go on with another argument, from the step on that it stopped at"):argname "NAME=VALUE"
    :count "*":target "param"
  parser:option("--code", "current: go on with the code as it is now, from that step on"):choices { "current" }
    :argname "WHICH"
  parser:option("--reason", "why, or what shows it"):argname "TEXT"
  parser:option("--to", "with --answer back: the step to go back to"):argname "STEP"
  parser:option("--whom", "with --answer hand-over: to whom"):argname "NAME"
  parser:flag("--foreground", "keep the run in this process, and end with it")
  outside.add_options(parser, true)
  confirm.add_option(parser)
end

--- A living worker is joined: it goes on as it does, and this terminal attends it too.
local function join(options, found, model)
  if options.answer or options.param[1] or options.code then
    failure.wrong_use(("run %d goes on, and asks who attends it"):format(found.run),
      ("neap resume %d --env %s"):format(found.run, found.environment))
  end
  local attending = take_up.attending(options, found, model)
  return attending:report(attending:during(function(request)
    return client.attend(request, found.folder, found.run, model.last.seq, options.console.may_ask)
  end, { state = found.folder }))
end

--- What the run is to go on with; nil: as it was.
local function amendment(options, found, back)
  local arguments = choice.arguments(options)
  if next(arguments) == nil then arguments = nil end
  if not arguments and not options.code then return nil end
  local named = ("neap resume %d --env %s"):format(found.run, found.environment)
  if arguments and options.code then
    failure.wrong_use("either -p or --code", named .. " --code current --reason WHY")
  end
  if back then failure.wrong_use("the run is on its way back: it goes on with nothing new", named) end
  if not options.reason then failure.wrong_use("a change on the way needs --reason", named .. " … --reason WHY") end
  return { arguments = arguments, reason = options.reason, agreed = options.yes,
    files = options.code and choice.procedure({ procedure = found.procedure }).files or nil }
end

function resume.run(options)
  local found = choice.open_run(options.run, options)
  local model = standing.of(found)
  model.window = outside.standing(model.policy)
  if not options.console.json then options.console:tell(view.resume(model, options.console.err)) end
  if model.alive and client.is_living(found.folder) then return join(options, found, model) end
  local given, change = answer.given(options, model), amendment(options, found, model.back)
  return take_up.start("resume", options, found, model,
    { answer = given, amendment = change, outside_window = outside.reason(options) })
end

return resume
