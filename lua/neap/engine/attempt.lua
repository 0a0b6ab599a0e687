--- One attempt at a step, or at one branch of its fan-out: begun in the journal, run as a branch, ended in the journal.
local branches = require "neap.engine.branch"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local recover  = require "neap.engine.recover"
local task     = require "native.task"

local attempt = {}

local INTERRUPTS = { cancelled = true, journal = true, fenced = true, paused = true }

--- Whether an error says that the step was interrupted, not that it failed: it then stays open in the journal.
--- @param failure any
--- @return boolean
function attempt.interrupts(failure)
  return fault.is(failure) and (INTERRUPTS[failure.kind] or failure.in_doubt ~= nil or failure.code == "diverged"
    or failure.code == "drift" or failure.code == "identity")
end

--- The attempt as the fold has it: the interrupted one, or a new one.
local function begin(run, step, path, fields)
  local known = run.state:step(path)
  if known and known.status == "open" then return known end
  local record = { type = "step", path = path, attempt = known and known.attempt + 1 or 1, undo = step.disposition,
    why = step.irreversible or step.keep, title = step.title, number = step.number }
  for key, value in pairs(fields or {}) do record[key] = value end
  run.writer:write(record)
  return run.state:step(path)
end

--- Runs fn(...) as an attempt at `path`, unless it is done already. Returns its result, which is plain data.
--- @param run table
--- @param step table     definition; step.disposition says what a rollback does with it
--- @param path string    the step's title, or title/branch
--- @param options { stop?: table, fields?: table }
--- @param fn function
--- @return any result
--- @return boolean? skipped  in a plan: whether the step's `when` said no
function attempt.run(run, step, path, options, fn, ...)
  local known = run.state:step(path)
  if known and known.status == "done" then return data.plain(known.result) end
  if run.planning then
    local branch = branches.new(run, step, { path = path, attempt = 1 })
    return task.with_context(branch, fn, ...), branch.skipped
  end
  branches.new(run, step, { path = path, attempt = 0 }, options.stop):check_going_on()
  if known and known.status == "failed" then recover.before_again(run, path) end
  local current = begin(run, step, path, options.fields)
  local branch = branches.new(run, step, current, options.stop)
  local ok, result = pcall(task.with_context, branch, fn, ...)
  if not ok then
    if not attempt.interrupts(result) then
      run.writer:write { type = "end", of = current.seq, path = path, status = "failed",
        failure = data.failure(result) }
    end
    error(result, 0)
  end
  result = data.plain(result)
  run.writer:write { type = "end", of = current.seq, path = path, status = "done", result = result,
    skipped = branch.skipped }
  return result
end

--- Ends a step by a person's word, as an attempt of its own.
--- @param run table
--- @param step table
--- @param status "done"|"skipped"
--- @param answer { who: string?, reason: string? }
function attempt.by_person(run, step, status, answer)
  local current = begin(run, step, step.title, { how = "person" })
  run.writer:write { type = "end", of = current.seq, path = step.title, status = status, how = "person",
    who = answer.who, reason = answer.reason }
end

return attempt
