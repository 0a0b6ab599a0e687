--- What foreign bytes become before a person sees them: text that only stands there, in the room that it is given.
local page     = require "neap.cli.view.page"
local terminal = require "native.terminal"

local TURNING = "[\u{202a}-\u{202e}\u{2066}-\u{2069}\u{200e}\u{200f}\u{061c}]"

local function check_clean(text, allowed, ascii)
  truthy(utf8.len(text), "it is not UTF-8")
  for _, point in utf8.codes(text) do
    local control = point < 32 or point >= 127 and point < 160
    truthy(not control or allowed:find(utf8.char(point), 1, true), ("a control character, %x"):format(point))
    truthy(not ascii or point < 127, "it is not ASCII")
    truthy(point < 128 or not TURNING:find(utf8.char(point), 1, true), "it turns the direction of writing")
  end
end

local function check_page(data, utf8_page)
  local on = page.new { width = 40, utf8 = utf8_page }
  local text = on:clean(data)
  check_clean(text, "", not utf8_page)
  for _, line in ipairs(on:lines(data)) do check_clean(line, "\t", not utf8_page) end
  for columns = 4, 24, 10 do
    truthy(terminal.width(on:cut(text, columns)) <= columns, "a cut text is too wide")
  end
  local kept = table.concat(on:wrap(text, 20, 2), " "):gsub("%s+", " ")
  equal(kept, (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")), "words of a text that is wrapped")
end

return {
  run = function(data)
    for _, ascii in ipairs { false, true } do
      local text = terminal.clean(data, { newline = true, ascii = ascii })
      check_clean(text, "\n\t", ascii)
      equal(terminal.clean(text, { newline = true, ascii = ascii }), text, "cleaned twice")
      check_page(data, not ascii)
    end
  end,
}
