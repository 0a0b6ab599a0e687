--- Values on their way to a server and back: parameters as the journal keeps them and as a server takes them; rows as
--- procedures see them.
local fault  = require "native.error"
local json   = require "native.json"
local secret = require "native.secret"

local values = {}

--- NULL as a parameter. In results NULL is what is not there.
values.null = setmetatable({}, { __name = "sql.null", __tostring = function() return "NULL" end,
  __newindex = function() error("sql.null is not altered", 2) end, __plain = function() return { is = "null" } end })

local Wrapped = { __name = "sql value" }
Wrapped.__index = Wrapped

function Wrapped.__plain(self) return { is = self.is, value = self.value } end

--- Bytes, for a parameter of a binary type.
--- @param text string
--- @return table
function values.bytes(text)
  if type(text) ~= "string" then error("sql.bytes takes a text", 2) end
  return setmetatable({ is = "bytes", value = text }, Wrapped)
end

--- A list as PostgreSQL's array.
--- @param list any[]
--- @return table
function values.array(list)
  if type(list) ~= "table" then error("sql.array takes a list", 2) end
  return setmetatable({ is = "array", value = list }, Wrapped)
end

local SCALARS = { string = true, number = true, boolean = true }

local function packed(value, level)
  if value == json.null or value == values.null then return { is = "null" } end
  if SCALARS[type(value)] or secret.is(value) then return value end
  if type(value) ~= "table" then error(("a parameter cannot be a %s"):format(type(value)), level + 1) end
  if value.is == "null" or value.is == "bytes" then return { is = value.is, value = value.value } end
  if value.is ~= "array" then error("a list is a parameter as sql.array(list)", level + 1) end
  local list = {}
  for i, item in ipairs(value.value) do
    if secret.is(item) then error("an array holds no secrets", level + 1) end
    list[i] = packed(item, level + 1)
  end
  return { is = "array", value = list }
end

--- Parameters as plain data that the journal can keep. Raises a mistake for what is none.
--- @param params any[]?
--- @param level integer  as error counts
--- @return any[]
function values.pack(params, level)
  if params == nil then return {} end
  if type(params) ~= "table" or params.is then error("parameters are a list, as in { 1, \"a\" }", level + 1) end
  local list, count = {}, 0
  for _ in pairs(params) do count = count + 1 end
  for i = 1, count do
    if params[i] == nil then
      error("parameters are a list without gaps: NULL is sql.null", level + 1)
    end
    list[i] = packed(params[i], level + 1)
  end
  return list
end

-- ---- as a server takes them ----

local for_server

local function array(connection, list)
  if connection.dialect.name == "mysql" then error("MariaDB has no arrays", 0) end
  local items = {}
  for i, item in ipairs(list) do items[i] = for_server(connection, item, true) end
  return items
end

function for_server(connection, value, nested)
  if type(value) ~= "table" then return value end
  if value.is == "null" then return json.null end
  if value.is == "array" then
    local items = array(connection, value.value)
    return nested and items or connection.driver.array(items)
  end
  return connection.driver.bytes(value.value)
end

--- Packed parameters as the native module of a connection takes them.
--- @param connection neap.database.connection
--- @param params any[]
--- @return any[]
function values.for_server(connection, params)
  local list = {}
  for i, value in ipairs(params) do list[i] = for_server(connection, value) end
  return list
end

-- ---- rows ----

local function check_columns(columns)
  local seen = {}
  for _, name in ipairs(columns) do
    if seen[name] then
      fault.raise { kind = "conflict", message = ("two columns are called %q: name them by `as`"):format(name) }
    end
    seen[name] = true
  end
end

--- One row by column name; NULL is not there.
--- @param columns string[]
--- @param row any[]
--- @return table<string, any>
function values.row(columns, row)
  local named = {}
  for i, name in ipairs(columns) do
    if row[i] ~= json.null then named[name] = row[i] end
  end
  return named
end

--- Rows by column name.
--- @param result { columns: string[], rows: any[][] }
--- @return table<string, any>[]
function values.rows(result)
  check_columns(result.columns or {})
  local list = {}
  for i, row in ipairs(result.rows or {}) do list[i] = values.row(result.columns, row) end
  return list
end

--- The only row. Raises kind `missing` where there is none, `conflict` where there are more.
--- @param result { columns: string[], rows: table[] }  rows by column name
--- @return table<string, any>
function values.only(result)
  local count = #result.rows
  if count == 1 then return result.rows[1] end
  fault.raise { kind = count == 0 and "missing" or "conflict",
    message = ("the query gave %s, where one row is expected"):format(count == 0 and "no row" or count .. " rows") }
end

--- The value in the first column of the only row; nil for NULL.
--- @param result { columns: string[], rows: table[] }
--- @return any
function values.value(result) return values.only(result)[result.columns[1]] end

--- The first column of all rows. NULL has no place in a list: raises kind `conflict`.
--- @param result { columns: string[], rows: table[] }
--- @return any[]
function values.column(result)
  local list, name = {}, result.columns[1]
  for i, row in ipairs(result.rows) do
    if row[name] == nil then
      fault.raise { kind = "conflict", message = ("%s is NULL in row %d of the query"):format(name, i),
        hint = "leave those rows out, or ask for them by db:query" }
    end
    list[i] = row[name]
  end
  return list
end

--- A parameter for people.
--- @param value any  packed
--- @return string
function values.show(value)
  if type(value) == "string" then return ("'%s'"):format(#value > 40 and value:sub(1, 37) .. "…" or value) end
  if secret.is(value) then return secret.text(value) end
  if type(value) ~= "table" then return tostring(value) end
  if value.is == "null" then return "NULL" end
  return value.is == "bytes" and ("%d bytes"):format(#value.value) or ("%d items"):format(#value.value)
end

return values
