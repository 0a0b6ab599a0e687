--- Attends a run: shows its events, asks its questions, passes on Ctrl-C, and says how it ended.
local clock    = require "native.clock"
local fault    = require "native.error"
local process  = require "native.process"
local progress = require "neap.cli.view.progress"
local service  = require "neap.cli.service"
local task     = require "native.task"

local attend = {}
attend.__index = attend

local IN_PLACE = 5 -- exit status: stopped with changes in place
local REDRAW = 0.25 -- seconds between two drawings of the block
local IN_A_SHELL = { shell = true, ["shell change"] = true } -- where lines may be pasted, several at once
local HEARTBEAT = 30 -- seconds between two looks at whether anything was heard

--- Who acts, for the journal.
--- @return string
function attend.actor()
  local user = process.user().name
  local before = os.getenv "SUDO_USER"
  if before and before ~= "" and before ~= user then user = ("%s (as %s)"):format(before, user) end
  return ("%s@%s"):format(user, process.hostname())
end

--- @param options { console: neap.console, environment: string }  environment: its full name, typed at a point of no return
--- @return table self
function attend.new(options)
  local console = options.console
  return setmetatable({
    console = console, environment = options.environment, view = progress.new(console.err), drawn = {}, asked = {},
    intents = {}, kept = {}, lines = {}, shell = { shown_as = {} }, started = task.now(),
  }, attend)
end

-- ---- the screen ----

--- On a terminal that was made narrower meanwhile, what was a line there may be several now. Line by line, for a terminal
--- that is cleared from its top on puts into its history what stood there.
local function erase(self, columns, rows)
  local up = 0
  for _, width in ipairs(self.drawn) do up = up + math.max(1, (width + columns - 1) // columns) end
  self.drawn = {}
  return up > 0 and "\r" .. ("\27[A\27[2K"):rep(math.min(up, rows - 1)) or ""
end

local function draw(self, finished)
  local columns, rows = self.console:measure()
  local text = erase(self, columns, rows) .. (finished and finished .. "\n" or "")
  if not self.asking and not self.ended then
    local block = self.view:block(clock.now(), rows - 2)
    for i, line in ipairs(block) do self.drawn[i] = self.console.err:columns(line) end
    text = text .. table.concat(block, "\n") .. "\n"
  end
  self.console:draw(text)
end

--- What who is here has asked for, or is about to be asked.
local function is_known(self, record)
  if record.type == "step" and record.line then self.lines[record.seq] = true end
  local of_line = record.line ~= nil or record.of and self.lines[record.of]
  return self.console.may_ask and (record.type == "ask" or of_line)
end

local function text_of(self, record)
  if record.type == "line" then
    return require "neap.cli.view.line".text(record, self.console.err, self.shell.shown_as)
  end
  return self.view:line(record)
end

--- What has no line of its own shows in the block when that is drawn the next time: hundreds of hosts may say thousands of
--- lines a second.
local function show(self, record)
  self.view:follow(record)
  local line = text_of(self, record)
  if not line or is_known(self, record) then return end
  if self.console.live then return draw(self, line) end
  self.console:tell(line)
end

--- On a pipe, and for who reads the screen aloud: a silence is said, now and then.
local function keep_saying(self)
  while not self.ended do
    task.sleep(HEARTBEAT)
    local line = not self.ended and not self.asking and self.view:silence(clock.now())
    if line then self.console:tell(line) end
  end
end

local function keep_drawing(self)
  while not self.ended do
    task.sleep(REDRAW)
    if not self.ended and not self.asking then draw(self) end
  end
end

--- Makes known what the journal already holds of a run that is taken up again.
--- @param records table[]
function attend:replay(records)
  for _, record in ipairs(records) do
    self.view:line(record)
    self.view:follow(record)
    self.run = record.run
    if record.type == "intent" then self.intents[record.seq] = record end
    if record.type == "step" and record.line then self.lines[record.seq] = true end
  end
end

local function note_kept(self, record)
  local intent = self.intents[record.of]
  table.insert(self.kept, { show = intent and intent.show, kind = intent and intent.kind, why = record.why })
end

--- Ends the reading of an answer; what comes next stands in a line of its own.
local function stop_reading(self)
  self.reading:cancel()
  self.console:draw "\n"
end

--- Somebody at another terminal was first.
local function withdraw(self)
  self.asked.withdrawn = true
  stop_reading(self)
end

--- Told of each event by the engine.
function attend:on_event(record)
  record.time = record.time or clock.utc()
  if record.pausing and self.reading then stop_reading(self) end
  if record.withdrawing and self.reading then withdraw(self) end
  if record.type == "answer" and self.reading and record.of == self.asked.seq then withdraw(self) end
  if record.type == "end" and record.status == "kept" then note_kept(self, record) end
  if record.type == "intent" then self.intents[record.seq] = record end
  self.run = record.run or self.run
  service.tell(record)
  if self.console.json then
    self.console:answer_json(require "neap.cli.view.json".event(record))
  else
    show(self, record)
  end
end

-- ---- questions ----

local function wait_for(reading, seconds)
  if not seconds then return reading:wait() end
  return task.deadline(seconds, reading.wait, reading)
end

--- Reads in a task that a pause cancels, or time; nil where nobody answers.
local function read_beside(self, seconds, read, ...)
  local reading = task.spawn(read, ...)
  self.asking, self.reading = true, reading
  local in_time, ok, answer = pcall(wait_for, reading, seconds)
  if not in_time then stop_reading(self) end
  if self.reading == reading then self.asking, self.reading = false, nil end -- else the next question is asked already
  if not in_time then
    if fault.is(ok, "timeout") then return { choice = "timeout" } end
    error(ok, 0)
  end
  if not ok and not fault.is(answer, "cancelled") then error(answer, 0) end
  return ok and answer or nil
end

--- Asks for a passphrase, say.
--- @param text string
--- @param options? { secret: boolean }
--- @return string?
function attend:prompt(text, options)
  if not self.console.may_ask then return nil end
  if self.console.live then self.console:draw(erase(self, self.console:measure())) end
  return read_beside(self, nil, self.console.ask, self.console, self.console.err:clean(text) .. " ", options)
end

--- The run as its journal has it now.
local function model_of(self)
  return require "neap.cli.standing".of { folder = self.folder, run = self.run }
end

--- Asks a person, where there is one; nil leaves the question open and pauses the run.
--- @param question neap.question
--- @return { choice: string, who: string, reason?: string, to?: string, whom?: string, evidence?: string }?  or
---   { withdrawn: true } where somebody else has answered meanwhile
function attend:ask(question)
  if not self.console.may_ask then return nil end
  local columns, rows
  if self.console.live then columns, rows = self.console:measure() end
  local above = columns and erase(self, columns, rows) or ""
  local text = require "neap.cli.view.question".text(question, self.console.err, rows)
  if not IN_A_SHELL[question.kind] then self.console:drop_input() end
  if text or above ~= "" then self.console:draw(above .. (text and text .. "\n" or "")) end
  local asker = { console = self.console, environment = self.environment, shell = self.shell,
    model = function() return model_of(self) end }
  local asked = { seq = question.seq }
  self.asked = asked
  local answer = read_beside(self, question.timeout, require "neap.cli.answer".read, asker, question)
  if asked.withdrawn then return { withdrawn = true } end
  if answer then answer.who = attend.actor() end
  return answer
end

-- ---- a whole run ----

--- What the engine needs of us.
local function fill(self, request)
  request.actor, request.signals, self.folder = attend.actor(), true, request.state
  request.outlined = self.console.live
  function request.attended() return self.console.may_ask end
  function request.on_event(record) self:on_event(record) end
  function request.ask(question) return self:ask(question) end
  function request.prompt(text, options) return self:prompt(text, options) end
  return request
end

local function stop_drawing(self)
  self.ended = true
  if self.console.live then self.console:draw(erase(self, self.console:measure())) end
end

--- What the engine raises ends no run by itself: it says whether something is changed, and where to go on.
local function raise(self, raised)
  if not fault.is(raised) or raised.code == "usage" or raised.code == "leased" then error(raised, 0) end
  if next(self.intents) == nil then
    raised.state = "Nothing was changed."
  else
    raised.state, raised.exit = "What this run has changed so far stays changed.", IN_PLACE
    raised.next = { ("neap log %d --env %s"):format(self.run, self.environment),
                    ("neap resume %d --env %s"):format(self.run, self.environment) }
  end
  error(raised, 0)
end

--- Calls the engine, shows what goes on meanwhile, and returns what it returns.
--- @param call fun(request: table): table
--- @param request table
--- @return table outcome
function attend:during(call, request)
  local watch = self.console.live and keep_drawing or not self.console.json and keep_saying
  local drawing = watch and task.spawn(watch, self)
  local ok, outcome = pcall(call, fill(self, request))
  stop_drawing(self)
  if drawing then drawing:cancel() end
  if not ok then raise(self, outcome) end
  return outcome
end

--- What a rehearsal has shown, by its journal; nil for other runs, and where it is not there to be read.
local function proof_of(self, outcome)
  if not outcome.rehearsal or not outcome.run then return nil end
  return require "neap.engine.proof".of(model_of(self).records)
end

--- Prints how it ended and returns the exit status.
--- @param outcome table
--- @return integer
function attend:report(outcome)
  outcome.environment = outcome.environment or self.environment
  outcome.kept, outcome.seconds, outcome.proof = self.kept, task.now() - self.started, proof_of(self, outcome)
  if self.console.json then
    self.console:answer_json(require "neap.cli.view.json".event {
      type = "outcome", status = outcome.status, exit = outcome.exit, run = outcome.run, step = outcome.step,
      environment = outcome.environment, procedure = outcome.procedure, changed = outcome.changed, kept = outcome.kept,
      by_person = outcome.by_person,
      in_doubt = outcome.in_doubt, point_of_no_return = outcome.point_of_no_return, seconds = outcome.seconds,
      rehearsal = outcome.rehearsal, proof = outcome.proof,
      failure = fault.is(outcome.failure) and outcome.failure
        or outcome.failure and { message = tostring(outcome.failure) } or nil,
    })
  else
    self.console:answer("\n" .. require "neap.cli.view.outcome".text(outcome, self.console.out))
  end
  return outcome.exit
end

return attend
