--- The code and arguments of a run over time: what has ended goes by those it was done with, what is to come by the last.
local procedure = require "neap.engine.procedure"

local versions = {}

--- @class neap.version
--- @field from integer  the seq of the record that brought it
--- @field files table<string, string>
--- @field arguments table
--- @field procedure? neap.procedure  once it was wanted

--- All of a run, oldest first.
--- @param state table  the fold
--- @return neap.version[]
function versions.of(state)
  local list = { { from = 0, files = state.first.files, arguments = state.first.arguments } }
  for _, note in ipairs(state.amendments) do
    local before = list[#list]
    list[#list + 1] = { from = note.seq, files = note.files or before.files,
      arguments = note.after or before.arguments }
  end
  return list
end

--- The last.
--- @param state table
--- @return neap.version
function versions.last(state)
  local list = versions.of(state)
  return list[#list]
end

--- The paths of the files that are otherwise in the second, sorted: others, new or gone.
--- @param before table<string, string>
--- @param after table<string, string>
--- @return string[]
function versions.changed(before, after)
  local list = {}
  for path in pairs(after) do
    if before[path] ~= after[path] then list[#list + 1] = path end
  end
  for path in pairs(before) do
    if after[path] == nil then list[#list + 1] = path end
  end
  table.sort(list)
  return list
end

--- The run as its code and arguments were when a record was written: for a step's own undo, and for kinds of change that
--- the code declares.
--- @param run table  the session
--- @param seq integer
--- @return table run
function versions.at(run, seq)
  local state = run.state
  if #state.amendments == 0 or seq > state.amendments[#state.amendments].seq then return run end
  run.versions = run.versions or {}
  local list = versions.of(state)
  local at = #list
  while list[at].from > seq do at = at - 1 end
  local found = run.versions[list[at].from] or procedure.load { files = list[at].files, path = run.path,
    arguments = list[at].arguments, environment = run.environment }
  run.versions[list[at].from] = found
  return setmetatable({ procedure = found, kinds = found.kinds }, { __index = run, __newindex = run })
end

return versions
