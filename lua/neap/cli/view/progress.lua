--- A run as it goes: a line for each thing that has ended, and, on a terminal, a block below them for what is going on.
local clock = require "native.clock"
local event = require "neap.cli.view.event"
local time  = require "neap.cli.view.time"

local progress = {}
progress.__index = progress

local COLOURS = { ["+"] = "green", ["~"] = "yellow", ["-"] = "red", [">"] = "cyan", ["="] = "dim", ["!"] = "alarm" }
local LAST_OUTPUT = 3 -- lines
local CLOCK = 10      -- columns kept free for it at the right edge

--- @param page neap.page
--- @return table view
function progress.new(page)
  return setmetatable({ page = page, reader = event.new(), running = {}, output = {} }, progress)
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
  return text and ("%s %s"):format(line.time and time.of_day(line.time) or "        ", text)
end

-- What is going on now.

local follow = {}

function follow.step(self, record)
  if not record.branch then self.step = record end
  self.waiting = nil
end

function follow.intent(self, record)
  if record.bracket ~= "open" then self.running[record.seq] = record end
end

follow["end"] = function(self, record)
  if record.of then self.running[record.of] = nil end
  self.waiting = nil
end

function follow.output(self, record)
  for _, text in ipairs(self.page:lines(record.text)) do
    table.insert(self.output, { host = record.host, text = text })
    if #self.output > LAST_OUTPUT then table.remove(self.output, 1) end
  end
end

function follow.outlook(self, record)
  self.outlook = record
end

function follow.progress(self, record)
  if record.pausing then self.hint = record.text end
  self.waiting = record.text ~= "planning" and record or nil
end

--- Takes in what shows in the block: records and the volatile events.
--- @param record table
function progress:follow(record)
  local take = follow[record.type]
  if take then take(self, record) end
end

local function elapsed(from, now)
  local began = time.seconds(from)
  return began and now > began and now - began or 0
end

local function clocked(self, text, from, now)
  local cut = self.page:cut(text, self.page.width - CLOCK)
  return self.page:edges(cut, self.page.duration(elapsed(from, now)))
end

local function add_running(lines, self, now)
  local seqs = {}
  for seq in pairs(self.running) do seqs[#seqs + 1] = seq end
  table.sort(seqs)
  for _, seq in ipairs(seqs) do
    local intent = self.running[seq]
    local text = ("    %s  %s"):format(self.page:clean(intent.show or intent.kind), self.page:clean(intent.kind))
    lines[#lines + 1] = clocked(self, text, intent.time, now)
  end
end

local function add_step(lines, self, now)
  if not self.step then return end
  local number, title = self.reader:step_of(self.step.path)
  local text = ("> %s %s"):format(number or "", self.page:clean(title))
  lines[#lines + 1] = clocked(self, text, self.step.time, now)
end

--- How long the way back is, when to turn back at the latest, and how long the way forward.
local function outlook_text(outlook, page)
  local parts = {}
  if outlook.undo >= 1 then parts[1] = "undo from here about " .. page.about(outlook.undo) end
  if outlook.turn_back_by then
    parts[#parts + 1] = "turn back no later than " .. clock.local_time(outlook.turn_back_by, "%H:%M")
  end
  if outlook.left then parts[#parts + 1] = ("about %s left"):format(page.about(outlook.left)) end
  return table.concat(parts, "   ")
end

local function add_outlook(lines, self)
  if not self.outlook then return end
  local text = outlook_text(self.outlook, self.page)
  if text ~= "" then lines[#lines + 1] = self.page:paint("bold", self.page:cut(text, self.page.width)) end
end

--- The block: the step, each effect that is under way with its own clock, the last lines that came back.
--- @param now number  seconds since the epoch
--- @return string[] lines
function progress:block(now)
  local page = self.page
  local lines = { page:paint("dim", page:rule(page.utf8 and "─" or "-")) }
  add_outlook(lines, self)
  add_step(lines, self, now)
  add_running(lines, self, now)
  if self.waiting then
    local text = ("    %s %s"):format(page:clean(self.waiting.show or ""), page:clean(self.waiting.text))
    lines[#lines + 1] = page:cut(text, page.width)
  end
  for _, output in ipairs(self.output) do
    local text = ("    %s | %s"):format(page:clean(output.host or ""), output.text)
    lines[#lines + 1] = page:paint("dim", page:cut(text, page.width))
  end
  lines[#lines + 1] = page:paint("dim", page:cut(self.hint or "^C finishes the effect in hand and pauses", page.width))
  return lines
end

return progress
