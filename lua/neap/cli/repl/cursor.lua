--- Where in a piece of Lua the cursor stands: in a string or not, and in which calls.
local tokens = require "neap.cli.repl.tokens"

local cursor = {}

--- @class neap.cursor
--- @field quote? string   the quote of the string that it stands in; nil: in none
--- @field text string     what stands in that string, or the name that is being typed
--- @field open { bracket: string, before: string, inside: string }[]  brackets that are open, outermost first: what
---   stands before each, and in it
--- @field comment boolean

local CLOSES = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

local function step_bracket(open, c, at)
  if CLOSES[c] then
    if open[#open] and open[#open].bracket == CLOSES[c] then table.remove(open) end
  else
    open[#open + 1] = { bracket = c, at = at }
  end
end

--- The expression that ends there: names with dots, colons and indexes.
local function expression_before(text, at)
  local before = text:sub(1, at - 1):gsub("%s+$", "")
  local from = #before + 1
  while from > 1 do
    local piece = before:sub(1, from - 1)
    local index = piece:match "%b[]$"
    local name = piece:match "[%w_.:]+$"
    local taken = index and index:find "^%[[\"'%d]" and #index or name and #name
    if not taken then break end
    from = from - taken
  end
  return before:sub(from)
end

--- Adds the call that a string is the only argument of, without parentheses.
local function with_bare_call(text, open, at)
  if expression_before(text, at):find "^[%a_]" then open[#open + 1] = { bracket = "(", at = at } end
  return open
end

--- The brackets, with what stands before them and in them.
local function described(text, open)
  for i, one in ipairs(open) do
    one.before = expression_before(text, one.at)
    local next_one = open[i + 1]
    one.inside = text:sub(one.at + 1, next_one and next_one.at - 1 or #text)
  end
  return open
end

--- In a string that is not closed.
local function in_string(text, token, open)
  return { quote = token.quote, text = text:sub(token.from + #token.quote),
    open = described(text, with_bare_call(text, open, token.from)), comment = false }
end

--- @param text string  all that stands left of the cursor
--- @return neap.cursor
function cursor.at(text)
  local open = {}
  for _, token in ipairs(tokens.of(text)) do
    if token.open and token.kind == "comment" then return { comment = true, text = "", open = {} } end
    if token.open then return in_string(text, token, open) end
    local c = token.kind == "sign" and text:sub(token.from, token.to)
    if c and c:find "^[%[({%])}]$" then step_bracket(open, c, token.from) end
  end
  return { text = expression_before(text, #text + 1), open = described(text, open), comment = false }
end

return cursor
