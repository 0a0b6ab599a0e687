--- Witnessed commands: a command that runs on its host at most once, outlives the connection that started it, and can
--- be asked what became of it, followed again, or shut out for ever.
---
--- Each effect's command has a name in the run's folder on the host, `~/.neap/effects/RUN/…` of the login; the job
--- takes that name by mkdir as its last act before the command, a settler by the same mkdir. Whoever comes second gives
--- way. A call that arrives late, after the run is closed and the folder removed, finds no place to take and dies. The
--- job's output, pid, boot id and exit status stand beside it. Its input goes through its memory, never into a file.
local crypto = require "native.crypto"
local fault  = require "native.error"
local hosts  = require "neap.targets.connection"
local output = require "neap.targets.output"
local script = require "neap.targets.witness.script"
local secret = require "native.secret"
local shell  = require "neap.targets.shell"
local task   = require "native.task"

local witness = {}

local TIMEOUT = 3600                      -- seconds a command may take where none is given
local QUESTION_TIMEOUT = 60               -- seconds for what only asks
local END_TIMEOUT = 30                    -- seconds to end a command that was cancelled
local REATTACH = { 0.2, 1, 3, 5 }         -- seconds before each try to follow a command whose connection broke
local INPUT_LIMIT = 64 * 1024 * 1024

-- ---- what the script says ----

--- Reads the lines and the framed output that the script writes; what a login shell says before them is passed over.
local Frames = {}
Frames.__index = Frames

local function new_frames(on_output)
  return setmetatable({ on_output = on_output, out = output.new(), err = output.new() }, Frames)
end

--- To be called before each conversation: what was got so far is kept.
function Frames:begin() self.rest, self.open, self.left, self.verdict, self.lines = "", false, 0, nil, {} end

function Frames:take_bytes()
  local bytes = self.rest:sub(1, self.left)
  self.rest, self.left = self.rest:sub(#bytes + 1), self.left - #bytes
  local text = self[self.side]:add(bytes)
  if self.on_output and text ~= "" then self.on_output(text, self.side) end
end

--- Nothing comes any more: what may have been the beginning of a secret was none.
function Frames:finish()
  for _, name in ipairs { "out", "err" } do
    local text = self[name]:finish()
    if self.on_output and text ~= "" then self.on_output(text, name) end
  end
end

function Frames:take_line(line)
  if not self.open then
    self.open = line == "neap" or line:find("neap$") ~= nil
    return
  end
  local word, side, count = line:match("^(%l+) ?(%l*) ?(%d*)$")
  if word == "out" or word == "err" then
    self.side, self.left = word, tonumber(line:match("%d+"))
  elseif word == "gap" then
    self[side].total, self[side].gap = self[side].total + tonumber(count), self[side].gap + tonumber(count)
  elseif line:sub(1, 2) == "= " then
    self.verdict = line:sub(3)
  elseif line ~= "beat" then
    self.lines[#self.lines + 1] = line
  end
end

function Frames:feed(bytes)
  self.rest = self.rest .. bytes
  while true do
    if self.left > 0 then
      if self.rest == "" then return end
      self:take_bytes()
    else
      local line, behind = self.rest:match("^([^\n]*)\n()")
      if not line then return end
      self.rest = self.rest:sub(behind)
      self:take_line(line)
    end
  end
end

--- Runs the script with these words on the host; returns what it said on its error output. Raises kind `lost` when it
--- ended without a verdict.
local function converse(host, frames, words, input, timeout)
  local text = "exec sh -c 'eval \"$1\"' neap " .. shell.quote(script) .. " " .. shell.words(words)
  frames:begin()
  local result = hosts.guard(host, function()
    local stream <close> = hosts.open(host, text, false)
    return stream:collect { input = input, timeout = timeout, on_output = function(bytes, side)
      if side == "out" then frames:feed(bytes) end
    end }
  end)
  if not frames.verdict then
    fault.raise { kind = "lost", host = hosts.name(host), output = result.err,
      message = ("the shell on %s ended without an answer"):format(hosts.name(host)) }
  end
  return result.err
end

-- ---- the run's folder ----

local function name_of(target) return hosts.name(type(target) == "table" and target.host or target) end

local function folders_of(run)
  run.connections["witness"] = run.connections["witness"] or { close = function() end, places = {} }
  return run.connections["witness"].places
end

local function refused(host, what, said)
  fault.raise { kind = "denied", host = host, output = said, message = what:format(host) }
end

local function make_folder(host)
  local frames = new_frames()
  local said = converse(host, frames, { "prepare", hosts.run().uid, crypto.hex(crypto.random(4)) }, "",
    QUESTION_TIMEOUT)
  return frames, said
end

--- Where witnesses of this run stand on a host: connects, logs in and makes the folder at the first use of the host. To
--- be a kind's `prepare`, so that it stands in the intent: only the login that made it can settle.
--- @param target string|table  a host, or a target with `host`
--- @return { login: string, folder: string } place
function witness.prepare(target)
  local host, places = name_of(target), folders_of(hosts.run())
  if places[host] then return places[host] end
  local ok, frames, said = pcall(make_folder, host)
  if not ok then
    -- the folder's name is used by nobody: whatever became of the call, nothing has begun
    if fault.is(frames, "lost") then
      refused(host, "there is no place for the effects of a run on %s, in the home of the login", frames.output)
    end
    error(frames, 0)
  end
  if frames.verdict ~= "ready" or not frames.lines[2] then refused(host, "%s did not make the run's folder", said) end
  places[host] = { login = frames.lines[1], folder = frames.lines[2] }
  return places[host]
end

--- The place that a call or an intent names.
local function place_of(call)
  if type(call) == "table" and call.place then return call.place end
  error("a kind with a witnessed command says `prepare = witness.prepare` and hands on its call, or its intent", 3)
end

-- ---- running ----

--- One look for the output that followed, until the job has ended.
local function follow_on(host, place, id, frames, timeout)
  converse(host, frames, { "follow", place.folder, id, frames.out.total, frames.err.total }, "", timeout)
  return frames.verdict
end

--- After the connection broke: follows the job from where it was, if it has begun; else raises the failure.
local function attach(host, place, id, frames, timeout, failure)
  local got = frames.out.total + frames.err.total
  frames.broken = failure
  for _, pause in ipairs(REATTACH) do
    task.sleep(pause)
    local ok, again = pcall(follow_on, host, place, id, frames, timeout)
    if ok then
      frames.broken = nil
      return frames.verdict
    end
    if not fault.is(again) or (again.kind ~= "lost" and again.kind ~= "connect") then error(again, 0) end
    if frames.out.total + frames.err.total > got then
      return attach(host, place, id, frames, timeout, again)
    end
  end
  error(failure, 0)
end

local function end_job(host, place, id, become)
  return task.shield(task.deadline, END_TIMEOUT, function()
    local frames = new_frames()
    converse(host, frames, { "end", place.folder, id, become or "" }, "", END_TIMEOUT)
    return frames.verdict
  end)
end

--- Ends a running command: TERM to all its processes, KILL to what is left after 5 seconds.
--- @param host string|table
--- @param call table  the call, or the intent
--- @param become? string|false  whom it runs as
--- @return string verdict  of the script: "done STATUS", "partial killed", "void", "none" …
function witness.stop(host, call, become)
  return end_job(hosts.name(host), place_of(call), call.witness, hosts.become(host, become))
end

local function result_of(frames, status)
  frames:finish()
  return { out = frames.out:text(), err = frames.err:text(), status = status }
end

local function never_ran(host, verdict, said)
  if verdict == "void" then
    fault.raise { kind = "conflict", host = host,
      message = ("the command on %s was closed before it began"):format(host) }
  elseif verdict == "missing" then
    fault.raise { kind = "conflict", host = host,
      message = ("the folder of this run on %s is not there any more"):format(host) }
  end
  refused(host, "the command could not begin on %s", said)
end

local function check_verdict(host, frames, said)
  local status = frames.verdict:match("^done (%d+)$")
  if status then return result_of(frames, tonumber(status)) end
  local why = frames.verdict:match("^partial (.*)")
  if not why then never_ran(host, frames.verdict, said) end
  local result = result_of(frames)
  fault.raise { kind = "remote", host = host, code = why, output = hosts.last_lines(result),
    message = why == "reboot" and ("%s was started anew while the command ran"):format(host)
      or ("the command on %s was killed"):format(host) }
end

local function encode_input(input)
  if input and secret.size(input) > INPUT_LIMIT then error("the input of a command is at most 64 MiB", 3) end
  return (input and secret.base64(input) or "") .. "."
end

local function start(host, place, id, text, frames, input, timeout)
  local ok, said = pcall(converse, host, frames, { "start", place.folder, id, text }, encode_input(input), timeout)
  if ok then return said end
  if fault.is(said, "lost") then
    attach(host, place, id, frames, timeout, said)
    return ""
  end
  error(said, 0)
end

--- What a deadline or a cancelled wait does not know: the host, the command's own last words, and whether the connection
--- had broken.
local function tell_of_wait(failure, host, frames)
  local said = hosts.last_lines { out = frames.out:text(), err = frames.err:text() }
  failure.host, failure.output = host, said ~= "" and said or nil
  if fault.is(failure, "timeout") then
    failure.message = ("the command on %s did not end in time"):format(host)
      .. (frames.broken and ("; the connection broke: %s"):format(frames.broken.message) or "")
  end
end

local OPTIONS = { become = true, input = true, timeout = true, env = true, cwd = true, ok = true, on_output = true }

--- Runs a command as the witness of an effect, and waits for its end; to be called once for each. A connection that
--- breaks is made again and the output followed from where it was. When the deadline passes or the task is cancelled,
--- the command is ended on its host and the error goes on: then only take says what became of it.
--- Raises as hosts.check, and kind `conflict` or `denied` where it never began.
--- @param host string|table
--- @param call { witness: string, place: table }  what the engine gives to put, run and undo
--- @param command (string|number)[]|string  a list, or a text for the shell
--- @param options? table  become, input, timeout, env, cwd, ok, and on_output(bytes, "out"|"err")
--- @return { out: string, err: string, status: integer } result  of each side the first 64 KiB and the last 1 MiB
function witness.run(host, call, command, options)
  options = shell.check_options(options, OPTIONS, 2)
  local name, become = hosts.name(host), hosts.become(host, options.become)
  local text, settings = shell.text(command, { become = become, env = options.env, cwd = options.cwd })
  local place, id = place_of(call), call.witness
  local run = hosts.run()
  local frames = new_frames(options.on_output or run.output and function(bytes, side) run.output(name, bytes, side) end)
  local ok, said = pcall(start, name, place, id, text, frames, shell.input(settings, options.input),
    options.timeout or TIMEOUT)
  if not ok then
    if fault.is(said, "timeout") or fault.is(said, "cancelled") then
      pcall(end_job, name, place, id, become)
      tell_of_wait(said, name, frames)
    end
    error(said, 0)
  end
  local result = check_verdict(name, frames, said)
  hosts.check(name, command, result, { ok = options.ok, become = become })
  return result
end

-- ---- settling ----

local function unsettled(host, what, said)
  fault.raise { kind = "conflict", host = host, message = what, output = said,
    hint = "look at the host, then say what became of it" }
end

local function check_place(host, place, verdict, said)
  local login = verdict:match("^login (.*)")
  if login then
    local what = "the command was started on %s by %s, and %s cannot say what became of it"
    unsettled(host, what:format(host, place.login, login))
  elseif verdict == "missing" then
    local what = "%s of %s on %s is not there: nothing says whether the command ran"
    unsettled(host, what:format(place.folder, place.login, host))
  elseif verdict == "none" then
    unsettled(host, ("the command's name could not be taken on %s"):format(host), said)
  end
end

--- The verdict in the engine's words.
local function verdict_of(frames, ok)
  local word, detail = frames.verdict:match("^(%l+) ?(.*)$")
  if word == "partial" then
    return "partial", detail == "reboot" and "the host was started anew while it ran"
      or "it was killed: it ended without a status"
  elseif word ~= "done" then
    return word
  end
  local result = result_of(frames, tonumber(detail))
  if hosts.accepts(result.status, ok) then return "done", result end
  if hosts.refused_by_sudo(result) then return "void" end
  return "partial", ("exit status %d"):format(result.status)
end

--- Takes the witness of a command, so that it cannot begin any more if it has not begun; then says what became of it.
--- To be a kind's `take`. Raises kind `conflict` where nothing can be said: another login, or the run's folder is gone.
--- @param target string|table  a host, or a target with `host`
--- @param id string
--- @param intent { place: table, data: any }
--- @param ok? integer[]|"any"  exit statuses of a command that did its work; default: those of intent.data.ok, else 0
--- @return "done"|"void"|"running"|"partial" verdict
--- @return any detail  the result, or why
function witness.take(target, id, intent, ok)
  local host = name_of(target)
  local place = place_of(intent)
  local frames = new_frames()
  local said = converse(host, frames, { "take", place.folder, id, place.login }, "", QUESTION_TIMEOUT)
  check_place(host, place, frames.verdict, said)
  return verdict_of(frames, ok or type(intent.data) == "table" and intent.data.ok or nil)
end

--- Waits for the end of a command that runs, showing its output from the beginning; then the verdict, as of take.
--- @param target string|table
--- @param id string
--- @param intent { place: table }
--- @param options? table  ok, timeout, and on_output(bytes, "out"|"err")
--- @return string verdict
--- @return any detail
function witness.follow(target, id, intent, options)
  options = options or {}
  local host = name_of(target)
  local place = place_of(intent)
  local frames = new_frames(options.on_output)
  follow_on(host, place, id, frames, options.timeout or TIMEOUT)
  check_place(host, place, frames.verdict, "")
  return verdict_of(frames, options.ok)
end

--- Removes the run's folder, at its close: after that no late call can begin. To be a kind's `release`.
--- @param target string|table
--- @param place { folder: string }
function witness.release(target, place)
  local folder, host = place.folder:match("^(/.*/%.neap/effects/[%w-]+)/[%w-]+$"), name_of(target)
  if folder then converse(host, new_frames(), { "remove", folder }, "", QUESTION_TIMEOUT) end
  folders_of(hosts.run())[host] = nil
end

return witness
