--- The colours of a line that is typed.
local tokens = require "neap.cli.repl.tokens"

local colours = {}

local COLOURS = { keyword = "bold", string = "green", number = "yellow", comment = "dim", word = "cyan",
                  command = "bold", unfinished = "red" }

--- @class neap.span
--- @field from integer
--- @field to integer
--- @field colour string  as neap.page has them

-- ---- spans ----

local function add(spans, from, to, role) spans[#spans + 1] = { from = from, to = to, colour = COLOURS[role] } end

--- Whether a name stands for itself: not behind a dot or colon, and not set.
local function is_word(text, token, before, words)
  local sign = before and text:sub(before.from, before.to)
  local is_member = sign == "." or sign == ":"
  return words[text:sub(token.from, token.to)] and not is_member and not text:find("^%s*=[^=]", token.to + 1)
end

--- The quote of a text that does not end shows that it does not.
local function add_string(spans, token)
  local quote = token.open and token.quote ~= "[[" and 1 or 0
  if quote == 1 then add(spans, token.from, token.from, "unfinished") end
  if token.from + quote <= token.to then add(spans, token.from + quote, token.to, "string") end
end

local function of_lua(text, words)
  local spans, list = {}, tokens.of(text)
  for i, token in ipairs(list) do
    if token.kind == "string" then
      add_string(spans, token)
    elseif token.kind == "name" then
      if is_word(text, token, list[i - 1], words) then add(spans, token.from, token.to, "word") end
    elseif token.kind ~= "sign" then
      add(spans, token.from, token.to, token.kind)
    end
  end
  return spans
end

--- What of the spans lies behind so many bytes.
local function behind(spans, skipped)
  local kept = {}
  for _, span in ipairs(spans) do
    if span.to > skipped then
      kept[#kept + 1] = { from = math.max(span.from - skipped, 1), to = span.to - skipped, colour = span.colour }
    end
  end
  return kept
end

--- Of a command: its name, and the line that `:plan` is given.
local function of_command(line, words)
  local past, planned = line:match "^%s*:plan()%s+()"
  past = past or line:match "^%s*:%a*()" or line:match "^%s*%?()"
  local spans = {}
  add(spans, line:match "^%s*()", past - 1, "command")
  for _, span in ipairs(planned and of_lua(line:sub(planned), words) or {}) do
    spans[#spans + 1] = { from = span.from + planned - 1, to = span.to + planned - 1, colour = span.colour }
  end
  return spans
end

--- The colours of a line, from the left to the right; what none covers has none.
--- @param line string
--- @param words table<string, boolean>  names with a colour of their own
--- @param before? string  what the line goes on with: an earlier text or comment that is open; nil: it is the first
--- @return neap.span[]
function colours.spans(line, words, before)
  if not before and line:find "^%s*[:?]" then return of_command(line, words) end
  if not before or before == "" then return of_lua(line, words) end
  return behind(of_lua(before .. "\n" .. line, words), #before + 1)
end

-- ---- a line with its colours ----

--- The text or comment at its end that is open; "": none is.
local function open_end(text)
  local list = tokens.of(text)
  local last = list[#list]
  return last and last.open and text:sub(last.from) or ""
end

--- Paints lines; each line of a statement is looked at once, however many follow it.
--- @param page neap.page
--- @param names string[]  that have a colour of their own
--- @return fun(line: string, unfinished?: string): string  unfinished: earlier lines of the statement; each colour of the
---   painted line stands between two \1
function colours.painter(page, names)
  local words, seen, open = {}, "", ""
  for _, name in ipairs(names) do words[name] = true end

  local function open_before(unfinished)
    local goes_on = seen ~= "" and unfinished:sub(1, #seen + 1) == seen .. "\n"
    if unfinished ~= seen then open = open_end(goes_on and open .. unfinished:sub(#seen + 1) or unfinished) end
    seen = unfinished
    return open
  end

  return function(line, unfinished)
    local shown, rest = line:match "^([^\n]*)(.*)$" -- below it stands what the editor searches
    local parts, at = {}, 1
    for _, span in ipairs(colours.spans(shown, words, unfinished and open_before(unfinished))) do
      parts[#parts + 1] = shown:sub(at, span.from - 1)
      parts[#parts + 1] = page:paint(span.colour, shown:sub(span.from, span.to), "\1")
      at = span.to + 1
    end
    return table.concat(parts) .. shown:sub(at) .. rest
  end
end

return colours
