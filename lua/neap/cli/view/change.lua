--- How one change to one target is shown: a line with its sign, what it does to the text below it, and at the right
--- edge what a rollback would do with it.
local diff = require "native.diff"

local change = {}

local COLOURS = { ["+"] = "green", ["~"] = "yellow", ["-"] = "red", [">"] = "cyan", ["="] = "dim", ["?"] = "dim" }
local FOLD_AFTER = 40 -- lines of a diff that are shown without --full

--- What a rollback does, at the right edge.
local function undo_mark(effect, page)
  if effect.undo == "NO UNDO" then return page:paint("alarm", "NO UNDO") end
  return page:paint("dim", effect.undo or "")
end

local function one_line(text) return text == nil or not text:find "\n" end

--- Both states are single words, numbers or little tables: they fit into the line itself.
local function inline_states(effect, page)
  local before, after = effect.before_text, effect.after_text
  if before == nil and after == nil then return nil end
  if not one_line(before) or not one_line(after) then return nil end
  local text = page:clean(before or after)
  if before and after then text = ("%s -> %s"):format(text, page:clean(after)) end
  return page:columns(text) <= page.width // 2 and text or nil
end

local MARKS = { [" "] = nil, ["-"] = "red", ["+"] = "green" }

local function paint_line(mark, text, page)
  local line = mark .. text
  return MARKS[mark] and page:paint(MARKS[mark], line) or line
end

--- The lines of a difference, as `diff -u` would print them.
--- @param before string
--- @param after string
--- @param page neap.page
--- @return string[]
function change.diff_lines(before, after, page)
  local lines = {}
  for _, hunk in ipairs(diff.lines(before, after, { context = 3 })) do
    lines[#lines + 1] = page:paint("cyan", ("@@ -%d,%d +%d,%d @@"):format(hunk.a_start, hunk.a_count, hunk.b_start,
      hunk.b_count))
    for _, line in ipairs(hunk.lines) do
      for _, clean in ipairs(page:lines(line[2])) do lines[#lines + 1] = paint_line(line[1], clean, page) end
      if line.no_newline then lines[#lines + 1] = "\\ no line end at the end" end
    end
  end
  return lines
end

local function fold(lines, full)
  if full or #lines <= FOLD_AFTER then return lines end
  local kept = table.move(lines, 1, FOLD_AFTER - 2, 1, {})
  kept[#kept + 1] = ("... %d more lines (--full)"):format(#lines - #kept)
  return kept
end

--- States of one line that do not fit into the line itself, one below the other.
local function state_lines(before, after, page)
  local lines = {}
  if before then lines[#lines + 1] = paint_line("-", " " .. page:clean(before), page) end
  if after then lines[#lines + 1] = paint_line("+", " " .. page:clean(after), page) end
  return lines
end

--- What an action says in more than one line follows below.
local function more_of(effect, page)
  local more = effect.says and effect.says:match "\n(.*)$"
  return more and page:lines(more) or {}
end

local function body(effect, page)
  local before, after = effect.before_text, effect.after_text
  if effect.sign == "=" or inline_states(effect, page) then return {} end
  if before == nil and after == nil then return more_of(effect, page) end
  if one_line(before) and one_line(after) then return state_lines(before, after, page) end
  return change.diff_lines(before or "", after or "", page)
end

local function remarks(effect, page)
  local lines = {}
  if effect.certainty == "conditional" then lines[#lines + 1] = "? as far as is known now" end
  if effect.certainty == "opaque" then lines[#lines + 1] = "opaque: the plan cannot tell what it changes" end
  if effect.why then lines[#lines + 1] = ("why: %s"):format(page:clean(effect.why)) end
  return lines
end

--- @param effect { kind: string, sign: string, show: string, before_text?: string, after_text?: string, says?: string, undo?: string, why?: string, certainty?: string }
--- @param page neap.page
--- @param options { full?: boolean, indent?: integer }
--- @return string[] lines
function change.lines(effect, page, options)
  local margin = (" "):rep(options.indent or 0)
  local what = page:clean((effect.says or effect.kind):match "[^\n]*")
  local text = ("%s %s  %s"):format(effect.sign, page:clean(effect.show), page:paint("dim", what))
  local states = inline_states(effect, page)
  if states then text = text .. "  " .. states end
  local head = margin .. page:paint(COLOURS[effect.sign] or "bold", text:sub(1, 1)) .. text:sub(2)
  local lines = { page:edges(head, undo_mark(effect, page)) }
  for _, line in ipairs(remarks(effect, page)) do lines[#lines + 1] = margin .. "    " .. page:paint("dim", line) end
  for _, line in ipairs(fold(body(effect, page), options.full)) do lines[#lines + 1] = margin .. "    " .. line end
  return lines
end

return change
