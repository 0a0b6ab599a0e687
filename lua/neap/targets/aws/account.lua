--- Which account, region and server a target of AWS lies in, and the client for it: made once in a run.
local credentials = require "neap.targets.aws.credentials"
local effect      = require "neap.engine.effect"
local fault       = require "native.error"
local known       = require "neap.targets.aws.known"
local shell       = require "neap.targets.shell"
local task        = require "native.task"

local account = {}

local CHANGE_TIMEOUT = 60 -- seconds

local OPTIONS = { profile = true, region = true, endpoint = true }

--- What names a client, as plain data: given, else of the environment, else of the profile. A plan takes all that is
--- changed by way of an account for changed.
--- @param service string
--- @param options { profile?: string, region?: string, endpoint?: string }
--- @return table
function account.target(service, options)
  local section = known.section()
  local profile = options.profile or section.profile
  return { service = service, profile = profile, endpoint = options.endpoint,
    region = options.region or section.region or credentials.region(profile),
    account = "AWS " .. (known.account(profile) or profile or "default") }
end

--- A target and what else names what is changed by way of it.
--- @param target table  of account.target
--- @param more table
--- @return table
function account.with(target, more)
  local one = {}
  for _, fields in ipairs { target, more } do
    for key, value in pairs(fields) do one[key] = value end
  end
  return one
end

--- Raises a mistake for an option that neither these are nor profile, region or endpoint.
--- @param options table?
--- @param names table<string, true>
--- @param level integer
--- @return table
function account.check_options(options, names, level)
  local all = {}
  for _, set in ipairs { names, OPTIONS } do
    for name in pairs(set) do all[name] = true end
  end
  shell.check_options(options, all, level + 1) -- no tail call: the level counts this function too
  return options or {}
end

--- The client of a target, made once in a run.
--- @param target table  of account.target
--- @return aws.client
function account.client(target) return known.client(target) end

--- Raises kind `denied` where the credentials are of another account than the environment's, or the plan's.
--- @param target table
--- @return aws.client  of the target
function account.meet(target) return known.meet(target) end

--- Calls an operation that reads, again where it got no answer.
--- @param target table
--- @param name string
--- @param parameters table
--- @param timeout? number  seconds; 60
--- @return table
function account.read(target, name, parameters, timeout)
  return account.meet(target):call(name, parameters, known.reading(timeout))
end

--- The same; nil where AWS says that it is not there.
--- @param target table
--- @param name string
--- @param parameters table
--- @return table?
function account.find(target, name, parameters)
  local ok, result = pcall(account.read, target, name, parameters)
  if ok then return result end
  if not fault.is(result, "missing") then error(result, 0) end
end

--- Calls an operation that changes something. repeatable: it may be sent again where it got no answer; happened: asked
--- before it is sent again (throttled, too), and where it says yes, nothing is sent and the result is nil.
--- @param target table
--- @param name string
--- @param parameters table
--- @param options { repeatable?: boolean, timeout?: number, happened?: fun(): boolean }
--- @return table?
function account.change(target, name, parameters, options)
  return account.client(target):call(name, parameters, { reads = false, repeatable = options.repeatable,
    timeout = options.timeout or CHANGE_TIMEOUT, happened = options.happened })
end

--- Seconds to wait until a request that was sent can no longer be carried out: its signature's.
--- @param target table
--- @param intent table
--- @return number
function account.late(target, intent)
  if intent.timeout == 0 then return 0 end
  return known.life(target.service)
end

--- A resource's take where AWS offers neither token nor condition: what is there already needs no waiting, for what is
--- late then brings the same once more; else the request is waited out, and the states are compared.
--- @param get fun(target: table): any
--- @return fun(target: table, id: string, intent: table)
function account.taken_by(get)
  return function(target, _, intent)
    if not effect.same(get(target), intent.after) then task.sleep(account.late(target, intent)) end
    return nil
  end
end

return account
