--- The manual's blocks of code, README.md's among them.
local fs   = require "native.fs"
local tree = require "tests.tree"

local manual = {}

--- @class manual.block
--- @field chapter string   "sql", "README"
--- @field place string     "lua/neap/manual/sql.md:37"
--- @field line integer
--- @field language string  "" where the fence names none
--- @field text string

--- The files it is made of.
--- @return string[]
function manual.paths()
  local found = tree.files("lua/neap/manual", "%.md$")
  found[#found + 1] = "README.md"
  return found
end

--- All blocks, in their order.
--- @return manual.block[]
function manual.blocks()
  local blocks = {}
  for _, path in ipairs(manual.paths()) do
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

--- What stands between backquotes in the text itself: calls see(place, text).
--- @param see fun(place: string, text: string)
function manual.each_inline(see)
  for _, path in ipairs(manual.paths()) do
    local text = ("\n" .. table.concat(tree.lines(path), "\n")):gsub("\n```.-\n```", "")
    for inline in text:gmatch "`([^`]+)`" do see(path, (inline:gsub("%s+", " "))) end
  end
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

--- Writes a file of a repository, and the folders it lies in.
--- @param root string
--- @param path string
--- @param text string
function manual.write(root, path, text)
  fs.mkdir((root .. "/" .. path):match "^(.*)/", "0755")
  fs.write(root .. "/" .. path, text, { mode = "0644" })
end

--- Writes shop/lab, the environment of an example: what its chapter says up to there extends the chapter on environments.
--- @param root string
--- @param example manual.block
--- @param real? string  extends all of that
function manual.write_environments(root, example, real)
  local texts = {}
  for _, block in ipairs(manual.of("environments", "yaml")) do texts[#texts + 1] = block.text end
  for _, block in ipairs(manual.of(example.chapter, "yaml")) do
    if block.line <= example.line then texts[#texts + 1] = block.text end
  end
  texts[#texts + 1] = real
  manual.write(root, "procedures/shop/environments/base.yml", "")
  local last = "base.yml"
  for i, text in ipairs(texts) do
    local name = i == #texts and "lab.yml" or ("layer%d.yml"):format(i)
    text = text:gsub("extends: [^\n]*\n", "")
    manual.write(root, "procedures/shop/environments/" .. name, ("extends: %s\n%s"):format(last, text))
    last = name
  end
end

return manual
