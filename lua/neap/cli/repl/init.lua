--- `neap repl`: lines of Lua on a living environment; they read at once, and change only in a run of their own.
local colours  = require "neap.cli.repl.colours"
local confirm  = require "neap.cli.confirm"
local failure  = require "neap.cli.failure"
local keyboard = require "neap.cli.repl.keyboard"
local outside  = require "neap.cli.outside"
local sitting  = require "neap.cli.repl.sitting"
local terminal = require "native.terminal"
local words    = require "neap.words"

local verb = {
  summary = "type lines of Lua: reads at once, changes in a run of their own",
  examples = {
    "neap repl --env encode/lab",
    "neap repl encode/release --env lab -p version=64 -p old=63",
    "neap repl --env encode/lab -e \"env.databases.main:query 'select now()'\"",
    "neap repl --env encode/lab --yes < lines",
  },
}

function verb.arguments(parser)
  parser:argument("procedure", "lines see what its steps see: <group>/<name>, or the path of its file"):args "?"
  parser:option("--env", "the environment: <group>/<name>, or <name>"):argname "ENV"
  parser:option("-p", "a parameter of the procedure, or what the environment refers to"):argname "NAME=VALUE"
    :count "*":target "param"
  parser:option("-e", "run this, and end"):argname "CODE":count "*":target "code"
  outside.add_options(parser)
  confirm.add_option(parser)
end

--- The lines of texts, one after the other.
local function lines_of(texts)
  local lines, at = {}, 0
  for _, text in ipairs(texts) do
    for one in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = one end
  end
  return function()
    at = at + 1
    return lines[at]
  end
end

local function is_terminal(options) return not options.code[1] and options.console.may_ask end

local function new_keyboard(options, sits)
  if options.code[1] then return keyboard.script(lines_of(options.code)) end
  if not options.console.may_ask then return keyboard.script(terminal.read_line) end
  if not options.console.live then return keyboard.plain(options.console) end
  local function complete(left) return require "neap.cli.repl.complete".at(left, sits) end
  local painted = colours.painter(options.console.err, words.names())
  local function paint(line) return painted(line, sits.unfinished) end
  return keyboard.edited(options.console, complete, paint, require "neap.cli.repl.history".read())
end

function verb.run(options)
  if not options.env then failure.wrong_use("repl needs --env", "neap repl --env GROUP/ENV") end
  local sits = sitting.open(options)
  local ok, keys = pcall(new_keyboard, options, sits)
  if not ok then
    sits.session:leave()
    error(keys, 0)
  end
  sits.keyboard = keys
  if is_terminal(options) then sits:greet() end
  return sits:serve()
end

return verb
