--- Arguments or code that a person changes where a run stands at a step. The step, and what came after it, is taken back
--- first: so nothing of it was made with the old ones, and it is attempted anew as a whole. What has ended before stays as
--- it was done, and is undone by what it was done with.
local approval   = require "neap.engine.approval"
local data       = require "neap.engine.data"
local fault      = require "native.error"
local near       = require "neap.near"
local procedure  = require "neap.engine.procedure"
local rollback   = require "neap.engine.rollback"
local session    = require "neap.engine.session"
local versions   = require "neap.engine.versions"

--- @class neap.amendment
--- @field arguments? table<string, string>  those to be changed, as on the command line
--- @field files? table<string, string>  the code, without environments
--- @field reason string
--- @field who? string
--- @field agreed? boolean  nobody is asked about finished steps that the new code has otherwise

local amend = {}

local function refuse(message, ...)
  fault.raise { kind = "denied", code = "amend", where = "", message = message:format(...),
    hint = "plan and run it anew with what it needs" }
end

--- Why nothing may be changed in this environment; nil: it may.
--- @param environment table
--- @return string?
function amend.refusal(environment)
  if not approval.demand(environment.policy or {}) then return nil end
  return ("%s asks for approvals, and these are bound to code and arguments as they are"):format(environment.name)
end

-- ---- arguments ----

local LONGEST = 1024 -- bytes of an argument that is edited by hand

--- The arguments that a person can change, for who edits them: texts, if they are not too long, numbers and booleans.
--- @param self table  the session
--- @return { name: string, value: string?, type: string, description: string? }[]
function amend.arguments(self)
  local list = {}
  for _, declared in ipairs(self.procedure.parameters) do
    local value = self.procedure.arguments[declared.name]
    if type(value) ~= "table" and #tostring(value) <= LONGEST then
      list[#list + 1] = { name = declared.name, value = value ~= nil and tostring(value) or nil, type = declared.type,
        description = declared.description }
    end
  end
  return list
end

--- A value that the environment was made of would be another there than here.
local function check_environment(self, name)
  if not (self.environment.from_arguments or {})[name] then return end
  refuse("values of %s were made of %s when the run began", self.environment.name, name)
end

local function check_name(self, name)
  local names = {}
  for _, declared in ipairs(self.procedure.parameters) do names[declared.name] = true end
  if names[name] then return end
  fault.raise { kind = "conflict", code = "usage", where = "",
    message = ("no parameter is named %q%s"):format(name, near.hint(name, names)) }
end

--- All arguments, with those that are changed.
local function merged(self, given)
  local all = data.plain(self.procedure.arguments)
  for name, value in pairs(given) do
    check_name(self, name)
    all[name] = value
  end
  return all
end

local function changes_between(before, after)
  local names, parts = {}, {}
  for name in pairs(after) do
    if not data.same(before[name], after[name]) then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local was = before[name] == nil and "none" or tostring(before[name])
    parts[i] = ("%s: %s -> %s"):format(name, was, tostring(after[name]))
  end
  return names, table.concat(parts, ", ")
end

-- ---- code ----

--- The environment's own files stay those that the run began with.
local function with_environments(self, files)
  local all = {}
  for path, bytes in pairs(self.files) do
    if path:find "/environments/" then all[path] = bytes end
  end
  for path, bytes in pairs(files) do
    if not path:find "/environments/" then all[path] = bytes end
  end
  return all
end

--- What stands behind a step and before the next.
local function is_between(line) return line:find "^%s*$" or line:find "^%-%-" or line:find "^phase%f[%W]" end

--- The lines of a step, up to the next one in its file.
local function text_of(steps, index, files)
  local step, last = steps[index], math.maxinteger
  for _, other in ipairs(steps) do
    if other.file == step.file and other.line > step.line and other.line <= last then last = other.line - 1 end
  end
  local lines, number = {}, 0
  for line in ((files[step.file] or "") .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if number >= step.line and number <= last then lines[#lines + 1] = line end
  end
  while #lines > 1 and is_between(lines[#lines]) do lines[#lines] = nil end
  return table.concat(lines, "\n") .. "\n"
end

local function texts(steps, files)
  local found = {}
  for i, step in ipairs(steps) do found[step.title] = text_of(steps, i, files) end
  return found
end

--- Steps that are over and stand otherwise in the new code, or not at all.
local function finished_otherwise(self, candidate, files)
  local before, after = texts(self.procedure.steps, self.files), texts(candidate.steps, files)
  local changed, gone = {}, {}
  for _, step in ipairs(self.procedure.steps) do
    local one = { number = step.number, title = step.title, before = before[step.title], after = after[step.title] }
    if self.state:is_over(step.title) and not one.after then
      gone[#gone + 1] = { number = step.number, title = step.title }
    elseif self.state:is_over(step.title) and one.before ~= one.after then
      changed[#changed + 1] = one
    end
  end
  return changed, gone
end

--- New steps that stand before one that is over.
local function new_before_finished(self, candidate)
  local list, found = {}, {}
  for _, step in ipairs(candidate.steps) do
    if self.state:is_over(step.title) then
      list = table.move(found, 1, #found, 1, {})
    elseif not self.procedure.titled[step.title] then
      found[#found + 1] = { number = step.number, title = step.title }
    end
  end
  return list
end

--- What the new code has otherwise of steps that are over, and will not be done again.
local function difference(self, candidate, files)
  local changed, gone = finished_otherwise(self, candidate, files)
  return { changed = changed, gone = gone, earlier = new_before_finished(self, candidate),
    files = versions.changed(self.files, files) }
end

local function concerns_finished(found) return #found.changed + #found.gone + #found.earlier > 0 end

local function ask_about_code(self, step, found)
  local choice = self:ask { kind = "code", path = step and step.title, options = { "take", "leave" }, shown = found,
    text = "Steps that are over read otherwise in the new code. They are not done again." }
  if choice ~= "take" then fault.raise { kind = "verify", where = "", message = "the code stays as it is" } end
end

-- ---- both ----

local function note_of(self, step, change, fields)
  local note = { type = "note", path = step and step.title, who = change.who, reason = change.reason }
  for key, value in pairs(fields) do note[key] = value end
  local by = change.who and " by " .. change.who or ""
  note.text = ("%s changed%s: %s (%s)"):format(note.kind, by, note.what, change.reason)
  note.what = nil
  local plan = self.state.first.plan
  if plan and not self.state.amendments[1] then note.text = ("%s; plan %s binds it no more"):format(note.text, plan) end
  return note
end

local function load(self, files, arguments)
  return procedure.load { files = files, path = self.path, arguments = arguments, environment = self.environment }
end

local function prepare_code(self, step, change)
  local files = with_environments(self, change.files)
  if #versions.changed(self.files, files) == 0 then
    fault.raise { kind = "verify", where = "", message = "the code is the same" }
  end
  local candidate = load(self, files, versions.last(self.state).arguments)
  local found = difference(self, candidate, files)
  if concerns_finished(found) and not change.agreed then ask_about_code(self, step, found) end
  return candidate, files, note_of(self, step, change, { kind = "code", what = table.concat(found.files, ", "),
    files = files, snapshot = session.snapshot_digest(files), after = candidate.arguments })
end

local function prepare_arguments(self, step, change)
  local candidate = load(self, self.files, merged(self, change.arguments))
  local names, what = changes_between(self.procedure.arguments, candidate.arguments)
  if #names == 0 then fault.raise { kind = "verify", where = "", message = "the arguments are the same" } end
  for _, name in ipairs(names) do check_environment(self, name) end
  return candidate, self.files, note_of(self, step, change, { kind = "arguments", what = what,
    before = self.procedure.arguments, after = candidate.arguments })
end

--- Changes arguments or code of a run that stands at a step, which is taken back before. Raises where that is refused, or
--- not what a start would take; what a way back raises is kind "paused", and the run is then on its way back.
--- @param self table  the session
--- @param step table?  definition of the step that the run stands at; nil: between two
--- @param change neap.amendment
function amend.make(self, step, change)
  local refusal = amend.refusal(self.environment)
  if refusal then refuse("%s", refusal) end
  if self.state.first.rehearsal then refuse "a rehearsal is one of the code and arguments that it began with" end
  if (change.reason or "") == "" then
    fault.raise { kind = "verify", where = "", message = "a change on the way needs a reason" }
  end
  -- loaded and checked as at a start, before anything is touched
  local candidate, files, note = (change.files and prepare_code or prepare_arguments)(self, step, change)
  rollback.step(self, step, note)
  self.procedure, self.kinds, self.files = candidate, candidate.kinds, files
  self.expected = nil -- the plan was one of other code or arguments
end

return amend
