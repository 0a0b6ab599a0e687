--- Tells the world of a run: programs of the environment that are given an event on their input, webhooks, mail. What
--- becomes of it changes nothing in the run; it is noted.
local data    = require "neap.engine.data"
local fault   = require "native.error"
local json    = require "native.json"
local near    = require "neap.near"
local process = require "native.process"
local task    = require "native.task"
local words   = require "neap.words"

local notify = {}

local TIMEOUT = 30 -- seconds for one program
local EVENTS = { start = true, human = true, failed = true, done = true }

local function known_keys()
  local known = words.notice_keys()
  known.events, known.command = true, true
  return known
end

local function mistake_in(entry)
  if type(entry) ~= "table" then return "is a map with events and command, webhook, pagerduty or mail" end
  local known = known_keys()
  for key in pairs(entry) do
    if not known[key] then return ("has no key '%s'%s"):format(tostring(key), near.hint(tostring(key), known)) end
  end
  for _, name in ipairs(type(entry.events) == "table" and entry.events or {}) do
    if not EVENTS[name] then return ("knows no event '%s'%s"):format(tostring(name), near.hint(name, EVENTS)) end
  end
  if not entry.command then return words.notice_mistake(entry) end
  if type(entry.command) ~= "table" or type(entry.command[1]) ~= "string" then
    return "lacks command, an argument list"
  end
  for key in pairs(entry) do
    if key ~= "events" and key ~= "command" then return ("has '%s', which does not go with command"):format(key) end
  end
end

--- What is wrong with an environment's list, or nil.
--- @param list table
--- @return string? message
function notify.mistake(list)
  for i, entry in ipairs(list) do
    local mistake = mistake_in(entry)
    if mistake then return ("notify %d %s"):format(i, mistake) end
  end
end

local function wants(entry, event)
  if not entry.command and not words.notice_wants(entry, event) then return false end
  if not entry.events then return true end
  for _, name in ipairs(entry.events) do
    if name == event then return true end
  end
  return false
end

--- After the close nothing is written any more.
local function note(run, entry, event, problem)
  if run.state.closed then return end
  local whom = entry.command and entry.command[1] or words.notice_name(entry)
  local text = ("told %s: %s%s"):format(whom, event, problem and ", " .. problem or "")
  pcall(run.writer.append, run.writer, { type = "note", kind = "notify", event = event, text = text,
    failed = problem ~= nil or nil })
end

local function run_program(argv, event)
  local result = process.run(argv, { reads = true, input = json.encode(event) .. "\n", timeout = TIMEOUT })
  if result.status == 0 then return end
  fault.raise { kind = "remote",
    message = "which failed: " .. (result.status and "exit status " .. result.status or "SIG" .. result.signal) }
end

--- One after the other for each entry: it is told of the start before it is told of the end.
local function tell(run, entry, event, before)
  if before then before:wait() end
  local ok, failure
  if entry.command then
    ok, failure = pcall(run_program, entry.command, event)
  else
    ok, failure = pcall(words.notice, run, entry, event)
  end
  note(run, entry, event.event, not ok and (fault.is(failure) and failure.message or tostring(failure)) or nil)
end

--- Gives an event to those that want it, beside the run. Never raises.
--- @param run table
--- @param event "start"|"human"|"failed"|"done"
--- @param fields? table  what else there is to say
function notify.send(run, event, fields)
  local message = { event = event, environment = run.environment.name,
    procedure = run.procedure.name, actor = run.state.first and run.state.first.actor }
  for key, value in pairs(fields or {}) do message[key] = value end
  message = data.shown(message)
  for _, entry in ipairs(run.environment.notify or {}) do
    if wants(entry, event) then
      run.telling, run.told = run.telling or {}, run.told or {}
      local telling = task.spawn(task.shield, tell, run, entry, message, run.told[entry])
      run.told[entry] = telling
      table.insert(run.telling, telling)
    end
  end
end

local of = {}

function of.run(run, record) notify.send(run, "start", { run = record.run }) end

function of.ask(run, record)
  notify.send(run, "human", { run = record.run, question = record.text, kind = record.kind, path = record.path,
    options = record.options })
end

function of.close(run, record) notify.send(run, "done", { run = record.run, outcome = record.outcome }) end

of["end"] = function(run, record)
  local attempt = record.status == "failed" and run.state.attempts[record.of or 0]
  if not attempt or record.path:find("/", 1, true) then return end
  notify.send(run, "failed", { run = record.run, path = record.path, attempt = attempt.attempt,
    message = record.failure and record.failure.message })
end

--- Told of each record once it is durable.
--- @param run table
--- @param record table
function notify.of_record(run, record)
  if of[record.type] and #(run.environment and run.environment.notify or {}) > 0 then of[record.type](run, record) end
end

--- Waits for what is still being told, and makes what was noted of them durable.
--- @param run table
function notify.finish(run)
  if not run.telling then return end
  for _, telling in ipairs(run.telling) do telling:wait() end
  run.telling = nil
  if not run.state.closed then pcall(run.writer.flush, run.writer) end
end

return notify
