--- Whether a journal is whole, and its records for those who look at it elsewhere. The chain of hashes finds every record
--- that is altered, removed or out of order; that a whole journal was written anew is found by the heads that each run
--- leaves in the machine's log of authorizations (an anchor), which the group of the environment cannot rewrite.
local crypto  = require "native.crypto"
local fault   = require "native.error"
local json    = require "native.json"
local stores  = require "neap.engine.store"
local summary = require "neap.engine.summary"

local audit = {}

local LARGEST_GAP = 1000 -- runs
local SAYS, READS = "%s run %d seq %d head %s", "neap%S*:%s+(.-) run (%d+) seq (%d+) head (%x+)"

--- The line that anchors a record.
--- @param environment string
--- @param record table  { run, seq }
--- @param head string  its hash
--- @return string
function audit.anchor(environment, record, head) return SAYS:format(environment, record.run, record.seq, head) end

--- The anchors of an environment in a log's text.
--- @param text string
--- @param environment string
--- @return table[] anchors  { run, seq, head }
function audit.anchors(text, environment)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local name, run, seq, head = line:match(READS)
    if name == environment then
      list[#list + 1] = { run = math.tointeger(run), seq = math.tointeger(seq), head = head }
    end
  end
  return list
end

--- What is wrong with one entry of a run's chain, or nil.
local function mistake_in(entry, run, count, head)
  if type(entry.line) ~= "string" or entry.hash ~= crypto.sha256(head .. entry.line) then
    return "is not what its hash was made of"
  end
  local record = json.decode(entry.line)
  if entry.seq ~= count or record.seq ~= count or record.run ~= run then return "is out of order" end
end

local function content(store, digest)
  local bytes = store:blob(digest)
  if crypto.sha256(bytes) ~= digest then
    fault.raise { kind = "journal", message = "holds content that is altered: " .. digest }
  end
  return bytes
end

--- A record with what it refers to in its place, held against the digest it is known by. Secrets stay the references that
--- they are, and what holds one stays sealed.
local function resolved(store, value)
  if type(value) ~= "table" then return value end
  if value["$blob"] then return content(store, value["$blob"]) end
  local sealed = value["$sealed"] or value["$sealed_text"]
  if sealed then content(store, sealed) end
  local copy = {}
  for key, item in pairs(value) do copy[key] = resolved(store, item) end
  return copy
end

--- Takes a record in; false: it is a summary, and the records before it come to something else.
local function sums_up(summed, record, line)
  if record.type ~= "note" or record.kind ~= "summary" then
    summed:add(record, line)
    return true
  end
  local right = summed:bears_out(record)
  summed:written(record.seq)
  return right
end

--- Calls each(entry, record) for the records of a run, in order. Raises kind "journal" at the first that is not whole.
--- @param store table
--- @param run integer
--- @param each? fun(entry: table, record: table)
--- @return { run: integer, records: integer, head: string, hashes: string[], closed: boolean }
function audit.run(store, run, each)
  local found, summed = { run = run, records = 0, head = "", hashes = {}, closed = false }, summary.new()
  local function refuse(why)
    stores.damaged(("the journal of run %d is damaged: record %d %s"):format(run, found.records, why), "")
  end
  for entry in store:records(run) do
    found.records = found.records + 1
    local mistake = mistake_in(entry, run, found.records, found.head)
    if mistake then refuse(mistake) end
    local record = json.decode(entry.line)
    local ok, whole = pcall(resolved, store, record)
    if not ok then refuse(fault.is(whole) and whole.message or tostring(whole)) end
    if not sums_up(summed, whole, entry.line) then refuse "is not what the records before it come to" end
    found.head, found.hashes[found.records], found.closed = entry.hash, entry.hash, record.type == "close"
    if each then each(entry, whole) end
  end
  return found
end

--- The runs as their rows say; which are missing between them, and which has lost its end, is for the caller.
local function numbers(store)
  local list = {}
  for _, row in ipairs(store:runs()) do table.insert(list, 1, row.run) end
  return list
end

local function problem(run, message) return { run = run, problem = message } end

--- A run is closed, or it holds the lease.
local function check_end(found, holder)
  if found.closed or found.run == holder then return found end
  return problem(found.run, ("the journal of run %d is damaged: its last records are missing"):format(found.run))
end

local function check_one(store, run, holder)
  local ok, found = pcall(audit.run, store, run)
  if ok then return check_end(found, holder) end
  if not fault.is(found) then error(found, 0) end
  return problem(run, found.message)
end

--- Anchors that the journal does not bear out, as problems.
local function check_anchors(results, anchors)
  local by_run = {}
  for _, result in ipairs(results) do by_run[result.run] = result end
  for _, anchor in ipairs(anchors) do
    local result = by_run[anchor.run]
    if not result then
      result = problem(anchor.run, ("run %d is anchored, and not in the journal"):format(anchor.run))
      by_run[anchor.run] = result
      table.insert(results, result)
    elseif not result.problem and result.hashes[anchor.seq] ~= anchor.head then
      result.problem = ("the journal of run %d is another than the anchored one: record %d"):format(anchor.run,
        anchor.seq)
    end
    result.anchors = (result.anchors or 0) + 1
  end
end

--- Each by itself, unless a number is so far off that it can only be damaged.
local function add_missing(results, first, last)
  if last - first > LARGEST_GAP then
    results[#results + 1] = problem(first, ("runs %d to %d are missing from the journal"):format(first, last))
    return
  end
  for run = first, last do
    results[#results + 1] = problem(run, ("run %d is missing from the journal"):format(run))
  end
end

--- Every run of a journal, oldest first: { run, records, head, anchors? } or { run, problem }.
--- @param store table
--- @param anchors? table[]  as audit.anchors gives them
--- @return table[]
function audit.all(store, anchors)
  local results, expected = {}, 1
  local _, holder = store:lease()
  for _, run in ipairs(numbers(store)) do
    add_missing(results, expected, run - 1)
    results[#results + 1] = check_one(store, run, holder)
    expected = run + 1
  end
  check_anchors(results, anchors or {})
  return results
end

--- Calls each(record) for the records of a run with their contents in place and with their own hash; secrets stay the
--- references they are.
--- @param store table
--- @param run integer
--- @param each fun(record: table)
function audit.export(store, run, each)
  audit.run(store, run, function(entry, record)
    record.hash = entry.hash
    each(record)
  end)
end

return audit
