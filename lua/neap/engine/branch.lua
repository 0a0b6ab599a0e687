--- Where a task stands in a run: the step, the branch of a fan-out, and what it recorded before it was interrupted, which
--- answers the same calls again. It is the task's context while a step runs.
local crypto = require "native.crypto"
local data   = require "neap.engine.data"
local fault  = require "native.error"
local fold   = require "neap.engine.fold"
local task   = require "native.task"

local branch = {}
branch.__index = branch

--- @param run table
--- @param step table      the step's definition
--- @param attempt table   as the fold has it: path, seq, attempt, recorded
--- @param stop? table     of the group it belongs to
function branch.new(run, step, attempt, stop)
  return setmetatable({
    run = run, step = step, path = attempt.path, attempt = attempt.attempt, stop = stop,
    -- shared with the contexts derived from this one
    cursor = { recorded = attempt.recorded or {}, last = #(attempt.recorded or {}), at = 1,
      carried = attempt.earlier and run.state:carried(attempt) },
    brackets = {},
  }, branch)
end

--- The branch the calling task stands in, or nil outside a run.
--- @return table?
function branch.current()
  local context = task.context()
  return type(context) == "table" and context.run and context or nil
end

--- Calls fn with the same branch, but with some fields of its own.
function branch:within(fields, fn, ...)
  return task.with_context(setmetatable(fields, { __index = self }), fn, ...)
end

local function diverged(self, item, what)
  fault.raise { kind = "conflict", code = "diverged",
    message = ("step %q took another way than before it was interrupted"):format(self.path),
    output = ("recorded: %s %s\nnow:      %s"):format(item.type, item.kind or "", what),
    hint = "undo this step and run it anew, or roll back" }
end

--- The next record of the interrupted life; what this life records itself is not among them.
local function upcoming(cursor) return cursor.at <= cursor.last and cursor.recorded[cursor.at] or nil end

--- What was recorded for this call, or nil when live calls have begun.
--- @param type "saw"|"effect"
--- @param digest string  of what is asked or changed
--- @param what string    for the error when it is another call than the recorded one
--- @return table? item
function branch:answer(type, digest, what)
  local cursor = self.cursor
  local item = upcoming(cursor)
  if not item then return nil end
  if item.type ~= type or fold.digest_of(item) ~= digest then diverged(self, item, what) end
  cursor.at = cursor.at + 1
  local half = item.status == "partial" and item.undone
  if item.status ~= "void" and item.status ~= "failed" and not half then return item end
  -- it did not happen: the next record is the call made again, or else it is to be made again now
  local following = upcoming(cursor)
  if not following or fold.digest_of(following) == digest then return self:answer(type, digest, what) end
  return item
end

--- Whether the next recorded item is this effect; then it is consumed.
function branch:consume(digest)
  local cursor = self.cursor
  local item = upcoming(cursor)
  if not item or fold.digest_of(item) ~= digest then return nil end
  cursor.at = cursor.at + 1
  return item
end

--- An action that an earlier attempt at this step made and that stands: it is not made again. nil: there is none.
function branch:carried_action(digest)
  local list = self.cursor.carried and self.cursor.carried.actions[digest]
  while list and #list > 0 do
    local item = table.remove(list, 1)
    if not item.undone then return item end
  end
end

--- The opening of a bracket that an earlier attempt has opened and not closed.
function branch:carried_opening(digest)
  local item = self.cursor.carried and self.cursor.carried.opened[digest]
  return item and not item.undone and item or nil
end

--- Raises when nothing new may be begun: the run is to pause, or a sibling has failed.
function branch:check_going_on()
  if self.run.pausing then fault.raise { kind = "cancelled", code = "paused", message = self.run.pausing } end
  if self.stop and self.stop.requested then
    fault.raise { kind = "cancelled", code = "sibling", message = "not begun, because another branch failed" }
  end
end

--- The digest by which a target is known within a run.
function branch.target_key(kind, target) return data.digest(kind, target) end

--- The name of an effect within a run, the same in the plan and in the run: path, kind, target and occurrence.
function branch:effect_key(kind, target)
  local run = self.run
  local key = self.path .. "\0" .. branch.target_key(kind.name, target)
  run.occurrences[key] = (run.occurrences[key] or 0) + 1
  return crypto.sha256(key .. "\0" .. run.occurrences[key])
end

return branch
