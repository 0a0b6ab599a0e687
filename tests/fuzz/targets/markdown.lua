--- Import of guides: each line that is not blank has its step or remark in the procedure, which loads, and that stays so
--- when a newer text is merged. In: a guide, and its newer text.
local crypto    = require "native.crypto"
local guide     = require "neap.engine.guide"
local outline   = require "neap.import.outline"
local procedure = require "neap.engine.procedure"
local update    = require "neap.import.update"
local write     = require "neap.import.write"

local PATH = "procedures/a/b.lua"

local function imported(text)
  return write.procedure(outline.of(text), outline.lines(text),
    { title = "G", file = "g.md", sha256 = crypto.sha256(text) })
end

local function check(code, text)
  local loaded = procedure.load { files = { [PATH] = code }, path = PATH, arguments = {}, showing = true }
  local found = guide.coverage(loaded, guide.of(loaded, text, ""), text)
  truthy(found.same, "the procedure names another text")
  equal(found.gaps, {}, "lines without a step")
end

return {
  parsers = { "neap/import/outline.lua", "neap/import/write.lua", "neap/import/recognise.lua",
    "neap/import/update.lua" },
  run = function(data)
    local first, newer = parts(data, 2)
    local code = imported(first)
    must(check, code, first)
    local merged = update.merge(code, newer)
    if merged then must(check, merged.text, newer) end
  end,
}
