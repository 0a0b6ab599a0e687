--- What steps, libraries and targets say of change: read, resource, action, change, perform, bracket.
local branches = require "neap.engine.branch"
local call     = require "neap.engine.call"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local kinds    = require "neap.engine.kinds"
local near     = require "neap.near"
local planned  = require "neap.engine.planned"
local secret   = require "native.secret"
local undo     = require "neap.engine.undo"
local unknown  = require "neap.engine.unknown"

local effect = { resource = kinds.resource, action = kinds.action }

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 3600 -- seconds

-- ---- reads ----

local function recorded_read(branch, name, fn, target, ...)
  local digest = data.digest(name, target, ...)
  local item = branch:answer("saw", digest, name)
  if item then return data.plain(item.result) end
  local result = call.inside(branch, { inside = true }, fn, target, ...)
  branch.run.writer:append { type = "saw", path = branch.path, call = name, target = data.plain(target),
    digest = digest, result = result }
  return data.plain(result)
end

--- Declares a read: read("postgres.query", function(target, …) … end) -> function. The outermost read within a step is
--- recorded and answers the same call when the interrupted step runs again; its result is plain data.
--- @param name string
--- @param fn function
--- @return function
function effect.read(name, fn)
  return function(target, ...)
    local branch = branches.current()
    local fakes = branch and branch.run.fakes
    local asked = fakes and function(...) return fakes:read(name, ...) end or fn
    if not branch or branch.inside or not branch.path then return asked(target, ...) end
    if branch.run.planning then
      planned.refuse_unknown(branch.run, target, ...)
      branch.run.reads = branch.run.reads + 1
      return call.inside(branch, { inside = true }, asked, target, ...)
    end
    return recorded_read(branch, name, asked, target, ...)
  end
end

-- ---- changes ----

local function current(level)
  local branch = branches.current()
  if not branch or not branch.path then error("a change belongs inside a step", level + 1) end
  if branch.inside then error("a change cannot be made from within a read or another change", level + 1) end
  return branch
end

--- Writes down that the brackets round this change are open, with its intent: one commit.
local function open_brackets(branch)
  for _, bracket in ipairs(branch.brackets) do
    if not bracket.opened then
      call.meet(branch, bracket.kind, bracket.target)
      bracket.opened = true
      local record = branch.run.writer:append {
        type = "intent", path = branch.path, attempt = branch.attempt, kind = bracket.kind.name,
        version = bracket.kind.version, target = bracket.target, data = { bracket = "open" },
        disposition = "undo", bracket = "open", timeout = bracket.timeout,
        show = kinds.show(bracket.kind, bracket.target),
      }
      branch.run.writer:append { type = "end", of = record.seq, path = branch.path, status = "done", how = "reply" }
      bracket.seq = record.seq
    end
  end
end

local function opening_digest(bracket) return data.digest(bracket.kind.name, bracket.target, { bracket = "open" }) end

--- After an interruption: the brackets' openings are records before the first effect inside.
local function reopen_brackets(branch)
  for _, bracket in ipairs(branch.brackets) do
    if not bracket.opened then
      local item = branch:consume(opening_digest(bracket))
      if item then bracket.opened, bracket.seq = true, item.seq end
    end
  end
end

--- After a failed attempt: what it changed is not changed again, but its bracket has still to be closed.
local function take_over_opening(branch, bracket)
  local item = not bracket.opened and branch:carried_opening(opening_digest(bracket))
  if item then bracket.opened, bracket.seq = true, item.seq end
end

local OPTIONS = { keep = "string", irreversible = "string", undo = "any", timeout = "number" }

local BRACKET_OPTIONS = { test = "function", timeout = "number" }

local function check_options(options, level, known)
  known = known or OPTIONS
  for key, value in pairs(options or {}) do
    if not known[key] then
      error(("no option is named %q%s"):format(tostring(key), near.hint(key, known)), level + 1)
    end
    if known[key] ~= "any" and type(value) ~= known[key] then
      error(("%s is a %s, expected a %s"):format(key, type(value), known[key]), level + 1)
    end
  end
  return options or {}
end

--- What a crash would leave to guess is not made where the policy forbids it.
local function refuse_opaque(branch, kind)
  if branch.run:policy("opaque", "allow") ~= "forbid" or not kinds.is_opaque(kind) then return end
  fault.raise { kind = "denied", code = "opaque",
    message = ("%s is opaque: after a crash nothing could be asked whether it happened, and policy.opaque forbids that")
      :format(kind.name),
    hint = "give the kind a take, or an action a done; or let a person do it in a manual step" }
end

--- What a rollback does with an effect: "undo", "keep", "irreversible", or "own": it has no undo, and its step has one that
--- stands for it once the step is done; and why.
local function disposition_of(branch, kind, options)
  if options.irreversible then return "irreversible", options.irreversible end
  local keep = options.keep or branch.step.keep
  if keep then return "keep", keep end
  if kind.class == "resource" then return "undo" end
  if kind.undo and (options.undo ~= nil or not kind.undo_needs_data) then return "undo" end
  if branch.step.disposition == "own" then return "own" end
  return "irreversible", branch.step.irreversible or "it has no undo"
end

--- Output that neap has shown has marks where secrets stood; written back it would destroy what it was read from.
local function refuse_marks(value)
  if type(value) == "string" and secret.marked(value) then
    error("this text was printed with a secret replaced by its mark; put the secret itself there, from env.secrets", 3)
  end
  for _, item in pairs(type(value) == "table" and not unknown.is(value) and value or {}) do refuse_marks(item) end
end

--- A planned state as its target would give it back: in a run a secret comes back as a text.
local function as_read(state)
  if secret.is(state) then return secret.reveal(state) end
  if type(state) ~= "table" or unknown.is(state) then return data.plain(state) end
  local read = {}
  for key, value in pairs(state) do read[key] = as_read(value) end
  return read
end

local function observe(branch, kind, target)
  if branch.run.planning then planned.refuse_shadowed(branch.run, target) end
  local overlaid = branch.run.planning and branch.run.overlay[kinds.state_key(kind, target)]
  if overlaid then return as_read(overlaid.state) end
  if branch.run.planning then branch.run.reads = branch.run.reads + 1 end
  return call.inside(branch, { inside = true }, kind.get, target)
end

--- Whether the state is the planned one, as far as the plan could know it.
local function is_as_planned(digest, state) return not digest or digest == data.digest(state) end

local function check_drift(branch, kind, target, before, after)
  local expected = branch.run.expected
  if not expected then return end
  local was, problem = expected[branch:effect_key(kind, target)], nil
  if not was then
    problem = "%s is changed by this run, and not by the plan"
  elseif not is_as_planned(was.before_digest, before) then
    problem = "%s is not as it was when the plan was made"
  elseif not is_as_planned(was.after_digest, after) then
    problem = "%s would become another than when the plan was made"
  end
  if not problem then return end
  fault.raise { kind = "conflict", code = "drift", message = problem:format(kinds.show(kind, target)),
    hint = "plan again" }
end

local function same_state(branch, kind, target, state)
  branch.run.writer:append { type = "end", status = "same", path = branch.path, kind = kind.name,
    digest = data.digest(kind.name, target), show = kinds.show(kind, target), result = state }
  return state
end

local function raise_recorded(item)
  local failure = item.failure or { kind = "lost", message = "it did not happen" }
  fault.raise(data.plain(failure))
end

--- What the journal says of a change that was made before the interruption.
local function recorded_state(item)
  if item.status == "failed" or item.status == "void" then raise_recorded(item) end
  if item.status == "same" then return data.plain(item.result) end
  return data.plain(item.after)
end

local function plan_change(branch, kind, target, before, after, options)
  if data.same(before, after) then
    planned.same(branch, kind, target)
    return after
  end
  refuse_opaque(branch, kind)
  return planned.change(branch, kind, target, before, after, disposition_of(branch, kind, options))
end

--- A line that a person typed asks before each change; that is then what the person wants, whatever was planned.
local function confirm(branch, kind, target, change, disposition, why)
  change.kind, change.show, change.disposition, change.why = kind.name, kinds.show(kind, target), disposition, why
  branch.step.confirm(change)
end

--- A rehearsal goes no further than here before it has been back.
local function check_no_return(branch, disposition, why)
  local check = branch.run.before_no_return
  if check and disposition == "irreversible" then check(branch.step, why) end
end

--- What the state shall be. In a run, what is read for it is part of the change and not recorded: an interrupted change is
--- answered as a whole, or made anew as a whole.
local function wanted(branch, new_state, before)
  local after
  if branch.run.planning then
    after = new_state(before)
  else
    after = branch:within({ inside = true }, new_state, before)
  end
  return unknown.inside(after) and after or data.plain(after)
end

local function make_change(branch, kind, target, before, after, options)
  if data.same(before, after) then return same_state(branch, kind, target, after) end
  refuse_opaque(branch, kind)
  local disposition, why = disposition_of(branch, kind, options)
  if branch.step.confirm then
    confirm(branch, kind, target, { sign = planned.sign(before, after), before_text = kinds.text(kind, before),
      after_text = kinds.text(kind, after) }, disposition, why)
  else
    check_drift(branch, kind, target, before, after)
  end
  branch:check_going_on()
  check_no_return(branch, disposition, why)
  open_brackets(branch)
  call.put(branch, kind, { target = target, before = before, after = after, disposition = disposition, why = why,
    timeout = options.timeout or kind.timeout or READ_TIMEOUT })
  return data.plain(after)
end

--- Changes a state: new_state(before) says what it shall be (nil: absent) and must be pure. Nothing is done where it
--- already is so. Returns the state as it then is.
--- @param kind_name string
--- @param target any   plain data
--- @param new_state fun(before: any): any
--- @param options? { keep?: string, irreversible?: string, timeout?: number }
--- @return any after
function effect.change(kind_name, target, new_state, options)
  local branch = current(2)
  options = check_options(options, 2)
  local kind = kinds.find(branch.run, kind_name)
  if branch.run.planning then planned.refuse_unknown_part(target) end
  target = data.plain(target)
  reopen_brackets(branch)
  local item = branch:answer("effect", data.digest(kind_name, target), kind_name)
  if item then return recorded_state(item) end
  local before = observe(branch, kind, target)
  local after = wanted(branch, new_state, data.plain(before))
  refuse_marks(after)
  before = data.conceal(before, after)
  local change = branch.run.planning and plan_change or make_change
  return change(branch, kind, target, before, after, options)
end

--- The journal's record of an action that was made before: by an attempt that failed later, or by this one. In this order,
--- for the attempt that found it made did not record it again.
local function action_made(branch, kind, target, action_data)
  local digest = data.digest(kind.name, target, action_data)
  local item = branch:carried_action(digest) or branch:answer("effect", digest, kind.name)
  if item and item.status ~= "done" then raise_recorded(item) end
  return item
end

local function make_action(branch, kind, target, action_data, options)
  local disposition, why = disposition_of(branch, kind, options)
  check_no_return(branch, disposition, why)
  open_brackets(branch)
  return call.carry_out(branch, kind, {
    target = target, data = action_data, undo = data.plain(options.undo), disposition = disposition, why = why,
    timeout = options.timeout or kind.timeout or CHANGE_TIMEOUT,
  }, function(given) return kind.run(target, data.plain(action_data), given) end)
end

--- Makes an event happen, once. Returns what the kind's run returns.
--- @param kind_name string
--- @param target any
--- @param action_data any   plain data, given to the kind's run
--- @param options? { undo?: any, keep?: string, irreversible?: string, timeout?: number }  undo: data for the kind's undo
--- @return any result
function effect.perform(kind_name, target, action_data, options)
  local branch = current(2)
  options = check_options(options, 2)
  local kind = kinds.find(branch.run, kind_name)
  target, action_data = data.plain(target), data.plain(action_data)
  refuse_marks(action_data)
  reopen_brackets(branch)
  local item = action_made(branch, kind, target, action_data)
  if item then return data.plain(item.result) end
  refuse_opaque(branch, kind)
  if branch.run.planning then
    return planned.action(branch, kind, target, action_data, disposition_of(branch, kind, options))
  end
  if branch.step.confirm then
    confirm(branch, kind, target, { sign = ">", says = kind.says and kind.says(action_data) or nil },
      disposition_of(branch, kind, options))
  end
  branch:check_going_on()
  return make_action(branch, kind, target, action_data, options)
end

-- ---- brackets ----

local function close_bracket(branch, bracket)
  local closing = { bracket = "close" }
  local item = branch:answer("effect", data.digest(bracket.kind.name, bracket.target, closing), bracket.kind.name)
  if item and item.status == "done" then return end
  call.carry_out(branch, bracket.kind, {
    target = bracket.target, data = closing, disposition = "undo", bracket = "close",
    opened_by = opening_digest(bracket), timeout = bracket.timeout,
  }, function(given) return bracket.kind.run(bracket.target, closing, given) end)
end

--- What a test has refused stays refused, also where neap was interrupted while it took that back.
local function passes(branch, bracket, test)
  if not branch.run.state:has_undone(branch.path, bracket.seq) then return pcall(test) end
  local name = kinds.show(bracket.kind, bracket.target)
  return false, fault.new { kind = "verify",
    message = ("what was changed for %s was refused by its test, and taken back"):format(name) }
end

local function test_or_undo(branch, bracket, test)
  local ok, failure = passes(branch, bracket, test)
  if ok then return end
  undo.bracket(branch, bracket, failure)
  error(failure, 0)
end

local function run_inside(branch, bracket, fn)
  local brackets = { table.unpack(branch.brackets) }
  brackets[#brackets + 1] = bracket
  local result = branch:within({ brackets = brackets }, fn)
  take_over_opening(branch, bracket)
  return result
end

--- A change between two marks: forward the kind's run comes after all that fn changes, backward after all of it is put
--- back; where fn changes nothing neither happens. `test` is called before the closing run; when it raises, what fn
--- changed is taken back at once.
--- @param kind_name string  an action
--- @param target any
--- @param fn fun(): any
--- @param options? { test?: fun(), timeout?: number }
--- @return any  what fn returns
function effect.bracket(kind_name, target, fn, options)
  local branch = current(2)
  options = check_options(options, 2, BRACKET_OPTIONS)
  local kind = kinds.find(branch.run, kind_name)
  local bracket = { kind = kind, target = data.plain(target), opened = false,
    timeout = options.timeout or kind.timeout or CHANGE_TIMEOUT }
  local result = run_inside(branch, bracket, fn)
  if not bracket.opened then return result end
  if branch.run.planning then
    planned.closing(branch, bracket)
    return result
  end
  if options.test then test_or_undo(branch, bracket, options.test) end
  close_bracket(branch, bracket)
  return result
end

--- The state of a resource as a change of it would find it: in a plan, what earlier planned changes leave it in. Within a
--- step it is recorded, as a read is.
--- @param kind_name string
--- @param target any
--- @return any
function effect.state(kind_name, target)
  local branch = branches.current()
  local kind = kinds.find(branch and branch.run, kind_name)
  target = data.plain(target)
  if branch and branch.run.planning then return observe(branch, kind, target) end
  if not branch or branch.inside or not branch.path then return kind.get(target) end
  return recorded_read(branch, kind_name, kind.get, target)
end

--- In a plan: the targets of a kind that earlier changes would change, with the states that they would leave.
--- @param kind_name string
--- @return { target: any, state: any }[]
function effect.planned(kind_name)
  local branch, list = branches.current(), {}
  for _, entry in pairs(branch and branch.run.overlay or {}) do
    if entry.kind == kind_name then list[#list + 1] = { target = entry.target, state = entry.state } end
  end
  return list
end

--- In a plan: what is at this path of a host, and below it, is not known from here on, because a planned change of
--- something else would change it.
--- @param host string
--- @param path string
function effect.shadow(host, path)
  local branch = current(2)
  if not branch.run.planning then return end
  table.insert(branch.run.shadows, { host = host, path = path, after = branch.step.number })
end

--- Whether two states are the same, as the engine compares them.
effect.same = data.same

--- Whether the caller's step is being planned: nothing is changed, and what a change would return is unknown.
--- @return boolean
function effect.planning()
  local branch = branches.current()
  return branch ~= nil and branch.run.planning == true
end

return effect
