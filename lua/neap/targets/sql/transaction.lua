--- Changes by SQL as actions: one statement, or a function's statements in one transaction, each with its witness.
---
--- A transaction's function is called twice: first for what it means to do, which the intent holds before anything is
--- sent; then in the transaction, where it has to do just that.
local databases = require "neap.targets.database"
local dialect   = require "neap.targets.sql.dialect"
local effect    = require "neap.engine.effect"
local fault     = require "native.error"
local marker    = require "neap.targets.sql.marker"
local secret    = require "native.secret"
local task      = require "native.task"
local values    = require "neap.targets.sql.values"

local transaction = {}

local LINE = 400 -- bytes of a statement that a plan shows

-- ---- statements ----

--- A statement's text: no secret stands in it, for it is in the server's logs and list of sessions.
--- @param text any
--- @param level integer  as error counts
--- @return string
function transaction.check_text(text, level)
  if secret.is(text) or (type(text) == "string" and secret.holds(text)) then
    error("a statement holds no secret: hand it over as a parameter", level + 1)
  end
  if type(text) ~= "string" or not text:find "%S" then error("a statement is a text", level + 1) end
  return text
end

--- @param text string
--- @param params any[]?
--- @param level integer  as error counts
--- @return { text: string, params: any[] }
function transaction.statement(text, params, level)
  return { text = transaction.check_text(text, level + 1), params = values.pack(params, level + 1) }
end

--- `undo` of an option as a list of statements: a text, { text, params }, or a list of these.
--- @param given any
--- @param level integer  as error counts
--- @return table[]?
function transaction.statements(given, level)
  if given == nil then return nil end
  if type(given) == "string" then given = { given } end
  if type(given) ~= "table" or #given == 0 then error("undo is a statement, or a list of some", level + 1) end
  if type(given[1]) == "string" and type(given[2]) == "table" and #given == 2 then given = { given } end
  local list = {}
  for i, one in ipairs(given) do
    local text, params = one, nil
    if type(one) == "table" then text, params = one[1], one[2] end
    list[i] = transaction.statement(text, params, level + 1)
  end
  return list
end

local function check_within(sql, text, level)
  if sql:controls(text) then
    error("neap begins and ends the transaction; tx:savepoint(fn) is a part that may fail", level + 1)
  end
  if not sql:is_transactional(text) then
    error(("%s commits by itself, so it cannot be a part of a transaction"):format(dialect.first_words(text, 2)),
      level + 1)
  end
end

local function check_affected(wanted, result, text)
  if wanted == nil or result.affected == wanted then return end
  fault.raise { kind = "verify", message = ("%s changed %s rows, expected were %d"):format(dialect.first_words(text, 3),
    tostring(result.affected), wanted) }
end

--- What the journal keeps of a statement's result.
local function result_of(result)
  local rows = values.rows(result)
  return { affected = result.affected, rows = #rows > 0 and rows or nil }
end

local function send(connection, one)
  return connection:execute(one.text, values.for_server(connection, one.params))
end

--- Sends one statement within a transaction.
--- @param connection neap.database.connection
--- @param text string
--- @param params? any[]  packed
--- @return table result  affected, rows by column name
function transaction.send(connection, text, params)
  return result_of(send(connection, { text = text, params = params or {} }))
end

-- ---- for people ----

local function short(text)
  text = secret.redact((text:gsub("^%s+", ""):gsub("%s+$", "")))
  return #text > LINE and text:sub(1, (utf8.offset(text, 0, LINE) or LINE) - 1) .. "…" or text
end

--- @param one { text: string, params: any[] }
--- @return string lines
function transaction.show(one)
  local lines = { short(one.text) }
  for i, value in ipairs(one.params or {}) do lines[#lines + 1] = ("  $%d = %s"):format(i, values.show(value)) end
  return table.concat(lines, "\n")
end

local function outlook(planned)
  if not planned then return "" end
  if planned.later then return ", how many rows is known later" end
  return planned.count and (", %d rows now"):format(planned.count) or ""
end

local function says_statement(data)
  local lines = { "sql" .. outlook(data.planned), transaction.show(data) }
  if data.planned and data.planned.explain then lines[#lines + 1] = data.planned.explain end
  return table.concat(lines, "\n")
end

local function says_transaction(data)
  local lines = { ("one transaction, %d statements%s"):format(#data.statements, data.open and " and more" or "") }
  for _, one in ipairs(data.statements) do lines[#lines + 1] = one.mark or transaction.show(one) end
  if data.open then lines[#lines + 1] = "… and what follows from what these return" end
  return table.concat(lines, "\n")
end

-- ---- the kinds ----

local function outside(target, one, call)
  return marker.outside(target.database, call, one.text,
    function(connection) return values.for_server(connection, one.params) end, result_of)
end

--- Carries out the statements of an `undo`. To be a kind's `undo`.
--- @param target { database: string }
--- @param statements table[]
--- @param call table
function transaction.undo(target, statements, call)
  if #statements == 1 and not databases.dialect(target.database):is_transactional(statements[1].text) then
    return outside(target, statements[1], call)
  end
  return marker.transaction(target.database, call, function(connection)
    for _, one in ipairs(statements) do send(connection, one) end
  end)
end

local function show(target) return target.database end

--- Target { database }, data { text, params, outside, affects, done }, undo a list of statements.
effect.action "sql.execute" {
  prepare = marker.prepare, take = marker.take, release = marker.release, timeout = 3600,
  run = function(target, data, call)
    if data.outside then return outside(target, data, call) end
    return marker.transaction(target.database, call, function(connection)
      local result = send(connection, data)
      check_affected(data.affects, result, data.text)
      return result_of(result)
    end)
  end,
  undo = transaction.undo, undo_needs_data = true, show = show, says = says_statement,
}

-- ---- a transaction's function ----

local Tx = {}
Tx.__index = Tx

--- The result of a statement that has not been sent.
local function unknown_result(later)
  local function ask() later() end
  return setmetatable({}, { __index = ask, __len = ask, __pairs = ask, __name = "unknown" })
end

local Rehearsal = setmetatable({}, { __index = Tx })
Rehearsal.__index = Rehearsal

--- Ends the rehearsal: what follows depends on what only the server can answer.
function Rehearsal:later()
  self.open = true
  error(self.sentinel, 0)
end

function Rehearsal:add(one)
  if self.open then self:later() end
  self.statements[#self.statements + 1] = one
  return unknown_result(function() self:later() end)
end

--- The server refuses to change anything for what is read here, and it is asked again in the transaction.
function Rehearsal:ask(one)
  if self.open or #self.statements > 0 then self:later() end
  return self.read(one.text, one.params)
end

local Live = setmetatable({}, { __index = Tx })
Live.__index = Live

local function same(a, b)
  if a.text ~= b.text or a.mark ~= b.mark or #(a.params or {}) ~= #(b.params or {}) then return false end
  for i, value in ipairs(a.params or {}) do
    local other = b.params[i]
    local alike
    if secret.is(value) or secret.is(other) then
      alike = secret.is(value) and secret.is(other) and secret.same(value, other)
    elseif type(value) == "table" and type(other) == "table" then
      alike = values.show(value) == values.show(other) and value.is == other.is
    else
      alike = value == other
    end
    if not alike then return false end
  end
  return true
end

local function took_another_way(one)
  fault.raise { kind = "conflict", code = "meant",
    message = "the transaction took another way than it was meant to: " .. (one and short(one.text or one.mark)
      or "it ended earlier"),
    hint = "what it reads has changed meanwhile: try again" }
end

function Live:check(one)
  self.at = self.at + 1
  local meant = self.meant.statements[self.at]
  if meant and not same(meant, one) then took_another_way(one) end
  if not meant and not self.meant.open then took_another_way(one) end
  if not meant then table.insert(self.more, one.mark or transaction.show(one)) end
end

function Live:add(one)
  self:check(one)
  local result = result_of(send(self.connection, one))
  self.affected[#self.affected + 1] = result.affected or -1
  check_affected(one.affects, result, one.text)
  return result
end

function Live:ask(one)
  if self.at > 0 then table.insert(self.more, transaction.show(one)) end -- not rehearsed
  local result = send(self.connection, one)
  return { columns = result.columns, rows = values.rows(result) }
end

-- what a procedure calls on tx

local EXECUTE_OPTIONS = { affects = "number" }

local function check_options(options, known, level)
  for key, value in pairs(options or {}) do
    if type(value) ~= known[key] then
      error(("%s is no option here, or no %s"):format(tostring(key), known[key] or "option"), level + 1)
    end
  end
  return options or {}
end

--- One statement more of the transaction.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @param options? { affects?: integer }  how many rows it must change; else all is rolled back
--- @return { affected: integer?, rows: table[]? }
function Tx:execute(text, params, options)
  options = check_options(options, EXECUTE_OPTIONS, 2)
  local one = transaction.statement(text, params, 2)
  check_within(self.sql, text, 2)
  one.affects = options.affects
  return self:add(one)
end

local function ask(self, text, params)
  local one = transaction.statement(text, params, 3)
  check_within(self.sql, text, 3)
  return self:ask(one)
end

--- Rows as the transaction sees them.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @return table<string, any>[]
function Tx:query(text, params) return ask(self, text, params).rows end

--- The only row.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @return table<string, any>
function Tx:one(text, params) return values.only(ask(self, text, params)) end

--- The value in the first column of the only row; nil for NULL.
--- @param text string
--- @param params? any[]  for $1, $2 … (PostgreSQL), or for each ? (MariaDB)
--- @return any
function Tx:value(text, params) return values.value(ask(self, text, params)) end

function Rehearsal:mark(text)
  if self.open then self:later() end
  self.statements[#self.statements + 1] = { mark = text }
end

function Live:mark(text)
  self:check { mark = text }
  self.connection:execute(text)
end

--- A part that may fail: when fn raises, what it did is taken back and the error goes on to whoever catches it.
--- @param fn fun(): any
--- @return any  what fn returns
function Tx:savepoint(fn)
  self.points = (self.points or 0) + 1
  local name = "neap_" .. self.points
  self:mark("savepoint " .. name)
  local results = table.pack(pcall(fn))
  if not results[1] then
    self:back_to(name, results[2])
    error(results[2], 0)
  end
  self:mark("release savepoint " .. name)
  return table.unpack(results, 2, results.n)
end

function Rehearsal:back_to(name, failure)
  if rawequal(failure, self.sentinel) then error(failure, 0) end
  self:mark("rollback to savepoint " .. name)
end

function Live:back_to(name, failure)
  if fault.is(failure) and (failure.kind == "lost" or failure.kind == "timeout" or failure.kind == "cancelled") then
    error(failure, 0)
  end
  -- how it came to this cannot be rehearsed: a server's refusal is not known before
  self.connection:execute("rollback to savepoint " .. name)
  if fault.is(failure, "remote") then
    self.meant = { statements = self.meant.statements, open = true }
    self.at = #self.meant.statements
    table.insert(self.more, "rollback to savepoint " .. name .. " after: " .. tostring(failure.message))
  else
    self:check { mark = "rollback to savepoint " .. name }
  end
end

--- What a transaction means to do, as far as it can be known before: its function is called with nothing sent but reads
--- that come before its first change.
--- @param sql neap.sql.dialect
--- @param fn fun(tx: table): any
--- @param read fun(text: string, params: any[]): table[]
--- @return { statements: table[], open: boolean? }
function transaction.rehearse(sql, fn, read)
  local tx = setmetatable({ sql = sql, statements = {}, read = read,
    sentinel = fault.new { kind = "unknown", message = "known when the transaction is carried out" } }, Rehearsal)
  local ok, failure = pcall(fn, tx)
  if not ok and not tx.open then error(failure, 0) end
  return { statements = tx.statements, open = tx.open }
end

local function carry_out(connection, meant, fn)
  local tx = setmetatable({ sql = connection.dialect, connection = connection, meant = meant, at = 0, affected = {},
    more = {} }, Live)
  local returned = fn(tx)
  if tx.at < #meant.statements then took_another_way() end
  return { returned = returned, affected = tx.affected, more = #tx.more > 0 and tx.more or nil }
end

--- Target { database, at: where its function stands }, data { statements, open }, undo a list of statements.
effect.action "sql.transaction" {
  prepare = marker.prepare, take = marker.take, release = marker.release, timeout = 3600,
  run = function(target, data, call)
    local fn = task.context().sql_transaction
    return marker.transaction(target.database, call, function(connection) return carry_out(connection, data, fn) end)
  end,
  undo = transaction.undo, undo_needs_data = true, says = says_transaction,
  show = function(target) return ("%s %s"):format(target.database, target.at) end,
}

--- Performs the function's statements in one transaction.
--- @param name string  the database
--- @param meant table  of transaction.rehearse
--- @param fn fun(tx: table): any
--- @param options table  of effect.perform
--- @return any returned  what fn returns
function transaction.perform(name, meant, fn, options)
  local place = debug.getinfo(fn, "S")
  local context = setmetatable({ sql_transaction = fn }, { __index = task.context() })
  local target = { database = name, at = ("%s:%d"):format(place.short_src, place.linedefined) }
  local result = task.with_context(context, effect.perform, "sql.transaction", target, meant, options)
  if effect.planning() then return result end
  return result.returned
end

return transaction
