--- `neap doc`: what the words of procedures do, and the manual.
local embedded  = require "native.embedded"
local failure   = require "neap.cli.failure"
local near      = require "neap.near"
local reference = require "neap.reference"
local verbs     = require "neap.cli.verbs"
local view      = require "neap.cli.view.doc"

local doc = {
  summary = "say what a word does, or show a chapter of the manual",
  examples = { "neap doc", "neap doc sql.script", "neap doc host:run", "neap doc running" },
}

local CHAPTERS = "^neap/manual/([%w-]+)%.md$"
local COMMANDS = "commands" -- a chapter that is made of what the verbs say themselves

function doc.arguments(parser)
  parser:argument("word", "a word, a function of one, or a chapter"):args "?"
  parser:flag("--markdown", "as Markdown; without a name the reference of all words")
end

local function chapters()
  local found = {}
  for _, path in ipairs(embedded.paths()) do
    local name = path:match(CHAPTERS)
    if name then found[#found + 1] = { name = name, text = embedded.text(path):match "^#%s*([^\n]*)" } end
  end
  found[#found + 1] = { name = COMMANDS, text = "The command line" }
  table.sort(found, function(a, b) return a.name < b.name end)
  return found
end

local function commands()
  local arguments, found = require "neap.cli.arguments", {}
  for _, name in ipairs(verbs) do
    local verb = require("neap.cli." .. name)
    if verb.arguments then
      found[#found + 1] = { name = name, summary = verb.summary, help = arguments.help(name, verb) }
    end
  end
  return view.commands(found)
end

local function chapter_of(name)
  if name == COMMANDS then return commands() end
  return name:find "^[%w-]+$" and embedded.text(("neap/manual/%s.md"):format(name)) or nil
end

local function every_word()
  local found = {}
  for i, name in ipairs(reference.names()) do found[i] = reference.word(name) end
  return found
end

local function overview()
  local found = { words = {}, chapters = chapters() }
  for i, word in ipairs(every_word()) do found.words[i] = { name = word.name, text = word.text:match "^[^\n]*" } end
  return found
end

local function unknown(name, hint)
  local names = {}
  for i, chapter in ipairs(chapters()) do names[i] = chapter.name end
  hint = hint ~= "" and hint or near.question(name, names)
  failure.wrong_use(("no word, function or chapter '%s'.%s"):format(name, hint or ""), "neap doc")
end

local function answer(console, found, text) return console.json and console:answer_json(found) or console:show(text) end

local function show_one(console, name)
  local chapter = chapter_of(name)
  local found, hint = reference.find(name)
  if found then return answer(console, found, (found.entries and view.word or view.entry)(found, console.out)) end
  if not chapter then return unknown(name, hint) end
  return answer(console, { name = name, markdown = chapter }, view.chapter(chapter))
end

function doc.run(options)
  local console = options.console
  if options.markdown and options.word then
    return console:answer(chapter_of(options.word) or unknown(options.word, "")) and 0
  end
  if options.markdown then return console:answer(view.markdown(every_word())) and 0 end
  if options.word then return show_one(console, options.word) and 0 end
  local found = overview()
  answer(console, found, view.overview(found, console.out))
end

return doc
