--- The text of an nginx configuration as tokens, cut where nginx's own reader cuts, every byte in exactly one of them.
local fault = require "native.error"

local nginx_tokens = {}

local escapes = { t = "\t", r = "\r", n = "\n", ['"'] = '"', ["'"] = "'", ["\\"] = "\\" }

--- What nginx takes a word's token for: without quotes, escapes resolved.
--- @return string
function nginx_tokens.value(token)
  local text = token.kind == "quoted" and token.text:sub(2, -2) or token.text
  return (text:gsub("\\(.)", escapes))
end

local reader = {}
reader.__index = reader

local function refuse(name, line, column, message)
  fault.raise { kind = "protocol", message = ("%s:%d:%d: %s"):format(name, line, column, message) }
end

function reader:refuse(message)
  refuse(self.name, self.line, self.position - self.line_start + 1, message)
end

function reader:count_lines(last)
  local newline = self.text:find("\n", self.position, true)
  while newline and newline <= last do
    self.line, self.line_start = self.line + 1, newline + 1
    newline = self.text:find("\n", newline + 1, true)
  end
end

--- Makes a token of everything up to `last`.
function reader:take(kind, last)
  local token = {
    kind = kind, text = self.text:sub(self.position, last),
    line = self.line, column = self.position - self.line_start + 1,
  }
  self:count_lines(last)
  self.position = last + 1
  self.tokens[#self.tokens + 1] = token
  return token
end

function reader:last_of_quoted(quote)
  local at = self.position + 1
  while true do
    at = self.text:find("[\\" .. quote .. "]", at)
    if not at then self:refuse("the quote opened here is not closed") end
    if self.text:sub(at, at) == quote then return at end
    at = at + 2
  end
end

-- nginx ends a plain word at a space, `;` or `{`; `}` and `#` inside one are letters, and so is the `{` of `${name}`.
function reader:last_of_word()
  local at = self.position
  while true do
    at = self.text:find("[\\$ \t\r\n;{]", at)
    if not at then return #self.text end
    local two = self.text:sub(at, at + 1)
    if two:sub(1, 1) == "\\" or two == "${" then
      at = at + 2
    elseif two:sub(1, 1) == "$" then
      at = at + 1
    else
      return at - 1
    end
  end
end

local function long_bracket_end(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at, true)
  return last or #text
end

local function lua_string_end(text, at)
  local quote = text:sub(at, at)
  while true do
    at = text:find("[\\\n" .. quote .. "]", at + 1)
    if not at then return #text end
    if text:sub(at, at) ~= "\\" then return at end
    at = at + 1
  end
end

local function lua_comment_end(text, at)
  return long_bracket_end(text, at + 2) or (text:find("\n", at, true) or #text + 1) - 1
end

-- The last byte of the piece of Lua at `at` in which braces do not count, or nil.
local function lua_opaque_end(text, at)
  local byte = text:sub(at, at)
  if byte == "[" then return long_bracket_end(text, at) end
  if byte == "-" and text:sub(at + 1, at + 1) == "-" then return lua_comment_end(text, at) end
  if byte == '"' or byte == "'" then return lua_string_end(text, at) end
end

function reader:last_of_lua()
  local depth, at = 1, self.position
  while true do
    at = self.text:find("[%[%-\"'{}]", at)
    if not at then self:refuse("the Lua block opened here is not closed") end
    local byte = self.text:sub(at, at)
    depth = depth + (byte == "{" and 1 or byte == "}" and -1 or 0)
    if depth == 0 then return at - 1 end
    at = (lua_opaque_end(self.text, at) or at) + 1
  end
end

function reader:add_word(token)
  local directive = self.directive
  if not directive then
    directive = { words = {}, inside = self.block }
    self.directive, self.directives[#self.directives + 1] = directive, directive
  end
  directive.words[#directive.words + 1] = token
end

function reader:quoted(quote)
  self:add_word(self:take("quoted", self:last_of_quoted(quote)))
  local byte = self.text:sub(self.position, self.position)
  if byte ~= "" and not byte:find("[ \t\r\n;{)]") then self:refuse(('unexpected "%s"'):format(byte)) end
end

function reader:finish()
  if not self.directive then self:refuse('unexpected ";"') end
  self:take(";", self.position)
  self.directive = nil
end

function reader:open()
  local directive = self.directive
  if not directive then self:refuse('unexpected "{"') end
  self:take("{", self.position)
  directive.block, directive.opened_by = true, self.tokens[#self.tokens]
  self.block, self.directive = directive, nil
  if nginx_tokens.value(directive.words[1]):find("_by_lua_block$") then self:take("lua", self:last_of_lua()) end
end

function reader:close()
  if self.directive or not self.block then self:refuse('unexpected "}"') end
  self:take("}", self.position)
  self.block = self.block.inside
end

local by_first_byte = {
  [";"] = reader.finish, ["{"] = reader.open, ["}"] = reader.close,
  ['"'] = reader.quoted, ["'"] = reader.quoted,
  ["#"] = function(self) self:take("comment", (self.text:find("\n", self.position, true) or #self.text + 1) - 1) end,
}

function reader:next()
  local _, space = self.text:find("^[ \t\r\n]+", self.position)
  if space then return self:take("space", space) end
  local byte = self.text:sub(self.position, self.position)
  local read = by_first_byte[byte]
  if read then return read(self, byte) end
  self:add_word(self:take("word", self:last_of_word()))
end

function reader:check_end()
  if self.directive then self:refuse('unexpected end of file, expecting ";" or "}"') end
  if self.block then
    local open = self.block.opened_by
    refuse(self.name, open.line, open.column, 'the block opened here is not closed, expecting "}"')
  end
end

--- The tokens of a configuration file, in order, and its directives: the words of each, the block it stands in, and
--- whether it opens one. Raises `protocol` with `name:line:column:` where nginx's own tokenizer would refuse the text.
--- @param text string
--- @param name string  what messages call the file
--- @return { kind: string, text: string, line: integer, column: integer }[] tokens
--- @return { words: table[], inside: table?, block: boolean? }[] directives
function nginx_tokens.read(text, name)
  local self = setmetatable({
    text = text, name = name, position = 1, line = 1, line_start = 1, tokens = {}, directives = {},
  }, reader)
  if text:sub(1, 3) == "\xEF\xBB\xBF" then self:take("mark", 3) end
  while self.position <= #text do self:next() end
  self:check_end()
  return self.tokens, self.directives
end

return nginx_tokens
