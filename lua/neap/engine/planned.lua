--- What a plan writes down instead of changing: the overlay of planned states, and which hosts nobody may ask any more.
local data     = require "neap.engine.data"
local kinds    = require "neap.engine.kinds"
local unknown  = require "neap.engine.unknown"

local planned = {}

local function host_of(target)
  return type(target) == "table" and (target.host or target.name or target.database or target.account) or target
end

--- Raises kind "unknown" for a read that would see the world before what is planned.
function planned.refuse_unknown(run, target, ...)
  for _, value in ipairs { target, ... } do
    if unknown.is(value) then unknown.raise(unknown.after(value)) end
  end
  local touched = run.touched[tostring(host_of(target))]
  if touched then unknown.raise(touched) end
end

--- Raises kind "unknown" where nobody knows yet what a target is called: there is nothing to be looked at.
function planned.refuse_unknown_part(target)
  for _, part in pairs(type(target) == "table" and not unknown.is(target) and target or { target }) do
    if unknown.is(part) then unknown.raise(unknown.after(part)) end
  end
end

local function mark_touched(run, branch, target, opaque)
  local host = tostring(host_of(target))
  run.touched[host] = run.touched[host] or branch.step.number
  if opaque then run.opaque[host] = true end
end

--- Raises kind "unknown" where an earlier planned change leaves what is at this target's path in a state that nobody knows.
function planned.refuse_shadowed(run, target)
  if type(target) ~= "table" or type(target.path) ~= "string" then return end
  for _, shadow in ipairs(run.shadows) do
    local below = target.path == shadow.path or target.path:sub(1, #shadow.path + 1) == shadow.path .. "/"
    if below and target.host == shadow.host then unknown.raise(shadow.after) end
  end
end

--- What a run would compare with, to notice drift; false where it is known only after an earlier change of the run.
local function digest_of(state) return not unknown.mentioned(state) and data.digest(state) end

--- Adds one line to the plan.
function planned.add(branch, kind, target, fields)
  local line = { path = branch.path, step = branch.step, kind = kind.name, show = kinds.show(kind, target) }
  for key, value in pairs(fields) do line[key] = value end
  table.insert(branch.run.planned, line)
end

--- @return "+"|"-"|"~"
function planned.sign(before, after)
  return before == nil and "+" or after == nil and "-" or "~"
end

local function certainty(branch, target, after)
  if unknown.inside(after) then return "conditional" end
  return branch.run.opaque[tostring(host_of(target))] and "conditional" or "exact"
end

local function open_brackets(branch)
  for _, bracket in ipairs(branch.brackets) do bracket.opened = true end
end

--- A change of state that a run would make; the overlay answers with it from now on.
function planned.change(branch, kind, target, before, after, disposition, why)
  open_brackets(branch)
  planned.add(branch, kind, target, {
    class = "resource", sign = planned.sign(before, after), before_text = kinds.text(kind, before),
    after_text = kinds.text(kind, after), before = before, after = after, key = branch:effect_key(kind, target),
    before_digest = digest_of(before), after_digest = kind.pinned and digest_of(after) or nil,
    certainty = certainty(branch, target, after), disposition = disposition, why = why,
  })
  branch.run.overlay[kinds.state_key(kind, target)] = { state = after, kind = kind.name, target = target }
  mark_touched(branch.run, branch, target)
  return after
end

--- An event that a run would make happen. Returns what its result is until then: unknown.
function planned.action(branch, kind, target, action_data, disposition, why)
  open_brackets(branch)
  planned.add(branch, kind, target, {
    class = "action", sign = ">", says = kind.says and kind.says(action_data) or nil,
    certainty = kind.done and "exact" or "opaque", disposition = disposition, why = why,
  })
  mark_touched(branch.run, branch, target, not kind.done)
  local make = kind.result == "identifier" and unknown.identifier or unknown.outcome
  return make(branch.step.number)
end

--- The closing of a bracket inside which something would be changed.
function planned.closing(branch, bracket)
  planned.add(branch, bracket.kind, bracket.target, { class = "action", sign = ">", certainty = "exact",
    disposition = "undo", closing = true,
    says = bracket.kind.says and bracket.kind.says { bracket = "close" } or bracket.kind.name })
  mark_touched(branch.run, branch, bracket.target)
end

--- A state that is as wanted.
function planned.same(branch, kind, target)
  planned.add(branch, kind, target, { class = "resource", sign = "=", certainty = "exact", disposition = "none" })
end

return planned
