--- Statements of a script that are sent together, as one request: each still commits for itself, with its own mark, and
--- the server stops at the first that it refuses.
---
--- Whoever asks a script to pause waits for what was sent. So only statements of a kind that was quick so far (the same
--- words at the same table) go together, twice as many each time, and fewer where they take longer, down to one.
local fault     = require "native.error"
local progress  = require "neap.targets.sql.progress"
local task      = require "native.task"
local words     = require "neap.targets.sql.script_words"

local series = {}

local MOST, BYTES = 128, 256 * 1024 -- of a request
local QUICK, SLOW = 0.05, 0.25      -- seconds of a request
local KINDS = 1000                  -- that are remembered
local LONGEST = 7 * 24 * 3600       -- seconds that a request is waited for
local STATEMENT_TIMEOUT_OF_EACH = 130000 -- PostgreSQL's version from which on a statement of a request has its own time

local function kind_of(text) return text:match "^%a+%s+%a+%s+[^%s(]+" or text:sub(1, 40) end

local function nothing() return { room = MOST, bytes = 0, kinds = {} } end

--- What a performance begins a session with.
--- @param self neap.sql_performance
function series.begin(self)
  local sql = self.connection.dialect.name
  self.waiting, self.quick, self.kinds = nothing(), {}, 0
  self.has_series = sql == "mysql"
    or sql == "postgres" and self.connection:facts().server_version >= STATEMENT_TIMEOUT_OF_EACH
  if self.has_series then
    self.mark_of = progress.marks(self.connection, self.call.witness, self.state.script or "")
  end
end

--- Whether MariaDB, which finds the ends of statements itself, certainly takes one for one: it may see the end of a text
--- elsewhere where a backslash means nothing in it.
local function is_one(self, text)
  if not words.is_plain(text) or text:find(";", 1, true) then return false end
  local waiting = self.waiting
  if waiting.backslashes == nil then waiting.backslashes = self.connection:facts().backslashes end
  return waiting.backslashes
end

--- Whether a plain statement may be sent with others.
--- @param self neap.sql_performance
--- @param step table
--- @return boolean
function series.takes(self, step)
  if not self.has_series or step.item.data or step.copy or step.item.gset then return false end
  return self.connection.dialect.name ~= "mysql" or is_one(self, step.text)
end

--- How quick its statements were decides on how many of them go together.
local function learn(self, steps, seconds)
  if self.kinds > KINDS then self.quick, self.kinds = {}, 0 end
  for kind in pairs(steps.kinds) do
    local room = self.quick[kind]
    if not room then self.kinds = self.kinds + 1 end
    if seconds < QUICK then room = math.min(MOST, 2 * (room or 1)) end
    if seconds > SLOW then room = math.max(1, math.floor(#steps * QUICK / seconds)) end
    self.quick[kind] = room or 1
  end
end

-- ---- sending ----

local function options_for(self, steps) return { timeout = math.min(self.timeout * #steps, LONGEST) } end

--- Within a transaction that is open anyway.
local function within_block(self, steps)
  local texts = {}
  for i, step in ipairs(steps) do texts[i] = step.text end
  local _, failure, at = self.connection.native:series(texts, options_for(self, steps))
  if failure then self:break_block(steps[math.min(at, #steps)], failure) end
end

local function texts_of(self, steps)
  local texts, count, begins = {}, 0, self.connection.dialect.name ~= "mysql"
  for _, step in ipairs(steps) do
    if begins then count, texts[count + 1] = count + 1, "begin" end
    texts[count + 1] = self.mark_of(step.index, step.item.line, self.state.gets)
    texts[count + 2], texts[count + 3] = step.text, "commit"
    count = count + 3
  end
  return texts
end

--- How many of the steps are done, as their own marks say.
local function count_done(self, steps)
  local written = progress.written(self.connection, self.call.witness)
  if self.connection.dialect.name == "mysql" then self.connection:execute "commit" end
  local count = 0
  while steps[count + 1] and steps[count + 1].index <= written.index do count = count + 1 end
  if count > 0 then self:reach(steps[count]) end
  return count
end

local each

local function each_alone(self, steps)
  for _, step in ipairs(steps) do each(self, { step }) end
end

--- Goes on behind the statement that was refused, where that may be done otherwise.
local function refused(self, steps, failure)
  local count = count_done(self, steps)
  local step = steps[count + 1]
  if not step then error(failure, 0) end
  local rest = table.move(steps, count + 1, #steps, 1, {})
  if progress.is_unprepared(failure) then
    progress.prepare(self.connection, self.call.witness)
  else
    self:refuse_alone(step, failure)
    table.remove(rest, 1)
  end
  if rest[1] then each(self, rest) end
end

--- Each with its mark in a transaction of its own.
function each(self, steps)
  local done, failure = self.connection.native:series(texts_of(self, steps), options_for(self, steps))
  if not failure then return self:reach(steps[#steps]) end
  self:roll_back(failure)
  if done == 0 and #steps > 1 then return each_alone(self, steps) end -- one of them cannot be read
  refused(self, steps, failure)
end

--- Sends what waits, and waits until it is done.
--- @param self neap.sql_performance
function series.flush(self)
  local steps = self.waiting
  self.waiting = nothing() -- also where nothing waits: what follows may be a setting of the session
  if not steps or #steps == 0 then return end
  local begun = task.now()
  if self.block or self.whole then
    within_block(self, steps)
  else
    each(self, steps)
  end
  learn(self, steps, task.now() - begun)
  self:tell(steps[#steps])
end

--- Has a statement wait for those that go with it.
--- @param self neap.sql_performance
--- @param step table
function series.add(self, step)
  local kind = kind_of(step.text)
  local room = self.quick[kind] or 1
  if #self.waiting >= math.min(room, self.waiting.room) then series.flush(self) end
  local waiting = self.waiting
  waiting[#waiting + 1] = step
  waiting.kinds[kind] = true
  waiting.room, waiting.bytes = math.min(room, waiting.room), waiting.bytes + #step.text
  if #waiting >= waiting.room or waiting.bytes > BYTES then series.flush(self) end
end

--- Forgets what waits: it was not sent.
--- @param self neap.sql_performance
function series.drop(self) self.waiting = nothing() end

--- What the script is stopped by stands behind what waits: that is carried out before.
--- @param self neap.sql_performance
--- @param failure any
function series.flush_before(self, failure)
  if fault.is(failure, "protocol") then series.flush(self) end
end

return series
