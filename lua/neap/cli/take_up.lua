--- What resume and rollback share: a run that is there is taken up by a worker, or here, and attended to its end.
local attend  = require "neap.cli.attend"
local client  = require "neap.cli.client"
local confirm = require "neap.cli.confirm"
local failure = require "neap.cli.failure"

local take_up = {}

--- What attends a run from its first record on, as far as there are any.
--- @param options table
--- @param found table  the run, as choice gives it
--- @param model table  as standing.of gives it
--- @return table attending
function take_up.attending(options, found, model)
  local attending = attend.new { console = options.console, environment = found.environment }
  attending:replay(model.records)
  return attending
end

--- @param verb "resume"|"rollback"
--- @param options table
--- @param found table
--- @param model table
--- @param request table  what the engine is to be asked beside the run
--- @return integer status
function take_up.start(verb, options, found, model, request)
  confirm.start(options, found.environment, model.policy, verb)
  local attending = take_up.attending(options, found, model)
  request.state, request.run, request.on_conflict = found.folder, found.run, options.on_conflict
  request.after = model.last and model.last.seq
  return attending:report(failure.leased(found.folder, found.environment, function()
    return attending:during(client.calling(verb, options), request)
  end))
end

return take_up
