--- Where records live: an environment's journal.db. lua/neap/fakes/store.lua is the same in memory.
local chain  = require "native.sqlite_chain"
local crypto = require "native.crypto"
local fault  = require "native.error"
local fs     = require "native.fs"
local sqlite = require "native.sqlite"
local zstd   = require "native.zstd"

local store = {}
store.__index = store

local LARGEST_BLOB = 1 << 30

local SCHEMA = [[
create table if not exists lease (one integer primary key check (one = 1), token integer not null, run integer);
insert or ignore into lease values (1, 0, null);
create table if not exists record (
  run integer not null, seq integer not null, hash text not null, line text not null, primary key (run, seq)
) without rowid;
create table if not exists blob (sha256 text primary key, zstd blob not null) without rowid;
create table if not exists plan (id text primary key, line text not null) without rowid;
create table if not exists approval (digest text primary key, plan text not null, line text not null) without rowid;
create trigger if not exists record_update before update on record
  begin select raise(abort, 'records are not altered'); end;
create trigger if not exists record_delete before delete on record
  begin select raise(abort, 'records are not removed'); end;
]]

local REFUSED = { nfs = true, cifs = true, smb = true, fuse = true }

local function open_for_writing(folder)
  local kind = fs.filesystem(folder)
  if REFUSED[kind] then
    fault.raise { kind = "journal", message = ("the journal cannot lie on %s: %s"):format(kind, folder),
      hint = "its locks and its durability need a local file system; move the state folder" }
  end
  local db = sqlite.open(folder .. "/journal.db", { mode = "create", busy_timeout = 10 })
  db:rows "pragma journal_mode = wal"
  db:script "pragma synchronous = full; pragma foreign_keys = on; pragma secure_delete = on"
  db:script("begin immediate; " .. SCHEMA .. " commit") -- all the tables or none
  return db
end

local function has_tables(db) return db:rows("select 1 from sqlite_master where name = 'record'")[1] ~= nil end

--- A journal whose process died before it had made its tables holds nothing, like one in memory that is new. One that died
--- while it made them has left SQLite something to put back, which takes the right to write.
local function open_for_reading(folder)
  local path = folder .. "/journal.db"
  local db = sqlite.open(path, { mode = "read", busy_timeout = 10 })
  local ok, made = pcall(has_tables, db)
  if not ok then
    db:close()
    if not (fault.is(made) and tostring(made.code):find "^SQLITE_READONLY") then error(made, 0) end
    db = sqlite.open(path, { mode = "write", busy_timeout = 10 })
    made = has_tables(db)
  end
  if made then return db end
  db:close()
  db = sqlite.open ":memory:"
  db:script(SCHEMA)
  return db
end

--- @param folder string  the environment's state folder
--- @param options? { read_only: boolean }
--- @return table store
function store.open(folder, options)
  local open = options and options.read_only and open_for_reading or open_for_writing
  local db = open(folder)
  return setmetatable({ db = db, folder = folder }, store)
end

--- May be called twice.
function store:close() self.db:close() end

--- Raises kind "journal": what is there was not written so.
--- @param message string
--- @param where? string  "": no line of a procedure has to do with it
function store.damaged(message, where)
  fault.raise { kind = "journal", where = where, message = message,
    hint = "restore journal.db from a copy; do not resume on it" }
end

local function refuse_rows(what) store.damaged("the journal is damaged: " .. what) end

local function in_transaction(db, fn)
  db:exec "begin immediate"
  local ok, result = pcall(fn)
  if not ok then
    pcall(db.exec, db, "rollback") -- SQLite has rolled back by itself where the disk is full
    error(result, 0)
  end
  db:exec "commit"
  return result
end

--- The lease's row.
--- @return integer token
--- @return integer? run  the run that holds it; nil: the environment is clean
function store:lease()
  local row = self.db:rows("select token, run from lease")[1]
  local whole = row and math.type(row.token) == "integer" and (row.run == nil or math.type(row.run) == "integer")
  if not whole then refuse_rows "its lease is none" end
  return row.token, row.run
end

--- Takes the lease for run, or for a new one if run is nil, in one transaction with its first records.
--- @param run integer?
--- @param records fun(run: integer, token: integer): table  a batch as insert takes it
--- @return integer run
--- @return integer token
function store:take(run, records)
  local token
  in_transaction(self.db, function()
    local last, holder = self:lease()
    if holder and holder ~= run then
      fault.raise { kind = "conflict", code = "leased", message = ("run %d holds the lease"):format(holder) }
    end
    run = run or (self.db:rows("select coalesce(max(run), 0) + 1 as next from record")[1].next)
    token = last + 1
    self.db:exec("update lease set token = ?, run = ?", token, run)
    self:write(records(run, token))
  end)
  return run, token
end

--- Writes within a transaction that is open.
function store:write(batch)
  for digest, bytes in pairs(batch.blobs) do
    self.db:exec("insert or ignore into blob values (?, ?)", digest, sqlite.blob(zstd.compress(bytes)))
  end
  for _, entry in ipairs(batch) do
    local changed = self.db:exec("insert into record select ?, ?, ?, ? from lease where token = ?",
      batch.run, entry.seq, entry.hash, entry.line, batch.token)
    if changed ~= 1 then
      fault.raise { kind = "fenced", message = ("run %d was taken over by another process"):format(batch.run) }
    end
  end
  if batch.close then self.db:exec "update lease set run = null" end
end

--- Writes a batch { run, token, {seq, hash, line}…, blobs = {digest → bytes}, close } durably, or raises and writes nothing:
--- kind "fenced" when the token is no longer the lease's, "journal" when SQLite fails.
function store:insert(batch)
  in_transaction(self.db, function() self:write(batch) end)
end

--- The number of the newest run; 0: there is none.
--- @return integer
function store:newest() return self.db:rows("select coalesce(max(run), 0) as run from record")[1].run end

--- The last record of a run.
--- @param run integer
--- @return string? line
function store:last(run)
  local row = self.db:rows("select line from record where run = ? order by seq desc limit 1", run)[1]
  return row and row.line
end

local ALL = "select seq, hash, line from record where run = ? order by seq"
local LAST_WITH = "select seq from record where run = ? and seq < ? and instr(line, ?) order by seq desc limit 1"
local SOME = "select seq, hash, line from record where run = ? and seq > ? and seq < ? order by seq"

--- The records of a run in order, or those between two of them: { seq, hash, line }.
--- @param run integer
--- @param after? integer   seq
--- @param before? integer  seq
--- @return fun(): table?
function store:records(run, after, before)
  if not after then return self.db:each(ALL, run) end
  return self.db:each(SOME, run, after, before or math.maxinteger)
end

--- Begins to follow the hash chain of a run; see native.sqlite_chain.
--- @param run integer
--- @return native.sqlite_chain.check
function store:chain(run) return chain.begin(self.folder .. "/journal.db", ALL, run) end

--- The last record of a run before another whose line holds a text.
--- @param run integer
--- @param before integer  seq
--- @param text string
--- @return integer? seq
function store:last_with(run, before, text)
  local row = self.db:rows(LAST_WITH, run, before, text)[1]
  return row and row.seq
end

--- @return string line  of one record
function store:record(run, seq)
  local row = self.db:rows("select line from record where run = ? and seq = ?", run, seq)[1]
  return row and row.line or fault.raise { kind = "journal", message = ("run %d has no record %d"):format(run, seq) }
end

--- First and last record of each run, newest first: { run, first, last }.
function store:runs()
  local rows = self.db:rows [[
    with recursive b(run) as (
      select max(run) from record union all select (select max(run) from record where run < b.run) from b
      where b.run is not null)
    select run, (select line from record r where r.run = b.run order by seq limit 1) as first,
      (select line from record r where r.run = b.run order by seq desc limit 1) as last
    from b where run is not null order by run desc]]
  for _, row in ipairs(rows) do
    if math.type(row.run) ~= "integer" then refuse_rows "a run has no number" end
  end
  return rows
end

--- @return string bytes
function store:blob(digest)
  local row = self.db:rows("select zstd from blob where sha256 = ?", digest)[1]
  if not row then fault.raise { kind = "journal", message = "the journal lacks the content " .. digest } end
  return zstd.decompress(row.zstd, LARGEST_BLOB)
end

--- Keeps a plan's text under its id.
function store:save_plan(id, line) self.db:exec("insert or replace into plan values (?, ?)", id, line) end

--- Keeps an approval beside its plan.
--- @param plan string  its id
--- @param line string
function store:save_approval(plan, line)
  self.db:exec("insert or ignore into approval values (?, ?, ?)", crypto.sha256(line), plan, line)
end

--- The approvals of a plan. A journal of an earlier release has none.
--- @param plan string  its id
--- @return string[] lines
function store:approvals(plan)
  local lines = {}
  if #self.db:rows "select 1 from sqlite_master where name = 'approval'" == 0 then return lines end
  for i, row in ipairs(self.db:rows("select line from approval where plan = ? order by digest", plan)) do
    lines[i] = row.line
  end
  return lines
end

--- @return string? line
function store:plan(id)
  local row = self.db:rows("select line from plan where id = ?", id)[1]
  return row and row.line
end

return store
