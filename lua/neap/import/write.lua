--- A procedure of manual steps out of a guide's outline: a checklist that can be run as it is.
local crypto    = require "native.crypto"
local recognise = require "neap.import.recognise"

local write = {}

local LINE = 120
local MARK = "-- neap: lines of the guide:"

--- How a line of a guide is known in the procedure, which holds only these: blanks at its end do not count.
--- @param line string
--- @return string  "-" for a blank line
function write.line_digest(line)
  local text = line:gsub("%s+$", "")
  return text == "" and "-" or crypto.sha256(text):sub(1, 8)
end

--- The comment by which a newer text of the guide is compared, line by line, without the older one.
--- @param lines string[]
--- @return string
function write.digests(lines)
  local rows, row = {}, MARK
  for _, line in ipairs(lines) do
    local digest = write.line_digest(line)
    if #row + 1 + #digest > LINE then
      rows[#rows + 1] = row
      row = MARK
    end
    row = row .. " " .. digest
  end
  rows[#rows + 1] = row
  return table.concat(rows, "\n") .. "\n"
end

--- The digests that a procedure holds, and the procedure without them; nil where it holds none.
--- @param text string
--- @return string[]?
--- @return string rest
function write.read_digests(text)
  local found, rest = {}, {}
  for line in text:gmatch "([^\n]*)\n" do
    if line:sub(1, #MARK) == MARK then
      for digest in line:sub(#MARK + 1):gmatch "%S+" do found[#found + 1] = digest end
    else
      rest[#rest + 1] = line
    end
  end
  return #found > 0 and found or nil, table.concat(rest, "\n") .. "\n"
end

--- "L12" or "L12-L20".
--- @return string
function write.range(first, last) return first == last and "L" .. first or ("L%d-L%d"):format(first, last) end

local function quote(text) return '"' .. text:gsub("[\\\"]", "\\%0"):gsub("%c", " ") .. '"' end

--- Lines without the margin that they have in common.
local function flush_left(lines)
  local margin
  for _, line in ipairs(lines) do
    local blanks = line:find "%S" and #line:match "^ *"
    if blanks and (not margin or blanks < margin) then margin = blanks end
  end
  local list = {}
  for i, line in ipairs(lines) do list[i] = line:sub((margin or 0) + 1):gsub("%s+$", "") end
  return table.concat(list, "\n")
end

local function from_of(entry) return entry.from or write.range(entry.first, entry.last) end

local function commented(out, text)
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do out(("-- %s"):format(line):gsub("%s+$", "")) end
end

local function add_forms(out, entry)
  for _, form in ipairs(recognise.forms(entry)) do
    if form.word == "check" then
      out "-- TODO a check: it would stand in the step above"
      commented(out, form.code)
    else
      local from = from_of(entry)
      out(("-- TODO %s: neap can do it, in place of the step above"):format(form.what))
      commented(out, ("%s %s {\n  from = %q,\n  %s\n}"):format(form.word, quote(entry.title), from, form.code))
    end
  end
end

--- The declaration of one entry, with its forms.
--- @param entry neap.outline_entry
--- @return string
function write.entry(entry)
  local lines = {}
  local function out(line) lines[#lines + 1] = line end
  local from = from_of(entry)
  if entry.kind == "remark" then
    local text = entry.text:find "%S" and entry.text or entry.title
    out(("remark %s { from = %q }"):format(quote(text:gsub("%s+", " ")), from))
  else
    out(("manual %s {"):format(quote(entry.title)))
    out(("  from = %q,"):format(from))
    out(("  text = %s,"):format(recognise.quoted(flush_left(entry.lines))))
    out "}"
    add_forms(out, entry)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function add_placeholders(out, lines)
  local list = recognise.placeholders(lines)
  if #list == 0 then return end
  out "-- TODO what the guide leaves to be filled in could be parameters of the run"
  out "-- local arg = parameters {"
  for _, one in ipairs(list) do out(("--   %s = %s,"):format(one.name, quote(one.shown .. ", line " .. one.line))) end
  out "-- }\n"
end

--- Headings stand with the first thing below them; those with nothing below are remarks.
local function with_headings(entries)
  local list, pending = {}, {}
  local function let_go()
    for _, heading in ipairs(pending) do
      list[#list + 1] = { kind = "remark", text = heading.text, title = heading.title, first = heading.first,
        last = heading.last }
    end
    pending = {}
  end
  for _, entry in ipairs(entries) do
    if entry.kind == "phase" then
      pending[#pending + 1] = entry
    else
      if #pending > 0 then
        list[#list + 1] = { kind = "phase", title = pending[#pending].title }
        entry.first, pending = pending[1].first, {}
      end
      list[#list + 1] = entry
    end
  end
  let_go()
  return list
end

--- @param entries neap.outline_entry[]
--- @param lines string[]  of the guide
--- @param guide { title: string, file: string, sha256: string }
--- @return string procedure
function write.procedure(entries, lines, guide)
  local parts = {}
  local function out(text) parts[#parts + 1] = text end
  out(("-- %s."):format((guide.title:gsub("[%s.]+$", ""))))
  out "--\n-- Out of its guide by neap import: a checklist that can be run as it is. Forms of what neap could do itself"
  out "-- stand below the steps as comments.\n"
  out(("guide %s {\n  file   = %s,\n  sha256 = %q,\n}\n"):format(quote(guide.title), quote(guide.file), guide.sha256))
  add_placeholders(out, lines)
  for _, entry in ipairs(with_headings(entries)) do
    if entry.kind == "phase" then
      out(("phase %s\n"):format(quote(entry.title)))
    else
      out(write.entry(entry))
    end
  end
  out((write.digests(lines):gsub("\n$", "")))
  return table.concat(parts, "\n") .. "\n"
end

return write
