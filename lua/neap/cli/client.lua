--- The terminal's side of a run: starts its worker, or joins a living one, shows its events and answers its questions.
local attend    = require "neap.cli.attend"
local crypto    = require "native.crypto"
local data      = require "neap.engine.data"
local fault     = require "native.error"
local json      = require "native.json"
local lines     = require "neap.engine.lines"
local process   = require "native.process"
local secret    = require "native.secret"
local secrets   = require "neap.secrets"
local signal    = require "native.signal"
local socket    = require "native.socket"
local task      = require "native.task"

local client = {}

local LEFT = 10 -- exit status: left, the run goes on

-- ---- starting a worker ----

local SENT = { "procedure", "arguments", "state", "actor", "plan", "run", "to", "on_conflict",
               "answer", "outside_window", "amendment", "rehearsal", "rehearsals" }

local function as_text(files)
  local encoded = {}
  for path, bytes in pairs(files) do encoded[path] = crypto.base64(bytes) end
  return encoded
end

--- What the worker is to do, as one JSON text. The environment goes with its references resolved.
local function order(verb, request)
  local sent = { verb = verb }
  for _, key in ipairs(SENT) do sent[key] = data.plain(request[key]) end
  if request.environment then
    local resolved = require("neap.engine.procedure").load { files = request.files, path = request.procedure,
      arguments = request.arguments, environment = request.environment }.environment
    sent.environment = data.plain(resolved)
    sent.environment.tree, sent.environment.origins, sent.environment.files = nil, nil, nil
    sent.files = as_text(request.files)
  end
  if sent.amendment and sent.amendment.files then sent.amendment.files = as_text(sent.amendment.files) end
  return json.encode(sent)
end

--- Starts the worker and waits until it has the lease; raises what it raised.
local function start_worker(verb, request)
  local child = process.spawn({ process.executable(), "worker" }, { reads = true })
  child:write(order(verb, request))
  child:close_input()
  -- the worker has them
  secrets.take_variables(request.environment, secret.keyring())
  local said = lines.reader(child)()
  if said and said.ready then
    child:leave()
    return said.run
  end
  local text = not said and (child:read_error() or "") or nil
  child:close()
  if said then fault.raise(data.unpack(said.failure, function() return "" end)) end
  fault.raise { kind = "lost", message = "the worker of the run ended before it began", output = text }
end

-- ---- attending ----

local function say(connection, message) pcall(connection.write, connection, lines.encode(message)) end

--- What a person wrote, and code, goes as it is: what lines.encode leaves out the worker could not read anywhere.
local function say_answer(connection, answer)
  if not answer.files and not answer.line and not answer.arguments then return say(connection, answer) end
  answer.files = answer.files and as_text(answer.files)
  pcall(connection.write, connection, json.encode(answer) .. "\n")
end

--- Ctrl-C: pause, cancel, leave. The terminal's end: leave.
local function pass_on_signals(view)
  local presses = 0
  while true do
    local name = signal.wait { "INT", "TERM", "HUP" }
    presses = presses + (name == "INT" and 1 or 3)
    if presses >= 3 then
      view.left = true
      view.connection:close()
      return
    end
    say(view.connection, { say = "interrupt" })
  end
end

local heard = {}

function heard.question(view, message)
  local answer = view.request.ask(message.question)
  if answer then
    answer.say, answer.id = "answer", message.id
    say_answer(view.connection, answer)
  elseif not view.pausing then
    say(view.connection, { say = "interrupt", why = "the question was left open" })
  end
end

function heard.prompt(view, message)
  local text = view.request.prompt(message.text, { secret = message.secret })
  say(view.connection, { say = "answer", id = message.id, text = text })
end

local function follow(view)
  for message in lines.reader(view.connection) do
    if message.type == "outcome" then return message.outcome end
    view.pausing = view.pausing or message.pausing -- a second interrupt would cancel what other branches have in hand
    local act = heard[message.type]
    if act then
      table.insert(view.asking, task.spawn(act, view, message))
    else
      view.request.on_event(message)
    end
  end
end

--- What the engine raised in the worker is raised here, as if it had been called here.
local function raise_again(failure)
  if failure.kind == "mistake" then error(failure.message, 0) end
  error(fault.new(failure), 0)
end

--- Attends a living worker until the run ends or the operator leaves.
--- @param request { on_event: function, ask: function, prompt: function }
--- @param folder string  of the environment
--- @param run integer
--- @param after integer  the last record that is known already
--- @param answers boolean  whether a person is here
--- @return table outcome
function client.attend(request, folder, run, after, answers)
  local view = { request = request, connection = socket.connect(folder .. "/socket"), asking = {} }
  local signals = task.spawn(pass_on_signals, view)
  say(view.connection, { say = "attach", after = after, answers = answers })
  local ok, outcome = pcall(follow, view)
  signals:cancel()
  for _, asking in ipairs(view.asking) do asking:cancel() end
  view.connection:close()
  if view.left then return { status = "left", exit = LEFT, run = run, changed = {}, in_doubt = {} } end
  if not ok and not fault.is(outcome, "lost") then error(outcome, 0) end
  if ok and outcome then
    if outcome.raised then raise_again(outcome.failure) end
    if outcome.failure then outcome.failure = fault.new(outcome.failure) end
    return outcome
  end
  return { status = "lost", exit = 5, run = run, changed = {}, in_doubt = {},
    failure = fault.new { kind = "lost", where = "", message = ("the worker of run %d is gone"):format(run) } }
end

--- What attend.during calls instead of the engine: the same in a worker.
--- @param verb "run"|"resume"|"rollback"
--- @param answers boolean
--- @return fun(request: table): table
function client.starting(verb, answers)
  return function(request)
    request.actor = request.actor or attend.actor()
    local run = start_worker(verb, request)
    return client.attend(request, request.state, run, request.after or 0, answers)
  end
end

--- What attend.during is to call for a verb: its worker, or with --foreground the engine in this process.
--- @param verb "run"|"resume"|"rollback"
--- @param options table
--- @return fun(request: table): table
function client.calling(verb, options)
  if not options.foreground then return client.starting(verb, options.console.may_ask) end
  return require("neap.cli.worker").start_of(verb)
end

--- Whether somebody listens at the environment's socket.
--- @param folder string
--- @return boolean
function client.is_living(folder)
  local ok, connection = pcall(socket.connect, folder .. "/socket")
  if ok then connection:close() end
  return ok
end

return client
