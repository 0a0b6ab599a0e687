--- Guides that are edited at random: a procedure that loses no line of the first loses none of the next.
local crypto    = require "native.crypto"
local guide     = require "neap.engine.guide"
local outline   = require "neap.import.outline"
local procedure = require "neap.engine.procedure"
local update    = require "neap.import.update"
local write     = require "neap.import.write"

local PATH, ROUNDS = "procedures/a/b.lua", 60

--- Numbers that are the same each time.
local function dice(seed)
  return function(sides)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % sides + 1
  end
end

local FORMS = { "", "", "## Part %d", "Do the thing %d.", "- item %d", "- [ ] task %d", "  - [ ] inner %d",
                "1. first %d", "    a. deep %d", "> said %d", "```sh\ngit pull %d\n```", "| a %d | b |\n| --- | --- |" }

local function made(roll)
  local form = FORMS[roll(#FORMS)]
  return form:find "%%d" and form:format(roll(10000)) or form
end

local function edited(pieces, roll)
  local list = table.move(pieces, 1, #pieces, 1, {})
  for _ = 1, roll(6) do
    local at = roll(#list)
    local what = roll(3)
    if what == 1 then table.remove(list, at) end
    if what == 2 then table.insert(list, at, made(roll)) end
    if what == 3 then list[at] = made(roll) end
  end
  return list
end

local function text_of(pieces) return table.concat(pieces, "\n") .. "\nThe end.\n" end

local function imported(text)
  local known = { title = "G", file = "g.md", sha256 = crypto.sha256(text) }
  return write.procedure(outline.of(text), outline.lines(text), known)
end

--- Lines of the guide that the procedure has no step for.
local function missing(code, text)
  local loaded = procedure.load { files = { [PATH] = code }, path = PATH, arguments = {}, showing = true }
  local found = guide.coverage(loaded, guide.of(loaded, text, ""), text)
  return found.same and found.gaps or error("it names another text", 0)
end

describe("a guide that is edited", function()
  it("is merged into the procedure again and again, and no line is lost", function()
    for seed = 1, ROUNDS do
      local roll, pieces = dice(seed), {}
      for i = 1, 30 do pieces[i] = made(roll) end
      local code = imported(text_of(pieces))
      equal({ seed, missing(code, text_of(pieces)) }, { seed, {} })
      for _ = 1, 3 do
        pieces = edited(pieces, roll)
        code = update.merge(code, text_of(pieces)).text
        equal({ seed, missing(code, text_of(pieces)) }, { seed, {} })
      end
    end
  end)
end)
