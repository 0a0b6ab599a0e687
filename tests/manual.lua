--- The manual's blocks of code, README.md's among them.
local tree = require "tests.tree"

local manual = {}

--- @class manual.block
--- @field chapter string   "sql", "README"
--- @field place string     "lua/neap/manual/sql.md:37"
--- @field line integer
--- @field language string  "" where the fence names none
--- @field text string

local function paths()
  local found = tree.files("lua/neap/manual", "%.md$")
  found[#found + 1] = "README.md"
  return found
end

--- All blocks, in their order.
--- @return manual.block[]
function manual.blocks()
  local blocks = {}
  for _, path in ipairs(paths()) do
    local language, block, from
    for number, line in ipairs(tree.lines(path)) do
      local fence = line:match "^```(.*)$"
      if fence and not block then
        language, block, from = fence, {}, number
      elseif fence then
        blocks[#blocks + 1] = { chapter = path:match "([%w-]+)%.md$", place = ("%s:%d"):format(path, from),
          line = from, language = language, text = table.concat(block, "\n") .. "\n" }
        block = nil
      elseif block then
        block[#block + 1] = line
      end
    end
  end
  return blocks
end

--- The blocks of a chapter in a language.
--- @param chapter string
--- @param language string
--- @return manual.block[]
function manual.of(chapter, language)
  local found = {}
  for _, block in ipairs(manual.blocks()) do
    if block.chapter == chapter and block.language == language then found[#found + 1] = block end
  end
  return found
end

return manual
