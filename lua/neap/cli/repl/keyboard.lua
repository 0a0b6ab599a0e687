--- Where lines come from: a person at the terminal, edited by libedit or plainly, or a text.
local fault    = require "native.error"
local task     = require "native.task"

local keyboard = {}

local COLOUR = "\27%[[%d;]*m"

-- ---- edited ----

local Edited = {}
Edited.__index = Edited

--- For the editor what takes no column stands between two \1.
local function marked(prompt) return (prompt:gsub(COLOUR, "\1%0\1")) end

--- The end of input: by Ctrl-D, or because the terminal has gone.
local function how_it_ended(console) return console:has_gone() and "lost" or "end" end

--- @return "line"|"end"|"lost"|"stopped" what
--- @return string? line
function Edited:read(prompt)
  local what, left = self.editor:read(marked(prompt))
  while what == "complete" or what == "changed" do
    if what == "complete" then
      what, left = self.editor:complete(self.complete(left))
    else
      what, left = self.editor:paint(left, self.paint(left))
    end
  end
  if what == "end" then what = how_it_ended(self.console) end
  if what ~= "line" then self.console:draw(what == "stopped" and "^C\n" or "\n") end
  return what, left and (left:gsub("\r?\n$", ""))
end

function Edited:stop() self.editor:stop() end

function Edited:remember(line)
  if line:find "%S" then self.editor:remember(line) end
end

function Edited:close() self.editor:close() end

--- A person at a terminal that lines can be edited on.
--- @param console neap.console
--- @param complete fun(left: string): string, string?  what Tab puts at the cursor, and the list of what is possible
--- @param paint fun(line: string): string  the line with its colours, where the terminal has some
--- @param remembered string[]
--- @return table keyboard
function keyboard.edited(console, complete, paint, remembered)
  local self = setmetatable({ console = console, complete = complete, paint = paint,
    editor = require "native.editline".open(console.err.colour) }, Edited)
  for _, line in ipairs(remembered) do self:remember(line) end
  return self
end

-- ---- plain ----

local Plain = {}
Plain.__index = Plain

function Plain:read(prompt)
  self.reading = task.spawn(self.console.ask, self.console, (prompt:gsub(COLOUR, "")))
  local reading = self.reading
  local waited, ok, line = pcall(reading.wait, reading)
  self.reading = nil
  if not waited then
    reading:cancel()
    error(ok, 0)
  end
  if ok then return line and "line" or how_it_ended(self.console), line end
  if fault.is(line, "cancelled") then
    self.console:draw "\n"
    return "stopped"
  end
  error(line, 0)
end

function Plain:stop()
  if self.reading then self.reading:cancel() end
end

function Plain:remember() end

function Plain:close() end

--- A person at a terminal on which lines are typed as it has them.
--- @param console neap.console
--- @return table keyboard
function keyboard.plain(console) return setmetatable({ console = console }, Plain) end

-- ---- texts ----

local Script = {}
Script.__index = Script

function Script:read()
  local line = self.next()
  return line and "line" or "end", line
end

function Script:stop() end

function Script:remember() end

function Script:close() end

--- Lines that nobody types.
--- @param next fun(): string?
--- @return table keyboard
function keyboard.script(next) return setmetatable({ next = next, is_script = true }, Script) end

return keyboard
