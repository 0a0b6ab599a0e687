--- `neap run`: carries a procedure out for an environment.
local begin  = require "neap.cli.begin"
local choice = require "neap.cli.choice"

local run = {
  summary = "run a procedure for an environment",
  examples = {
    "neap run encode/release --env lab -p version=64 -p old=63",
    "neap run encode/release --env lab -p version=64 -p old=63 --plan 3f9c1a",
    "neap run encode/release --env prod -p version=64 -p old=63 --no-input --yes --json",
    "neap run encode/release --env prod -p version=64 -p old=63 --plan 3f9c1a --at 02:00",
  },
}

function run.arguments(parser)
  begin.add_options(parser)
  parser:option("--at", "begin at that time, by systemd: 02:00 is the next one; or 2026-12-01T02:00"):argname "TIME"
  parser:flag("--inhibit", "this machine neither shuts down nor sleeps while this command runs")
end

function run.run(options)
  local request = choice.request(options, "run")
  if options.at then return require "neap.cli.schedule".start(options, begin.prepare(options, request)) end
  if not options.inhibit then return begin.start("run", options, request) end
  return require "neap.cli.inhibit".during(options.console, "a run of neap", begin.start, "run", options, request)
end

return run
