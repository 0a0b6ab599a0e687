--- What run and rehearse share: a run is begun by a worker, or here, and attended to its end.
local attend     = require "neap.cli.attend"
local choice     = require "neap.cli.choice"
local client     = require "neap.cli.client"
local confirm    = require "neap.cli.confirm"
local failure    = require "neap.cli.failure"
local fs         = require "native.fs"
local outside    = require "neap.cli.outside"
local rehearsals = require "neap.cli.rehearsals"
local state      = require "neap.state"

local begin = {}

--- @param parser table
function begin.add_options(parser)
  choice.add_options(parser)
  parser:option("--plan", "stop at the first target that differs from what this plan saw"):argname "ID"
  parser:flag("--foreground", "keep the run in this process, and end with it")
  outside.add_options(parser)
  confirm.add_option(parser)
end

local function saved_plan(id, folder, procedure)
  local json = require "native.json"
  local line = fs.exists(folder .. "/journal.db")
    and require "neap.cli.history".reading(folder, function(journal) return journal.store:plan(id) end)
  if not line then failure.wrong_use(("no plan '%s' for this environment"):format(id), "neap plan " .. procedure) end
  local plan = json.decode(line)
  if plan.procedure ~= procedure then
    failure.wrong_use(("plan %s is one of %s"):format(id, plan.procedure), "neap plan " .. procedure)
  end
  plan.phases = nil -- for approvers
  return plan
end

--- What the engine needs beside what was named.
--- @param options table  of the command line
--- @param request table  as choice.request gives it
--- @return table request
function begin.prepare(options, request)
  request.state = state.folder(request.environment.name)
  request.plan = options.plan and saved_plan(options.plan, request.state, request.name) or nil
  request.outside_window = outside.reason(options)
  request.rehearsals = rehearsals.places(request.environment)
  return request
end

--- @param verb "run"|"rehearse"
--- @param options table  of the command line
--- @param request table  as choice.request gives it
--- @return integer status
function begin.start(verb, options, request)
  local env = begin.prepare(options, request).environment
  confirm.start(options, env.name, env.policy, verb)
  local attending = attend.new { console = options.console, environment = env.name }
  local outcome = failure.leased(request.state, env.name, function()
    return attending:during(client.calling("run", options), request)
  end)
  return attending:report(outcome)
end

return begin
