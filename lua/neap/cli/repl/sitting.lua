--- One sitting at `neap repl`: lines come in, what they give is shown; signals end a call, not the sitting.
local attend   = require "neap.cli.attend"
local code     = require "neap.cli.repl.code"
local failure  = require "neap.cli.failure"
local fault    = require "native.error"
local line     = require "neap.cli.view.line"
local near     = require "neap.near"
local repl     = require "neap.engine.repl"
local repl_run = require "neap.engine.repl_run"
local signal   = require "native.signal"
local state    = require "neap.state"
local task     = require "native.task"
local versions = require "neap.engine.versions"
local view     = require "neap.cli.view.repl"

local sitting = {}
sitting.__index = sitting

local OK, FAILED, IN_PLACE, NEEDS_PERSON = 0, 1, 5, 8 -- exit status

-- ---- opening ----

--- Records that say nothing to who typed the line.
local UNSAID = { run = true, own = true, turn = true, step = true, note = true, ask = true, answer = true, saw = true,
  close = true, outlook = true }

--- Notes what an effect was about, until its end. Returns whether the record is the end of a whole line.
local function follow_effect(self, record)
  if record.type == "intent" then
    self.last_class = record.class
    self.intents[record.seq] = { kind = record.kind, target = record.target, undoes = record.undoes }
  end
  if record.type ~= "end" or not record.of then return false end
  local intent = self.intents[record.of]
  self.intents[record.of] = nil
  if intent and record.status == "done" and not intent.undoes and self.changed then
    table.insert(self.changed, intent)
  end
  return intent == nil and record.status ~= "undone" and record.status ~= "kept"
end

--- Told of each event of the session.
local function hear(self, record)
  local ends_line = follow_effect(self, record)
  if record.type == "agreed" then return self.console:tell(line.change(record.shown, self.console.err)) end
  if record.type == "step" then self.attending.view:follow(record) end
  if UNSAID[record.type] or ends_line then
    self.attending.view:line(record)
    return
  end
  self.attending:on_event(record)
end

--- What prints, without a block of lines that is redrawn: the prompt stands there.
local function without_block(console) return setmetatable({ live = false, json = false }, { __index = console }) end

--- Nobody types: changes are applied where `--yes` says so; what else is asked is left open.
local function answer_in_script(self, question)
  if question.kind ~= "shell change" then return nil end
  if self.options.yes then return { choice = "all", who = attend.actor() } end
  self.status = NEEDS_PERSON
  fault.raise { kind = "denied", where = "", hint = "add --yes",
    message = "not done: nobody can be asked whether to apply it" }
end

--- What the engine needs of us.
local function request(self, read)
  return {
    environment = read.environment, procedure = read.procedure, files = read.files, arguments = read.arguments,
    state = state.folder(read.environment.name), actor = attend.actor(),
    on_event = function(record) hear(self, record) end,
    prompt = function(text, options) return self.attending:prompt(text, options) end,
    ask = function(question)
      if self.keyboard.is_script then return answer_in_script(self, question) end
      return self.attending:ask(question)
    end,
  }
end

--- Lines may use these beside what steps see; a procedure that they are saved to has none of them.
local function extras(self)
  return {
    help = function(what) self:show_help(what) end,
    print = function(...)
      local values = table.pack(...)
      for i = 1, values.n do self:show { values = { { value = repl.showable(values[i]) } } } end
    end,
  }
end

local function tell_mistakes(self)
  for _, mistake in ipairs(self.read.mistakes) do self:tell("not loaded: " .. self.console.err:clean(mistake)) end
end

--- @param options table  of the command line; env, procedure, param, yes, console
--- @return table sitting  whose keyboard is to be set
function sitting.open(options)
  local read = code.read(options)
  local self = setmetatable({
    options = options, console = options.console, read = read, shown_as = { json = options.console.json }, intents = {},
    lines = {}, status = OK,
  }, sitting)
  self.name = read.environment.name
  self.attending = attend.new { console = without_block(options.console), environment = self.name }
  self.given = request(self, read)
  local ok, session = pcall(repl_run.open, self.given)
  if not ok then error(code.explain(session), 0) end
  self:use(session)
  tell_mistakes(self)
  return self
end

--- Goes on with another session: lines keep what they have set.
function sitting:use(session)
  local own = self.noted and self.noted.own
  self.session = session
  self.globals, self.noted = repl.globals(session, extras(self))
  for name, value in pairs(own or {}) do self.noted.own[name] = value end
  self.attending.folder = self.given.state
end

function sitting:is_guarded() return (self.session.environment.policy or {}).guard == "production" end

function sitting:is_writing() return repl_run.is_writing(self.session) end

--- The run that is open in the environment, of whoever; nil: none.
--- @return table? run  as history gives it
function sitting:open_run()
  local folder = self.given.state
  if not require "native.fs".exists(folder .. "/journal.db") then return nil end
  for _, run in ipairs(require "neap.cli.history".of(self.name, folder)) do
    if not run.outcome then return run end
  end
end

--- Says where one is.
function sitting:greet()
  local env = self.session.environment
  local _, seen = require "neap.words".environment(env)
  self:tell(view.banner({ environment = self.name, guarded = self:is_guarded(), procedure = self.read.name,
    view = seen, clusters = env.clusters, open = self:open_run() }, self.console.err))
end

-- ---- saying ----

function sitting:tell(text) self.console:tell(text) end

--- @param said { values?: { value: any }[], failure?: table }
function sitting:show(said)
  local text = said.failure and line.text({ failure = said.failure }, self.console.err)
  if text then self.console:tell(text) end
  text = said.values and line.text({ values = said.values }, self.console.out, self.shown_as)
  if text then self.console:answer(text) end
end

--- What was raised, as a line's failure; a mistake in neap is raised again.
function sitting:show_failure(raised)
  if not fault.is(raised) then error(raised, 0) end
  if self.keyboard.is_script then self.status = failure.status(raised) end
  self:show { failure = raised }
  for _, command in ipairs(raised.next or {}) do self:tell("  " .. self.console.err:clean(command)) end
end

function sitting:show_help(what)
  self.console:answer(require "neap.cli.repl.help".text(what, self.session, self.console.out))
end

-- ---- a line ----

--- The run cannot go on: it stays open, for who can ask its targets again.
function sitting:put_down(raised)
  self:show { failure = fault.is(raised) and raised or { message = tostring(raised) } }
  self.status = IN_PLACE
  self:tell(view.ended(repl_run.put_down(self.session, raised), self.console.err))
end

--- The value of a change of state is the state, which was shown before it was made; that an event gives nothing, nothing.
local function values_worth_showing(self, said)
  local only_nil = #self.changed > 0 and said.values and said.values[1] and said.values[1].value == nil
  if self.last_class == "resource" or only_nil then return nil end
  return said.values
end

local function carry_out(self, fn, text)
  if not self:is_writing() then
    return repl.look(self.session, fn, function(shown) self:tell(line.change(shown, self.console.err)) end)
  end
  local ok, said = pcall(repl.run, self.session, fn, text, self.given.actor)
  if not ok then
    self:put_down(said)
    return { failed = true }
  end
  said.values = values_worth_showing(self, said)
  return said
end

--- What a line has set, used and changed stands beside it, for `:save`.
local function remember(self, text, said)
  table.insert(self.lines, { text = text, path = said.path, failed = said.failure ~= nil, set = self.noted.set,
    used = self.noted.used, extra = self.noted.extra, run = self.session.number, changed = self.changed })
end

--- A name that is nothing is a mistyped one, perhaps.
local function add_hint(self, said)
  local name = said and not said.hint and said.message:match "%(global '([%a_][%w_]*)'%)"
  local meant = name and near.find(name, require "neap.cli.repl.complete".names_alone(self))
  if meant then said.hint = ("did you mean %s?"):format(meant) end
end

--- Runs a whole chunk, and shows what it gives. Returns whether it went well.
--- @param fn function
--- @param text string
--- @return boolean
function sitting:run_line(fn, text)
  self.last_class, self.changed = nil, {}
  self.noted.set, self.noted.used, self.noted.extra = {}, {}, {}
  local started = task.now()
  local said = carry_out(self, fn, text)
  if said.failed then return false end
  remember(self, text, said)
  add_hint(self, said.failure)
  self:show(said)
  if self.shown_as.time then self:tell(view.took(task.now() - started, self.console.err)) end
  return said.failure == nil
end

--- In a task of its own, which Ctrl-C ends.
local function run_command(self, text)
  local working = task.spawn(require "neap.cli.repl.commands".run, self, text)
  self.working = function() working:cancel() end
  local ok, result = working:wait()
  self.working = nil
  if ok then return result ~= false end
  if fault.is(result, "cancelled") and not self.ending then
    self:tell "! cancelled"
  else
    self:show_failure(result)
  end
  return false
end

--- Takes in one typed line. Returns whether all is well so far.
--- @param text string
--- @return boolean
function sitting:take(text)
  if not utf8.len(text) then
    self:tell "A line is UTF-8; this one is not."
    return false
  end
  if not self.unfinished and text:find "^%s*[:?]" then return run_command(self, text) end
  local abandoned = self.unfinished ~= nil and text == "" and not self.keyboard.is_script
  local whole = self.unfinished and self.unfinished .. "\n" .. text or text
  local fn, message, goes_on = repl.compile(whole, self.globals)
  self.unfinished = not fn and goes_on and not abandoned and whole or nil
  if fn then return not whole:find "%S" or self:run_line(fn, whole) end
  if self.unfinished then return true end
  self:show { failure = { message = message } }
  return false
end

-- ---- files that change ----

--- Takes changed files in, and says so. A run goes on with the code it began with.
function sitting:reload()
  local ok, read = pcall(code.read, self.options)
  local changed = ok and versions.changed(self.read.files, read.files) or {}
  if not ok and not fault.is(read) then error(read, 0) end
  if not ok then return self:say_once("not reloaded: " .. self.console.err:clean(read.message)) end
  if not changed[1] then return end
  if self:is_writing() then
    return self:say_once(view.not_reloaded(changed, self.console.err))
  end
  local taken, raised = pcall(code.take, self.session, read)
  if not taken then return self:say_once("not reloaded: " .. self.console.err:clean(tostring(raised))) end
  if code.has_environment(read, changed) then self.session:leave() end
  self.read, self.said = read, nil
  for _, key in ipairs { "environment", "files", "arguments" } do self.given[key] = read[key] end
  self:tell(view.reloaded(changed, self.console.err))
  tell_mistakes(self)
end

function sitting:say_once(text)
  if self.said ~= text then self:tell(text) end
  self.said = text
end

-- ---- from the first line to the last ----

--- Ends what goes on: the call, the command, or the line that is being typed.
local function interrupt(self)
  if self.session.line then
    self.session.line:cancel()
  elseif self.working then
    self.working()
  else
    self.keyboard:stop()
  end
end

local function watch_signals(self)
  while true do
    local name = signal.wait { "INT", "TERM", "HUP" }
    if name ~= "INT" then self.ending = name end
    interrupt(self)
  end
end

local function prompt_of(self)
  return view.prompt({ environment = self.name, writing = self:is_writing(), guarded = self:is_guarded(),
    unfinished = self.unfinished ~= nil }, self.console.err)
end

--- Keeps a line for the arrow keys, now and another time.
function sitting:note_typed(text)
  if self.keyboard.is_script or not require "neap.cli.repl.history".may_keep(text) then return end
  self.keyboard:remember(text)
  require "neap.cli.repl.history".add(text)
end

local function read_lines(self)
  while not self.ending do
    if not self.unfinished and not self.keyboard.is_script then self:reload() end
    local what, text = self.keyboard:read(prompt_of(self))
    if what == "lost" then self.ending = "HUP" end
    if what == "end" or what == "lost" then break end
    if what == "stopped" then
      self.unfinished = nil
    else
      local well = self:take(text)
      self:note_typed(text)
      if self.left then break end
      if not well and self.keyboard.is_script then return false end
    end
  end
  return not self.unfinished
end

--- A run that a person leaves is closed; one that was cut short stays open, for nobody has said that its changes stay.
local function leave(self, well)
  if not self:is_writing() then return end
  local closes = not self.ending and (well or not self.keyboard.is_script or not self.session.state:has_changed())
  if not closes and self.status == OK then self.status = IN_PLACE end
  local ended = closes and repl_run.close(self.session) or repl_run.put_down(self.session)
  self:tell(view.ended(ended, self.console.err))
end

--- Reads lines, and closes the run that they leave open.
local function read_and_leave(self)
  local ok, well = pcall(read_lines, self)
  if not ok then self.ending = "failure" end
  if ok and self.unfinished and self.keyboard.is_script then self:tell "! the last statement is unfinished" end
  leave(self, ok and well)
  if not ok then error(well, 0) end
  return well
end

--- Reads until the end. Returns the exit status.
--- @return integer
function sitting:serve()
  local watching = task.spawn(watch_signals, self)
  local ok, well = pcall(read_and_leave, self)
  watching:cancel()
  self.keyboard:close()
  task.shield(self.session.leave, self.session)
  if not ok then error(well, 0) end
  if self.status == OK and not well and self.keyboard.is_script then return FAILED end
  return self.status
end

return sitting
