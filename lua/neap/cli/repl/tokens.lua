--- Lua, also unfinished Lua, as a list of its tokens.
local tokens = {}

--- Sorted.
tokens.KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
                    "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

local IS_KEYWORD = {}
for _, word in ipairs(tokens.KEYWORDS) do IS_KEYWORD[word] = true end

--- @class neap.token
--- @field kind "comment"|"string"|"number"|"keyword"|"name"|"sign"
--- @field from integer
--- @field to integer
--- @field quote? string  what a string begins with; "[[" for all long brackets
--- @field open? boolean  a comment or a string whose end is not there

-- ---- what begins at a place; each returns the kind, the place behind it, whether it is open, and a string's quote ----

--- Behind a long bracket; nil where none begins there. Where it is not closed: the end of the text, and true.
local function past_long(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at + #level + 2, true)
  return last and last + 1 or #text + 1, last == nil
end

local function comment(text, at)
  local past, open = past_long(text, at + 2)
  if past then return "comment", past, open end
  local line_end = text:find("\n", at, true)
  return "comment", line_end or #text + 1, line_end == nil
end

local function quoted(text, at)
  local quote = text:sub(at, at)
  local stops, i = ("[\\%s]"):format(quote), at + 1
  while true do
    i = text:find(stops, i)
    if not i then return "string", #text + 1, true, quote end
    if text:sub(i, i) == quote then return "string", i + 1, false, quote end
    i = i + 2
  end
end

local function bracket(text, at)
  local past, open = past_long(text, at)
  if past then return "string", past, open, "[[" end
  return "sign", at + 1
end

local function number(text, at)
  local exponent = text:find("^0[xX]", at) and "^[pP][+-]" or "^[eE][+-]"
  local past = text:match("^[%w_.]*()", at)
  while text:find(exponent, past - 1) do past = text:match("^[%w_.]*()", past + 1) end
  return "number", past
end

local function name(text, at)
  local word, past = text:match("^([%a_][%w_]*)()", at)
  return IS_KEYWORD[word] and "keyword" or "name", past
end

local function sign(text, at)
  if text:find("^%.%d", at) then return number(text, at) end
  return "sign", text:match("^%.%.?%.?()", at) or text:match("^::()", at) or at + 1
end

local function begins(text, at)
  local c = text:sub(at, at)
  if c == '"' or c == "'" then return quoted(text, at) end
  if c == "[" then return bracket(text, at) end
  if c:find "[%a_]" then return name(text, at) end
  if c:find "%d" then return number(text, at) end
  if text:find("^%-%-", at) then return comment(text, at) end
  return sign(text, at)
end

--- @param text string
--- @return neap.token[]
function tokens.of(text)
  local list, at = {}, text:match "^%s*()"
  while at <= #text do
    local kind, past, open, quote = begins(text, at)
    list[#list + 1] = { kind = kind, from = at, to = math.min(past - 1, #text), quote = quote, open = open or nil }
    at = text:match("^%s*()", past) or past
  end
  return list
end

return tokens
