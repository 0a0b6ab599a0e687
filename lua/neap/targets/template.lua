--- Texts with `$(name)` in them, filled in so that each value is one word, literal or scalar of the text's own language.
local fault      = require "native.error"
local file       = require "neap.targets.file"
local json       = require "native.json"
local near       = require "neap.near"
local plain_data = require "neap.targets.plain_data"
local secret     = require "native.secret"
local shell      = require "neap.targets.shell"
local yaml       = require "native.yaml"

local template = {}

local function refuse(line, message)
  fault.raise { kind = "missing", message = ("line %d of the template: %s"):format(line, message) }
end

local function wrong_kind(quote, value)
  error(("a %s has no form in %s"):format(secret.is(value) and "secret" or type(value), quote), 0)
end

-- ---- one value ----

local SCALARS = { string = true, number = true, boolean = true }

local function is_scalar(value) return SCALARS[type(value)] ~= nil end

--- A list is so many words.
local function shell_words(value)
  if secret.is(value) then return secret.quote(value, "sh") end
  if is_scalar(value) then return shell.quote(tostring(value)) end
  if type(value) ~= "table" or value[1] == nil and next(value) ~= nil then wrong_kind("sh", value) end
  local words = ""
  for i, each in ipairs(value) do words = words .. (i > 1 and " " or "") .. shell_words(each) end
  return words
end

--- A list is what stands between the brackets of `in (…)`.
local function sql_literal(dialect)
  local function literal(value)
    if secret.is(value) or type(value) == "string" then return secret.quote(value, dialect) end
    if value == json.null then return "null" end
    if type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge then
      return json.encode(value)
    end
    if type(value) == "boolean" then return tostring(value) end
    if type(value) ~= "table" or value[1] == nil then wrong_kind(dialect, value) end
    local list = ""
    for i, each in ipairs(value) do list = list .. (i > 1 and ", " or "") .. literal(each) end
    return list
  end
  return literal
end

--- A secret within a list or map would have to be found again in the text.
local function flow(quote, write)
  return function(value)
    if secret.is(value) then return secret.quote(value, quote) end
    return write(plain_data.copy(value))
  end
end

local function as_it_is(value)
  if secret.is(value) then return value end
  if not is_scalar(value) then wrong_kind("text", value) end
  return tostring(value)
end

local QUOTES = {
  sh = shell_words, sql = sql_literal "sql", mysql = sql_literal "mysql", text = as_it_is,
  json = flow("json", json.encode),
  yaml = flow("yaml", function(value) return (yaml.emit(value, { flow = true }):gsub("\n$", "")) end),
}

-- ---- names ----

local function names_of(values)
  local names = {}
  for key in pairs(values) do names[#names + 1] = tostring(key) end
  return names
end

--- What a dotted name stands for: the whole as one key, or part after part.
local function look_up(values, name, line)
  if values[name] ~= nil then return values[name] end
  local value = values
  for part in name:gmatch("[^.]+") do
    local inner = type(value) == "table" and value[part]
    if inner == nil and type(value) == "table" then inner = value[math.tointeger(tonumber(part))] end
    if inner == nil or type(value) ~= "table" then
      local question = type(value) == "table" and near.question(part, names_of(value)) or ""
      refuse(line, ("$(%s) is not given%s"):format(name, question ~= "" and "." .. question or ""))
    end
    value = inner
  end
  return value
end

local function placed(quote, values, name, line)
  local value = look_up(values, name, line)
  local ok, text = pcall(QUOTES[quote], value)
  if ok then return text end
  if fault.is(text) then error(text, 0) end
  return error(("line %d of the template: $(%s): %s"):format(line, name, tostring(text)), 0)
end

local function check_name(name, text, at, line)
  if name and name:find("^[%w_-][%w_.-]*$") then return end
  error(("line %d of the template: %q begins no $(name); where the text itself is to have $( write $$("):format(line,
    text:sub(at, at + 20):match("[^\n]*")), 0)
end

--- The text with each `$(name)` replaced by that value, quoted for its language; `$$(` stands for `$(`. Names may be
--- dotted. sh: one word, a list so many words; sql, mysql: a literal, a list with commas between; json, yaml: a scalar, a
--- list or a map in one line; text: as it is. With a secret among them the result is a secret.
--- Raises `missing`, with the line and the near name, for a name that is not given.
--- @param text string
--- @param values table<string, any>
--- @param quote "sh"|"sql"|"mysql"|"json"|"yaml"|"text"
--- @return string|native.secret.value
function template.render(text, values, quote)
  if type(text) ~= "string" then error("a template is a text", 2) end
  if not QUOTES[quote] then
    error(("a template is quoted for no %q%s"):format(tostring(quote), near.hint(quote, QUOTES)), 2)
  end
  local result, at, line, counted = "", 1, 1, 1
  while true do
    local first = text:find("$", at, true)
    while first and not text:find("^%$?%(", first + 1) do first = text:find("$", first + 1, true) end
    if not first then return result .. text:sub(at) end
    line = line + select(2, text:sub(counted, first):gsub("\n", ""))
    counted = first + 1
    if text:sub(first, first + 2) == "$$(" then
      result, at = result .. text:sub(at, first) .. "(", first + 3
    else
      local name, behind = text:match("^%(([^()\n]*)%)()", first + 1)
      check_name(name, text, first, line)
      result, at = result .. text:sub(at, first - 1) .. placed(quote, values, name, line), behind
    end
    counted = math.max(counted, at)
  end
end

local OPTIONS = { quote = true, mode = true, owner = true, group = true, become = true, keep = true,
  irreversible = true, timeout = true }

--- Makes a file hold a template that is filled in; see template.render. Else as `file.write`.
--- @param host string|table
--- @param path string
--- @param source string  the template's text
--- @param values table<string, any>
--- @param options { quote: string, mode?: string, owner?: string, group?: string, become?: string|false }
--- @return { content: string, mode: string, owner: string, group: string }
function template.write(host, path, source, values, options)
  options = shell.check_options(options, OPTIONS, 2)
  local given = {}
  for key, value in pairs(options) do
    if key ~= "quote" then given[key] = value end
  end
  return file.write(host, path, template.render(source, values, options.quote), given)
end

return template
