--- Follows a run by its journal alone, as it grows: from another login, or in a pipe; it neither attends nor disturbs it.
local history  = require "neap.cli.history"
local progress = require "neap.cli.view.progress"
local standing = require "neap.cli.standing"
local task     = require "native.task"

local EVERY = 0.5 -- seconds

local function records_after(run, seq)
  return history.reading(run.folder, function(journal)
    local list = {}
    for entry in journal.store:records(run.run, seq) do list[#list + 1] = journal:decode(entry.line) end
    return list
  end)
end

--- Prints what the run does until it is closed, or until nobody carries it out any more.
--- @param run table  as history gives it
--- @param console neap.console
return function(run, console)
  local view, event = progress.new(console.out), require "neap.cli.view.json".event
  local seq, closed = 0, false
  while not closed do
    local alive = standing.is_alive(run.folder) -- before its records: what it wrote last is read, too
    local records = records_after(run, seq)
    for _, record in ipairs(records) do
      view:follow(record)
      local line = console.json and event(record) or view:line(record)
      if line and console.json then console:answer_json(line) elseif line then console:answer(line) end
      seq, closed = record.seq, closed or record.type == "close"
    end
    if not closed and not alive then
      console:tell(console.err:clean(standing.summary(standing.of(run))))
      return
    end
    if not closed then task.sleep(EVERY) end
  end
end
