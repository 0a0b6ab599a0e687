--- The account of a run: all that a report says, out of its journal and of the code that it ran. Plain data; the forms of
--- a report are views of it.
local change    = require "neap.cli.view.change_text"
local data      = require "neap.engine.data"
local diff      = require "native.diff"
local fault     = require "native.error"
local history   = require "neap.cli.history"
local people    = require "neap.cli.account_people"
local procedure = require "neap.engine.procedure"
local proof     = require "neap.engine.proof"
local standing  = require "neap.cli.standing"
local step_path = require "neap.engine.step_path"
local time      = require "neap.cli.view.time"
local versions  = require "neap.engine.versions"

--- @class neap.account
--- @field run integer
--- @field environment string
--- @field procedure string
--- @field title string  what the procedure is for
--- @field arguments table
--- @field actor string
--- @field started string  UTC, as all times
--- @field ended string  the last record's
--- @field seconds number
--- @field plan? string
--- @field guard? string
--- @field summary string  in a few words
--- @field verdict { state: "good"|"back"|"bad"|"waits", head: string, failure?: table, next: string[] }
--- @field counts { in_place: integer, undo: integer, kept: integer, no_undo: integer, seconds_to_undo: number }
--- @field point? { path: string, why: string }  of no return, that is passed
--- @field phases { number: integer, title: string, steps: neap.account_step[] }[]
--- @field effects neap.account_effect[]
--- @field people { time: string, who: string, what: string, text: string }[]
--- @field deviations { time: string, text: string }[]
--- @field rehearsal? neap.proof
--- @field guides table[]
--- @field chain { whole: boolean, records?: integer, head?: string, problem?: string }

--- @class neap.account_step
--- @field number string
--- @field title string
--- @field kind "step"|"manual"|"await"
--- @field from? string  lines of the guide
--- @field status "done"|"skipped"|"by hand"|"failed"|"undone"|"open"|"not begun"|"not wanted"
--- @field attempts integer
--- @field started? string
--- @field ended? string
--- @field failure? table
--- @field who? string
--- @field reason? string
--- @field as_wanted integer  how many effects found all as wanted

--- @class neap.account_effect
--- @field seq integer
--- @field number? string  of its step
--- @field step string
--- @field branch? string
--- @field kind string
--- @field sign "+"|"~"|"-"|">"
--- @field show string
--- @field lane string  the target's host, database or kind
--- @field status "done"|"failed"|"did not happen"|"partly done"|"in doubt"
--- @field undo string  what became of it in a rollback, or would
--- @field started string
--- @field ended? string
--- @field back? { started: string, ended?: string }  when it was taken back
--- @field diff table[]  hunks as native.diff has them, of lines { sign, text, no_newline }
--- @field failure? table

local account = {}

-- ---- effects ----

local function lane_of(record)
  local target = record.target
  local named = type(target) == "table" and (target.host or target.database or target.cluster)
  return type(named) == "string" and named or record.kind:match "^[^.]+"
end

local function sign_of(record)
  if record.before == nil and record.after == nil then return ">" end
  return record.before == nil and "+" or record.after == nil and "-" or "~"
end

--- What differs, each line as { sign, text } by name, for JSON has no lists with names.
local function hunks_of(record)
  if record.before == nil and record.after == nil then return {} end
  local hunks = diff.lines(change.text(record.before), change.text(record.after), { context = 3 })
  for _, hunk in ipairs(hunks) do
    for i, line in ipairs(hunk.lines) do
      hunk.lines[i] = { sign = line[1], text = line[2], no_newline = line.no_newline }
    end
  end
  return hunks
end

local function new_effect(record, numbers)
  local step, branch = step_path.split(record.path)
  return { seq = record.seq, number = numbers[step], step = step, branch = branch, kind = record.kind,
    sign = sign_of(record), show = record.show or record.kind, lane = lane_of(record), started = record.time,
    status = "in doubt", disposition = record.disposition, why = record.why, diff = hunks_of(record),
    own_undo = step_path.is_undo(record.path) }
end

local STATUS = { done = "done", failed = "failed", void = "did not happen", partial = "partly done" }

local function end_effect(one, record)
  one.status, one.ended, one.failure = STATUS[record.status] or one.status, record.time, record.failure
  one.settled = record.how == "settled" or record.how == "person" or nil
end

--- Openings of brackets are no changes; the undo of an effect belongs to it.
local function read_intent(found, record, numbers)
  if record.bracket == "open" and not record.undoes then return end
  local undone = record.undoes and found.by_seq[record.undoes]
  if undone then
    undone.back = { started = record.time }
    found.backs[record.seq] = undone
  elseif not record.undoes then
    local one = new_effect(record, numbers)
    found.by_seq[record.seq], found.list[#found.list + 1] = one, one
  end
end

local function read_end(found, record)
  local undone, one = found.backs[record.of], found.by_seq[record.of]
  if undone then
    undone.back.ended, undone.undone = record.time, undone.undone or record.status == "done"
  elseif one and record.status == "undone" then
    one.undone = true
  elseif one and record.status == "kept" then
    one.left = record.why or "it was left"
  elseif one then
    end_effect(one, record)
  end
end

--- An own undo of a step stands for those of its effects.
local function own_undo(found, step)
  for _, one in ipairs(found.list) do
    if one.step == step and not one.own_undo then one.undone = true end
  end
end

local WOULD = { undo = "can be undone", own = "its step's undo takes it back" }

local function undo_of(one, is_over)
  if one.undone then return "undone" end
  if one.left then return "kept: " .. one.left end
  if one.status == "failed" or one.status == "did not happen" then return "nothing to undo" end
  if one.disposition == "keep" then return "kept: " .. (one.why or "") end
  if one.disposition == "irreversible" then return "NO UNDO: " .. (one.why or "") end
  return is_over and "in place" or WOULD[one.disposition] or ""
end

local HIDDEN = { "disposition", "why", "undone", "left", "own_undo" }

local function effects_of(model)
  local found = { list = {}, by_seq = {}, backs = {} }
  local begun = {}
  for _, record in ipairs(model.records) do
    if record.type == "intent" then read_intent(found, record, model.numbers) end
    if record.type == "step" then begun[record.seq] = record end
    if record.type == "end" then
      read_end(found, record)
      local step = begun[record.of]
      if step and step.undoes and record.status == "done" then own_undo(found, step_path.split(step.path)) end
    end
  end
  for _, one in ipairs(found.list) do
    one.undo = undo_of(one, model.run.outcome ~= nil)
    for _, key in ipairs(HIDDEN) do one[key] = nil end
  end
  return found.list
end

-- ---- steps ----

--- What the records say of each title.
local function history_of_steps(records)
  local by_title, begun = {}, {}
  local function entry(title)
    by_title[title] = by_title[title] or { attempts = 0, as_wanted = 0 }
    return by_title[title]
  end
  for _, record in ipairs(records) do
    local title, branch = step_path.split(record.path or "")
    local whole = record.path and not branch
    if record.type == "step" and whole and not record.undoes then
      local one = entry(title)
      begun[record.seq], one.attempts = one, one.attempts + 1
      one.started = one.started or record.time
    elseif record.type == "end" and record.status == "same" then
      entry(title).as_wanted = entry(title).as_wanted + 1
    elseif begun[record.of or 0] then
      local one = begun[record.of]
      one.ended, one.who, one.reason, one.failure = record.time, record.who, record.reason, record.failure
      one.unwanted = record.skipped
    end
  end
  return by_title
end

local function status_of(state, title, known)
  local step = state:step(title)
  if not step then return "not begun" end
  if step.how == "person" and step.status == "done" then return "by hand" end
  if known.unwanted and step.status == "done" then return "not wanted" end
  return step.status
end

local function step_entry(model, step, known)
  known = known or { attempts = 0, as_wanted = 0 }
  local status = status_of(model.state, step.title, known)
  return { number = step.number, title = step.title, kind = step.kind or "step", from = step.from, status = status,
    attempts = known.attempts, started = known.started, ended = known.ended, as_wanted = known.as_wanted,
    failure = status == "failed" and known.failure or nil, who = known.who, reason = known.reason,
    text = step.text, where = step.where }
end

--- The code as the run has it; nil where this release cannot read it.
local function code_of(model)
  local now, first = versions.last(model.state), model.state.first
  local ok, loaded = pcall(procedure.load, { files = now.files, path = first.path, arguments = now.arguments,
    environment = first.environment_data, showing = true })
  return ok and loaded or nil
end

--- Where the code cannot be read, what the journal has begun.
local function phases_begun(model)
  local steps = {}
  for _, title in ipairs(model.state.step_order) do
    if model.numbers[title] then steps[#steps + 1] = { title = title, number = model.numbers[title] } end
  end
  return { { number = 1, title = "", steps = steps } }
end

local function phases_of(model, code)
  local known, phases = history_of_steps(model.records), {}
  for i, phase in ipairs(code and code.phases or phases_begun(model)) do
    phases[i] = { number = phase.number, title = phase.title, steps = {} }
    for j, step in ipairs(phase.steps) do phases[i].steps[j] = step_entry(model, step, known[step.title]) end
  end
  return phases
end

-- ---- the whole ----

local function counts_of(model)
  local counts = { in_place = 0, undo = 0, kept = 0, no_undo = 0,
    seconds_to_undo = model.run.outcome and 0 or model.state:seconds_to_undo() }
  local names = { undo = "undo", own = "undo", keep = "kept", irreversible = "no_undo" }
  for _, one in ipairs(model.in_place) do
    if not one.bracket then
      counts.in_place = counts.in_place + 1
      counts[names[one.disposition]] = counts[names[one.disposition]] + 1
    end
  end
  return counts
end

local STATES = { done = "good", ["rolled back"] = "back", abandoned = "bad" }

local function next_commands(model)
  local named = ("%d --env %s"):format(model.run.run, model.run.environment)
  if model.run.outcome then return { "neap log " .. named } end
  local list = { "neap resume " .. named }
  if not model.point then list[2] = "neap rollback " .. named end
  return list
end

local function verdict_of(model)
  local run = model.run
  local state = STATES[run.outcome] or (model.alive or model.question) and "waits" or "bad"
  if run.rehearsal == "failed" then state = "bad" end
  local failure = not run.outcome and model.failure or nil
  return { state = state, head = standing.summary(model), step = not run.outcome and model.step or nil,
    number = not run.outcome and model.number or nil, failure = failure and data.shown(failure) or nil,
    question = model.question and model.question.text or nil, next = next_commands(model) }
end

--- Raises `missing` where the run has no record.
--- @param run table  as choice.run gives it
--- @return neap.account
function account.of(run)
  local model = standing.of(run)
  local first = model.state.first
  if not first then fault.raise { kind = "missing", message = ("run %d has no record"):format(run.run) } end
  local code, last = code_of(model), model.last.time
  local told, deviations = people.of(model)
  return {
    run = run.run, environment = run.environment, procedure = run.procedure, title = code and code.title or "",
    arguments = first.arguments, actor = run.actor or "?", started = run.started, ended = last,
    seconds = time.between(run.started, last) or 0, plan = first.plan, guard = model.policy.guard,
    snapshot = first.snapshot, release = model.owner and model.owner.release,
    summary = standing.summary(model), verdict = verdict_of(model), counts = counts_of(model), point = model.point,
    phases = phases_of(model, code), effects = effects_of(model), people = told, deviations = deviations,
    rehearsal = proof.of(model.records), guides = code and code.guides or {}, chain = history.chain(run),
  }
end

return account
