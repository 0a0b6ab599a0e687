--- `neap run`: carries a procedure out for an environment.
local begin  = require "neap.cli.begin"
local choice = require "neap.cli.choice"

local run = {
  summary = "run a procedure for an environment",
  examples = {
    "neap run encode/release --env lab -p version=64 -p old=63",
    "neap run encode/release --env lab -p version=64 -p old=63 --plan 3f9c1a",
    "neap run encode/release --env prod -p version=64 -p old=63 --no-input --yes --json",
  },
}

run.arguments = begin.add_options

function run.run(options) return begin.start("run", options, choice.request(options, "run")) end

return run
