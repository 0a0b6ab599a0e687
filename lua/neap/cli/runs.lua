--- `neap runs`: what ran when, by whom, and how it ended.
local choice   = require "neap.cli.choice"
local history  = require "neap.cli.history"
local standing = require "neap.cli.standing"
local state    = require "neap.state"
local view     = require "neap.cli.view.runs"

local runs = {
  summary = "list the runs",
  examples = { "neap runs", "neap runs --env prod" },
}

function runs.arguments(parser)
  parser:option("--env", "only of this environment"):argname "ENV"
  parser:option("-n --last", "only the last so many"):argname "N":convert(math.tointeger):default "20"
end

local function all_of(options)
  if not options.env then return history.all() end
  local all = {}
  local names, folders = choice.journals(options.env)
  for _, name in ipairs(names) do
    for _, run in ipairs(history.of(name, folders[name])) do all[#all + 1] = run end
  end
  return all
end

local function entry(run)
  local model = standing.of(run)
  return {
    run = run.run, environment = run.environment, procedure = run.procedure, arguments = run.arguments,
    actor = run.actor, started = run.started,
    ended = run.ended or (not model.alive and model.last and model.last.time) or nil,
    outcome = run.outcome, alive = model.alive, step = model.step, number = model.number, in_doubt = #model.in_doubt,
    standing = standing.summary(model), point_of_no_return = model.point ~= nil,
    rehearsal = run.rehearsal,
  }
end

function runs.run(options)
  local console, list = options.console, {}
  for i, run in ipairs(all_of(options)) do
    if i > options.last then break end
    list[i] = entry(run)
  end
  if console.json then return console:answer_json { runs = list } and 0 end
  console:answer(view.text({ runs = list, known = state.known() }, console.out))
end

return runs
