--- `neap new`: a procedure to begin with, its test and its environment, in a repository that is made where there is none.
local failure    = require "neap.cli.failure"
local fs         = require "native.fs"
local repository = require "neap.repository"
local words      = require "neap.words"

local new = {
  summary = "write a new procedure, with its test and an environment",
  examples = { "neap new shop/release", "neap new shop/release --repo ~/runbooks" },
}

function new.arguments(parser)
  parser:argument("procedure", "<group>/<name>")
  parser:option("--repo", "make the repository here, where there is none"):argname "FILE"
end

local PROCEDURE = [[
-- %s: say in one line what it does.
local arg = parameters { greeting = { "what is written", default = "hello" } }

phase "Prepare"

step "Have a folder" {
  run = function() file.directory("local", env.folder) end,
}

phase "Change"

step "Write the greeting" {
  run  = function() file.write("local", env.folder .. "/greeting", arg.greeting .. "\n") end,
  hint = "What to look at when it fails.",
}
await "It is there" {
  check   = function() return file.exists("local", env.folder .. "/greeting") end,
  every   = "1s", timeout = "1m",
}
]]

local TEST = [[
-- %s, with targets in memory.
describe("%s", function()
  local tried

  before_each(function() tried = trial("%s", { env = "lab" }) end)

  it("writes the greeting", function()
    equal(tried:run().status, "done")
    equal(tried:file("local", tried.environment.values.folder .. "/greeting"), "hello\n")
  end)

  it("comes to its end after a crash at any point", function() tried:crash_everywhere() end)

  it("is taken back after any refused call", function() tried:fail_everywhere() end)
end)
]]

local ENVIRONMENT = [[
# Where %s is tried.
values:
  folder: /tmp/neap-%s
]]

local LUARC = [[
{
  "runtime.version": "Lua 5.4",
  "workspace.library": ["%s"],
  "diagnostics.globals": ["arg", "describe", "it", "before_each", "after_each", "equal", "matches", "raises", "truthy",
    "skip", "scratch", "trial"]
}
]]

local LUACHECK = [[
std = "lua54"
max_line_length = 120
files["procedures"].read_globals = { %s }
files["procedures/**/*_test.lua"].read_globals = {
  "after_each", "before_each", "describe", "equal", "it", "matches", "raises", "scratch", "skip", "trial", "truthy",
}
]]

local function check_name(name)
  local group, own = name:match "^([%w_-]+)/([%w_-]+)$"
  if not group then failure.wrong_use(("'%s' is no <group>/<name>"):format(name), "neap new GROUP/NAME") end
  if not repository.is_procedure(group, own .. ".lua") then
    failure.wrong_use(("%s.lua would be no procedure: lib is for libraries, _test for tests"):format(name),
      "neap new GROUP/NAME")
  end
  return group, own
end

--- The folder of the repository, made where it is asked for.
local function root_of(options)
  if options.repo then
    fs.mkdir(options.repo .. "/procedures", "0755")
    return fs.realpath(options.repo)
  end
  return repository.roots()[1]
    or failure.wrong_use("there is no folder procedures here", ("neap new %s --repo ."):format(options.procedure))
end

--- Words of procedures, for the linter.
local function quoted_words()
  local names = { '"env"' }
  for _, name in ipairs(require "neap.reference".names()) do
    local is_object = not words.place(name) and not require "neap.reference".word(name).declaration
    if not is_object then names[#names + 1] = ("%q"):format(name) end
  end
  return table.concat(names, ", ")
end

--- Writes a file that is not there, and notes it.
local function add(written, root, path, text)
  local full = ("%s/%s"):format(root, path)
  if fs.exists(full) then return end
  fs.mkdir(full:match "^(.*)/", "0755")
  fs.write(full, text, { mode = "0644" })
  written[#written + 1] = path
end

function new.run(options)
  local console = options.console
  local group, own = check_name(options.procedure)
  local root, written = root_of(options), {}
  local path = ("procedures/%s/%s.lua"):format(group, own)
  if fs.exists(root .. "/" .. path) then
    failure.wrong_use(("%s is there already"):format(path), "neap show " .. options.procedure)
  end
  add(written, root, path, PROCEDURE:format(options.procedure))
  add(written, root, (path:gsub("%.lua$", "_test.lua")), (TEST:gsub("%%s", options.procedure)))
  add(written, root, ("procedures/%s/environments/lab.yml"):format(group), ENVIRONMENT:format(options.procedure, group))
  add(written, root, ".luarc.json", LUARC:format(require "neap.cli.types".default_folder()))
  add(written, root, ".luacheckrc", LUACHECK:format(quoted_words()))
  if console.json then return console:answer_json { root = root, files = written } and 0 end
  local text = require "neap.cli.view.new".text
  console:answer(text({ root = root, files = written, name = options.procedure }, console.out))
end

return new
