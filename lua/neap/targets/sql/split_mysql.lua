--- A script as the mysql client reads it: where its statements end, what in it is the client's own.
local scanner = require "neap.targets.sql.scanner"

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

local mysql = {}

--- The delimiter comes first: it counts before what it may look like.
local MARKS = { ";", "'", '"', "`", "--", "#", "/*", "\\" }
local DELIMITER, BACKSLASH = 1, #MARKS

-- ---- what the client itself carries out ----

--- By its name, at the beginning of a line or of a statement. false: it only shapes output, of which there is none.
local COMMANDS = { source = "source", use = "use", exit = "quit", quit = "quit", delimiter = "delimiter",
  warnings = false, nowarning = false }
local LETTERS = { ["."] = "source", u = "use", q = "quit", d = "delimiter", W = false, w = false,
  ["-"] = false } -- dumps have \- for a client that would carry out commands

local REFUSED = {}
for name in ("? charset clear connect edit ego go help nopager notee pager print prompt query_attributes rehash "
  .. "resetconnection sandbox status system tee"):gmatch "%S+" do REFUSED[name] = true end

local REASONS = { system = "it runs a command of the shell", ["!"] = "it runs a command of the shell",
  tee = "it writes a file", T = "it writes a file", pager = "it runs a command of the shell",
  P = "it runs a command of the shell", edit = "it opens an editor", e = "it opens an editor" }

local function refuse_command(self, at, name)
  self:refuse_at(at, "%s is not carried out%s", name,
    REASONS[name:gsub("^\\", "")] and ": " .. REASONS[name:gsub("^\\", "")] or "")
end

local function unquoted(argument)
  local quote, inside = match(argument, "^(['\"`])(.*)%1$")
  if not quote then return argument end
  return (inside:gsub(quote .. quote, quote))
end

local function set_delimiter(self, at, argument)
  argument = unquoted(match(argument, "^%s*(['\"].-['\"])") or match(argument, "^%s*(%S*)"))
  if argument == "" then self:refuse_at(at, "DELIMITER names none") end
  if find(argument, "\\", 1, true) then self:refuse_at(at, "a delimiter has no backslash in it") end
  self.marks[DELIMITER] = argument
  self:forget()
end

--- The item for a command of the client; nil for what only the splitter has to know.
local function command(self, at, name, known, argument)
  if known == nil then refuse_command(self, at, name) end
  if known == "delimiter" then
    set_delimiter(self, at, argument)
    return nil
  end
  argument = match(argument, "^%s*(.-)%s*$")
  if known == "use" then argument = unquoted(match(argument, "^[^`%s]+") or argument) end
  if (known == "use" or known == "source") and argument == "" then self:refuse_at(at, "%s names nothing", name) end
  return { command = known or "ignored", name = name, arguments = argument, line = self:count_lines(at),
    offset = self.from + at - 1 }
end

--- A line that is a command, as far as the client sees one: nothing with the delimiter in it, but for DELIMITER. Behind a
--- statement the client would take what follows it up to the old delimiter for its own, and pass it over.
local function command_line(self, at, name)
  local lower = name:lower()
  if COMMANDS[lower] == nil and not REFUSED[lower] then return end
  if not self:is_first_of_line(at) then
    if lower == "delimiter" then self:refuse_at(at, "DELIMITER stands behind a statement in its line") end
    return
  end
  local stop = self:line_end(at)
  local line = sub(self.text, at, stop - 1)
  local bounded = find(line, self.marks[DELIMITER], 1, true) or find(line, "\\g", 1, true)
  if bounded and lower ~= "delimiter" then return end
  return true, command(self, at, name, COMMANDS[lower], sub(line, #name + 1)), stop
end

--- \. and its like. They go on to the end of the line, or to the delimiter.
local function command_letter(self, at)
  local stop = self:line_end(at)
  local letter = sub(self.text, at + 1, at + 1)
  local line = sub(self.text, at, stop - 1)
  local last = letter ~= "d" and find(line, self.marks[DELIMITER], 3, true)
  if LETTERS[letter] == false then stop, line = at + 2, sub(line, 1, 2) end
  local argument = sub(line, 3, last and last - 1 or nil)
  return command(self, at, "\\" .. letter, LETTERS[letter], argument), stop
end

-- ---- past quotes and comments; nil where the text ends inside ----

local function past_quote(self, text, at, quote)
  local close = find(text, quote, at + 1, true)
  if close and close < self:nearest_of(BACKSLASH, BACKSLASH, at + 1) then return close + 1 end
  local either = "[\\" .. quote .. "]"
  while true do
    at = find(text, either, at + 1)
    if not at then return nil end
    if byte(text, at) ~= 92 then return at + 1 end
    at = at + 1
  end
end

local function past_plain(text, at, mark)
  local _, last = find(text, mark, at, true)
  return last and last + 1
end

--- What follows `/*` in comments that the server is to read, of versions.
local function is_read(text, at) return find(text, "^/%*M?!", at) end

local past = {
  ["'"] = function(self, text, at) return past_quote(self, text, at, "'") end,
  ['"'] = function(self, text, at) return past_quote(self, text, at, '"') end,
  ["`"] = function(_, text, at) return past_plain(text, at + 1, "`") end,
  ["--"] = function(self, text, at)
    if find(text, "^[^%s%c]", at + 2) then return at + 1 end
    return self:line_end(at)
  end,
  ["#"] = function(self, _, at) return self:line_end(at) end,
  ["/*"] = function(_, text, at)
    if is_read(text, at) then return at + 3 end
    return past_plain(text, at + 2, "*/")
  end,
}
local OPENED = { ["'"] = "quote", ['"'] = "quote", ["`"] = "quote", ["/*"] = "comment" }

-- ---- statements ----

--- What would have the client do something else than a client without files and with these quotes does.
local function check(self, from, text)
  local first = byte(text)
  if (first == 76 or first == 108) and find(text:lower(), "^load%s+%a+%s+[%a%s]*%f[%a]local%f[%A]") then
    self:refuse_at(from, "LOAD … LOCAL is not carried out: the server would ask for a file of this machine")
  end
  if (first == 83 or first == 115) and find(text:lower(), "^set%f[%A].*no_backslash_escapes") then
    self:refuse_at(from, "NO_BACKSLASH_ESCAPES is not turned on: the quotes behind would mean something else")
  end
end

local function statement(self, from, last)
  local text = sub(self.text, from, self:trimmed(from, last))
  if find(text, "\r\n", 1, true) then text = text:gsub("\r\n", "\n") end -- as the client does, in quotes, too
  local name, argument = match(text, "^([%a?]+)[ \t]*(.*)$")
  local lower = name and #name <= 16 and name:lower()
  if lower and (COMMANDS[lower] ~= nil or REFUSED[lower]) and not find(text, "^%a+[\n\r(]") then
    return command(self, from, name, COMMANDS[lower], argument)
  end
  check(self, from, text)
  return { text = text, line = self:count_lines(from), offset = self.from + from - 1 }
end

--- A backslash outside quotes: \g and \G send the statement, \N is NULL, \- is within a comment in dumps.
local function at_backslash(self, from, at)
  local letter = sub(self.text, at + 1, at + 1)
  if letter == "" and not self.final then return end
  if letter == "g" or letter == "G" then return "end" end
  if letter == "N" or letter == "-" then return "on" end
  if LETTERS[letter] == nil then refuse_command(self, at, "\\" .. letter) end
  self:refuse_at(at, "\\%s stands inside the statement of line %d", letter, self:count_lines(from))
end

local function unfinished(self, from, mark, at)
  if not self.final then return end
  if mark then self:refuse_at(at, "the %s opened here is not closed", OPENED[mark]) end
  return statement(self, from, #self.text), #self.text + 1
end

local function scan_statement(self, from)
  local stop = self:plain_end(from, BACKSLASH, BACKSLASH)
  if stop then return statement(self, from, stop - 1), stop + #self.marks[DELIMITER] end
  local text, at, marks = self.text, from, self.marks
  while true do
    local number, place = self:nearest(at)
    if number == DELIMITER then return statement(self, from, place - 1), place + #marks[DELIMITER] end
    local mark = marks[number]
    local next_at
    if mark == "\\" then
      local what = at_backslash(self, from, place)
      if what == "end" then return statement(self, from, place - 1), place + 2 end
      next_at = what and place + 2
    else
      next_at = mark and past[mark](self, text, place)
    end
    if not next_at then return unfinished(self, from, mark, place) end
    at = next_at
  end
end

--- Where the first token of the next item is, or the hint before it; behind the script's end where there is none.
local function first_token(self, at)
  local text, delimiter, hint = self.text, self.marks[DELIMITER], nil
  while at do
    at = find(text, "%S", at) or #text + 1
    if not hint then self.at = at end
    if at + math.max(3, #delimiter) > #text and not self.final then return nil end
    if sub(text, at, at + #delimiter - 1) == delimiter then
      at, hint = at + #delimiter, nil
    elseif find(text, "^#", at) or find(text, "^%-%-", at) then -- here even without the blank behind
      at = self:line_end(at)
    elseif find(text, "^/%*", at) and not is_read(text, at) then
      if byte(text, at + 2) == 43 then hint = hint or at end
      local next_at = past["/*"](self, text, at)
      if not next_at and self.final then self:refuse_at(at, "the comment opened here is not closed") end
      at = next_at
    else
      return at <= #text and hint or at
    end
  end
end

--- One item from `at` on, for scanner.item.
local function scan(self, at)
  at = first_token(self, at)
  if not at then return end
  if at > #self.text then return nil, at end
  local name = match(self.text, "^[%a?]+", at)
  if (name or byte(self.text, at) == 92) and not self:line_end(at) then return end
  if name then
    local found, item, next_at = command_line(self, at, name)
    if found then return item, next_at end
  elseif byte(self.text, at) == 92 and not find(self.text, "^\\N", at) then
    return command_letter(self, at)
  end
  return scan_statement(self, at)
end

--- A script's items, see sql_split.
--- @param read fun(): string?
--- @param name string
--- @return table scanner
function mysql.open(read, name)
  local self = scanner.new(read, name, table.move(MARKS, 1, #MARKS, 1, {}))
  self.scan = scan
  return self
end

return mysql
