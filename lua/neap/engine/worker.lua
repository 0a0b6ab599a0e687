--- The process that owns a run: it goes on when its terminal is lost. Clients attach to its socket, see the events, answer
--- questions, interrupt; with no client that answers, a question pauses the run.
local crypto  = require "native.crypto"
local data    = require "neap.engine.data"
local fault   = require "native.error"
local lines   = require "neap.engine.lines"
local process = require "native.process"
local socket  = require "native.socket"
local task    = require "native.task"

local worker = {}

local Hub = {}
Hub.__index = Hub

local QUEUE = 5000   -- messages a client may be behind; a slower one is let go
local ARRIVAL = 5    -- seconds for who started us to come
local FAREWELL = 5   -- seconds for clients to take the outcome

--- Volatile events of which who comes later wants the last one.
local LATEST = { "outline", "outlook", "fan out" }

-- ---- one client ----

local function drop(hub, client)
  if not hub.clients[client] then return end
  hub.clients[client] = nil
  client.gone = true
  client.writer:wake()
  client.connection:close()
  if hub.asking then hub.asking.task:wake() end
end

local function send(hub, client, line)
  if #client.queue > QUEUE then return drop(hub, client) end
  table.insert(client.queue, line)
  client.writer:wake()
end

local function write_queue(hub, client)
  while not client.gone do
    local text = table.concat(client.queue)
    client.queue = {}
    if text ~= "" then
      if not pcall(client.connection.write, client.connection, text) then return drop(hub, client) end
    elseif hub.ended then
      return drop(hub, client)
    else
      task.park()
    end
  end
end

local said = {}

--- The records that the client has not seen yet; from then on it gets each event.
function said.attach(hub, client, message)
  for entry in hub.session.journal.store:records(hub.session.number, message.after) do
    send(hub, client, entry.line .. "\n")
  end
  client.attached, client.answers, hub.arrived = true, message.answers, true
  for _, kind in ipairs(LATEST) do
    if hub.latest[kind] then send(hub, client, hub.latest[kind]) end
  end
  if hub.asking and client.answers then send(hub, client, hub.asking.line) end
end

function said.answer(hub, _, message)
  if not hub.asking or hub.asking.id ~= message.id then return end
  for path, text in pairs(message.files or {}) do message.files[path] = crypto.unbase64(text) end
  hub.asking.answer = message
  hub.asking.task:wake()
end

function said.interrupt(hub, _, message)
  hub.session.interrupt(message.why or "interrupted by the operator")
  if hub.asking then hub.asking.task:wake() end
end

local function listen_to(hub, client)
  local ok = pcall(function()
    for message in lines.reader(client.connection) do
      local act = said[message.say]
      if act then act(hub, client, message) end
    end
  end)
  if not ok or not hub.ended then drop(hub, client) end
end

local function may_attach(connection)
  local uid = connection:peer()
  return uid == 0 or uid == process.user().uid
end

local function take_clients(hub)
  while true do
    local ok, connection = pcall(hub.server.accept, hub.server)
    if not ok then
      if fault.is(connection, "timeout") then goto again end
      return
    end
    if may_attach(connection) then
      local client = { connection = connection, queue = {} }
      hub.clients[client] = true
      client.writer = task.spawn(write_queue, hub, client)
      client.reader = task.spawn(listen_to, hub, client)
    else
      connection:close()
    end
    ::again::
  end
end

-- ---- all of them ----

function Hub:broadcast(message)
  local line
  for _, kind in ipairs(LATEST) do
    if message.type == kind then
      line = lines.encode(message)
      self.latest[kind] = line
    end
  end
  for client in pairs(self.clients) do
    if client.attached then
      line = line or lines.encode(message)
      send(self, client, line)
    end
  end
end

local function answering(self)
  for client in pairs(self.clients) do
    if client.answers then return true end
  end
  return false
end

--- Who started us comes at once; nobody is asked before.
local function is_attended(hub)
  local until_then = hub.opened + ARRIVAL
  while not hub.arrived and task.now() < until_then do task.sleep(0.01) end
  return answering(hub)
end

--- Puts a question to whoever can answer; nil when nobody is left who can, or the run is to pause.
function Hub:put(question)
  if not is_attended(self) then return nil end
  self.asked = (self.asked or 0) + 1
  question.id = self.asked
  self.asking = { id = self.asked, line = lines.encode(question), task = task.current() }
  for client in pairs(self.clients) do
    if client.answers then send(self, client, self.asking.line) end
  end
  while not self.asking.answer and answering(self) and not self.session.pausing do task.park() end
  local answer = self.asking.answer
  self.asking = nil
  return answer
end

local function open_hub(session, announce)
  local hub = setmetatable({ session = session, clients = {}, latest = {}, opened = task.now() }, Hub)
  hub.server = socket.listen(session.state_folder .. "/socket")
  hub.acceptor = task.spawn(take_clients, hub)
  announce { ready = true, run = session.number }
  return hub
end

--- Gives the clients the outcome and lets them go.
local function close_hub(hub, outcome)
  hub:broadcast { type = "outcome", outcome = outcome }
  hub.ended = true
  for client in pairs(hub.clients) do client.writer:wake() end
  local until_then = task.now() + FAREWELL
  while next(hub.clients) and task.now() < until_then do task.sleep(0.02) end
  for client in pairs(hub.clients) do drop(hub, client) end
end

--- Runs start(given) with a hub round it. announce(message) tells the process that started us: { ready, run } once the
--- lease is taken and clients may come, or { failure }.
--- @param start fun(given: table): table  run.start, run.resume or rollback.start
--- @param given table  as start takes it
--- @param announce fun(message: table)
--- @return integer status
function worker.serve(start, given, announce)
  local hub
  function given.attend(session) hub = open_hub(session, announce) end
  -- while the lock is still ours: the socket of who takes the run up next must not be taken away
  function given.detach()
    task.shield(is_attended, hub) -- who started us hears how it ended, however soon that is
    hub.server:close()
    hub.acceptor:cancel()
  end
  function given.on_event(event)
    if hub then hub:broadcast(event) end
  end
  function given.ask(question) return hub and hub:put { type = "question", question = question } end
  function given.attended() return hub ~= nil and is_attended(hub) end
  function given.prompt(text, options)
    local answer = hub and hub:put { type = "prompt", text = text, secret = options and options.secret }
    return answer and answer.text
  end
  given.signals, given.outlined = true, true
  local ok, outcome = pcall(start, given)
  if not hub then
    announce { failure = data.failure(outcome) }
    return 1
  end
  if not ok then
    outcome = { status = "stopped", exit = 70, raised = true, failure = outcome, changed = {}, in_doubt = {} }
  end
  if outcome.failure then outcome.failure = data.failure(outcome.failure) end
  close_hub(hub, outcome)
  return outcome.exit
end

return worker
