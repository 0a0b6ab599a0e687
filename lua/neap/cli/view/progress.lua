--- A run as it goes: a line for each thing that has ended, and, on a terminal, a block below them for what is going on.
local block = require "neap.cli.view.block"
local clock = require "native.clock"
local event = require "neap.cli.view.event"
local time  = require "neap.cli.view.time"

local progress = {}
progress.__index = progress

local COLOURS = { ["+"] = "green", ["~"] = "yellow", ["-"] = "red", [">"] = "cyan", ["="] = "dim", ["!"] = "alarm" }
local LAST_OUTPUT = 3 -- lines
local MARGIN = 13 -- columns before what an effect's line is about

--- @param page neap.page
--- @return table view
function progress.new(page)
  return setmetatable({ page = page, reader = event.new(), running = {}, output = {}, begun = {},
    statuses = {}, branches = {} }, progress)
end

local function result_text(line, page)
  local parts = {}
  local seconds = line.seconds and " " .. page.duration(line.seconds) or ""
  if line.result then parts[#parts + 1] = page:clean(line.result) .. seconds end
  if line.mark then parts[#parts + 1] = line.mark == "NO UNDO" and page:paint("alarm", line.mark) or line.mark end
  if line.detail then parts[#parts + 1] = page:clean(line.detail) end
  return table.concat(parts, "  ")
end

local set = {}

function set.head(line, page)
  return page:paint("bold", page:clean(line.text)) .. (line.detail and "  " .. page:clean(line.detail) or "")
end

function set.note(line, page) return page:clean(line.text) end

function set.ask(line, page) return page:paint("yellow", "? " .. page:clean(line.text)) end

function set.step(line, page)
  local again = line.result and page:paint("dim", "  " .. line.result) or ""
  return ("> %s %s%s"):format(line.number or "", page:paint("bold", page:clean(line.text)), again)
end

function set.done() return nil end

local function set_effect(line, page)
  local kind = line.kind and page:paint("dim", "  " .. page:clean(line.kind)) or ""
  local margin = line.kind and "  " or ""
  local number = not line.kind and line.number and line.number .. " " or ""
  return ("%s%s %s%s%s  %s"):format(margin, page:paint(COLOURS[line.sign] or "dim", line.sign), number,
    page:clean(line.text), kind, result_text(line, page))
end

--- One line for a record, its end; nil where nothing is to be said.
--- @param record table
--- @return string?
function progress:line(record)
  local line = self.reader:read(record)
  if not line then return nil end
  local text = (set[line.sign] or set_effect)(line, self.page)
  return text and self.page:fit(("%s %s"):format(line.time and time.of_day(line.time) or "        ", text), MARGIN)
end

-- What is going on now.

local follow = {}

function follow.run(self, record) self.head = record end

follow["outline"] = function(self, record) self.outline = record end

follow["fan out"] = function(self, record) self.totals = { path = record.path, total = record.total } end

-- Of a step that is over no more than its status is kept: a run may have very many.
function follow.step(self, record)
  self.begun[record.seq or 0] = record
  self.waiting = nil
  if record.branch then
    self.branches[record.branch] = { status = "open" }
    return
  end
  self.step, self.branches = record, {}
  self.statuses[record.path] = "open"
end

function follow.intent(self, record)
  if record.bracket ~= "open" then self.running[record.seq] = record end
end

local function end_step(self, begun, record)
  if not begun.branch then
    self.statuses[begun.path] = record.status
  elseif self.branches[begun.branch] then
    self.branches[begun.branch] = { status = record.status, failure = record.failure and record.failure.message }
  end
end

follow["end"] = function(self, record)
  if record.of then self.running[record.of] = nil end
  local begun = record.of and self.begun[record.of]
  if begun then
    end_step(self, begun, record)
    self.begun[record.of] = nil
  end
  self.waiting = nil
end

function follow.output(self, record)
  for _, text in ipairs(self.page:lines(record.text)) do
    table.insert(self.output, { host = record.host, text = text })
    if #self.output > LAST_OUTPUT then table.remove(self.output, 1) end
  end
end

function follow.outlook(self, record) self.outlook = record end

function follow.progress(self, record)
  if record.pausing then self.hint = record.text end
  self.waiting = record.text ~= "planning" and not record.pausing and record or nil
end

--- Takes in what shows in the block: records and the volatile events.
--- @param record table
function progress:follow(record)
  self.heard = record.time or self.heard
  local take = follow[record.type]
  if take then take(self, record) end
end

--- The block: where the run is, each effect that is under way with its own clock, the last lines that came back.
--- @param now number    seconds since the epoch
--- @param rows? integer  at most so many lines
--- @return string[] lines
function progress:block(now, rows) return block.lines(self, now, rows or 24) end

--- Where nothing is redrawn: a line for a silence, with the step and the last line that came back; nil where something was
--- heard not long ago, or nothing goes on.
--- @param now number  seconds since the epoch
--- @return string?
function progress:silence(now)
  local silent = block.silence(self, now)
  if not silent or not self.step then return nil end
  local number, title = self.reader:step_of(self.step.path)
  local last = self.output[#self.output]
  local said = last and (", last: %s | %s"):format(self.page:clean(last.host or ""), last.text) or ""
  local at = ("%s %s"):format(number or "", self.page:clean(title))
  return ("%s   still at %s, %s%s"):format(clock.utc(now):sub(12, 19), at, silent, said)
end

return progress
