--- Takes effects back, each by a change of its own in the journal.
local branches = require "neap.engine.branch"
local call     = require "neap.engine.call"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local kinds    = require "neap.engine.kinds"

local undo = {}

local function undo_resource(branch, kind, done, on_conflict)
  local now = data.conceal(call.inside(branch, { inside = true }, kind.get, done.target), done.after)
  now = data.conceal(now, done.before)
  if data.same(now, done.before) then
    call.finish(branch, done, "undone", { how = "found" })
    return "found"
  end
  if done.status ~= "partial" and not data.same(now, done.after) then
    local choice = on_conflict(done, now)
    if choice == "keep" then
      call.finish(branch, done, "kept", { how = "person", why = "it was changed by somebody else since" })
      return "kept"
    end
  end
  call.put(branch, kind, { target = done.target, before = now, after = done.before, undoes = done.seq,
    disposition = "undo", timeout = done.timeout })
  return "undone"
end

--- The opening of a bracket is undone by what its closing does forward: the same reload, after all is put back.
local function undo_action(branch, kind, done)
  local intent = { target = done.target, data = done.data, undo = done.undo, undoes = done.seq, disposition = "undo",
    timeout = done.timeout, of_result = done.result }
  call.carry_out(branch, kind, intent, function(given)
    if done.bracket == "open" then return kind.run(done.target, { bracket = "open" }, given) end
    return kind.undo(done.target, data.plain(done.undo), given)
  end)
  return "undone"
end

--- Takes one effect back, by a change of its own in the journal. Called by the engine with the branch as context.
--- @param done table  the effect as the fold has it
--- @param on_conflict fun(done: table, now: any): "keep"|"overwrite"  may raise to stop
--- @return "undone"|"found"|"kept" outcome
function undo.effect(done, on_conflict)
  local branch = branches.current()
  local kind = kinds.find(branch.run, done.kind)
  require("neap.words").complete_secrets(branch.run, done)
  if done.disposition == "keep" then
    call.finish(branch, done, "kept", { how = "declared", why = done.why })
    return "kept"
  end
  call.meet(branch, kind, done.target) -- of a bracket at its closing, before what it holds is put back
  if done.bracket == "close" then
    call.finish(branch, done, "undone", { how = "declared" })
    return "found"
  end
  if kind.class == "resource" then return undo_resource(branch, kind, done, on_conflict) end
  if kinds.can_undo(kind, done) then return undo_action(branch, kind, done) end
  fault.raise { kind = "denied", message = ("%s has no undo"):format(done.show or done.kind) }
end

--- Takes back what a bracket holds, newest first, when its test has refused it.
--- @param branch table
--- @param bracket table
--- @param failure any  what the test raised; raised again when something cannot be taken back
function undo.bracket(branch, bracket, failure)
  local state = branch.run.state
  local standing = state:in_place() -- those of an earlier attempt, which had opened the bracket, as well
  for i = #standing, 1, -1 do
    local done = standing[i]
    if done.seq <= bracket.seq then break end
    if done.path == branch.path and done.status == "done" and not done.bracket then
      undo.effect(done, function() error(failure, 0) end)
    end
  end
  local opening = state.effects[bracket.seq]
  if opening.undone then return end
  -- not flushed: it becomes durable with the step's failure, so that no resume finds the one without the other
  branch.run.writer:append { type = "end", of = opening.seq, path = branch.path, status = "undone",
    how = "not needed: nothing was closed" }
end

return undo
