--- Summaries: what a stretch of a run's records comes to, where all that was begun in it is over and leaves nothing to say.
--- Who takes the run up folds the summary instead of them. It is a record itself, a note behind the last of them, so that
--- the chain of hashes holds it as it holds them; and it says nothing that they do not, which an audit checks.
local clock  = require "native.clock"
local data   = require "neap.engine.data"
local json   = require "native.json"

local summary = {}
summary.__index = summary

--- How many records a summary stands for at least.
summary.least = 1024

--- How a note tells that it is one, as it stands in a record's line.
summary.MARK = '"kind":"summary"'

local SECRET = '{"$se' -- how a secret begins in a record's line

local function start_anew(self)
  self.first, self.lines, self.open, self.open_count = nil, {}, {}, 0
  self.took, self.places, self.secrets, self.undo_seconds = {}, {}, {}, 0
end

--- One that is told of the records of a run from here on.
--- @param earlier integer?  the seq of the run's last summary
--- @return table
function summary.new(earlier)
  local self = setmetatable({ earlier = earlier, named = {} }, summary)
  start_anew(self)
  return self
end

--- @param from string?  times as records have them
--- @param to string?
--- @return number seconds
function summary.seconds_between(from, to)
  if not from or not to or from == to then return 0 end
  return math.max((clock.parse(to) or 0) - (clock.parse(from) or 0), 0)
end

--- Seconds of a step, or nil where it began and ended within the same one.
--- @param from string?
--- @param to string?
--- @return number? seconds
function summary.took(from, to)
  if from and to and from:sub(1, 19) ~= to:sub(1, 19) then return summary.seconds_between(from, to) end
end

-- ---- which records are plain; all others end the stretch ----

local plain = {}

function plain.own(self)
  self.named = {}
  return false
end

function plain.step(self, record)
  if record.attempt ~= 1 or record.undoes or record.how or self.open[record.path] then return false end
  if record.undo == "own" or record.undo == "irreversible" or record.path:find "\n" then return false end
  local step = { path = record.path, seq = record.seq, time = record.time, intended = {}, line = #self.lines + 1 }
  self.open[record.path], self.open_count = step, self.open_count + 1
  self.lines[step.line] = "" -- in the order in which the steps were begun
  return true
end

function plain.saw(self, record) return self.open[record.path] ~= nil end

--- A place is named once, by the text that stands for it.
local function note_place(self, seq, line)
  local _, place = json.outline(line, "place")
  if place and not self.named[place] then table.insert(self.places, seq) end
  self.named[place or ""] = true
end

function plain.intent(self, record, line)
  local step = self.open[record.path]
  if not step or record.undoes or record.disposition == "irreversible" then return false end
  step.intended[record.seq] = record
  if record.place ~= nil then note_place(self, record.seq, line) end
  return true
end

local function end_effect(self, step, intent, record)
  step.intended[intent.seq] = nil
  table.insert(self.lines, ("%d %d\n"):format(intent.seq, record.seq))
  if intent.disposition ~= "keep" then
    self.undo_seconds = self.undo_seconds + summary.seconds_between(intent.time, record.time)
  end
  return true
end

local function end_step(self, step, record)
  if next(step.intended) then return false end
  local took = summary.took(step.time, record.time)
  if took then self.took[step.path] = took end
  self.lines[step.line] = ("%d %d %s\n"):format(step.seq, record.seq, step.path)
  self.open[step.path], self.open_count = nil, self.open_count - 1
  return true
end

plain["end"] = function(self, record)
  local step = self.open[record.path]
  if not step then return false end
  if record.status == "same" then return true end
  if record.status ~= "done" or record.how == "person" then return false end
  if record.of == step.seq then return end_step(self, step, record) end
  local intent = step.intended[record.of]
  return intent ~= nil and end_effect(self, step, intent, record)
end

-- ---- writing and reading one ----

local function some(list) return next(list) and list or nil end

local function note_of(self)
  return { type = "note", kind = "summary", first = self.first, earlier = self.earlier, over = table.concat(self.lines),
    took = some(self.took), undo_seconds = self.undo_seconds, places = some(self.places), secrets = some(self.secrets) }
end

--- Whether a record holds a secret, as its line says.
--- @param line string
--- @return boolean
function summary.holds_secret(line) return line:find(SECRET, 1, true) ~= nil end

--- Takes a record of the run in.
--- @param record table
--- @param line string  as it stands in the journal
function summary:add(record, line)
  local take = plain[record.type]
  if not (take and take(self, record, line)) then return start_anew(self) end
  self.first, self.last = self.first or record.seq, record.seq
  if summary.holds_secret(line) then table.insert(self.secrets, record.seq) end
end

--- The summary of what was taken in since the last one; nil: something of it is not over.
--- @return table? note
function summary:note()
  if not self.first or self.open_count > 0 then return nil end
  return note_of(self)
end

--- The same, where it stands for enough.
--- @return table? note
function summary:due()
  if self.open_count > 0 or not self.first or self.last - self.first + 1 < summary.least then return nil end
  return self:note()
end

--- The summary stands in the journal.
--- @param seq integer
function summary:written(seq)
  self.earlier = seq
  start_anew(self)
end

local SAID = { "first", "earlier", "over", "took", "undo_seconds", "places", "secrets" }

--- Whether a summary says what the records before it come to, which were all taken in.
--- @param note table
--- @return boolean
function summary:bears_out(note)
  local due = self:note()
  if not due then return false end
  for _, key in ipairs(SAID) do
    if not data.same(note[key], due[key]) then return false end
  end
  return true
end

return summary
