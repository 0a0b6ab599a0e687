--- The text of `neap new`: what was written, and what to type next.
local view = {}

--- @param model { root: string, files: string[], name: string }
--- @param page neap.page
--- @return string
function view.text(model, page)
  local lines = { ("in %s"):format(page:clean(model.root)) }
  for _, path in ipairs(model.files) do lines[#lines + 1] = page:paint("green", "  + " .. page:clean(path)) end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Next"
  local next_ones = {
    { "neap check " .. model.name, "is it sound?" },
    { "neap test", "its tests, in memory" },
    { ("neap plan %s --env lab"):format(model.name), "what a run would change" },
    { ("neap run %s --env lab"):format(model.name), "do it" },
    { "neap types", "what editors have to know" },
  }
  local widest = 0
  for _, one in ipairs(next_ones) do widest = math.max(widest, page:columns(one[1])) end
  for _, one in ipairs(next_ones) do
    lines[#lines + 1] = ("  %s   %s"):format(page:left(page:clean(one[1]), widest), page:paint("dim", one[2]))
  end
  return table.concat(lines, "\n")
end

return view
