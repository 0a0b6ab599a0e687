--- How a run, a resume or a rollback ended, with its exit status (0 done, 1 failed before any change, 4 rolled back after
--- a failure, 5 stopped with changes in place, 6 rollback incomplete, 8 needs a person or the targets differ).
local data  = require "neap.engine.data"
local fault = require "native.error"

local outcome = {}

--- Where several statuses fit: 6, then 8, then 5.
local function exit_of(self, status, failure)
  if status == "done" or status == "abandoned" then return 0 end
  if status == "rolled back" then return self.failed and 4 or 0 end
  if status == "rollback incomplete" then return 6 end
  local needs_person = fault.is(failure) and (failure.kind == "paused" or failure.in_doubt ~= nil
    or failure.code == "drift" or failure.code == "window" or failure.code == "diverged" or failure.code == "identity")
  if needs_person then return 8 end
  if status == "failed" then return 1 end
  return 5
end

local function line_of(one)
  return { seq = one.seq, path = one.path, kind = one.kind, show = one.show, status = one.status,
    disposition = one.disposition, why = one.why, bracket = one.bracket }
end

--- @param self table   the session
--- @param status "done"|"stopped"|"failed"|"rolled back"|"rollback incomplete"|"abandoned"
--- @param failure? any
--- @return { status: string, exit: integer, failure: any, run: integer, step: table?, question: table?, changed: table[], in_doubt: table[], point_of_no_return: table? }
function outcome.of(self, status, failure)
  -- whoever asked for the end says more than the call that it cut short
  if self.pausing and fault.is(failure, "cancelled") then failure.message = self.pausing end
  local changed, in_doubt = {}, {}
  for _, one in ipairs(self.state:in_place()) do
    table.insert(one.status == "intended" and in_doubt or changed, line_of(one))
  end
  local at = self.failed_at or self.at -- a rollback after a failure stands elsewhere by now
  return data.shown {
    status = status, exit = exit_of(self, status, failure), failure = failure, run = self.number,
    environment = self.environment.name, procedure = self.state.first.procedure, arguments = self.procedure.arguments,
    step = at and { title = at.title, number = at.number, where = at.where, hint = at.hint } or nil,
    question = fault.is(failure) and failure.question or nil, changed = changed, in_doubt = in_doubt,
    point_of_no_return = self.state:point_of_no_return(), failed_branches = self.state:failed_branches(),
    by_person = self.state:by_person(), seconds = self:elapsed(),
    rehearsal = self.state.first.rehearsal and (self.state.closed and self.state.closed.rehearsal or "open") or nil,
  }
end

return outcome
