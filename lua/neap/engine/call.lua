--- One call to a target, carried out: intent, call with leave to change, verification, end; and what follows when the
--- answer is not clear. Nothing else in neap has the leave.
local crypto   = require "native.crypto"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local kinds    = require "neap.engine.kinds"
local points   = require "native.fault"
local settle   = require "neap.engine.settle"
local task     = require "native.task"
local versions = require "neap.engine.versions"

local call = {}

local change = package.loaded["neap.test.change"] or task.take_change()

local PREPARE_TIMEOUT, SETTLE_AT_ONCE, RELEASE_TIMEOUT = 60, 15, 20 -- seconds

--- Errors that say no: nothing has happened if no call that changes something was begun before, and nothing lands later.
--- After every other the target is in doubt until it is asked.
local DEFINITE = { connect = true, auth = true, denied = true, missing = true, conflict = true, unknown = true }

--- Calls a function of a kind or a read: other reads within it are part of it and are not recorded.
function call.inside(branch, fields, fn, ...)
  points.before "call"
  local results = table.pack(branch:within(fields, fn, ...))
  points.after "call"
  return table.unpack(results, 1, results.n)
end

--- Looks who the target is, where its kind can tell; raises where it is another than the one this run was made for.
function call.meet(branch, kind, target)
  if kind.meet then call.inside(branch, { inside = true }, kind.meet, target) end
end

--- Writes the end of an effect.
function call.finish(branch, intent, status, fields)
  local record = { type = "end", of = intent.seq, path = intent.path, status = status }
  for key, value in pairs(fields or {}) do record[key] = value end
  branch.run.writer:write(record)
end

--- Finds out what became of an effect; see settle.verdict. Called by the engine only.
function call.settle(branch, kind, intent, patience, tell)
  return branch:within({ inside = true }, change, settle.verdict, kind, intent, patience, tell)
end

--- The verdict on an effect whose call gave no clear answer, while the process that made it lives.
--- @param over boolean  whether the call has had its answer, so that it need not be waited out
local function settle_at_once(branch, kind, intent, failure, over)
  return task.shield(function()
    local patience = branch.run.settle_at_once or SETTLE_AT_ONCE
    local asked = over and setmetatable({ timeout = 0 }, { __index = intent }) or intent
    local verdict, detail = call.settle(branch, kind, asked, patience, function() end)
    if verdict == "done" or verdict == "void" or verdict == "partial" then
      call.finish(branch, intent, verdict, { how = "settled", result = verdict == "done" and detail or nil,
        failure = verdict ~= "done" and data.failure(failure) or nil })
    end
    return verdict, detail
  end)
end

--- @param begun integer  how many calls that change something had been begun
local function call_failed(branch, kind, intent, failure, begun)
  if fault.is(failure) and (failure.kind == "fenced" or failure.kind == "journal") then error(failure, 0) end
  local refused = fault.is(failure) and DEFINITE[failure.kind] and failure.code ~= "diverged"
  if refused and begun == 0 then
    call.finish(branch, intent, "failed", { how = "reply", failure = data.failure(failure) })
    error(failure, 0)
  end
  if kind.class == "action" and fault.is(failure, "remote") then
    call.finish(branch, intent, "partial", { how = "reply", failure = data.failure(failure) })
    error(failure, 0)
  end
  local verdict, detail = settle_at_once(branch, kind, intent, failure, refused)
  if verdict == "done" and not fault.is(failure, "cancelled") then return detail end
  if fault.is(failure) and verdict ~= "done" and verdict ~= "void" and verdict ~= "partial" then
    failure.in_doubt = intent.seq
  end
  error(failure, 0)
end

--- Calls fn with leave to change; its reads are part of it.
local function with_leave(branch, timeout, fn, ...)
  return call.inside(branch, { inside = true }, task.deadline, timeout, change, fn, ...)
end

--- Says in an intent whose it is, of which kind, and by what it will be known at the target.
local function sign(branch, kind, intent)
  intent.type, intent.path, intent.attempt = "intent", branch.path, branch.attempt
  intent.kind, intent.version, intent.class = kind.name, kind.version, kind.class
  intent.witness = branch.run.uid .. "-" .. crypto.hex(crypto.random(6))
  intent.show = kinds.show(kind, intent.target)
end

local function act_and_verify(branch, intent, act, verify)
  local given = { witness = intent.witness, timeout = intent.timeout, before = intent.before, data = intent.data,
    result = intent.of_result, place = intent.place, undoes = intent.undoes }
  local result = with_leave(branch, intent.timeout, act, given)
  if verify then call.inside(branch, { inside = true }, verify, given) end
  return result
end

--- Writes the intent, calls act(call) with leave to change, verifies, writes the end. Returns act's result.
function call.carry_out(branch, kind, intent, act, verify)
  local writer = branch.run.writer
  branch:check_going_on()
  call.meet(branch, kind, intent.target)
  sign(branch, kind, intent)
  if writer.full then error(writer.full, 0) end
  if kind.prepare then
    intent.place = data.plain(with_leave(branch, PREPARE_TIMEOUT, kind.prepare, intent.target))
  end
  require("neap.words").complete_secrets(branch.run, { intent.target, intent.data, intent.undo, intent.after })
  writer:append(intent)
  writer:flush()
  local ok, result = pcall(act_and_verify, branch, intent, act, verify)
  if not ok then return call_failed(branch, kind, intent, result, task.changes()) end
  result = data.plain(result)
  call.finish(branch, intent, "done", { how = "reply", result = result })
  return result
end

local function not_applied(kind, target)
  fault.raise { kind = "verify",
    message = ("%s of %s is not what was put there"):format(kind.name, kinds.show(kind, target)) }
end

local function is_applied(kind, target, after, given)
  if kind.verify then return kind.verify(target, after, given) end
  return data.same(kind.get(target), after)
end

--- Puts intent.after and verifies that it is there.
function call.put(branch, kind, intent)
  local target, after = intent.target, intent.after
  call.carry_out(branch, kind, intent, function(given) kind.put(target, data.plain(after), given) end, function(given)
    if not is_applied(kind, target, after, given) then not_applied(kind, target) end
  end)
end

local function release_one(kind, target, place)
  return pcall(task.deadline, RELEASE_TIMEOUT, change, kind.release, target, place)
end

--- Gives back, at a run's close, what its kinds' prepare has made: each place once.
--- @param run table
--- @return table[] left  places that could not be given back
function call.release(run)
  local left = {}
  for _, seq in pairs(run.state.places) do
    local done = run.state:intent(seq)
    local kind = kinds.find(versions.at(run, seq), done.kind)
    if kind.release then
      if not task.with_context({ run = run }, release_one, kind, done.target, done.place) then
        left[#left + 1] = { show = done.show, place = done.place }
      end
    end
  end
  return left
end

return call
