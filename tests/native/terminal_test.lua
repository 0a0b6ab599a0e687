local terminal = require "native.terminal"

--- The binary that runs this test.
local function program()
  local out <close> = io.popen "readlink /proc/$PPID/exe"
  return out:read "l"
end

describe("terminal.clean", function()
  it("leaves ordinary text alone", function()
    equal(terminal.clean "nginx: ok, 4 µs, 日本"  , "nginx: ok, 4 µs, 日本")
    equal(terminal.clean "", "")
  end)

  it("shows what would steer a terminal", function()
    equal(terminal.clean "\27[2J\27]0;title\7", "\\x1b[2J\\x1b]0;title\\x07")
    equal(terminal.clean "a\bb\127\0", "a\\x08b\\x7f\\x00")
    equal(terminal.clean "\u{9b}31m", "\\u{9b}31m")
    equal(terminal.clean "\155\49m", "\\x9b1m")
  end)

  it("shows what would turn or hide the text around it", function()
    equal(terminal.clean "a\u{202e}b\u{2066}c\u{200f}d", "a\\u{202e}b\\u{2066}c\\u{200f}d")
    equal(terminal.clean "\u{feff}\u{2028}\u{e0041}", "\\u{feff}\\u{2028}\\u{e0041}")
  end)

  it("keeps line ends and tabs where a text has lines, and only there", function()
    equal(terminal.clean("a\n\tb\r\n", { newline = true }), "a\n\tb\\r\n")
    equal(terminal.clean("a\n\tb", {}), "a\\n\\tb")
  end)

  it("shows bytes that are not UTF-8, overlong forms and halves of pairs among them", function()
    equal(terminal.clean "caf\233", "caf\\xe9")
    equal(terminal.clean "\xc0\xaf", "\\xc0\\xaf")
    equal(terminal.clean "\xed\xa0\x80", "\\xed\\xa0\\x80")
    equal(terminal.clean "x\xe2\x82", "x\\xe2\\x82")
  end)

  it("leaves only ASCII for a terminal that knows no other", function()
    equal(terminal.clean("Zürich\27", { ascii = true }), "Z\\u{fc}rich\\x1b")
  end)

  it("lets no control byte through, whatever the bytes", function()
    local seed = 20261121
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, 40 do
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        bytes[i] = string.char(seed >> 16 & 255)
      end
      local text = terminal.clean(table.concat(bytes))
      truthy(utf8.len(text))
      truthy(not text:find "%c")
      truthy(not text:find "\u{c2}[\x80-\x9f]")
    end
  end)

  it("refuses an option it does not know", function()
    matches(raises(terminal.clean, "x", { newlines = true }), "newlines")
  end)
end)

describe("terminal.width", function()
  it("counts columns, not bytes", function()
    equal(terminal.width "abc", 3)
    equal(terminal.width "µ", 1)
    equal(terminal.width "日本", 4)
    equal(terminal.width "e\u{301}", 1)
    equal(terminal.width "", 0)
  end)

  it("takes a tab to the next eighth column", function()
    equal(terminal.width "\tx", 9)
    equal(terminal.width "abc\tx", 9)
  end)
end)

describe("terminal.write", function()
  it("writes a text longer than a pipe holds", function()
    local folder = scratch()
    local text = ("0123456789abcdef\n"):rep(20000)
    local script = folder .. "/write.lua"
    local file <close> = io.open(script, "w")
    file:write [[
      local terminal = require "native.terminal"
      describe("x", function()
        it("y", function()
          assert(terminal.write(1, ("0123456789abcdef\n"):rep(20000)))
        end)
      end)
    ]]
    file:close()
    local out <close> = io.popen(("%s test %s | (sleep 0.1; head -c %d)"):format(program(), script, #text))
    truthy(out:read "a" == text)
  end)

  it("says when nobody reads any more", function()
    local folder = scratch()
    local script = folder .. "/write.lua"
    local file <close> = io.open(script, "w")
    file:write(([[
      local terminal = require "native.terminal"
      describe("x", function()
        it("y", function()
          require "native.task".sleep(0.05)
          local whole = terminal.write(1, ("x"):rep(1000000))
          local file <close> = io.open(%q, "w")
          file:write(tostring(whole))
        end)
      end)
    ]]):format(folder .. "/result"))
    file:close()
    os.execute(("%s test %s | true"):format(program(), script))
    local result <close> = io.open(folder .. "/result")
    equal(result:read "a", "false")
  end)
end)
