--- Kinds of change: declared by targets, libraries and procedures alike, in the same words.
local data    = require "neap.engine.data"
local fault   = require "native.error"
local json    = require "native.json"
local near    = require "neap.near"
local ordered = require "neap.ordered"
local secret  = require "native.secret"
local task    = require "native.task"

local kinds = {}

local own = {} -- neap's; a procedure's stand in its run

local PARTS = {
  resource = { version = "number", get = "function", put = "function", take = "function", show = "function",
    text = "function", timeout = "number", late = "boolean", meet = "function", prepare = "function",
    release = "function", key = "function", pinned = "boolean", verify = "function" },
  action = { version = "number", run = "function", done = "function", undo = "function", take = "function",
    show = "function", says = "function", timeout = "number", late = "boolean", result = "string",
    undo_needs_data = "boolean", meet = "function", prepare = "function", release = "function" },
}
local REQUIRED = { resource = { "get", "put" }, action = { "run" } }

local function check_parts(class, name, kind)
  for part, value in pairs(kind) do
    local wanted = PARTS[class][part]
    if not wanted then
      error(("%s %q has no part named %q%s"):format(class, name, part, near.hint(part, PARTS[class])), 3)
    elseif type(value) ~= wanted then
      error(("%s %q: %s is a %s, expected a %s"):format(class, name, part, type(value), wanted), 3)
    end
  end
  for _, part in ipairs(REQUIRED[class]) do
    if not kind[part] then error(("%s %q lacks %s"):format(class, name, part), 3) end
  end
end

--- Where kinds declared now belong: to a run's procedure while it is being loaded, else to neap.
local function registry()
  local loading = task.context()
  return type(loading) == "table" and loading.kinds or own
end

local function declare(class)
  return function(name)
    return function(kind)
      check_parts(class, name, kind)
      if own[name] or registry()[name] then error(("%q is declared twice"):format(name), 2) end
      local frame = debug.getinfo(2, "Sl")
      kind.where = ("%s:%d"):format(frame.short_src, frame.currentline)
      kind.name, kind.class, kind.version = name, class, kind.version or 1
      registry()[name] = kind
    end
  end
end

--- resource "k8s.replicas" { get = …, put = … }: a kind of state. Parts: get(target) -> state or nil; put(target, state, call);
--- take(target, witness, intent), show(target) -> line, text(state) -> text for diffs, timeout (seconds), late = false when
--- a call cannot outlive the process that made it, version; prepare(target) -> place: what must stand before the intent is
--- written (a session, where the witness will stand), kept in it and given to put as call.place, to take as intent.place;
--- release(target, place): gives that back at the run's close; meet(target): reads who the target is, before an effect and
--- before its undo, and raises where it is another than the run's; key(target) -> plain data: targets with the same are one
--- state, which a plan composes; verify(target, state, call) -> boolean: whether what this call has put is there, where get
--- would cost much more; pinned = true: a run of a plan stops where it would become another than was planned.
kinds.resource = declare "resource"

--- action "postgres.promote" { run = … }: a kind of event. Parts: run(target, data, call) -> result; done(target, data);
--- undo(target, data, call), undo_needs_data = true when only a call with `undo = data` can be undone; take, show,
--- says(data) -> line, result = "identifier", timeout, late, version, meet, prepare, release.
kinds.action = declare "action"

--- A test's run has fakes, which act in a kind's place.
local function known(run, name)
  local kind = run and run.kinds and run.kinds[name] or own[name]
  return kind and run and run.fakes and run.fakes:kind(kind) or kind
end

--- The declaration of a kind as a run knows it; raises where there is none. Of a run that is taken up again no word may have
--- been used yet.
--- @param run table?
--- @param name string
function kinds.find(run, name)
  local kind = known(run, name)
  if not kind then
    require("neap.words").load()
    kind = known(run, name)
  end
  if not kind then
    fault.raise { kind = "missing", message = ("no kind of effect is named %q"):format(name),
      hint = "it is declared by a library this code does not load, or by another release of neap" }
  end
  return kind
end

--- Whether nothing shuts out a late call of it: an action with no probe, a resource that can only be waited out.
--- @param kind table
--- @return boolean
function kinds.is_opaque(kind)
  if kind.take then return false end
  if kind.class == "action" then return not kind.done end
  return kind.late ~= false
end

--- What names a state within a plan.
--- @return string
function kinds.state_key(kind, target) return data.digest(kind.name, kind.key and kind.key(target) or target) end

--- One line that names a target for people.
--- @return string
function kinds.show(kind, target)
  if kind.show then return kind.show(target) end
  if type(target) ~= "table" then return tostring(target) end
  local parts = { target.host }
  for _, key in ipairs(ordered.keys(target)) do
    if key ~= "host" and type(target[key]) ~= "table" then parts[#parts + 1] = tostring(target[key]) end
  end
  return table.concat(parts, " ")
end

--- How a state reads in a diff; nil where it is absent.
--- @return string?
function kinds.text(kind, state)
  if state == nil then return nil end
  if kind.text then return kind.text(state) end
  local content = type(state) == "table" and state.content or state
  if type(content) == "string" or secret.is(content) then return data.shown(content) end
  if type(state) ~= "table" then return tostring(state) end
  return json.encode(data.plain(state))
end

--- Whether the journal holds what it takes to undo an effect.
--- @param kind table
--- @param done table  the effect as the fold has it
--- @return boolean
function kinds.can_undo(kind, done)
  return kind.class == "resource" or done.bracket ~= nil
    or (kind.undo ~= nil and (done.undo ~= nil or not kind.undo_needs_data))
end

return kinds
