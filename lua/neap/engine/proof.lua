--- What a rehearsal has shown of the way back of each effect, by the run's records alone.
local step_path = require "neap.engine.step_path"

local proof = {}

--- @class neap.proof
--- @field effects { seq: integer, path: string, show: string, kind: string, coverage: string, why: string? }[]
--- @field counts table<string, integer>  by coverage
--- @field stages table<string, table>  notes of the rehearsal, by stage
--- @field verdict "passed"|"failed"|"open"

--- What coverage is, in the order in which a reader wants it. proven: taken back, and its state read as before; undone: taken
--- back, of which no state tells; astray: taken back, and its state was not as before; declared: has an undo, which was not
--- tried; none: has none; kept: a rollback leaves it; irreversible: a rollback cannot go behind it.
proof.COVERAGE = { "proven", "undone", "astray", "declared", "none", "kept", "irreversible" }

local on = {}

function on.run(found, record) found.rehearsal = record.rehearsal end

function on.step(found, record)
  found.steps[record.seq] = record
  found.irreversible[record.path] = record.undo == "irreversible" and (record.why or "the step is") or nil
end

function on.intent(found, record)
  if record.undoes then
    found.undoing[record.seq] = record.undoes
  elseif not record.bracket and not step_path.is_undo(record.path) then
    table.insert(found.effects, record)
  end
end

--- A step's own undo stands for those of all its effects.
local function step_ended(found, step)
  local undone = step.undoes and found.steps[step.undoes]
  for _, one in ipairs(undone and found.effects or {}) do
    local is_its = step_path.root(one.path) == step_path.root(undone.path)
    if is_its and one.seq < step.seq then found.undone[one.seq] = true end
  end
end

on["end"] = function(found, record)
  if record.status == "undone" then found.undone[record.of] = true end
  if record.status == "kept" then found.kept[record.of] = true end
  if record.status ~= "done" and record.status ~= "partial" then return end
  found.ended[record.of or 0] = true
  local undoes = found.undoing[record.of]
  if undoes and record.status == "done" then found.undone[undoes] = true end
  if found.steps[record.of] then step_ended(found, found.steps[record.of]) end
end

function on.note(found, record)
  if record.kind == "rehearsal" then found.stages[record.stage] = record end
end

function on.close(found, record) found.verdict = record.rehearsal or found.verdict end

--- States that were not as before, or were only said to be, by what names them.
local function doubts(found)
  local astray, unseen, stages = {}, {}, found.stages
  for _, one in ipairs(stages.compared and stages.compared.differ or {}) do
    astray[one.path .. "\0" .. one.show] = one.astray and one.what or nil
  end
  for _, one in ipairs(stages.returned and stages.returned.suspects or {}) do
    local here = one.path .. "\0" .. one.show
    local again = stages.compared and step_path.root(one.path) ~= stages.turned.at
    if not astray[here] and not again then unseen[here] = one.what or "its state was not read as before" end
  end
  return astray, unseen
end

local function without_way_back(found, one)
  if one.disposition == "irreversible" then
    return one.why == "it has no undo" and "none" or "irreversible", one.why
  end
  local why = found.irreversible[one.path] or found.irreversible[step_path.root(one.path)]
  if why then return "irreversible", why end
end

local function coverage_of(found, one, astray, unseen)
  if found.kept[one.seq] or one.disposition == "keep" then return "kept", one.why end
  if found.undone[one.seq] then
    local here = one.path .. "\0" .. (one.show or one.kind)
    if astray[here] then return "astray", astray[here] end
    if one.class ~= "resource" then return "undone" end
    return unseen[here] and "undone" or "proven", unseen[here]
  end
  local coverage, why = without_way_back(found, one)
  return coverage or "declared", why
end

local function name_of(one) return ("%s\0%s\0%s"):format(one.path, one.kind, one.show or "") end

--- The effects of the first way forward, and of the second those that the first did not come to.
local function each_once(found)
  local list, first = {}, {}
  local turned = found.stages.turned and found.stages.turned.seq or math.maxinteger
  for _, one in ipairs(found.effects) do
    local is_first = one.seq < turned
    if is_first and found.ended[one.seq] then first[name_of(one)] = true end
    if found.ended[one.seq] and (is_first or not first[name_of(one)]) then list[#list + 1] = one end
  end
  return list
end

--- @param records table[]  of a run that is a rehearsal
--- @return neap.proof?  nil: it is none
function proof.of(records)
  local found = { steps = {}, irreversible = {}, undoing = {}, effects = {}, undone = {}, kept = {}, ended = {},
    stages = {}, verdict = "open" }
  for _, record in ipairs(records) do
    if on[record.type] then on[record.type](found, record) end
  end
  if not found.rehearsal then return nil end
  local result = { effects = {}, counts = {}, stages = found.stages, verdict = found.verdict }
  local astray, unseen = doubts(found)
  for _, coverage in ipairs(proof.COVERAGE) do result.counts[coverage] = 0 end
  for _, one in ipairs(each_once(found)) do
    local coverage, why = coverage_of(found, one, astray, unseen)
    result.counts[coverage] = result.counts[coverage] + 1
    table.insert(result.effects, { seq = one.seq, path = one.path, show = one.show or one.kind, kind = one.kind,
      coverage = coverage, why = why })
  end
  return result
end

return proof
