--- Targets in memory, for tests of procedures: every kind of change acts on states that a test gives, and every read and
--- command gets the answer that the test gives it. A kind keeps what it promises: one that can be asked by its witness here
--- can be asked there, and one that cannot, cannot.
local clusters = require "neap.fakes.cluster"
local data  = require "neap.engine.data"
local fault = require "native.error"
local json  = require "native.json"
local kinds = require "neap.engine.kinds"
local task  = require "native.task"

local targets = {}

--- @class neap.fake_targets
--- @field states table<string, { kind: string, target: any, state: any }>
--- @field log { kind: string, show: string, what: string, data: any }[]  what has happened, in order
--- @field changed integer  how many calls that change something there were
--- @field fail_at? integer  the call that is refused
--- @field before_call? fun(what: string)  told of each call, before and after it
local Targets = {}
Targets.__index = Targets

--- @return neap.fake_targets
function targets.new()
  return setmetatable({ states = {}, log = {}, taken = {}, answers = {}, results = {}, given = {}, happened = {},
    kinds = {}, changed = 0 }, Targets)
end

--- As whom a file is read or written is no part of which file it is.
local function key_of(kind, target)
  target = data.plain(kind.key and kind.key(target) or target)
  if type(target) == "table" then target.become = nil end
  return data.digest(kind.name, target)
end

--- A kind of neap's, or one that a procedure declares, once it has been used.
local function named(self, name)
  for kind in pairs(self.kinds) do
    if kind.name == name then return kind end
  end
  local ok, kind = pcall(kinds.find, nil, name)
  return ok and kind or { name = name }
end

-- ---- what a test gives ----

--- What a target's state is known by.
--- @param name string
--- @param target any
--- @return string
function Targets:key(name, target) return key_of(named(self, name), target) end

--- Puts a state there.
--- @param name string  of the kind
--- @param target any
--- @param state any     as the kind's get gives it; nil: nothing is there
function Targets:put(name, target, state)
  local key = self:key(name, target)
  self.states[key] = { kind = name, target = data.plain(target), state = data.plain(state) }
end

--- The state that is there.
--- @param name string
--- @param target any
--- @return any
function Targets:get(name, target)
  local found = self.states[key_of(named(self, name), target)]
  return found and data.plain(found.state) or nil
end

--- Answers a read, or a command of a host ("host.exec"). A pattern is looked for in the arguments as JSON; the last answer
--- that fits counts.
--- @param name string
--- @param pattern string|nil
--- @param answer any  a value, or a function of the read's arguments; nil from it: ask the answer before
function Targets:answer(name, pattern, answer)
  self.answers[name] = self.answers[name] or {}
  table.insert(self.answers[name], 1, { pattern = pattern, answer = answer })
end

--- What an action returns.
--- @param name string  of the kind
--- @param result any   a value, or a function of target and data
function Targets:result(name, result) self.given[name] = result end

-- ---- calls ----

local function note(self, kind, target, what, given)
  table.insert(self.log, { kind = kind.name, show = kinds.show(kind, target), what = what, data = given })
end

--- One call that changes something: refused where the test wants that, and told of before and after.
function Targets:call(kind, target, what, fn)
  task.may_change(kind.name)
  self.changed = self.changed + 1
  local line = ("%s of %s"):format(what, kinds.show(kind, target))
  if self.before_call then self.before_call("before the " .. line) end
  if self.changed == self.fail_at then
    self.failed = line
    fault.raise { kind = "denied", message = ("the trial refuses the %s"):format(line) }
  end
  local result = fn()
  if self.before_call then self.before_call("after the " .. line) end
  return result
end

--- A late call finds its witness closed.
local function check_open(self, call)
  if self.taken[call.witness] == "closed" then
    fault.raise { kind = "conflict", code = "closed", message = "the trial has shut this call out" }
  end
  self.taken[call.witness] = "done"
end

local function take(self, witness)
  if self.taken[witness] == "done" then return "done", data.plain(self.results[witness]) end
  self.taken[witness] = "closed"
  return "void"
end

local function result_of(self, kind, target, given)
  local result = self.given[kind.name]
  if type(result) == "function" then return data.plain(result(target, given)) end
  return data.plain(result)
end

-- ---- kinds ----

local KEPT = { "name", "class", "version", "show", "text", "says", "key", "result", "undo_needs_data", "timeout",
               "late", "pinned", "where" }

local function fake_resource(self, kind, fake)
  function fake.get(target)
    local found = self.states[key_of(kind, target)]
    return found and data.plain(found.state) or nil
  end
  function fake.put(target, state, call)
    return self:call(kind, target, "put", function()
      if kind.take then check_open(self, call) end
      note(self, kind, target, "put", state)
      self.states[key_of(kind, target)] = { kind = kind.name, target = target, state = data.plain(state) }
    end)
  end
end

local function fake_action(self, kind, fake)
  function fake.run(target, given, call)
    return self:call(kind, target, "run", function()
      if kind.take then check_open(self, call) end
      note(self, kind, target, "run", given)
      local result = result_of(self, kind, target, given)
      self.results[call.witness] = result
      self.happened[data.digest(kind.name, target, given)] = true
      return result
    end)
  end
  if kind.done then
    function fake.done(target, given) return self.happened[data.digest(kind.name, target, given)] or false end
  end
  if kind.undo then
    function fake.undo(target, given, call)
      return self:call(kind, target, "undo", function()
        if kind.take then check_open(self, call) end
        note(self, kind, target, "undo", given)
      end)
    end
  end
end

--- The kind as it acts on these targets.
--- @param kind table
--- @return table
function Targets:kind(kind)
  local fake = self.kinds[kind]
  if fake then return fake end
  fake = {}
  for _, key in ipairs(KEPT) do fake[key] = kind[key] end
  if kind.take then function fake.take(_, witness) return take(self, witness) end end
  if kind.class == "resource" then fake_resource(self, kind, fake) else fake_action(self, kind, fake) end
  self.kinds[kind] = fake
  return fake
end

-- ---- reads ----

local function file_at(self, target)
  local found = self:get("file.content", target)
  if found then return found, "file" end
  found = self:get("file.directory", target)
  return found, "directory"
end

--- What a server of databases says of itself: who is logged in, and what it makes a new database with.
local SERVER_SAYS = {
  current_user = "neap", ["@@character_set_server"] = "utf8mb4", ["select collation_name"] = "utf8mb4_general_ci",
}

--- What follows from the states.
local follows = {
  ["file.stat"] = function(self, target)
    local state, what = file_at(self, target)
    if not state then return nil end
    return { type = what, mode = state.mode, owner = state.owner, group = state.group, mtime = 0,
      size = state.content and #state.content or 0 }
  end,
  ["file.sha256"] = function(self, target)
    local state = self:get("file.content", target)
    if not state then fault.raise { kind = "missing", message = target.path .. " is not there" } end
    return require "native.crypto".sha256(state.content)
  end,
  ["sql.server"] = function(self, target, text, params)
    for pattern, answer in pairs(SERVER_SAYS) do
      if text:find(pattern, 1, true) then return answer end
    end
    self:no_answer("sql.server", target, text, params)
  end,
  ["service.running"] = function() return true end,
  ["nginx.test"] = function() return true end,
}

for name, answer in pairs(clusters.reads) do follows[name] = answer end

local function arguments_text(...)
  local ok, text = pcall(json.encode, data.plain({ ... }))
  return ok and text or ""
end

local function find_answer(self, name, text, ...)
  for _, one in ipairs(self.answers[name] or {}) do
    if not one.pattern or text:find(one.pattern) then
      local answer = one.answer
      if type(answer) == "function" then answer = answer(...) end
      if answer ~= nil then return true, data.plain(answer) end
    end
  end
  return false
end

--- Of a host its name alone is shown.
local function read_text(target, ...)
  return arguments_text(type(target) == "table" and target.name and { name = target.name } or target, ...)
end

--- Raises that a test has to answer a read itself.
--- @param name string
--- @param target any
--- @param ... any  its other arguments
function Targets.no_answer(_, name, target, ...)
  fault.raise { kind = "missing",
    message = ("the trial has no answer to %s of %s"):format(name, read_text(target, ...)),
    hint = ('say it in the test: trial:answer("%s", nil, …)'):format(name) }
end

--- Raises that nothing real is reached.
--- @param what string  "the database shop"
function Targets.no_connection(_, what)
  fault.raise { kind = "missing", message = ("the trial has no connection to %s"):format(what),
    hint = "give the states that are changed by trial:put(kind, target, state), and answers by trial:answer(read, …)" }
end

--- The answer to a read.
--- @param name string
--- @param target any
--- @param ... any  its other arguments
--- @return any
function Targets:read(name, target, ...)
  local found, answer = find_answer(self, name, read_text(target, ...), target, ...)
  if found then return answer end
  if follows[name] then return follows[name](self, target, ...) end
  self:no_answer(name, target, ...)
end

--- Who is logged in, which targets ask by themselves.
local function of_login(text)
  if text:find "^id %-un && id %-gn" then return "ops\nops\n/home/ops\n" end
  return text:match "^id %-gn ([%w_-]+)$"
end

--- What a command of a host gives.
--- @param host string
--- @param command string[]|string
--- @return { out: string, err: string, status: integer }
function Targets:command(host, command)
  local text = type(command) == "table" and table.concat(command, " ") or command
  local _, answer = find_answer(self, "host.exec", host .. " " .. text, host, command)
  answer = answer or of_login(text)
  if answer == nil then
    fault.raise { kind = "missing", message = ("the trial has no answer to the command %s of %s"):format(text, host),
      hint = 'say it in the test: trial:answer("host.exec", "…", "its output")' }
  end
  if type(answer) == "string" then answer = { out = answer } end
  return { out = answer.out or "", err = answer.err or "", status = answer.status or 0 }
end

--- What a cluster's API server is asked beside reads.
--- @param name string
--- @param method string
--- @param path string
--- @return any
function Targets:ask_cluster(name, method, path) return clusters.ask(self, name, method, path) end

--- The files of a host, beside those that changes are about.
--- @param host string
function Targets.files(_, host)
  fault.raise { kind = "missing", host = host, message = ("the trial has no file channel to %s"):format(host),
    hint = 'give the file as trial:file(host, path, text)' }
end

--- The states as they are, for comparing: key to state.
--- @return table<string, any>
function Targets:snapshot()
  local found = {}
  for key, one in pairs(self.states) do
    local show = ("%s %s"):format(one.kind, kinds.show(named(self, one.kind), one.target))
    if one.state ~= nil then found[key] = { show = show, state = one.state } end
  end
  return data.plain(found)
end

return targets
