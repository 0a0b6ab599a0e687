--- Differences: taken to the first text, they give the second. In: two texts, parted by NUL.
local diff = require "native.diff"

local function lines_of(text)
  local lines = {}
  for line, ending in text:gmatch "([^\n]*)(\n?)" do
    if line ~= "" or ending ~= "" then lines[#lines + 1] = line .. ending end
  end
  return lines
end

local function patched(a, hunks)
  local old, out, at = lines_of(a), {}, 1
  for _, hunk in ipairs(hunks) do
    local first = hunk.a_count > 0 and hunk.a_start or hunk.a_start + 1
    table.move(old, at, first - 1, #out + 1, out)
    at = first
    for _, line in ipairs(hunk.lines) do
      local text = line[2] .. (line.no_newline and "" or "\n")
      if line[1] ~= "+" then
        equal(text, old[at], "a line that is to be there")
        at = at + 1
      end
      if line[1] ~= "-" then out[#out + 1] = text end
    end
  end
  table.move(old, at, #old, #out + 1, out)
  return table.concat(out)
end

return {
  run = function(data)
    local a, b = parts(data, 2)
    for context = 0, 3, 3 do
      equal(patched(a, must(diff.lines, a, b, { context = context })), b, "the second text")
    end
    equal(diff.unified(a, b) == "", a == b, "a diff of the same")
  end,
}
