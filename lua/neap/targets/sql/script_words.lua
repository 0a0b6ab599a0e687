--- What a statement of a script is, by its first words: what it does to transactions and to its session.
local dialect = require "neap.targets.sql.dialect"

local words = {}

--- A comment that MariaDB reads is a statement.
local function bare(sql, text)
  if sql.name ~= "mysql" then return text end
  return (text:gsub("^/%*M?!%d*%s*", ""))
end

local function first(sql, text, count) return dialect.first_words(bare(sql, text), count) end

local SIMPLE = { begin = "begin", start = "begin", commit = "commit", ["end"] = "commit", rollback = "rollback",
  abort = "rollback", set = "setting", reset = "setting", lock = "plain", insert = "plain", update = "plain",
  delete = "plain", savepoint = "plain", release = "plain" }

local function of_mysql(sql, text, two)
  if two == "begin not" then return "outside" end
  if two:find "^u?n?lock tables?$" then return "locks" end
  if two:find "^call" or two:find "^xa" then return "outside" end
  if two:find "^prepare" or two:find "^deallocate" then return "setting" end
  local one = two:match "^%a+"
  if one == "reset" then return "outside" end
  return SIMPLE[one] or (sql:is_transactional(bare(sql, text)) and "plain") or "outside"
end

local PLAIN = { insert = true, update = true, delete = true, replace = true }

--- Whether that can be told by the first word alone, as of most statements of long scripts.
--- @param text string
--- @return boolean
function words.is_plain(text)
  local word = text:match "^%a+"
  return word ~= nil and PLAIN[word:lower()] or false
end

--- "begin", "commit", "rollback"; "setting": of the session; "locks": MariaDB's lock and unlock tables; "outside": it
--- commits by itself; "plain".
--- @param sql neap.sql.dialect
--- @param text string
--- @return string
function words.of(sql, text)
  if words.is_plain(text) then return "plain" end
  local two = first(sql, text, 2)
  if two == "rollback to" then return "plain" end
  if sql.name == "mysql" then return of_mysql(sql, text, two) end
  local one = two:match "^%a+"
  if SIMPLE[one] then return SIMPLE[one] end
  return sql:is_transactional(text) and "plain" or "outside"
end

--- Whether a new session can be told so again: not what held for one transaction, nor what was made of something read.
--- @param sql neap.sql.dialect
--- @param text string
--- @return boolean
function words.is_repeatable(sql, text)
  local lower = bare(sql, text):lower()
  if sql.name ~= "mysql" then
    return not lower:find "^set%s+local%f[%A]" and not lower:find "^set%s+transaction%f[%A]"
      and not lower:find "^set%s+constraints%f[%A]"
  end
  if lower:find "^set%s+transaction%f[%A]" or lower:find "global" or lower:find "persist" then return false end
  return lower:find "^set%f[%A]" ~= nil and not lower:find "[(]"
end

--- What stays with the session that carries a statement out: name -> "temporary table", "variable" …
--- @param sql neap.sql.dialect
--- @param text string
--- @return table<string, string>
function words.session_things(sql, text)
  local lower, things = bare(sql, text):lower(), {}
  local function add(name, what) if name then things[name:gsub('["`]', "")] = what end end
  if lower:find "^create%s" then
    add(lower:match "^create%s+[%a%s]*%f[%a]tempo?r?a?r?y?%s+table%s+if%s+not%s+exists%s+([^%s(]+)"
      or lower:match "^create%s+[%a%s]*%f[%a]tempo?r?a?r?y?%s+%a+%s+([^%s(]+)", "temporary table")
  end
  add(lower:match "^prepare%s+([^%s(]+)", "prepared statement")
  add(lower:match "^declare%s+([^%s(]+).*%f[%a]with%s+hold", "cursor")
  if sql.name ~= "mysql" then return things end
  if lower:find "^set%f[%A]" and not words.is_repeatable(sql, text) then
    for name in lower:gmatch "(@[%w_.$]+)%s*:?=" do add(name, "variable") end
  end
  for name in lower:gmatch "(@[%w_.$]+)%s*:=" do add(name, "variable") end
  for list in lower:gmatch "%f[%a]into%s+(@[^;]*)" do
    for name in list:gmatch "@[%w_.$]+" do add(name, "variable") end
  end
  return things
end

--- Whether tables are locked behind it.
--- @param text string
--- @return boolean
function words.holds_locks(text) return not text:lower():find "^unlock" end

--- A statement as the server gets it: who locks tables has to lock neap's, too, to write down where it is.
--- @param sql neap.sql.dialect
--- @param text string
--- @return string
function words.for_server(sql, text)
  if sql.name ~= "mysql" or not text:find "^[lL][oO][cC][kK]%s+[tT][aA][bB][lL][eE]" then return text end
  return text .. ", neap.effects write"
end

return words
