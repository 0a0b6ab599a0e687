--- One line of a text: it has it, or has it nowhere.
local line = {}

local function has(text, wanted) return ("\n" .. text .. "\n"):find("\n" .. wanted .. "\n", 1, true) ~= nil end

--- The text with this line: at its end, if it has it nowhere.
--- @param text string
--- @param wanted string  without a line end
--- @return string
function line.added(text, wanted)
  if has(text, wanted) then return text end
  local separate = (text == "" or text:sub(-1) == "\n") and "" or "\n"
  return text .. separate .. wanted .. "\n"
end

--- The text without each line that is this one.
--- @param text string
--- @param unwanted string  without a line end
--- @return string
function line.removed(text, unwanted)
  if not has(text, unwanted) then return text end
  local kept = {}
  for each, line_end in text:gmatch "([^\n]*)(\n?)" do
    if each .. line_end ~= "" and each ~= unwanted then kept[#kept + 1] = each .. line_end end
  end
  return table.concat(kept)
end

return line
