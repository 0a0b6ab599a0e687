--- The command line: from arguments to a verb, from errors to an exit status.
local VERSION = "0.1.0"

local VERBS = require "neap.cli.verbs"

local OK, WRONG_USE = 0, 2

--- What the environment of the process says where the command line does not.
local function mirrored()
  local function set(name) return (os.getenv(name) or "") ~= "" and os.getenv(name) ~= "0" or nil end
  return { color = os.getenv "NEAP_COLOR", json = set "NEAP_JSON", no_input = set "NEAP_NO_INPUT",
           foreground = set "NEAP_FOREGROUND",
           plain = set "NEAP_PLAIN", no_pager = set "NEAP_NO_PAGER" }
end

--- Gives an option that was not named on the command line its value from the environment.
local function add_mirrored(options)
  for name, value in pairs(mirrored()) do
    if options[name] == nil then options[name] = value end
  end
  return options
end

--- Options before parsing, for an error that comes too early to know them.
local function first_options(argv)
  local options = mirrored()
  for _, text in ipairs(argv) do
    if text == "--json" then options.json = true end
    options.color = text:match "^%-%-color=(.*)" or options.color
  end
  return options
end

local function new_console(options) return require("neap.cli.view.console").new(options) end

--- Calls `act`, and turns what it raises into a text and an exit status.
local function guarded(options, act)
  local trace
  local ok, result = xpcall(act, function(failure)
    trace = debug.traceback("", 2)
    return failure
  end)
  if ok then return result end
  return require "neap.cli.failure".report(result, trace, new_console(options))
end

local function wants_help(arguments)
  for _, text in ipairs(arguments) do
    if text == "--" then return false end
    if text == "--help" or text == "-h" then return true end
  end
  return false
end

local function run_verb(name, arguments)
  local options = first_options(arguments)
  return guarded(options, function()
    local verb = require("neap.cli." .. name)
    if verb.main then return verb.main(arguments) end -- `test` reads its own
    local arguments_of = require "neap.cli.arguments"
    if wants_help(arguments) then
      return new_console(options):answer(arguments_of.help(name, verb)) and OK
    end
    options = add_mirrored(arguments_of.parse(name, verb, arguments))
    options.console = new_console(options)
    return verb.run(options) or OK
  end)
end

--- What a chunk of `-e` sees: what a procedure sees, loaded when it is asked for.
local function words_of_a_chunk()
  local base, seen
  seen = setmetatable({}, { __index = function(_, name)
    local sandbox = require "neap.engine.sandbox"
    base = base or sandbox.base(function() return seen end)
    if base[name] ~= nil then return base[name] end
    return require "neap.words".find(name, sandbox.frozen)
  end })
  return seen
end

--- A chunk of Lua with the words, to look at one thing; what it returns is printed.
local function evaluate(text)
  return guarded({}, function()
    local chunk, message = load(text, "=-e", "t", words_of_a_chunk())
    if not chunk then require "neap.cli.failure".wrong_use(message, "neap --help") end
    local result = chunk()
    if result ~= nil then
      local console = new_console {}
      console:answer(table.concat(console.out:lines(tostring(result)), "\n"))
    end
    return OK
  end)
end

local function print_overview(argv, how, status)
  return guarded({}, function()
    local console, summaries = new_console(first_options(argv)), {}
    for i, name in ipairs(VERBS) do
      summaries[i] = { name, require("neap.cli." .. name).summary or "run test files" }
    end
    console[how](console, require "neap.cli.view.help".overview(summaries, console.out))
    return status
  end)
end

local function no_verb(name)
  return guarded({}, function()
    local near = require "neap.near"
    require "neap.cli.failure".wrong_use(
      ("no verb '%s'.%s"):format(name, near.question(name, VERBS)), "neap --help")
  end)
end

--- @param argv string[]  argv[0] is the program
--- @return integer status  the exit status
return function(argv)
  local first = argv[1]
  if first == "--version" then return new_console {}:answer("neap " .. VERSION) and OK end
  if first == "-e" then return evaluate(argv[2] or "") end
  if first == "help" and argv[2] then return run_verb(argv[2], { "--help" }) end
  if first == "--help" or first == "-h" or first == "help" then return print_overview(argv, "answer", OK) end
  if first == nil then return print_overview(argv, "tell", WRONG_USE) end
  if first == "complete" then
    return require("neap.cli.complete").main({ table.unpack(argv, argv[2] == "--" and 3 or 2) })
  end
  if first == "worker" then return require("neap.cli.worker").main() end
  if VERBS.is(first) then return run_verb(first, { table.unpack(argv, 2) }) end
  return no_verb(first)
end
