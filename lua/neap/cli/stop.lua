--- `neap stop`: has a run pause after the effect in hand, from any login; --kill ends its process.
local attend   = require "neap.cli.attend"
local choice   = require "neap.cli.choice"
local client   = require "neap.cli.client"
local failure  = require "neap.cli.failure"
local lines    = require "neap.engine.lines"
local process  = require "native.process"
local socket   = require "native.socket"
local standing = require "neap.cli.standing"

local stop = {
  summary = "have a running run pause after the effect in hand",
  examples = { "neap stop 142", "neap stop 142 --kill" },
}

function stop.arguments(parser)
  parser:argument("run", "its number, or <group>/<environment>/<number>")
  parser:option("--env", "the environment, where several have a run of that number"):argname "ENV"
  parser:flag("--kill", "end its process at once: what it was doing is in doubt until resume or rollback")
end

local function kill(model, run)
  local own = model.owner
  if own.host ~= process.hostname() or own.boot_id ~= process.boot_id() then
    failure.needs_person(("run %d is owned by a process on %s, or of an earlier boot"):format(run, own.host),
      ("neap resume %d"):format(run))
  end
  return process.kill(own.pid, own.start_time)
end

local function ask_to_pause(folder)
  local connection <close> = socket.connect(folder .. "/socket")
  connection:write(lines.encode { say = "attach", after = math.maxinteger, answers = false })
  connection:write(lines.encode { say = "interrupt", why = "stopped by " .. attend.actor() })
  for message in lines.reader(connection) do
    if message.type == "outcome" then return message.outcome end
  end
end

function stop.run(options)
  local found = choice.open_run(options.run, options)
  local model = standing.of(found)
  local console = options.console
  if not model.alive then
    console:answer(("Run %d does not run."):format(found.run))
    return 0
  end
  if options.kill then
    local killed = kill(model, found.run)
    console:answer(killed and "Its process is ended." or "Its process was gone already.")
    console:answer(("Next: neap resume %d, or neap rollback %d"):format(found.run, found.run))
    return 0
  end
  if not client.is_living(found.folder) then
    failure.needs_person(("run %d lives in a terminal's own process: press Ctrl-C there"):format(found.run),
      ("neap stop %d --kill"):format(found.run))
  end
  local outcome = ask_to_pause(found.folder)
  local said = outcome and ("Run %d: %s."):format(found.run, outcome.status)
  console:answer(said or ("The worker of run %d is gone."):format(found.run))
  return 0
end

return stop
