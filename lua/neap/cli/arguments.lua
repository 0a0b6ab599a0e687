--- The words after a verb: parsed by argparse, which is loaded here and nowhere else.
local failure = require "neap.cli.failure"

local arguments = {}

--- Options that every verb takes.
function arguments.add_everywhere(parser)
  parser:flag("--json", "one JSON document (run, resume, rollback: one event a line)")
  parser:flag("--no-input", "ask nothing; what would be asked ends with exit status 8")
  parser:option("--color", "colour: auto, always, never"):choices { "auto", "always", "never" }:argname "WHEN"
  parser:flag("--plain", "redraw nothing: a line for each event, as screen readers want it")
  parser:flag("--no-pager", "print long answers as they are")
  parser:flag("-h --help", "this text")
end

local function new_parser(name, verb)
  local parser = require "argparse"("neap " .. name):add_help(false)
  verb.arguments(parser)
  arguments.add_everywhere(parser)
  return parser
end

--- @param name string  the verb's
--- @param verb table
--- @param words string[]
--- @return table options
function arguments.parse(name, verb, words)
  local ok, result = new_parser(name, verb):pparse(words)
  if ok then return result end
  return failure.wrong_use(("%s: %s"):format(name, (result:gsub("\n", ". "))), ("neap %s --help"):format(name))
end

--- @param name string
--- @param verb table
--- @return string text
function arguments.help(name, verb)
  local text = new_parser(name, verb):get_help():gsub("\n*$", "\n")
  local examples = {}
  for _, example in ipairs(verb.examples or {}) do examples[#examples + 1] = "  " .. example end
  local title = ("neap %s: %s"):format(name, verb.summary)
  return ("%s\n\nExamples:\n%s\n\n%s"):format(title, table.concat(examples, "\n"), text)
end

--- The arguments of a procedure, from `-p name=value`, given any number of times.
--- @param list string[]?
--- @return table<string, string>
function arguments.pairs(list)
  local given = {}
  for _, text in ipairs(list or {}) do
    local name, value = text:match "^([%a_][%w_]*)=(.*)$"
    if not name then failure.wrong_use(("-p takes name=value, not '%s'"):format(text), "neap show PROCEDURE") end
    if given[name] then failure.wrong_use(("-p gives '%s' twice"):format(name), "neap show PROCEDURE") end
    given[name] = value
  end
  return given
end

return arguments
