--- Where in a piece of Lua the cursor stands: in a string or not, and in which calls.
local cursor = {}

--- @class neap.cursor
--- @field quote? string   the quote of the string that it stands in; nil: in none
--- @field text string     what stands in that string, or the name that is being typed
--- @field open { bracket: string, before: string, inside: string }[]  brackets that are open, outermost first: what
---   stands before each, and in it
--- @field comment boolean

--- The end of a long bracket's text, or nil where it is not closed.
local function after_long(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil, false end
  local _, last = text:find("]" .. level .. "]", at, true)
  return last and last + 1, true
end

local function after_string(text, at)
  local quote, i = text:sub(at, at), at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then i = i + 1 elseif c == quote then return i + 1 end
    i = i + 1
  end
end

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

--- @param text string  all that stands left of the cursor
--- @return neap.cursor
function cursor.at(text)
  local open, at = {}, 1
  while at <= #text do
    local c = text:sub(at, at)
    local long, is_long = after_long(text, at)
    if text:find("^%-%-", at) then
      local past, is_block = after_long(text, at + 2)
      if not is_block then past = text:find("\n", at, true) end
      if not past then return { comment = true, text = "", open = {} } end
      at = past
    elseif is_long then
      if not long then
        return { quote = "[[", text = text:sub(at + 2), open = described(text, with_bare_call(text, open, at)),
          comment = false }
      end
      at = long
    elseif c == '"' or c == "'" then
      local past = after_string(text, at)
      if not past then
        return { quote = c, text = text:sub(at + 1), open = described(text, with_bare_call(text, open, at)),
          comment = false }
      end
      at = past
    else
      if c:find "[%[({%])}]" then step_bracket(open, c, at) end
      at = at + 1
    end
  end
  return { text = expression_before(text, #text + 1), open = described(text, open), comment = false }
end

return cursor
