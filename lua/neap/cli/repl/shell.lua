--- Lines typed at a failure: read as those of `neap repl`, with what Tab knows from the run's journal alone.
local colours   = require "neap.cli.repl.colours"
local complete  = require "neap.cli.repl.complete"
local fault     = require "native.error"
local help      = require "neap.cli.repl.help"
local history   = require "neap.cli.repl.history"
local keyboard  = require "neap.cli.repl.keyboard"
local near      = require "neap.near"
local procedure = require "neap.engine.procedure"
local repl      = require "neap.engine.repl"
local versions  = require "neap.engine.versions"
local view      = require "neap.cli.view.line"
local words     = require "neap.words"

local shell = {}

--- @class neap.shell  what stays from one line to the next
--- @field shown_as { expanded?: boolean, json?: boolean }
--- @field sits? table  as complete takes it, once Tab was pressed

-- ---- Tab ----

--- The run's code and environment, as its journal has them. Nothing is asked of targets: they are the worker's.
local function of_journal(asker)
  local state = asker.model().state
  local first, now = state.first, versions.last(state)
  local session = { environment = first.environment_data, files = now.files }
  session.procedure = procedure.load { files = now.files, path = first.path, arguments = now.arguments,
    environment = first.environment_data }
  local globals, noted = repl.globals(session)
  return { session = session, globals = globals, noted = noted, console = asker.console, known = {} }
end

local function completing(asker)
  return function(left)
    local ok, sits = pcall(function()
      asker.shell.sits = asker.shell.sits or of_journal(asker)
      return asker.shell.sits
    end)
    if not ok then return "" end
    return complete.at(left, sits)
  end
end

local function open_keyboard(asker)
  if not asker.console.live then return keyboard.plain(asker.console) end
  local paint = colours.painter(asker.console.err, words.names())
  return keyboard.edited(asker.console, completing(asker), paint, history.read())
end

-- ---- commands ----

local act = {}

local function switch(key, name)
  return function(asker)
    local shown_as = asker.shell.shown_as
    shown_as[key] = not shown_as[key] or nil
    asker.console:tell(("%s: %s"):format(name, shown_as[key] and "on" or "off"))
  end
end

act.x = switch("expanded", "expanded rows")
act.json = switch("json", "values as JSON")

function act.help(asker, what)
  if what == "" then return asker.console:tell(view.help()) end
  local ok, text = pcall(help.text, what, nil, asker.console.err)
  if not ok and not fault.is(text) then error(text, 0) end
  asker.console:tell(ok and text or asker.console.err:clean(text.message))
end

--- Carries out what begins with a colon or a question mark.
local function command(asker, text)
  if text:find "^%s*%?" then return act.help(asker, text:match "^%s*%?%s*(.-)%s*$") end
  local name, rest = text:match "^%s*:(%a*)%s*(.-)%s*$"
  if act[name] then return act[name](asker, rest) end
  asker.console:tell(("no command :%s%s; ? lists them"):format(name, near.hint(name, act)))
end

-- ---- a line ----

local function read_line(asker, keys, question)
  while true do
    local what, typed = keys:read(view.prompt(question, asker.environment))
    if what ~= "line" then return { choice = "leave" } end
    if history.may_keep(typed) then history.add(typed) end
    keys:remember(typed)
    if typed:find "^%s*:q%s*$" then return { choice = "leave" } end
    if not utf8.len(typed) then
      asker.console:tell "A line is UTF-8; this one is not."
    elseif typed:find "^%s*[:?]" then
      command(asker, typed)
    else
      return { choice = "line", line = typed }
    end
  end
end

--- @param asker neap.asker
--- @param question neap.question  of kind "shell"
--- @return { choice: "line"|"leave", line?: string }
function shell.read(asker, question)
  asker.shell = asker.shell or { shown_as = {} }
  local keys = open_keyboard(asker)
  local ok, answer = pcall(read_line, asker, keys, question)
  keys:close()
  if not ok then error(answer, 0) end
  return answer
end

return shell
