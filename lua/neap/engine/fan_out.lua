--- Branches of a step side by side, each an attempt of its own: a host that is done is not done again on resume.
local attempt = require "neap.engine.attempt"
local fault   = require "native.error"
local group   = require "neap.engine.group"

local fan_out = {}

--- The items that a step runs on.
--- @param step table  with `on`: one, a list, or a function that returns it
--- @return table
function fan_out.items(step)
  local items = step.on
  if type(items) == "function" then items = items() end
  if type(items) ~= "table" then error(("%s: on gives a %s, expected a list"):format(step.where, type(items)), 0) end
  return items.name and { items } or items
end

local function name_of(item) return type(item) == "table" and item.name or tostring(item) end

--- Names are known per attempt: a second fan-out with one of them would be taken for the first.
local function check_names(parent, items)
  local seen = parent.cursor.names or {}
  parent.cursor.names = seen
  local function refuse(message, ...) error(parent.step.where .. ": " .. message:format(...), 0) end
  for _, item in ipairs(items) do
    local name = name_of(item)
    if type(name) ~= "string" or type(item) == "function" then
      refuse "an item of a fan-out has a name, or is a text"
    end
    if name:find("/", 1, true) then refuse("the name %q has a slash, which separates branches", name) end
    if seen[name] then refuse("two branches are named %q: the name tells them apart", name) end
    seen[name] = true
  end
end

--- How many at a time: a number, or a share of all as in "25%"; at least one.
local function width(at_a_time, total)
  local share = type(at_a_time) == "string" and tonumber(at_a_time:match "^(%d+)%%$")
  if share then return math.max(1, total * share // 100) end
  return math.max(1, tonumber(at_a_time) or total)
end

local function real_failures(failures)
  local real = {}
  for _, one in ipairs(failures) do
    if not (fault.is(one.failure, "cancelled") and one.failure.code == "sibling") then real[#real + 1] = one end
  end
  return real
end

--- A branch that was interrupted, which may be in doubt, is no failure that could be let pass.
local function raise_interrupts(failures)
  for _, one in ipairs(failures) do
    if attempt.interrupts(one.failure) then error(one.failure, 0) end
  end
end

--- Raises for what failed: the failure itself where it is one, else a summary that names them all.
local function raise(failures, total)
  local first = failures[1].failure
  if #failures == 1 then error(first, 0) end
  local names, lines = {}, {}
  for _, one in ipairs(failures) do
    names[#names + 1] = name_of(one.item)
    lines[#lines + 1] = ("%s: %s"):format(name_of(one.item), tostring(one.failure))
  end
  fault.raise { kind = fault.is(first) and first.kind or "remote", output = table.concat(lines, "\n"),
    message = ("%d of %d failed: %s"):format(#failures, total, table.concat(names, ", ")) }
end

--- Calls fn(item) for each item in a branch named after it. Returns the results by name.
--- @param parent table   the branch that fans out
--- @param items any[]    each has a name or is a text
--- @param options { at_a_time?: integer|string, max_failures?: integer }
--- @param fn fun(item: any): any
--- @return table<string, any>
function fan_out.run(parent, items, options, fn)
  check_names(parent, items)
  if #parent.brackets > 0 then error("a bracket holds changes, not a fan-out: put the bracket inside", 3) end
  local run, results, stop = parent.run, {}, { above = parent.stop }
  local function one(item)
    local name = name_of(item)
    local of_branch = { stop = stop, fields = { branch = name } }
    results[name] = attempt.run(run, parent.step, parent.path .. "/" .. name, of_branch, fn, item)
  end
  if run.planning then
    for _, item in ipairs(items) do one(item) end
    return results
  end
  if run.outlined then run:emit { type = "fan out", path = parent.path, total = #items } end
  local writer = run.writer
  writer.shared = (writer.shared or 0) + 1
  local ok, failures = pcall(group.each, items,
    { at_a_time = width(options.at_a_time, #items), max_failures = options.max_failures, stop = stop }, one)
  writer.shared = writer.shared - 1
  if not ok then error(failures, 0) end
  failures = real_failures(failures)
  raise_interrupts(failures)
  if #failures > (options.max_failures or 0) then raise(failures, #items) end
  return results
end

return fan_out
