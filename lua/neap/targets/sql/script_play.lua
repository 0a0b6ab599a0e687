--- Carries a script out on a server, statement by statement, from where it has come to.
local databases = require "neap.targets.database"
local dialect   = require "neap.targets.sql.dialect"
local fault     = require "native.error"
local json      = require "native.json"
local marker    = require "neap.targets.sql.marker"
local progress  = require "neap.targets.sql.progress"
local series    = require "neap.targets.sql.script_series"
local source    = require "neap.targets.sql.script_source"
local task      = require "native.task"
local words     = require "neap.targets.sql.script_words"

local play = {}

local SHOWN = 200  -- bytes of a statement in an error
local EVERY = 1    -- seconds between two lines of progress

--- What a script needs while it is carried out.
--- @class neap.sql_performance
--- @field target { database: string }
--- @field call { witness: string, timeout: number }
--- @field player neap.sql_player
--- @field state table       as neap.targets.sql.progress has it
--- @field done integer      statements up to this one are passed over
--- @field total integer
--- @field timeout number    seconds for each statement
--- @field lost table<string, { line: integer, what: string }>  what a session that is gone had
--- @field whole? boolean    all is one transaction
--- @field failure? any      what the server said to the statement that it refused
local Performance = {}
Performance.__index = Performance

-- ---- what is said of it ----

function Performance:place(step) return ("%s:%d"):format(step.file_name, step.item.line) end

local function short(text)
  text = text:gsub("%s+", " ")
  return #text > SHOWN and text:sub(1, (utf8.offset(text, 0, SHOWN) or SHOWN) - 1) .. "…" or text
end

--- An error of the server, with the statement that it is about.
function Performance:refused(step, failure)
  if not fault.is(failure) then return failure end
  local fields = {}
  for _, key in ipairs { "kind", "code", "host", "hint" } do fields[key] = failure[key] end
  fields.host, fields.hint = fields.host or self.target.database, fields.hint or dialect.why(failure)
  fields.output = short(step.text or step.copy.sql)
  fields.message = ("%s: %s"):format(self:place(step), failure.message)
  return fault.new(fields)
end

function Performance:tell(step)
  local now = task.now()
  if now < self.told + EVERY then return end
  self.told = now
  local run = task.context().run
  if not run.emit then return end
  run:emit { type = "progress", path = task.context().path, show = self.target.database,
    text = ("statement %d of %d (line %d)"):format(step.index, self.total, step.item.line) }
end

function Performance:echo(text)
  local output = task.context().run.output
  if output then output(self.target.database, text, "out") end
end

-- ---- one statement ----

local function copied(self, step)
  local read, close = function() return self.player:data() end, function() end
  if step.file then read, close = source.open(step.file) end
  local ok, failure = pcall(function()
    return self.connection.native:copy_in(step.copy and step.copy.sql or step.text, read, { timeout = self.timeout })
  end)
  close()
  if not ok then error(failure, 0) end
end

local function as_text(value)
  if type(value) == "boolean" then return value and "t" or "f" end
  if math.type(value) ~= "float" then return tostring(value) end
  for digits = 15, 17 do
    local text = ("%." .. digits .. "g"):format(value)
    if tonumber(text) == value then return text end
  end
end

--- The values of a row, as psql's variables get them.
local function got(step, result)
  if #result.rows ~= 1 then
    fault.raise { kind = "conflict", message = ("\\gset wants one row, the statement gave %d"):format(#result.rows) }
  end
  local values = {}
  for i, name in ipairs(result.columns) do
    local value = result.rows[1][i]
    values[step.item.gset .. name] = value ~= json.null and as_text(value) or nil
  end
  return { prefix = step.item.gset, values = values, columns = result.columns }
end

local function set_values(self, get)
  for _, column in ipairs(get.columns) do self.player.values[get.prefix .. column] = nil end
  for name, value in pairs(get.values) do self.player.values[name] = value end
end

--- A text of the script as its client would send it.
function Performance:say(text)
  local native = self.connection.native
  if self.connection.dialect.name == "mysql" then return native:execute(text, nil, self.options) end
  return native:simple(text, self.options)
end

function Performance:send(step)
  if step.item.data or step.copy then return copied(self, step) end
  local result = self:say(words.for_server(self.connection.dialect, step.text))
  if not step.item.gset then return end
  local get = got(step, result)
  set_values(self, get)
  self.state.gets = self.state.gets or json.array {}
  table.insert(self.state.gets, get)
end

--- The state once this statement is done.
function Performance:reach(step) self.state.index, self.state.line = step.index, step.item.line end

function Performance:mark() progress.move(self.connection, self.call.witness, self.state) end

local CUT = { lost = true, timeout = true, cancelled = true }

--- Ends the transaction of a statement that was refused. Where that cannot be heard, only the row says what became of
--- it.
function Performance:roll_back(failure)
  if fault.is(failure) and CUT[failure.kind] then error(failure, 0) end
  task.shield(self.connection.execute, self.connection, "rollback")
  if not fault.is(failure, "remote") and not fault.is(failure, "denied") then error(failure, 0) end
end

local STOP = setmetatable({}, { __tostring = function() return "the script stops" end })

--- The server has said no: the part ends before this statement.
function Performance:stop(step, failure)
  self.failure = self:refused(step, failure)
  error(STOP, 0)
end

local function in_several_requests(self, step)
  if self.connection.dialect.name ~= "mysql" then self:say "begin" end
  self:send(step)
  self:reach(step)
  self:mark()
  self:say "commit"
end

--- A statement that commits with its own mark; returns what it was refused for.
local function commit_alone(self, step)
  local before, line, gets = self.state.index, self.state.line, #(self.state.gets or {})
  local ok, failure = pcall(in_several_requests, self, step)
  if ok then return end
  self.state.index, self.state.line = before, line
  for i = #(self.state.gets or {}), gets + 1, -1 do self.state.gets[i] = nil end
  self:roll_back(failure)
  return failure
end

--- A statement that cannot share a transaction, between two marks.
local function commit_itself(self, step)
  self.state.begun = { index = step.index, line = step.item.line, file = step.file_name, text = short(step.text) }
  self:mark()
  if self.connection.dialect.name == "mysql" then self.connection:execute "commit" end
  local ok, failure = pcall(self.send, self, step)
  self.state.begun = nil
  if not ok then
    if not fault.is(failure, "remote") and not fault.is(failure, "denied") then error(failure, 0) end
    self:stop(step, failure)
  end
  self:reach(step)
  progress.ended(self.connection, self.call.witness, self.state)
  if self.connection.dialect.name == "mysql" then self.connection:execute "commit" end
end

local NOT_IN_A_TRANSACTION = { ["25001"] = true, ["2D000"] = true }

local take = {}

--- A statement that was refused in a transaction of its own: some of them cannot be in any.
function Performance:refuse_alone(step, failure)
  if fault.is(failure) and NOT_IN_A_TRANSACTION[failure.code] then return commit_itself(self, step) end
  self:stop(step, failure)
end

function take.plain(self, step)
  if self.block or self.whole then return self:within_block(step) end
  local failure = commit_alone(self, step)
  if failure then self:refuse_alone(step, failure) end
end

function Performance:within_block(step)
  local ok, failure = pcall(self.send, self, step)
  if not ok then self:break_block(step, failure) end
end

--- What a refused statement leaves of a transaction that the script has begun is nothing: it begins anew there.
function Performance:break_block(step, failure)
  if self.whole or not self.block then error(self:refused(step, failure), 0) end
  self:roll_back(failure)
  self.state = self.block.state
  self:stop(step, failure)
end

local function copy_of(state)
  local copy = {}
  for key, value in pairs(state) do copy[key] = value end
  if state.gets then copy.gets = json.array(table.move(state.gets, 1, #state.gets, 1, {})) end
  return copy
end

function take.begin(self, step)
  self.block = { line = step.item.line, state = copy_of(self.state) }
  self:within_block(step)
end

function take.commit(self, step)
  if not self.block then return self:within_block(step) end
  local ok, failure = pcall(function()
    self:reach(step)
    self:mark()
    self:send(step)
  end)
  if not ok then
    local before = self.block.state
    self:roll_back(failure)
    self.state = before
    self:stop(step, failure)
  end
  self.block = self.connection:facts().in_transaction and self.connection.dialect.name ~= "mysql"
    and { line = step.item.line, state = copy_of(self.state) } or nil
end

--- Marks what was carried out before in a transaction of its own.
local function mark_alone(self, step)
  self:reach(step)
  self:mark()
  if self.connection.dialect.name == "mysql" then self.connection:execute "commit" end
end

function take.rollback(self, step)
  local block = self.block
  self:within_block(step)
  if not block then return end
  self.state, self.block = block.state, nil
  mark_alone(self, step)
end

--- What the session is told is told a new one again: it needs no mark.
function take.setting(self, step)
  if self.block or self.whole then return self:within_block(step) end
  local ok, failure = pcall(self.send, self, step)
  if ok and self.connection.dialect.name == "mysql" then self.connection:execute "commit" end
  if ok then return end
  if not fault.is(failure, "remote") and not fault.is(failure, "denied") then error(failure, 0) end
  self:stop(step, failure)
end

take.locks = take.setting

--- MariaDB commits what is open before such a statement.
function take.outside(self, step)
  if self.block then
    if self.connection.dialect.name ~= "mysql" then return self:within_block(step) end
    self:mark()
    self.connection:execute "commit"
    self.block = nil
  end
  commit_itself(self, step)
end

-- ---- what was done in a session that is gone ----

--- Puts the new session in the state of the old one, as far as that is certain.
function Performance:pass(step)
  if step.item.gset and step.active then
    self.passed_gets = (self.passed_gets or 0) + 1
    local get = (self.state.gets or {})[self.passed_gets]
    if get then set_values(self, get) end
  end
  if not step.text then return end
  local what, left = words.of(self.connection.dialect, step.text), nil
  if what == "setting" and words.is_repeatable(self.connection.dialect, step.text) then
    return self.connection:execute(step.text)
  end
  if what == "locks" then self.locks = words.holds_locks(step.text) and step.text or nil end
  for name, kind in pairs(words.session_things(self.connection.dialect, step.text)) do
    self.lost[name] = { line = step.item.line, what = kind }
    left = true
  end
  return left
end

--- The last locks are taken again, when everything before is passed.
function Performance:resume_session()
  if self.locks then self.connection:execute(words.for_server(self.connection.dialect, self.locks)) end
  self.locks = nil
end

function Performance:check_lost(step)
  if not next(self.lost) then return end
  local made = words.session_things(self.connection.dialect, step.text)
  local lower = step.text:lower()
  for name, lost in pairs(self.lost) do
    if made[name] then
      self.lost[name] = nil
    elseif lower:find(name, 1, true) then
      series.flush(self)
      self:stop(step, fault.new { kind = "conflict", code = "session", host = self.target.database,
        message = ("it needs the %s %s of line %d, which was the session's that has ended"):format(lost.what, name,
          lost.line) })
    end
  end
end

-- ---- the walk ----

--- Whether the run is to pause: at the next statement the journal can say where.
local function is_to_pause(self)
  local context = task.context()
  return not self.block and not self.whole and (context.run.pausing or (context.stop and context.stop.requested))
end

function Performance:take(step)
  if not step.active then return end
  if step.text then self:check_lost(step) end
  local what = step.copy and "plain" or words.of(self.connection.dialect, step.text)
  if what == "plain" and series.takes(self, step) then return series.add(self, step) end
  series.flush(self)
  take[what](self, step)
  self:tell(step)
end

local function take_command(self, step)
  series.flush(self)
  if step.echo and self.player.index >= self.done then self:echo(step.echo) end
  if step.use then self.connection:execute("use " .. self.connection.dialect:ident(step.use)) end
end

--- Carries out what is left, or up to where another database begins: returns its name then.
function Performance:walk()
  while true do
    local step = self.player:next()
    if not step or step.connect then
      series.flush(self)
      return step and step.connect
    end
    if step.index and step.index <= self.done then
      self:pass(step)
    elseif step.index then
      if is_to_pause(self) then
        self.paused = true
        return series.drop(self)
      end
      self:resume_session()
      self:take(step)
    else
      take_command(self, step)
    end
  end
end

--- The same; what the script itself is wrong in stands behind what was read before.
local function walk(self)
  series.begin(self)
  local ok, result = pcall(self.walk, self)
  if ok then return result end
  series.flush_before(self, result)
  error(result, 0)
end

local function check_block_ended(self)
  if not self.block then return end
  local line = self.block.line
  self.state = self.block.state
  self.failure = fault.new { kind = "conflict", host = self.target.database,
    message = ("%s: the transaction that begins at line %d is not ended: nothing of it stays"):format(
      self.player.script.name, line) }
  task.shield(self.connection.execute, self.connection, "rollback")
end

--- The row of the call in the database of this connection, unless it stands there.
local function open_row(self)
  local name = self.connection:facts().database or ""
  if self.opened[name] then return end
  self.opened[name] = true
  marker.make_table(self.connection)
  local furthest = progress.begin(self.connection, self.call, self.state.script, self.undoing)
  if not furthest or furthest.index <= self.done then return end
  self.state.index, self.state.line, self.state.gets = furthest.index, furthest.line, furthest.gets
  self.done = furthest.begun and self.applied and furthest.begun.index or furthest.index
end

--- One database's share of it, in a session of its own; returns the database that comes next.
local function share(self, connection)
  self.connection, self.options = connection, { timeout = self.timeout }
  open_row(self)
  connection.timeout = self.timeout
  self:mark()
  progress.prepare(connection, self.call.witness)
  if connection.dialect.name == "mysql" then connection:execute "set autocommit = 0" end
  local ok, following = pcall(walk, self)
  if not ok and following ~= STOP then error(following, 0) end
  if ok and not self.paused then check_block_ended(self) end
  local left = self.undoing and self.failure and "closed" or ok and following and "open" or "done"
  progress.finish(connection, self.call.witness, self.state, left)
  if connection.dialect.name == "mysql" then connection:execute "commit" end
  return ok and not self.failure and following or nil
end

--- Carries a script out from the statement behind `done`. Returns the last one that is done; self.failure is what the
--- server said to the one behind that.
--- @param fields table  of neap.sql_performance
--- @return neap.sql_performance
function play.parts(fields)
  local self = setmetatable(fields, Performance)
  self.lost, self.told, self.opened = {}, task.now(), {}
  local inside
  repeat
    local place = { name = self.target.database, inside = inside, apart = self.call.witness }
    inside = databases.apart(place, function(connection) return share(self, connection) end)
  until not inside
  self.player:close()
  return self
end

--- Carries the whole script out in one transaction.
--- @param fields table
--- @return neap.sql_performance
function play.whole(fields)
  local self = setmetatable(fields, Performance)
  self.lost, self.told, self.whole, self.done = {}, task.now(), true, 0
  local place = { name = self.target.database, apart = self.call.witness }
  local ok, failure = pcall(marker.transaction, place, self.call, function(connection)
    self.connection, connection.timeout, self.options = connection, self.timeout, { timeout = self.timeout }
    connection:execute "select 1" -- tells the server that time, which it would not hear after an error
    walk(self)
    return { upto = self.player.index }
  end)
  databases.apart(place, function() end)
  self.player:close()
  if not ok then error(failure, 0) end
  return self
end

return play
