local diff = require "native.diff"
local fs   = require "native.fs"

local function text_of(line) return line[2] .. (line.no_newline and "" or "\n") end

--- What the hunks make of a; raises where they do not fit.
local function applied(a, hunks)
  local lines, out, at = {}, {}, 1
  for line in a:gmatch("[^\n]*\n?") do
    if line ~= "" then lines[#lines + 1] = line end
  end
  for _, hunk in ipairs(hunks) do
    local first = hunk.a_count == 0 and hunk.a_start + 1 or hunk.a_start
    local counts = { [" "] = 0, ["-"] = 0, ["+"] = 0 }
    while at < first do
      out[#out + 1], at = lines[at], at + 1
    end
    equal(hunk.b_count == 0 and hunk.b_start or hunk.b_start - 1, #out)
    for _, line in ipairs(hunk.lines) do
      counts[line[1]] = counts[line[1]] + 1
      if line[1] ~= "+" then
        equal(text_of(line), lines[at])
        at = at + 1
      end
      if line[1] ~= "-" then out[#out + 1] = text_of(line) end
    end
    equal({ hunk.a_count, hunk.b_count }, { counts[" "] + counts["-"], counts[" "] + counts["+"] })
  end
  for i = at, #lines do out[#out + 1] = lines[i] end
  return table.concat(out)
end

local function edits(hunks)
  local count = 0
  for _, hunk in ipairs(hunks) do
    for _, line in ipairs(hunk.lines) do count = count + (line[1] == " " and 0 or 1) end
  end
  return count
end

--- The fewest lines that can be deleted and inserted, by the table of longest common parts.
local function fewest(a, b)
  local row = {}
  for j = 0, #b do row[j] = 0 end
  for i = 1, #a do
    local corner = 0
    for j = 1, #b do
      local above = row[j]
      row[j] = a[i] == b[j] and corner + 1 or math.max(above, row[j - 1])
      corner = above
    end
  end
  return #a + #b - 2 * row[#b]
end

local function random_lines(count, kinds)
  local lines = {}
  for i = 1, count do lines[i] = "line " .. math.random(kinds) .. "\n" end
  return lines
end

--- Lines with some deleted, changed and inserted.
local function altered(lines, share)
  local out = {}
  for _, line in ipairs(lines) do
    local chance = math.random()
    if chance > share then out[#out + 1] = line end
    if chance < share / 2 then out[#out + 1] = "new " .. math.random(5) .. "\n" end
  end
  return out
end

--- Text of the lines, now and then without its last newline or with CRLF.
local function text(lines)
  local whole = table.concat(lines)
  if math.random(4) == 1 then whole = whole:gsub("\n$", "") end
  if math.random(6) == 1 then whole = whole:gsub("\n", "\r\n") end
  return whole
end

describe("diff.unified", function()
  it("reads as people know it", function()
    equal(diff.unified("a\nb\nc\n", "a\nB\nc\nd\n", { from = "old", to = "new" }),
      "--- old\n+++ new\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n")
    equal(diff.unified("a\n", "b\n"), "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n")
  end)

  it("is empty for the same text", function()
    for _, same in ipairs { "", "a", "a\n", "\n\n", "\0\xFF\n" } do
      equal(diff.unified(same, same), "")
      equal(diff.lines(same, same), {})
    end
  end)

  it("tells of a last line without a newline", function()
    local note = "\n\\ No newline at end of file\n"
    equal(diff.unified("a", "b"), "--- a\n+++ b\n@@ -1 +1 @@\n-a" .. note .. "+b" .. note)
    equal(diff.unified("a", "a\n"), "--- a\n+++ b\n@@ -1 +1 @@\n-a" .. note .. "+a\n")
    equal(diff.unified("x\na", "y\na"), "--- a\n+++ b\n@@ -1,2 +1,2 @@\n-x\n+y\n a" .. note)
  end)

  it("counts from nothing and to nothing", function()
    equal(diff.unified("", "a\nb\n"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a\n+b\n")
    equal(diff.unified("a\nb\n", ""), "--- a\n+++ b\n@@ -1,2 +0,0 @@\n-a\n-b\n")
    equal(diff.unified("a\nb\n", "a\nnew\nb\n", { context = 0 }), "--- a\n+++ b\n@@ -1,0 +2 @@\n+new\n")
  end)

  it("joins changes that are close and parts those that are not", function()
    local a, b = {}, {}
    for i = 1, 40 do a[i], b[i] = i .. "\n", i .. "\n" end
    b[5], b[12], b[30] = "x\n", "x\n", "x\n"
    a, b = table.concat(a), table.concat(b)
    local starts = {}
    for _, hunk in ipairs(diff.lines(a, b)) do starts[#starts + 1] = hunk.a_start .. "," .. hunk.a_count end
    equal(starts, { "2,14", "27,7" })
    equal(#diff.lines(a, b, { context = 2 }), 3)
    equal(#diff.lines(a, b, { context = 0 }), 3)
    equal(#diff.lines(a, b, { context = 100 }), 1)
    equal(#diff.lines(a, b, { context = 0 })[1].lines, 2)
  end)

  it("puts what was added below what it resembles", function()
    equal(diff.unified("f {\n}\n", "f {\n}\nf {\n}\n", { context = 0 }), "--- a\n+++ b\n@@ -2,0 +3,2 @@\n+f {\n+}\n")
  end)

  it("refuses names that would break out of their line, and options it does not know", function()
    for _, name in ipairs { "a\nb", "a\tb", 'a"b', "a\\b", "", "a\0b", "a\rb" } do
      matches(raises(diff.unified, "", "a", { from = name }), "a name with")
    end
    matches(raises(diff.unified, "", "", { name = "x" }), "no option is named 'name'")
    matches(raises(diff.lines, "", "", { from = "x" }), "no option is named 'from'")
    matches(raises(diff.lines, "", "", { context = -1 }), "context is a number of lines")
    matches(raises(diff.lines, "a"), "string expected")
  end)
end)

describe("diff.lines", function()
  it("gives hunks as data", function()
    equal(diff.lines("a\nb", "a\nc\n"), {
      { a_start = 1, a_count = 2, b_start = 1, b_count = 2,
        lines = { { " ", "a" }, { "-", "b", no_newline = true }, { "+", "c" } } },
    })
  end)

  it("makes one text of the other, with the fewest edits", function()
    math.randomseed(20261121)
    for round = 1, 1500 do
      local kinds = math.random(1, 8)
      local a = random_lines(math.random(0, 30), kinds)
      local b = round % 2 == 0 and altered(a, math.random()) or random_lines(math.random(0, 30), kinds)
      local hunks = diff.lines(table.concat(a), table.concat(b), { context = math.random(0, 4) })
      equal(applied(table.concat(a), hunks), table.concat(b))
      equal(edits(hunks), fewest(a, b))
      local left, right = text(a), text(b)
      equal(applied(left, diff.lines(left, right)), right)
    end
  end)

  it("makes one text of the other when there are too many edits to find the fewest", function()
    math.randomseed(7)
    for _, kinds in ipairs { 2, 50, 3000 } do
      local a, b = random_lines(3000, kinds), random_lines(3000, kinds)
      local hunks = diff.lines(table.concat(a), table.concat(b))
      equal(applied(table.concat(a), hunks), table.concat(b))
    end
  end)
end)

describe("diff and other programs", function()
  local folder
  before_each(function() folder = scratch() end)

  local function shell(command)
    local pipe = io.popen(("cd '%s' && { %s; } 2>&1"):format(folder, command))
    local output = pipe:read("a")
    return output, pipe:close()
  end

  it("agree: git apply and patch take what it writes", function()
    math.randomseed(3)
    local script = { "export GIT_CEILING_DIRECTORIES=/" }
    for i = 1, 40 do
      local a = random_lines(math.random(0, 200), math.random(1, 100))
      local left, right = text(a), text(altered(a, math.random() / 3))
      for name, content in pairs { a = left, b = right, ["with space"] = left } do
        fs.mkdir(("%s/%d"):format(folder, i))
        fs.write(("%s/%d/%s"):format(folder, i, name), content)
      end
      local name = i % 2 == 0 and "a" or "with space"
      local options = { from = "a/" .. name, to = "b/" .. name, context = i % 5 == 0 and 1 or 3 }
      local patch = diff.unified(left, right, options)
      fs.write(("%s/%d/patch"):format(folder, i), patch)
      if patch ~= "" and left ~= "" and right ~= "" then
        script[#script + 1] = ([[(cd %d && git apply --whitespace=nowarn --unidiff-zero patch && cmp '%s' b &&
          git apply -R --whitespace=nowarn patch && patch --binary -s -p1 -f < patch && cmp '%s' b) ||
          echo failed %d]]):format(i, name, name, i)
      end
    end
    truthy(#script > 30)
    equal((shell(table.concat(script, "\n"))), "")
  end)

  it("agree: diff finds as many edits", function()
    math.randomseed(4)
    for _ = 1, 10 do
      local a = random_lines(500, 80)
      local left, right = table.concat(a), table.concat(altered(a, 0.2))
      fs.write(folder .. "/a", left)
      fs.write(folder .. "/b", right)
      local output = shell "diff -u --minimal a b"
      local count = -2
      for sign in output:gmatch("%f[^\n\0]([-+])") do count = count + (sign and 1 or 0) end
      equal(edits(diff.lines(left, right)), count)
    end
  end)
end)

describe("diff of large texts", function()
  local function check(a, b)
    local left, right = table.concat(a), table.concat(b)
    equal(applied(left, diff.lines(left, right)), right)
  end

  it("is right for 50,000 lines, whatever became of them", function()
    math.randomseed(5)
    local lines, mirrored = {}, {}
    for i = 1, 50000 do lines[i] = ("line %d of many\n"):format(i) end
    for i = 1, 50000 do mirrored[i] = lines[50001 - i] end
    local shuffled = table.move(lines, 1, #lines, 1, {})
    for i = #shuffled, 2, -1 do
      local j = math.random(i)
      shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
    end
    local others = { altered(lines, 0.01), altered(lines, 0.5), random_lines(50000, 1000), mirrored, shuffled, {} }
    for _, other in ipairs(others) do check(lines, other) end
  end)

  it("is not slowed by lines that repeat or are long", function()
    math.randomseed(6)
    check(random_lines(50000, 2), random_lines(50000, 2))
    local long = {}
    for i = 1, 200 do long[i] = ("x"):rep(100000) .. i .. "\n" end
    check(long, altered(long, 0.5))
  end)
end)
