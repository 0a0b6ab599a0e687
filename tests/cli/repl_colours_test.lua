--- Lua as tokens, and the colours of what is typed.
local colours = require "neap.cli.repl.colours"
local page    = require "neap.cli.view.page"
local task    = require "native.task"
local tokens  = require "neap.cli.repl.tokens"

local WORDS = { file = true, postgres = true, print = true }

local function tokens_of(text)
  local list = {}
  for i, token in ipairs(tokens.of(text)) do
    list[i] = (token.open and "open " or "") .. token.kind .. " " .. text:sub(token.from, token.to)
  end
  return list
end

--- Each span as "colour: text".
local function spans_of(line, before)
  local list = {}
  for i, span in ipairs(colours.spans(line, WORDS, before)) do
    list[i] = span.colour .. ": " .. line:sub(span.from, span.to)
  end
  return list
end

describe("Lua as tokens", function()
  it("is cut into names, keywords, numbers, texts, comments and signs", function()
    for text, expected in pairs {
      ["local x = 1"] = { "keyword local", "name x", "sign =", "number 1" },
      ["0x1p-3+.5e-1 ..'a'"] = { "number 0x1p-3", "sign +", "number .5e-1", "sign ..", "string 'a'" },
      ["f'a\\'b'[[c]d]]"] = { "name f", "string 'a\\'b'", "string [[c]d]]" },
      ["a.b:c(...)"] = { "name a", "sign .", "name b", "sign :", "name c", "sign (", "sign ...", "sign )" },
      ["--[==[ x ]] ]==] y -- z\nend"] = { "comment --[==[ x ]] ]==]", "name y", "comment -- z", "keyword end" },
      ["a[b[1]]"] = { "name a", "sign [", "name b", "sign [", "number 1", "sign ]", "sign ]" },
      ["  "] = {},
    } do
      equal({ text, tokens_of(text) }, { text, expected })
    end
  end)

  it("says what is open at its end", function()
    for text, expected in pairs {
      ["'a\\"] = "open string 'a\\", ["x = [==[ a ]]"] = "open string [==[ a ]]", ["\"it's"] = "open string \"it's",
      ["--[[ a"] = "open comment --[[ a", ["-- a"] = "open comment -- a", ["[["] = "open string [[",
    } do
      local list = tokens_of(text)
      equal({ text, list[#list] }, { text, expected })
    end
  end)
end)

describe("the colours of a line", function()
  it("are those of keywords, texts, numbers, comments and words of neap", function()
    equal(spans_of "local n = file.read(env.new, '/etc/motd') -- 12", { "bold: local", "cyan: file",
      "green: '/etc/motd'", "dim: -- 12" })
    equal(spans_of "print(42)", { "cyan: print", "yellow: 42" })
  end)

  it("are no word's behind a dot or colon, and where the name is set", function()
    equal(spans_of "a.file, b:print()", {})
    equal(spans_of "file = 1", { "yellow: 1" })
    equal(spans_of "file == nil", { "cyan: file", "bold: nil" })
  end)

  it("show a text that does not end", function()
    equal(spans_of "file.read 'x", { "cyan: file", "red: '", "green: x" })
    equal(spans_of "'", { "red: '" })
    equal(spans_of "[[x", { "green: [[x" })
  end)

  it("are a command's, and those of the line that it plans", function()
    equal(spans_of ":write not 1 'file'", { "bold: :write" })
    equal(spans_of " :plan file.write('x', 1)", { "bold: :plan", "cyan: file", "green: 'x'", "yellow: 1" })
    equal(spans_of ":plan", { "bold: :plan" })
    equal(spans_of "?print", { "bold: ?" })
  end)

  it("go on with what an earlier line has opened", function()
    equal(spans_of("and 1]] and 2", "[[open"), { "green: and 1]]", "bold: and", "yellow: 2" })
    equal(spans_of(":x ]] 1", "--[["), { "dim: :x ]]", "yellow: 1" })
    equal(spans_of(":x(1)", ""), { "yellow: 1" })
  end)

  it("lie in the line, from the left to the right, whatever it holds", function()
    local pieces, seed = { "'", '"', "[[", "]]", "[=[", "--", "\n", "(", ":", "plan ", "?", ".", "\\", " ", "1e", "0x",
      "file", "\xff", "é", "local" }, 20261126
    for _ = 1, 2000 do
      local parts = {}
      for i = 1, 12 do
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        parts[i] = pieces[seed // 65536 % #pieces + 1]
      end
      local before, line = table.concat(parts, "", 1, 5), table.concat(parts, "", 6)
      for _, open in ipairs { false, "", before } do
        local at = 0
        for _, span in ipairs(colours.spans(line, WORDS, open or nil)) do
          local lies = span.from > at and span.to >= span.from and span.to <= #line
          if not lies then error(("%d to %d does not lie in %q behind %d"):format(span.from, span.to, line, at)) end
          at = span.to
        end
      end
    end
  end)
end)

describe("a line that is painted", function()
  local painter = colours.painter(page.new { colour = true }, { "file" })

  it("has each sequence between two marks, and every letter that it had", function()
    equal(painter "x = 1", "x = \1\27[33m\0011\1\27[0m\1")
    local line = "for i = 1, 3 do file.read(i, 'x\27[1m') end -- é"
    equal((painter(line):gsub("\1[^\1]*\1", "")), line)
  end)

  it("keeps bare what the editor shows below it", function()
    equal(painter "1\nbck:1", "\1\27[33m\0011\1\27[0m\1\nbck:1")
  end)

  it("knows what the lines before it have opened, as they come and from new ones", function()
    local in_string = "\1\27[32m\0011\1\27[0m\1"
    equal(painter("1", "x = [["), in_string)
    equal(painter("1", "x = [[\na"), in_string)
    equal(painter("1", "x = [[\na\n]]"), "\1\27[33m\0011\1\27[0m\1")
    equal(painter("1", "y = [["), in_string)
    equal(painter("1"), "\1\27[33m\0011\1\27[0m\1")
  end)

  it("is as it was without colour", function()
    equal(colours.painter(page.new { colour = false }, { "file" })("local file = 1"), "local file = 1")
  end)

  it("takes well under a millisecond for 200 columns", function()
    local line, best = ("file.read(x, 'a') -- [1"):rep(9):sub(1, 200), math.huge
    for _ = 1, 50 do
      local from = task.now()
      painter(line)
      best = math.min(best, task.now() - from)
    end
    if best >= 0.001 then error(("%.2f ms"):format(best * 1000)) end
  end)
end)
