--- Makes a schedule that shows a violation smaller, as long as it shows one: fewer lives, faults, steps and changes.
local schedule = require "tests.sim.schedule"

local shrink = {}

local function copy(value)
  if type(value) ~= "table" then return value end
  local copied = {}
  for key, item in pairs(value) do copied[key] = copy(item) end
  return copied
end

--- The lists of a schedule from which something can be left out: { find in a copy, how many must stay }.
local function lists_of(made)
  local lists = { { find = function(one) return one.lives end, least = 0 },
    { find = function(one) return one.steps end, least = 1 } }
  local function add(find, least) lists[#lists + 1] = { find = find, least = least } end
  for i in ipairs(made.lives) do add(function(one) return one.lives[i].faults end, 0) end
  for i, step in ipairs(made.steps) do
    add(function(one) return one.steps[i].ops end, 0)
    if step.branches then add(function(one) return one.steps[i].branches end, 1) end
  end
  return lists
end

local function without(made, find, index)
  local smaller = copy(made)
  table.remove(find(smaller), index)
  return smaller
end

local FIELDS = { "retry", "timeout", "by_hand", "points", "on_failure", "on_conflict", "to" }

--- The tables whose optional fields may be left out.
local function holders_of(made)
  local holders = { function(one) return one.policy end }
  for i in ipairs(made.steps) do holders[#holders + 1] = function(one) return one.steps[i] end end
  for i, life in ipairs(made.lives) do
    holders[#holders + 1] = function(one) return one.lives[i] end
    for j in ipairs(life.faults) do holders[#holders + 1] = function(one) return one.lives[i].faults[j] end end
  end
  return holders
end

local function without_field(made, find, field)
  if find(made)[field] == nil then return nil end
  local smaller = copy(made)
  find(smaller)[field] = nil
  return smaller
end

--- All schedules that are smaller by one thing.
local function candidates(made)
  local list = {}
  for _, one in ipairs(lists_of(made)) do
    local count = #one.find(made)
    for index = count, count > one.least and 1 or count + 1, -1 do list[#list + 1] = without(made, one.find, index) end
  end
  for _, find in ipairs(holders_of(made)) do
    for _, field in ipairs(FIELDS) do list[#list + 1] = without_field(made, find, field) end
  end
  return list
end

local function smaller_one(made, tries)
  for _, smaller in ipairs(candidates(made)) do
    tries.left = tries.left - 1
    if tries.left < 0 then return nil end
    if schedule.run(smaller) then return smaller end
  end
end

--- @param made table   a schedule that shows a violation
--- @return table made  a smaller one that shows one too, perhaps another
function shrink.smallest(made)
  local tries = { left = 2000 }
  while true do
    local smaller = smaller_one(made, tries)
    if not smaller then return made end
    made = smaller
  end
end

return shrink
