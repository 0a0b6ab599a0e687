--- Which room may use which: what each file requires or includes, and who prints.
local tree = require "tests.tree"

--- What every room may use.
local NATIVE, HOME, NEAR = "^native%.", "^neap%.home$", "^neap%.near$"
local ORDERED, TASKS = "^neap%.ordered$", "^neap%.tasks$"

--- The first room whose pattern matches a path says what its files may require.
local ROOMS = {
  { "^lua/neap/home%.lua$", { NATIVE } },
  { "^lua/neap/near%.lua$", { NATIVE } },
  { "^lua/neap/ordered%.lua$", {} },
  { "^lua/neap/tasks%.lua$", { NATIVE } },
  { "^lua/neap/engine/", { NATIVE, "^neap%.engine%.", NEAR, ORDERED, TASKS, "^neap%.words$" } },
  { "^lua/neap/targets/", { NATIVE, "^neap%.engine%.effect$", "^neap%.targets%.", HOME, NEAR, ORDERED, TASKS } },
  { "^lua/neap/fakes/", { NATIVE, "^neap%.engine%.", "^neap%.targets%.", "^neap%.fakes%.", NEAR, ORDERED, TASKS } },
  { "^lua/neap/", { "" } },
}
local HEADERS = { ["data.h"] = true, ["error.h"] = true, ["secret.h"] = true, ["stream.h"] = true, ["task.h"] = true,
                  ["tcp.h"] = true }
local PRINTING = {
  "%f[%w_.:]print%s*%(", "%f[%w_]io%.write", "%f[%w_]io%.stdout", "%f[%w_]io%.stderr", "%f[%w_]terminal%.write",
}

local function among(name, patterns)
  for _, pattern in ipairs(patterns) do
    if name:find(pattern) then return true end
  end
  return false
end

local function allowed_in(path)
  for _, room in ipairs(ROOMS) do
    if path:find(room[1]) then return room[2] end
  end
end

local function without_comment(line) return (line:gsub("%-%-.*$", "")) end

--- A room that may use everything may also compute the name; from another such a require could not be judged.
local function computed(code)
  return code:find "%f[%w_.]require%s*%(%s*[^\"')%s]" or code:find "[(,]%s*require%s*[,)]"
end

local function check_requires(path, lines, report)
  local allowed = allowed_in(path)
  for number, line in ipairs(lines) do
    local code = without_comment(line)
    for name in code:gmatch "%f[%w_.]require%s*%(?%s*[\"']([%w_.]+)[\"']" do
      if not among(name, allowed) then report(path, number, "requires " .. name) end
    end
    if allowed[1] ~= "" and computed(code) then report(path, number, "requires a name that is computed") end
  end
end

local function check_printing(path, lines, report)
  if path:find "^lua/neap/cli/view/" or path == "lua/neap/cli/test.lua" then return end
  for number, line in ipairs(lines) do
    if among(without_comment(line), PRINTING) then report(path, number, "prints") end
  end
end

--- Its own headers are NAME.h, and NAME_part.h, for NAME.c and NAME_part.c.
local function is_own(header, path)
  return header:match "^[^_.]+" == path:match("([^/]+)%.[ch]$"):match "^[^_]+"
end

local function check_includes(path, lines, report)
  if path == "src/main.c" then return end -- opens what modules.h lists
  for number, line in ipairs(lines) do
    local header = line:match '^%s*#%s*include%s+"([^"]+)"'
    if header and not HEADERS[header] and not is_own(header, path) then report(path, number, "includes " .. header) end
  end
end

local function collector()
  local found = {}
  return found, function(path, number, what) found[#found + 1] = ("%s:%d %s"):format(path, number, what) end
end

local function found_by(check, paths)
  local found, report = collector()
  for _, path in ipairs(paths) do check(path, tree.lines(path), report) end
  return found
end

local function found_in(check, path, ...)
  local found, report = collector()
  check(path, { ... }, report)
  return found
end

describe("imports", function()
  it("of Lua stay within what their room may use", function()
    equal(found_by(check_requires, tree.files("lua/neap", "%.lua$")), {})
  end)

  it("of C are data, error, secret, stream, task, tcp, the module's own and its library", function()
    equal(found_by(check_includes, tree.files("src", "%.[ch]$")), {})
  end)

  it("that break the rule are found", function()
    local path = "lua/neap/engine/x.lua"
    equal(found_in(check_requires, path, 'local fs = require "native.fs" -- not require "neap.cli"'), {})
    equal(found_in(check_requires, path, "", 'require "neap.targets.file"'),
      { path .. ":2 requires neap.targets.file" })
    equal(found_in(check_requires, path, "pcall(require, name)"), { path .. ":1 requires a name that is computed" })
    equal(found_in(check_requires, path, "require('neap.' .. name)"), { path .. ":1 requires neap." })
    equal(found_in(check_requires, "lua/neap/targets/x.lua", 'require("neap.engine.run").start()'),
      { "lua/neap/targets/x.lua:1 requires neap.engine.run" })
    equal(found_in(check_includes, "src/ssh_wire.c", '#include "ssh.h"', '#include "sftp.h"'),
      { "src/ssh_wire.c:2 includes sftp.h" })
  end)
end)

describe("printing", function()
  it("is done by cli/view alone", function()
    equal(found_by(check_printing, tree.files("lua/neap", "%.lua$")), {})
  end)

  it("elsewhere is found", function()
    local path = "lua/neap/cli/run.lua"
    equal(found_in(check_printing, path, "console:tell(text)", "view.print(text)", "print (text)"),
      { path .. ":3 prints" })
    equal(found_in(check_printing, path, "terminal.write(1, text)"), { path .. ":1 prints" })
  end)
end)
