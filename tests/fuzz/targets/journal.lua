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

return {
  parsers = { "neap/engine/journal.lua", "neap/engine/store.lua", "neap/engine/fold.lua", "neap/engine/audit.lua" },
  run = function(data)
    fs.remove_tree(folder)
    fs.mkdir(folder)
    fs.append(folder .. "/journal.db", data)
    local took, opened = attempt(journal.open, folder, { read_only = true })
    if not took then return end
    attempt(read_all, opened)
    opened:close()
  end,
}
