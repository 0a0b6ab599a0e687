local markdown = require "native.markdown"

--- A block as "type first-last", with what it holds.
local function outline(blocks)
  local list = {}
  for i, block in ipairs(blocks) do
    list[i] = ("%s %d%s"):format(block.type, block.first, #block > 0 and " (" .. outline(block) .. ")" or "")
  end
  return table.concat(list, ", ")
end

describe("markdown.blocks", function()
  it("gives headings of both kinds, lists in lists, code of both kinds, with their lines", function()
    local text = table.concat({
      "Title", "=====", "", "- one", "  - [ ] two", "", "    ```sh", "    ls", "    ```", "1. three", "", "## Next `x`",
      "", "    indented", "", "> said", "", "***",
    }, "\n")
    equal(outline(markdown.blocks(text)), "heading 1, list 4 (item 4 (paragraph 4, list 5 (item 5 (paragraph 5, "
      .. "code 7)))), list 10 (item 10 (paragraph 10)), heading 12, code 14, quote 16 (paragraph 16), rule 18")
  end)

  it("tells what they say without their marks", function()
    local blocks = markdown.blocks "## A `b` *c*\n\nto\nbe <b>or</b> [not](x)\n\n```sql\nselect 1;\n```\n"
    equal({ blocks[1].level, blocks[1].text, blocks[2].text }, { 2, "A b c", "to be or not" })
    equal({ blocks[3].info, blocks[3].text, blocks[3].first, blocks[3].last }, { "sql", "select 1;\n", 6, 8 })
  end)

  it("refuses what lies too deep, and takes in any bytes", function()
    equal(raises(markdown.blocks, (">"):rep(5000) .. "x").kind, "protocol")
    equal(#markdown.blocks "", 0)
    equal(type(markdown.blocks "\0\255\n# \254\n"), "table")
  end)
end)
