--- `neap show`: what a procedure asks for, what it does, and where it cannot be turned back any more.
local choice     = require "neap.cli.choice"
local rehearsals = require "neap.cli.rehearsals"
local view       = require "neap.cli.view.show"

local show = {
  summary = "show a procedure: parameters, phases, points of no return",
  examples = { "neap show encode/release", "neap show encode/release --env lab --steps" },
}

function show.arguments(parser)
  choice.add_options(parser)
  parser:flag("--steps", "every step, with its line in the file")
end

--- What is shown of a step: no code, which JSON could not carry.
local function plain_step(step)
  return {
    number = step.number, title = step.title, kind = step.kind, where = step.where, phase = step.phase,
    irreversible = step.irreversible, keep = step.keep, hint = step.hint, from = step.from,
    has_undo = step.undo ~= nil or nil,
  }
end

local function model(options)
  local found = choice.procedure(options)
  local env = options.env and choice.environment(options, found, "show") or nil
  local loaded = require "neap.engine.procedure".load {
    files = found.files, path = found.path, environment = env, arguments = choice.arguments(options), showing = true,
  }
  local phases = {}
  for i, phase in ipairs(loaded.phases) do
    phases[i] = { title = phase.title, steps = {} }
    for j, step in ipairs(phase.steps) do phases[i].steps[j] = plain_step(step) end
  end
  return {
    name = found.name, path = found.path, title = loaded.title, parameters = loaded.parameters, phases = phases,
    rehearsed = env and rehearsals.standing(env, found.name, found.files) or nil,
    guides = loaded.guides, environments = choice.environment_names(found.group),
  }
end

function show.run(options)
  local console = options.console
  local found = model(options)
  if console.json then return console:answer_json(found) and 0 end
  console:show(options.steps and view.steps(found, console.out) or view.text(found, console.out))
end

return show
