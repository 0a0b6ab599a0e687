--- `neap log`: what a run did, record by record.
local choice   = require "neap.cli.choice"
local history  = require "neap.cli.history"
local standing = require "neap.cli.standing"
local view     = require "neap.cli.view.log"

local log = {
  summary = "show what a run did",
  examples = { "neap log 142", "neap log 142 -p", "neap log 142 --step 4.3", "neap log 142 --json",
               "neap log 142 --verify" },
}

local FOUND_PROBLEMS = 9

function log.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--step", "only this step: its number or title"):argname "STEP"
  parser:flag("-p --patch", "with the differences that were made")
  parser:flag("--all", "also reads, waits and what was as wanted")
  parser:flag("--verify", "only verify that the journal is whole")
end

--- The chain of hashes, whole or not; what is wrong with it is an answer here, not an error.
local function verify(run)
  return history.reading(run.folder, function(journal)
    local ok, count, head = pcall(journal.verify, journal, run.run)
    if ok then return { whole = true, records = count, head = head } end
    if not require "native.error".is(count) then error(count, 0) end
    return { whole = false, problem = count.message }
  end)
end

--- Raises where the run has no step of that number or title, with the nearest.
local function check_step(model, wanted)
  local names = {}
  for title, number in pairs(model.numbers) do
    if title == wanted or number == wanted then return end
    names[#names + 1] = title
  end
  local near, failure = require "neap.near", require "neap.cli.failure"
  failure.wrong_use(("the run has begun no step '%s'.%s"):format(wanted, near.question(wanted, names)),
    ("neap log %d --all"):format(model.run.run))
end

local function print_records(console, model)
  local event = require "neap.cli.view.json".event
  for _, record in ipairs(model.records) do console:answer_json(event(record)) end
end

function log.run(options)
  local console = options.console
  local run = choice.run(options.run, options)
  local chain = verify(run)
  if options.verify then
    if console.json then console:answer_json(chain) else console:answer(view.chain(chain, run, console.out)) end
    return chain.whole and 0 or FOUND_PROBLEMS
  end
  local model = standing.of(run)
  if options.step then check_step(model, options.step) end
  model.chain, model.summary = chain, standing.summary(model)
  if console.json then return print_records(console, model) or 0 end
  console:show(view.text(model, console.out, options))
end

return log
