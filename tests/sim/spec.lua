--- A schedule as plain data, made from a seed: a procedure, the lives of the processes that run it, and what befalls each
--- of them at which of its points. Nothing is left to chance when it runs.
local spec = {}

local random = math.random

local function chance(share) return random() < share end

local function pick(list) return list[random(#list)] end

--- One of { value = weight, … }, given as a list of pairs.
local function weighted(pairs_of)
  local total = 0
  for _, pair in ipairs(pairs_of) do total = total + pair[2] end
  local left = random() * total
  for _, pair in ipairs(pairs_of) do
    left = left - pair[2]
    if left < 0 then return pair[1] end
  end
  return pairs_of[#pairs_of][1]
end

-- ---- the procedure ----

local OPS = { { "set", 30 }, { "edit", 12 }, { "copy", 8 }, { "derive", 8 }, { "trap", 6 }, { "remove", 4 },
  { "same", 3 }, { "event", 22 }, { "bracket", 10 } }
local WITNESSED_EVENTS = { { "event", 80 }, { "final", 8 } }
local EVENTS = { { "event", 60 }, { "probe", 16 }, { "opaque", 10 }, { "final", 6 } }
local EVENT_OPTIONS = { event = { { "undo", 70 }, { "keep", 20 }, { "irreversible", 8 } },
  probe = { { "undo", 80 }, { "keep", 20 } }, opaque = { { "undo", 70 }, { "keep", 30 } }, final = { { "none", 1 } } }

local make = {}

--- What a step writes, for the ops that come after in it: a state that was copied is not written again.
local function free_target(made, step, but)
  for _ = 1, 20 do
    local target = pick(made.targets)
    if target ~= but and not step.frozen[target] then return target end
  end
end

local function write(name)
  return function(made, step, id)
    local target = free_target(made, step)
    return target and { op = name, target = target, value = id }
  end
end

make.set, make.edit, make.remove, make.same = write "set", write "edit", write "remove", write "same"

local function two(name)
  return function(made, step, id)
    local from = free_target(made, step)
    local target = from and free_target(made, step, from)
    if not target then return nil end
    step.frozen[from] = true
    return { op = name, from = from, target = target, value = id }
  end
end

make.copy, make.derive, make.trap = two "copy", two "derive", two "trap"

function make.event(made, _, id)
  local kind = weighted(made.shared and WITNESSED_EVENTS or EVENTS)
  return { op = "event", kind = kind, target = kind:sub(1, 1), value = id, option = weighted(EVENT_OPTIONS[kind]) }
end

function make.bracket(_, _, id)
  local ops = { { op = "edit", target = "c9", value = id .. "a" } }
  if chance(0.4) then ops[2] = { op = "edit", target = "r9", value = id .. "b" } end
  return { op = "bracket", target = "c9", ops = ops, test = chance(0.4) }
end

local function add_ops(made, step, ops, count)
  for i = 1, count do
    local name = step.branches and pick { "set", "edit", "event" } or weighted(OPS)
    local op = make[name](made, step, ("%s.%d"):format(step.title, i))
    if op then ops[#ops + 1] = op end
  end
end

local DISPOSITIONS = { { nil, 75 }, { "own", 14 }, { "keep", 4 }, { "irreversible", 5 } }

local function make_step(made, number)
  local step = { kind = weighted { { "step", 92 }, { "await", 4 }, { "manual", 4 } }, title = "S" .. number,
    ops = {}, frozen = {} }
  if step.kind ~= "step" then return step end
  step.disposition = weighted(DISPOSITIONS)
  if chance(0.22) then
    step.branches = { "a", "b", chance(0.4) and "c" or nil }
    step.at_a_time = random(1, 3)
  end
  if chance(0.25) then step.retry = random(1, 3) end
  if chance(0.12) then step.timeout = pick { 20, 90, 300 } end
  add_ops(made, step, step.ops, random(1, step.branches and 2 or 3))
  return step
end

--- States to be kept, and steps that are kept, have targets of their own: what is kept is in nobody's way.
local function keep_apart(step)
  if step.disposition == "keep" or step.disposition == "own" then
    for i = #step.ops, 1, -1 do
      local op = step.ops[i]
      local own = step.disposition == "own" and (op.op == "edit" or op.option == "undo" and op.kind == "event")
      if op.op ~= "set" and not own then table.remove(step.ops, i) end
      if step.disposition == "keep" then op.target = "c8" .. step.title .. i end
    end
  end
end

-- ---- what befalls it ----

local COMMIT = { { "crash before", 30 }, { "crash after", 30 }, { "sleep before", 8 }, { "sleep after", 8 },
  { "full", 8 }, { "error", 6 }, { "error after", 6 } }
local CALL = { { "crash before", 10 }, { "crash sent", 22 }, { "crash after", 12 }, { "refused", 9 },
  { "lost request", 8 }, { "lost reply", 12 }, { "late", 12 }, { "silent", 6 }, { "doubled", 8 }, { "ignored", 3 },
  { "broken", 6 }, { "sleep before", 8 }, { "sleep after", 6 }, { "pause", 3 }, { "cancel", 6 } }
local ASK = { { "crash", 40 }, { "refused", 25 }, { "lost", 25 }, { "sleep", 10 } }
local DELAYS = { 0.02, 0.5, 3, 20, 70, 400 }

local function make_fault(made, at)
  return { at = at, commit = weighted(COMMIT), call = weighted(CALL), ask = weighted(ASK), delay = pick(DELAYS),
    never = chance(0.2), pick = random(0, 2), after = chance(0.5), points = chance(0.4) and random(1, 60) or nil,
    by_hand = made.hands and chance(0.5) and pick(made.all_targets) or nil }
end

local function make_faults(made, gap)
  local faults, at = {}, 0
  for _ = 1, 6 do
    at = at + 1 + math.floor(-math.log(1 - random()) * gap)
    faults[#faults + 1] = make_fault(made, at)
  end
  return faults
end

local LATER_LIVES = { { "resume", 58 }, { "rollback", 30 }, { "start", 4 }, { "abandon", 2 } }

local function make_life(made, number, gap)
  local life = { op = number == 1 and "start" or weighted(LATER_LIVES), attended = chance(0.6),
    conflict = pick { "keep", "overwrite", "stop" }, faults = make_faults(made, gap) }
  if life.op == "start" and number > 1 then -- refused at once, or it is too late for it
    for _, one in ipairs(life.faults) do one.points = nil end
  end
  if life.op == "rollback" then
    life.on_conflict = weighted { { nil, 50 }, { "keep", 25 }, { "overwrite", 25 } }
    life.to = chance(0.3) and "S" .. random(1, #made.steps) or nil
  end
  return life
end

local function make_values(made)
  made.values = { c9 = "conf", r9 = "more" }
  for _, target in ipairs(made.targets) do
    if chance(0.85) then made.values[target] = "first " .. target end
  end
end

local function all_targets(made)
  local seen, list = {}, {}
  local function visit(ops, branches)
    for _, op in ipairs(ops) do
      if op.ops then visit(op.ops) end
      for _, suffix in ipairs(branches or { "" }) do
        local target = op.op ~= "event" and op.target .. suffix
        if target and not seen[target] then
          seen[target] = true
          list[#list + 1] = target
        end
      end
    end
  end
  for _, step in ipairs(made.steps) do visit(step.ops, step.branches) end
  return #list > 0 and list or { "c1" }
end

--- The schedule of a seed.
--- @param seed integer
--- @return table spec
function spec.make(seed)
  math.randomseed(seed)
  local made = { seed = seed, shared = chance(0.3), hands = chance(0.2), ballast = chance(0.5), steps = {}, lives = {} }
  made.targets = made.shared and { "c1", "c2", "r1", "r2" } or { "c1", "c2", "r1", "p1", "p2" }
  made.policy = { on_failure = chance(0.3) and "rollback" or nil, point_of_no_return = chance(0.6) and "pass" or nil,
    on_conflict = chance(0.1) and pick { "keep", "overwrite" } or nil }
  make_values(made)
  for number = 1, random(1, 4) do
    made.steps[number] = make_step(made, number)
    keep_apart(made.steps[number])
  end
  made.all_targets = all_targets(made)
  local gap = pick { 4, 8, 16, 32 }
  for number = 1, random(1, 4) do made.lives[number] = make_life(made, number, gap) end
  made.goal = pick { "forward", "forward", "back" }
  return made
end

-- ---- the procedure as text ----

local say = {}

local function quoted(op, suffix)
  return ("%q%s"):format(op.target, suffix), ("%q%s"):format(op.value or "", suffix)
end

function say.set(op, suffix) return ("sim.set(%s, %s)"):format(quoted(op, suffix)) end

function say.edit(op, suffix) return ("sim.edit(%s, %s)"):format(quoted(op, suffix)) end

function say.remove(op) return ("sim.set(%q, nil)"):format(op.target) end

function say.same(op) return ("sim.set(%q, sim.read(%q))"):format(op.target, op.target) end

function say.copy(op)
  return ("sim.set(%q, (sim.read(%q) or \"none\") .. \" %s\")"):format(op.target, op.from, op.value)
end

function say.derive(op) return ("sim.derive(%q, %q, \" %s\")"):format(op.target, op.from, op.value) end

function say.trap(op)
  return ("local n%s = sim.read(%q) sim.set(%q, \"zero %s\") sim.set(%q, (n%s or \"none\") .. \" %s\")"):format(
    op.value:gsub("%W", "_"), op.from, op.from, op.value, op.target, op.value:gsub("%W", "_"), op.value)
end

local OPTION_TEXTS = { undo = ", { undo = \"it\" }", keep = ", { keep = \"a mail\" }", none = "",
  irreversible = ", { irreversible = \"gone\" }" }

function say.event(op, suffix)
  return ("sim.perform(%q, %q, %q%s%s)"):format(op.kind, op.target, op.value, suffix, OPTION_TEXTS[op.option])
end

local function say_ops(ops, suffix)
  local lines = {}
  for _, op in ipairs(ops) do lines[#lines + 1] = say[op.op](op, suffix) end
  return table.concat(lines, "\n    ")
end

function say.bracket(op, suffix)
  return ("sim.reloading(%q, function() %s end%s)"):format(op.target, say_ops(op.ops, suffix),
    op.test and ", { test = function() sim.check(\"it\") end }" or "")
end

local function say_way_back(op, suffix, before)
  if op.op == "event" then
    return ("sim.perform(\"back\", %q, %q, { keep = \"a word\" })"):format(op.target, op.value .. suffix)
  end
  local target = op.target .. suffix
  return ("sim.set(%q, %s)"):format(target, before[target] and ("%q"):format(before[target]) or "nil")
end

--- What a step's own undo puts back, newest first: the states before the step, which the model knows.
local function say_own_undo(step, before)
  local lines = {}
  for i = #step.ops, 1, -1 do
    for _, suffix in ipairs(step.branches or { "" }) do
      lines[#lines + 1] = say_way_back(step.ops[i], suffix, before)
    end
  end
  return "undo = function() " .. table.concat(lines, " ") .. " end,"
end

local DISPOSITION_TEXTS = { keep = "keep = \"it may stay\",", irreversible = "irreversible = \"no way back\"," }

local function say_step(step, before)
  if step.kind == "await" then
    return ("await %q { check = function() return true end, every = \"1s\" }"):format(step.title)
  end
  if step.kind == "manual" then return ("manual %q {}"):format(step.title) end
  local parts = {}
  if step.branches then
    parts[#parts + 1] = ("on = { \"%s\" }, at_a_time = %d,"):format(table.concat(step.branches, "\", \""),
      step.at_a_time)
  end
  if step.retry then parts[#parts + 1] = ("retry = { times = %d, every = \"5s\" },"):format(step.retry) end
  if step.timeout then parts[#parts + 1] = ("timeout = %d,"):format(step.timeout) end
  parts[#parts + 1] = DISPOSITION_TEXTS[step.disposition]
  parts[#parts + 1] = ("run = function(%s)\n    %s\n  end,"):format(step.branches and "b" or "",
    say_ops(step.ops, step.branches and " .. b" or ""))
  if step.disposition == "own" then parts[#parts + 1] = say_own_undo(step, before) end
  return ("step %q {\n  %s\n}"):format(step.title, table.concat(parts, "\n  "))
end

-- ---- the model: what an undisturbed run leaves ----

local act = {}

function act.set(op, state, suffix) state.values[op.target .. suffix] = op.value .. suffix end

function act.edit(op, state, suffix)
  local now = state.values[op.target .. suffix] or ""
  local added = op.value .. suffix
  state.values[op.target .. suffix] = now:find(added, 1, true) and now or now .. added
end

function act.remove(op, state) state.values[op.target] = nil end

function act.same() end

function act.copy(op, state) state.values[op.target] = (state.values[op.from] or "none") .. " " .. op.value end

act.derive = act.copy

function act.trap(op, state)
  local now = state.values[op.from]
  state.values[op.from] = "zero " .. op.value
  state.values[op.target] = (now or "none") .. " " .. op.value
end

function act.event(op, state, suffix) state.events[op.target .. " " .. op.value .. suffix] = true end

function act.bracket(op, state, suffix)
  for _, one in ipairs(op.ops) do act[one.op](one, state, suffix) end
end

local function copy(map)
  local copied = {}
  for key, value in pairs(map) do copied[key] = value end
  return copied
end

--- Goes through the procedure; returns its text and what it leaves.
--- @return string text
--- @return { values: table, events: table }  as an undisturbed run leaves them
function spec.model(made)
  local state, texts = { values = copy(made.values), events = {} }, {}
  for _, step in ipairs(made.steps) do
    local before = copy(state.values)
    for _, suffix in ipairs(step.branches or { "" }) do
      for _, op in ipairs(step.ops) do act[op.op](op, state, suffix) end
    end
    texts[#texts + 1] = say_step(step, before)
  end
  return table.concat(texts, "\n"), state
end

return spec
