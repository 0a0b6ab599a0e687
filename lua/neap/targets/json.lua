--- JSON in texts and files.
---
--- A file that is edited is written anew: its keys sorted, its numbers as neap writes them. What has to keep its order and
--- spacing is edited as YAML, of which JSON is a part: `yaml.edit`.
local fault      = require "native.error"
local file       = require "neap.targets.file"
local native     = require "native.json"
local plain_data = require "neap.targets.plain_data"
local shell      = require "neap.targets.shell"

local json = { null = native.null }

local OPTIONS = { indent = true, mode = true, owner = true, group = true, become = true, keep = true,
  irreversible = true, timeout = true }

--- The plain data of a text; null is json.null. Raises `protocol` with the place for what is no JSON.
--- @param text string
--- @param name? string  what messages call it
--- @return any
function json.parse(text, name)
  local ok, value = pcall(native.decode, text)
  if ok then return value end
  if fault.is(value) and name then value.message = name .. ":" .. value.message end
  return error(value, 0)
end

--- The plain data of a file. Raises as `file.read` and `json.parse` do.
--- @param host string|table
--- @param path string
--- @param options? { become?: string|false }
--- @return any
function json.read(host, path, options) return json.parse(file.read(host, path, options), path) end

--- Marks a table as a list, so that it is one when it is empty.
--- @param list table
--- @return table
function json.array(list) return native.array(list) end

--- The spaces of the pretty form widened to so many a level; those within strings stay, for a string has no line ends.
local function indented(value, indent)
  local text = native.encode_pretty(value)
  return (("\n" .. text):gsub("\n( +)", function(blanks) return "\n" .. (" "):rep(#blanks // 2 * indent) end):sub(2))
end

--- Plain data as JSON with sorted keys: in one line, or with `indent` spaces a level and no line end behind.
--- @param value any
--- @param options? { indent?: integer }
--- @return string
function json.encode(value, options)
  local indent = shell.check_options(options, { indent = true }, 2).indent
  value = plain_data.copy(value)
  if not indent then return native.encode(value) end
  if math.type(indent) ~= "integer" or indent < 0 or indent > 16 then error("indent is 0 to 16 spaces", 2) end
  return indented(value, indent)
end

local function indent_of(text) return #(text:match("\n( +)") or "") end

--- Changes a file that is there by what `edit` makes of its data. It is written anew, keys sorted, by `indent` spaces or
--- those it has; where the data stays the same, no byte changes. Else as `file.edit`.
--- @param host string|table
--- @param path string
--- @param edit fun(value: any): any  pure
--- @param options? { indent?: integer, mode?: string, owner?: string, group?: string, become?: string|false }
--- @return { content: string, mode: string, owner: string, group: string }
function json.edit(host, path, edit, options)
  options = shell.check_options(options, OPTIONS, 2)
  local given = {}
  for key, value in pairs(options) do
    if key ~= "indent" then given[key] = value end
  end
  return file.edit(host, path, function(text)
    local before = native.encode(json.parse(text, path))
    local after = edit(json.parse(text, path))
    if after == nil then error("an edit returns the new value", 0) end
    if json.encode(after) == before then return text end
    local in_lines = options.indent or text:find("\n%s*%S")
    local written = json.encode(after, in_lines and { indent = options.indent or indent_of(text) } or nil)
    return written .. (text:match("\r?\n$") or "")
  end, given)
end

return json
