--- A script as psql reads it: where its statements end, what in it is psql's own.
local scanner = require "neap.targets.sql.scanner"

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

local postgres = {}

local MARKS = { ";", "'", '"', "$", "--", "/*", "\\", ":", "(", ")" }
local NUMBER = {} -- of a mark
for i, mark in ipairs(MARKS) do NUMBER[mark] = i end
local DOLLAR, BACKSLASH, LAST_NOT_PLAIN = NUMBER["$"], NUMBER["\\"], NUMBER[":"]

local WORD = "[%w_$\128-\255]"
local INSERT = "^[iI][nN][sS][eE][rR][tT]%f[^%w_$\128-\255]"

-- ---- what psql itself carries out ----

--- By every name of a command the name it has here; false: it only shapes output, of which there is none.
local COMMANDS = {
  i = "i", include = "i", ir = "ir", include_relative = "ir", c = "connect", connect = "connect", copy = "copy",
  set = "set", unset = "unset", echo = "echo", qecho = "echo", warn = "echo", ["if"] = "if", elif = "elif",
  ["else"] = "else", endif = "endif", q = "quit", encoding = "encoding", restrict = "restrict",
  unrestrict = "unrestrict", timing = false, pset = false, x = false, a = false, t = false, f = false, H = false,
  C = false, T = false,
}

local REASONS = {
  ["!"] = "it runs a command of the shell", o = "it writes a file", out = "it writes a file", w = "it writes a file",
  write = "it writes a file", e = "it opens an editor", edit = "it opens an editor", s = "it writes a file",
  [";"] = "it joins statements into one", prompt = "nobody is there to be asked",
  password = "nobody is there to be asked",
  watch = "it does not end", gexec = "it runs what a query returns", lo_import = "large objects are not for scripts",
}

local function refuse_command(self, at, name)
  self:refuse_at(at, "\\%s is not carried out: %s", name, REASONS[name] or "neap does not know it")
end

--- Where the arguments of a command end: a backslash outside quotes begins the next command.
local function arguments_end(self, at, stop)
  while true do
    at = find(self.text, "['\"`\\]", at)
    if not at or at >= stop then return stop end
    local quote = sub(self.text, at, at)
    if quote == "\\" then return at end
    if quote == "`" then self:refuse_at(at, "`…` is not carried out: it runs a command of the shell") end
    local from = at
    repeat
      at = find(self.text, quote == "'" and "['\\]" or '"', at + 1)
      if not at or at >= stop then self:refuse_at(from, "the quote opened here is not closed") end
      local escape = byte(self.text, at) == 92
      if escape then at = at + 1 end
    until not escape
    at = at + 1
  end
end

--- The parts of \copy: what stands before and behind the file, and the file; file is nil for the data that follow.
local function copy_parts(arguments, refuse)
  local at, last = 1, #arguments
  local word, behind
  while at <= last do
    local quote = match(arguments, "^%s*(['\"])", at)
    behind = match(arguments, "^%s*%b()()", at)
      or quote and match(arguments, "^%s*" .. quote .. ".-" .. quote .. "()", at)
    if not behind then
      word, behind = match(arguments, "^%s*([^%s'\"()]+)()", at)
      word = word and word:lower()
      if not word or word == "from" or word == "to" then break end
    end
    at = behind
  end
  if word == "to" then refuse "\\copy … to is not carried out: a script has no output" end
  if word ~= "from" then refuse "\\copy has no FROM" end
  local into = sub(arguments, 1, at - 1)
  local file, rest = match(arguments, "^%s*'([^']*)'(.*)$", behind)
  if not file then file, rest = match(arguments, "^%s*([^%s;]+)(.*)$", behind) end
  if not file then refuse "\\copy names no file" end
  return into, file, rest:gsub("[%s;]+$", "")
end

--- What a \copy does: the COPY it stands for, and the file it reads; nil: the lines that follow.
local function copy(arguments, refuse)
  local into, file, rest = copy_parts(arguments, refuse)
  local lower = file:lower()
  if lower == "program" then refuse "\\copy … from program is not carried out: it runs a command of the shell" end
  if lower == "pstdin" then refuse "\\copy … from pstdin is not carried out: a script has no input" end
  return { sql = ("COPY %s FROM STDIN%s"):format(match(into, "^%s*(.-)%s*$"), rest),
    file = lower ~= "stdin" and file or nil }
end

local function command(self, at)
  local stop = self:line_end(at)
  if not stop then return end
  local name, behind = match(self.text, "^\\([^%s\\]*)()", at)
  local known = COMMANDS[name]
  if known == nil then refuse_command(self, at, name == "" and sub(self.text, behind, behind) or name) end
  local last = known == "copy" and stop or arguments_end(self, behind, stop)
  local next_at = sub(self.text, last, last + 1) == "\\\\" and last + 2 or last
  local item = { command = known or "ignored", name = name, line = self:count_lines(at), offset = self.from + at - 1,
    arguments = match(sub(self.text, behind, last - 1), "^%s*(.-)%s*$") }
  if known == "copy" then item.copy = copy(item.arguments, function(...) self:refuse_at(at, ...) end) end
  return item, next_at
end

-- ---- past quotes and comments; nil where the text ends inside ----

--- Quotes in the standard way: a doubled one is the end of a text and the beginning of the next.
local function past_quote(text, at)
  local close = find(text, sub(text, at, at), at + 1, true)
  return close and close + 1
end

local function is_escape_string(text, at, from)
  local before = sub(text, math.max(from, at - 2), at - 1)
  return find(before, "^[eE]$") or find(before, "[^%w_$\128-\255][eE]$")
end

--- A text goes on behind whitespace with a line end in it: the place of that quote, false, or nil where the text ends
--- before.
local function continuation(text, from)
  local at = from
  while true do
    at = find(text, "%S", at)
    if not at then return nil end
    if sub(text, at, at + 1) ~= "--" then break end
    at = find(text, "\n", at, true)
    if not at then return nil end
  end
  return byte(text, at) == 39 and find(sub(text, from, at - 1), "\n", 1, true) and at or false
end

local function past_escape_string(self, text, at)
  while true do
    at = find(text, "['\\]", at + 1)
    if not at then return nil end
    if byte(text, at) == 92 or byte(text, at + 1) == 39 then
      at = at + 1
    else
      local goes_on = continuation(text, at + 1)
      if goes_on == nil and not self.final then return nil end
      if not goes_on then return at + 1 end
      at = goes_on
    end
  end
end

local function past_comment(text, at)
  local depth = 0
  repeat
    local mark, slash = match(text, "([/*][/*])()", at)
    if not mark then return nil end
    if mark == "/*" then
      depth, at = depth + 1, slash
    elseif mark == "*/" then
      depth, at = depth - 1, slash
    else
      at = slash - 1
    end
  until depth == 0
  return at
end

local function is_in_identifier(text, at, from)
  local first = at
  while first > from and find(text, "^" .. WORD, first - 1) do first = first - 1 end
  return find(sub(text, first, at - 1), "%D") ~= nil
end

local function past_dollar(text, at, from)
  if is_in_identifier(text, at, from) then return match(text, "^" .. WORD .. "+()", at) end
  local tag = match(text, "^%$%$", at) or match(text, "^%$[%a_\128-\255][%w_\128-\255]*%$", at)
  if not tag then return at + 1 end
  local _, close = find(text, tag, at + #tag, true)
  return close and close + 1
end

-- ---- statements ----

--- Where text stands for a psql variable: `:name`, `:'name'`, `:"name"`, `:{?name}`.
local function past_colon(text, at, found)
  local two = sub(text, at, at + 1)
  if two == "::" or two == ":=" then return at + 2 end
  local form, name, behind = match(text, "^:(['\"])([%w_\128-\255]+)%1()", at)
  if not name then form, name, behind = "", match(text, "^:([%w_\128-\255]+)()", at) end
  if not name then form, name, behind = "?", match(text, "^:{%?([%w_\128-\255]+)}()", at) end
  if not name then return at + 1 end
  found.variables = found.variables or {}
  table.insert(found.variables, { form = form, name = name, from = at - found.from + 1, to = behind - found.from })
  return behind
end

local DEFINITIONS = { "create function ", "create procedure ", "create or replace function ",
  "create or replace procedure " }

--- Whether the statement begins as the definition of a function, as far as its words have come: found.defines;
--- found.head is nil once that is decided.
local function read_head(found, word)
  local head = found.head .. word .. " "
  found.head = nil
  for _, definition in ipairs(DEFINITIONS) do
    if definition == head then found.defines, found.head = true, nil end
    if definition ~= head and sub(definition, 1, #head) == head then found.head = head end
  end
end

--- psql sends a function's body in one, by counting BEGIN, CASE and END outside parentheses.
local function count_blocks(found, word)
  if found.head then read_head(found, word) end
  if not found.defines or found.depth > 0 then return end
  if word == "begin" or (word == "case" and found.blocks > 0) then found.blocks = found.blocks + 1 end
  if word == "end" and found.blocks > 0 then found.blocks = found.blocks - 1 end
end

local function count_words(found, code, cut)
  for word, behind in code:gmatch "([%w_$\128-\255]+)()" do
    if not (cut and behind > #code) and find(word, "^[%a_\128-\255]") then count_blocks(found, word:lower()) end
  end
end

--- What the first words of a statement say about it that psql, too, has to know. Its quotes, comments and parentheses
--- are left out.
local function outline(text)
  text = text:lower():gsub("%-%-[^\n]*", " "):gsub("/%*.-%*/", " "):gsub("'[^']*'", "''"):gsub('"[^"]*"', '""')
  return (text:gsub("%b()", "()"))
end

local function reads_data(self, line, text)
  local code = outline(text)
  if find(code, "%f[%w_]to%s+stdout%f[^%w_]") then
    self:refuse(line, "COPY … TO STDOUT is not carried out: a script has no output")
  end
  return find(code, "%f[%w_]from%s+stdin%f[^%w_]") ~= nil
end

local OFF = { off = true, ["false"] = true, no = true, ["0"] = true }

local function check_strings(self, line, text)
  local value = match(text:lower(), "standard_conforming_strings%s*=?%s*t?o?%s*'?(%w+)")
  if OFF[value] then
    self:refuse(line, "standard_conforming_strings is not turned off: the quotes behind would mean something else")
  end
end

local function statement(self, found, last, more)
  local text = sub(self.text, found.from, self:trimmed(found.from, last))
  local line = self:count_lines(found.from)
  local item = { text = text, line = line, offset = self.from + found.from - 1, variables = found.variables }
  for key, value in pairs(more or {}) do item[key] = value end
  local first = byte(text)
  if (first == 67 or first == 99) and find(text, "^[cC][oO][pP][yY]%f[%W]") and reads_data(self, line, text) then
    item.data = true
  elseif (first == 83 or first == 115) and find(text, "^[sS][eE][tT]%f[%W]") then
    check_strings(self, line, text)
  end
  return item
end

--- A command within a statement may only send it.
local function sent_by_command(self, found, at)
  local stop = self:line_end(at)
  if not stop then return end
  local name, behind = match(self.text, "^\\([^%s\\]*)()", at)
  if name ~= "g" and name ~= "gset" then
    if COMMANDS[name] == nil then refuse_command(self, at, name == "" and sub(self.text, behind, behind) or name) end
    self:refuse_at(at, "\\%s stands inside a statement", name)
  end
  local last = arguments_end(self, behind, stop)
  local argument = match(sub(self.text, behind, last - 1), "^%s*(.-)%s*$")
  if name == "g" and argument ~= "" then
    self:refuse_at(at, "\\g %s is not carried out: a script has no output", argument)
  end
  local next_at = sub(self.text, last, last + 1) == "\\\\" and last + 2 or last
  return statement(self, found, at - 1, name == "gset" and { gset = argument } or nil), next_at
end

--- Where the scan goes on behind a mark at `at`, `from` being where it has come to; nil where the text ends before.
local past = {
  [";"] = function(_, _, at, found)
    if found.depth == 0 and found.blocks == 0 then found.last = at - 1 end
    return at + 1
  end,
  ["'"] = function(self, text, at, _, from)
    if is_escape_string(text, at, from) then return past_escape_string(self, text, at) end
    return past_quote(text, at)
  end,
  ['"'] = function(_, text, at) return past_quote(text, at) end,
  ["$"] = function(_, text, at, _, from) return past_dollar(text, at, from) end,
  ["--"] = function(self, _, at) return self:line_end(at) end,
  ["/*"] = function(_, text, at) return past_comment(text, at) end,
  [":"] = function(_, text, at, found) return past_colon(text, at, found) end,
  ["("] = function(_, _, at, found)
    found.depth = found.depth + 1
    return at + 1
  end,
  [")"] = function(_, _, at, found)
    if found.depth > 0 then found.depth = found.depth - 1 end
    return at + 1
  end,
}
local OPENED = { ["'"] = "quote", ['"'] = "quote", ["$"] = "dollar quote", ["/*"] = "comment" }

--- What the text that is there has no end of: psql sends what the script has none of as it is.
local function unfinished(self, found, mark, at)
  if not self.final then return end
  if mark then self:refuse_at(at, "the %s opened here is not closed", OPENED[mark]) end
  if found.blocks > 0 then self:refuse_at(found.from, "the body that begins in this statement has no END") end
  return statement(self, found, #self.text), #self.text + 1
end

local function scan_statement(self, from)
  local text, at = self.text, from
  local found = { from = from, depth = 0, blocks = 0, head = "" }
  while true do
    local number, place = self:nearest(at)
    if found.head or found.defines then
      count_words(found, sub(text, at, number and place - 1 or -1), number == DOLLAR)
    end
    if number == BACKSLASH then return sent_by_command(self, found, place) end
    local mark = MARKS[number]
    local next_at = mark and past[mark](self, text, place, found, at)
    if not next_at then return unfinished(self, found, mark, place) end
    if found.last then return statement(self, found, found.last), next_at end
    at = next_at
  end
end

--- Where the first token of the next item is, or the hint before it; behind the script's end where there is none.
local function first_token(self, at)
  local text, hint = self.text, nil
  while at do
    at = find(text, "%S", at) or #text + 1
    if not hint then self.at = at end
    if at + 2 > #text and not self.final then return nil end
    local first, two = byte(text, at), sub(text, at, at + 1)
    if first == 59 then
      at, hint = at + 1, nil
    elseif two == "--" then
      at = self:line_end(at)
    elseif two == "/*" then
      if byte(text, at + 2) == 43 then hint = hint or at end
      local next_at = past_comment(text, at)
      if not next_at and self.final then self:refuse_at(at, "the comment opened here is not closed") end
      at = next_at
    else
      return first and hint or at
    end
  end
end

--- One item from `at` on, for scanner.item.
local function scan(self, at)
  at = first_token(self, at)
  if not at then return end
  if at > #self.text then return nil, at end
  if byte(self.text, at) == 92 then return command(self, at) end
  -- its parentheses need not be counted: a `;` between them is an error of syntax wherever the text is cut
  local stop = find(self.text, INSERT, at) and self:plain_end(at, LAST_NOT_PLAIN, BACKSLASH)
  if stop then return statement(self, { from = at }, stop - 1), stop + 1 end
  return scan_statement(self, at)
end

-- ---- the data of COPY FROM stdin ----

--- They begin on the next line.
local function begin_data(self)
  local stop = self:line_end(self.at)
  while not stop do
    self:more()
    stop = self:line_end(self.at)
  end
  local rest = sub(self.text, self.at, stop - 1)
  if find(rest, "[^%s]") and not find(rest, "^%s*%-%-") then
    self:refuse_at(self.at, "behind COPY … FROM stdin stands something on its line")
  end
  self.at, self.data_left = stop + 1, true
end

--- All lines that are there, and where they end; 0 where not even one is.
local function last_line_end(self, at)
  local ending = find(self.text, "\n\\.", at, true)
  if ending then return ending end
  return self.final and #self.text or select(2, find(self.text, "^.*\n", at)) or 0
end

--- The next piece of the data, whole lines; nil at their end.
local function data(self)
  while self.data_left do
    local text, at = self.text, self.at
    local behind = match(text, "^\\%.\r?\n()", at) or (self.final and match(text, "^\\%.\r?$()", at))
      or (self.final and at > #text and at)
    if behind then
      self.at, self.data_left = behind, false
      return nil
    end
    local last = find(text, "^\\%.?\r?$", at) and not self.final and 0 or last_line_end(self, at)
    if last >= at then
      self.at = last + 1
      return sub(text, at, last)
    end
    self:more()
  end
end

--- A script's items, see sql_split.
--- @param read fun(): string?
--- @param name string
--- @return table scanner
function postgres.open(read, name)
  local self = scanner.new(read, name, MARKS)
  self.scan, self.begin_data, self.data = scan, begin_data, data
  return self
end

return postgres
