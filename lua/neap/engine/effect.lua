--- The one place that changes anything: reads what is, writes down what will be, changes, verifies, settles, undoes.
--- Kinds of change are declared here by targets, libraries and procedures alike, in the same words.
local branches = require "neap.engine.branch"
local crypto   = require "native.crypto"
local data     = require "neap.engine.data"
local fault    = require "native.error"
local near     = require "neap.near"
local points   = require "native.fault"
local settle   = require "neap.engine.settle"
local task     = require "native.task"
local unknown  = require "neap.engine.unknown"

local effect = {}

local change = package.loaded["neap.test.change"] or task.take_change()
local kinds  = {}

local READ_TIMEOUT, CHANGE_TIMEOUT = 60, 3600 -- seconds
local SETTLE_AT_ONCE = 15                     -- seconds of trying within the process that made the call
local RELEASE_TIMEOUT = 20                    -- seconds

-- ---- declarations ----

local PARTS = {
  resource = { version = "number", get = "function", put = "function", take = "function", show = "function",
    text = "function", timeout = "number", late = "boolean", prepare = "function", release = "function" },
  action = { version = "number", run = "function", done = "function", undo = "function", take = "function",
    show = "function", says = "function", timeout = "number", late = "boolean", result = "string",
    undo_needs_data = "boolean", prepare = "function", release = "function" },
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
  return type(loading) == "table" and loading.kinds or kinds
end

local function declare(class)
  return function(name)
    return function(kind)
      check_parts(class, name, kind)
      if kinds[name] or registry()[name] then error(("%q is declared twice"):format(name), 2) end
      kind.name, kind.class, kind.version = name, class, kind.version or 1
      registry()[name] = kind
    end
  end
end

--- resource "k8s.replicas" { get = …, put = … }: a kind of state. Parts: get(target) -> state or nil; put(target, state, call);
--- take(target, witness, intent), show(target) -> line, text(state) -> text for diffs, timeout (seconds), late = false when
--- a call cannot outlive the process that made it, version; prepare(target) -> place: what must stand before the intent is
--- written (a session, where the witness will stand), kept in it and given to put as call.place, to take as intent.place;
--- release(target, place): gives that back at the run's close.
effect.resource = declare "resource"

--- action "postgres.promote" { run = … }: a kind of event. Parts: run(target, data, call) -> result; done(target, data);
--- undo(target, data, call), undo_needs_data = true when only a call with `undo = data` can be undone; take, show,
--- says(data) -> line, result = "identifier", timeout, late, version, prepare, release.
effect.action = declare "action"

--- The declaration of a kind as a run knows it; raises where there is none.
--- @param run table?
--- @param name string
function effect.kind(run, name)
  local kind = run and run.kinds and run.kinds[name] or kinds[name]
  if not kind then
    fault.raise { kind = "missing", message = ("no kind of effect is named %q"):format(name),
      hint = "it is declared by a library this code does not load, or by another release of neap" }
  end
  return kind
end

-- ---- reads ----

--- Calls a function of a kind or a read: other reads within it are part of it and are not recorded.
local function call_inside(branch, fields, fn, ...)
  points.before "call"
  local results = table.pack(branch:within(fields, fn, ...))
  points.after "call"
  return table.unpack(results, 1, results.n)
end

local function host_of(target)
  return type(target) == "table" and (target.host or target.name or target.database or target.account) or target
end

local function refuse_unknown(run, name, target, ...)
  for _, value in ipairs { target, ... } do
    if unknown.is(value) then unknown.raise(unknown.after(value)) end
  end
  local touched = run.touched[tostring(host_of(target))]
  if touched then unknown.raise(touched) end
end

local function recorded_read(branch, name, fn, target, ...)
  local digest = data.digest(name, target, ...)
  local item = branch:answer("saw", digest, name)
  if item then return data.plain(item.result) end
  local result = call_inside(branch, { inside = true }, fn, target, ...)
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
    if not branch or branch.inside or not branch.path then return fn(target, ...) end
    if branch.run.planning then
      refuse_unknown(branch.run, name, target, ...)
      branch.run.reads = branch.run.reads + 1
      return call_inside(branch, { inside = true }, fn, target, ...)
    end
    return recorded_read(branch, name, fn, target, ...)
  end
end

-- ---- one change, carried out ----

local DEFINITE = { connect = true, auth = true, denied = true, missing = true, conflict = true, unknown = true }

local function current(level)
  local branch = branches.current()
  if not branch or not branch.path then error("a change belongs inside a step", level + 1) end
  if branch.inside then error("a change cannot be made from within a read or another change", level + 1) end
  return branch
end

local function remember(failure)
  if not fault.is(failure) then return { kind = "mistake", message = tostring(failure) } end
  return { kind = failure.kind, message = failure.message, where = failure.where, host = failure.host,
    code = failure.code, output = failure.output, hint = failure.hint }
end

local function end_effect(branch, intent, status, fields)
  local record = { type = "end", of = intent.seq, path = intent.path, status = status }
  for key, value in pairs(fields or {}) do record[key] = value end
  branch.run.writer:write(record)
end

--- Finds out what became of an effect; see settle.verdict. Called by the engine only.
function effect.settle(branch, kind, intent, patience, tell)
  return branch:within({ inside = true }, change, settle.verdict, kind, intent, patience, tell)
end

--- The verdict on an effect whose call gave no clear answer, while the process that made it lives.
local function settle_at_once(branch, kind, intent, failure)
  return task.shield(function()
    local verdict, detail = effect.settle(branch, kind, intent, branch.run.settle_at_once or SETTLE_AT_ONCE, function() end)
    if verdict == "done" or verdict == "void" or verdict == "partial" then
      end_effect(branch, intent, verdict, { how = "settled", result = verdict == "done" and detail or nil,
        failure = verdict ~= "done" and remember(failure) or nil })
    end
    return verdict, detail
  end)
end

local function call_failed(branch, kind, intent, failure)
  if fault.is(failure) and (failure.kind == "fenced" or failure.kind == "journal") then error(failure, 0) end
  if fault.is(failure) and DEFINITE[failure.kind] and failure.code ~= "diverged" then
    end_effect(branch, intent, "failed", { how = "reply", failure = remember(failure) })
    error(failure, 0)
  end
  if kind.class == "action" and fault.is(failure, "remote") then
    end_effect(branch, intent, "partial", { how = "reply", failure = remember(failure) })
    error(failure, 0)
  end
  local verdict, detail = settle_at_once(branch, kind, intent, failure)
  if verdict == "done" and not fault.is(failure, "cancelled") then return detail end
  if fault.is(failure) and verdict ~= "done" and verdict ~= "void" and verdict ~= "partial" then
    failure.in_doubt = intent.seq
  end
  error(failure, 0)
end

--- Writes the intent, calls act(call) with leave to change, verifies, writes the end. Returns act's result.
local function carry_out(branch, kind, intent, act, verify)
  local writer = branch.run.writer
  branch:check_going_on()
  intent.type, intent.path, intent.attempt = "intent", branch.path, branch.attempt
  intent.kind, intent.version, intent.class = kind.name, kind.version, kind.class
  intent.witness = branch.run.uid .. "-" .. crypto.hex(crypto.random(6))
  intent.show = effect.show(kind, intent.target)
  if writer.full then error(writer.full, 0) end
  if kind.prepare then
    intent.place = data.plain(call_inside(branch, { inside = true }, task.deadline, READ_TIMEOUT, change, kind.prepare,
      intent.target))
  end
  writer:append(intent)
  writer:flush()
  local call = { witness = intent.witness, timeout = intent.timeout, before = intent.before, data = intent.data,
    result = intent.of_result, place = intent.place }
  local ok, result = pcall(call_inside, branch, { inside = true }, task.deadline, intent.timeout, change, act, call)
  if ok and verify then
    local verified, problem = pcall(call_inside, branch, { inside = true }, verify)
    if not verified then ok, result = false, problem end
  end
  if ok then
    result = data.plain(result)
    end_effect(branch, intent, "done", { how = "reply", result = result })
    return result
  end
  return call_failed(branch, kind, intent, result)
end

--- One line that names a target for people.
--- @return string
function effect.show(kind, target)
  if kind.show then return kind.show(target) end
  if type(target) ~= "table" then return tostring(target) end
  local parts = { target.host }
  local keys = {}
  for key, value in pairs(target) do
    if key ~= "host" and type(value) ~= "table" then keys[#keys + 1] = key end
  end
  table.sort(keys, tostring)
  for _, key in ipairs(keys) do parts[#parts + 1] = tostring(target[key]) end
  return table.concat(parts, " ")
end

-- ---- brackets ----

--- Writes down that the brackets round this change are open, with its intent: one commit.
local function open_brackets(branch)
  for _, bracket in ipairs(branch.brackets) do
    if not bracket.opened then
      bracket.opened = true
      local record = branch.run.writer:append {
        type = "intent", path = branch.path, attempt = branch.attempt, kind = bracket.kind.name,
        version = bracket.kind.version, target = bracket.target, data = { bracket = "open" },
        disposition = "undo", bracket = "open", timeout = bracket.timeout, show = effect.show(bracket.kind, bracket.target),
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

-- ---- planning ----

local function mark_touched(run, branch, target, opaque)
  local host = tostring(host_of(target))
  run.touched[host] = run.touched[host] or branch.step.number
  if opaque then run.opaque[host] = true end
end

local function add_planned(branch, kind, target, fields)
  local planned = { path = branch.path, step = branch.step, kind = kind.name, show = effect.show(kind, target) }
  for key, value in pairs(fields) do planned[key] = value end
  table.insert(branch.run.planned, planned)
  return planned
end

local function text_of(kind, state)
  if state == nil then return nil end
  if kind.text then return kind.text(state) end
  if type(state) == "table" and type(state.content) == "string" then return state.content end
  if type(state) ~= "table" then return tostring(state) end
  local json = require "native.json"
  return json.encode(data.plain(state))
end

local function sign_of(before, after)
  return before == nil and "+" or after == nil and "-" or "~"
end

local function certainty(branch, target, after)
  if unknown.inside(after) then return "conditional" end
  return branch.run.opaque[tostring(host_of(target))] and "conditional" or "exact"
end

local function plan_brackets(branch)
  for _, bracket in ipairs(branch.brackets) do bracket.opened = true end
end

local function plan_change(branch, kind, target, before, after, disposition, why)
  plan_brackets(branch)
  add_planned(branch, kind, target, {
    class = "resource", sign = sign_of(before, after), before_text = text_of(kind, before),
    after_text = text_of(kind, after), before = before, after = after, key = effect.key(branch, kind, target),
    before_digest = data.digest(before), certainty = certainty(branch, target, after),
    disposition = disposition, why = why,
  })
  branch.run.overlay[branches.target_key(kind.name, target)] = { state = after }
  mark_touched(branch.run, branch, target)
  return after
end

-- ---- changes ----

local OPTIONS = { keep = "string", irreversible = "string", undo = "any", timeout = "number" }

local function check_options(options, level)
  for key, value in pairs(options or {}) do
    if not OPTIONS[key] then error(("no option is named %q%s"):format(key, near.hint(key, OPTIONS)), level + 1) end
    if OPTIONS[key] ~= "any" and type(value) ~= OPTIONS[key] then
      error(("%s is a %s, expected a %s"):format(key, type(value), OPTIONS[key]), level + 1)
    end
  end
  return options or {}
end

--- What a rollback does with an effect: "undo", "keep" or "irreversible", and why.
local function disposition_of(branch, kind, options)
  if options.irreversible then return "irreversible", options.irreversible end
  local keep = options.keep or branch.step.keep
  if keep then return "keep", keep end
  if kind.class == "resource" then return "undo" end
  if kind.undo and (options.undo ~= nil or not kind.undo_needs_data) then return "undo" end
  return "irreversible", branch.step.irreversible or "it has no undo"
end

--- The name of an effect within a run, the same in the plan and in the run: path, kind, target and occurrence.
function effect.key(branch, kind, target)
  local run = branch.run
  local key = branch.path .. "\0" .. branches.target_key(kind.name, target)
  run.occurrences[key] = (run.occurrences[key] or 0) + 1
  return crypto.sha256(key .. "\0" .. run.occurrences[key])
end

local function observe(branch, kind, target)
  local planned = branch.run.planning and branch.run.overlay[branches.target_key(kind.name, target)]
  if planned then return data.plain(planned.state) end
  if branch.run.planning then branch.run.reads = branch.run.reads + 1 end
  return call_inside(branch, { inside = true }, kind.get, target)
end

local function check_drift(branch, kind, target, before)
  local expected = branch.run.expected
  local planned = expected and expected[effect.key(branch, kind, target)]
  if not expected or (planned and planned.before_digest == data.digest(before)) then return end
  fault.raise { kind = "conflict", code = "drift",
    message = planned and ("%s is not as it was when the plan was made"):format(effect.show(kind, target))
      or ("%s is changed by this run, and not by the plan"):format(effect.show(kind, target)),
    hint = "plan again" }
end

local function same_state(branch, kind, target, state)
  branch.run.writer:append { type = "end", status = "same", path = branch.path, kind = kind.name,
    digest = data.digest(kind.name, target), show = effect.show(kind, target), result = state }
  return state
end

local function raise_recorded(item)
  local failure = item.failure or { kind = "lost", message = "it did not happen" }
  fault.raise(data.plain(failure))
end

local function not_applied(kind, target)
  fault.raise { kind = "verify", message = ("%s of %s is not what was put there"):format(kind.name, effect.show(kind, target)) }
end

local function put_state(branch, kind, intent)
  local target, after = intent.target, intent.after
  carry_out(branch, kind, intent, function(call) kind.put(target, data.plain(after), call) end, function()
    if not data.same(kind.get(target), after) then not_applied(kind, target) end
  end)
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
  local kind = effect.kind(branch.run, kind_name)
  target = data.plain(target)
  reopen_brackets(branch)
  local item = branch:answer("effect", data.digest(kind_name, target), kind_name)
  if item then
    if item.status == "failed" or item.status == "void" then raise_recorded(item) end
    if item.status == "same" then return data.plain(item.result) end
    return data.plain(item.after)
  end
  local before = observe(branch, kind, target)
  local after = new_state(data.plain(before))
  if not unknown.inside(after) then after = data.plain(after) end
  local disposition, why = disposition_of(branch, kind, options)
  if branch.run.planning then
    if data.same(before, after) then
      add_planned(branch, kind, target, { class = "resource", sign = "=", certainty = "exact", disposition = "none" })
      return after
    end
    return plan_change(branch, kind, target, before, after, disposition, why)
  end
  if data.same(before, after) then return same_state(branch, kind, target, after) end
  check_drift(branch, kind, target, before)
  branch:check_going_on()
  open_brackets(branch)
  put_state(branch, kind, { target = target, before = before, after = after, disposition = disposition, why = why,
    timeout = options.timeout or kind.timeout or READ_TIMEOUT })
  return data.plain(after)
end

local function plan_action(branch, kind, target, action_data, disposition, why)
  plan_brackets(branch)
  add_planned(branch, kind, target, {
    class = "action", sign = ">", says = kind.says and kind.says(action_data) or nil,
    certainty = kind.done and "exact" or "opaque", disposition = disposition, why = why,
  })
  mark_touched(branch.run, branch, target, not kind.done)
  local make = kind.result == "identifier" and unknown.identifier or unknown.outcome
  return make(branch.step.number)
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
  local kind = effect.kind(branch.run, kind_name)
  target, action_data = data.plain(target), data.plain(action_data)
  reopen_brackets(branch)
  local item = branch:answer("effect", data.digest(kind_name, target, action_data), kind_name)
  if item then
    if item.status ~= "done" then raise_recorded(item) end
    return data.plain(item.result)
  end
  item = branch:carried_action(data.digest(kind_name, target, action_data))
  if item then return data.plain(item.result) end
  local disposition, why = disposition_of(branch, kind, options)
  if branch.run.planning then return plan_action(branch, kind, target, action_data, disposition, why) end
  branch:check_going_on()
  open_brackets(branch)
  return carry_out(branch, kind, {
    target = target, data = action_data, undo = data.plain(options.undo), disposition = disposition, why = why,
    timeout = options.timeout or kind.timeout or CHANGE_TIMEOUT,
  }, function(call) return kind.run(target, data.plain(action_data), call) end)
end

-- ---- back ----

local function undo_resource(branch, kind, done, on_conflict)
  local now = call_inside(branch, { inside = true }, kind.get, done.target)
  if data.same(now, done.before) then
    end_effect(branch, done, "undone", { how = "found" })
    return "found"
  end
  if done.status ~= "partial" and not data.same(now, done.after) then
    local choice = on_conflict(done, now)
    if choice == "keep" then
      end_effect(branch, done, "kept", { how = "person", why = "it was changed by somebody else since" })
      return "kept"
    end
  end
  put_state(branch, kind, { target = done.target, before = now, after = done.before, undoes = done.seq,
    disposition = "undo", timeout = done.timeout })
  return "undone"
end

--- The opening of a bracket is undone by what its closing does forward: the same reload, after all is put back.
local function undo_action(branch, kind, done)
  local intent = { target = done.target, data = done.data, undo = done.undo, undoes = done.seq, disposition = "undo",
    timeout = done.timeout, of_result = done.result }
  carry_out(branch, kind, intent, function(call)
    if done.bracket == "open" then return kind.run(done.target, { bracket = "open" }, call) end
    return kind.undo(done.target, data.plain(done.undo), call)
  end)
  return "undone"
end

--- Whether the journal holds what it takes to undo an effect.
function effect.can_undo(kind, done)
  return kind.class == "resource" or done.bracket ~= nil or (kind.undo ~= nil and (done.undo ~= nil or not kind.undo_needs_data))
end

--- Takes one effect back, by a change of its own in the journal. Called by the engine with the branch as context.
--- @param done table  the effect as the fold has it
--- @param on_conflict fun(done: table, now: any): "keep"|"overwrite"  may raise to stop
--- @return "undone"|"found"|"kept" outcome
function effect.undo(done, on_conflict)
  local branch = branches.current()
  local kind = effect.kind(branch.run, done.kind)
  if done.disposition == "keep" then
    end_effect(branch, done, "kept", { how = "declared", why = done.why })
    return "kept"
  end
  if done.bracket == "close" then
    end_effect(branch, done, "undone", { how = "declared" })
    return "found"
  end
  if kind.class == "resource" then return undo_resource(branch, kind, done, on_conflict) end
  if effect.can_undo(kind, done) then return undo_action(branch, kind, done) end
  fault.raise { kind = "denied", message = ("%s has no undo"):format(done.show or done.kind) }
end

--- Takes back what a bracket holds, newest first, when its test has refused it.
local function take_back(branch, bracket, failure)
  local state = branch.run.state
  for i = #state.effect_order, 1, -1 do
    local done = state.effect_order[i]
    if done.seq <= bracket.seq then break end
    if done.path == branch.path and done.status == "done" and not done.undone and not done.undoes and not done.bracket then
      effect.undo(done, function() error(failure, 0) end)
    end
  end
  end_effect(branch, state.effects[bracket.seq], "undone", { how = "not needed: nothing was closed" })
end

local function close_bracket(branch, bracket)
  local closing = { bracket = "close" }
  local item = branch:answer("effect", data.digest(bracket.kind.name, bracket.target, closing), bracket.kind.name)
  if item and item.status == "done" then return end
  carry_out(branch, bracket.kind, { target = bracket.target, data = closing, disposition = "undo", bracket = "close",
    opened_by = opening_digest(bracket), timeout = bracket.timeout }, function(call) return bracket.kind.run(bracket.target, closing, call) end)
end

local function plan_closing(branch, bracket)
  add_planned(branch, bracket.kind, bracket.target, { class = "action", sign = ">", certainty = "exact",
    disposition = "undo", closing = true,
    says = bracket.kind.says and bracket.kind.says { bracket = "close" } or bracket.kind.name })
  mark_touched(branch.run, branch, bracket.target)
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
  local kind = effect.kind(branch.run, kind_name)
  local bracket = { kind = kind, target = data.plain(target), opened = false,
    timeout = options and options.timeout or kind.timeout or CHANGE_TIMEOUT }
  local brackets = { table.unpack(branch.brackets) }
  brackets[#brackets + 1] = bracket
  local result = branch:within({ brackets = brackets }, fn)
  take_over_opening(branch, bracket)
  if not bracket.opened then return result end
  if branch.run.planning then
    plan_closing(branch, bracket)
    return result
  end
  if options and options.test then
    local ok, failure = pcall(options.test)
    if not ok then
      take_back(branch, bracket, failure)
      error(failure, 0)
    end
  end
  close_bracket(branch, bracket)
  return result
end

local function release_one(kind, target, place)
  return pcall(task.deadline, RELEASE_TIMEOUT, change, kind.release, target, place)
end

--- Gives back, at a run's close, what its kinds' prepare has made: each place once.
--- @param run table
--- @return table[] left  places that could not be given back
function effect.release(run)
  local seen, left = {}, {}
  for _, done in ipairs(run.state.effect_order) do
    local kind = done.place and effect.kind(run, done.kind)
    local key = kind and kind.release and data.digest(done.place)
    if key and not seen[key] then
      seen[key] = true
      if not task.with_context({ run = run }, release_one, kind, done.target, done.place) then
        left[#left + 1] = { show = done.show, place = done.place }
      end
    end
  end
  return left
end

--- Whether the caller's step is being planned: nothing is changed, and what a change would return is unknown.
--- @return boolean
function effect.planning()
  local branch = branches.current()
  return branch ~= nil and branch.run.planning == true
end

return effect
