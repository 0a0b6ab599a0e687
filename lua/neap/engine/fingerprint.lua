--- Fingerprints: the states of the targets that a run has changed, read anew, and what tells one state from another without
--- holding it. Only states count, which a kind's `get` reads; of an event there is none.
local attempt  = require "neap.engine.attempt"
local branches = require "neap.engine.branch"
local call     = require "neap.engine.call"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local kinds    = require "neap.engine.kinds"
local secret   = require "native.secret"
local task     = require "native.task"
local words    = require "neap.words"

--- @class neap.touched
--- @field key string  the same for all changes of one state
--- @field kind string
--- @field target any
--- @field show string
--- @field path string  the step, or branch of one, that changed it first
--- @field before any  the state that the first change found
--- @field kept boolean  a change of it is one that a rollback leaves
--- @field now any  once it was read: the state as it is
--- @field unread string?  why it could not be read

local fingerprint = {}

--- Secrets by their keyed fingerprints, also within texts.
local function concealed(state)
  if secret.is(state) then return { secret = secret.fingerprint(state) } end
  if type(state) == "string" then return secret.any() and secret.redact(state) or state end
  if type(state) ~= "table" then return state end
  local copy = {}
  for key, item in pairs(state) do copy[key] = concealed(item) end
  return copy
end

--- Equal states have equal ones; none says anything of a secret that is in the state.
--- @param state any  plain data
--- @return string hex
function fingerprint.of(state) return data.digest(concealed(state)) end

local function is_change_of_state(record)
  return record.type == "intent" and record.class == "resource" and not record.undoes
end

local function take_in(self, list, by_key, record)
  local kind = kinds.find(self, record.kind)
  local key = kinds.state_key(kind, record.target)
  local one = by_key[key]
  if not one then
    words.complete_secrets(self, record)
    one = { key = key, kind = record.kind, target = record.target, show = record.show, path = record.path,
      before = record.before, kept = false }
    by_key[key], list[#list + 1] = one, one
  end
  one.kept = one.kept or record.disposition == "keep"
end

--- The states that a run has changed between two records, each once, in the order of their first change.
--- @param self table  the session
--- @param after integer  seq
--- @param before? integer  seq
--- @return neap.touched[] list
--- @return table<string, neap.touched> by_key
function fingerprint.touched(self, after, before)
  local list, by_key = {}, {}
  for entry in self.journal.store:records(self.number, after, before) do
    if is_change_of_state(self.journal:outline(entry.line)) then
      take_in(self, list, by_key, self.journal:decode(entry.line))
    end
  end
  return list, by_key
end

local function read_one(self, one)
  local kind = kinds.find(self, one.kind)
  local branch = branches.new(self, { title = one.path }, { path = one.path, attempt = 0 })
  return task.with_context(branch, call.inside, branch, { inside = true }, kind.get, one.target)
end

--- Reads each state as it is now. One that the world does not let be read, as on a host that is gone, is noted; the read
--- itself is never a failure.
--- @param self table  the session
--- @param list neap.touched[]
function fingerprint.read(self, list)
  for _, one in ipairs(list) do
    local ok, now = pcall(read_one, self, one)
    if not ok and (not fault.is(now) or attempt.interrupts(now)) then error(now, 0) end
    one.now = ok and data.conceal(now, one.before) or nil
    one.unread = not ok and now.message or nil
  end
end

--- What stands for the state as it was read, for a comparison later on.
--- @param one neap.touched
--- @return string
function fingerprint.of_now(one) return one.unread and "unread" or fingerprint.of(one.now) end

--- Whether it was read and is as the first change found it.
--- @param one neap.touched
--- @return boolean
function fingerprint.is_as_before(one) return not one.unread and data.same(one.now, one.before) end

return fingerprint
