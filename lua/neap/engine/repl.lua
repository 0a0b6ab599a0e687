--- Lines of Lua that a person types within a run. Each is a step `repl/N` of its own: its reads happen at once, each of its
--- changes is shown and asked about before, and stands in the journal like any other.
local approval  = require "neap.engine.approval"
local attempt   = require "neap.engine.attempt"
local branches  = require "neap.engine.branch"
local data      = require "neap.engine.data"
local fault     = require "native.error"
local fold      = require "neap.engine.fold"
local sandbox   = require "neap.engine.sandbox"
local secret    = require "native.secret"
local step_path = require "neap.engine.step_path"
local task      = require "native.task"

local repl = {}

local CHUNK = "=load line" -- which sandbox.is_foreign knows for a procedure's

-- ---- a line ----

local function lacks_its_end(message) return message:find "near '?<eof>'?$" ~= nil end

--- The function of a line: of an expression, which it returns, or of statements.
--- @param text string
--- @param globals table
--- @return function? fn
--- @return string? message  what is wrong with it
--- @return boolean? unfinished  it may go on in another line
function repl.compile(text, globals)
  local fn, of_expression = load("return " .. text, CHUNK, "t", globals)
  if fn then return fn end
  local message
  fn, message = load(text, CHUNK, "t", globals)
  if fn then return fn end
  local goes_on = lacks_its_end(message) or lacks_its_end(of_expression)
  return nil, (message:gsub("^load line:%d+: ", "")), goes_on
end

--- What a line sees: what the procedure's steps see, its arguments as `arg`, what earlier lines have set, and `extra`.
--- @param self table  the session
--- @param extra? table<string, any>
--- @return table globals
--- @return { own: table, set: table<string, true>, used: table<string, true>, extra: table<string, true> } noted  what lines
---   have set; and the names of it, and of extra, that were set and read since who looks emptied these
function repl.globals(self, extra)
  local noted = { own = {}, set = {}, used = {}, extra = {} }
  local function index(_, name)
    if noted.own[name] ~= nil then
      noted.used[name] = true
      return noted.own[name]
    end
    if name == "arg" then return sandbox.frozen(self.procedure.arguments) end
    if extra and extra[name] ~= nil then
      noted.extra[name] = true
      return extra[name]
    end
    return self.procedure.globals[name]
  end
  local function set(_, name, value) noted.own[name], noted.set[name] = value, true end
  return setmetatable({}, { __index = index, __newindex = set, __metatable = false }), noted
end

--- A value as the journal and a client can have it.
--- @param value any
--- @return any
function repl.showable(value)
  if type(value) == "function" or type(value) == "thread" then return type(value) end
  if value ~= value or value == math.huge or value == -math.huge then return tostring(value) end
  local ok, plain = pcall(data.plain, value)
  if ok and pcall(data.digest, plain) then return plain end
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta.__tostring and secret.redact(tostring(value)) or type(value)
end

--- The values that a line gave, each in a box, for one may be nil.
local function evaluate(fn)
  local values, list = table.pack(fn()), {}
  for i = 1, values.n do list[i] = { value = repl.showable(values[i]) } end
  return list
end

-- ---- its changes ----

local function refuse_unapproved(self)
  if not approval.demand(self.environment.policy or {}) then return end
  fault.raise { kind = "denied", code = "approval", where = "",
    message = ("%s asks for approvals, and a line has none: it may read alone"):format(self.environment.name) }
end

--- Asks before a change of a line; one at a time, for a line may have tasks. "all" answers for the rest of the line.
local function ask_about(self, change)
  refuse_unapproved(self)
  while self.asking_of_line do task.sleep(0.05) end
  if self.line_agreed then return self:emit { type = "agreed", shown = change } end
  self.asking_of_line = true
  local ok, answer = pcall(self.answerer, data.shown { kind = "shell change", options = { "yes", "no", "all" },
    shown = change, text = "apply?", environment = self.environment.name })
  self.asking_of_line = nil
  if not ok then error(answer, 0) end
  if not answer then fault.raise { kind = "paused", where = "", message = "nobody said whether to apply it" } end
  self.line_agreed = answer.choice == "all"
  if answer.choice == "no" then
    fault.raise { kind = "denied", code = "declined", where = "", message = "not applied" }
  end
end

-- ---- running it ----

local function next_number(self)
  local last = 0
  for _, path in ipairs(self.state.step_order) do
    last = math.max(last, step_path.line_number(path) or 0)
  end
  return last + 1
end

--- Waits for the task of a line; when we are cancelled, it is.
local function wait_for(line)
  local waited, ok, result = pcall(line.wait, line)
  if waited then return ok, result end
  line:cancel()
  task.shield(line.wait, line)
  error(ok, 0)
end

--- A line that was cut short has no end yet; it is over all the same, for no line is ever run again.
local function close(self, path, failure)
  local known = self.state:step(path)
  if not known or known.status ~= "open" then return end
  self.writer:write { type = "end", of = known.seq, path = path, status = "failed",
    failure = data.failure(failure) }
end

local ENDS_RUN = { journal = true, fenced = true, paused = true }

--- Whether what a line raised is more than the line's own failure.
local function ends_run(self, failure)
  return self.pausing ~= nil or fault.is(failure) and (ENDS_RUN[failure.kind] or failure.in_doubt ~= nil)
end

--- A failure as who typed the line reads it.
local function said_of(failure)
  local plain = data.failure(failure)
  plain.message = plain.message:gsub("^load line:%d+: ", "")
  return plain
end

--- Carries out what was typed as an attempt at `path`. Raises only what ends the run.
local function carry_out(self, definition, path, fields, fn, ...)
  self.line_agreed = false
  self.line = task.spawn(attempt.run, self, definition, path, { fields = fields }, fn, ...)
  local waited, ok, result = pcall(wait_for, self.line)
  self.line = nil
  if not waited then error(ok, 0) end
  if ok then return { path = path, values = result } end
  local broken = fault.is(result) and (result.kind == "journal" or result.kind == "fenced")
  if not broken and not (fault.is(result) and result.in_doubt) then close(self, path, result) end
  if ends_run(self, result) then error(result, 0) end
  return { path = path, failure = said_of(result) }
end

--- Runs one line as the next step `repl/N`. Raises only what ends the run.
--- @param self table  the session
--- @param fn function  of repl.compile
--- @param text string
--- @param who string?
--- @return { path: string, values?: { value: any }[], failure?: table }
function repl.run(self, fn, text, who)
  local path = step_path.line(next_number(self))
  local definition = { title = path, kind = "step", where = "", disposition = "effects",
    confirm = function(change) ask_about(self, change) end }
  return carry_out(self, definition, path, { line = text, who = who }, evaluate, fn)
end

--- Carries out one step of the procedure, each of its changes shown and asked about as a line's are.
--- @param self table  the session
--- @param step table  definition
--- @param body fun(step: table): any
--- @return { path: string, values?: { value: any }[], failure?: table }
function repl.step(self, step, body)
  local asking = setmetatable({ confirm = function(change) ask_about(self, change) end }, { __index = step })
  local said = carry_out(self, asking, step.title, {}, body, asking)
  said.values = said.values ~= nil and { { value = repl.showable(said.values) } } or nil
  return said
end

--- Runs a line that may read alone: `withhold(change)` is told of what it would change first, and that is refused.
--- @param self table  the session, which has no lease
--- @param fn function
--- @param withhold fun(change: table)
--- @return { values?: { value: any }[], failure?: table }
function repl.look(self, fn, withhold)
  local definition = { title = "repl", confirm = function(change)
    withhold(data.shown(change))
    fault.raise { kind = "denied", code = "read-only", where = "",
      message = ("not done: lines may only read on %s until :write"):format(self.environment.name) }
  end }
  local branch = branches.new(self, definition, { path = "repl", attempt = 1 })
  self.line = task.spawn(task.with_context, branch, evaluate, fn)
  local waited, ok, result = pcall(wait_for, self.line)
  self.line = nil
  if not waited then error(ok, 0) end
  return ok and { values = result } or { failure = said_of(result) }
end

local function has_changed_since(list, opening)
  for _, one in ipairs(list) do
    if one.seq > opening.seq and one.path == opening.path and not one.bracket then return true end
  end
  return false
end

--- Brackets that lines have opened and not closed: what was changed in them is there, and not in force. A line that was
--- cut short, or failed, leaves one.
--- @param self table  the session
--- @return { path: string, show: string }[]
function repl.unclosed(self)
  local opened, standing, list = {}, self.state:in_place(), {}
  for _, one in ipairs(standing) do
    local whole = not self.state.standing[one.seq] -- of a line that is done, each is closed
    if whole and one.bracket == "open" then opened[fold.digest_of(one)] = one end
    if whole and one.bracket == "close" then opened[one.opened_by] = nil end
  end
  for _, one in pairs(opened) do
    if has_changed_since(standing, one) then
      list[#list + 1] = { path = one.path, seq = one.seq, show = one.kind .. " " .. one.show }
    end
  end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

--- After a crash: lines that have no end.
--- @param self table  the session, with nothing in doubt
function repl.close_all(self)
  local cut = fault.new { kind = "lost", where = "", message = "neap ended before this line did" }
  for _, path in ipairs(self.state.step_order) do
    if step_path.line_number(path) then close(self, path, cut) end
  end
end

-- ---- a person ----

local function read_line(self, step, unfinished)
  local answer = self.answerer { kind = "shell", path = step.title, options = { "line", "leave" }, text = "",
    shown = { run = self.number, step = { number = step.number }, unfinished = unfinished } }
  if answer then return answer end
  fault.raise { kind = "paused", where = "", message = "left at the shell of " .. step.title }
end

--- Reads lines, and tells the view what each gave, until the person leaves.
--- @param self table  the session
--- @param step table  that the run stands at
function repl.read(self, step)
  self.line_globals = self.line_globals or repl.globals(self)
  local text
  while true do
    local answer = read_line(self, step, text ~= nil)
    if answer.choice ~= "line" then return end
    local line = tostring(answer.line or "")
    local abandoned = text ~= nil and line == ""
    text = text and text .. "\n" .. line or line
    local fn, message, unfinished = repl.compile(text, self.line_globals)
    if fn and text:find "%S" then
      local said = repl.run(self, fn, text, answer.who)
      self:emit { type = "line", path = said.path, values = said.values, failure = said.failure }
    elseif not fn and (not unfinished or abandoned) then
      self:emit { type = "line", failure = { kind = "mistake", message = message } }
    end
    if fn or not unfinished or abandoned then text = nil end
  end
end

return repl
