--- Where neap prints: answers to the standard output; progress, questions and errors to the error output.
local json     = require "native.json"
local page     = require "neap.cli.view.page"
local terminal = require "native.terminal"

local console = {}
console.__index = console

local OUT, ERR = 1, 2

--- Whether colour is wanted there: --color, NO_COLOR, CLICOLOR_FORCE, TERM=dumb, a terminal; the first that speaks.
local function wants_colour(choice, fd)
  if choice == "always" or choice == "never" then return choice == "always" end
  if (os.getenv "NO_COLOR" or "") ~= "" then return false end
  if (os.getenv "CLICOLOR_FORCE" or "0") ~= "0" then return true end
  if (os.getenv "TERM" or "dumb") == "dumb" then return false end
  return terminal.is_terminal(fd)
end

local function columns() return math.tointeger(tonumber(os.getenv "COLUMNS" or "")) or terminal.size() or 80 end

local function set_page(options, fd)
  return page.new { width = columns(), utf8 = terminal.utf8(), colour = wants_colour(options.color, fd),
    wraps = terminal.is_terminal(fd) }
end

--- Whether lines on a terminal may be written over: not for programs, screen readers, CI.
local function can_redraw(options)
  local terminal_name = os.getenv "TERM" or "dumb"
  return not options.json and not options.plain and terminal_name ~= "dumb" and os.getenv "CI" == nil
end

--- The pager for long answers on a terminal; nil: none is wanted.
local function pager_command(options)
  if options.no_pager or options.json or not terminal.is_terminal(OUT) then return nil end
  local command = os.getenv "NEAP_PAGER" or os.getenv "PAGER" or "less -FRX"
  return command ~= "" and command ~= "cat" and command or nil
end

--- @class neap.console
--- @field out neap.page  what answers are set on
--- @field err neap.page  what progress, questions and errors are set on
--- @field json boolean  the answer is one JSON document, or one event a line
--- @field live boolean  a block of lines may be redrawn in place
--- @field may_ask boolean
--- @field pager? string  a command

--- @param options { color?: string, json?: boolean, no_input?: boolean, no_pager?: boolean }
--- @return neap.console
function console.new(options)
  local reads, shows = terminal.is_terminal(0), terminal.is_terminal(ERR)
  return setmetatable({
    out = set_page(options, OUT), err = set_page(options, ERR), json = options.json or false,
    live = shows and can_redraw(options),
    may_ask = reads and shows and not options.no_input, pager = pager_command(options),
  }, console)
end

--- @param text string  lines; an end is added where it lacks one
local function print_to(fd, text)
  if text:sub(-1) ~= "\n" then text = text .. "\n" end
  return terminal.write(fd, text)
end

--- Prints the answer.
function console:answer(text) return print_to(OUT, text) end

--- Prints a long answer: through the pager where it is longer than the terminal. Nothing else goes on meanwhile.
--- @param text string
function console:show(text)
  local _, rows = terminal.size()
  local _, lines = text:gsub("\n", "")
  if not self.pager or not rows or lines < rows - 1 then return self:answer(text) end
  local pager <close> = io.popen(self.pager, "w")
  pager:write(text, "\n")
  return true
end

--- Prints the answer as JSON, on one line.
function console:answer_json(value) return print_to(OUT, json.encode(value)) end

--- Prints beside the answer.
function console:tell(text) return print_to(ERR, text) end

--- Takes in that the terminal may have another size than before.
--- @return integer columns
--- @return integer rows
function console:measure()
  self.err:resize(columns())
  return self.err.width, select(2, terminal.size()) or 24
end

--- Writes to the error output without a line end: what is redrawn.
function console:draw(text) return terminal.write(ERR, text) end

--- Whether the terminal that was asked at is there no more.
--- @return boolean
function console:has_gone() return self.may_ask and not terminal.is_terminal(0) end

--- Forgets what was typed before a question could be seen: it is no answer to it.
function console:drop_input() terminal.drop_input() end

--- Asks for a line; nil at the end of input.
--- @param prompt string
--- @param options? { secret?: boolean }
--- @return string?
function console:ask(prompt, options) return terminal.read_line(self.err:clean(prompt), options) end

return console
