--- The text of `neap doctor`.
local view = {}

local function add_below(lines, page, text, width)
  for _, line in ipairs(page:lines(text)) do
    for _, piece in ipairs(page:wrap(line, page.width - width, 2)) do lines[#lines + 1] = (" "):rep(width) .. piece end
  end
end

--- @param model { findings: table[], good: integer, seconds: number }
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines, names = {}, 0
  for _, one in ipairs(model.findings) do names = math.max(names, page:columns(page:clean(one.name))) end
  local indent, area = 9 + names + 2 + 6, nil
  for _, one in ipairs(model.findings) do
    local head = page:left(one.area ~= area and one.area or "", 9) .. page:left(page:clean(one.name), names + 2)
    local verdict = one.ok and page:paint("green", "ok    ") or page:paint("alarm", "WRONG ")
    local pieces = page:wrap(page:clean(one.note), page.width - indent, 0)
    lines[#lines + 1] = head .. verdict .. (pieces[1] or "")
    for i = 2, #pieces do lines[#lines + 1] = (" "):rep(indent) .. pieces[i] end
    if one.output and one.output ~= "" then add_below(lines, page, "| " .. one.output:gsub("\n+$", ""), indent) end
    if one.hint then add_below(lines, page, one.hint, indent) end
    area = one.area
  end
  lines[#lines + 1] = ("%d of %d ok in %s"):format(model.good, #model.findings, page.duration(model.seconds))
  return table.concat(lines, "\n")
end

return view
