local process = require "native.process"
local shell   = require "neap.targets.shell"

local HOSTILE = {
  "", " ", "'", "''", "\"", "`id`", "$(id)", "$HOME", "a\nb", "a\n", "-n", "--", "\\", "\\n", "*", "~", "#x", "!!",
    "a=b", "é", "\255\1\127",
  "; exit 9", "&& id", "|", ">x", "'\"'\"'", "\r", "\t",
}

local function output(text) return process.run({ "/bin/sh", "-c", text }, { reads = true }).out end

describe("quoting for the shell", function()
  it("hands every byte on", function()
    for _, word in ipairs(HOSTILE) do
      equal(output("printf '<%s>' " .. shell.quote(word)), "<" .. word .. ">")
    end
  end)

  it("hands on every byte there is but NUL", function()
    local bytes = {}
    for byte = 1, 255 do bytes[byte] = string.char(byte) end
    local word = table.concat(bytes)
    equal(output("printf %s " .. shell.quote(word)), word)
  end)

  it("keeps an argument list a list", function()
    equal(output(shell.text { "printf", "<%s>", table.unpack(HOSTILE) }), "<" .. table.concat(HOSTILE, "><") .. ">")
  end)

  it("refuses NUL, which no argument can hold", function()
    matches(raises(shell.quote, "a\0b"), "NUL")
    matches(raises(shell.text, "echo a\0b"), "NUL")
  end)

  it("refuses a list without a program", function()
    matches(raises(shell.text, {}), "begins with a program")
    matches(raises(shell.text, { "-x" }), "no program's name")
    matches(raises(shell.text, { "" }), "no program's name")
  end)

  it("sets variables and the folder inside the text", function()
    equal(output(shell.text({ "sh", "-c", "pwd; printf %s \"$A\"" }, { cwd = "/usr", env = { A = "it's $(id)\n" } })),
      "/usr\nit's $(id)\n")
    matches(raises(shell.text, { "id" }, { env = { ["A;id"] = "1" } }), "variable's name")
  end)

  it("gives sudo the program itself where it can", function()
    equal(shell.text({ "nginx", "-s", "reload" }, { become = "root" }), "exec sudo -n -u root -- nginx -s reload")
    equal(shell.text("id; id", { become = "root" }), "exec sudo -n -u root -- sh -c 'id; id'")
  end)

  it("shows a command as one short line", function()
    equal(shell.line { "nginx", "-t" }, "nginx -t")
    equal(shell.line "  a\n  b\n", "a b")
    truthy(utf8.len(shell.line(("é"):rep(100))))
    truthy(#shell.line(("é"):rep(100)) <= 83)
  end)
end)
