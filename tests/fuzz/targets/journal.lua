--- A journal that is damaged is read or refused: by an error object, never by a mistake. In: the bytes of journal.db.
local audit   = require "neap.engine.audit"
local fold    = require "neap.engine.fold"
local fs      = require "native.fs"
local journal = require "neap.engine.journal"

local folder = scratch()

--- As a run is taken up: a damaged chain says more than what came of reading it, and what holds is no mistake to read.
local function take_up(opened, number)
  local reading = opened:read(number)
  local state = fold.new(opened:source(function() return number end))
  local ok, failure = pcall(function()
    reading:each(function(record) state:add(record) end, function(note) state:add_summary(note) end)
    state:complete()
    state:in_doubt()
    state:in_place()
    state:point_of_no_return()
  end)
  local holds = attempt(reading.result, reading)
  reading:close()
  if holds and not ok then error(failure, 0) end
end

local function read_all(opened)
  attempt(opened.runs, opened)
  local took, rows = attempt(opened.store.runs, opened.store)
  for i, row in ipairs(took and rows or {}) do
    if i > 4 then break end
    attempt(take_up, opened, row.run)
    attempt(opened.verify, opened, row.run)
    attempt(audit.run, opened.store, row.run)
    attempt(opened.records, opened, row.run)
  end
end

--- One that SQLite does not look at says whether the journal is also opened for writing, which takes its time.
local function byte_for_writing(data) return data:byte(73) or 0 end

return {
  parsers = { "neap/engine/journal.lua", "neap/engine/store.lua", "neap/engine/fold.lua", "neap/engine/audit.lua" },
  run = function(data)
    fs.remove_tree(folder)
    fs.mkdir(folder)
    fs.append(folder .. "/journal.db", data)
    for _, options in ipairs { { read_only = true }, byte_for_writing(data) ~= 0 and {} or nil } do
      local took, opened = attempt(journal.open, folder, options)
      if took then
        attempt(read_all, opened)
        attempt(opened.store.lease, opened.store)
        attempt(audit.all, opened.store)
        opened:close()
      end
    end
  end,
}
