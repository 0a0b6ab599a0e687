--- What went wrong, as a text for the person and a status for the shell.
local fault = require "native.error"
local view  = require "neap.cli.view.failure"

local failure = {}

local FAILED, WRONG_USE, LEASED, NEEDS_PERSON, INTERNAL = 1, 2, 7, 8, 70

--- Raises: the command was given wrongly. Exit status 2.
--- @param message string  one line
--- @param next_command string
function failure.wrong_use(message, next_command)
  fault.raise { kind = "protocol", message = message, where = "", exit = WRONG_USE, next = { next_command } }
end

--- Raises: somebody must decide, and nobody can be asked. Exit status 8.
--- @param message string
--- @param next_command string
function failure.needs_person(message, next_command)
  fault.raise { kind = "denied", message = message, where = "", exit = NEEDS_PERSON, next = { next_command } }
end

--- Calls a search for what the command line names; that it is not there is wrong use.
--- @generic T
--- @param find fun(...): T
--- @return T
function failure.named(find, ...)
  local ok, found, more = pcall(find, ...)
  if ok then return found, more end
  if fault.is(found) and (found.kind == "missing" or found.kind == "conflict") then
    failure.wrong_use(found.message, found.hint)
  end
  error(found, 0)
end

--- Who holds the environment, from its journal: the newest run that is open.
local function holder(folder)
  local ok, runs = pcall(require "neap.cli.history".of, "", folder)
  for _, run in ipairs(ok and runs or {}) do
    if not run.outcome then return run end
  end
end

--- Calls `act`; a refusal because another has the lease says who, since when, and how to join or end it.
--- @param folder string  of the environment
--- @param environment string  full name
--- @param act fun(): any
function failure.leased(folder, environment, act)
  local ok, result = pcall(act)
  if ok then return result end
  local run = fault.is(result) and result.code == "leased" and holder(folder)
  if run then
    local named = ("%d --env %s"):format(run.run, environment)
    result.message = ("%s is leased by run %d, %s, of %s since %s"):format(environment, run.run, run.procedure,
      tostring(run.actor), require "neap.cli.view.time".minute(run.started))
    result.where, result.state = "", "Nothing was changed."
    result.next = { "neap log " .. named, "neap resume " .. named, "neap rollback " .. named }
  end
  error(result, 0)
end

--- Calls `act`, of which all that it raises comes before any change: the error says so.
--- @generic T
--- @param act fun(...): T
--- @return T
function failure.before_change(act, ...)
  local ok, result = pcall(act, ...)
  if ok then return result end
  if fault.is(result) then result.state = result.state or "Nothing was changed." end
  error(result, 0)
end

--- The exit status that an error ends neap with.
--- @param problem table
--- @return integer
function failure.status(problem)
  local by_code = { leased = LEASED, usage = WRONG_USE, drift = NEEDS_PERSON, identity = NEEDS_PERSON,
                    approval = NEEDS_PERSON, window = NEEDS_PERSON, rehearsal = NEEDS_PERSON }
  return problem.exit or by_code[problem.code] or FAILED
end

--- Neap's own chunks are named neap/…; a string error from elsewhere is a mistake in a procedure.
local function is_internal(text) return text:find "^neap/" ~= nil or not text:find "^[^\n]-:%d+: " end

--- A value that is missing is given by -p.
local function add_hint(problem)
  if problem.code == "usage" and problem.name and not problem.hint then
    problem.hint = ("add  -p %s=VALUE"):format(problem.name)
  end
  return problem
end

local function from_text(text, trace)
  local internal = is_internal(text)
  return {
    message = internal and "a mistake in neap itself: " .. text or text, exit = internal and INTERNAL or FAILED,
    trace = os.getenv "NEAP_DEBUG" and trace or nil, hint = internal and not os.getenv "NEAP_DEBUG"
      and "NEAP_DEBUG=1 before the command shows where" or nil,
  }
end

--- Prints what was raised.
--- @param raised any
--- @param trace? string
--- @param console neap.console
--- @return integer status
function failure.report(raised, trace, console)
  local problem = fault.is(raised) and add_hint(raised) or from_text(tostring(raised), trace)
  console:tell(view.problem(problem, console.err))
  if problem.trace then console:tell(table.concat(console.err:lines(problem.trace), "\n")) end
  return failure.status(problem)
end

return failure
