--- Services of a host, by its `service` command: System V, systemd and upstart alike.
local effect  = require "neap.engine.effect"
local fault   = require "native.error"
local hosts   = require "neap.targets.connection"
local shell   = require "neap.targets.shell"
local witness = require "neap.targets.witness"

local service = {}

local OPTIONS = { become = true }
local BRACKET_OPTIONS = { become = true, test = true }

local function target_of(host, name, options, known)
  options = shell.check_options(options, known or OPTIONS, 3)
  return { host = hosts.name(host), service = name, become = options.become or "root" }
end

local function status_of(target)
  local argv = { "service", target.service, "status" }
  return hosts.exec(target.host, argv, { become = target.become, reads = true, ok = "any", timeout = 60 })
end

local read_running = effect.read("service.running", function(target) return status_of(target).status == 0 end)

--- Whether a service runs, as its own `status` says.
--- @param host string|table
--- @param name string
--- @param options? { become?: string }
--- @return boolean
function service.running(host, name, options) return read_running(target_of(host, name, options)) end

local function check_running(target, verb)
  local result = status_of(target)
  if result.status == 0 then return end
  fault.raise {
    kind = "remote", host = target.host, code = result.status, output = result.out .. result.err,
    message = ("%s does not run on %s after its %s"):format(target.service, target.host, verb),
  }
end

-- A verb of `service`, once, and then whether the service runs.
local function declare(verb)
  effect.action("service." .. verb) {
    timeout = 600,
    run = function(target, _, call)
      local argv = { "service", target.service, verb }
      witness.run(target.host, call, argv, { become = target.become, timeout = call.timeout })
      check_running(target, verb)
    end,
    prepare = witness.prepare, take = witness.take, release = witness.release,
    show = function(target) return target.host .. " " .. target.service end,
    says = function() return verb end,
  }
end

declare "reload"
declare "restart"

local HARMLESS = { keep = "it leaves nothing behind that could be taken back" }

--- Reloads a service, once. Raises `remote` where it refuses or does not run afterwards.
--- @param host string|table
--- @param name string
--- @param options? { become?: string }  default root
function service.reload(host, name, options)
  effect.perform("service.reload", target_of(host, name, options), nil, HARMLESS)
end

--- Restarts a service, once. For a restart that belongs to a change see with_restart.
--- @param host string|table
--- @param name string
--- @param options? { become?: string }  default root
function service.restart(host, name, options)
  effect.perform("service.restart", target_of(host, name, options), nil, HARMLESS)
end

--- The program that says whether the configuration on disk is one. Raises `remote` with its own lines where it is none.
local read_test = effect.read("service.test", function(target, argv)
  local result = hosts.exec(target.host, argv, { become = target.become, reads = true, ok = "any", timeout = 60 })
  if result.status == 0 then return end
  local output = result.err .. result.out
  fault.raise {
    kind = "remote", host = target.host, code = result.status, output = output,
    message = ("%s failed on %s: %s"):format(shell.line(argv), target.host, output:match "[^\n]+" or "no output"),
  }
end)

local function bracket(kind, target, fn, test)
  return effect.bracket(kind, target, fn, test and { test = function() read_test(target, test) end })
end

--- Reloads a service after what `fn` changes on it; a rollback reloads it after that is put back. Nothing is reloaded
--- where fn changed nothing, or where `test` refuses what is on disk, which is then put back.
--- @param host string|table
--- @param name string
--- @param fn fun()
--- @param options? { become?: string, test?: string[] }  test: arguments of a program that reads the configuration, as
---   { "apache2ctl", "configtest" }
function service.with_reload(host, name, fn, options)
  return bracket("service.reload", target_of(host, name, options, BRACKET_OPTIONS), fn, options and options.test)
end

--- The same with a restart.
--- @param host string|table
--- @param name string
--- @param fn fun()
--- @param options? { become?: string, test?: string[] }
function service.with_restart(host, name, fn, options)
  return bracket("service.restart", target_of(host, name, options, BRACKET_OPTIONS), fn, options and options.test)
end

return service
