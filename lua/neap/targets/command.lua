--- Commands that change something, as effects: what host:run and host:shell perform.
local effect  = require "neap.engine.effect"
local secret  = require "native.secret"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local function run(target, command, data, call)
  return witness.run(target.host, call, command, { become = target.become, cwd = target.cwd, env = target.env,
    input = data.input, ok = data.ok, timeout = call.timeout })
end

--- Target { host, command (a list or a text), become, cwd, env }, data { input, ok }, undo { command }. Exactly once:
--- it runs as a witnessed command, and is undone, if it has an undo, by one of its own.
effect.action "command.run" {
  prepare = witness.prepare,
  run = function(target, data, call) return run(target, target.command, data, call) end,
  undo = function(target, undo, call) return run(target, undo.command, {}, call) end,
  undo_needs_data = true,
  take = function(target, id, intent)
    return witness.take(target, id, intent, not intent.undoes and intent.data and intent.data.ok or nil)
  end,
  release = witness.release,
  show = function(target)
    local become = target.become and (" (as %s)"):format(target.become) or ""
    return ("%s %s%s"):format(target.host, shell.line(target.command), become)
  end,
  says = function(data)
    return data.input and ("with %d bytes of input"):format(secret.size(data.input)) or "runs once"
  end,
}
