--- The journal: appends records durably, reads them back, and knows their hash chain.
local clock   = require "native.clock"
local crypto  = require "native.crypto"
local data    = require "neap.engine.data"
local fault   = require "native.error"
local json    = require "native.json"
local points  = require "native.fault"
local secret  = require "native.secret"
local store   = require "neap.engine.store"
local summary = require "neap.engine.summary"
local task    = require "native.task"

local journal = {}
journal.__index = journal

--- Over an environment's folder, or over a store given (the tests' memory).
--- @param place string|table
--- @param options? { read_only: boolean }
--- @return table journal
function journal.open(place, options)
  if type(place) ~= "string" then
    place.keys = place.keys or secret.keyring()
    return setmetatable({ store = place, keys = place.keys }, journal)
  end
  -- who only reads needs no key: what is sealed stays so
  local keys = not (options and options.read_only) and secret.keyring(place .. "/key") or nil
  return setmetatable({ store = store.open(place, options), keys = keys }, journal)
end

--- May be called twice.
function journal:close() self.store:close() end

local function fetch_from(self)
  return function(digest)
    local bytes = self.store:blob(digest)
    if crypto.sha256(bytes) == digest then return bytes end
    fault.raise { kind = "journal", message = "the journal holds content that is altered: " .. digest,
      hint = "restore journal.db from a copy" }
  end
end

--- One record as a table, its contents fetched.
function journal:decode(line)
  local record = type(line) == "string" and json.decode(line)
  if type(record) ~= "table" then store.damaged "the journal holds a record that is none" end
  return data.unpack(record, fetch_from(self), self.keys)
end

local OUTLINED = { step = true, saw = true, intent = true, ["end"] = true }

--- The strings, integers and booleans of a record, and as place_text its place; of the rare types all of it.
function journal:outline(line)
  local record, place
  if type(line) == "string" then record, place = json.outline(line, "place") end
  if not record or not OUTLINED[record.type] then return self:decode(line) end
  record.place_text = place
  return record
end

--- Where a fold finds the records of a run again.
--- @param number fun(): integer  the run
--- @return neap.record_source
function journal:source(number)
  local function line(seq) return self.store:record(number(), seq) end
  return {
    whole = function(seq) return self:decode(line(seq)) end,
    outline = function(seq) return self:outline(line(seq)) end,
  }
end

--- All records of a run, in order.
--- @param run integer
--- @return table[]
function journal:records(run)
  local list = {}
  for entry in self.store:records(run) do list[#list + 1] = self:decode(entry.line) end
  return list
end

local function refuse(run, seq) store.damaged(("the journal of run %d is damaged at record %d"):format(run, seq)) end

--- What a check of the run's hash chain has found; raises kind "journal" at the first record that is altered, missing or out
--- of order.
local function result_of(self, check, run)
  local count, head, broken = check:result()
  if broken then refuse(run, count) end
  -- the last record's hash stands for all before it, so its own number stands for theirs
  local last = count > 0 and json.decode(self.store:record(run, count))
  if last and (last.seq ~= count or last.run ~= run) then refuse(run, count) end
  return count, head
end

--- Verifies the run's hash chain; raises kind "journal" at the first record that is altered, missing or out of order.
--- @param run integer
--- @return integer count
--- @return string head
function journal:verify(run)
  local check <close> = self.store:chain(run)
  return result_of(self, check, run)
end

--- The run's summaries, oldest first. A record that only looks like one is passed over.
local function summaries_of(self, run)
  local list, seq = {}, self.store:last_with(run, math.maxinteger, summary.MARK)
  while seq do
    local record = self:decode(self.store:record(run, seq))
    local found = record.type == "note" and record.kind == "summary"
    if found then table.insert(list, 1, record) end
    local before = found and record.earlier or not found and self.store:last_with(run, seq, summary.MARK)
    if before and (math.type(before) ~= "integer" or before >= seq) then refuse(run, seq) end
    seq = before
  end
  return list
end

local reading = {}
reading.__index = reading

--- Begins to read a run that is to be taken up: `result` says whether its chain holds.
--- @param run integer
--- @return table reading
function journal:read(run)
  return setmetatable({ journal = self, run = run, check = self.store:chain(run) }, reading)
end

--- Tells of the run's records in order; where there is a summary, of that in place of those that it stands for.
--- @param record fun(outline: table, line: string)
--- @param over fun(note: table)
function reading:each(record, over)
  local after = 0
  local function tell(before)
    for entry in self.journal.store:records(self.run, after, before) do
      record(self.journal:outline(entry.line), entry.line)
    end
  end
  for _, note in ipairs(summaries_of(self.journal, self.run)) do
    if note.first > after + 1 then tell(note.first) end
    over(note)
    after, self.summary = note.seq, note.seq
  end
  tell()
end

--- Raises kind "journal" where the chain does not hold, whatever was read of it.
--- @return integer count
--- @return string head
function reading:result()
  if not self.count then self.count, self.head = result_of(self.journal, self.check, self.run) end
  return self.count, self.head
end

--- May be called twice.
function reading:close() self.check:close() end

--- The runs, newest first: { run, procedure, arguments, actor, started, ended, outcome, uid, code, rehearsal }: of a
--- rehearsal "passed", "failed", or "open".
function journal:runs()
  local list = {}
  for _, row in ipairs(self.store:runs()) do
    local first, last = self:decode(row.first), self:decode(row.last)
    list[#list + 1] = {
      run = row.run, uid = first.uid, procedure = first.procedure, arguments = first.arguments, actor = first.actor,
      environment = first.environment, started = first.time, ended = last.type == "close" and last.time or nil,
      outcome = last.type == "close" and last.outcome or nil, code = first.code,
      rehearsal = first.rehearsal and (last.rehearsal or "open") or nil,
    }
  end
  return list
end

-- ---- writing ----

local writer = {}
writer.__index = writer

local function new_batch(self) return { run = self.run, token = self.token, blobs = {} } end

--- Fields that are names of neap's own: they stay as they are even where a secret has the same letters.
local NAMES = {
  type = true, run = true, seq = true, token = true, time = true, path = true, attempt = true, kind = true,
  version = true, class = true, witness = true, status = true, of = true, how = true, uid = true, environment = true,
  procedure = true, call = true, digest = true, disposition = true, bracket = true, opened_by = true, direction = true,
  outcome = true, title = true, number = true, options = true, choice = true, head = true, plan = true,
  snapshot = true, undoes = true, actor = true, over = true, code = true, rehearsal = true, stage = true,
}

--- Fields that are read by people: a secret in them is replaced by its mark. In all others it is sealed.
local SAID = { show = true, why = true, text = true, reason = true, who = true, failure = true, left = true,
               remaining = true, line = true }

local function pack(record, keep, keys)
  local packed = {}
  for key, value in pairs(record) do
    if SAID[key] then value = data.shown(data.plain(value)) end
    packed[key] = data.pack(value, keep, not NAMES[key] and keys or nil)
  end
  return packed
end

local function chain(self, batch, record)
  self.seq = self.seq + 1
  record.run, record.seq, record.token, record.time = self.run, self.seq, self.token, clock.utc()
  local line = json.encode(pack(record, function(bytes)
    local digest = crypto.sha256(bytes)
    batch.blobs[digest] = bytes
    return digest
  end, self.journal.keys))
  self.head = crypto.sha256(self.head .. line)
  self.hashes[record] = self.head
  batch[#batch + 1] = { seq = self.seq, hash = self.head, line = line }
  batch.close = batch.close or record.type == "close"
  return record, line
end

--- The same, and behind it the summary that may be due.
local function chain_summed(self, batch, record)
  local _, line = chain(self, batch, record)
  table.insert(self.told, record)
  self.summary:add(record, line)
  local note = self.summary:due()
  if not note then return end
  table.insert(self.told, (chain(self, batch, note)))
  self.summary:written(note.seq)
end

--- Takes the lease for a run (nil: a new one) and returns its writer; first(run) gives the records to begin with.
--- @param run integer?
--- @param first fun(run: integer): table[]
--- @param on_record fun(record: table, hash: string)  told of each record once it is durable
--- @param read? table  what journal.read has read of the run
--- @return table writer
function journal:take(run, first, on_record, read)
  local seq, head = 0, ""
  if run and read then seq, head = read:result() elseif run then seq, head = self:verify(run) end
  local self_writer = setmetatable({
    journal = self, store = self.store, on_record = on_record, seq = seq, head = head, told = {},
    summary = summary.new(read and read.summary),
    hashes = setmetatable({}, { __mode = "k" }), -- of the records that are not told of yet
  }, writer)
  self_writer.run, self_writer.token = self.store:take(run, function(number, token)
    self_writer.run, self_writer.token = number, token
    local batch = new_batch(self_writer)
    for _, record in ipairs(first(number)) do chain_summed(self_writer, batch, record) end
    return batch
  end)
  self_writer.batch = new_batch(self_writer)
  self_writer:tell()
  return self_writer
end

function writer:tell()
  local told = self.told
  self.told = {}
  for _, record in ipairs(told) do self.on_record(record, self.hashes[record]) end
end

--- Queues a record; it becomes durable with the next flush. Returns the record with its seq.
function writer:append(record)
  if self.broken then error(self.broken, 0) end
  chain_summed(self, self.batch, record)
  return record
end

local function insert(self, batch)
  local ok, failure = pcall(self.store.insert, self.store, batch)
  if ok then return end
  -- the ballast makes room for the end of what is under way; nothing new is begun after that
  if fault.is(failure, "journal") and failure.code == "SQLITE_FULL" and self.free_ballast and self.free_ballast() then
    self.full = failure
    self.store:insert(batch)
    return
  end
  error(failure, 0)
end

local function commit(self, batch)
  points.before "journal"
  local ok, failure = pcall(insert, self, batch)
  if not ok then
    self.broken = fault.is(failure) and failure or fault.new { kind = "journal", message = tostring(failure) }
    batch.failure = self.broken
    return
  end
  points.after "journal"
  self:tell()
end

--- Makes all that is queued durable. Tasks that flush in the same turn of the loop share one commit.
--- Raises kind "journal" or "fenced"; the writer then refuses everything, for nothing more may be changed.
function writer:flush()
  if self.broken then error(self.broken, 0) end
  local batch = self.batch
  if batch.waiting then
    table.insert(batch.waiting, task.current())
    while not batch.done do task.shield(task.park) end
  else
    batch.waiting = {}
    if self.shared and self.shared > 0 then task.shield(task.yield) end
    self.batch = new_batch(self)
    commit(self, batch)
    batch.done = true
    for _, waiting in ipairs(batch.waiting) do waiting:wake() end
  end
  if batch.failure then error(batch.failure, 0) end
end

--- append and flush.
function writer:write(record)
  self:append(record)
  self:flush()
  return record
end

return journal
