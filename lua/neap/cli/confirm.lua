--- Confirmation before a guarded environment is changed: its name, typed. `--yes` stands for it; nothing stands for an
--- approval or a point of no return.
local failure = require "neap.cli.failure"

local confirm = {}

--- @param parser table
function confirm.add_option(parser)
  parser:flag("-y --yes", "start without typing the environment's name")
end

--- Raises unless the person types the environment's name; asks nothing where it is not guarded.
--- @param options table
--- @param environment string  full name
--- @param policy table
--- @param verb string
function confirm.start(options, environment, policy, verb)
  if policy.guard ~= "production" or options.yes then return end
  local console, name = options.console, environment:match "[^/]*$"
  if not console.may_ask then
    failure.needs_person(("%s is guarded: %s asks for its name, and nobody can be asked"):format(environment, verb),
      "add --yes")
  end
  local typed = console:ask(("** %s **  Type the environment's name to start: "):format(name:upper()))
  if typed == name then return end
  failure.needs_person("not started: that is not the environment's name", "type it as it is shown")
end

return confirm
