--- Where a run stands, by its journal alone: before a resume or a rollback, and for lists and logs.
local fold      = require "neap.engine.fold"
local fs        = require "native.fs"
local history   = require "neap.cli.history"
local step_path = require "neap.engine.step_path"

local standing = {}

--- Whether somebody carries a run out there: a living process holds the lock of the environment's folder.
--- @param folder string
--- @return boolean
function standing.is_alive(folder)
  if not fs.exists(folder .. "/lock") then return false end
  local ok, lock = pcall(fs.lock, folder .. "/lock")
  if not ok then return false end -- not ours to take: then not ours to judge either
  if lock then lock:close() end
  return lock == nil
end

--- The step that a person is asked about, or else the one that was begun last and has not ended well.
local function open_step(state)
  local asked = state.question and state.question.path
  if asked then return step_path.title(asked), state.steps[asked] end
  for i = #state.step_order, 1, -1 do
    local step = state.steps[state.step_order[i]]
    local ended = not step or step_path.line_number(step.path) or (step.status ~= "open" and step.status ~= "failed")
    if not ended then return step_path.title(step.path), step end
  end
end

--- Where no step is open the run stands behind the last one.
local function last_step(state)
  local path = state.step_order[#state.step_order]
  return path and step_path.title(path)
end

local function numbers_of(records)
  local numbers = {}
  for _, record in ipairs(records) do
    if record.type == "step" and record.number then numbers[step_path.title(record.path)] = record.number end
  end
  return numbers
end

--- @param run table  as history gives it
--- @return table model  { run, records, state, numbers, step, number, after, in_doubt, in_place, back, question, alive, policy }
function standing.of(run)
  return history.reading(run.folder, function(journal)
    local records = journal:records(run.run)
    local state, numbers = fold.of(records), numbers_of(records)
    local title, step = open_step(state)
    return {
      run = run, records = records, state = state, numbers = numbers, step = title, number = title and numbers[title],
      after = not title and last_step(state) or nil,
      failure = step and step.failure, in_doubt = state:in_doubt(), in_place = state:in_place(),
      back = state.turn == "back", question = state.question, point = state:point_of_no_return(),
      alive = not run.outcome and standing.is_alive(run.folder), owner = state.owner, last = state.last,
      policy = state.first and state.first.environment_data and state.first.environment_data.policy or {},
    }
  end)
end

--- Whether a rollback had to leave something that was to be put back.
local function rolled_back(state)
  return state.left == 0 and "rolled back" or ("rolled back, but for %d"):format(state.left)
end

local function numbers_after(model) return model.numbers[model.after] or model.after end

local OF_REHEARSAL = { passed = "rehearsed", failed = "rehearsal failed" }

--- In a few words: "done", "rehearsed", "stopped at 4.3", "waits at 4.7", "rolling back".
--- @param model table
--- @return string
function standing.summary(model)
  if model.run.outcome and OF_REHEARSAL[model.run.rehearsal] then return OF_REHEARSAL[model.run.rehearsal] end
  if model.run.outcome == "rolled back" then return rolled_back(model.state) end
  if model.run.outcome then return model.run.outcome end
  local at = model.number or model.step or model.after and numbers_after(model) or "the start"
  if model.alive then return ("%s %s, running"):format(model.back and "rolling back at" or "at", at) end
  if model.question then return ("waits for an answer at %s"):format(at) end
  if model.back then return ("rollback stopped at %s"):format(at) end
  if #model.in_doubt > 0 then return ("stopped at %s, %d in doubt"):format(at, #model.in_doubt) end
  return ("stopped at %s"):format(at)
end

return standing
