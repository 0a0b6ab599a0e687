local page = require "neap.cli.view.page"

describe("a page", function()
  local narrow, plain = page.new { width = 40, utf8 = true }, page.new { width = 40 }

  it("cuts what is too wide and shows that it did", function()
    equal(narrow:cut("abcdef", 6), "abcdef")
    equal(narrow:cut("abcdefg", 6), "abcde…")
    equal(plain:cut("abcdefg", 6), "abc...")
    equal(narrow:cut("日本語日本", 7), "日本語…")
  end)

  it("wraps between words, further lines indented", function()
    equal(narrow:wrap("one two three four", 9, 2), { "one two", "  three", "  four" })
    equal(narrow:wrap("", 9), {})
  end)

  it("pads by columns, colours not counted", function()
    equal(narrow:left("日本", 6), "日本  ")
    equal(narrow:right("\27[31mab\27[0m", 4), "  \27[31mab\27[0m")
    equal(#narrow:edges("left", "right"), 40)
  end)

  it("sets two texts that do not fit a line below each other, others no farther apart than an eye sees", function()
    equal(narrow:edges(("a"):rep(36), "undo"), ("a"):rep(36) .. "\n" .. (" "):rep(36) .. "undo")
    equal(#page.new { width = 200 }:edges("left", "right"), 120)
  end)

  it("breaks a line between words on a terminal, its own spaces kept, and leaves it whole for a program", function()
    local long = "02:00:00   ~ web1 /etc/web1.conf  shop.file  FAILED"
    equal(narrow:fit(long, 4), long)
    local terminal = page.new { width = 40, wraps = true }
    equal(terminal:fit(long, 4), "02:00:00   ~ web1 /etc/web1.conf\n    shop.file  FAILED")
    equal(terminal:fit("short  line", 4), "short  line")
  end)

  it("shows the last ten lines of what a target said, and how many were before", function()
    local lines = {}
    for i = 1, 300 do lines[i] = ("line %d"):format(i) end
    local last = narrow:last_lines(table.concat(lines, "\n") .. "\n")
    equal({ #last, last[1], last[2], last[11] }, { 11, "(290 lines before these)", "line 291", "line 300" })
    equal(#narrow:last_lines(table.concat(lines, "\n", 1, 11)), 11)
    equal(narrow:last_lines(nil), {})
  end)

  it("colours only where colour is wanted", function()
    equal(narrow:paint("red", "x"), "x")
    equal(page.new { colour = true }:paint("red", "x"), "\27[31mx\27[0m")
  end)

  it("lets no foreign byte through", function()
    equal(narrow:clean "a\27[2J\nb", "a\\x1b[2J\\nb")
    equal(plain:clean "Zürich", "Z\\u{fc}rich")
    equal(narrow:lines "a\27\nb\n", { "a\\x1b", "b" })
  end)

  it("sets tables in columns", function()
    equal(narrow:table({ "A", ">N", "LAST" }, { { "x", "1", "some text" }, { "yy", "22", "" } }),
      { "A    N  LAST", "x    1  some text", "yy  22" })
  end)

  it("writes times as people say them", function()
    equal(page.duration(0.44), "0.4s")
    equal(page.duration(12.2), "12s")
    equal(page.duration(161), "2m41s")
    equal(page.duration(4320), "1h12m")
    equal(page.duration(100800), "1d4h")
  end)

  it("counts and lists", function()
    equal(page.count(1, "step"), "1 step")
    equal(page.count(0, "step"), "0 steps")
    equal(page.series { "a", "b", "c" }, "a, b and c")
  end)
end)
