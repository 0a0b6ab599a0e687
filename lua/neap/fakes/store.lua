--- A journal's store in memory: what is in it outlives the engine that wrote it, as a disk would.
local crypto = require "native.crypto"
local fault  = require "native.error"

local store = {}
store.__index = store

--- @return table store
function store.new()
  return setmetatable({ token = 0, run = nil, by_run = {}, blobs = {}, plans = {}, approved = {} }, store)
end

function store:close() end

function store:lease() return self.token, self.run end

function store:take(run, records)
  if self.run and self.run ~= run then
    fault.raise { kind = "conflict", code = "leased", message = ("run %d holds the lease"):format(self.run) }
  end
  run = run or #self.by_run + 1
  local batch = records(run, self.token + 1)
  batch.takes = true
  self:insert(batch)
  return run, batch.token
end

local function refuse(self, batch)
  if not batch.takes and batch.token ~= self.token then
    fault.raise { kind = "fenced", message = ("run %d was taken over by another process"):format(batch.run) }
  end
  local records = self.by_run[batch.run]
  if records and batch[1] and records[batch[1].seq] then
    fault.raise { kind = "journal", code = "SQLITE_CONSTRAINT_PRIMARYKEY", message = "the record is there already" }
  end
end

--- All of it or nothing, as a transaction does.
function store:insert(batch)
  refuse(self, batch)
  if batch.takes then
    self.token, self.run = batch.token, batch.run
    self.by_run[batch.run] = self.by_run[batch.run] or {}
  end
  for digest, bytes in pairs(batch.blobs) do self.blobs[digest] = bytes end
  for _, entry in ipairs(batch) do table.insert(self.by_run[batch.run], entry) end
  if batch.close then self.run = nil end
end

function store:records(run, after, before)
  local list, i = self.by_run[run] or {}, after or 0
  return function()
    i = i + 1
    return i < (before or math.maxinteger) and list[i] or nil
  end
end

local check = {}
check.__index = check

function check.close() end
check.__close = check.close

function check:result()
  local count, head = 0, ""
  for entry in self.records do
    count = count + 1
    if entry.seq ~= count or not crypto.follows(head, entry.line, entry.hash) then return count, head, true end
    head = entry.hash
  end
  return count, head, false
end

function store:chain(run) return setmetatable({ records = self:records(run) }, check) end

function store:last_with(run, before, text)
  for seq = math.min(before - 1, #self.by_run[run]), 1, -1 do
    if self.by_run[run][seq].line:find(text, 1, true) then return seq end
  end
end

function store:newest() return #self.by_run end

function store:last(run)
  local records = self.by_run[run]
  return records and records[#records] and records[#records].line
end

function store:record(run, seq) return self.by_run[run][seq].line end

function store:runs()
  local list = {}
  for run = #self.by_run, 1, -1 do
    local records = self.by_run[run]
    list[#list + 1] = { run = run, first = records[1].line, last = records[#records].line }
  end
  return list
end

function store:blob(digest)
  return self.blobs[digest] or fault.raise { kind = "journal", message = "the journal lacks the content " .. digest }
end

function store:save_plan(id, line) self.plans[id] = line end

function store:save_approval(plan, line)
  self.approved[plan] = self.approved[plan] or {}
  table.insert(self.approved[plan], line)
end

function store:approvals(plan) return self.approved[plan] or {} end

function store:plan(id) return self.plans[id] end

return store
