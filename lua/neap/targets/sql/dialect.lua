--- What differs between SQL servers: how names and texts are quoted, what commits by itself, how errors are told.
local dialect = {}

--- @class neap.sql.dialect
--- @field name "postgres"|"redshift"|"mysql"
--- @field quote string            the mark round a name
--- @field longest integer         bytes, or for mysql characters, that a name may have
--- @field unique boolean          whether the server holds to unique indexes
--- @field transactional_ddl boolean

local Dialect = {}
Dialect.__index = Dialect

local function new(fields) return setmetatable(fields, Dialect) end

local ALL = {
  postgres = new { name = "postgres", quote = '"', longest = 63, unique = true, transactional_ddl = true },
  redshift = new { name = "redshift", quote = '"', longest = 127, unique = false, transactional_ddl = true },
  mysql = new { name = "mysql", quote = "`", longest = 64, unique = true, transactional_ddl = false },
}

--- @param name string
--- @return neap.sql.dialect
function dialect.of(name) return ALL[name] or error(("there is no dialect %q"):format(tostring(name)), 2) end

--- One name, quoted whatever it holds. A name that the server would cut off, or that holds a NUL byte, is a mistake.
--- @param name string
--- @return string
function Dialect:ident(name)
  if type(name) ~= "string" or name == "" then error("a name is a text that is not empty", 2) end
  if name:find("\0", 1, true) then error("a name cannot hold a NUL byte", 2) end
  local length = self.name == "mysql" and utf8.len(name) or #name
  if length > self.longest then error(("%q is longer than a name can be (%d)"):format(name, self.longest), 2) end
  return self.quote .. name:gsub(self.quote, self.quote .. self.quote) .. self.quote
end

--- Names joined by dots, each quoted.
--- @param ... string
--- @return string
function Dialect:path(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = self:ident((select(i, ...))) end
  return table.concat(parts, ".")
end

--- A text as a constant, for statements that take no parameters.
--- @param text string
--- @return string
function Dialect:literal(text)
  if text:find("\0", 1, true) then error("a text cannot hold a NUL byte", 2) end
  local quoted = "'" .. text:gsub("'", "''") .. "'"
  if not text:find("\\", 1, true) then return quoted end
  -- whether a backslash means something in a plain constant is the session's setting
  if self.name == "mysql" then error(("%q: a backslash has no place here"):format(text), 2) end
  return "E" .. quoted:gsub("\\", "\\\\")
end

--- The placeholder of the n-th parameter.
--- @param n integer
--- @return string
function Dialect:parameter(n) return self.name == "mysql" and "?" or "$" .. n end

--- A statement whose placeholders are written ? with this server's.
--- @param text string
--- @return string
function Dialect:placed(text)
  local n = 0
  return (text:gsub("%?", function()
    n = n + 1
    return self:parameter(n)
  end))
end

-- ---- what a statement is ----

local function skip_comment(text, at)
  local two = text:sub(at, at + 1)
  if two == "--" or text:sub(at, at) == "#" then return (text:find("\n", at, true) or #text) + 1 end
  if two ~= "/*" then return nil end
  return (select(2, text:find("*/", at + 2, true)) or #text) + 1
end

--- The first words of a statement in lower case, comments left out.
--- @param text string
--- @param count integer
--- @return string  joined by single spaces
function dialect.first_words(text, count)
  local found, at = {}, 1
  while #found < count do
    at = text:find("[^%s(]", at)
    if not at then break end
    local after = skip_comment(text, at)
    local word = not after and text:match("^[%a_]+", at)
    if not after and not word then break end
    if word then found[#found + 1] = word:lower() end
    at = after or at + #word
  end
  return table.concat(found, " ")
end

--- Statements of PostgreSQL that refuse to run in a transaction, by their first words.
local OUTSIDE = {
  "vacuum", "create database", "drop database", "create tablespace", "drop tablespace", "alter system",
  "create index concurrently", "create unique index concurrently", "drop index concurrently",
  "reindex database", "reindex system", "reindex schema", "reindex table concurrently", "reindex index concurrently",
  "create subscription", "drop subscription",
}
--- Those of Amazon's, beside them.
local OUTSIDE_REDSHIFT = { "alter table append", "create external table", "drop external table", "create library",
  "drop library", "create user", "unload" }

--- All that MariaDB carries out within a transaction; every other statement commits it first.
local WITHIN_MYSQL = { select = true, insert = true, update = true, delete = true, replace = true, with = true,
  call = true, ["do"] = true, load = true, table = true, values = true }

local CONTROL = { begin = true, start = true, commit = true, rollback = true, ["end"] = true, abort = true,
  savepoint = true, release = true, prepare = true, xa = true }

local function begins_with_one_of(words, list)
  for _, one in ipairs(list) do
    if (words .. " "):sub(1, #one + 1) == one .. " " then return true end
  end
  return false
end

--- Whether a statement ends or begins a transaction itself.
--- @param text string
--- @return boolean
function Dialect:controls(text) return CONTROL[dialect.first_words(text, 1)] == true end

--- Whether a statement can share a transaction with others.
--- @param text string
--- @return boolean
function Dialect:is_transactional(text)
  if self.name == "mysql" then return WITHIN_MYSQL[dialect.first_words(text, 1)] == true end
  local words = dialect.first_words(text, 4)
  if begins_with_one_of(words, OUTSIDE) then return false end
  return self.name ~= "redshift" or not begins_with_one_of(words, OUTSIDE_REDSHIFT)
end

-- ---- how many rows it is about ----

local UNCERTAIN = { "%-%-", "/%*", "['\"`;#\\]", "%f[%w_]returning%f[^%w_]",
  "%f[%w_]limit%f[^%w_]", "%f[%w_]join%f[^%w_]", "%f[%w_]using%f[^%w_]", "%f[%w_]order%s+by%f[^%w_]",
  "%f[%w_]union%f[^%w_]", "%f[%w_]current%s+of%f[^%w_]", "%f[%w_]from%f[^%w_].*%f[%w_]from%f[^%w_]" }

local function is_certain(lowered)
  for _, pattern in ipairs(UNCERTAIN) do
    if lowered:find(pattern) then return false end
  end
  return true
end

local function count_of(text, pattern) return select(2, text:gsub(pattern, "")) end

--- The condition with its numbered parameters counted anew from 1, and those parameters.
local function renumbered(condition, params)
  local list, places = {}, {}
  local text = condition:gsub("%$(%d+)", function(number)
    if not places[number] then
      list[#list + 1] = params[tonumber(number)]
      places[number] = #list
    end
    return "$" .. places[number]
  end)
  return text, list
end

--- The query that counts the rows of a plain UPDATE or DELETE; nil where that is not certain.
--- @param text string
--- @param params any[]
--- @return string? query
--- @return any[]? params
function Dialect:counting(text, params)
  local lowered = text:lower()
  if not is_certain(lowered) or count_of(lowered, "%f[%w_]where%f[^%w_]") > 1 then return nil end
  local at, name, set, from = lowered:match "^%s*update%s+()([%w_.]+)%s+set%s+(.-)%s+where%s+()"
  if set and (set:find "%f[%w_]from%f[^%w_]" or set:find "%f[%w_]select%f[^%w_]") then return nil end
  if not name then
    at, name, from = lowered:match "^%s*delete%s+from%s+()([%w_.]+)%s+where%s+()"
    set = ""
  end
  if not name then return nil end
  local condition = text:sub(from)
  local query = "select count(*) from " .. text:sub(at, at + #name - 1) .. " where "
  if self.name ~= "mysql" then
    local asked, list = renumbered(condition, params)
    return query .. asked, list
  end
  local passed = count_of(set, "%?")
  return query .. condition, table.move(params, passed + 1, #params, 1, {})
end

-- ---- errors ----

--- What SQLSTATEs mean to whoever stands before them.
local NAMED = {
  ["40P01"] = "a deadlock: the server ended one of those that waited for each other",
  ["40001"] = "a deadlock, or another transaction changed the same rows meanwhile",
  ["55P03"] = "somebody else holds a lock that it waited for",
  ["57014"] = "it took longer than it may, or was cancelled",
  ["70100"] = "it took longer than it may, or was cancelled",
}

local KINDS = { ["42501"] = "denied", ["42P01"] = "missing", ["3F000"] = "missing", ["3D000"] = "missing",
  ["42704"] = "missing", ["42883"] = "missing", ["42703"] = "missing", ["42S02"] = "missing", ["42S22"] = "missing" }

--- In words of the engine what a server's refusal is, once it is known that nothing of it stays.
--- @param code string?  SQLSTATE
--- @return string kind
function dialect.kind_of(code) return KINDS[code] or "conflict" end

--- Why, where the code alone says it.
--- @param failure neap.error
--- @return string?
function dialect.why(failure)
  if failure.message:find("[Ll]ock wait timeout") then return NAMED["55P03"] end
  return NAMED[failure.code]
end

--- Whether the server says that such a row is there already.
--- @param failure any
--- @return boolean
function dialect.is_duplicate(failure) return failure.code == "23505" or failure.code == "23000" end

--- Whether the server gave up waiting.
--- @param failure any
--- @return boolean
function dialect.is_waiting(failure)
  return failure.code == "57014" or failure.code == "55P03" or failure.code == "70100"
    or tostring(failure.message):find "[Ll]ock wait timeout" ~= nil
end

return dialect
