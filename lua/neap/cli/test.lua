--- `neap test`: runs test files, each `it` in a task of its own.
local clock   = require "native.clock"
local data    = require "neap.engine.data"
local fault   = require "native.error"
local ordered = require "neap.ordered"
local task    = require "native.task"

local test = {}

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" or (depth or 0) > 4 then return tostring(value) end
  local parts = {}
  for i, key in ipairs(ordered.keys(value)) do
    parts[i] = ("%s = %s"):format(key, show(value[key], (depth or 0) + 1))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local words = {}

--- Fails unless the two are the same, tables by their contents.
function words.equal(actual, expected)
  if not data.same(actual, expected) then
    error(("expected %s\n     got %s"):format(show(expected), show(actual)), 2)
  end
end

--- Fails unless the text matches the Lua pattern.
function words.matches(text, pattern)
  if type(text) ~= "string" or not text:find(pattern) then
    error(("expected something like %q\n     got %s"):format(pattern, show(text)), 2)
  end
end

function words.truthy(value)
  if not value then error("expected something true, got " .. tostring(value), 2) end
end

--- Calls fn and returns the error it raises; fails if it raises none.
function words.raises(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if results[1] then error("expected an error, got " .. show(table.pack(table.unpack(results, 2, results.n))), 2) end
  return results[2]
end

--- Leaves a test out, loudly: it is counted and named at the end.
function words.skip(why) error({ skip = why }, 0) end

local function remove_tree(path) require("native.fs").remove_tree(path) end

--- A fresh folder for the test that runs; removed after it.
function words.scratch()
  local fs = require "native.fs"
  local branch = task.context()
  local path = fs.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/neap-test-")
  table.insert(branch.scratch, path)
  return path
end

--- A procedure with targets in memory: see neap.cli.trial.
function words.trial(name, options)
  return require "neap.cli.trial".new(name, options, words.scratch())
end

local function collect(path, report)
  local cases, prefix, before, after = {}, {}, {}, {}
  local env = setmetatable({}, { __index = _G })
  for name, word in pairs(words) do env[name] = word end
  env.changing = test.change

  function env.describe(name, fn)
    local levels = { #prefix, #before, #after }
    prefix[#prefix + 1] = name
    fn()
    for i, list in ipairs { prefix, before, after } do
      for j = #list, levels[i] + 1, -1 do list[j] = nil end
    end
  end

  function env.it(name, fn)
    cases[#cases + 1] = {
      name = table.concat({ table.concat(prefix, " "), name }, " "), fn = fn,
      before = { table.unpack(before) }, after = { table.unpack(after) },
    }
  end

  function env.before_each(fn) before[#before + 1] = fn end

  function env.after_each(fn) after[#after + 1] = fn end

  local chunk, message = loadfile(path, "t", env)
  if not chunk then
    report("FAIL", path, message)
    return {}
  end
  chunk()
  return cases
end

local function attempt(case)
  for _, fn in ipairs(case.before) do fn() end
  case.fn()
end

local function traced(failure)
  if type(failure) == "table" then return failure end
  return debug.traceback(tostring(failure), 2)
end

local function describe_failure(failure)
  if not fault.is(failure) then return tostring(failure) end
  local lines = { ("%s: %s"):format(failure.kind, tostring(failure)) }
  for _, key in ipairs { "host", "code", "output", "hint" } do
    if failure[key] then lines[#lines + 1] = ("  %s: %s"):format(key, tostring(failure[key])) end
  end
  return table.concat(lines, "\n")
end

--- Runs one case; returns nil, or what went wrong, or { skip = why }.
local function run_case(case)
  local alive = task.count()
  local branch = { scratch = {} }
  local running = task.spawn(task.with_context, branch, function()
    local ok, failure = xpcall(attempt, traced, case)
    for i = #case.after, 1, -1 do
      local closed, problem = pcall(case.after[i])
      if not closed and ok then ok, failure = closed, problem end
    end
    for _, path in ipairs(branch.scratch) do remove_tree(path) end
    if not ok then error(failure, 0) end
  end)
  local ok, failure = running:wait()
  clock.virtual(false)
  if not ok then return failure end
  task.yield()
  if task.count() > alive then return "a task is still alive after the test" end
end

--- The test files among paths: a file as it is named, of a folder all that end in _test.lua, at any depth.
local function files_of(paths)
  local files = {}
  local function visit(path)
    if path:find("%.lua$") then
      files[#files + 1] = path
      return
    end
    local fs = require "native.fs"
    for _, name in ipairs(fs.list(path)) do
      local inner = path .. "/" .. name
      if name:find("_test%.lua$") or fs.stat(inner).type == "directory" then visit(inner) end
    end
  end
  for _, path in ipairs(paths) do visit(path) end
  return files
end

local HELP = [[
neap test: run test files

Examples:
  neap test                                   those of all procedures here
  neap test procedures/site/switch_test.lua   one file; a folder means all in it that end in _test.lua
  neap test --format=junit >tests.xml         as CI reads it; or tap

`neap doc testing` says what tests of procedures can do.]]

--- The form to print in, and the paths.
local function arguments_of(given)
  local failure, forms = require "neap.cli.failure", require "neap.cli.view.cases".forms
  local form, paths = "text", {}
  for _, word in ipairs(given) do
    form = word:match "^%-%-format=(.*)$" or form
    if word:find "^%-" and not word:find "^%-%-format=" then
      failure.wrong_use(("test has no option %s"):format(word), "neap test --help")
    end
    if not word:find "^%-" then paths[#paths + 1] = word end
  end
  if not forms[form] then
    failure.wrong_use(("no form '%s'.%s"):format(form, require "neap.near".hint(form, forms)), "neap test --help")
  end
  return forms[form](), paths
end

--- Without a name the tests that lie beside the procedures.
local function paths_of(given)
  if #given > 0 then return given end
  local paths = {}
  for i, root in ipairs(require "neap.repository".roots()) do paths[i] = root .. "/procedures" end
  if #paths == 0 then require "neap.cli.failure".wrong_use("there is no folder procedures here", "neap test FILE") end
  return paths
end

--- Runs the test files (and those in the folders) that are named; prints what fails and `N passed, N failed`.
--- @param given string[]
--- @return integer status  0, or 9 when a test failed
function test.main(given)
  if given[1] == "--help" or given[1] == "-h" then return print(HELP) or 0 end
  local form, paths = arguments_of(given)
  paths = paths_of(paths)
  table.insert(package.searchers, function(name)
    return loadfile(name:gsub("%.", "/") .. ".lua", "t") or "\n\tno such file below this folder"
  end)
  test.change = test.change or task.take_change()
  package.loaded["neap.test.change"] = test.change -- the engine takes it from here: it is given out once
  local naming = os.getenv "NEAP_TEST_VERBOSE" -- says each test's name before it runs: which one hangs or crashes
  local counts = { ok = 0, FAIL = 0, skip = 0 }
  local function report(result, name, detail)
    counts[result] = counts[result] + 1
    form.case(result, name, detail)
  end
  for _, path in ipairs(files_of(paths)) do
    local started, before = task.now(), counts.ok
    for _, case in ipairs(collect(path, report)) do
      if naming then print(case.name) io.stdout:flush() end
      local failure = run_case(case)
      if type(failure) == "table" and failure.skip then
        report("skip", path .. ": " .. case.name, failure.skip)
      elseif failure then
        report("FAIL", path .. ": " .. case.name, describe_failure(failure))
      else
        report("ok", path .. ": " .. case.name)
      end
    end
    form.file(path, counts.ok - before, task.now() - started)
  end
  form.over(counts)
  return counts.FAIL == 0 and 0 or 9
end

return test
