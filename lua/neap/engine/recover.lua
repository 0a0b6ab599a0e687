--- What a resume does first: every effect in doubt is settled by its target; what ran half is undone or asked about.
local branches = require "neap.engine.branch"
local call     = require "neap.engine.call"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local kinds    = require "neap.engine.kinds"
local undo     = require "neap.engine.undo"
local versions = require "neap.engine.versions"

local recover = {}

local PATIENCE = 300 -- seconds of trying to reach a target

local function write_end(self, doubtful, status, fields)
  local record = { type = "end", of = doubtful.seq, path = doubtful.path, status = status }
  for key, value in pairs(fields) do record[key] = value end
  self.writer:write(record)
end

local ASKED = { applied = "done", ["not applied"] = "void" }

local function why_unknown(verdict, detail)
  if verdict == "other" then return "its target is neither as it was before nor as it was to become" end
  return detail and tostring(detail) or verdict
end

--- A person looks where neap cannot know.
local function ask_about(self, doubtful, verdict, detail)
  local name = doubtful.show or doubtful.kind
  local choice = self:ask { kind = "in doubt", path = doubtful.path, options = { "applied", "not applied", "stop" },
    text = ("%s: it is not known whether %s happened: %s"):format(doubtful.path, name, why_unknown(verdict, detail)),
    shown = {
      before = doubtful.before, after = doubtful.after, now = verdict == "other" and data.plain(detail) or nil,
    } }
  if not ASKED[choice] then
    fault.raise { kind = "paused", message = ("%s is in doubt"):format(name), in_doubt = doubtful.seq }
  end
  write_end(self, doubtful, ASKED[choice], { how = "person" })
end

local function settle_one(run, doubtful)
  local self = versions.at(run, doubtful.seq)
  local kind = kinds.find(self, doubtful.kind)
  local branch = branches.new(self, { title = doubtful.path }, { path = doubtful.path, attempt = doubtful.attempt })
  local verdict, detail = call.settle(branch, kind, doubtful, self.settle_patience or PATIENCE, function(state, why)
    self:emit { type = "progress", path = doubtful.path, show = doubtful.show, text = state, failure = why }
    branch:check_going_on()
  end)
  if verdict == "done" then
    write_end(self, doubtful, "done", { how = "settled", result = data.plain(detail) })
  elseif verdict == "void" then
    write_end(self, doubtful, "void", { how = "settled" })
  elseif verdict == "partial" then
    write_end(self, doubtful, "partial", { how = "settled", failure = { kind = "remote", message = tostring(detail) } })
  elseif verdict == "unreachable" then
    local failure = fault.is(detail) and detail or fault.new { kind = "connect", message = tostring(detail) }
    failure.in_doubt = doubtful.seq
    error(failure, 0)
  else
    ask_about(self, doubtful, verdict, detail)
  end
  self:emit { type = "settled", path = doubtful.path, show = doubtful.show, verdict = verdict,
    said = verdict == "done" and type(detail) == "table" and detail.said or nil }
end

local function ask_about_half(self, one, why)
  local choice = self:ask { kind = "partial", path = one.path, options = { "again", "done", "stop" },
    text = ("%s ended half way and %s"):format(one.show or one.kind, why) }
  if choice == "stop" then fault.raise { kind = "paused", message = "stopped at " .. one.path } end
  write_end(self, one, choice == "again" and "void" or "done", { how = "person" })
end

--- Undoes what ended half way; where its undo fails too, a person says what now.
local function undo_half(self, one)
  local branch = branches.new(self, { title = one.path }, { path = one.path, attempt = one.attempt })
  local ok, failure = pcall(branch.within, branch, {}, undo.effect, one, function() return "overwrite" end)
  if ok then return end
  if not fault.is(failure, "remote") then error(failure, 0) end
  ask_about_half(self, one, "cannot be undone: " .. failure.message)
end

local function can_undo(self, one) return kinds.can_undo(kinds.find(self, one.kind), one) end

--- Effects of interrupted steps that ran half: undone where they have data for it, else a person says what now.
local function mend_partial(self)
  for _, one in ipairs(self.state:half_way()) do
    local step = self.state:step(one.path)
    if step and step.status == "open" and can_undo(self, one) then
      undo_half(self, one)
    elseif step and step.status == "open" then
      ask_about_half(self, one, "has no undo: " .. (one.failure and one.failure.message or ""))
    end
  end
end

--- Before a step that failed is attempted again: what ended half way is undone where it has data for it, else it is made on
--- top of its half, for somebody who saw it fail has said so.
--- @param self table   the session
--- @param path string  of the step or the branch
function recover.before_again(self, path)
  for _, one in ipairs(self.state:half_way()) do
    if one.path == path and one.disposition == "undo" and can_undo(self, one) then undo_half(self, one) end
  end
end

--- Settles all that is in doubt. Raises when something stays so; the run then stays as it is.
--- @param self table   the session
function recover.settle_all(self)
  for _, doubtful in ipairs(self.state:in_doubt()) do settle_one(self, doubtful) end
  if self.state.turn == "forward" then mend_partial(self) end
end

return recover
