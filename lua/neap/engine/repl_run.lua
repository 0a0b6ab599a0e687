--- The session of `neap repl`: it reads, until a person begins a run in it, whose steps are the lines that they type. It
--- keeps its connections over the beginning and the end of such runs.
local approval  = require "neap.engine.approval"
local fault     = require "native.error"
local fold      = require "neap.engine.fold"
local notify    = require "neap.engine.notify"
local outcome   = require "neap.engine.outcome"
local outlook   = require "neap.engine.outlook"
local recover   = require "neap.engine.recover"
local rehearsed = require "neap.engine.rehearsed"
local repl      = require "neap.engine.repl"
local rollback  = require "neap.engine.rollback"
local session   = require "neap.engine.session"
local step_path = require "neap.engine.step_path"
local task      = require "native.task"

local repl_run = {}

-- ---- reading ----

--- Where nothing is journaled, what lines read is written down nowhere.
local NOWHERE = { append = function(_, record) return record end, write = function(_, record) return record end,
  flush = function() end }

local function only_read(self)
  self.writer, self.state, self.number, self.uid = NOWHERE, fold.new(), nil, nil
  return self
end

--- A session that may read alone. It has no lease, and is to be left.
--- @param given table  environment, procedure, files, arguments, state, on_event, ask, prompt, as run.start takes them
--- @return table session
function repl_run.open(given) return only_read(session.prepare(given)) end

--- Whether a run is open in the session.
--- @param self table
--- @return boolean
function repl_run.is_writing(self) return self.number ~= nil end

-- ---- writing ----

local function refuse(environment, code, what, hint)
  fault.raise { kind = "denied", code = code, where = "", hint = hint,
    message = ("%s asks for %s, and lines have none: they may read alone"):format(environment.name, what) }
end

--- Nobody has approved of a line before it is typed, or tried it elsewhere.
local function refuse_by_policy(environment)
  local policy = environment.policy or {}
  if approval.demand(policy) then
    refuse(environment, "approval", "approvals", "write a procedure, and have its plan approved")
  end
  if rehearsed.demand(policy) then
    refuse(environment, "rehearsal", "rehearsals", "write a procedure, and rehearse it")
  end
end

--- Begins a run: takes the lease. Raises where the environment asks for approvals or rehearsals, outside its window without
--- a reason, and where another run has the lease or is open; nothing is changed then.
--- @param self table  a session that reads
--- @param given { state: string|table, actor: string, why?: string, outside_window?: string }
function repl_run.begin(self, given)
  refuse_by_policy(self.environment)
  outlook.require(self, given.outside_window)
  local ok, failure = pcall(self.begin, self, { state = given.state, actor = given.actor, kind = "repl" })
  if not ok then
    only_read(self)
    error(failure, 0)
  end
  if self.outside then outlook.note(self, self.outside, given.actor) end
  if given.why then
    self.writer:write { type = "note", kind = "why", text = "changed by lines because: " .. given.why,
      who = given.actor }
  end
end

--- Takes up the run of a session that was cut short: asks the targets about what is in doubt. Raises where something stays
--- so; the run then stays as it is.
--- @param given table  state, run, actor, on_event, ask, as run.resume takes them
--- @return table session
function repl_run.take_up(given)
  local self = session.reopen(given)
  local ok, failure = pcall(function()
    if self.state.turn == "back" then
      fault.raise { kind = "conflict", where = "", message = ("run %d is on its way back"):format(self.number),
        hint = ("neap resume %d: goes to its end"):format(self.number) }
    end
    recover.settle_all(self)
    repl.close_all(self)
  end)
  if ok then return self end
  self:leave()
  error(failure, 0)
end

--- What was typed last comes first: each line, or step, with effects in place, and where it began.
local function in_place(self)
  local units, of = {}, {}
  for _, one in ipairs(self.state:in_place()) do
    local path = step_path.root(one.path)
    if not of[path] then
      of[path] = { path = path, effects = {}, from = self.state:step(path).first_seq }
      table.insert(units, of[path])
    end
    if not one.bracket then table.insert(of[path].effects, { show = one.show, seq = one.seq }) end
  end
  table.sort(units, function(a, b) return a.from > b.from end)
  return units
end

--- Takes back what the last lines have changed, newest first. Raises what rollback.from raises.
--- @param self table  a session that writes
--- @param count integer  how many lines that have changed something
--- @param who string?
--- @return { path: string, effects: { show: string }[] }[] undone  newest first
function repl_run.undo(self, count, who)
  local units = in_place(self)
  local undone = table.move(units, 1, math.min(count, #units), 1, {})
  local last = undone[#undone]
  if not last then return {} end
  local more = #undone > 1 and " and what came after it" or ""
  local text = "taken back: " .. last.path .. more
  rollback.from(self, last.from, last.path, { type = "note", kind = "undo", text = text, who = who })
  return undone
end

--- Closes the run, and reads on. What the lines changed stays.
--- @param self table  a session that writes
--- @return table outcome  with unclosed, as repl.unclosed gives it
function repl_run.close(self)
  local unclosed = repl.unclosed(self)
  self:close "done"
  local ended = outcome.of(self, "done")
  ended.unclosed = unclosed
  repl_run.put_down(self)
  return ended
end

--- Lets go of the lease and reads on. The run stays open.
--- @param self table
--- @return table outcome
function repl_run.put_down(self, failure)
  local ended = outcome.of(self, "stopped", failure)
  task.shield(notify.finish, self)
  self:give_back()
  only_read(self)
  return ended
end

return repl_run
