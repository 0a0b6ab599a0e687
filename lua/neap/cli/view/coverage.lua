--- The text of `neap coverage`: what of the guide has no step, in the guide's own lines.
local view = {}

local OTHER_TEXT = "Lines may have moved: what follows compares numbers alone. Find what changed in the guide, bring "
  .. "the steps and their `from` up to date, then write this file's digest into the procedure's `guide`."

local function range_text(range)
  if range.first == range.last then return "L" .. range.first end
  return ("L%d-L%d"):format(range.first, range.last)
end

local function add_other_text(lines, model, page)
  if model.same then return end
  lines[#lines + 1] = page:paint("alarm", "This is not the text that the procedure was written from.")
  lines[#lines + 1] = "  the procedure names  " .. model.guide.sha256
  lines[#lines + 1] = "  this file is         " .. model.sha256
  page:add_paragraph(lines, OTHER_TEXT)
  lines[#lines + 1] = ""
end

local function add_gaps(lines, model, page)
  for _, gap in ipairs(model.gaps) do
    lines[#lines + 1] = page:paint("red", "missing  ") .. range_text(gap)
    local width = #tostring(gap.last)
    for i, text in ipairs(gap.text) do
      local number = page:right(tostring(gap.first + i - 1), width)
      lines[#lines + 1] = ("    %s  %s"):format(page:paint("dim", number), page:clean(text)):gsub("%s+$", "")
    end
  end
end

local function quoted(page, texts)
  local list = {}
  for i, text in ipairs(texts) do list[i] = ("%q"):format(page:clean(text)) end
  return page.series(list)
end

local function add_overlaps(lines, model, page)
  for _, range in ipairs(model.overlaps) do
    lines[#lines + 1] = page:paint("yellow", "overlap  ") .. range_text(range) .. "  " .. quoted(page, range.by)
  end
end

local function add_beyond(lines, model, page)
  for _, one in ipairs(model.beyond) do
    lines[#lines + 1] = ("%s%s  %s: %q names lines that the guide does not have"):format(
      page:paint("red", "beyond   "), range_text(one), page:clean(one.where), page:clean(one.by))
  end
end

local function add_unnamed(lines, model, page)
  for _, one in ipairs(model.unnamed) do
    lines[#lines + 1] = ("%s%s: %q"):format(page:paint("dim", "no line  "), page:clean(one.where), page:clean(one.by))
  end
end

local function add_outside(lines, model, page)
  local list = {}
  for i, range in ipairs(model.outside) do list[i] = range_text(range) end
  if #list == 0 then return end
  lines[#lines + 1] = page:paint("dim", "outside  ") .. page.series(list)
    .. ": left to other procedures by the `from` of its guide"
end

--- @param model neap.coverage
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = { ("%s   %s"):format(page:paint("bold", page:clean(model.procedure)), page:clean(model.guide.title)),
                  page:paint("dim", page:clean(model.file)), "" }
  add_other_text(lines, model, page)
  local before = #lines
  add_gaps(lines, model, page)
  add_beyond(lines, model, page)
  add_overlaps(lines, model, page)
  add_unnamed(lines, model, page)
  add_outside(lines, model, page)
  if #lines > before then lines[#lines + 1] = "" end
  lines[#lines + 1] = page:paint(model.good and "green" or "bold",
    ("%s, %d missing"):format(page.count(model.lines, "line"), model.missing))
  return table.concat(lines, "\n")
end

return view
