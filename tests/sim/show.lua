--- A schedule and what came of it, for people.
local json = require "native.json"

local show = {}

local FIELDS = { "path", "kind", "call", "target", "direction", "to", "undoes", "of", "status", "how", "before",
  "after", "data", "disposition", "result", "choice", "text", "why", "outcome" }

local function brief(value) return type(value) == "table" and json.encode(value) or tostring(value) end

local function record_line(line)
  local record = json.decode(line)
  local parts = { ("%3d %2d %s %-6s"):format(record.seq, record.token, record.time:sub(12, 23), record.type) }
  for _, field in ipairs(FIELDS) do
    if record[field] ~= nil then parts[#parts + 1] = field .. "=" .. brief(record[field]) end
  end
  return table.concat(parts, " ")
end

local function fault_line(one)
  local words = { ("at %d: commit %s, call %s, question %s, %g s"):format(one.at, one.commit, one.call, one.ask,
    one.delay) }
  if one.points then words[#words + 1] = ("sleeps for %d points"):format(one.points) end
  if one.by_hand then words[#words + 1] = "somebody changes " .. one.by_hand end
  return "      " .. table.concat(words, ", ")
end

local function life_line(life)
  local words = { life.op }
  for _, key in ipairs { "to", "on_conflict" } do words[#words + 1] = life[key] and key .. "=" .. life[key] or nil end
  words[#words + 1] = life.attended and "attended, at conflicts: " .. life.conflict or "nobody there"
  return "    " .. table.concat(words, " ")
end

local function result_line(one)
  local said = one.ok and one.result.status or tostring(one.result)
  local failure = one.ok and one.result.failure and (" (%s)"):format(tostring(one.result.failure)) or ""
  return ("    %s: %s%s"):format(one.life.op, one.alive and said or "killed", failure)
end

--- @param made table       the schedule
--- @param violation string
--- @param world table      after it
function show.schedule(made, violation, world)
  print(("schedule %d: %s"):format(made.seed, violation))
  print((world.text:gsub("^", "    "):gsub("\n", "\n    ")))
  print(("  %s, policy %s"):format(made.shared and "a journal without a lock" or "one host", json.encode(made.policy)))
  for _, life in ipairs(made.lives) do
    print(life_line(life))
    for _, one in ipairs(life.faults) do print(fault_line(one)) end
  end
  print "  records"
  for _, records in ipairs(world.store.by_run) do
    for _, entry in ipairs(records) do print("    " .. record_line(entry.line)) end
  end
  print "  processes"
  for _, one in ipairs(world.processes) do print(result_line(one)) end
end

return show
