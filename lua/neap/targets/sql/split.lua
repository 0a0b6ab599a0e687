--- Scripts as `psql -f` and `mysql <` read them, cut into statements and commands of the client: in pieces of the file,
--- in memory that does not grow with it.
local fault    = require "native.error"
local mysql    = require "neap.targets.sql.split_mysql"
local postgres = require "neap.targets.sql.split_postgres"

local split = {}

local DIALECTS = { postgres = postgres, mysql = mysql }

--- @class (exact) neap.sql_item
--- @field line integer     of its first token
--- @field offset integer   bytes of the script before it
--- @field finish integer   bytes of the script before what follows it
--- @field text? string     a statement, without its delimiter and without comments before it
--- @field index? integer   which statement it is
--- @field variables? { form: ""|"'"|'"'|"?", name: string, from: integer, to: integer }[]  where psql's stand
--- @field gset? string     its row becomes variables whose names begin so
--- @field data? boolean    the lines behind it are the data of a COPY … FROM stdin
--- @field command? string  instead of a statement: "connect", "copy", "echo", "elif", "else", "encoding", "endif", "i",
---   "if", "ignored", "ir", "quit", "restrict", "set", "unrestrict", "unset"; of mysql "quit", "source", "use", "ignored"
--- @field name? string     the command as it is written
--- @field arguments? string  as they stand there, for split.arguments
--- @field copy? { sql: string, file: string? }  of \copy

--- @class neap.sql_items
local Items = {}
Items.__index = Items

--- A script to be taken item by item. Both it and `next` raise kind `protocol`, with the line, for what would be
--- carried out elsewhere or not at all: commands that run programs or write files, those that are not known, open
--- quotes.
--- @param read fun(): string?  its next piece; nil at its end
--- @param dialect "postgres"|"mysql"
--- @param name string          what messages call it
--- @return neap.sql_items
function split.open(read, dialect, name)
  return setmetatable({ scanner = DIALECTS[dialect].open(read, name), index = 0 }, Items)
end

--- The next item; nil at the end. Data that nobody has taken are passed over.
--- @return neap.sql_item?
function Items:next()
  local scanner = self.scanner
  while scanner.data_left do scanner:data() end
  local item = scanner:item(scanner.scan)
  if not item then return nil end
  if item.text then
    self.index = self.index + 1
    item.index = self.index
  end
  if item.data or (item.copy and not item.copy.file) then
    item.data = true
    scanner:begin_data()
  end
  return item
end

--- The next lines of the data behind the item that `next` has returned last; nil at their end.
--- @return string?
function Items:data() return self.scanner.data_left and self.scanner:data() or nil end

--- Raises kind `protocol` for what is wrong at an item.
--- @param item neap.sql_item
--- @param message string  a format
function Items:refuse(item, message, ...) return self.scanner:refuse(item.line, message, ...) end

-- ---- psql's variables ----

local function literal(value)
  value = value:gsub("'", "''")
  if value:find("\\", 1, true) then return " E'" .. value:gsub("\\", "\\\\") .. "'" end
  return "'" .. value .. "'"
end

local function identifier(value) return '"' .. value:gsub('"', '""') .. '"' end

local substitute

--- A value that stands in the text as it is must leave the statement's end where it is.
local function plain(name, value, values, depth)
  local before, inside, behind = value:match "^(%s*)(.-)(%s*)$"
  if inside == "" then return value end
  local text = inside .. ";"
  local item = split.open(function()
    local piece = text
    text = nil
    return piece
  end, "postgres", ":" .. name):next()
  if not item or item.text ~= inside or depth > 8 then
    fault.raise { kind = "protocol", message = ("the value of :%s is no part of one statement"):format(name) }
  end
  return before .. substitute(item, values, depth + 1) .. behind
end

local function replacement(text, variable, values, depth)
  local value = values[variable.name]
  if variable.form == "?" then return value and "TRUE" or "FALSE" end
  if not value then return text:sub(variable.from, variable.to) end
  if variable.form == "'" then return literal(value) end
  if variable.form == '"' then return identifier(value) end
  return plain(variable.name, value, values, depth)
end

function substitute(item, values, depth)
  local text, parts, at = item.text, {}, 1
  for _, variable in ipairs(item.variables or {}) do
    parts[#parts + 1] = text:sub(at, variable.from - 1)
    parts[#parts + 1] = replacement(text, variable, values, depth)
    at = variable.to + 1
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts)
end

--- A statement's text with the values of psql's variables. One that has no value stays as it is written, as in psql.
--- Raises kind `protocol` for a value that would move the statement's end.
--- @param item neap.sql_item
--- @param values table<string, string>
--- @return string
function split.substitute(item, values) return item.variables and substitute(item, values, 0) or item.text end

local ESCAPES = { n = "\n", t = "\t", b = "\b", r = "\r", f = "\f" }

local function quoted(text, at)
  local parts = {}
  while true do
    local plain_text, mark, behind = text:match("^([^'\\]*)(['\\])()", at)
    parts[#parts + 1] = plain_text
    if mark == "'" and text:sub(behind, behind) ~= "'" then return table.concat(parts), behind end
    local octal = mark == "\\" and text:match("^[0-7][0-7]?[0-7]?", behind)
    local letter = text:sub(behind, behind)
    parts[#parts + 1] = octal and string.char(tonumber(octal, 8) & 255) or mark == "\\" and ESCAPES[letter] or letter
    at = behind + (octal and #octal or 1)
  end
end

local function variable_at(text, at, values)
  local form, name, behind = text:match("^:(['\"])([%w_\128-\255]+)%1()", at)
  if not name then form, name, behind = "", text:match("^:([%w_\128-\255]+)()", at) end
  if not name then form, name, behind = "?", text:match("^:{%?([%w_\128-\255]+)}()", at) end
  if not name then return ":", at + 1 end
  local value = values[name]
  if form == "?" then return value and "TRUE" or "FALSE", behind end
  if not value then return text:sub(at, behind - 1), behind end
  return form == "'" and literal(value) or form == '"' and identifier(value) or value, behind
end

local function argument_at(text, at, values)
  local parts = {}
  while at <= #text and not text:find("^%s", at) do
    local piece, behind = text:match("^([^%s'\":]+)()", at)
    if not piece and text:find("^'", at) then piece, behind = quoted(text, at + 1) end
    if not piece and text:find("^:", at) then piece, behind = variable_at(text, at, values) end
    if not piece then piece, behind = text:match('^("[^"]*")()', at) end
    parts[#parts + 1], at = piece, behind
  end
  return table.concat(parts), at
end

--- The arguments of a command of psql's, quotes resolved and variables replaced; double quotes stay.
--- @param text string
--- @param values table<string, string>
--- @return string[]
function split.arguments(text, values)
  local arguments, at = {}, text:find "%S"
  while at do
    arguments[#arguments + 1], at = argument_at(text, at, values)
    at = text:find("%S", at)
  end
  return arguments
end

return split
