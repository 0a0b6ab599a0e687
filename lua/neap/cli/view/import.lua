--- What `neap import` has made of a guide.
local view = {}

local function add_new(lines, found, page)
  lines[#lines + 1] = ("%s: %s, %s, %s"):format(page:clean(found.path), page.count(found.phases, "heading"),
    page.count(found.steps, "manual step"), page.count(found.remarks, "remark"))
  lines[#lines + 1] = ("%s of what neap could do itself stand below the steps, as comments"):format(
    page.count(found.forms, "form"))
  if found.environment then lines[#lines + 1] = page:clean(found.environment) .. ": an environment for checklists" end
end

local function add_update(lines, found, page)
  lines[#lines + 1] = ("%s: %s moved, %d changed, %d gone, %d new"):format(page:clean(found.path),
    page.count(found.moved, "reference"), found.changed, found.gone, found.added)
  if found.changed + found.gone + found.added > 0 then
    lines[#lines + 1] = page:paint("yellow", "Look for TODO: what changed in the guide is marked there")
  end
end

--- @param found table  of import.run
--- @param page neap.page
--- @return string
function view.text(found, page)
  local lines = {}
  if found.updated then add_update(lines, found, page) else add_new(lines, found, page) end
  lines[#lines + 1] = page:paint(found.missing == 0 and "green" or "bold",
    ("%s, %d missing"):format(page.count(found.lines, "line"), found.missing))
  lines[#lines + 1] = page:paint("dim", page:clean(("Next: neap show %s --steps     neap run %s --env ENV"):format(
    found.name, found.name)))
  return table.concat(lines, "\n")
end

return view
