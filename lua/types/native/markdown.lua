--- @meta native.markdown

--- The blocks of a CommonMark text, with the lines that they stand on.
--- @class native.markdown
local markdown = {}

--- @class native.markdown.block
--- @field type "heading"|"paragraph"|"list"|"item"|"code"|"quote"|"rule"|"html"
--- @field first integer  line, from 1 on
--- @field last integer  of a list or item blank lines behind it may be counted in
--- @field level? integer  of a heading
--- @field ordered? boolean  of a list
--- @field info? string  of code: what stands behind its fence
--- @field text? string  of code as it is; of headings and paragraphs without marks, in one line
--- @field [integer] native.markdown.block

--- Raises `protocol` where blocks lie deeper than a hundred in one another.
--- @param text string
--- @return native.markdown.block[]
function markdown.blocks(text) end

return markdown
