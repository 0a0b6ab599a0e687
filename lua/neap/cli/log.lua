--- `neap log`: what a run did, record by record.
local choice   = require "neap.cli.choice"
local history  = require "neap.cli.history"
local standing = require "neap.cli.standing"
local view     = require "neap.cli.view.log"

local log = {
  summary = "show what a run did",
  examples = { "neap log 142", "neap log 142 -p", "neap log 142 -f", "neap log 142 --step 4.3", "neap log 142 --json",
               "neap log 142 --verify", "journalctl -t neap | neap log --verify --anchors -",
               "neap log --export --env encode/lab" },
}

local FOUND_PROBLEMS = 9

function log.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>; with --verify or --export all runs"):args "?"
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:option("--step", "only this step: its number or title"):argname "STEP"
  parser:flag("-p --patch", "with the differences that were made")
  parser:flag("-f --follow", "go on as it goes on, until it is closed or nobody carries it out")
  parser:flag("--all", "also reads, waits and what was as wanted")
  parser:flag("--verify", "only verify that the journal is whole")
  parser:option("--anchors", "verify against the heads that this log holds, too (- reads it from the input)")
    :argname "FILE"
  parser:flag("--export", "every record as a line of JSON, with contents in place and secrets as references")
end

local function anchors_in(file, environment)
  if not file then return nil end
  local text = file == "-" and io.read "a" or require "native.fs".read(file)
  return function(name) return require "neap.engine.audit".anchors(text, name or environment) end
end

--- The environments whose journals are meant: those of the run named, of --env, or all.
local function journals(options)
  if not options.run then return choice.journals(options.env) end
  local run = choice.run(options.run, options)
  return { run.environment }, { [run.environment] = run.folder }, run.run
end

--- Verifies whole journals, with what stands between the runs; of one run its own result alone.
local function verify_all(options)
  local environments, folders, only = journals(options)
  local read_anchors = anchors_in(options.anchors)
  local results, damaged = {}, false
  for _, name in ipairs(environments) do
    local found = history.reading(folders[name], function(journal)
      return require "neap.engine.audit".all(journal.store, read_anchors and read_anchors(name))
    end)
    for _, result in ipairs(found) do
      if not only or result.run == only then
        result.environment, result.hashes = name, nil
        damaged = damaged or result.problem ~= nil
        results[#results + 1] = result
      end
    end
  end
  return results, damaged
end

local function export(options)
  local environments, folders, only = journals(options)
  local safe = require "neap.cli.view.json".safe
  for _, name in ipairs(environments) do
    history.reading(folders[name], function(journal)
      local runs = journal.store:runs()
      for i = #runs, 1, -1 do
        if not only or runs[i].run == only then
          require "neap.engine.audit".export(journal.store, runs[i].run, function(record)
            options.console:answer_json(safe(record))
          end)
        end
      end
    end)
  end
  return 0
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
  if options.export then return export(options) end
  if options.verify or options.anchors then
    local results, damaged = verify_all(options)
    if console.json then console:answer_json(results) else console:answer(view.chains(results, console.out)) end
    return damaged and FOUND_PROBLEMS or 0
  end
  if not options.run then
    require "neap.cli.failure".wrong_use("log needs a run, or --verify or --export for all", "neap runs")
  end
  local run = choice.run(options.run, options)
  if options.follow then return require "neap.cli.follow"(run, console) or 0 end
  local chain = history.chain(run)
  local model = standing.of(run)
  if options.step then check_step(model, options.step) end
  model.chain, model.summary = chain, standing.summary(model)
  if console.json then return print_records(console, model) or 0 end
  console:show(view.text(model, console.out, options))
end

return log
